// SPDX-License-Identifier: MIT
// Scale and zero point of activations: ATen's ChooseQuantizationParams, to the bit.
#ifndef DYNAQUANT_KERNELS_CHOOSE_PARAMS_H_
#define DYNAQUANT_KERNELS_CHOOSE_PARAMS_H_

#include "kernels.h"

namespace dynaquant {

struct ChosenParams {
  double scale;
  int32_t zero_point;
};

// A scale below this is raised to it, and the range with it.
constexpr float kSmallScale = 6.1e-5f;

// These functions are static, so that each instruction set keeps its own copy. They compute in
// double; `high` is 127 or 255.
static DYNAQUANT_INLINE double plain_scale(float min, float max, double high) {
  const double scale = ((double)max - (double)min) / high;
  // ATen asks whether 1 / float(scale) is infinite. It is up to 2^-128, the largest float with an
  // infinite reciprocal.
  return (float)scale <= 0x1p-128f ? 0.1 : scale;
}

// ATen takes the end that it moves less, -min / scale or high - max / scale. The latter wins only
// where min is 0, and then both round to 0, so the former is always right. It needs no clamp,
// because it exceeds 0..high by a rounding error at most.
static DYNAQUANT_INLINE int32_t choose_zero_point(float min, double scale) {
  const double to_even = 6755399441055744.0;  // 1.5 * 2^52: leaves no bits for a fraction
  return (int32_t)((to_even - (double)min / scale) - to_even);
}

// [min, max] in `high` levels. Zero always becomes part of the range.
static DYNAQUANT_INLINE ChosenParams choose_params(float min, float max, double high) {
  min = min < 0.0f ? min : 0.0f;
  max = max > 0.0f ? max : 0.0f;
  double scale = plain_scale(min, max, high);
  if (scale < (double)kSmallScale) {  // a zero end stays zero
    const float amplifier = kSmallScale / (float)scale;
    const float widest = kSmallScale * (float)high;
    min = max == 0.0f ? -widest : min * amplifier;
    scale = (double)kSmallScale;
  }
  return {scale, choose_zero_point(min, scale)};
}

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_CHOOSE_PARAMS_H_
