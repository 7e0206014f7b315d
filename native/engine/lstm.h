// SPDX-License-Identifier: MIT
// A stack of LSTM layers, float or int8, one or two directions.
#ifndef DYNAQUANT_ENGINE_LSTM_H_
#define DYNAQUANT_ENGINE_LSTM_H_

#include <cstddef>
#include <vector>

#include "engine/linear.h"
#include "engine/matrix.h"
#include "kernels/kernels.h"

namespace dynaquant {

struct LstmSizes {
  std::size_t input;
  std::size_t hidden;
  std::size_t layers;
  std::size_t directions;  // 1 or 2

  std::size_t cells() const { return layers * directions; }
  std::size_t input_of(std::size_t layer) const { return layer == 0 ? input : directions * hidden; }
};

// One direction of one layer.
template <typename Matrix>
struct LstmCell {
  Matrix input;   // W_ih, b_ih
  Matrix hidden;  // W_hh, b_hh
};

// A call's tensors, all row-major float32. `first_layer` and `layers` choose a part of the stack (a
// caller that works between layers, as dropout does, passes one at a time); the states are those
// of the chosen layers only.
struct LstmCall {
  std::size_t steps;        // T >= 1
  std::size_t batch;        // B >= 0
  std::size_t first_layer;  // the first to run
  std::size_t layers;       // how many to run
  const float* x;           // [T][B][input_of(first_layer)]
  const float* h0;          // [layers * directions][B][hidden], or null for zeros
  const float* c0;          // the same
  float* y;                 // [T][B][directions * hidden]
  float* hn;                // [layers * directions][B][hidden]
  float* cn;                // the same
};

template <typename Matrix>
class Lstm {
 public:
  // `cells`: layer 0 forward, layer 0 reverse, layer 1 forward, ...
  Lstm(const KernelTable& kernels, const LstmSizes& sizes, std::vector<LstmCell<Matrix>> cells);

  // The outputs are undefined unless kOk is returned.
  Status forward(const LstmCall& call) const;

  const LstmSizes& sizes() const { return sizes_; }
  const LstmCell<Matrix>& cell(std::size_t index) const { return cells_[index]; }
  std::size_t bytes() const;

 private:
  const KernelTable& kernels_;
  LstmSizes sizes_;
  std::vector<LstmCell<Matrix>> cells_;
};

extern template class Lstm<FloatMatrix>;
extern template class Lstm<Int8Matrix>;

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_LSTM_H_
