// SPDX-License-Identifier: MIT
#include "engine/pooling.h"

#include <algorithm>
#include <cmath>

#include "engine/cost.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// The values of a window that are inside the input.
struct Reach {
  std::size_t first;
  std::size_t step;
  std::size_t count;
  std::size_t padded;  // with what is in the padding
};

bool is_adaptive(Pool pool) { return pool == Pool::kAdaptiveMax || pool == Pool::kAdaptiveMean; }
bool is_max(Pool pool) { return pool == Pool::kMax || pool == Pool::kAdaptiveMax; }

Reach reach_of(const PoolingAxis& axis, std::size_t window, bool adaptive) {
  if (adaptive) {
    const std::size_t first = window * axis.size / axis.count;
    const std::size_t end = ((window + 1) * axis.size + axis.count - 1) / axis.count;
    return {first, 1, end - first, end - first};
  }
  const std::size_t begin = window * axis.stride;  // from the padding's start on
  const std::size_t skipped =
      begin >= axis.padding ? 0 : (axis.padding - begin + axis.dilation - 1) / axis.dilation;
  const std::size_t first = begin + skipped * axis.dilation - axis.padding;
  const std::size_t fit = first >= axis.size ? 0 : (axis.size - 1 - first) / axis.dilation + 1;
  const std::size_t all = axis.size + 2 * axis.padding;
  return {first, axis.dilation, std::min(axis.kernel - std::min(skipped, axis.kernel), fit),
          std::min(axis.kernel, all > begin ? all - begin : 0)};
}

// The windows [begin, end) that are whole inside the input.
struct Inside {
  std::size_t begin;
  std::size_t end;
};
Inside inside_of(const PoolingAxis& axis, bool adaptive) {
  if (adaptive) return {0, 0};
  const std::size_t begin = (axis.padding + axis.stride - 1) / axis.stride;
  const std::size_t reach = axis.dilation * (axis.kernel - 1) + 1;
  if (axis.size + axis.padding < reach) return {0, 0};
  const std::size_t end =
      std::min(axis.count, (axis.size + axis.padding - reach) / axis.stride + 1);
  return begin < end ? Inside{begin, end} : Inside{0, 0};
}

class PoolingCall {
 public:
  PoolingCall(const KernelTable& kernels, const Pooling& pooling)
      : kernels_(kernels),
        pooling_(pooling),
        adaptive_(is_adaptive(pooling.pool)),
        inside_(inside_of(pooling.columns, adaptive_)) {}

  // Most values of a window, without those in the padding.
  std::size_t values() const { return most_of(pooling_.rows) * most_of(pooling_.columns); }
  std::size_t windows() const { return pooling_.rows.count * pooling_.columns.count; }

  // `offsets` has room for `values()`.
  void plane(const float* x, float* out, std::int64_t* indices, std::size_t* offsets) const {
    for (std::size_t row = 0; row < pooling_.rows.count; ++row) {
      const Reach lines = reach_of(pooling_.rows, row, adaptive_);
      line(x, lines, out + row * pooling_.columns.count, offsets);
      if (indices == nullptr) continue;
      for (std::size_t i = 0; i < pooling_.columns.count; ++i) {
        indices[row * pooling_.columns.count + i] =
            index_of(x, lines, reach_of(pooling_.columns, i, adaptive_));
      }
    }
  }

 private:
  std::size_t most_of(const PoolingAxis& axis) const {
    return adaptive_ ? axis.size / axis.count + 2 : std::min(axis.kernel, axis.size);
  }

  // A row of windows: those at the ends one by one, because they have fewer values.
  void line(const float* x, const Reach& lines, float* out, std::size_t* offsets) const {
    const PoolingAxis& columns = pooling_.columns;
    for (std::size_t i = 0; i < columns.count;) {
      const bool whole = i == inside_.begin && inside_.end > i;
      const std::size_t count = whole ? inside_.end - i : 1;
      const Reach reach = reach_of(columns, i, adaptive_);
      const std::size_t values = fill(lines, reach, offsets);
      const Windows windows = {x, offsets, values, columns.stride};
      if (is_max(pooling_.pool)) {
        if (values == 0) {
          out[i] = -INFINITY;
        } else {
          kernels_.window_max(windows, count, out + i);
        }
      } else if (values == 0) {
        out[i] = 0;
      } else {
        kernels_.window_mean(windows, count, divisor(lines, reach), out + i);
      }
      i += count;
    }
  }

  std::size_t fill(const Reach& lines, const Reach& reach, std::size_t* offsets) const {
    const std::size_t* first = offsets;
    for (std::size_t row = 0; row < lines.count; ++row) {
      const std::size_t begin = (lines.first + row * lines.step) * pooling_.columns.size;
      for (std::size_t column = 0; column < reach.count; ++column) {
        *offsets++ = begin + reach.first + column * reach.step;
      }
    }
    return static_cast<std::size_t>(offsets - first);
  }

  float divisor(const Reach& lines, const Reach& reach) const {
    if (pooling_.divisor != 0) return static_cast<float>(pooling_.divisor);
    return static_cast<float>(pooling_.pool == Pool::kMeanOfPadded ? lines.padded * reach.padded
                                                                   : lines.count * reach.count);
  }

  // Where the largest value of a window is: the first of equal ones, the last NaN.
  std::int64_t index_of(const float* x, const Reach& lines, const Reach& reach) const {
    float largest = -INFINITY;
    std::size_t at = lines.first * pooling_.columns.size + reach.first;
    for (std::size_t row = 0; row < lines.count; ++row) {
      for (std::size_t column = 0; column < reach.count; ++column) {
        const std::size_t i = (lines.first + row * lines.step) * pooling_.columns.size +
                              reach.first + column * reach.step;
        if (!(x[i] > largest) && !std::isnan(x[i])) continue;
        largest = x[i];
        at = i;
      }
    }
    return static_cast<std::int64_t>(at);
  }

  const KernelTable& kernels_;
  const Pooling& pooling_;
  bool adaptive_;
  Inside inside_;
};

// A thread's list of a window's values.
struct Offsets {
  Offsets(Scratch& scratch, std::size_t values) : data(scratch.take<std::size_t>(values)) {}
  std::size_t* data;
};

}  // namespace

Status pool(const KernelTable& kernels, const Pooling& pooling, std::size_t planes, const float* x,
            float* out, std::int64_t* indices) {
  const PoolingCall call(kernels, pooling);
  const std::size_t windows = call.windows();
  if (planes == 0 || windows == 0) return Status::kOk;
  const std::size_t values = call.values();
  const std::size_t size = pooling.rows.size * pooling.columns.size;
  // Ten values a nanosecond; a window takes some of its own.
  const double ns =
      static_cast<double>(planes * windows) * (static_cast<double>(values) / 10 + 0.2);
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  const std::size_t participants = team.size();
  WithScratch<Offsets> offsets(participants * values);
  const std::size_t grain = std::max<std::size_t>(
      1, static_cast<std::size_t>(kWorthSharingNs * static_cast<double>(planes) / ns));
  team.run(planes, grain,
           [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
             for (std::size_t i = begin; i < end && !team.stopped(); ++i) {
               call.plane(x + i * size, out + i * windows,
                          indices == nullptr ? nullptr : indices + i * windows,
                          offsets->data + participant * values);
             }
           });
  return team.stopped() ? Status::kStopped : Status::kOk;
}

}  // namespace dynaquant
