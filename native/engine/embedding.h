// SPDX-License-Identifier: MIT
// Tables of vectors that are looked up by index: float32, or 8 or 4 bits with a scale and an offset
// for each row. The caller owns the tables.
#ifndef DYNAQUANT_ENGINE_EMBEDDING_H_
#define DYNAQUANT_ENGINE_EMBEDDING_H_

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace dynaquant {

struct EmbeddingTable {
  // [rows][width] of `bits`, without padding: a row of 4-bit values may begin in a byte's middle.
  const void* data;
  const float* affines;  // [row][2]: scale and offset; null for floats
  int bits;              // 32, 8 or 4
  std::size_t rows;
  std::size_t width;
};

struct Indices {
  const std::int32_t* data;
  std::size_t count;
};

enum class BagMode : int { kSum = 0, kMean = 1, kMax = 2 };

// Bag b is the indices from bounds[b] up to bounds[b + 1].
struct Bags {
  const double* bounds;  // rising whole numbers, at most the number of indices
  std::size_t count;
  BagMode mode;
  const float* weights;  // one for each index, or null
  std::int32_t padding;  // an index that is left out; negative if there is none
};

// Whether every index is one of `rows`.
bool all_inside(const Indices& indices, std::size_t rows);

// out[i] = the row of indices[i]. All indices must be inside.
void lookup(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
            float* out);

// out[b] = the sum, mean or maximum of bag b's rows, in the bag's order, and zeros if it has none.
// Each term of a sum is one fma, as in FBGEMM: sum = fma(q, weight * scale, sum + weight * offset).
void lookup_bags(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
                 const Bags& bags, float* out);

// A table to be quantized into.
struct QuantizedTable {
  int bits;            // 8 or 4
  std::uint8_t* data;  // [rows][width], laid out as in EmbeddingTable; zeros on entry
  float* scales;       // one for each row
  float* zero_points;  // one for each row
};

// Quantizes each row over its own range as PyTorch's float_qparams observer does, with
// levels = 2^bits - 1: scale = (max - min) / levels, or 1 unless that is above 2^-23;
// zero_point = -min / scale; q = clamp(rne(w * (1 / scale) + zero_point), 0, levels).
// Returns false, with `out` undefined, if a weight or the range of a row is not finite.
bool quantize_table(const float* weight, std::size_t rows, std::size_t width,
                    const QuantizedTable& out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_EMBEDDING_H_
