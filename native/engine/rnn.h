// SPDX-License-Identifier: MIT
// A stack of recurrent layers (LSTM, GRU or RNN), one or two directions, with float, float16 or
// int8 weights.
#ifndef DYNAQUANT_ENGINE_RNN_H_
#define DYNAQUANT_ENGINE_RNN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/linear.h"
#include "engine/matrix.h"
#include "kernels/kernels.h"

namespace dynaquant {

struct RnnSizes {
  RnnMode mode;
  std::size_t input;
  std::size_t hidden;
  std::size_t projection;  // features of a projected h (LSTM only), or 0
  std::size_t layers;
  std::size_t directions;  // 1 or 2

  std::size_t gates() const { return gates_of(mode); }
  bool has_cell() const { return mode == RnnMode::kLstm; }
  std::size_t output() const { return projection == 0 ? hidden : projection; }
  std::size_t cells() const { return layers * directions; }
  std::size_t input_of(std::size_t layer) const {
    return layer == 0 ? input : directions * output();
  }
};

// One direction of one layer.
template <typename Matrix>
struct RnnCell {
  Matrix input;                      // W_ih, b_ih
  Matrix hidden;                     // W_hh, b_hh
  std::optional<Matrix> projection;  // W_hr
};

// A call's tensors, all row-major float32. `first_layer` and `layers` choose a part of the stack (a
// caller that works between layers, as dropout does, passes one at a time); the states are those
// of the chosen layers only.
//
// With `batch_sizes` the sequences are packed, as PyTorch does it: the longest first, and of each
// step the rows of those sequences that have one. A sequence's last state is that of its own last
// step; the reverse direction begins there.
struct RnnCall {
  std::size_t steps;                // T >= 1
  std::size_t batch;                // B >= 0
  const std::int64_t* batch_sizes;  // [T], B first, never rising, >= 1; or null: B each
  std::size_t rows;                 // of x and y: the sum of batch_sizes, or T * B
  std::size_t first_layer;          // the first to run
  std::size_t layers;               // how many to run
  const float* x;                   // [rows][input_of(first_layer)]
  const float* h0;                  // [layers * directions][B][output()], or null for zeros
  const float* c0;                  // [layers * directions][B][hidden], or null for zeros
  float* y;                         // [rows][directions * output()]
  float* hn;                        // as h0
  float* cn;                        // as c0; null where the mode has no c
};

template <typename Matrix>
class Rnn {
 public:
  // `cells`: layer 0 forward, layer 0 reverse, layer 1 forward, ...
  Rnn(const KernelTable& kernels, const RnnSizes& sizes, std::vector<RnnCell<Matrix>> cells);

  // The outputs are undefined unless kOk is returned.
  Status forward(const RnnCall& call) const;

  const RnnSizes& sizes() const { return sizes_; }
  const RnnCell<Matrix>& cell(std::size_t index) const { return cells_[index]; }
  std::size_t bytes() const;

 private:
  const KernelTable& kernels_;
  RnnSizes sizes_;
  std::vector<RnnCell<Matrix>> cells_;
  // Of a layer of few units: the same for several sequences as one of so many times the size, which
  // fills the vectors that one would leave half empty. Bit by bit the same results.
  std::unique_ptr<const Rnn> side_by_side_;
};

extern template class Rnn<FloatMatrix>;
extern template class Rnn<HalfMatrix>;
extern template class Rnn<Int8Matrix>;

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_H_
