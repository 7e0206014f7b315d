// SPDX-License-Identifier: MIT
#include "engine/reduce.h"

#include <algorithm>
#include <cstdint>

#include "engine/cost.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// Shares out `count` parts of `elements` elements in all, of which a thread computes so many in a
// nanosecond: body(begin, end).
template <typename Body>
void share(std::size_t count, std::size_t elements, double per_ns, const Body& body) {
  const double ns = static_cast<double>(elements) / per_ns;
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  constexpr std::size_t kPieces = 64;
  const std::size_t grain = grain_for(ns, count, (count + kPieces - 1) / kPieces);
  team.run(count, grain,
           [&](std::size_t, std::size_t begin, std::size_t end) noexcept { body(begin, end); });
}

// Columns that are taken together: the floats of two cache lines.
constexpr std::size_t kColumns = 32;

// rows(begin, end) of the lines if they are rows, else columns(block, first column, columns).
template <typename Rows, typename Columns>
void share_lines(const Lines& lines, double per_ns, const Rows& rows, const Columns& columns) {
  if (lines.inner == 1) {
    share(lines.outer, lines.elements(), per_ns, rows);
    return;
  }
  const std::size_t pieces = (lines.inner + kColumns - 1) / kColumns;
  share(lines.outer * pieces, lines.elements(), per_ns, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t column = i % pieces * kColumns;
      columns(i / pieces, column, std::min(kColumns, lines.inner - column));
    }
  });
}

}  // namespace

void reduce(const KernelTable& kernels, Reduction reduction, const float* x, const Lines& lines,
            float* out) {
  const auto kernel = static_cast<std::size_t>(reduction);
  const std::size_t length = lines.length, inner = lines.inner;
  share_lines(
      lines, 10,
      [&](std::size_t begin, std::size_t end) {
        kernels.reduce_rows[kernel](x + begin * length, end - begin, length, out + begin);
      },
      [&](std::size_t block, std::size_t column, std::size_t columns) {
        kernels.reduce_columns[kernel](x + block * length * inner + column, length, inner, columns,
                                       out + block * inner + column);
      });
}

void softmax(const KernelTable& kernels, bool log, const float* x, const Lines& lines, float* out) {
  const std::size_t length = lines.length, inner = lines.inner;
  share_lines(
      lines, 2,
      [&](std::size_t begin, std::size_t end) {
        const std::size_t at = begin * length;
        kernels.softmax_rows[log](x + at, end - begin, length, out + at);
      },
      [&](std::size_t block, std::size_t column, std::size_t columns) {
        const std::size_t at = block * length * inner + column;
        kernels.softmax_columns[log](x + at, length, inner, columns, out + at);
      });
}

void normalize(const KernelTable& kernels, const NormRows& norm, const float* x,
               const Affine& affine, float* out) {
  const auto kernel = norm.norm == Norm::kRms ? kernels.normalize_rms : kernels.normalize;
  const std::size_t length = norm.length, parameters = length / affine.repeat;
  share(norm.rows, norm.rows * length, 4, [&](std::size_t begin, std::size_t end) {
    // Rows of one group are neighbours only if there is no other.
    const std::size_t step = norm.groups == 1 ? end - begin : 1;
    for (std::size_t row = begin; row < end; row += step) {
      const std::size_t first = row % norm.groups * parameters;
      const Affine own = {affine.weight == nullptr ? nullptr : affine.weight + first,
                          affine.bias == nullptr ? nullptr : affine.bias + first, affine.repeat};
      kernel(x + row * length, step, length, own, norm.eps, out + row * length);
    }
  });
}

void scale_channels(const KernelTable& kernels, const ChannelRows& channels, const float* x,
                    const Affine& affine, float* out) {
  const std::size_t length = channels.channels * affine.repeat;
  share(channels.rows, channels.rows * length, 10, [&](std::size_t begin, std::size_t end) {
    const std::size_t at = begin * length;
    kernels.scale_channels(x + at, end - begin, length, channels.means, affine, out + at);
  });
}

}  // namespace dynaquant
