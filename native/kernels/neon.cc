// SPDX-License-Identifier: MIT
#include <arm_neon.h>

#include "choose_params.h"
#include "dispatch.h"
#include "kernels.h"

#if !defined(__aarch64__) && !defined(_M_ARM64)
#error "this file is AArch64's: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/neon_lanes.h"
// Products and tiles.
#include "simd/neon.h"
// Kernels, written once over the vocabulary.
#include "activations.inl.h"
#include "dot_pairs.inl.h"
#include "embedding.inl.h"
#include "gemm.inl.h"
#include "params.inl.h"
#include "quantize.inl.h"
#include "recurrent.inl.h"
}  // namespace
#include "table.inl.h"
DYNAQUANT_KERNEL_TABLE(neon);
}  // namespace dynaquant
