// SPDX-License-Identifier: MIT
#include "engine/activations.h"

#include <atomic>

namespace dynaquant {
namespace {

// Rows of one thread's share, at least: below some thousand values a share is not worth its start.
std::size_t row_grain(std::size_t columns) {
  constexpr std::size_t kValues = 8192;
  return std::max<std::size_t>(1, kValues / std::max<std::size_t>(1, columns));
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

bool quantize_rows(const KernelTable& kernels, Team& team, const ActivationMode& mode,
                   const FloatRows& x, std::size_t rows, std::size_t columns, QuantizedRows& out) {
  constexpr std::size_t kMaxSets = 256;  // of ranges, one a participant
  constexpr std::size_t kBlock = 16;     // rows whose ranges are found at once
  std::atomic<bool> finite{true};
  const std::size_t grain = row_grain(columns);
  if (mode.per_row) {
    team.run(rows, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
      RangeLanes ranges[kBlock] = {};
      for (std::size_t row = begin; row < end; row += kBlock) {
        const std::size_t count = std::min(kBlock, end - row);
        const FloatRows block = {x.data + row * x.stride, x.stride};
        if (!kernels.range(block, count, columns, ranges, 1)) {
          finite.store(false, std::memory_order_relaxed);
          return;
        }
        const Int8Rows to = out.from(row);
        kernels.choose_params(ranges, count, mode.levels(), to.params);
        kernels.quantize(block, count, columns, to.params, out.bytes + row * out.stride,
                         out.stride);
      }
    });
    return finite.load(std::memory_order_relaxed);
  }
  RangeLanes ranges[kMaxSets];
  const std::size_t sets = std::min(team.size(), kMaxSets);
  clear_ranges(ranges, sets);
  team.run(rows, grain, [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
    if (!kernels.range({x.data + begin * x.stride, x.stride}, end - begin, columns,
                       &ranges[participant], 0)) {
      finite.store(false, std::memory_order_relaxed);
    }
  });
  if (!finite.load(std::memory_order_relaxed)) return false;
  merge_ranges(ranges, 1, sets);
  kernels.choose_params(ranges, 1, mode.levels(), out.params);
  team.run(rows, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
    kernels.quantize({x.data + begin * x.stride, x.stride}, end - begin, columns, out.params,
                     out.bytes + begin * out.stride, out.stride);
  });
  return true;
}

bool all_finite(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                std::size_t columns) {
  RangeLanes range = {};
  return kernels.range(x, rows, columns, &range, 0);
}

}  // namespace dynaquant
