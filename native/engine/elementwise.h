// SPDX-License-Identifier: MIT
// Functions of each element of one tensor, or of several that are broadcast to one shape.
#ifndef DYNAQUANT_ENGINE_ELEMENTWISE_H_
#define DYNAQUANT_ENGINE_ELEMENTWISE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace dynaquant {

constexpr std::size_t kMaxOperands = 3;

// A dimension of the result, and how far apart an operand's elements are along it: 0 where it is
// broadcast.
struct Axis {
  std::size_t size;
  std::size_t strides[kMaxOperands];
};
// All dimensions, at least one, the outermost first. No size is 0. Along the last one strides are 0
// or 1.
struct Axes {
  const Axis* axes;
  std::size_t rank;
};

void apply(const KernelTable& kernels, Unary function, const float* x, std::size_t count,
           const Numbers& numbers, float* out);
void apply(const KernelTable& kernels, Binary function, const float* a, const float* b,
           const Axes& axes, float* out);
void compare(const KernelTable& kernels, Comparison function, const float* a, const float* b,
             const Axes& axes, std::uint8_t* out);
void select(const KernelTable& kernels, const std::uint8_t* condition, const float* yes,
            const float* no, const Axes& axes, float* out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ELEMENTWISE_H_
