// SPDX-License-Identifier: MIT
// Copies of states, between the caller's rows and a call's own. Only here is it known that a
// caller's states lie row after row.
#ifndef DYNAQUANT_ENGINE_STATE_ROWS_H_
#define DYNAQUANT_ENGINE_STATE_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "engine/product.h"
#include "kernels/kernels.h"

namespace dynaquant {

// The states of one direction of one layer, as the caller holds them.
struct StateRows {
  const float* h0;  // [batch][output]
  const float* c0;  // [batch][hidden], or null for zeros
  float* hn;        // as h0
  float* cn;        // as c0; null if the mode has no c
};

// Copies the rows [begin, end) of `from` to the same rows of `to`, which lie one after the other.
inline void copy_rows(const FloatRows& from, std::size_t begin, std::size_t end,
                      std::size_t columns, float* to) {
  for (std::size_t row = begin; row < end; ++row) {
    std::memcpy(to + row * columns, from.data + row * from.stride, columns * sizeof(float));
  }
}

// Copies the rows of c0, `columns` floats each, and fills what `to` has beyond them with zeros. All
// is zeros if c0 is null.
inline void load_cell(const float* c0, std::size_t rows, std::size_t columns,
                      const FloatMatrixView& to) {
  for (std::size_t row = 0; row < rows; ++row) {
    float* c = to.data + row * to.stride;
    if (c0 != nullptr) std::memcpy(c, c0 + row * columns, columns * sizeof(float));
    std::fill(c + (c0 != nullptr ? columns : 0), c + to.columns, 0.0f);
  }
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_STATE_ROWS_H_
