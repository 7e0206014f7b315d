// SPDX-License-Identifier: MIT
#include <arm_neon.h>

#include "choose_params.h"
#include "kernels.h"

#ifndef __aarch64__
#error "this file is AArch64's: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/neon.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(neon);
}  // namespace dynaquant
