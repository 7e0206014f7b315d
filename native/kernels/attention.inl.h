// SPDX-License-Identifier: MIT
// The softmax of attention's scores.

DYNAQUANT_INLINE void check_scores(const Scores& scores) {
  DYNAQUANT_CHECK(is_array(scores.data));
  DYNAQUANT_CHECK(scores.stride >= padded_columns(scores.columns));
  DYNAQUANT_CHECK(scores.mask == nullptr || is_array(scores.mask));
  DYNAQUANT_CHECK(scores.visible >= 1 && scores.visible <= scores.columns);
}

// Read from 16 - n on: n lanes that min() leaves as they are, and -inf in the others.
#define DYNAQUANT_FOUR(x) x, x, x, x
constexpr float kHighest = __builtin_inff(), kLowest = -__builtin_inff();
constexpr float kFirstLanes[32] = {DYNAQUANT_FOUR(kHighest), DYNAQUANT_FOUR(kHighest),
                                   DYNAQUANT_FOUR(kHighest), DYNAQUANT_FOUR(kHighest),
                                   DYNAQUANT_FOUR(kLowest),  DYNAQUANT_FOUR(kLowest),
                                   DYNAQUANT_FOUR(kLowest),  DYNAQUANT_FOUR(kLowest)};
#undef DYNAQUANT_FOUR

constexpr float kLeast = -0x1.fffffep127f;  // float32's least number
constexpr float kLeastSum = 0x1p-64f;

// The larger of two numbers. A NaN is left out here, and makes the sum NaN.
struct LargestNumber {
  DYNAQUANT_INLINE static F32 join(F32 a, F32 b) { return max(a, b); }
};

// Writes x * scale + mask over the first `count` scores x, and -inf over the others of their last
// vector. Returns the largest, in every lane.
template <bool kMasked>
DYNAQUANT_INLINE F32 scale_scores(float* x, const float* mask, float factor, size_t count) {
  const F32 scale = set_f32(factor);
  F32 largest = set_f32(-__builtin_inff());
  size_t i = 0;
  for (; count - i >= 16; i += 16) {
    const F32 y = kMasked ? fma(load(x + i), scale, load(mask + i)) : mul(load(x + i), scale);
    store(x + i, y);
    largest = LargestNumber::join(y, largest);
  }
  if (i == count) return Row::combined<LargestNumber>(largest);
  const size_t left = count - i;
  F32 y = mul(load(x + i), scale);
  if (kMasked) y = fma(load(x + i), scale, load_first(mask + i, left));
  y = min(y, load(kFirstLanes + 16 - left));
  store(x + i, y);
  return Row::combined<LargestNumber>(LargestNumber::join(y, largest));
}

inline void softmax_scores_kernel(const Scores& scores) {
  check_scores(scores);
  const size_t end = padded_columns(scores.columns);
  for (size_t row = 0; row < scores.rows; ++row) {
    float* x = scores.data + row * scores.stride;
    const size_t seen = scores.visible + (scores.causal ? row : 0);
    const size_t count = seen < scores.columns ? seen : scores.columns;
    const F32 largest =
        scores.mask == nullptr
            ? scale_scores<false>(x, nullptr, scores.scale, count)
            : scale_scores<true>(x, scores.mask + row * scores.mask_stride, scores.scale, count);
    // Where all scores are -inf, exp() should be 0, not NaN.
    const F32 shift = max(set_f32(kLeast), largest);
    F32 sums = set_f32(0.0f);
    size_t i = 0;
    for (; i < count; i += 16) {
      const F32 e = exp_of_negative(sub(load(x + i), shift));
      store(x + i, e);
      sums = add(sums, e);
    }
    for (; i < end; i += 16) store(x + i, set_f32(0.0f));
    // Then the sum is 0 too; else it is at least 1.
    const F32 sum = Row::combined<Total>(sums);
    const F32 factor = div(set_f32(1.0f), max(set_f32(kLeastSum), sum));
    for (i = 0; i < count; i += 16) store(x + i, mul(load(x + i), factor));
  }
}
