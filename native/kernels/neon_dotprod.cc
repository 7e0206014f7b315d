// SPDX-License-Identifier: MIT
#include <arm_neon.h>

#include "choose_params.h"
#include "kernels.h"

#ifndef __ARM_FEATURE_DOTPROD
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/neon_dotprod.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_INT8_KERNELS(neon_dotprod);
}  // namespace dynaquant
