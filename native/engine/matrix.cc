// SPDX-License-Identifier: MIT
#include "engine/matrix.h"

#include <algorithm>
#include <cmath>

namespace dynaquant {

FloatMatrix::FloatMatrix(const float* weight, const float* bias, const GateLayout& layout,
                         std::size_t depth)
    : depth_(depth), weights_(layout.columns() * depth), bias_(layout.columns()) {
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    float* out =
        weights_.data() + column / kPanelColumns * kPanelColumns * depth + column % kPanelColumns;
    for (std::size_t k = 0; k < depth; ++k) {
      out[k * kPanelColumns] = padding ? 0.0f : weight[row * depth + k];
    }
    bias_.data()[column] = padding || bias == nullptr ? 0.0f : bias[row];
  }
}

FloatPanels FloatMatrix::panels() const {
  return {weights_.data(), bias_.data(), depth_, bias_.size() / kPanelColumns};
}

Int8Matrix::Int8Matrix(const std::int8_t* weight, const float* scales, std::size_t scale_count,
                       const float* bias, const GateLayout& layout, std::size_t depth)
    : depth_(depth),
      quads_((depth + kQuad - 1) / kQuad),
      layout_(layout),
      weights_(layout.columns() * quads_ * kQuad),
      column_sums_(layout.columns()),
      scales_(layout.columns()),
      bias_(layout.columns()) {
  std::fill_n(weights_.data(), weights_.size(), std::int8_t{0});
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    std::int32_t sum = 0;
    if (!padding) {
      std::int8_t* out = weights_.data() + column / kPanelColumns * kPanelColumns * quads_ * kQuad +
                         column % kPanelColumns * kQuad;
      for (std::size_t k = 0; k < depth; ++k) {
        const std::int8_t w = weight[row * depth + k];
        out[k / kQuad * (kPanelColumns * kQuad) + k % kQuad] = w;
        sum += w;
      }
    }
    column_sums_.data()[column] = sum;
    scales_.data()[column] = padding ? 1.0f : scales[scale_count == 1 ? 0 : row];
    bias_.data()[column] = padding || bias == nullptr ? -0.0f : bias[row];
    if (!padding) {
      largest_scale_ = std::max<double>(largest_scale_, scales_.data()[column]);
      largest_bias_ = std::max<double>(largest_bias_, std::fabs(bias_.data()[column]));
    }
  }
}

Int8Panels Int8Matrix::panels() const {
  return {weights_.data(), column_sums_.data(), scales_.data(), bias_.data(),
          quads_,          layout_.panels()};
}

std::size_t Int8Matrix::bytes() const {
  return weights_.bytes() + column_sums_.bytes() + scales_.bytes() + bias_.bytes();
}

void Int8Matrix::unpack(std::int8_t* weight) const {
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t row = layout_.row_of(column);
    if (row == layout_.rows()) continue;
    const std::int8_t* in = weights_.data() +
                            column / kPanelColumns * kPanelColumns * quads_ * kQuad +
                            column % kPanelColumns * kQuad;
    for (std::size_t k = 0; k < depth_; ++k) {
      weight[row * depth_ + k] = in[k / kQuad * (kPanelColumns * kQuad) + k % kQuad];
    }
  }
}

double Int8Matrix::bound(double activation_scale) const {
  return static_cast<double>(depth_) * (127.0 * 128.0) * activation_scale * largest_scale_ +
         largest_bias_;
}

}  // namespace dynaquant
