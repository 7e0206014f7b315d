// SPDX-License-Identifier: MIT
#include <math.h>

// For size the compiler decides what is inlined: lanes are in memory here anyway.
#define DYNAQUANT_INLINE inline

#include "choose_params.h"
#include "kernels.h"

namespace dynaquant {

namespace {
#include "simd/scalar.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(scalar);

// Tables for tests, which no shipped build has (scripts/build-variant.mjs): what scalar itself does
// not use, so that every product runs on every machine.
#ifdef DYNAQUANT_DIALECTS
namespace blocks {
namespace {
#define DYNAQUANT_BLOCK_TILES true
#include "simd/scalar.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(scalar_blocks);
}  // namespace blocks

namespace chains {
namespace {
#define DYNAQUANT_PRODUCTS "chains.inl.h"
#include "simd/scalar.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(scalar_chains);
}  // namespace chains

namespace pairs {
namespace {
#define DYNAQUANT_PRODUCTS "dot_pairs.inl.h"
#define DYNAQUANT_STORED_OFFSET 128
#include "simd/scalar.h"
// Kernels, over the vocabulary above.
#include "kernels.inl.h"
}  // namespace
DYNAQUANT_KERNEL_TABLE(scalar_pairs);
}  // namespace pairs
#endif

}  // namespace dynaquant
