// SPDX-License-Identifier: MIT
// y = x W^T + b with float, float16 or int8 weights. Int8 weights quantize x on its way in.
#ifndef DYNAQUANT_ENGINE_LINEAR_H_
#define DYNAQUANT_ENGINE_LINEAR_H_

#include <cstddef>
#include <utility>

#include "engine/matrix.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// y = x W^T + b, or with `relu` the larger of that and 0.
template <typename Matrix>
class Linear {
 public:
  Linear(const KernelTable& kernels, std::size_t out_features, Matrix matrix, bool relu)
      : kernels_(kernels), out_features_(out_features), matrix_(std::move(matrix)), relu_(relu) {}

  // x: [rows][in_features], out: [rows][out_features]. `out` is undefined unless kOk is returned.
  Status forward(const float* x, std::size_t rows, float* out) const;

  // Roughly what a row takes on one thread.
  double row_ns() const;

  const KernelTable& kernels() const { return kernels_; }
  const Matrix& matrix() const { return matrix_; }
  std::size_t in_features() const { return matrix_.depth(); }
  std::size_t out_features() const { return out_features_; }
  std::size_t bytes() const { return matrix_.bytes(); }

 private:
  const KernelTable& kernels_;
  std::size_t out_features_;
  Matrix matrix_;
  bool relu_;
};

template <>
Status Linear<Int8Matrix>::forward(const float* x, std::size_t rows, float* out) const;
extern template class Linear<FloatMatrix>;
extern template class Linear<HalfMatrix>;
extern template class Linear<Int8Matrix>;

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_LINEAR_H_
