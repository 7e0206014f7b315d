// SPDX-License-Identifier: MIT
// The scalar vocabulary: the meaning of every operation. Vectors have 16 lanes on every instruction
// set, so a kernel written over them computes the same thing everywhere. No include guard, no
// includes: <isa>.cc puts this file into its own anonymous namespace.
//
// Besides the lane operations, a vocabulary has
//   kTileRows      rows of a register tile
//   kBlockTiles    whether a tile of several rows takes a whole block of panels. The weights then
//                  lie in that order (PanelLayout::interleaved). A single row always takes a block.
//   kInt8Blocks    whether an int8 tile of several rows takes the panels of a block in turn, for
//                  what its rows need once
//   kFarBytes      int8 matrices above it come from beyond the nearest caches, and tiles prefetch
//                  them (prefetch.inl.h); 0: none does
//   kPairsRows     for dot_pairs.inl.h: rows that a tile sums at a time
//   kFreeMasks     whether loading the first of 16 lanes takes no longer than loading all
//   kStoredOffset  what is subtracted from a quantized byte when it is stored: 128 where products
//                  are of signed bytes
// and one of three products, which it includes last. Each defines the same function:
//   dot_tile(rows, stride, b, panel, acc): acc[r][p] += the products of row r (bytes at rows +
//   r * stride) and panel + p. A tile of several panels starts a block and is at most that block.
//   `b` are Int8Panels; tiles of matrices above kFarBytes may get PrefetchingPanels.
//
// Which product to include:
//   dot.inl.h        The instruction set multiplies 8-bit values and adds four products to a 32-bit
//                    lane (vpdpbusd, sdot). Needs `dot`. Start with this one: simd/avxvnni.h is the
//                    shortest example.
//   chains.inl.h     It adds two products to a 16-bit lane (vpmaddubsw). Needs `multiply_pairs`,
//                    `add_pairs`, `widen`, `PairsDot`, `TilePairsDot`, `SixteenBitDot`,
//                    `widen_into`. The matrix is planned when it is packed. Example:
//                    simd/avx2.h.
//   dot_pairs.inl.h  It multiplies to 16 bits and adds neighbours to 32-bit lanes at once (sadalp).
//                    Needs `no_pairs`, `add_products`, `join`. Example: simd/neon.h.
// All need `load_quad` and `load_weights`. The meaning of each is below; the tables of scalar.cc's
// tests run all three on every machine.

// scalar.cc sets these for its tests' tables.
#ifndef DYNAQUANT_PRODUCTS
#define DYNAQUANT_PRODUCTS "dot.inl.h"
#endif
#ifndef DYNAQUANT_BLOCK_TILES
#define DYNAQUANT_BLOCK_TILES false
#endif
#ifndef DYNAQUANT_STORED_OFFSET
#define DYNAQUANT_STORED_OFFSET 0
#endif

constexpr int kTileRows = 2;
constexpr int kPairsRows = 3;
constexpr bool kFreeMasks = true;
constexpr bool kBlockTiles = DYNAQUANT_BLOCK_TILES;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = DYNAQUANT_BLOCK_TILES ? 1 : 0;
constexpr int32_t kStoredOffset = DYNAQUANT_STORED_OFFSET;

struct F32 {
  float lane[16];
};
struct S32 {
  int32_t lane[16];
};
struct Mask {  // a truth value a lane
  bool lane[16];
};
#if DYNAQUANT_STORED_OFFSET == 0
using Stored = uint8_t;  // an activation less kStoredOffset
#else
using Stored = int8_t;
#endif
struct Quad {  // four activations, met by every column
  Stored value[4];
};
struct Weights {  // four weights of each column
  const int8_t* value;
};

// A function of lanes that is not inlined, and takes them by reference. Sixteen lanes one by one
// are long: inlined everywhere by zig's clang, they make this table 2.6 times larger (0.5 MB), and
// LSTMs of 128 units 3 % (INT8) to 7 % (float) faster (Zen 4).
#define DYNAQUANT_OUTLINE [[maybe_unused]] __attribute__((noinline))

// And one that is.
#define DYNAQUANT_DOT inline __attribute__((always_inline))

#define DYNAQUANT_LANES for (int lane = 0; lane < 16; ++lane)

inline uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

DYNAQUANT_OUTLINE F32 set_f32(float x) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = x;
  return v;
}
DYNAQUANT_OUTLINE S32 set_s32(int32_t x) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = x;
  return v;
}
DYNAQUANT_OUTLINE F32 load(const float* p) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = p[lane];
  return v;
}
DYNAQUANT_OUTLINE S32 load(const int32_t* p) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = p[lane];
  return v;
}
// float16, raw bits.
DYNAQUANT_OUTLINE F32 load(const uint16_t* p) {
  F32 v;
  DYNAQUANT_LANES {
    const uint32_t magnitude = p[lane] & 0x7fffu, sign = (uint32_t)(p[lane] & 0x8000u) << 16;
    // Shifted, the bits are a float that is 2^112 too small. Exponent 31 is like any other there.
    const float value = float_of(magnitude << 13) * 0x1p112f;
    v.lane[lane] = float_of(bits_of(value) | sign | (magnitude >= 0x7c00u ? 0x7f800000u : 0u));
  }
  return v;
}
DYNAQUANT_OUTLINE S32 load_u8(const uint8_t* p) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = p[lane];
  return v;
}
// Sixteen values of 4 bits, from the lowest on.
DYNAQUANT_OUTLINE S32 widen_u4(uint64_t u4x16) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)(u4x16 >> (4 * lane) & 15);
  return v;
}
// The first `count` lanes, 1..16; the others are 0 and their memory is not touched.
DYNAQUANT_OUTLINE F32 load_first(const float* p, size_t count) {
  if (count == 16) return load(p);
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = (size_t)lane < count ? p[lane] : 0.0f;
  return v;
}
// True where a byte is not 0. The lanes from `count` on are false, and their memory is not touched.
DYNAQUANT_OUTLINE Mask load_mask(const uint8_t* p) {
  Mask m;
  DYNAQUANT_LANES m.lane[lane] = p[lane] != 0;
  return m;
}
DYNAQUANT_OUTLINE Mask load_mask_first(const uint8_t* p, size_t count) {
  Mask m;
  DYNAQUANT_LANES m.lane[lane] = (size_t)lane < count && p[lane] != 0;
  return m;
}
// Every second value, p[0] to p[30]; p[31] is not touched.
DYNAQUANT_OUTLINE F32 load_even(const float* p) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = p[2 * lane];
  return v;
}
DYNAQUANT_OUTLINE void store(float* p, const F32& v) { DYNAQUANT_LANES p[lane] = v.lane[lane]; }
DYNAQUANT_OUTLINE void store_first(float* p, const F32& v, size_t count) {
  if (count == 16) return store(p, v);
  for (size_t lane = 0; lane < count; ++lane) p[lane] = v.lane[lane];
}
// 1 where true, 0 where false.
DYNAQUANT_OUTLINE void store_mask(uint8_t* p, const Mask& m) {
  DYNAQUANT_LANES p[lane] = (uint8_t)m.lane[lane];
}
DYNAQUANT_OUTLINE void store_mask_first(uint8_t* p, const Mask& m, size_t count) {
  for (size_t lane = 0; lane < count; ++lane) p[lane] = (uint8_t)m.lane[lane];
}
// The columns of 16 rows of 16 become the rows of `out`, bit for bit.
DYNAQUANT_OUTLINE void transpose_16x16(const float* in, size_t in_stride, float* out,
                                       size_t out_stride) {
  for (int row = 0; row < 16; ++row) {
    DYNAQUANT_LANES __builtin_memcpy(out + lane * out_stride + row, in + row * in_stride + lane, 4);
  }
}
// store_u8 takes as many vectors at once where that is faster than one by one (4 on x86), and then
// adds a zero point of 0..255 to their lanes. Here it takes one, as all have to.
constexpr size_t kStoredTogether = 1;
// Saturates each lane to 0..255, less kStoredOffset.
DYNAQUANT_OUTLINE void store_u8(uint8_t* p, const S32& v) {
  DYNAQUANT_LANES p[lane] =
      (uint8_t)((v.lane[lane] < 0 ? 0 : (v.lane[lane] > 255 ? 255 : v.lane[lane])) - kStoredOffset);
}

DYNAQUANT_OUTLINE F32 add(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] + b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 sub(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] - b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 mul(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] * b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 div(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] / b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 sqrt(const F32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = sqrtf(a.lane[lane]);
  return v;
}
// a * b + c, rounded once.
DYNAQUANT_OUTLINE F32 fma(const F32& a, const F32& b, const F32& c) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = fmaf(a.lane[lane], b.lane[lane], c.lane[lane]);
  return v;
}
// The sum of a single row's products with float16 weights. F32, unless widening to it is slow.
using HalfSum = F32;
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) { return fma(x, load(w), sum); }
inline F32 total(HalfSum sum) { return sum; }
// b where either is NaN, as x86's minps and maxps have it.
DYNAQUANT_OUTLINE F32 min(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] < b.lane[lane] ? a.lane[lane] : b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 max(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] > b.lane[lane] ? a.lane[lane] : b.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 abs(const F32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = float_of(bits_of(a.lane[lane]) & 0x7fffffffu);
  return v;
}
DYNAQUANT_OUTLINE F32 copy_sign(const F32& magnitude, const F32& sign) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] =
      float_of(bits_of(magnitude.lane[lane]) | (bits_of(sign.lane[lane]) & 0x80000000u));
  return v;  // the magnitude must not be negative
}
// The first `count` lanes of a, 1..16, and the others of b.
DYNAQUANT_OUTLINE F32 keep_first(const F32& a, size_t count, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = (size_t)lane < count ? a.lane[lane] : b.lane[lane];
  return v;
}
// Lane i is lane i ^ kDistance of a; 8, 4, 2 or 1.
template <int kDistance>
DYNAQUANT_OUTLINE F32 swap_lanes(const F32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane ^ kDistance];
  return v;
}
// To integers: the nearest, ties to even; the largest that is not above. A zero keeps its sign.
DYNAQUANT_OUTLINE F32 round_even(const F32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = rintf(a.lane[lane]);
  return v;
}
DYNAQUANT_OUTLINE F32 floor(const F32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = floorf(a.lane[lane]);
  return v;
}
// Comparisons of which each is false where a lane is NaN.
DYNAQUANT_OUTLINE Mask equal(const F32& a, const F32& b) {
  Mask m;
  DYNAQUANT_LANES m.lane[lane] = a.lane[lane] == b.lane[lane];
  return m;
}
DYNAQUANT_OUTLINE Mask less(const F32& a, const F32& b) {
  Mask m;
  DYNAQUANT_LANES m.lane[lane] = a.lane[lane] < b.lane[lane];
  return m;
}
DYNAQUANT_OUTLINE Mask less_equal(const F32& a, const F32& b) {
  Mask m;
  DYNAQUANT_LANES m.lane[lane] = a.lane[lane] <= b.lane[lane];
  return m;
}
DYNAQUANT_OUTLINE Mask opposite(const Mask& m) {
  Mask v;
  DYNAQUANT_LANES v.lane[lane] = !m.lane[lane];
  return v;
}
DYNAQUANT_OUTLINE F32 select(const Mask& m, const F32& yes, const F32& no) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = m.lane[lane] ? yes.lane[lane] : no.lane[lane];
  return v;
}
// Round to nearest even, for |x| < 2^22 (adding 1.5 * 2^23 leaves the integer in the low bits).
DYNAQUANT_OUTLINE S32 round_s32(const F32& a) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)(bits_of(a.lane[lane] + 12582912.0f) - 0x4b400000u);
  return v;
}
DYNAQUANT_OUTLINE F32 to_f32(const S32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = (float)a.lane[lane];
  return v;
}
// The bits of floats, and the floats of bits.
DYNAQUANT_OUTLINE S32 bits_of(const F32& a) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)bits_of(a.lane[lane]);
  return v;
}
DYNAQUANT_OUTLINE F32 float_of(const S32& a) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] = float_of((uint32_t)a.lane[lane]);
  return v;
}
// Shifts in copies of the sign.
template <int kShift>
DYNAQUANT_OUTLINE S32 shift_right(const S32& a) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = a.lane[lane] >> kShift;
  return v;
}
// The entry that the low three bits of each lane of `index` choose. Entries have 32 bits.
template <typename Entry>
DYNAQUANT_OUTLINE F32 lookup(const Entry (&table)[8], F32 index) {
  DYNAQUANT_LANES __builtin_memcpy(&index.lane[lane], &table[bits_of(index.lane[lane]) & 7], 4);
  return index;
}
// a + (b << kShift), on the lanes' bits as integers.
template <int kShift>
DYNAQUANT_OUTLINE F32 add_shifted(const F32& a, const F32& b) {
  F32 v;
  DYNAQUANT_LANES v.lane[lane] =
      float_of(bits_of(a.lane[lane]) + (bits_of(b.lane[lane]) << kShift));
  return v;
}
DYNAQUANT_OUTLINE S32 add(const S32& a, const S32& b) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)((uint32_t)a.lane[lane] + (uint32_t)b.lane[lane]);
  return v;
}
DYNAQUANT_OUTLINE S32 sub(const S32& a, const S32& b) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)((uint32_t)a.lane[lane] - (uint32_t)b.lane[lane]);
  return v;
}
DYNAQUANT_OUTLINE S32 mul(const S32& a, const S32& b) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = (int32_t)((uint32_t)a.lane[lane] * (uint32_t)b.lane[lane]);
  return v;
}
DYNAQUANT_OUTLINE float reduce_min(const F32& a) {
  float m = a.lane[0];
  DYNAQUANT_LANES m = a.lane[lane] < m ? a.lane[lane] : m;
  return m;
}
DYNAQUANT_OUTLINE float reduce_max(const F32& a) {
  float m = a.lane[0];
  DYNAQUANT_LANES m = a.lane[lane] > m ? a.lane[lane] : m;
  return m;
}
DYNAQUANT_OUTLINE bool any_nan(const F32& a) {
  bool nan = false;
  DYNAQUANT_LANES nan = nan || a.lane[lane] != a.lane[lane];
  return nan;
}

DYNAQUANT_DOT Quad load_quad(const uint8_t* p) {
  return {{(Stored)p[0], (Stored)p[1], (Stored)p[2], (Stored)p[3]}};
}
DYNAQUANT_DOT Weights load_weights(const int8_t* p) { return {p}; }  // 64 aligned bytes

// dot.inl.h. sums[column] += the dot product of the quad and the column's four weights. Where all
// the time is spent, so in vectors of gcc and clang: this file is compiled for size, which lanes
// one by one pay for with twice the time. A product fits an int16 lane, a sum does not.
DYNAQUANT_DOT S32 dot(S32 sums, Quad quad, Weights weights) {
  typedef int16_t Shorts __attribute__((vector_size(16)));
  typedef int32_t Ints __attribute__((vector_size(16)));
  const Shorts even = {quad.value[0], quad.value[2], quad.value[0], quad.value[2],
                       quad.value[0], quad.value[2], quad.value[0], quad.value[2]};
  const Shorts odd = {quad.value[1], quad.value[3], quad.value[1], quad.value[3],
                      quad.value[1], quad.value[3], quad.value[1], quad.value[3]};
#pragma GCC unroll 4
  for (int column = 0; column < 16; column += 4) {
    Shorts w;  // bytes 0 and 1, or 2 and 3, of a column in each lane
    Ints sum;
    __builtin_memcpy(&w, weights.value + 4 * column, sizeof w);
    __builtin_memcpy(&sum, sums.lane + column, sizeof sum);
    const Ints evens = (Ints)(even * ((w << 8) >> 8)), odds = (Ints)(odd * (w >> 8));
    sum += ((evens << 16) >> 16) + (evens >> 16) + ((odds << 16) >> 16) + (odds >> 16);
    __builtin_memcpy(sums.lane + column, &sum, sizeof sum);
  }
  return sums;
}

// chains.inl.h. Two int16 lanes a column: a0 w0 + a1 w1, and a2 w2 + a3 w3.
struct S16 {
  int16_t lane[32];
};
// Adds a quad to the lanes. What a panel's plan allows does not overflow them.
inline S16 add_pairs(S16 sums, Quad quad, Weights weights) {
  for (int lane = 0; lane < 32; ++lane) {
    const int8_t* w = weights.value + 2 * lane;
    const Stored* a = quad.value + 2 * (lane & 1);
    const int sum = sums.lane[lane] + a[0] * w[0] + a[1] * w[1];
    DYNAQUANT_CHECK(sum == (int16_t)sum);
    sums.lane[lane] = (int16_t)sum;
  }
  return sums;
}
// The lanes of a quad alone.
inline S16 multiply_pairs(Quad quad, Weights weights) { return add_pairs({}, quad, weights); }
// sums[column] += its two lanes.
inline S32 widen(S32 sums, S16 pairs) {
  DYNAQUANT_LANES sums.lane[lane] += pairs.lane[2 * lane] + pairs.lane[2 * lane + 1];
  return sums;
}
// Asks the compiler not to hold these sums in registers, which the int16 sums need.
inline void widen_into(S32* sums, S16 pairs) { *sums = widen(*sums, pairs); }
// sums[column] += the dot product, by int16 lanes: for panels whose quads do not overflow them.
struct PairsDot {
  static Weights load(const int8_t* p) { return load_weights(p); }
  static S32 add(S32 sums, Quad quad, Weights w) { return widen(sums, multiply_pairs(quad, w)); }
};
// The same for a tile of several rows and one panel.
using TilePairsDot = PairsDot;
// The same by 16-bit multiplications with 32-bit sums: for any panel.
struct SixteenBitDot {
  static Weights load(const int8_t* p) { return load_weights(p); }
  static S32 add(S32 sums, Quad quad, Weights w) { return dot(sums, quad, w); }
};

// dot_pairs.inl.h. Two sums a column: of depths 0 and 1 of each quad, and of depths 2 and 3.
struct Pairs {
  int32_t lane[32];
};
inline Pairs no_pairs() { return {}; }
// Adds a quad. Each product fits int16; their sums do not.
inline void add_products(Pairs& sums, Quad quad, const Weights& weights) {
  for (int lane = 0; lane < 32; ++lane) {
    const int8_t* w = weights.value + 2 * lane;
    const Stored* a = quad.value + 2 * (lane & 1);
    sums.lane[lane] += (int16_t)(a[0] * w[0]) + (int16_t)(a[1] * w[1]);
  }
}
// Each column's two sums added.
inline S32 join(const Pairs& sums) {
  S32 v;
  DYNAQUANT_LANES v.lane[lane] = sums.lane[2 * lane] + sums.lane[2 * lane + 1];
  return v;
}

#include DYNAQUANT_PRODUCTS

#undef DYNAQUANT_DOT
#undef DYNAQUANT_OUTLINE
#undef DYNAQUANT_LANES
#undef DYNAQUANT_PRODUCTS
#undef DYNAQUANT_BLOCK_TILES
#undef DYNAQUANT_STORED_OFFSET
