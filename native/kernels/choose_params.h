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

// [min, max] in `high` steps, 127 or 255; zero is always made part of the range. In double, without
// branches, so that a loop over rows becomes vectors. Static: an instruction set's copy stays its
// own.
static DYNAQUANT_INLINE ChosenParams choose_params(float min, float max, double high) {
  const float small_scale = 6.1e-5f;
  const float widest = small_scale * (float)high;
  min = min < 0.0f ? min : 0.0f;
  max = max > 0.0f ? max : 0.0f;
  double scale = ((double)max - (double)min) / high;
  // ATen asks whether 1 / float(scale) is infinite, so as not to divide by it: that is so up to
  // 2^-128 (0x1p-128f is the largest float with an infinite reciprocal).
  scale = (float)scale <= 0x1p-128f ? 0.1 : scale;
  // A scale below 6.1e-5 is raised to it, and the range with it (a zero end stays zero).
  const bool small = scale < (double)small_scale;
  const float amplifier = small_scale / (float)scale;
  const float raised_min = max == 0.0f ? -widest : min * amplifier;
  const float raised_max = min == 0.0f ? widest : max * amplifier;
  min = small ? raised_min : min;
  max = small ? raised_max : max;
  scale = small ? (double)small_scale : scale;
  // The zero point follows from the end that it moves less; with ATen's minus in both errors.
  const double min_steps = (double)min / scale;
  const double max_steps = (double)max / scale;
  const double min_error = -(min_steps < 0.0 ? -min_steps : min_steps);
  const double max_error = high - (max_steps < 0.0 ? -max_steps : max_steps);
  double zero = min_error < max_error ? -min_steps : high - max_steps;
  zero = zero > 0.0 ? zero : 0.0;
  zero = zero < high ? zero : high;
  const double to_even = 6755399441055744.0;  // 1.5 * 2^52: leaves no bits for a fraction
  return {scale, (int32_t)((zero + to_even) - to_even)};
}

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_CHOOSE_PARAMS_H_
