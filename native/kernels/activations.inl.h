// SPDX-License-Identifier: MIT
// exp, sigmoid and tanh: one sequence of IEEE operations on every instruction set.

// exp(x) = power * exp(rest), power = 2^(n / 8), n = rne(8 x / ln 2), rest = x - n ln 2 / 8,
// |rest| <= ln(2) / 16. Adding 1.5 * 2^23 + 8 * 127 finds n: the low bits of the sum are n + 1016.
// Its last three bits choose one of eight mantissas, those above are the exponent. The float of
// ln 2 is good to 28 bits, so with one fma the rest is off by 2.8e-9 |x|. A second fma, or a
// polynomial over a whole octave, would gain half an ulp, which is not worth its time.
constexpr float kEighthsOfLn2 = 11.5415603f, kLn2Eighth = 8.66433978e-2f;
constexpr float kEighths = 12583928.0f;
// The bits of 2^(i / 8), minus those of 1, minus i << 20, which the shifted sum contains.
alignas(32) constexpr uint32_t kMantissas[8] = {0x00000000, 0xfffb95c2, 0xfff837f0, 0xfff5fed7,
                                                0xfff504f3, 0xfff5672a, 0xfff744fd, 0xfffac0c7};
// 2^(i / 8) minus its float.
alignas(32) constexpr float kMantissaRests[8] = {0,
                                                 -1.30775399e-8f,
                                                 3.79763528e-8f,
                                                 -4.01899953e-8f,
                                                 2.42032350e-8f,
                                                 8.07090483e-9f,
                                                 -2.47553267e-8f,
                                                 -1.12392780e-8f};
DYNAQUANT_INLINE F32 power_of(F32 eighths) {
  return add_shifted<20>(lookup(kMantissas, eighths), eighths);
}

// 1 + exp(-x), sigmoid's denominator. Clamped at +-87, where exp is still a normal float. The bound
// is the first argument of min and max, so that a NaN passes. exp(-u) is a cubic, minimax
// to 2.6e-8.
DYNAQUANT_INLINE F32 one_plus_exp_minus(F32 x) {
  const F32 y = min(set_f32(87.0f), max(set_f32(-87.0f), x));
  const F32 eighths = fma(y, set_f32(-kEighthsOfLn2), set_f32(kEighths));
  const F32 u = fma(sub(eighths, set_f32(kEighths)), set_f32(kLn2Eighth), y);
  const F32 one = set_f32(1.0f);
  const F32 q = fma(u, set_f32(-1.66642960e-1f), set_f32(5.00064843e-1f));
  return fma(fma(fma(q, u, set_f32(-1.0f)), u, one), power_of(eighths), one);
}
// exp(x) of x <= 0, for softmax: from -87.3 on within 1.4e-7 of itself, below that 0 to 1.2e-38,
// and from -88.03 on 0, because 2^(n / 8) is that bit pattern there. No product underflows, which
// would make a mask's zeros slow. The polynomial is that of exp(-u) above.
constexpr float kLn2EighthRest = -2.38081742e-10f;  // ln 2 / 8 minus its float
DYNAQUANT_INLINE F32 exp_of_negative(F32 x) {
  const F32 y = max(set_f32(-88.029694f), x);
  const F32 eighths = fma(y, set_f32(kEighthsOfLn2), set_f32(kEighths));
  const F32 n = sub(eighths, set_f32(kEighths));
  const F32 u = fma(n, set_f32(-kLn2EighthRest), fma(n, set_f32(-kLn2Eighth), y));
  const F32 q = fma(u, set_f32(1.66642960e-1f), set_f32(5.00064843e-1f));
  const F32 power = power_of(eighths);
  return fma(power, mul(fma(q, u, set_f32(1.0f)), u), power);
}
// tanh(|x|) = e / (e + 2), e = expm1(2|x|) = power * expm1(r) + (power - 1). Accurate near 0: there
// e is expm1(r) = r + r^2 * q(r), minimax to 5.1e-9 of itself, or includes what the power's float
// leaves out. From |x| = 9.02 on tanh is 1 in float32.
DYNAQUANT_INLINE F32 expm1_of_twice_abs(F32 x) {
  const F32 magnitude = abs(x);
  const F32 y = min(set_f32(18.1f), add(magnitude, magnitude));
  const F32 eighths = fma(y, set_f32(kEighthsOfLn2), set_f32(kEighths));
  const F32 r = fma(sub(eighths, set_f32(kEighths)), set_f32(-kLn2Eighth), y);
  const F32 power = power_of(eighths);
  const F32 less_one = add(sub(power, set_f32(1.0f)), lookup(kMantissaRests, eighths));
  const F32 q = fma(fma(r, set_f32(4.16657715e-2f), set_f32(1.66679636e-1f)), r, set_f32(0.5f));
  return fma(fma(q, mul(r, r), r), power, less_one);
}

DYNAQUANT_INLINE F32 sigmoid(F32 x) { return div(set_f32(1.0f), one_plus_exp_minus(x)); }
DYNAQUANT_INLINE F32 tanh(F32 x) {
  const F32 e = expm1_of_twice_abs(x);
  return copy_sign(div(e, add(e, set_f32(2.0f))), x);
}
// sigmoid(x) * tanh(y) with one division instead of two. Where the denominator overflows (x < -70),
// the quotient is 0 and the product below 1e-30.
DYNAQUANT_INLINE F32 sigmoid_times_tanh(F32 x, F32 y) {
  const F32 e = expm1_of_twice_abs(y);
  return copy_sign(div(e, mul(one_plus_exp_minus(x), add(e, set_f32(2.0f)))), y);
}
