// SPDX-License-Identifier: MIT
// What matrices do with rows of activations, over a team of threads: int8 quantizes them first.
#ifndef DYNAQUANT_ENGINE_ACTIVATIONS_H_
#define DYNAQUANT_ENGINE_ACTIVATIONS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/matrix.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

// Every |value| the kernels add up stays below this where Int8Matrix::bound proves it.
constexpr double kSafeMagnitude = 1e38;

// A phase that takes one thread less than this is not shared out: two threads would save less than
// meeting again costs (100 to 150 ns measured), or nothing when one is late.
constexpr double kWorthSharingNs = 1000;

// What a product takes on one thread, roughly and rather too little: int8 multiply-adds at 200 a
// nanosecond, float ones at 50.
inline double product_ns(const Int8Matrix& matrix, std::size_t rows) {
  return static_cast<double>(rows) * matrix.multiply_adds() / 200;
}
template <typename Weight, typename Panels>
double product_ns(const PlainMatrix<Weight, Panels>& matrix, std::size_t rows) {
  return static_cast<double>(rows) * matrix.multiply_adds() / 50;
}
// The least share of `count` parts in a phase, `least` of which belong together: all of them where
// it is not worth sharing.
inline std::size_t grain_for(double ns, std::size_t count, std::size_t least = 1) {
  return ns < kWorthSharingNs ? std::max(count, least) : least;
}
// Threads wanted by a call that takes so long on one.
inline std::size_t threads_for(double ns) { return ns < kWorthSharingNs ? 1 : num_threads(); }

// Room for rows that are quantized together.
struct QuantizedRows {
  QuantizedRows(Scratch& scratch, std::size_t rows, std::size_t depth, const ActivationMode& mode)
      : stride(Int8Matrix::stride(depth)) {
    const std::size_t count = mode.per_row ? rows : 1;
    bytes = scratch.take<std::uint8_t>(rows * stride);
    params = {scratch.take<float>(count), scratch.take<float>(count),
              scratch.take<std::int32_t>(count), mode.per_row ? std::size_t{1} : std::size_t{0}};
  }

  Int8Rows from(std::size_t row) const {
    const std::size_t i = row * params.stride;
    return {bytes + row * stride,
            stride,
            {params.scales + i, params.inverses + i, params.zero_points + i, params.stride}};
  }
  // The largest scale of the first `rows` rows.
  float largest_scale(std::size_t rows) const {
    return *std::max_element(params.scales, params.scales + (params.stride == 0 ? 1 : rows));
  }

  std::uint8_t* bytes;
  std::size_t stride;
  RowParams params;
};

void clear_ranges(RangeLanes* ranges, std::size_t count);
// Extends the first set of `count` ranges by the sets - 1 that follow it, and empties those.
void merge_ranges(RangeLanes* ranges, std::size_t count, std::size_t sets);

// Finds the range of all rows together, or of each (`mode.per_row`), and quantizes them. False,
// with `out` undefined, when a value is not finite.
bool quantize_rows(const KernelTable& kernels, Team& team, const ActivationMode& mode,
                   const FloatRows& x, std::size_t rows, std::size_t columns, QuantizedRows& out);

bool all_finite(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                std::size_t columns);

inline void gemm(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                 const FloatPanels& panels, float* out, std::size_t stride, std::size_t columns,
                 bool relu) {
  kernels.gemm_float(x, rows, panels, out, stride, columns, relu);
}
inline void gemm(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                 const HalfPanels& panels, float* out, std::size_t stride, std::size_t columns,
                 bool relu) {
  kernels.gemm_half(x, rows, panels, out, stride, columns, relu);
}
inline void gemm(const KernelTable& kernels, const Int8Rows& x, std::size_t rows,
                 const Int8Panels& panels, float* out, std::size_t stride, std::size_t columns,
                 bool relu) {
  kernels.gemm_int8(x, rows, panels, out, stride, columns, relu);
}

// out[row][column] for those of `columns` that stand in the panels [first, last), `first` at the
// start of a block.
template <typename Rows, typename Matrix>
void multiply_panels(const KernelTable& kernels, const Rows& x, std::size_t rows,
                     const Matrix& matrix, std::size_t first, std::size_t last, float* out,
                     std::size_t stride, std::size_t columns, bool relu = false) {
  const std::size_t column = first * kPanelColumns;
  gemm(kernels, x, rows, matrix.slice(first, last), out + column, stride,
       std::min(columns, last * kPanelColumns) - column, relu);
}

// The same for all panels, the blocks of them shared out.
template <typename Rows, typename Matrix>
void multiply(const KernelTable& kernels, Team& team, const Rows& x, std::size_t rows,
              const Matrix& matrix, float* out, std::size_t stride, std::size_t columns,
              bool relu = false) {
  const std::size_t block = matrix.layout().block();
  const std::size_t panels = matrix.all().panels;
  const std::size_t blocks = (panels + block - 1) / block;
  team.run(blocks, grain_for(product_ns(matrix, rows), blocks),
           [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
             multiply_panels(kernels, x, rows, matrix, begin * block, std::min(end * block, panels),
                             out, stride, columns, relu);
           });
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ACTIVATIONS_H_
