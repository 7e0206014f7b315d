// SPDX-License-Identifier: MIT
// Scales and zero points, PyTorch's formulas (fbgemm engine) to the bit.
#ifndef DYNAQUANT_ENGINE_QUANTIZE_H_
#define DYNAQUANT_ENGINE_QUANTIZE_H_

#include <cstddef>
#include <cstdint>

namespace dynaquant {

struct QuantizationParams {
  double scale;
  std::int32_t zero_point;
};

// Activations in [min, max] to 0..127 steps, or 0..255 without `reduce_range`: ATen's
// ChooseQuantizationParams. min <= max, both finite; zero is always made part of the range.
QuantizationParams choose_quantization_params(float min, float max, bool reduce_range);

// Quantizes a row-major weight matrix symmetrically to int8: one scale for all (scale_count 1) or
// one a row (scale_count == rows). scale = max(max|w| / 127.5, 2^-23), q = rne(w * (1 / scale))
// clamped to -128..127. Returns false, with the outputs undefined, when a weight is not finite.
bool quantize_weight(const float* weight, std::size_t rows, std::size_t depth,
                     std::size_t scale_count, std::int8_t* out, float* scales);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_QUANTIZE_H_
