// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "choose_params.h"
#include "kernels.h"

#ifndef __AVX512VNNI__
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/avx512vnni.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(avx512vnni);
}  // namespace dynaquant
