// SPDX-License-Identifier: MIT
#include <wasm_simd128.h>

#include "choose_params.h"
#include "kernels.h"

namespace dynaquant {
namespace {
#include "simd/wasm_relaxed.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(wasm_relaxed);
}  // namespace dynaquant
