// SPDX-License-Identifier: MIT
// How an input's planes lie for a convolution: padded and, for strides, in phases, so that the
// inputs that neighbouring positions take of a tap are neighbours.
#ifndef DYNAQUANT_ENGINE_PADDED_PLANES_H_
#define DYNAQUANT_ENGINE_PADDED_PLANES_H_

#include <algorithm>
#include <cstddef>

#include "engine/convolution.h"

namespace dynaquant {

struct PaddedSize {
  std::size_t size;
  std::size_t before;
  std::size_t after;
  std::size_t padded() const { return before + size + after; }
};

// The index that a padded one stands for, or `size.size` for a zero. Reflected padding is less than
// the size, circular padding no more than it.
inline std::size_t padded_index(std::size_t at, const PaddedSize& size, PaddingMode mode) {
  const std::size_t n = size.size;
  if (at >= size.before && at - size.before < n) return at - size.before;
  const bool is_before = at < size.before;
  const std::size_t beyond = is_before ? size.before - at : at - size.before - n + 1;  // from 1 on
  switch (mode) {
    case PaddingMode::kReflect:
      return is_before ? beyond : n - 1 - beyond;
    case PaddingMode::kReplicate:
      return is_before ? 0 : n - 1;
    case PaddingMode::kCircular:
      return is_before ? n - beyond : beyond - 1;
    case PaddingMode::kZeros:
      break;
  }
  return n;
}

// Column j of a padded row is the (j / phases)-th of phase j % phases.
class PlaneLayout {
 public:
  PlaneLayout(const PaddedSize& rows, const PaddedSize& columns, std::size_t phases,
              PaddingMode mode)
      : copies(phases > 1 || rows.padded() > rows.size || columns.padded() > columns.size),
        phase_pitch((columns.padded() + phases - 1) / phases),
        row_pitch(phases * phase_pitch),
        plane(rows.padded() * row_pitch),
        rows_(rows),
        columns_(columns),
        phases_(phases),
        mode_(mode) {}

  // Where a padded column is in its row.
  std::size_t column(std::size_t j) const { return j % phases_ * phase_pitch + j / phases_; }

  // Copies a plane, [rows][columns], into this layout.
  void copy(const float* from, float* to) const {
    for (std::size_t i = 0; i < rows_.padded(); ++i, to += row_pitch) {
      const std::size_t row = padded_index(i, rows_, mode_);
      if (row == rows_.size) {
        std::fill_n(to, row_pitch, 0.0f);
      } else {
        copy_row(from + row * columns_.size, to);
      }
    }
  }

  const bool copies;  // the planes do not lie so already
  const std::size_t phase_pitch;
  const std::size_t row_pitch;
  const std::size_t plane;

 private:
  void copy_row(const float* from, float* to) const {
    if (phases_ == 1) {
      for (std::size_t j = 0; j < columns_.before; ++j) to[j] = padding(from, j);
      std::copy_n(from, columns_.size, to + columns_.before);
      for (std::size_t j = columns_.before + columns_.size; j < row_pitch; ++j) {
        to[j] = padding(from, j);
      }
      return;
    }
    for (std::size_t phase = 0; phase < phases_; ++phase, to += phase_pitch) {
      std::size_t i = 0, j = phase;  // column j of the padded row
      for (; j < columns_.before; ++i, j += phases_) to[i] = padding(from, j);
      for (; j < columns_.before + columns_.size; ++i, j += phases_)
        to[i] = from[j - columns_.before];
      for (; i < phase_pitch; ++i, j += phases_) to[i] = padding(from, j);
    }
  }
  float padding(const float* from, std::size_t j) const {
    const std::size_t i = j < columns_.padded() ? padded_index(j, columns_, mode_) : columns_.size;
    return i == columns_.size ? 0.0f : from[i];
  }

  PaddedSize rows_;
  PaddedSize columns_;
  std::size_t phases_;
  PaddingMode mode_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_PADDED_PLANES_H_
