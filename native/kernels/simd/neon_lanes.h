// SPDX-License-Identifier: MIT
// The lanes of AArch64's NEON: a vector is four q registers. neon.h, neon_dotprod.h and neon_i8mm.h
// add products and tiles. See scalar.h for what each operation means.

constexpr bool kFreeMasks = false;

struct F32 {
  float32x4_t v[4];
};
struct S32 {
  int32x4_t v[4];
};
struct Mask {  // all bits of a lane
  uint32x4_t v[4];
};
struct Weights {  // [4 columns][4 depth] in each register
  int8x16_t s8x16[4];
};

// A vector of the registers that `make(i)` returns.
template <typename Vector, typename Make>
DYNAQUANT_INLINE Vector each(const Make& make) {
  return {{make(0), make(1), make(2), make(3)}};
}

inline F32 set_f32(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}
inline S32 set_s32(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {{v, v, v, v}};
}
inline F32 load(const float* p) {
  return each<F32>([=](int i) { return vld1q_f32(p + 4 * i); });
}
inline S32 load(const int32_t* p) {
  return each<S32>([=](int i) { return vld1q_s32(p + 4 * i); });
}
inline F32 load(const uint16_t* p) {
  return each<F32>([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline S32 widen_u8(uint8x16_t u8x16) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(u8x16)), high = vmovl_high_u8(u8x16);
  return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
           vreinterpretq_s32_u32(vmovl_high_u16(low)),
           vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
           vreinterpretq_s32_u32(vmovl_high_u16(high))}};
}
inline S32 load_u8(const uint8_t* p) { return widen_u8(vld1q_u8(p)); }
inline S32 widen_u4(uint64_t u4x16) {
  const uint8x8_t pairs = vcreate_u8(u4x16);
  const uint8x8_t even = vand_u8(pairs, vdup_n_u8(15)), odd = vshr_n_u8(pairs, 4);
  return widen_u8(vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd)));
}
inline F32 load_first(const float* p, size_t count) {
  return each<F32>([=](int i) {
    const float* q = p + 4 * i;
    const int left = (int)count - 4 * i;
    if (left >= 4) return vld1q_f32(q);
    float32x4_t v = vdupq_n_f32(0.0f);
    if (left > 0) v = vld1q_lane_f32(q, v, 0);
    if (left > 1) v = vld1q_lane_f32(q + 1, v, 1);
    if (left > 2) v = vld1q_lane_f32(q + 2, v, 2);
    return v;
  });
}
inline Mask nonzero(uint8x16_t u8x16) {
  const S32 v = widen_u8(u8x16);
  return each<Mask>([&](int i) { return vtstq_s32(v.v[i], v.v[i]); });
}
inline Mask load_mask(const uint8_t* p) { return nonzero(vld1q_u8(p)); }
inline Mask load_mask_first(const uint8_t* p, size_t count) {
  uint8x16_t u8x16 = vdupq_n_u8(0);
  __builtin_memcpy(&u8x16, p, count);
  return nonzero(u8x16);
}
inline F32 load_even(const float* p) {
  return each<F32>([=](int i) {
    const float32x4_t first = vld1q_f32(p + 8 * i), second = vld1q_f32(p + 8 * i + 3);
    return vcombine_f32(vget_low_f32(vuzp1q_f32(first, first)),
                        vget_low_f32(vuzp2q_f32(second, second)));
  });
}
inline void store(float* p, F32 v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v.v[i]);
}
inline void store_first(float* p, F32 v, size_t count) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    float* q = p + 4 * i;
    const int left = (int)count - 4 * i;
    if (left >= 4) {
      vst1q_f32(q, v.v[i]);
    } else {
      if (left > 0) vst1q_lane_f32(q, v.v[i], 0);
      if (left > 1) vst1q_lane_f32(q + 1, v.v[i], 1);
      if (left > 2) vst1q_lane_f32(q + 2, v.v[i], 2);
    }
  }
}
inline uint8x16_t ones_and_zeros(Mask m) {
  const uint16x8_t low = vmovn_high_u32(vmovn_u32(m.v[0]), m.v[1]);
  const uint16x8_t high = vmovn_high_u32(vmovn_u32(m.v[2]), m.v[3]);
  return vandq_u8(vmovn_high_u16(vmovn_u16(low), high), vdupq_n_u8(1));
}
inline void store_mask(uint8_t* p, Mask m) { vst1q_u8(p, ones_and_zeros(m)); }
inline void store_mask_first(uint8_t* p, Mask m, size_t count) {
  const uint8x16_t bytes = ones_and_zeros(m);
  __builtin_memcpy(p, &bytes, count);
}
inline void transpose_16x16(const float* in, size_t in_stride, float* out, size_t out_stride) {
  for (size_t row = 0; row < 16; row += 4) {
#pragma GCC unroll 4
    for (size_t column = 0; column < 16; column += 4) {
      const float* p = in + row * in_stride + column;
      const float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + in_stride);
      const float32x4_t c = vld1q_f32(p + 2 * in_stride), d = vld1q_f32(p + 3 * in_stride);
      const float64x2_t even_ab = vreinterpretq_f64_f32(vtrn1q_f32(a, b));
      const float64x2_t odd_ab = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
      const float64x2_t even_cd = vreinterpretq_f64_f32(vtrn1q_f32(c, d));
      const float64x2_t odd_cd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
      float* q = out + column * out_stride + row;
      vst1q_f32(q, vreinterpretq_f32_f64(vtrn1q_f64(even_ab, even_cd)));
      vst1q_f32(q + out_stride, vreinterpretq_f32_f64(vtrn1q_f64(odd_ab, odd_cd)));
      vst1q_f32(q + 2 * out_stride, vreinterpretq_f32_f64(vtrn2q_f64(even_ab, even_cd)));
      vst1q_f32(q + 3 * out_stride, vreinterpretq_f32_f64(vtrn2q_f64(odd_ab, odd_cd)));
    }
  }
}
constexpr size_t kStoredTogether = 1;
// Each lane saturated to 0..255: store_u8 before it subtracts kStoredOffset.
inline uint8x16_t saturate_u8(S32 v) {
  const uint16x8_t low = vqmovun_high_s32(vqmovun_s32(v.v[0]), v.v[1]);
  const uint16x8_t high = vqmovun_high_s32(vqmovun_s32(v.v[2]), v.v[3]);
  return vqmovn_high_u16(vqmovn_u16(low), high);
}

inline F32 add(F32 a, F32 b) {
  return each<F32>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline F32 sub(F32 a, F32 b) {
  return each<F32>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline F32 mul(F32 a, F32 b) {
  return each<F32>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline F32 div(F32 a, F32 b) {
  return each<F32>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline F32 sqrt(F32 a) {
  return each<F32>([&](int i) { return vsqrtq_f32(a.v[i]); });
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return each<F32>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
using HalfSum = F32;
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) { return fma(x, load(w), sum); }
inline F32 total(HalfSum sum) { return sum; }
// Not fmin and fmax, which give NaN if either is NaN, and order the zeros.
inline F32 min(F32 a, F32 b) {
  return each<F32>([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
inline F32 max(F32 a, F32 b) {
  return each<F32>([&](int i) { return vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
inline F32 abs(F32 a) {
  return each<F32>([&](int i) { return vabsq_f32(a.v[i]); });
}
inline F32 copy_sign(F32 magnitude, F32 sign) {
  const uint32x4_t bit = vdupq_n_u32(0x80000000u);
  return each<F32>([&](int i) { return vbslq_f32(bit, sign.v[i], magnitude.v[i]); });
}
inline F32 keep_first(F32 a, size_t count, F32 b) {
  constexpr uint32_t kLanes[4] = {0, 1, 2, 3};
  const uint32x4_t lanes = vld1q_u32(kLanes);
  return each<F32>([&](int i) {
    const uint32x4_t lane = vaddq_u32(lanes, vdupq_n_u32(4 * (uint32_t)i));
    return vbslq_f32(vcltq_u32(lane, vdupq_n_u32((uint32_t)count)), a.v[i], b.v[i]);
  });
}
template <int kDistance>
inline F32 swap_lanes(F32 a) {
  return each<F32>([&](int i) {
    if constexpr (kDistance >= 4) return a.v[i ^ (kDistance / 4)];
    if constexpr (kDistance == 2) return vextq_f32(a.v[i], a.v[i], 2);
    return vrev64q_f32(a.v[i]);
  });
}
inline F32 round_even(F32 a) {
  return each<F32>([&](int i) { return vrndnq_f32(a.v[i]); });
}
inline F32 floor(F32 a) {
  return each<F32>([&](int i) { return vrndmq_f32(a.v[i]); });
}
inline Mask equal(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vceqq_f32(a.v[i], b.v[i]); });
}
inline Mask less(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vcltq_f32(a.v[i], b.v[i]); });
}
inline Mask less_equal(F32 a, F32 b) {
  return each<Mask>([&](int i) { return vcleq_f32(a.v[i], b.v[i]); });
}
inline Mask opposite(Mask m) {
  return each<Mask>([&](int i) { return vmvnq_u32(m.v[i]); });
}
inline F32 select(Mask m, F32 yes, F32 no) {
  return each<F32>([&](int i) { return vbslq_f32(m.v[i], yes.v[i], no.v[i]); });
}
inline S32 bits_of(F32 a) {
  return each<S32>([&](int i) { return vreinterpretq_s32_f32(a.v[i]); });
}
inline F32 float_of(S32 a) {
  return each<F32>([&](int i) { return vreinterpretq_f32_s32(a.v[i]); });
}
template <int kShift>
inline S32 shift_right(S32 a) {
  return each<S32>([&](int i) { return vshrq_n_s32(a.v[i], kShift); });
}
inline S32 round_s32(F32 a) {
  return each<S32>([&](int i) { return vcvtnq_s32_f32(a.v[i]); });
}
inline F32 to_f32(S32 a) {
  return each<F32>([&](int i) { return vcvtq_f32_s32(a.v[i]); });
}
template <typename Entry>
inline F32 lookup(const Entry (&table)[8], F32 index) {
  const uint8_t* bytes = (const uint8_t*)table;
  const uint8x16x2_t entries = {{vld1q_u8(bytes), vld1q_u8(bytes + 16)}};
  return each<F32>([&](int i) {
    // Byte b of entry e is at 4 e + b.
    const uint32x4_t entry = vandq_u32(vreinterpretq_u32_f32(index.v[i]), vdupq_n_u32(7));
    const uint32x4_t places = vmlaq_u32(vdupq_n_u32(0x03020100), entry, vdupq_n_u32(0x04040404));
    return vreinterpretq_f32_u8(vqtbl2q_u8(entries, vreinterpretq_u8_u32(places)));
  });
}
template <int kShift>
inline F32 add_shifted(F32 a, F32 b) {
  return each<F32>([&](int i) {
    const uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(b.v[i]), kShift);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a.v[i]), shifted));
  });
}
inline S32 add(S32 a, S32 b) {
  return each<S32>([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline S32 sub(S32 a, S32 b) {
  return each<S32>([&](int i) { return vsubq_s32(a.v[i], b.v[i]); });
}
inline S32 mul(S32 a, S32 b) {
  return each<S32>([&](int i) { return vmulq_s32(a.v[i], b.v[i]); });
}
// Not for NaN, which a range never holds.
inline float reduce_min(F32 a) {
  return vminvq_f32(vminq_f32(vminq_f32(a.v[0], a.v[1]), vminq_f32(a.v[2], a.v[3])));
}
inline float reduce_max(F32 a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3])));
}
inline bool any_nan(F32 a) {
  uint32x4_t numbers = vceqq_f32(a.v[0], a.v[0]);
#pragma GCC unroll 4
  for (int i = 1; i < 4; ++i) numbers = vandq_u32(numbers, vceqq_f32(a.v[i], a.v[i]));
  return vminvq_u32(numbers) == 0;
}

inline Weights load_weights(const int8_t* p) {
  return each<Weights>([=](int i) { return vld1q_s8(p + 16 * i); });
}
// Four bytes in lane 0, where a dot product "by element" reads them. Filling all lanes (ld1r) would
// take a turn of the vector pipes, which the products need.
inline uint8x8_t load_four(const uint8_t* p) {
  float four;
  __builtin_memcpy(&four, p, sizeof four);
  return vreinterpret_u8_f32(vset_lane_f32(four, vdup_n_f32(0.0f), 0));
}
