// SPDX-License-Identifier: MIT
// What happens once a layer or a direction, and the proofs that nothing overflows. What happens in
// every step is in the header, where the compiler can merge it with its caller.
#include "engine/rnn_int8.h"

#include <algorithm>
#include <limits>

#include "engine/aligned_buffer.h"

namespace dynaquant {
// The slow way, for weights or states so large that nothing is proved: computes the gates apart.
bool RnnRunner<Int8Matrix>::gates_are_finite(const RnnDirection<Int8Matrix>& direction,
                                             const RnnStep& step) {
  step_input_.multiply_groups(machine_.kernels, e_, direction.input, step.rows, 0,
                              direction.input.layout().groups());
  step_input_.gates = nullptr;
  AlignedBuffer<float> gates(count_of(step.rows, e_.gate_columns));
  gemm(machine_.kernels, h_rows_, step.rows, direction.hidden.all(),
       {gates.data(), e_.gate_columns, e_.gate_columns}, false);
  for (std::size_t row = 0; row < step.rows; ++row) {
    float* sums = gates.data() + row * e_.gate_columns;
    const float* input = step.input_gates + row * step.input_stride;
    for (std::size_t i = 0; i < e_.gate_columns; ++i) sums[i] += input[i];
  }
  return all_finite(machine_.kernels, {gates.data(), e_.gate_columns}, step.rows, e_.gate_columns);
}

// A bound of |h'|, valid if |h| is within it too.
double RnnRunner<Int8Matrix>::largest_output(const RnnDirection<Int8Matrix>& direction) const {
  if (mode_ == RnnMode::kRelu) return std::numeric_limits<double>::infinity();
  if (mode_ == RnnMode::kGru) return kGruLargest;
  return direction.projection ? std::max(1.0, bound_for(*direction.projection, 1)) : 1;
}

// A bound of this matrix's |results|, for |activations| of at most `largest`.
double RnnRunner<Int8Matrix>::bound_for(const Int8Matrix& matrix, double largest) const {
  return matrix.bound(2 * largest / activation_.levels());
}

}  // namespace dynaquant
