// SPDX-License-Identifier: MIT
#include "engine/quantized_rows.h"

#include <atomic>

namespace dynaquant {
namespace {

// Rows that a thread claims at least: a share of fewer than some thousand values is not worth its
// start.
std::size_t row_grain(std::size_t columns) {
  constexpr std::size_t kValues = 8192;
  return std::max<std::size_t>(1, kValues / std::max<std::size_t>(1, columns));
}

FloatRows from_row(const FloatRows& x, std::size_t row) {
  return {x.data + row * x.stride, x.stride};
}

// Every row over its own range. A block of rows is quantized right after its ranges are found,
// while its values are still in the nearest cache.
bool quantize_each(const Machine& machine, int levels, const FloatRows& x, std::size_t rows,
                   std::size_t columns, QuantizedRows& out) {
  constexpr std::size_t kBlock = 16;
  const KernelTable& kernels = machine.kernels;
  std::atomic<bool> finite{true};
  machine.team.run(rows, row_grain(columns),
                   [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
                     RangeLanes ranges[kBlock] = {};
                     for (std::size_t row = begin; row < end; row += kBlock) {
                       const std::size_t count = std::min(kBlock, end - row);
                       const FloatRows block = from_row(x, row);
                       if (!kernels.range(block, count, columns, ranges, 1)) {
                         finite.store(false, std::memory_order_relaxed);
                         return;
                       }
                       const Int8Rows to = out.from(row);
                       kernels.choose_params(ranges, count, levels, to.params);
                       kernels.quantize(block, count, columns, to.params,
                                        out.bytes + row * out.stride, out.stride);
                     }
                   });
  return finite.load(std::memory_order_relaxed);
}

// All rows over one range, which needs two phases: nothing can be quantized before every value was
// seen.
bool quantize_together(const Machine& machine, int levels, const FloatRows& x, std::size_t rows,
                       std::size_t columns, QuantizedRows& out) {
  const KernelTable& kernels = machine.kernels;
  Team& team = machine.team;
  const std::size_t grain = row_grain(columns);
  std::atomic<bool> finite{true};
  RangeLanes ranges[kMaxThreads];  // one of each participant
  clear_ranges(ranges, team.size());
  team.run(rows, grain, [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
    if (!kernels.range(from_row(x, begin), end - begin, columns, &ranges[participant], 0)) {
      finite.store(false, std::memory_order_relaxed);
    }
  });
  if (!finite.load(std::memory_order_relaxed)) return false;
  merge_ranges(ranges, 1, team.size());
  kernels.choose_params(ranges, 1, levels, out.params);
  team.run(rows, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
    kernels.quantize(from_row(x, begin), end - begin, columns, out.params,
                     out.bytes + begin * out.stride, out.stride);
  });
  return true;
}

}  // namespace

void clear_ranges(RangeLanes* ranges, std::size_t count) {
  std::fill_n(ranges, count, RangeLanes{});
}

void merge_ranges(RangeLanes* ranges, std::size_t count, std::size_t sets) {
  for (std::size_t i = count; i < count * sets; ++i) {
    RangeLanes& to = ranges[i % count];
    for (std::size_t lane = 0; lane < kPanelColumns; ++lane) {
      to.min[lane] = std::min(to.min[lane], ranges[i].min[lane]);
      to.max[lane] = std::max(to.max[lane], ranges[i].max[lane]);
    }
    ranges[i] = {};
  }
}

bool quantize_rows(const Machine& machine, const ActivationMode& mode, const FloatRows& x,
                   std::size_t rows, std::size_t columns, QuantizedRows& out) {
  return mode.per_row ? quantize_each(machine, mode.levels(), x, rows, columns, out)
                      : quantize_together(machine, mode.levels(), x, rows, columns, out);
}

Status multiply_quantized(const Machine& machine, const QuantizedRows& q, const RowSpan& span,
                          const Int8Matrix& matrix, const FloatMatrixView& out, bool relu) {
  const auto [first, rows] = span;
  multiply(machine, q.from(first), rows, matrix, out, relu);
  if (machine.team.stopped()) return Status::kStopped;
  const bool proved = matrix.bound(q.largest_scale(rows, first)) < kSafeMagnitude;
  return proved || all_finite(machine.kernels, {out.data, out.stride}, rows, out.columns)
             ? Status::kOk
             : Status::kOverflow;
}

bool all_finite(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                std::size_t columns) {
  RangeLanes range = {};
  return kernels.range(x, rows, columns, &range, 0);
}

}  // namespace dynaquant
