// SPDX-License-Identifier: MIT
// A weight matrix with its bias, packed into the kernels' panels, and the memory of both. Immutable
// after construction.
#ifndef DYNAQUANT_ENGINE_MATRIX_H_
#define DYNAQUANT_ENGINE_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/aligned_buffer.h"
#include "kernels/kernels.h"
#include "kernels/panels.h"

namespace dynaquant {

// The columns' order in the panels. A weight has `gates * units` rows in torch's order (all rows of
// gate 0, then gate 1, ...); the panels hold groups: 16 units of gate 0, the same 16 of gate 1, ...
// A plain Linear has one gate.
struct GateLayout {
  std::size_t gates;
  std::size_t units;

  std::size_t rows() const { return gates * units; }
  std::size_t groups() const { return panels_of(units); }
  std::size_t panels() const { return groups() * gates; }
  std::size_t block() const { return block_panels(gates); }
  std::size_t columns() const { return panels() * kPanelColumns; }
  // The row of the weight that a packed column holds, or rows() for padding.
  std::size_t row_of(std::size_t column) const {
    const std::size_t panel = column / kPanelColumns;
    const std::size_t unit = panel / gates * kPanelColumns + column % kPanelColumns;
    return unit < units ? panel % gates * units + unit : rows();
  }
};

// Weights that multiply floats: float32, or float16 as raw bits.
template <typename Weight, typename PanelsOf>
class PlainMatrix {
 public:
  using Element = Weight;
  using Panels = PanelsOf;
  // weight: [layout.rows()][depth]; bias: [layout.rows()] or null.
  PlainMatrix(const Weight* weight, const float* bias, const GateLayout& layout, std::size_t depth);

  const Panels& all() const { return all_; }
  // The panels [begin, end), `begin` at the start of a block.
  Panels slice(std::size_t begin, std::size_t end) const;
  std::size_t depth() const { return depth_; }
  const GateLayout& layout() const { return layout_; }
  double multiply_adds() const { return static_cast<double>(weights_.size()); }  // of one row
  std::size_t bytes() const { return weights_.bytes() + bias_.bytes(); }

  // Writes the weight as it was given, [layout.rows()][depth].
  void unpack(Weight* weight) const;

 private:
  std::size_t depth_;
  GateLayout layout_;
  AlignedBuffer<Weight> weights_;
  AlignedBuffer<float> bias_;
  Panels all_;
};
using FloatMatrix = PlainMatrix<float, FloatPanels>;
using HalfMatrix = PlainMatrix<std::uint16_t, HalfPanels>;
extern template class PlainMatrix<float, FloatPanels>;
extern template class PlainMatrix<std::uint16_t, HalfPanels>;

// Weights up to this size live in the nearest caches, at least in part; larger ones come from the
// last-level cache or memory.
constexpr std::size_t kCached = 2 * 1024 * 1024;

// How a matrix's activations are quantized.
struct ActivationMode {
  bool per_row = false;      // a range for each row, not one for all of them
  bool reduce_range = true;  // 127 levels, not 255
  int levels() const { return reduce_range ? 127 : 255; }
  // The deepest product whose int32 sum cannot wrap, because 128 * 128 * 131,071 and 255 * 128 *
  // 65,793 are below 2^31.
  std::size_t max_depth() const { return reduce_range ? 131071 : 65793; }
};

// An int8 weight to pack, row-major, with one scale, or one a row.
struct Int8Weight {
  const std::int8_t* weight;  // [layout.rows()][depth]
  const float* scales;
  std::size_t scale_count;
  const float* bias;  // [layout.rows()] or null
};

class Int8Matrix {
 public:
  using Element = std::int8_t;
  using Panels = Int8Panels;
  Int8Matrix(const KernelTable& kernels, const ActivationMode& mode, const Int8Weight& source,
             const GateLayout& layout, std::size_t depth);

  const Int8Panels& all() const { return all_; }
  // The panels [begin, end), `begin` at the start of a block.
  Int8Panels slice(std::size_t begin, std::size_t end) const;
  std::size_t depth() const { return packing_.depth; }
  const GateLayout& layout() const { return layout_; }
  double multiply_adds() const { return static_cast<double>(weights_.size()); }  // of one row
  const ActivationMode& mode() const { return mode_; }
  // Bytes from a quantized row to the next: the kernels write them in whole sixteens. Rows of
  // several cache lines have an odd number of them, because AMX reads 16 rows at once, and many
  // rows whose lines share a few places in the cache would push each other out.
  static std::size_t stride(std::size_t depth) {
    constexpr std::size_t kLine = 64;
    return depth <= kLine ? (depth + 15) / 16 * 16 : ((depth + kLine - 1) / kLine | 1) * kLine;
  }
  std::size_t stride() const { return stride(depth()); }
  std::size_t bytes() const;

  // Writes the weight as it was given, [layout.rows()][depth].
  void unpack(std::int8_t* weight) const;

  // `copies` of this matrix along a diagonal, zeros elsewhere. It multiplies `copies` concatenated
  // rows at once; results are ordered gate by gate, then copy by copy.
  Int8Matrix diagonal(const KernelTable& kernels, std::size_t copies) const;

  // The mean number of quads that are added in int16 before they are widened; 1 without chains.
  double mean_chain() const;

  // An upper bound of |output| for activations of this scale: depth * levels * 128 * scale *
  // max(scales) + max|bias|. Below FLT_MAX it proves that no output overflows.
  double bound(double activation_scale) const;

 private:
  void plan_panels();

  ActivationMode mode_;
  GateLayout layout_;
  Int8Packing packing_;
  double largest_scale_ = 0;
  double largest_bias_ = 0;
  AlignedBuffer<std::int8_t> weights_;
  AlignedBuffer<std::int32_t> column_sums_;
  AlignedBuffer<float> scales_;
  AlignedBuffer<float> bias_;
  std::vector<PanelPlan> plans_;
  std::vector<std::uint8_t> chains_;
  Int8Panels all_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_MATRIX_H_
