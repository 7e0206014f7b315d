// SPDX-License-Identifier: MIT
#include "engine/linear.h"

#include "engine/aligned_buffer.h"
#include "engine/quantize.h"

namespace dynaquant {

Int8Rows quantize_rows(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                       const Range& range, const Int8Matrix& matrix, std::uint8_t* out) {
  const QuantizationParams params = choose_quantization_params(range.min, range.max, true);
  const float scale = static_cast<float>(params.scale);
  kernels.quantize(x, rows, matrix.depth(), 1.0f / scale, params.zero_point, out, matrix.stride());
  return {out, matrix.stride(), scale, params.zero_point};
}

FloatLinear::FloatLinear(const KernelTable& kernels, const float* weight, const float* bias,
                         std::size_t in_features, std::size_t out_features)
    : kernels_(kernels),
      out_features_(out_features),
      matrix_(weight, bias, {1, out_features}, in_features) {}

Status FloatLinear::forward(const float* x, std::size_t rows, float* out) const {
  kernels_.gemm_float({x, in_features()}, rows, matrix_.panels(), out, out_features_,
                      out_features_);
  return Status::kOk;
}

Int8Linear::Int8Linear(const KernelTable& kernels, const std::int8_t* weight, const float* scales,
                       std::size_t scale_count, const float* bias, std::size_t in_features,
                       std::size_t out_features)
    : kernels_(kernels),
      out_features_(out_features),
      matrix_(weight, scales, scale_count, bias, {1, out_features}, in_features) {}

Status Int8Linear::forward(const float* x, std::size_t rows, float* out) const {
  Range range = {0, 0, true};
  kernels_.range({x, rows * in_features()}, 1, rows * in_features(), &range);
  if (!range.finite) return Status::kInputNotFinite;
  AlignedBuffer<std::uint8_t> bytes(rows * matrix_.stride());
  const Int8Rows q =
      quantize_rows(kernels_, {x, in_features()}, rows, range, matrix_, bytes.data());
  multiply(q, rows, out);
  if (matrix_.bound(q.scale) < kSafeMagnitude) return Status::kOk;
  Range outputs = {0, 0, true};
  kernels_.range({out, rows * out_features_}, 1, rows * out_features_, &outputs);
  return outputs.finite ? Status::kOk : Status::kOverflow;
}

void Int8Linear::multiply(const Int8Rows& x, std::size_t rows, float* out) const {
  kernels_.gemm_int8(x, rows, matrix_.panels(), out, out_features_, out_features_);
}

}  // namespace dynaquant
