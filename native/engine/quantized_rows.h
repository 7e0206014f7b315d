// SPDX-License-Identifier: MIT
// Rows of activations, quantized on their way into an int8 matrix.
#ifndef DYNAQUANT_ENGINE_QUANTIZED_ROWS_H_
#define DYNAQUANT_ENGINE_QUANTIZED_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/matrix.h"
#include "engine/product.h"
#include "engine/scratch.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// If Int8Matrix::bound proves that a product's results stay below this, then every |value| that the
// kernels add up does, and no result needs a check.
constexpr double kSafeMagnitude = 1e38;

// Room for rows that are quantized together.
struct QuantizedRows {
  QuantizedRows(Scratch& scratch, std::size_t rows, std::size_t depth, const ActivationMode& mode)
      : stride(Int8Matrix::stride(depth)) {
    const std::size_t count = mode.per_row ? rows : 1;
    bytes = scratch.take<std::uint8_t>(count_of(rows, stride));
    params = {scratch.take<float>(count), scratch.take<float>(count),
              scratch.take<std::int32_t>(count), mode.per_row ? std::size_t{1} : std::size_t{0}};
  }

  Int8Rows from(std::size_t row) const {
    const std::size_t i = row * params.stride;
    return {bytes + row * stride,
            stride,
            {params.scales + i, params.inverses + i, params.zero_points + i, params.stride}};
  }
  // The largest scale of `rows` rows.
  float largest_scale(std::size_t rows, std::size_t first = 0) const {
    const float* scales = params.scales + first * params.stride;
    return *std::max_element(scales, scales + (params.stride == 0 ? 1 : rows));
  }

  std::uint8_t* bytes;
  std::size_t stride;
  RowParams params;
};

// Makes ranges empty.
void clear_ranges(RangeLanes* ranges, std::size_t count);
// `ranges` holds `sets` sets of `count` ranges. Extends the first set by all others and empties
// those.
void merge_ranges(RangeLanes* ranges, std::size_t count, std::size_t sets);

// Finds the range of each row (`mode.per_row`), or of all rows together, and quantizes the rows.
// Returns false, with `out` undefined, if a value is not finite.
bool quantize_rows(const Machine& machine, const ActivationMode& mode, const FloatRows& x,
                   std::size_t rows, std::size_t columns, QuantizedRows& out);

// Multiplies `rows` rows from `first` on. kOverflow if a result is not finite.
struct RowSpan {
  std::size_t first;
  std::size_t rows;
};
Status multiply_quantized(const Machine& machine, const QuantizedRows& q, const RowSpan& span,
                          const Int8Matrix& matrix, const FloatMatrixView& out, bool relu);

bool all_finite(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                std::size_t columns);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_QUANTIZED_ROWS_H_
