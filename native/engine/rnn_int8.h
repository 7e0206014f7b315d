// SPDX-License-Identifier: MIT
// Recurrent layers with int8 weights. Their input is quantized once for all steps and directions,
// h once a step. A result beyond float32 ends the call. For most calls the scales of weights and
// activations prove that there is none; the others are checked.
#ifndef DYNAQUANT_ENGINE_RNN_INT8_H_
#define DYNAQUANT_ENGINE_RNN_INT8_H_

#include <cstddef>
#include <optional>

#include "engine/product.h"
#include "engine/quantized_rows.h"
#include "engine/rnn.h"
#include "engine/rnn_memory.h"
#include "engine/rnn_runner.h"
#include "engine/scratch.h"
#include "engine/sequence.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// A GRU's |h'| is at most max(|h|, 1), plus roundings. From kGruInitial, roundings need more than a
// million steps to bring |h| to kGruLargest.
constexpr float kGruInitial = 512;
constexpr double kGruLargest = 1024;

// See rnn_runner.h.
template <>
class RnnRunner<Int8Matrix> {
 public:
  RnnRunner(Scratch& scratch, const Machine& machine, const Extents& e, RnnMode mode,
            const RnnDirection<Int8Matrix>& first)
      : machine_(machine),
        mode_(mode),
        activation_(first.input.mode()),
        e_(e),
        step_kernel_(machine.kernels.step_int8[static_cast<std::size_t>(mode)]),
        x_(scratch, e.rows, e.widest_input, activation_),
        h_(scratch, e.batch, e.output, activation_),
        h_rows_(h_.from(0)),
        ranges_count_(activation_.per_row ? e.batch : 1),
        ranges_(scratch.take<RangeLanes>(count_of(ranges_count_, machine.team.size()))) {
    if (first.projection) {
      unprojected_ = scratch.take<float>(count_of(e.batch, e.unit_stride));
      quantized_unprojected_.emplace(scratch, e.batch, e.hidden, activation_);
    }
  }

  Status start_layer(const Int8Matrix& input, const float* x) {
    const std::size_t depth = input.depth();
    x_.stride = input.stride();
    return quantize_rows(machine_, activation_, {x, depth}, e_.rows, depth, x_)
               ? Status::kOk
               : Status::kInputNotFinite;
  }

  Status start_direction(const RnnDirection<Int8Matrix>& direction, const float* c0) {
    if (c0 != nullptr && !all_finite(machine_.kernels, {c0, e_.hidden}, e_.batch, e_.hidden)) {
      return Status::kCellNotFinite;
    }
    clear_ranges(ranges_, ranges_count_ * machine_.team.size());
    input_bound_ = direction.input.bound(x_.largest_scale(e_.rows));
    proved_ =
        bound_for(direction.hidden, largest_output(direction)) + input_bound_ < kSafeMagnitude;
    return Status::kOk;
  }

  Status join(const FloatRows& h, std::size_t begin, std::size_t end) {
    joined_ = true;
    const std::size_t stride = h_.params.stride;
    return machine_.kernels.range({h.data + begin * h.stride, h.stride}, end - begin, e_.output,
                                  ranges_ + begin * stride, stride)
               ? Status::kOk
               : Status::kHiddenNotFinite;
  }

  void narrow(const FloatRows& h, std::size_t rows) {
    if (activation_.per_row) return;
    clear_ranges(ranges_, machine_.team.size());
    machine_.kernels.range(h, rows, e_.output, ranges_, 0);
  }

  Status input_gates(const Int8Matrix& input, const SequenceChunk& chunk, float* gates) {
    const bool safe = input_bound_ < kSafeMagnitude;
    const bool later = chunk.is_single() && safe;
    step_input_ = {x_.from(chunk.row), later ? gates : nullptr};
    if (later) return Status::kOk;
    multiply(machine_, step_input_.x, chunk.rows, input, {gates, e_.gate_stride, e_.gate_columns});
    if (safe ||
        all_finite(machine_.kernels, {gates, e_.gate_stride}, chunk.rows, e_.gate_columns)) {
      return Status::kOk;
    }
    return Status::kOverflow;
  }

  Status step(const RnnDirection<Int8Matrix>& direction, const FloatRows& h, RnnStep& step,
              float* y, std::size_t groups, std::size_t grain) {
    quantize(h, step.rows, e_.output, h_);
    if ((!proved_ || joined_) && !gates_are_safe(direction, step)) return Status::kOverflow;
    const bool projects = direction.projection.has_value();
    step.output = projects ? unprojected_ : y;
    machine_.team.run(
        groups, grain, [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
          step_input_.multiply_groups(machine_.kernels, e_, direction.input, step.rows, begin, end);
          step_kernel_(h_rows_, direction.hidden.all(), step, begin, end,
                       ranges_ + participant * ranges_count_, h_.params.stride);
        });
    if (!projects) return Status::kOk;
    quantize({unprojected_, step.output_stride}, step.rows, e_.hidden, *quantized_unprojected_);
    multiply(machine_, quantized_unprojected_->from(0), step.rows, *direction.projection,
             {y, e_.y_stride, e_.output});
    return machine_.kernels.range({y, e_.y_stride}, step.rows, e_.output, ranges_, h_.params.stride)
               ? Status::kOk
               : Status::kOverflow;
  }

 private:
  // Quantizes rows over the ranges that were found while a step made them. The ranges become empty.
  void quantize(const FloatRows& x, std::size_t rows, std::size_t columns, QuantizedRows& out) {
    if (machine_.team.size() > 1) merge_ranges(ranges_, ranges_count_, machine_.team.size());
    machine_.kernels.choose_params(ranges_, activation_.per_row ? rows : 1, activation_.levels(),
                                   out.params);
    machine_.kernels.quantize(x, rows, columns, out.params, out.bytes, out.stride);
  }
  bool gates_are_safe(const RnnDirection<Int8Matrix>& direction, const RnnStep& step) {
    const float scale = h_.largest_scale(step.rows);
    const double bound = direction.hidden.bound(scale) + input_bound_;
    if (bound >= kSafeMagnitude && !gates_are_finite(direction, step)) return false;
    if (mode_ == RnnMode::kGru && scale * static_cast<float>(activation_.levels()) > kGruInitial) {
      proved_ = false;
    }
    joined_ = false;
    return true;
  }

  bool gates_are_finite(const RnnDirection<Int8Matrix>& direction, const RnnStep& step);
  double largest_output(const RnnDirection<Int8Matrix>& direction) const;
  double bound_for(const Int8Matrix& matrix, double largest) const;

  const Machine machine_;
  const RnnMode mode_;
  const ActivationMode& activation_;
  const Extents& e_;
  void (*step_kernel_)(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                       std::size_t begin, std::size_t end, RangeLanes* ranges,
                       std::size_t ranges_stride);
  QuantizedRows x_;  // of the layer, all steps
  QuantizedRows h_;  // of the step
  const Int8Rows h_rows_;
  StepInput<Int8Rows> step_input_ = {};
  // Ranges of h'. Each participant has a set: one range for all rows, or one for each row.
  const std::size_t ranges_count_;
  RangeLanes* const ranges_;
  float* unprojected_ = nullptr;  // h' before its projection: o * tanh(c')
  std::optional<QuantizedRows> quantized_unprojected_;
  double input_bound_ = 0;  // no |input gate| of the direction exceeds it
  bool joined_ = true;      // some rows have an h that no step made
  bool proved_ = true;      // no gate overflows as long as h is what steps made
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_INT8_H_
