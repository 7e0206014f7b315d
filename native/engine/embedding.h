// SPDX-License-Identifier: MIT
// Tables of vectors, looked up by index: float32, or 8 or 4 bits with a scale and an offset a row.
// The tables stay where they are; nothing here owns memory.
#ifndef DYNAQUANT_ENGINE_EMBEDDING_H_
#define DYNAQUANT_ENGINE_EMBEDDING_H_

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace dynaquant {

struct EmbeddingTable {
  const void* data;      // [rows][width] of `bits`, without padding: a row of 4 bits may begin in a
                         // byte's middle
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
  const float* weights;  // one an index, or null
  std::int32_t padding;  // an index that counts for nothing; negative for none
};

// Whether every index is one of `rows`.
bool all_inside(const Indices& indices, std::size_t rows);

// out[i] = the row of indices[i], which are inside.
void lookup(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
            float* out);

// out[b] = the sum, mean or maximum of bag b's rows, in its order; zeros for a bag of none. Each
// term of a sum is one fma as in FBGEMM: sum = fma(q, weight * scale, sum + weight * offset).
void lookup_bags(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
                 const Bags& bags, float* out);

// Quantizes each row over its own range as PyTorch's float_qparams observer does: levels = 2^bits -
// 1, scale = (max - min) / levels, or 1 unless that is above 2^-23; zero_point = -min / scale;
// q = clamp(rne(w * (1 / scale) + zero_point), 0, levels). False where a weight is not finite or
// its row's range is not. `out` is zeros on entry.
bool quantize_table(const float* weight, std::size_t rows, std::size_t width, int bits,
                    std::uint8_t* out, float* scales, float* zero_points);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_EMBEDDING_H_
