// SPDX-License-Identifier: MIT
#include "engine/lstm.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/activations.h"

namespace dynaquant {
namespace {

// Input gates are computed for as many steps at once as fit this buffer (and one step at least):
// enough rows to reuse the weights, few enough for the gates to be read back from the L2 cache.
constexpr std::size_t kInputGateBytes = 256 * 1024;
constexpr std::size_t kMinInputRows = 48;

constexpr std::size_t kLineFloats = 16;

// The shapes of a call, all derived from the sizes and the call.
struct Extents {
  Extents(const LstmSizes& sizes, const LstmCall& call)
      : hidden(sizes.hidden),
        batch(call.batch),
        rows(call.steps * call.batch),
        state(call.batch * sizes.hidden),
        y_stride(sizes.directions * sizes.hidden),
        units(GateLayout{1, sizes.hidden}.columns()),
        gate_columns(units * kLstmGates),
        gate_stride(gate_columns + kLineFloats),
        c_stride(units + kLineFloats) {
    const std::size_t chunk_rows =
        std::max(kMinInputRows, kInputGateBytes / (gate_columns * sizeof(float)));
    chunk_steps = std::clamp<std::size_t>(chunk_rows / batch, 1, call.steps);
    const std::size_t first = sizes.input_of(call.first_layer);
    widest_input = call.layers > 1 ? std::max(first, y_stride) : first;
  }

  std::size_t hidden, batch;
  std::size_t rows;          // steps * batch
  std::size_t state;         // floats of one direction's h or c
  std::size_t y_stride;      // floats of a row of a layer's output
  std::size_t units;         // hidden, padded
  std::size_t gate_columns;  // of a row of input gates
  // Floats from row to row of the gates and of c: one line more, so that the rows of a power of two
  // do not all fall into the same set of a cache.
  std::size_t gate_stride, c_stride;
  std::size_t chunk_steps;
  std::size_t widest_input;
};

// What float and int8 share of a call's memory.
struct Common {
  Common(Scratch& scratch, const Extents& e, const LstmCall& call)
      : gates(scratch.take<float>(e.chunk_steps * e.batch * e.gate_stride)),
        c(scratch.take<float>(e.batch * e.c_stride)),
        zeros(call.h0 == nullptr ? scratch.take<float>(e.state) : nullptr) {
    // Layers between the first and the last write and read these two in turn.
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(call.layers, 3); ++i) {
      between[i] = scratch.take<float>(e.rows * e.y_stride);
    }
  }
  float* gates;
  float* c;
  float* zeros;
  float* between[2] = {nullptr, nullptr};
};

// What a layer's direction needs while it runs. The differences between float and int8 end here.
template <typename Matrix>
class Runner;

template <>
class Runner<FloatMatrix> {
 public:
  Runner(Scratch&, const KernelTable& kernels, Team& team, const Extents& e, const FloatMatrix&)
      : kernels_(kernels), team_(team), e_(e) {}

  Status start_layer(const FloatMatrix& input, const float* x) {
    x_ = {x, input.depth()};
    return Status::kOk;
  }
  Status input_gates(const FloatMatrix& input, std::size_t row, std::size_t rows, float* out) {
    multiply(kernels_, team_, FloatRows{x_.data + row * x_.stride, x_.stride}, rows, input, out,
             e_.gate_stride, e_.gate_columns);
    return Status::kOk;
  }
  Status start_direction(const LstmCell<FloatMatrix>&, const FloatRows&, const float*) {
    return Status::kOk;
  }
  Status step(const FloatMatrix& matrix, const FloatRows& h, const LstmStep& step,
              std::size_t groups, std::size_t grain) {
    team_.run(groups, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
      kernels_.lstm_step_float(h, matrix.all(), step, begin, end);
    });
    return Status::kOk;
  }

 private:
  const KernelTable& kernels_;
  Team& team_;
  const Extents& e_;
  FloatRows x_ = {};
};

template <>
class Runner<Int8Matrix> {
 public:
  Runner(Scratch& scratch, const KernelTable& kernels, Team& team, const Extents& e,
         const Int8Matrix& any)
      : kernels_(kernels),
        team_(team),
        mode_(any.mode()),
        e_(e),
        x_(scratch, e.rows, e.widest_input, mode_),
        h_(scratch, e.batch, e.hidden, mode_),
        h_rows_(h_.from(0)),
        ranges_count_(mode_.per_row ? e.batch : 1),
        ranges_(scratch.take<RangeLanes>(ranges_count_ * team.size())) {}

  // One range for the whole sequence (or one a row), quantized once for all directions.
  Status start_layer(const Int8Matrix& input, const float* x) {
    const std::size_t depth = input.depth();
    x_.stride = input.stride();
    if (!quantize_rows(kernels_, team_, mode_, {x, depth}, e_.rows, depth, x_)) {
      return Status::kInputNotFinite;
    }
    return Status::kOk;
  }
  Status input_gates(const Int8Matrix& input, std::size_t row, std::size_t rows, float* out) {
    multiply(kernels_, team_, x_.from(row), rows, input, out, e_.gate_stride, e_.gate_columns);
    if (input_bound_ < kSafeMagnitude ||
        all_finite(kernels_, {out, e_.gate_stride}, rows, e_.gate_columns)) {
      return Status::kOk;
    }
    return Status::kOverflow;
  }
  // `h0`'s range stands for that of the step before the first.
  Status start_direction(const LstmCell<Int8Matrix>& cell, const FloatRows& h0, const float* c0) {
    if (c0 != nullptr && !all_finite(kernels_, {c0, e_.hidden}, e_.batch, e_.hidden))
      return Status::kCellNotFinite;
    clear_ranges(ranges_, ranges_count_ * team_.size());
    if (!kernels_.range(h0, e_.batch, e_.hidden, ranges_, h_.params.step)) {
      return Status::kHiddenNotFinite;
    }
    input_bound_ = cell.input.bound(x_.largest_scale(e_.rows));
    first_step_ = true;
    // Every h' lies in [-1, 1]: the scale of a whole such range.
    const double scale = 2.0 / mode_.steps();
    proved_ = cell.hidden.bound(scale) + input_bound_ < kSafeMagnitude;
    return Status::kOk;
  }
  // One range for the hidden state of the whole batch (or one a row), found while the last step
  // made it.
  Status step(const Int8Matrix& matrix, const FloatRows& h, const LstmStep& step,
              std::size_t groups, std::size_t grain) {
    if (team_.size() > 1) merge_ranges(ranges_, ranges_count_, team_.size());
    kernels_.choose_params(ranges_, ranges_count_, mode_.steps(), h_.params);
    kernels_.quantize(h, e_.batch, e_.hidden, h_.params, h_.bytes, h_.stride);
    if (!proved_ || first_step_) {
      const double bound = matrix.bound(h_.largest_scale(e_.batch)) + input_bound_;
      if (bound >= kSafeMagnitude && !gates_are_finite(matrix, step)) return Status::kOverflow;
      first_step_ = false;
    }
    team_.run(groups, grain,
              [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
                kernels_.lstm_step_int8(h_rows_, matrix.all(), step, begin, end,
                                        ranges_ + participant * ranges_count_, h_.params.step);
              });
    return Status::kOk;
  }

 private:
  // The slow way, for weights or states so large that nothing is proved: computes the gates apart.
  bool gates_are_finite(const Int8Matrix& matrix, const LstmStep& step) const {
    AlignedBuffer<float> gates(step.rows * e_.gate_columns);
    kernels_.gemm_int8(h_rows_, step.rows, matrix.all(), gates.data(), e_.gate_columns,
                       e_.gate_columns);
    for (std::size_t row = 0; row < step.rows; ++row) {
      float* sums = gates.data() + row * e_.gate_columns;
      const float* input = step.input_gates + row * step.input_stride;
      for (std::size_t i = 0; i < e_.gate_columns; ++i) sums[i] += input[i];
    }
    return all_finite(kernels_, {gates.data(), e_.gate_columns}, step.rows, e_.gate_columns);
  }

  const KernelTable& kernels_;
  Team& team_;
  const ActivationMode& mode_;
  const Extents& e_;
  QuantizedRows x_;
  QuantizedRows h_;
  Int8Rows h_rows_;
  std::size_t ranges_count_;
  RangeLanes* ranges_;
  double input_bound_ = 0;
  bool first_step_ = true;
  bool proved_ = true;
};

template <typename Matrix>
struct Layout {
  Layout(Scratch& scratch, const KernelTable& kernels, Team* team, const Extents& e,
         const LstmCall& call, const Matrix& any)
      : common(scratch, e, call), runner(scratch, kernels, *team, e, any) {}
  Common common;
  Runner<Matrix> runner;
};

}  // namespace

template <typename Matrix>
Lstm<Matrix>::Lstm(const KernelTable& kernels, const LstmSizes& sizes,
                   std::vector<LstmCell<Matrix>> cells)
    : kernels_(kernels), sizes_(sizes), cells_(std::move(cells)) {}

template <typename Matrix>
std::size_t Lstm<Matrix>::bytes() const {
  std::size_t sum = 0;
  for (const LstmCell<Matrix>& cell : cells_) sum += cell.input.bytes() + cell.hidden.bytes();
  return sum;
}

template <typename Matrix>
Status Lstm<Matrix>::forward(const LstmCall& call) const {
  if (call.batch == 0) return Status::kOk;
  const Extents e(sizes_, call);
  const std::size_t directions = sizes_.directions;
  const std::size_t hidden = e.hidden;
  const std::size_t groups = e.units / kPanelColumns;
  // The gates of 16 units take some 20 ns beside their products.
  const double step_ns =
      product_ns(cells_[0].hidden, e.batch) + 20.0 * static_cast<double>(e.batch * groups);
  const double ns = 2 * step_ns * static_cast<double>(call.layers * directions * call.steps);
  const std::size_t grain = grain_for(step_ns, groups);
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  WithScratch<Layout<Matrix>> scratch(kernels_, &team, e, call, cells_[0].input);
  Common& common = scratch->common;
  Runner<Matrix>& runner = scratch->runner;
  if (common.zeros != nullptr) std::fill_n(common.zeros, e.state, 0.0f);

  const float* x = call.x;
  for (std::size_t layer = 0; layer < call.layers; ++layer) {
    const LstmCell<Matrix>* cells = &cells_[(call.first_layer + layer) * directions];
    float* y = layer + 1 == call.layers ? call.y : common.between[layer % 2];
    Status status = runner.start_layer(cells[0].input, x);
    if (status != Status::kOk) return status;
    for (std::size_t direction = 0; direction < directions; ++direction) {
      const LstmCell<Matrix>& cell = cells[direction];
      const std::size_t index = layer * directions + direction;
      const float* c0 = call.c0 == nullptr ? nullptr : call.c0 + index * e.state;
      FloatRows h = {call.h0 != nullptr ? call.h0 + index * e.state : common.zeros, hidden};
      status = runner.start_direction(cell, h, c0);
      if (status != Status::kOk) return status;
      for (std::size_t row = 0; row < e.batch; ++row) {
        float* c = common.c + row * e.c_stride;
        if (c0 != nullptr) std::memcpy(c, c0 + row * hidden, hidden * sizeof(float));
        std::fill(c + (c0 != nullptr ? hidden : 0), c + e.units, 0.0f);
      }
      float* out = y + direction * hidden;
      LstmStep step = {};
      step.rows = e.batch;
      step.hidden = hidden;
      step.input_stride = e.gate_stride;
      step.cell = common.c;
      step.cell_stride = e.c_stride;
      step.output_stride = e.y_stride;
      for (std::size_t done = 0; done < call.steps; done += e.chunk_steps) {
        const std::size_t steps = std::min(e.chunk_steps, call.steps - done);
        // The chunk's first time, in the order of time; the reverse direction walks it backwards.
        const std::size_t first = direction == 0 ? done : call.steps - done - steps;
        status = runner.input_gates(cell.input, first * e.batch, steps * e.batch, common.gates);
        if (status != Status::kOk) return status;
        for (std::size_t i = 0; i < steps; ++i) {
          const std::size_t in_chunk = direction == 0 ? i : steps - 1 - i;
          step.input_gates = common.gates + in_chunk * e.batch * e.gate_stride;
          step.output = out + (first + in_chunk) * e.batch * e.y_stride;
          status = runner.step(cell.hidden, h, step, groups, grain);
          if (status != Status::kOk) return status;
          h = {step.output, e.y_stride};
        }
      }
      for (std::size_t row = 0; row < e.batch; ++row) {
        const std::size_t to = index * e.state + row * hidden;
        std::memcpy(call.hn + to, h.data + row * h.stride, hidden * sizeof(float));
        std::memcpy(call.cn + to, common.c + row * e.c_stride, hidden * sizeof(float));
      }
    }
    x = y;
  }
  return Status::kOk;
}

template class Lstm<FloatMatrix>;
template class Lstm<Int8Matrix>;

}  // namespace dynaquant
