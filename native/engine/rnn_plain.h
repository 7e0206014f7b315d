// SPDX-License-Identifier: MIT
// Recurrent layers with float and float16 weights. Nothing here can fail.
#ifndef DYNAQUANT_ENGINE_RNN_PLAIN_H_
#define DYNAQUANT_ENGINE_RNN_PLAIN_H_

#include <cstddef>

#include "engine/product.h"
#include "engine/rnn.h"
#include "engine/rnn_memory.h"
#include "engine/rnn_runner.h"
#include "engine/scratch.h"
#include "engine/sequence.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

inline auto step_kernel(const KernelTable& kernels, RnnMode mode, const FloatMatrix&) {
  return kernels.step_float[static_cast<std::size_t>(mode)];
}
inline auto step_kernel(const KernelTable& kernels, RnnMode mode, const HalfMatrix&) {
  return kernels.step_half[static_cast<std::size_t>(mode)];
}

// See rnn_runner.h.
template <typename Matrix>
class RnnRunner {
 public:
  RnnRunner(Scratch& scratch, const Machine& machine, const Extents& e, RnnMode mode,
            const RnnDirection<Matrix>& first)
      : machine_(machine),
        e_(e),
        step_kernel_(step_kernel(machine.kernels, mode, first.hidden)),
        unprojected_(first.projection ? scratch.take<float>(count_of(e.batch, e.unit_stride))
                                      : nullptr) {}

  Status start_layer(const Matrix& input, const float* x) {
    x_ = {x, input.depth()};
    return Status::kOk;
  }

  Status start_direction(const RnnDirection<Matrix>&, const float*) { return Status::kOk; }
  Status join(const FloatRows&, std::size_t, std::size_t) { return Status::kOk; }
  void narrow(const FloatRows&, std::size_t) {}

  Status input_gates(const Matrix& input, const SequenceChunk& chunk, float* gates) {
    const FloatRows x = {x_.data + chunk.row * x_.stride, x_.stride};
    step_input_ = {x, chunk.is_single() ? gates : nullptr};
    if (!chunk.is_single()) {
      multiply(machine_, x, chunk.rows, input, {gates, e_.gate_stride, e_.gate_columns});
    }
    return Status::kOk;
  }

  Status step(const RnnDirection<Matrix>& direction, const FloatRows& h, RnnStep& step, float* y,
              std::size_t groups, std::size_t grain) {
    const bool projects = direction.projection.has_value();
    step.output = projects ? unprojected_ : y;
    machine_.team.run(groups, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
      step_input_.multiply_groups(machine_.kernels, e_, direction.input, step.rows, begin, end);
      step_kernel_(h, direction.hidden.all(), step, begin, end);
    });
    if (projects) {
      multiply(machine_, FloatRows{unprojected_, step.output_stride}, step.rows,
               *direction.projection, {y, e_.y_stride, e_.output});
    }
    return Status::kOk;
  }

 private:
  const Machine machine_;
  const Extents& e_;
  void (*step_kernel_)(const FloatRows& h, const typename Matrix::Panels& b, const RnnStep& step,
                       std::size_t begin, std::size_t end);
  float* unprojected_;  // h' before its projection
  FloatRows x_ = {};
  StepInput<FloatRows> step_input_ = {};
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_PLAIN_H_
