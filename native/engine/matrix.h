// SPDX-License-Identifier: MIT
// A weight matrix with its bias, packed into the kernels' panels. Immutable after construction.
#ifndef DYNAQUANT_ENGINE_MATRIX_H_
#define DYNAQUANT_ENGINE_MATRIX_H_

#include <cstddef>
#include <cstdint>

#include "engine/aligned_buffer.h"
#include "kernels/kernels.h"

namespace dynaquant {

// The columns' order in the panels. A weight has `gates * units` rows in torch's order (all rows of
// gate 0, then gate 1, ...); the panels hold groups: 16 units of gate 0, the same 16 of gate 1, ...
// A plain Linear has one gate.
struct GateLayout {
  std::size_t gates;
  std::size_t units;

  std::size_t rows() const { return gates * units; }
  std::size_t groups() const { return (units + kPanelColumns - 1) / kPanelColumns; }
  std::size_t panels() const { return groups() * gates; }
  std::size_t columns() const { return panels() * kPanelColumns; }
  // The row of the weight that stands in a packed column, or rows() for padding.
  std::size_t row_of(std::size_t column) const {
    const std::size_t panel = column / kPanelColumns;
    const std::size_t unit = panel / gates * kPanelColumns + column % kPanelColumns;
    return unit < units ? panel % gates * units + unit : rows();
  }
};

class FloatMatrix {
 public:
  using Rows = FloatRows;
  // weight: [layout.rows()][depth]; bias: [layout.rows()] or null.
  FloatMatrix(const float* weight, const float* bias, const GateLayout& layout, std::size_t depth);

  FloatPanels panels() const;
  std::size_t depth() const { return depth_; }
  std::size_t bytes() const { return weights_.bytes() + bias_.bytes(); }

 private:
  std::size_t depth_;
  AlignedBuffer<float> weights_;
  AlignedBuffer<float> bias_;
};

class Int8Matrix {
 public:
  using Rows = Int8Rows;
  // weight: [layout.rows()][depth]; scales: one, or one a row; bias: [layout.rows()] or null.
  Int8Matrix(const std::int8_t* weight, const float* scales, std::size_t scale_count,
             const float* bias, const GateLayout& layout, std::size_t depth);

  Int8Panels panels() const;
  std::size_t depth() const { return depth_; }
  // Bytes of a quantized row: the kernels write them in whole sixteens.
  static std::size_t stride(std::size_t depth) { return (depth + 15) / 16 * 16; }
  std::size_t stride() const { return stride(depth_); }
  std::size_t bytes() const;

  // The weight as it came, [layout.rows()][depth].
  void unpack(std::int8_t* weight) const;

  // No |output| for activations of this scale exceeds it: depth * 127 * 128 * scale * max(scales) +
  // max|bias|. Below FLT_MAX it proves that no output overflows.
  double bound(double activation_scale) const;

 private:
  std::size_t depth_;
  std::size_t quads_;
  GateLayout layout_;
  double largest_scale_ = 0;
  double largest_bias_ = 0;
  AlignedBuffer<std::int8_t> weights_;
  AlignedBuffer<std::int32_t> column_sums_;
  AlignedBuffer<float> scales_;
  AlignedBuffer<float> bias_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_MATRIX_H_
