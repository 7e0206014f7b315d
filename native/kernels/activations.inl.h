// SPDX-License-Identifier: MIT
// exp, sigmoid and tanh: one sequence of IEEE operations on every instruction set.

// expm1(r) for |r| <= ln(2) / 2: r + r^2 * Q(r), Q the Taylor coefficients 1/2! .. 1/8!
// (truncation below 2^-31 of r; a minimax fit of lower degree saved nothing measurable).
DYNAQUANT_INLINE F32 expm1_reduced(F32 r) {
  F32 q = set_f32(2.48015873e-5f);
  q = fma(q, r, set_f32(1.98412698e-4f));
  q = fma(q, r, set_f32(1.38888889e-3f));
  q = fma(q, r, set_f32(8.33333333e-3f));
  q = fma(q, r, set_f32(4.16666667e-2f));
  q = fma(q, r, set_f32(1.66666667e-1f));
  q = fma(q, r, set_f32(0.5f));
  return fma(q, mul(r, r), r);
}

// x = n * ln(2) + r, |r| <= ln(2) / 2, with ln(2) in two parts (the first has 15 bits, so n times
// it is exact).
struct Reduced {
  S32 n;
  F32 r;
};
DYNAQUANT_INLINE Reduced reduce_by_ln2(F32 x) {
  const S32 n = round_s32(mul(x, set_f32(1.44269504f)));
  const F32 n_f32 = to_f32(n);
  const F32 r = fma(n_f32, set_f32(-0.693145752f), x);
  return {n, fma(n_f32, set_f32(-1.42860677e-6f), r)};
}

// 1 / (1 + exp(-x)). Clamped at +-87, where exp is still a normal float: sigmoid(-87) = 1.6e-38.
// The bound goes first in min and max, so a NaN passes.
DYNAQUANT_INLINE F32 sigmoid(F32 x) {
  const F32 y = min(set_f32(87.0f), max(set_f32(-87.0f), sub(set_f32(0.0f), x)));
  const Reduced y_reduced = reduce_by_ln2(y);
  const F32 scale = power_of_two(y_reduced.n);
  const F32 exp_y = fma(expm1_reduced(y_reduced.r), scale, scale);
  return div(set_f32(1.0f), add(set_f32(1.0f), exp_y));
}

// sign(x) * e / (e + 2) with e = expm1(2|x|): accurate near 0, where n = 0 and e is the polynomial.
// From |x| = 9.02 on tanh is 1 in float32.
DYNAQUANT_INLINE F32 tanh(F32 x) {
  const F32 y = min(set_f32(18.1f), mul(set_f32(2.0f), abs(x)));
  const Reduced y_reduced = reduce_by_ln2(y);
  const F32 scale = power_of_two(y_reduced.n);
  const F32 e = fma(expm1_reduced(y_reduced.r), scale, sub(scale, set_f32(1.0f)));
  return copy_sign(div(e, add(e, set_f32(2.0f))), x);
}

inline void sigmoid_kernel(const float* x, size_t count, float* out) {
  for (; count >= 16; x += 16, out += 16, count -= 16) store(out, sigmoid(load(x)));
  if (count) store_first(out, sigmoid(load_first(x, count)), count);
}

inline void tanh_kernel(const float* x, size_t count, float* out) {
  for (; count >= 16; x += 16, out += 16, count -= 16) store(out, tanh(load(x)));
  if (count) store_first(out, tanh(load_first(x, count)), count);
}
