// SPDX-License-Identifier: MIT
// Reads the weights that layers are constructed from, and writes them back.
#ifndef DYNAQUANT_BINDINGS_MATRIX_ARGUMENT_H_
#define DYNAQUANT_BINDINGS_MATRIX_ARGUMENT_H_

#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "engine/matrix.h"

namespace dynaquant {

// The parts of { weight, scales, bias }. All of them are read before the address of any is taken,
// because a getter may run JavaScript.
struct MatrixValues {
  MatrixValues(Napi::Env env, const Napi::Value& value) {
    const Napi::Object source = object_argument(env, value, "matrix");
    weight = source.Get("weight");
    scales = source.Get("scales");
    bias = source.Get("bias");
  }

  Napi::Value weight;
  Napi::Value scales;  // undefined unless int8
  Napi::Value bias;    // null if there is none
};

// { weight, bias | null }, the weight of floats or float16 bits
template <typename Weight, typename Panels>
PlainMatrix<Weight, Panels> matrix_argument(Napi::Env env, const Napi::Value& value,
                                            const GateLayout& layout, std::size_t depth,
                                            const ActivationMode&, PlainMatrix<Weight, Panels>*) {
  const MatrixValues values(env, value);
  const Weight* weight =
      typed_array<Weight>(env, values.weight, "weight", product({layout.rows(), depth}));
  const float* bias = optional_array<float>(env, values.bias, "bias", layout.rows());
  return PlainMatrix<Weight, Panels>(weight, bias, layout, depth);
}

// { weight, scales, bias | null }
inline Int8Matrix matrix_argument(Napi::Env env, const Napi::Value& value, const GateLayout& layout,
                                  std::size_t depth, const ActivationMode& mode, Int8Matrix*) {
  if (depth > mode.max_depth()) {
    throw_range_error(env, "the depth is too large for int32 sums");
  }
  const MatrixValues values(env, value);
  const std::int8_t* weight =
      typed_array<std::int8_t>(env, values.weight, "weight", product({layout.rows(), depth}));
  const Span<float> scales = typed_array<float>(env, values.scales, "scales");
  if (scales.size != 1 && scales.size != layout.rows()) {
    throw_range_error(env, "scales has neither one element nor one a row");
  }
  const float* bias = optional_array<float>(env, values.bias, "bias", layout.rows());
  return Int8Matrix(selected_kernels(env), mode, {weight, scales.data, scales.size, bias}, layout,
                    depth);
}

// The weight as it came.
template <typename Matrix>
void unpack_argument(Napi::Env env, napi_value out, const Matrix& matrix) {
  matrix.unpack(typed_array<typename Matrix::Element>(env, out, "out",
                                                      matrix.layout().rows() * matrix.depth()));
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_MATRIX_ARGUMENT_H_
