// SPDX-License-Identifier: MIT
#include <arm_neon.h>

#include "choose_params.h"
#include "dispatch.h"
#include "kernels.h"

#if !defined(__ARM_FEATURE_MATMUL_INT8) && !defined(_MSC_VER)
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/neon_lanes.h"
// Products and tiles.
#include "simd/neon_i8mm.h"
// Kernels, written once over the vocabulary.
#include "activations.inl.h"
#include "dot.inl.h"
#include "embedding.inl.h"
#include "gemm.inl.h"
#include "params.inl.h"
#include "quantize.inl.h"
#include "recurrent.inl.h"
}  // namespace
#include "table.inl.h"
DYNAQUANT_KERNEL_TABLE(neon_i8mm);
}  // namespace dynaquant
