// SPDX-License-Identifier: MIT
// Tensors whose elements change places: permuted, sliced, repeated, joined.
#ifndef DYNAQUANT_ENGINE_REARRANGE_H_
#define DYNAQUANT_ENGINE_REARRANGE_H_

#include <cstddef>

#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

constexpr std::size_t kMaxDims = 65;  // a tensor's 64, and one for the halves of 8 bytes

// A dimension of what is moved: how far apart its elements lie, in elements of 4 bytes.
struct MovedDim {
  std::size_t size;
  std::ptrdiff_t in;
  std::ptrdiff_t out;  // not 0: no two elements have the same place in `out`
};

// out[sum of i * dim.out] = in[sum of i * dim.in] for all indices i of the dimensions, bit for bit.
// There are at most kMaxDims, each with at least one element, the last with the smallest steps in
// `out`. `out` is undefined unless kOk is returned.
Status rearrange(const KernelTable& kernels, const float* in, const MovedDim* dims,
                 std::size_t rank, float* out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_REARRANGE_H_
