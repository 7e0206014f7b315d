// SPDX-License-Identifier: MIT
// How an input's planes lie for a convolution: padded and, for strides, in phases, so that the
// inputs that neighbouring positions take of a tap are neighbours.
#ifndef DYNAQUANT_ENGINE_PADDED_PLANES_H_
#define DYNAQUANT_ENGINE_PADDED_PLANES_H_

#include <algorithm>
#include <cstddef>

#include "engine/aligned_buffer.h"
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

// Planes in phases: padded value (i, j) is in the plane of phase (i % row phases, j % column
// phases), at (i / row phases, j / column phases).
class PlaneLayout {
 public:
  PlaneLayout(const PaddedSize& rows, const PaddedSize& columns, std::size_t row_phases,
              std::size_t column_phases, PaddingMode mode)
      : copies(row_phases > 1 || column_phases > 1 || rows.padded() > rows.size ||
               columns.padded() > columns.size),
        pitch((columns.padded() + column_phases - 1) / column_phases),
        plane(count_of((rows.padded() + row_phases - 1) / row_phases, pitch, row_phases,
                       column_phases)),
        rows_(rows),
        columns_(columns),
        row_phases_(row_phases),
        column_phases_(column_phases),
        mode_(mode) {}

  // Where a padded value is.
  std::size_t at(std::size_t i, std::size_t j) const {
    const std::size_t phase = i % row_phases_ * column_phases_ + j % column_phases_;
    return phase * phase_plane() + i / row_phases_ * pitch + j / column_phases_;
  }

  // Copies a plane, [rows][columns], into this layout.
  void copy(const float* from, float* to) const {
    const std::size_t phase_rows = phase_plane() / std::max<std::size_t>(1, pitch);
    for (std::size_t phase = 0; phase < row_phases_; ++phase) {
      for (std::size_t k = 0; k < phase_rows; ++k) {
        const std::size_t i = k * row_phases_ + phase;
        const std::size_t row = i < rows_.padded() ? padded_index(i, rows_, mode_) : rows_.size;
        for (std::size_t j = 0; j < column_phases_; ++j) {
          float* line = to + (phase * column_phases_ + j) * phase_plane() + k * pitch;
          if (row == rows_.size) {
            std::fill_n(line, pitch, 0.0f);
          } else {
            copy_row(from + row * columns_.size, j, line);
          }
        }
      }
    }
  }

  const bool copies;        // the planes do not lie so already
  const std::size_t pitch;  // from a row of a phase to the next
  const std::size_t plane;  // floats of all phases

 private:
  std::size_t phase_plane() const { return plane / (row_phases_ * column_phases_); }

  // The values of column phase `j`.
  void copy_row(const float* from, std::size_t j, float* to) const {
    const float* end = to + pitch;
    for (; j < columns_.before; j += column_phases_) *to++ = padding(from, j);
    const float* inside = from + (j - columns_.before);
    const float* inside_end = from + columns_.size;
    if (column_phases_ == 1) {
      to = std::copy(inside, inside_end, to);
      j += columns_.size;
    } else {
      for (; inside < inside_end; inside += column_phases_, j += column_phases_) *to++ = *inside;
    }
    for (; to < end; j += column_phases_) *to++ = padding(from, j);
  }
  float padding(const float* from, std::size_t j) const {
    const std::size_t i = j < columns_.padded() ? padded_index(j, columns_, mode_) : columns_.size;
    return i == columns_.size ? 0.0f : from[i];
  }

  PaddedSize rows_;
  PaddedSize columns_;
  std::size_t row_phases_;
  std::size_t column_phases_;
  PaddingMode mode_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_PADDED_PLANES_H_
