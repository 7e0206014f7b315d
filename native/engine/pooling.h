// SPDX-License-Identifier: MIT
// Pooling: the largest value or the mean of each window of a plane.
#ifndef DYNAQUANT_ENGINE_POOLING_H_
#define DYNAQUANT_ENGINE_POOLING_H_

#include <cstddef>
#include <cstdint>

#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// The windows along a dimension.
struct PoolingAxis {
  std::size_t size;      // of the input
  std::size_t count;     // of the windows
  std::size_t kernel;    // values of a window
  std::size_t stride;    // from a window to the next
  std::size_t dilation;  // from a value to the next
  std::size_t padding;   // before the input; no window is in it as a whole
};

enum class Pool : std::uint8_t {
  kMax,           // padding counts as -inf
  kMean,          // of what is inside the input
  kMeanOfPadded,  // padding counts as 0
  kAdaptiveMax,   // windows that cover the input evenly: from floor(i size / count)
  kAdaptiveMean,  // to ceil((i + 1) size / count)
};

struct Pooling {
  Pool pool;
  PoolingAxis rows;
  PoolingAxis columns;
  double divisor;  // of means; 0 for the number of values
};

// x: [planes][rows][columns], out: [planes][windows]. `indices`, null unless for maxima, gets where
// each of them is in its plane.
Status pool(const KernelTable& kernels, const Pooling& pooling, std::size_t planes, const float* x,
            float* out, std::int64_t* indices);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_POOLING_H_
