// SPDX-License-Identifier: MIT
// Plain NEON (Armv8.0). See scalar.h for what each operation means.
// Activations are stored as q - 128, because products are of signed bytes. One product fits int16,
// but two do not ((-128)(-128) twice is 32,768), so each is added to a 32-bit sum with its
// neighbour at once (sadalp). A column has two sums, joined at the end of the depth
// (dot_pairs.inl.h). For any weights, 16 multiply-adds take two smull(2) and two sadalp. Tile: 6
// rows x 1 panel = 24 sums of floats, or twice 3 rows with 24 sums of products, + weights, quads
// and products, of 32 registers.
//
// Not used: chains (chains.inl.h), although a weight has an int16 lane of its own here and sums of
// |w| up to 255 are safe: two smlal(2) and, once a chain, two sadalp. Cortex-A57 and A72, which
// this file is for, have one pipe each for multiplications and pairwise sums and run them side by
// side, so 2 cycles would stay 2 cycles. It would also need a plan of its own, and 8 more registers
// a row for int16 sums.

#include "neon_lanes.h"

constexpr int kTileRows = 6;
constexpr int kPairsRows = 3;
constexpr bool kBlockTiles = false;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = 0;
constexpr int32_t kStoredOffset = 128;

struct Quad {
  int8x16_t s8x16;  // four times the same four
};
struct Pairs {  // two sums a column: of depths 0 and 1, and of 2 and 3
  int32x4_t v[8];
};

inline void store_u8(uint8_t* p, S32 v) {
  vst1q_u8(p, veorq_u8(saturate_u8(v), vdupq_n_u8(128)));  // q - 128 = q ^ 128 in eight bits
}
inline Quad load_quad(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return {vreinterpretq_s8_s32(vdupq_n_s32(four))};
}
inline Pairs no_pairs() {
  const int32x4_t v = vdupq_n_s32(0);
  return {{v, v, v, v, v, v, v, v}};
}
DYNAQUANT_INLINE void add_products(Pairs& sums, Quad quad, const Weights& weights) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int8x16_t w = weights.s8x16[i];
    sums.v[2 * i] = vpadalq_s16(sums.v[2 * i], vmull_s8(vget_low_s8(w), vget_low_s8(quad.s8x16)));
    sums.v[2 * i + 1] = vpadalq_s16(sums.v[2 * i + 1], vmull_high_s8(w, quad.s8x16));
  }
}
inline S32 join(const Pairs& sums) {
  return each<S32>([&](int i) { return vpaddq_s32(sums.v[2 * i], sums.v[2 * i + 1]); });
}

#include "dot_pairs.inl.h"
