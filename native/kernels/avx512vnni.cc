// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "choose_params.h"
#include "dispatch.h"
#include "kernels.h"

#ifndef __AVX512VNNI__
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
namespace {
#include "simd/avx512vnni.h"
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
DYNAQUANT_KERNEL_TABLE(avx512vnni);
}  // namespace dynaquant
