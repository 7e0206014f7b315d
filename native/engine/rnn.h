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

#include "engine/matrix.h"
#include "engine/status.h"
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
  std::size_t all_directions() const { return layers * directions; }
  std::size_t input_of(std::size_t layer) const {
    return layer == 0 ? input : directions * output();
  }
};

// One direction of one layer.
template <typename Matrix>
struct RnnDirection {
  Matrix input;                      // W_ih, b_ih
  Matrix hidden;                     // W_hh, b_hh
  std::optional<Matrix> projection;  // W_hr
};

// A call's tensors, all row-major float32. `first_layer` and `layers` choose a part of the stack,
// for a caller that works between layers, as dropout does, and passes one at a time. The states are
// those of the chosen layers only.
//
// With `batch_sizes` the sequences are packed as PyTorch packs them: the longest comes first, and
// each step has the rows of those sequences that reach it. A sequence's last state is that of its
// own last step. The reverse direction begins there.
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
  float* cn;                        // as c0; null if the mode has no c
};

template <typename Matrix>
class Rnn {
 public:
  // `directions`: layer 0 forward, layer 0 reverse, layer 1 forward, ... Throws
  // std::invalid_argument if there are none, or not as many as `sizes` says.
  Rnn(const KernelTable& kernels, const RnnSizes& sizes,
      std::vector<RnnDirection<Matrix>> directions);

  // The outputs are undefined unless kOk is returned.
  Status forward(const RnnCall& call) const;

  // Roughly what a row of a step of one layer takes on one thread, its input gates included.
  double row_ns() const;
  // Whether several calls like this get done sooner one after the other, with all threads each,
  // than beside each other with one thread each.
  bool wants_team(const RnnCall& call) const;

  const RnnSizes& sizes() const { return sizes_; }
  const RnnDirection<Matrix>& direction(std::size_t index) const { return directions_[index]; }
  std::size_t bytes() const;

 private:
  const KernelTable& kernels_;
  RnnSizes sizes_;
  std::vector<RnnDirection<Matrix>> directions_;
  // For layers of at most 8 units: this layer repeated along a diagonal, so that several sequences
  // fill one vector. Null otherwise. Returns the same bits.
  std::unique_ptr<const Rnn> side_by_side_;
};

extern template class Rnn<FloatMatrix>;
extern template class Rnn<HalfMatrix>;
extern template class Rnn<Int8Matrix>;

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_H_
