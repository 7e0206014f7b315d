// SPDX-License-Identifier: MIT
// Products of float matrices that live for one call only, one or many of the same shape.
#ifndef DYNAQUANT_ENGINE_FLOAT_PRODUCT_H_
#define DYNAQUANT_ENGINE_FLOAT_PRODUCT_H_

#include <cstddef>

#include "engine/product.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// Columns that are packed and multiplied together. Of more than one block, all but the last one
// have as many.
constexpr std::size_t kBlockColumns = kMaxBlock * kPanelColumns;

// Floats of `columns` packed columns.
constexpr std::size_t packed_floats(std::size_t depth, std::size_t columns) {
  return padded_columns(columns) * depth;
}

// The bias of a block without bias.
alignas(64) inline constexpr float kNoBiases[kBlockColumns] = {};

// out = a b. `packed` are the out.columns columns of b, as KernelTable::pack wrote them.
void multiply_packed(const KernelTable& kernels, const FloatRows& a, std::size_t rows,
                     const float* packed, std::size_t depth, const FloatMatrixView& out);

// A matrix b to multiply with.
struct Factor {
  FloatRows rows;     // b's or, `transposed`, its columns
  std::size_t depth;  // rows of b
  bool transposed;
};

// Rows so few that to pack b would take longer than to multiply each of them with it as it lies.
constexpr std::size_t kFewRows = 2;
// out = a b for one row, which starts at the bias, if there is one, and b is transposed. `packed`
// has room for kRowScratch floats.
constexpr std::size_t kRowScratch = 128 * kBlockColumns;
void multiply_row(const KernelTable& kernels, const float* a, const Factor& b, float* packed,
                  const FloatMatrixView& out, const float* bias = nullptr);

// A dimension over which products repeat: so many, each so many floats behind the one before it.
struct BatchDim {
  std::size_t size;
  std::size_t a_step;
  std::size_t b_step;
};

// As many dimensions as a tensor may have.
constexpr std::size_t kMaxBatchDims = 64;

// out[i] = a[i] b[i] + bias for each index of a batch.
struct FloatProduct {
  std::size_t rows;
  std::size_t depth;
  std::size_t columns;
  bool transposed;    // b is [columns][depth], not [depth][columns]
  const float* a;     // [rows][depth] at each index
  const float* b;     // [depth][columns] or [columns][depth] at each index
  const float* bias;  // [columns]; null for none, or if b is not transposed
  float* out;         // [count][rows][columns]
  std::size_t batch_dims;
  BatchDim batch[kMaxBatchDims];  // the last one changes fastest; none for a single product

  std::size_t count() const;
  double ns() const;  // roughly, on one thread
};

// Each element is a sum that starts at 0 or at the bias, one fma a term, in rising order. `out` is
// undefined unless kOk is returned.
Status multiply(const KernelTable& kernels, const FloatProduct& product);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_FLOAT_PRODUCT_H_
