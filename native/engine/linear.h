// SPDX-License-Identifier: MIT
// y = x W^T + b with float or float16 weights, or int8 with activations quantized on the way in.
#ifndef DYNAQUANT_ENGINE_LINEAR_H_
#define DYNAQUANT_ENGINE_LINEAR_H_

#include <cstddef>
#include <utility>

#include "engine/matrix.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

// Why a forward gave no result. TypeScript turns it into the sentence a user reads.
enum class Status : int {
  kOk = 0,
  kInputNotFinite = 1,
  kHiddenNotFinite = 2,
  kCellNotFinite = 3,
  kOverflow = 4,  // finite inputs, but an output beyond float32
};

// y = x W^T + b, or with `relu` y = x W^T + b < 0 ? 0 : x W^T + b.
template <typename Matrix>
class Linear {
 public:
  Linear(const KernelTable& kernels, std::size_t out_features, Matrix matrix, bool relu)
      : kernels_(kernels), out_features_(out_features), matrix_(std::move(matrix)), relu_(relu) {}

  // x: [rows][in_features], out: [rows][out_features]. The outputs are undefined unless kOk is
  // returned.
  Status forward(const float* x, std::size_t rows, float* out) const;

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
