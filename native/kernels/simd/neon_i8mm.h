// SPDX-License-Identifier: MIT
// NEON with the int8 matrix extension (Armv8.6). See scalar.h for what each operation means.
// dot: four sudot, signed weights times unsigned activations, as these are.
// Tile: 6 rows x 1 panel = 24 sums + 4 weights + quads, of 32 registers.
//
// Not used: usmmla, 2 rows x 2 columns x 8 depth, 32 multiply-adds. Two quads of a panel make its
// operands with 8 zips, so a tile of 6 rows would take 24 usmmla and 8 zips instead of 48 sudot a
// depth of 8, for a second form of tiles and sums; to be tried where it can be measured.

#include "neon_lanes.h"

constexpr int kTileRows = 6;
constexpr bool kBlockTiles = false;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = 0;
constexpr int32_t kStoredOffset = 0;

struct Quad {
  uint8x8_t u8x4;  // in lane 0
};

inline void store_u8(uint8_t* p, S32 v) { vst1q_u8(p, saturate_u8(v)); }
inline Quad load_quad(const uint8_t* p) { return {load_four(p)}; }
inline S32 dot(S32 sums, Quad quad, const Weights& weights) {
  return each<S32>(
      [&](int i) { return vsudotq_lane_s32(sums.v[i], weights.s8x16[i], quad.u8x4, 0); });
}

#include "dot.inl.h"
