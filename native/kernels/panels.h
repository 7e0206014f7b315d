// SPDX-License-Identifier: MIT
// Packs weights into the panels that kernels read. Writes into its caller's memory, so that a
// matrix that lives for one call needs no owner.
#ifndef DYNAQUANT_KERNELS_PANELS_H_
#define DYNAQUANT_KERNELS_PANELS_H_

#include "kernels.h"

namespace dynaquant {

// The index of a weight in float or float16 panels.
constexpr size_t plain_index(size_t depth, size_t column, size_t k) {
  return (column / kPanelColumns * depth + k) * kPanelColumns + column % kPanelColumns;
}
// Packs the `depth` weights of a column, and unpacks them.
template <typename Weight>
void pack_column(const Weight* weights, size_t depth, size_t column, Weight* packed) {
  for (size_t k = 0; k < depth; ++k) packed[plain_index(depth, column, k)] = weights[k];
}
template <typename Weight>
void unpack_column(const Weight* packed, size_t depth, size_t column, Weight* weights) {
  for (size_t k = 0; k < depth; ++k) weights[k] = packed[plain_index(depth, column, k)];
}

// An int16 lane may sum products of a panel as long as the positive weights it met add up to at
// most `positive` and the magnitudes of the negative ones to at most `negative`. (Each column of a
// quad makes two lanes, a0 w0 + a1 w1 and a2 w2 + a3 w3.)
struct LaneLimits {
  int positive, negative;
};
constexpr LaneLimits kReducedLimits = {255, 256};  // 128 * 255 = 32,640; 128 * 256 = 32,768
constexpr LaneLimits kFullLimits = {128, 128};     // 255 * 128 = 32,640

// How int8 weights are packed for a table: its layout and the weights' extent.
struct Int8Packing {
  PanelLayout layout;
  size_t depth;
  size_t panels;
  size_t block;  // panels of a block

  size_t quads() const { return (depth + kQuad - 1) / kQuad; }
  // Bytes of the packed weights: whole blocks.
  size_t bytes() const { return (panels + block - 1) / block * block * quads() * kQuadBytes; }
  // The index of a weight among them.
  size_t index(size_t column, size_t k) const;
  // Bytes from a quad of a column to its next.
  size_t quad_stride() const { return (layout.interleaved ? block : 1) * kQuadBytes; }

  // Zeroes all weights: padding must be 0.
  void clear(int8_t* packed) const;
  // Packs the `depth` weights of a column, and returns their sum.
  int32_t pack(const int8_t* weights, size_t column, int8_t* packed) const;
  void unpack(const int8_t* packed, size_t column, int8_t* weights) const;

  // Plans a packed panel. layout.planned, and not layout.interleaved. Writes its chain lengths, at
  // most quads() of them, and returns how many there are.
  size_t plan(const int8_t* packed, size_t panel, const LaneLimits& limits, Products* products,
              uint8_t* chains) const;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_PANELS_H_
