// SPDX-License-Identifier: MIT
#include <math.h>

#include "choose_params.h"
#include "dispatch.h"
#include "kernels.h"

namespace dynaquant {
namespace {
#include "simd/scalar.h"
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
DYNAQUANT_KERNEL_TABLE(scalar);
}  // namespace dynaquant
