// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "choose_params.h"
#include "kernels.h"

#if !defined(__AVXVNNI__) && !defined(DYNAQUANT_AVXVNNI_EVEX)
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/avxvnni.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_INT8_KERNELS(avxvnni);
}  // namespace dynaquant
