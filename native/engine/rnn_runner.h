// SPDX-License-Identifier: MIT
// What a recurrent call does that depends on the kind of its weights. rnn_plain.h does it for float
// and float16, rnn_int8.h for int8.
//
// A RnnRunner<Matrix> belongs to one call. Its constructor takes the call's memory from a Scratch;
// `first` is any direction of the stack, because all are of one kind. These methods are called in
// this order:
//
//   for each layer              start_layer
//     for each direction        start_direction, join (the rows of the first step)
//       for each chunk          input_gates
//         for each step         join or narrow, if the number of rows changes; then step
//
//   Status start_layer(const Matrix& input, const float* x)
//     `x` holds every row of the layer's input, [rows][input.depth()]. `input` is W_ih of any of
//     the layer's directions.
//   Status start_direction(const RnnDirection<Matrix>& direction, const float* c0)
//     From now on `direction` is what runs. c0 is the caller's, or null.
//   Status join(const FloatRows& h, std::size_t begin, std::size_t end)
//     From now on the rows [begin, end) of h take part, which no step has made: h0 of sequences
//     that begin.
//   void narrow(const FloatRows& h, std::size_t rows)
//     From now on only the first `rows` rows of h take part: the other sequences have ended.
//   Status input_gates(const Matrix& input, const SequenceChunk& chunk, float* gates)
//     Computes W_ih x + b_ih of the chunk's rows, or, if the chunk is a single step, may leave that
//     to step().
//   Status step(const RnnDirection<Matrix>& direction, const FloatRows& h, RnnStep& step, float* y,
//               std::size_t groups, std::size_t grain)
//     Computes h' from h, into `y`. The caller has filled `step`, except the output, which is the
//     runner's. `groups` are the direction's groups of units; a thread claims at least `grain`.
//
// Every Status but kOk ends the call.
#ifndef DYNAQUANT_ENGINE_RNN_RUNNER_H_
#define DYNAQUANT_ENGINE_RNN_RUNNER_H_

#include <cstddef>

#include "engine/product.h"
#include "engine/rnn.h"
#include "engine/rnn_memory.h"
#include "kernels/kernels.h"

namespace dynaquant {

template <typename Matrix>
class RnnRunner;

// The input gates of a single step. Its threads compute them together with the step, group by
// group, because a phase of their own would make the threads meet once more.
template <typename Rows>
struct StepInput {
  Rows x = {};
  float* gates = nullptr;  // null if there are none to compute

  template <typename Matrix>
  void multiply_groups(const KernelTable& kernels, const Extents& e, const Matrix& input,
                       std::size_t rows, std::size_t begin, std::size_t end) const {
    if (gates == nullptr) return;
    const std::size_t first = begin * input.layout().gates, last = end * input.layout().gates;
    gemm(kernels, x, rows, input.slice(first, last),
         FloatMatrixView{gates, e.gate_stride, e.gate_columns}.of_panels(first, last), false);
  }
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_RUNNER_H_
