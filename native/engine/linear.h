// SPDX-License-Identifier: MIT
// y = x W^T + b, float or int8 with activations quantized on the way in.
#ifndef DYNAQUANT_ENGINE_LINEAR_H_
#define DYNAQUANT_ENGINE_LINEAR_H_

#include <cstddef>
#include <cstdint>

#include "engine/matrix.h"
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

// The deepest product whose int32 sum cannot wrap: 128 * 128 * 131,071 < 2^31.
constexpr std::size_t kMaxDepth = 131071;

// Every |value| the kernels add up stays below this where `bound` proves it.
constexpr double kSafeMagnitude = 1e38;

// Chooses the quantization of all rows together from `range` and writes the bytes to `out`, of
// matrix.stride() bytes a row.
Int8Rows quantize_rows(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                       const Range& range, const Int8Matrix& matrix, std::uint8_t* out);

class FloatLinear {
 public:
  FloatLinear(const KernelTable& kernels, const float* weight, const float* bias,
              std::size_t in_features, std::size_t out_features);
  // x: [rows][in_features], out: [rows][out_features].
  Status forward(const float* x, std::size_t rows, float* out) const;
  std::size_t in_features() const { return matrix_.depth(); }
  std::size_t out_features() const { return out_features_; }
  std::size_t bytes() const { return matrix_.bytes(); }

 private:
  const KernelTable& kernels_;
  std::size_t out_features_;
  FloatMatrix matrix_;
};

class Int8Linear {
 public:
  Int8Linear(const KernelTable& kernels, const std::int8_t* weight, const float* scales,
             std::size_t scale_count, const float* bias, std::size_t in_features,
             std::size_t out_features);
  // One quantization range over all of x. The outputs are undefined unless kOk is returned.
  Status forward(const float* x, std::size_t rows, float* out) const;
  // The same on rows that are quantized already.
  void multiply(const Int8Rows& x, std::size_t rows, float* out) const;
  const Int8Matrix& matrix() const { return matrix_; }
  std::size_t in_features() const { return matrix_.depth(); }
  std::size_t out_features() const { return out_features_; }
  std::size_t bytes() const { return matrix_.bytes(); }

 private:
  const KernelTable& kernels_;
  std::size_t out_features_;
  Int8Matrix matrix_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_LINEAR_H_
