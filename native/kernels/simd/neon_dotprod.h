// SPDX-License-Identifier: MIT
// NEON with the dot product extension (Armv8.2). See scalar.h for what each operation means.
// dot: four sdot, 16 multiply-adds each. They are of signed bytes, so activations are stored as
// q - 128 and the zero point moves along (`seed` in products.inl.h): exact for the full range too.
// Tile: 6 rows x 1 panel = 24 sums + 4 weights + quads, of 32 registers.

#include "neon_lanes.h"

constexpr int kTileRows = 6;
constexpr bool kBlockTiles = false;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = 0;
constexpr int32_t kStoredOffset = 128;

struct Quad {
  int8x8_t s8x4;  // in lane 0
};

inline void store_u8(uint8_t* p, S32 v) {
  vst1q_u8(p, veorq_u8(saturate_u8(v), vdupq_n_u8(128)));  // q - 128 = q ^ 128 in eight bits
}
inline Quad load_quad(const uint8_t* p) { return {vreinterpret_s8_u8(load_four(p))}; }
inline S32 dot(S32 sums, Quad quad, const Weights& weights) {
  return each<S32>(
      [&](int i) { return vdotq_lane_s32(sums.v[i], weights.s8x16[i], quad.s8x4, 0); });
}

#include "dot.inl.h"
