// SPDX-License-Identifier: MIT
// exp, sigmoid and tanh: one sequence of IEEE operations on every instruction set.

// exp(x) = 2^n * (1 + m), n = rne(x / ln 2), m = expm1(r), r = x - n ln 2, |r| <= ln(2) / 2.
// n is found by adding 1.5 * 2^23 + 127: the sum's low bits are n + 127, the exponent of 2^n.
// ln 2 stands in two parts (the first has 15 bits, so n times it is exact).
// m = r + r^2 * Q(r), Q minimax of degree 5 in m's relative error: 2.4e-10 (degree 4: 1.3e-8, which
// takes tanh to 2.1 ulp).
struct Exponential {
  F32 scale;  // 2^n
  F32 m;
};
DYNAQUANT_INLINE Exponential exponential(F32 x) {
  const F32 magic = set_f32(12583039.0f);
  const F32 shifted = fma(x, set_f32(1.44269504f), magic);
  const F32 n = sub(shifted, magic);
  const F32 r = fma(n, set_f32(-1.42860677e-6f), fma(n, set_f32(-0.693145752f), x));
  // Pairs first (Estrin): a step of a small model waits for this, and it costs no operation more.
  const F32 r2 = mul(r, r);
  const F32 q01 = fma(set_f32(1.666666567e-1f), r, set_f32(0.5f));
  const F32 q23 = fma(set_f32(8.333389647e-3f), r, set_f32(4.166635871e-2f));
  const F32 q45 = fma(set_f32(1.984588162e-4f), r, set_f32(1.394066843e-3f));
  const F32 q = fma(fma(q45, r2, q23), r2, q01);
  return {low_bits_to_exponent(shifted), fma(q, r2, r)};
}

// 1 + exp(-x): sigmoid's denominator. Clamped at +-87, where exp is still a normal float. The bound
// goes first in min and max, so a NaN passes.
DYNAQUANT_INLINE F32 one_plus_exp_minus(F32 x) {
  const F32 y = min(set_f32(87.0f), max(set_f32(-87.0f), sub(set_f32(0.0f), x)));
  const Exponential e = exponential(y);
  return add(set_f32(1.0f), fma(e.m, e.scale, e.scale));
}
// tanh(|x|) = e / (e + 2), e = expm1(2|x|): accurate near 0, where n = 0 and e is the polynomial.
// From |x| = 9.02 on tanh is 1 in float32.
DYNAQUANT_INLINE F32 expm1_of_twice_abs(F32 x) {
  const F32 magnitude = abs(x);
  const Exponential e = exponential(min(set_f32(18.1f), add(magnitude, magnitude)));
  return fma(e.m, e.scale, sub(e.scale, set_f32(1.0f)));
}

DYNAQUANT_INLINE F32 sigmoid(F32 x) { return div(set_f32(1.0f), one_plus_exp_minus(x)); }
DYNAQUANT_INLINE F32 tanh(F32 x) {
  const F32 e = expm1_of_twice_abs(x);
  return copy_sign(div(e, add(e, set_f32(2.0f))), x);
}
// sigmoid(x) * tanh(y) with one division instead of two; where the denominator overflows (x < -70)
// the quotient is 0 and the product below 1e-30.
DYNAQUANT_INLINE F32 sigmoid_times_tanh(F32 x, F32 y) {
  const F32 e = expm1_of_twice_abs(y);
  return copy_sign(div(e, mul(one_plus_exp_minus(x), add(e, set_f32(2.0f)))), y);
}

inline void sigmoid_kernel(const float* x, size_t count, float* out) {
  for (; count >= 16; x += 16, out += 16, count -= 16) store(out, sigmoid(load(x)));
  if (count) store_first(out, sigmoid(load_first(x, count)), count);
}

inline void tanh_kernel(const float* x, size_t count, float* out) {
  for (; count >= 16; x += 16, out += 16, count -= 16) store(out, tanh(load(x)));
  if (count) store_first(out, tanh(load_first(x, count)), count);
}
