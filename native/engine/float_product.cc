// SPDX-License-Identifier: MIT
#include "engine/float_product.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "engine/cost.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// How the products are cut into items: each of them packs a block of b's columns and multiplies
// some rows of a with it.
struct Items {
  std::size_t width;  // columns of a block
  std::size_t blocks;
  std::size_t rows;    // of an item, at most
  std::size_t chunks;  // of rows
  std::size_t count;

  Items(const FloatProduct& product, std::size_t threads)
      : width(product.rows <= kFewRows ? 16 * kBlockColumns : kBlockColumns),
        blocks((product.columns + width - 1) / width) {
    // Few columns leave threads idle unless the rows are shared out too. Fewer rows than these
    // would take as long to pack for as to multiply.
    constexpr std::size_t kLeastRows = 64;
    const std::size_t wanted = threads == 1 ? 1 : 4 * threads;
    const std::size_t parts = std::max<std::size_t>(wanted / (product.count() * blocks), 1);
    rows = std::max((product.rows + parts - 1) / parts, std::min(product.rows, kLeastRows));
    chunks = (product.rows + rows - 1) / rows;
    count = product.count() * blocks * chunks;
  }
};

struct PackedColumns {
  PackedColumns(Scratch& scratch, std::size_t floats) : data(scratch.take<float>(floats)) {}
  float* data;
};

// One item, with room for its packed columns.
void multiply_item(const KernelTable& kernels, const FloatProduct& product, const Items& items,
                   std::size_t item, float* packed) {
  const std::size_t depth = product.depth, columns = product.columns;
  const std::size_t row = item % items.chunks * items.rows;
  const std::size_t column = item / items.chunks % items.blocks * items.width;
  const std::size_t index = item / items.chunks / items.blocks;
  const float *a = product.a + row * depth, *b = product.b;
  for (std::size_t i = product.batch_dims, left = index; i-- > 0;) {
    const BatchDim& dim = product.batch[i];
    a += left % dim.size * dim.a_step;
    b += left % dim.size * dim.b_step;
    left /= dim.size;
  }
  const std::size_t rows = std::min(product.rows - row, items.rows);
  const std::size_t width = std::min(columns - column, items.width);
  const FloatMatrixView out = {product.out + (index * product.rows + row) * columns + column,
                               columns, width};
  const float* bias = product.bias == nullptr ? nullptr : product.bias + column;
  const bool transposed = product.transposed;
  const FloatRows from = {b + column * (transposed ? depth : 1), transposed ? depth : columns};
  if (product.rows <= kFewRows) {
    for (std::size_t i = 0; i < rows; ++i) {
      multiply_row(kernels, a + i * depth, {from, depth, transposed}, packed,
                   {out.data + i * columns, columns, width}, bias);
    }
    return;
  }
  kernels.pack(from, depth, width, transposed, packed);
  alignas(64) float start[kBlockColumns] = {};
  if (bias != nullptr) std::copy_n(bias, width, start);
  gemm(kernels, {a, depth}, rows, {packed, start, depth, panels_of(width)}, out, false);
}

}  // namespace

std::size_t FloatProduct::count() const {
  std::size_t count = 1;
  for (std::size_t i = 0; i < batch_dims; ++i) count *= batch[i].size;
  return count;
}

double FloatProduct::ns() const {
  // To pack a column takes as long as to multiply few rows with it.
  constexpr double kPackingRows = 4;
  const double packed = static_cast<double>(packed_floats(depth, columns));
  return static_cast<double>(count()) * packed * (static_cast<double>(rows) + kPackingRows) / 50;
}

void multiply_packed(const KernelTable& kernels, const FloatRows& a, std::size_t rows,
                     const float* packed, std::size_t depth, const FloatMatrixView& out) {
  for (std::size_t column = 0; column < out.columns; column += kBlockColumns) {
    const std::size_t width = std::min(out.columns - column, kBlockColumns);
    const FloatPanels panels = {packed + depth * column, kNoBiases, depth, panels_of(width)};
    gemm(kernels, a, rows, panels, {out.data + column, out.stride, width}, false);
  }
}

void multiply_row(const KernelTable& kernels, const float* a, const Factor& b, float* packed,
                  const FloatMatrixView& out, const float* bias) {
  if (!b.transposed) return kernels.multiply_row(a, b.rows, b.depth, out.columns, out.data);
  // Packed part after part, so that each stays in the nearest cache. A part's sums start with those
  // of the part before it.
  constexpr std::size_t kPart = kRowScratch / kBlockColumns;
  for (std::size_t column = 0; column < out.columns; column += kBlockColumns) {
    const std::size_t width = std::min(out.columns - column, kBlockColumns);
    const float* from = b.rows.data + column * b.rows.stride;
    alignas(64) float sums[kBlockColumns] = {};
    if (bias != nullptr) std::copy_n(bias + column, width, sums);
    for (std::size_t k = 0; k < b.depth; k += kPart) {
      const std::size_t part = std::min(b.depth - k, kPart);
      kernels.pack({from + k, b.rows.stride}, part, width, true, packed);
      const FloatPanels panels = {packed, sums, part, panels_of(width)};
      gemm(kernels, {a + k, part}, 1, panels, {sums, width, width}, false);
    }
    std::copy_n(sums, width, out.data + column);
  }
}

Status multiply(const KernelTable& kernels, const FloatProduct& product) {
  const std::size_t results = product.count() * product.rows * product.columns;
  if (results == 0) return Status::kOk;
  if (product.depth == 0) {
    for (std::size_t i = 0; i < results; ++i) {
      product.out[i] = product.bias == nullptr ? 0.0f : product.bias[i % product.columns];
    }
    return Status::kOk;
  }
  if (product.columns == 1 && product.rows > 1 && product.bias == nullptr) {
    // b's only column is a row too: (a b)^T = b^T a^T.
    FloatProduct swapped = product;
    std::swap(swapped.rows, swapped.columns);
    std::swap(swapped.a, swapped.b);
    swapped.transposed = true;
    for (std::size_t i = 0; i < swapped.batch_dims; ++i) {
      std::swap(swapped.batch[i].a_step, swapped.batch[i].b_step);
    }
    return multiply(kernels, swapped);
  }
  const double ns = product.ns();
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  const Items items(product, team.size());
  const std::size_t size =
      product.rows <= kFewRows
          ? kRowScratch
          : packed_floats(product.depth, std::min(product.columns, kBlockColumns));
  WithScratch<PackedColumns> packed(count_of(team.size(), size));
  team.run(items.count, grain_for(ns, items.count),
           [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
             for (std::size_t item = begin; item < end && !team.stopped(); ++item) {
               multiply_item(kernels, product, items, item, packed->data + participant * size);
             }
           });
  return team.stopped() ? Status::kStopped : Status::kOk;
}

}  // namespace dynaquant
