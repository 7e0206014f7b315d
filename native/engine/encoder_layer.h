// SPDX-License-Identifier: MIT
// A layer of a transformer's encoder in one call: self-attention, then two Linears, each part with
// a residual connection and a normalization. The results are the bits that its parts give when they
// are called one after the other.
#ifndef DYNAQUANT_ENGINE_ENCODER_LAYER_H_
#define DYNAQUANT_ENGINE_ENCODER_LAYER_H_

#include <array>
#include <cstddef>
#include <variant>

#include "engine/attention.h"
#include "engine/linear.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// A Linear with any weights, without relu. None of the pointers is null.
using AnyLinear =
    std::variant<const Linear<FloatMatrix>*, const Linear<HalfMatrix>*, const Linear<Int8Matrix>*>;

// The Linears, in the order in which they run.
enum Product : std::size_t { kInProj, kOutProj, kLinear1, kLinear2 };
constexpr std::size_t kProducts = 4;

struct RowNorm {
  const float* weight;  // null for ones
  const float* bias;    // null for none
  float eps;
};

struct EncoderLayer {
  std::array<AnyLinear, kProducts> linears;  // width to 3 width, width, inner, width
  RowNorm norm1, norm2;
  bool norm_first;   // a norm comes before each part, not after it
  Unary activation;  // between the last two Linears
  std::size_t batch;
  std::size_t length;  // of a sequence
  std::size_t width;
  std::size_t inner;
  std::size_t heads;
  bool batch_first;  // rows of a sequence are neighbours; else those of a place are
  float scale;
  bool causal;
  const float* mask;  // see Attention
  HeadSteps mask_steps;

  std::size_t rows() const { return batch * length; }
  // `count` sequences, whose queries, keys and values lie beside each other in rows of `qkv`.
  Attention attention(std::size_t count, const float* qkv, float* out) const;
};

// x, out: [rows][width]; `out` may be x. It is undefined unless kOk is returned. `products` becomes
// the nanoseconds that the caller's thread spent in the Linears, their inputs' quantization
// included, and in the products of attention; null if nobody asks, because the clocks take time.
Status forward(const KernelTable& kernels, const EncoderLayer& layer, const float* x, float* out,
               double* products);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ENCODER_LAYER_H_
