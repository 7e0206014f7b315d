// SPDX-License-Identifier: MIT
#include "engine/linear.h"

#include <cstdint>

#include "engine/cost.h"
#include "engine/product.h"
#include "engine/quantized_rows.h"
#include "engine/thread_pool.h"

namespace dynaquant {

template <typename Matrix>
Status Linear<Matrix>::forward(const float* x, std::size_t rows, float* out) const {
  if (rows == 0) return Status::kOk;
  const double ns = product_ns(matrix_, rows);
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  multiply({kernels_, team}, FloatRows{x, in_features()}, rows, matrix_,
           {out, out_features_, out_features_}, relu_);
  return team.stopped() ? Status::kStopped : Status::kOk;
}

template <typename Matrix>
double Linear<Matrix>::row_ns() const {
  return product_ns(matrix_, 1);
}

template <>
Status Linear<Int8Matrix>::forward(const float* x, std::size_t rows, float* out) const {
  if (rows == 0) return Status::kOk;
  const double ns = product_ns(matrix_, rows);
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  const Machine machine = {kernels_, team};
  const std::size_t depth = in_features();
  WithScratch<QuantizedRows> q(rows, depth, matrix_.mode());
  if (!quantize_rows(machine, matrix_.mode(), {x, depth}, rows, depth, *q)) {
    return Status::kInputNotFinite;
  }
  return multiply_quantized(machine, *q, {0, rows}, matrix_, {out, out_features_, out_features_},
                            relu_);
}

template class Linear<FloatMatrix>;
template class Linear<HalfMatrix>;
template class Linear<Int8Matrix>;

}  // namespace dynaquant
