// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "choose_params.h"
#include "dispatch.h"
#include "kernels.h"

#if !defined(__AVXVNNI__) && !defined(DYNAQUANT_AVXVNNI_EVEX) && !defined(_MSC_VER)
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/ymm_lanes.h"
// Products and tiles.
#include "simd/avxvnni.h"
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
DYNAQUANT_KERNEL_TABLE(avxvnni);
}  // namespace dynaquant
