// SPDX-License-Identifier: MIT
// Reductions, softmax and normalization of float arrays, shared out over threads. The results do
// not depend on how many there are.
#ifndef DYNAQUANT_ENGINE_REDUCE_H_
#define DYNAQUANT_ENGINE_REDUCE_H_

#include <cstddef>

#include "kernels/kernels.h"

namespace dynaquant {

// An array seen from one dimension: `outer` blocks of `length` rows of `inner` elements. The lines
// along it have `length` elements.
struct Lines {
  std::size_t outer;
  std::size_t length;  // at least 1
  std::size_t inner;

  std::size_t count() const { return outer * inner; }
  std::size_t elements() const { return count() * length; }
};

// out[outer][inner] = the reduction of each line.
void reduce(const KernelTable& kernels, Reduction reduction, const float* x, const Lines& lines,
            float* out);

// out = softmax along each line, or its logarithm.
void softmax(const KernelTable& kernels, bool log, const float* x, const Lines& lines, float* out);

// What normalizes a row: its mean and variance, or the root of its mean square.
enum class Norm : int { kLayer = 0, kRms = 1 };

struct NormRows {
  Norm norm;
  float eps;
  std::size_t rows;
  std::size_t length;  // of each, at least 1
  std::size_t groups;  // at least 1
};
// Row i has the weights and biases from i % groups * length / repeat on.
void normalize(const KernelTable& kernels, const NormRows& norm, const float* x,
               const Affine& affine, float* out);

// out = fma(x - mean, weight, bias) of [rows][channels][repeat] elements, each channel with its
// own.
struct ChannelRows {
  std::size_t rows;
  std::size_t channels;
  const float* means;
};
void scale_channels(const KernelTable& kernels, const ChannelRows& channels, const float* x,
                    const Affine& affine, float* out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_REDUCE_H_
