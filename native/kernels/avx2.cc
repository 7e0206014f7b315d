// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "choose_params.h"
#include "kernels.h"

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/avx2.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(avx2);
}  // namespace dynaquant
