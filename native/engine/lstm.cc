// SPDX-License-Identifier: MIT
#include "engine/lstm.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/aligned_buffer.h"

namespace dynaquant {
namespace {

// Input gates are computed for as many steps at once as fit this buffer (and one step at least):
// enough rows to reuse the weights, few enough for the gates to be read back from the L2 cache.
constexpr std::size_t kInputGateBytes = 256 * 1024;
constexpr std::size_t kMinInputRows = 48;

// What a layer's direction needs while it runs. The differences between float and int8 end here.
template <typename Matrix>
class Runner;

template <>
class Runner<FloatMatrix> {
 public:
  Runner(const KernelTable& kernels, const LstmSizes&, const LstmCall&) : kernels_(kernels) {}

  Status start_layer(const FloatMatrix& input, const float* x, std::size_t) {
    x_ = {x, input.depth()};
    return Status::kOk;
  }
  Status input_gates(const LstmCell<FloatMatrix>& cell, std::size_t row, std::size_t rows,
                     float* out, std::size_t columns) {
    const FloatRows x = {x_.data + row * x_.stride, x_.stride};
    kernels_.gemm_float(x, rows, cell.input.panels(), out, columns, columns);
    return Status::kOk;
  }
  Status start_direction(const FloatRows&, std::size_t) { return Status::kOk; }
  Status step(const LstmCell<FloatMatrix>& cell, const FloatRows& h, const LstmStep& step) {
    kernels_.lstm_step_float(h, cell.hidden.panels(), step);
    return Status::kOk;
  }

 private:
  const KernelTable& kernels_;
  FloatRows x_ = {};
};

template <>
class Runner<Int8Matrix> {
 public:
  Runner(const KernelTable& kernels, const LstmSizes& sizes, const LstmCall& call)
      : kernels_(kernels),
        sizes_(sizes),
        x_bytes_(call.steps * call.batch * Int8Matrix::stride(widest_input(sizes, call))),
        h_bytes_(call.batch * Int8Matrix::stride(sizes.hidden)) {}

  // One range for the whole sequence, quantized once for all directions.
  Status start_layer(const Int8Matrix& input, const float* x, std::size_t rows) {
    Range range = {0, 0, true};
    kernels_.range({x, rows * input.depth()}, 1, rows * input.depth(), &range);
    if (!range.finite) return Status::kInputNotFinite;
    x_ = quantize_rows(kernels_, {x, input.depth()}, rows, range, input, x_bytes_.data());
    return Status::kOk;
  }
  Status input_gates(const LstmCell<Int8Matrix>& cell, std::size_t row, std::size_t rows,
                     float* out, std::size_t columns) {
    const Int8Rows x = {x_.data + row * x_.stride, x_.stride, x_.scale, x_.zero_point};
    kernels_.gemm_int8(x, rows, cell.input.panels(), out, columns, columns);
    input_bound_ = cell.input.bound(x_.scale);
    return input_bound_ < kSafeMagnitude || all_finite(out, rows * columns) ? Status::kOk
                                                                            : Status::kOverflow;
  }
  Status start_direction(const FloatRows& h0, std::size_t rows) {
    range_ = {0, 0, true};
    kernels_.range(h0, rows, sizes_.hidden, &range_);
    return Status::kOk;
  }
  // One range for the hidden state of the whole batch, found while the last step made it.
  Status step(const LstmCell<Int8Matrix>& cell, const FloatRows& h, const LstmStep& step) {
    const Int8Rows q = quantize_rows(kernels_, h, step.rows, range_, cell.hidden, h_bytes_.data());
    if (cell.hidden.bound(q.scale) + input_bound_ >= kSafeMagnitude &&
        !gates_are_finite(cell, q, step)) {
      return Status::kOverflow;
    }
    range_ = {0, 0, true};
    kernels_.lstm_step_int8(q, cell.hidden.panels(), step, &range_);
    return Status::kOk;
  }

 private:
  static std::size_t widest_input(const LstmSizes& sizes, const LstmCall& call) {
    const std::size_t first = sizes.input_of(call.first_layer);
    return call.layers > 1 ? std::max(first, sizes.directions * sizes.hidden) : first;
  }
  bool all_finite(const float* x, std::size_t count) const {
    Range range = {0, 0, true};
    kernels_.range({x, count}, 1, count, &range);
    return range.finite;
  }
  // The slow way, for weights or states so large that nothing is proved: computes the gates apart.
  bool gates_are_finite(const LstmCell<Int8Matrix>& cell, const Int8Rows& h,
                        const LstmStep& step) const {
    const Int8Panels panels = cell.hidden.panels();
    const std::size_t columns = panels.panels * kPanelColumns;
    AlignedBuffer<float> gates(step.rows * columns);
    kernels_.gemm_int8(h, step.rows, panels, gates.data(), columns, columns);
    for (std::size_t i = 0; i < gates.size(); ++i) gates.data()[i] += step.input_gates[i];
    return all_finite(gates.data(), gates.size());
  }

  const KernelTable& kernels_;
  const LstmSizes& sizes_;
  AlignedBuffer<std::uint8_t> x_bytes_;
  AlignedBuffer<std::uint8_t> h_bytes_;
  Int8Rows x_ = {};
  Range range_ = {};
  double input_bound_ = 0;
};

// NaN and infinity may enter a float layer; an int8 layer takes finite states only.
Status check_states(const KernelTable& kernels, const LstmCall& call, std::size_t count) {
  const std::pair<const float*, Status> states[] = {{call.h0, Status::kHiddenNotFinite},
                                                    {call.c0, Status::kCellNotFinite}};
  for (const auto& [state, status] : states) {
    Range range = {0, 0, true};
    if (state != nullptr) kernels.range({state, count}, 1, count, &range);
    if (!range.finite) return status;
  }
  return Status::kOk;
}

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
  const std::size_t hidden = sizes_.hidden;
  const std::size_t directions = sizes_.directions;
  const std::size_t batch = call.batch;
  const std::size_t state = batch * hidden;  // floats of one cell's h or c
  const std::size_t rows = call.steps * batch;
  const std::size_t y_stride = directions * hidden;
  if (batch == 0) return Status::kOk;
  if (std::is_same<Matrix, Int8Matrix>::value) {
    const Status status = check_states(kernels_, call, call.layers * directions * state);
    if (status != Status::kOk) return status;
  }

  const std::size_t units = GateLayout{1, hidden}.columns();  // hidden, padded
  const std::size_t gate_columns = units * kLstmGates;
  const std::size_t chunk_rows =
      std::max(kMinInputRows, kInputGateBytes / (gate_columns * sizeof(float)));
  const std::size_t chunk_steps = std::clamp<std::size_t>(chunk_rows / batch, 1, call.steps);
  AlignedBuffer<float> gates(chunk_steps * batch * gate_columns);
  AlignedBuffer<float> c(batch * units);
  AlignedBuffer<float> zeros(call.h0 == nullptr ? state : 0);
  std::fill_n(zeros.data(), zeros.size(), 0.0f);
  // Layers between the first and the last write and read these two in turn.
  AlignedBuffer<float> between[2];
  for (std::size_t i = 0; i + 1 < std::min<std::size_t>(call.layers, 3); ++i) {
    between[i] = AlignedBuffer<float>(rows * y_stride);
  }
  Runner<Matrix> runner(kernels_, sizes_, call);

  const float* x = call.x;
  for (std::size_t layer = 0; layer < call.layers; ++layer) {
    const LstmCell<Matrix>* cells = &cells_[(call.first_layer + layer) * directions];
    float* y = layer + 1 == call.layers ? call.y : between[layer % 2].data();
    Status status = runner.start_layer(cells[0].input, x, rows);
    if (status != Status::kOk) return status;
    for (std::size_t direction = 0; direction < directions; ++direction) {
      const LstmCell<Matrix>& cell = cells[direction];
      const std::size_t index = layer * directions + direction;
      float* out = y + direction * hidden;
      for (std::size_t row = 0; row < batch; ++row) {
        float* c_row = c.data() + row * units;
        if (call.c0 != nullptr) {
          std::memcpy(c_row, call.c0 + index * state + row * hidden, hidden * sizeof(float));
        }
        std::fill(c_row + (call.c0 != nullptr ? hidden : 0), c_row + units, 0.0f);
      }
      FloatRows h = {call.h0 != nullptr ? call.h0 + index * state : zeros.data(), hidden};
      status = runner.start_direction(h, batch);
      if (status != Status::kOk) return status;
      for (std::size_t done = 0; done < call.steps; done += chunk_steps) {
        const std::size_t steps = std::min(chunk_steps, call.steps - done);
        // The chunk's first time, in the order of time; the reverse direction walks it backwards.
        const std::size_t first = direction == 0 ? done : call.steps - done - steps;
        status = runner.input_gates(cell, first * batch, steps * batch, gates.data(), gate_columns);
        if (status != Status::kOk) return status;
        for (std::size_t i = 0; i < steps; ++i) {
          const std::size_t in_chunk = direction == 0 ? i : steps - 1 - i;
          const LstmStep step = {
              batch,    hidden, gates.data() + in_chunk * batch * gate_columns, gate_columns,
              c.data(), units,  out + (first + in_chunk) * batch * y_stride,    y_stride};
          status = runner.step(cell, h, step);
          if (status != Status::kOk) return status;
          h = {step.output, y_stride};
        }
      }
      for (std::size_t row = 0; row < batch; ++row) {
        const std::size_t to = index * state + row * hidden;
        std::memcpy(call.hn + to, h.data + row * h.stride, hidden * sizeof(float));
        std::memcpy(call.cn + to, c.data() + row * units, hidden * sizeof(float));
      }
    }
    x = y;
  }
  return Status::kOk;
}

template class Lstm<FloatMatrix>;
template class Lstm<Int8Matrix>;

}  // namespace dynaquant
