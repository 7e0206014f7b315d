// SPDX-License-Identifier: MIT
// exp, log, erf, and what activations make of them: one sequence of IEEE operations on every
// instruction set. A constant is the first argument of min and max, so that a NaN passes.
//
// The polynomials are minimax fits of this project, each with its error relative to exact.

// exp(y) = mantissa * power * power, power = 2^n, n = rne(y / (2 ln 2)). With half of the exponent
// in each of two factors, results are right down to the subnormal numbers and up to infinity,
// rounded once. Adding 1.5 * 2^23 + 127 finds n: the low bits of the sum are n + 127.
constexpr float kHalfLog2OfE = 0.721347520f, kHalves = 12583039.0f;
// 2 ln 2 in two parts. A multiple of the first by n is exact.
constexpr float kTwoLn2 = 1.38629150390625f, kTwoLn2Rest = 2.85721364e-6f;

struct ExpParts {
  F32 rest;   // of the exponent: |rest| <= ln 2
  F32 power;  // 2^n
};
// Of y from -106 to 89.
DYNAQUANT_INLINE ExpParts exp_parts(F32 y) {
  const F32 halves = fma(y, set_f32(kHalfLog2OfE), set_f32(kHalves));
  const F32 n = sub(halves, set_f32(kHalves));
  const F32 rest = fma(n, set_f32(-kTwoLn2), y);
  return {fma(n, set_f32(-kTwoLn2Rest), rest), add_shifted<23>(set_f32(0.0f), halves)};
}
// Of y + more, where `more` is what y was rounded by.
DYNAQUANT_INLINE ExpParts exp_parts(F32 y, F32 more) {
  const ExpParts parts = exp_parts(y);
  return {add(parts.rest, more), parts.power};
}
// exp(rest) - 1 = rest + rest^2 * polynomial, to 1.5e-8 of exp(rest).
DYNAQUANT_INLINE F32 expm1_of_rest(F32 rest) {
  F32 q = fma(rest, set_f32(1.96113504e-4f), set_f32(1.41046767e-3f));
  q = fma(q, rest, set_f32(8.33610912e-3f));
  q = fma(q, rest, set_f32(4.16612583e-2f));
  q = fma(q, rest, set_f32(1.66666140e-1f));
  q = fma(q, rest, set_f32(5.00000347e-1f));
  return fma(q, mul(rest, rest), rest);
}
DYNAQUANT_INLINE F32 exp(F32 x) {
  const ExpParts parts = exp_parts(min(set_f32(89.0f), max(set_f32(-104.0f), x)));
  const F32 mantissa = add(expm1_of_rest(parts.rest), set_f32(1.0f));
  return mul(mul(mantissa, parts.power), parts.power);
}
// exp(x) - 1 for x <= 0. Below -ln 2 the power is at most 1/4, and less 1 exact; above it is 1.
DYNAQUANT_INLINE F32 expm1_of_negative(F32 x) {
  const ExpParts parts = exp_parts(max(set_f32(-104.0f), x));
  const F32 power = mul(parts.power, parts.power);
  return fma(expm1_of_rest(parts.rest), power, sub(power, set_f32(1.0f)));
}

// log(x) = e ln 2 + log(1 + f), x = 2^e (1 + f), 1 + f from sqrt(1/2) to sqrt(2). For normal x.
DYNAQUANT_INLINE F32 log_of_normal(F32 x, F32 exponent_bias) {
  const S32 e = shift_right<23>(sub(bits_of(x), set_s32(0x3f3504f3)));
  const F32 f = sub(add_shifted<23>(x, float_of(sub(set_s32(0), e))), set_f32(1.0f));
  const F32 exponent = sub(to_f32(e), exponent_bias);
  // log(1 + f) = f - f^2 / 2 + f^3 * polynomial, to 7.5e-10.
  F32 p = fma(f, set_f32(6.74664034e-2f), set_f32(-1.16756518e-1f));
  p = fma(p, f, set_f32(1.18881622e-1f));
  p = fma(p, f, set_f32(-1.24055889e-1f));
  p = fma(p, f, set_f32(1.42195524e-1f));
  p = fma(p, f, set_f32(-1.66679959e-1f));
  p = fma(p, f, set_f32(2.00021187e-1f));
  p = fma(p, f, set_f32(-2.50000096e-1f));
  p = fma(p, f, set_f32(3.33333126e-1f));
  // ln 2 in two parts, the smaller summands first. A multiple of the first by e is exact.
  const F32 square = mul(f, f);
  const F32 small = fma(exponent, set_f32(1.42860677e-6f), mul(mul(square, f), p));
  return fma(exponent, set_f32(0.693145752f), add(fma(square, set_f32(-0.5f), small), f));
}
DYNAQUANT_INLINE F32 log(F32 x) {
  const Mask tiny = less(x, set_f32(0x1p-126f));
  const F32 zero = set_f32(0.0f);
  F32 y =
      log_of_normal(select(tiny, mul(x, set_f32(0x1p25f)), x), select(tiny, set_f32(25.0f), zero));
  y = select(less(x, set_f32(__builtin_inff())), y, x);  // infinity and NaN are their own
  y = select(less(x, zero), set_f32(__builtin_nanf("")), y);
  return select(equal(x, zero), set_f32(-__builtin_inff()), y);
}
// log(1 + x), 0 <= x <= 1. What the sum was rounded by is added to first order.
DYNAQUANT_INLINE F32 log1p_of_fraction(F32 x) {
  const F32 one = set_f32(1.0f), w = add(x, one);
  return add(log_of_normal(w, set_f32(0.0f)), div(sub(x, sub(w, one)), w));
}

// factor * (1 - Phi(t)), Phi the normal distribution's cumulative function, 0 <= t <= 14.5. It is
// exp(-t^2 / 2) times a ratio of polynomials, to 5.9e-9. Their coefficients are all positive, so
// that nothing cancels, and t^2 is exact in two parts: the relative error is small in the far tail
// too.
DYNAQUANT_INLINE F32 times_normal_tail(F32 factor, F32 t) {
  const F32 square = mul(t, t), rest_of_square = fma(t, t, sub(set_f32(0.0f), square));
  const F32 half = set_f32(-0.5f);
  const ExpParts parts = exp_parts(mul(square, half), mul(rest_of_square, half));
  F32 p = fma(t, set_f32(4.11628e-3f), set_f32(4.063304e-2f));
  p = fma(p, t, set_f32(1.8323461e-1f));
  p = fma(p, t, set_f32(4.3829426e-1f));
  p = fma(p, t, set_f32(5.0e-1f));
  F32 q = fma(t, set_f32(1.031786e-2f), set_f32(1.0185838e-1f));
  q = fma(q, t, set_f32(4.6946922e-1f));
  q = fma(q, t, set_f32(1.20250098f));
  q = fma(q, t, set_f32(1.6744735f));
  q = fma(q, t, set_f32(1.0f));
  const F32 mantissa = add(expm1_of_rest(parts.rest), set_f32(1.0f));
  return mul(mul(mul(mul(mantissa, div(p, q)), factor), parts.power), parts.power);
}

DYNAQUANT_INLINE F32 erf(F32 x) {
  const F32 magnitude = abs(x), square = mul(x, x);
  // Below 1 x times a polynomial, to 1.3e-9.
  F32 p = fma(square, set_f32(7.85386113e-5f), set_f32(-8.01019356e-4f));
  p = fma(p, square, set_f32(5.18832768e-3f));
  p = fma(p, square, set_f32(-2.68538119e-2f));
  p = fma(p, square, set_f32(1.12835851e-1f));
  p = fma(p, square, set_f32(-3.76126258e-1f));
  p = fma(p, square, set_f32(1.12837917f));
  // Above, 1 - 2 (1 - Phi(sqrt(2) x)). From 3.92 on that is 1 in float32.
  const F32 t = mul(min(set_f32(4.0f), magnitude), set_f32(1.41421356f));
  const F32 rest = sub(set_f32(1.0f), times_normal_tail(set_f32(2.0f), t));
  return select(less(magnitude, set_f32(1.0f)), mul(p, x), copy_sign(rest, x));
}

DYNAQUANT_INLINE F32 relu(F32 x) { return max(set_f32(0.0f), x); }

// x Phi(x) = relu(x) - |x| (1 - Phi(|x|)). From -14.5 on the product is 0 in float32.
DYNAQUANT_INLINE F32 gelu(F32 x) {
  const F32 t = min(set_f32(14.5f), abs(x));
  return sub(relu(x), times_normal_tail(t, t));
}
// x * sigmoid(y), where y is +-magnitude with the sign of x: (relu(x) + min(x, 0) * e) / (1 + e),
// e = exp(-magnitude). Where the bound of min(x, 0) matters, e is 0.
DYNAQUANT_INLINE F32 times_sigmoid(F32 x, F32 magnitude) {
  const F32 e = exp(sub(set_f32(0.0f), magnitude));
  const F32 negative = max(set_f32(-200.0f), min(set_f32(0.0f), x));
  return div(fma(negative, e, relu(x)), add(e, set_f32(1.0f)));
}
DYNAQUANT_INLINE F32 silu(F32 x) { return times_sigmoid(x, abs(x)); }
// x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is 0.5 x (1 + tanh(half of that)).
DYNAQUANT_INLINE F32 gelu_tanh(F32 x) {
  const F32 slope = fma(mul(x, x), set_f32(7.13548162e-2f), set_f32(1.59576912f));
  return times_sigmoid(x, mul(abs(x), slope));
}

// log(1 + exp(beta x)) / beta, and x where beta x is above the threshold.
DYNAQUANT_INLINE F32 softplus(F32 x, F32 beta, F32 threshold) {
  const F32 y = mul(x, beta);
  const F32 bend = log1p_of_fraction(exp(sub(set_f32(0.0f), abs(y))));
  return select(less(threshold, y), x, div(add(relu(y), bend), beta));
}
DYNAQUANT_INLINE F32 elu(F32 x, F32 alpha) {
  const F32 zero = set_f32(0.0f);
  return select(less(zero, x), x, mul(alpha, expm1_of_negative(min(zero, x))));
}
DYNAQUANT_INLINE F32 leaky_relu(F32 x, F32 slope) {
  return select(less(set_f32(0.0f), x), x, mul(x, slope));
}
DYNAQUANT_INLINE F32 clamp(F32 x, F32 least, F32 most) { return min(most, max(least, x)); }
DYNAQUANT_INLINE F32 clamped_to_6(F32 x) {
  return clamp(add(x, set_f32(3.0f)), set_f32(0.0f), set_f32(6.0f));
}
DYNAQUANT_INLINE F32 hardsigmoid(F32 x) { return div(clamped_to_6(x), set_f32(6.0f)); }
DYNAQUANT_INLINE F32 hardswish(F32 x) { return div(mul(x, clamped_to_6(x)), set_f32(6.0f)); }
DYNAQUANT_INLINE F32 sign(F32 x) {
  const F32 zero = set_f32(0.0f), one = set_f32(1.0f);
  return sub(select(less(zero, x), one, zero), select(less(x, zero), one, zero));
}
// The first of two NaNs, else the one that there is. Of two zeros the second.
DYNAQUANT_INLINE F32 minimum(F32 a, F32 b) { return select(equal(a, a), min(a, b), a); }
DYNAQUANT_INLINE F32 maximum(F32 a, F32 b) { return select(equal(a, a), max(a, b), a); }
