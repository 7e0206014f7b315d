// SPDX-License-Identifier: MIT
#include "engine/rnn.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
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
  Extents(const RnnSizes& sizes, const RnnCall& call)
      : hidden(sizes.hidden),
        output(sizes.output()),
        batch(call.batch),
        rows(call.rows),
        h_state(call.batch * output),
        c_state(sizes.has_cell() ? call.batch * hidden : 0),
        y_stride(sizes.directions * output),
        units(GateLayout{1, hidden}.columns()),
        gate_columns(units * sizes.gates()),
        gate_stride(gate_columns + kLineFloats),
        unit_stride(units + kLineFloats) {
    const std::size_t most =
        std::max(kMinInputRows, kInputGateBytes / (gate_columns * sizeof(float)));
    chunk_rows = std::min(std::max(most, batch), rows);
    const std::size_t first = sizes.input_of(call.first_layer);
    widest_input = call.layers > 1 ? std::max(first, y_stride) : first;
  }

  std::size_t hidden;
  std::size_t output;  // features of h: hidden, or projected
  std::size_t batch;
  std::size_t rows;              // of all steps
  std::size_t h_state, c_state;  // floats of one direction's h and c
  std::size_t y_stride;          // floats of a row of a layer's output
  std::size_t units;             // hidden, padded
  std::size_t gate_columns;      // of a row of input gates
  // Floats from row to row of the gates, and of c or what is to be projected: one line more, so
  // that the rows of a power of two do not all fall into the same set of a cache.
  std::size_t gate_stride, unit_stride;
  std::size_t chunk_rows;
  std::size_t widest_input;
};

// What all matrices share of a call's memory.
struct Common {
  Common(Scratch& scratch, const Extents& e, const RnnCall& call)
      : gates(scratch.take<float>(e.chunk_rows * e.gate_stride)),
        c(scratch.take<float>(e.c_state == 0 ? 0 : e.batch * e.unit_stride)),
        zeros(call.h0 == nullptr ? scratch.take<float>(e.h_state) : nullptr),
        joined(call.batch_sizes != nullptr ? scratch.take<float>(e.h_state) : nullptr) {
    // Layers between the first and the last write and read these two in turn.
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(call.layers, 3); ++i) {
      between[i] = scratch.take<float>(e.rows * e.y_stride);
    }
  }
  float* gates;
  float* c;
  float* zeros;
  float* joined;  // h of a step that more sequences enter than the one before
  float* between[2] = {nullptr, nullptr};
};

inline auto step_of(const KernelTable& kernels, const FloatMatrix&) { return kernels.step_float; }
inline auto step_of(const KernelTable& kernels, const HalfMatrix&) { return kernels.step_half; }

// A single step's input gates, which come with the step, or threads would meet once more.
template <typename Rows>
struct StepInput {
  Rows x = {};
  float* gates = nullptr;  // null where there are none to compute

  template <typename Matrix>
  void multiply_groups(const KernelTable& kernels, const Extents& e, const Matrix& input,
                       std::size_t rows, std::size_t begin, std::size_t end) const {
    if (gates == nullptr) return;
    const std::size_t panels = input.layout().gates;  // of a group
    multiply_panels(kernels, x, rows, input, begin * panels, end * panels, gates, e.gate_stride,
                    e.gate_columns);
  }
};

// What a layer's direction needs while it runs. The differences between int8 and the others end
// here.
template <typename Matrix>
class Runner {
 public:
  Runner(Scratch& scratch, const KernelTable& kernels, Team& team, const Extents& e, RnnMode mode,
         const RnnCell<Matrix>& any)
      : kernels_(kernels),
        team_(team),
        e_(e),
        step_(step_of(kernels, any.hidden)[static_cast<std::size_t>(mode)]),
        unprojected_(any.projection ? scratch.take<float>(e.batch * e.unit_stride) : nullptr) {}

  // Every row of the layer's input.
  Status start_layer(const Matrix& input, const float* x) {
    x_ = {x, input.depth()};
    return Status::kOk;
  }
  // Of these rows; those of a single step may be left to step().
  Status input_gates(const Matrix& input, std::size_t row, std::size_t rows, bool single,
                     float* out) {
    const FloatRows x = {x_.data + row * x_.stride, x_.stride};
    step_input_ = {x, single ? out : nullptr};
    if (!single) multiply(kernels_, team_, x, rows, input, out, e_.gate_stride, e_.gate_columns);
    return Status::kOk;
  }
  Status start_direction(const RnnCell<Matrix>&, const float*) { return Status::kOk; }
  // From now on the rows [begin, end) of h, which no step made, take part.
  Status join(const FloatRows&, std::size_t, std::size_t) { return Status::kOk; }
  // From now on only the first `rows` of h take part.
  void narrow(const FloatRows&, std::size_t) {}
  // `y` becomes h', `step.output` and what it points to are the runner's.
  Status step(const RnnCell<Matrix>& cell, const FloatRows& h, RnnStep& step, float* y,
              std::size_t groups, std::size_t grain) {
    const bool projects = cell.projection.has_value();
    step.output = projects ? unprojected_ : y;
    team_.run(groups, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
      step_input_.multiply_groups(kernels_, e_, cell.input, step.rows, begin, end);
      step_(h, cell.hidden.all(), step, begin, end);
    });
    if (projects) {
      multiply(kernels_, team_, FloatRows{unprojected_, step.output_stride}, step.rows,
               *cell.projection, y, e_.y_stride, e_.output);
    }
    return Status::kOk;
  }

 private:
  const KernelTable& kernels_;
  Team& team_;
  const Extents& e_;
  void (*step_)(const FloatRows& h, const typename Matrix::Panels& b, const RnnStep& step,
                std::size_t begin, std::size_t end);
  float* unprojected_;
  FloatRows x_ = {};
  StepInput<FloatRows> step_input_ = {};
};

template <>
class Runner<Int8Matrix> {
 public:
  Runner(Scratch& scratch, const KernelTable& kernels, Team& team, const Extents& e, RnnMode mode,
         const RnnCell<Int8Matrix>& any)
      : kernels_(kernels),
        team_(team),
        mode_(mode),
        activation_(any.input.mode()),
        e_(e),
        step_(kernels.step_int8[static_cast<std::size_t>(mode)]),
        x_(scratch, e.rows, e.widest_input, activation_),
        h_(scratch, e.batch, e.output, activation_),
        h_rows_(h_.from(0)),
        ranges_count_(activation_.per_row ? e.batch : 1),
        ranges_(scratch.take<RangeLanes>(ranges_count_ * team.size())) {
    if (any.projection) {
      unprojected_ = scratch.take<float>(e.batch * e.unit_stride);
      quantized_.emplace(scratch, e.batch, e.hidden, activation_);
    }
  }

  // One range for the whole sequence (or one a row), quantized once for all directions.
  Status start_layer(const Int8Matrix& input, const float* x) {
    const std::size_t depth = input.depth();
    x_.stride = input.stride();
    if (!quantize_rows(kernels_, team_, activation_, {x, depth}, e_.rows, depth, x_)) {
      return Status::kInputNotFinite;
    }
    return Status::kOk;
  }
  Status input_gates(const Int8Matrix& input, std::size_t row, std::size_t rows, bool single,
                     float* out) {
    const bool safe = input_bound_ < kSafeMagnitude;
    const bool later = single && safe;
    step_input_ = {x_.from(row), later ? out : nullptr};
    if (later) return Status::kOk;
    multiply(kernels_, team_, step_input_.x, rows, input, out, e_.gate_stride, e_.gate_columns);
    if (safe || all_finite(kernels_, {out, e_.gate_stride}, rows, e_.gate_columns)) {
      return Status::kOk;
    }
    return Status::kOverflow;
  }
  Status start_direction(const RnnCell<Int8Matrix>& cell, const float* c0) {
    if (c0 != nullptr && !all_finite(kernels_, {c0, e_.hidden}, e_.batch, e_.hidden))
      return Status::kCellNotFinite;
    clear_ranges(ranges_, ranges_count_ * team_.size());
    input_bound_ = cell.input.bound(x_.largest_scale(e_.rows));
    proved_ = bound_for(cell.hidden, largest_output(cell)) + input_bound_ < kSafeMagnitude;
    return Status::kOk;
  }
  Status join(const FloatRows& h, std::size_t begin, std::size_t end) {
    joined_ = true;
    const std::size_t step = h_.params.stride;
    return kernels_.range({h.data + begin * h.stride, h.stride}, end - begin, e_.output,
                          ranges_ + begin * step, step)
               ? Status::kOk
               : Status::kHiddenNotFinite;
  }
  void narrow(const FloatRows& h, std::size_t rows) {
    if (activation_.per_row) return;
    clear_ranges(ranges_, team_.size());
    kernels_.range(h, rows, e_.output, ranges_, 0);
  }
  // One range for the hidden state of the whole batch (or one a row), found while the last step
  // made it.
  Status step(const RnnCell<Int8Matrix>& cell, const FloatRows& h, RnnStep& step, float* y,
              std::size_t groups, std::size_t grain) {
    quantize(h, step.rows, e_.output, h_);
    if (!proved_ || joined_) {
      const float scale = h_.largest_scale(step.rows);
      const double bound = cell.hidden.bound(scale) + input_bound_;
      if (bound >= kSafeMagnitude && !gates_are_finite(cell, step)) return Status::kOverflow;
      if (mode_ == RnnMode::kGru &&
          scale * static_cast<float>(activation_.levels()) > kGruInitial) {
        proved_ = false;
      }
      joined_ = false;
    }
    const bool projects = cell.projection.has_value();
    step.output = projects ? unprojected_ : y;
    team_.run(groups, grain,
              [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
                step_input_.multiply_groups(kernels_, e_, cell.input, step.rows, begin, end);
                step_(h_rows_, cell.hidden.all(), step, begin, end,
                      ranges_ + participant * ranges_count_, h_.params.stride);
              });
    if (!projects) return Status::kOk;
    quantize({unprojected_, step.output_stride}, step.rows, e_.hidden, *quantized_);
    multiply(kernels_, team_, quantized_->from(0), step.rows, *cell.projection, y, e_.y_stride,
             e_.output);
    return kernels_.range({y, e_.y_stride}, step.rows, e_.output, ranges_, h_.params.stride)
               ? Status::kOk
               : Status::kOverflow;
  }

 private:
  // A GRU's |h'| is at most max(|h|, 1), but for roundings: from kGruInitial on it would take more
  // than a million steps of them to reach kGruLargest.
  static constexpr float kGruInitial = 512;
  static constexpr double kGruLargest = 1024;

  // What no |h'| exceeds, given that h does not.
  double largest_output(const RnnCell<Int8Matrix>& cell) const {
    if (mode_ == RnnMode::kRelu) return std::numeric_limits<double>::infinity();
    if (mode_ == RnnMode::kGru) return kGruLargest;
    return cell.projection ? std::max(1.0, bound_for(*cell.projection, 1)) : 1;
  }
  // What no result of this matrix exceeds whose inputs do not exceed `largest`.
  double bound_for(const Int8Matrix& matrix, double largest) const {
    return matrix.bound(2 * largest / activation_.levels());
  }
  // By the ranges, which become empty.
  void quantize(const FloatRows& x, std::size_t rows, std::size_t columns, QuantizedRows& out) {
    if (team_.size() > 1) merge_ranges(ranges_, ranges_count_, team_.size());
    kernels_.choose_params(ranges_, activation_.per_row ? rows : 1, activation_.levels(),
                           out.params);
    kernels_.quantize(x, rows, columns, out.params, out.bytes, out.stride);
  }
  // The slow way, for weights or states so large that nothing is proved: computes the gates apart.
  bool gates_are_finite(const RnnCell<Int8Matrix>& cell, const RnnStep& step) {
    step_input_.multiply_groups(kernels_, e_, cell.input, step.rows, 0,
                                cell.input.layout().groups());
    step_input_.gates = nullptr;
    AlignedBuffer<float> gates(step.rows * e_.gate_columns);
    kernels_.gemm_int8(h_rows_, step.rows, cell.hidden.all(), gates.data(), e_.gate_columns,
                       e_.gate_columns, false);
    for (std::size_t row = 0; row < step.rows; ++row) {
      float* sums = gates.data() + row * e_.gate_columns;
      const float* input = step.input_gates + row * step.input_stride;
      for (std::size_t i = 0; i < e_.gate_columns; ++i) sums[i] += input[i];
    }
    return all_finite(kernels_, {gates.data(), e_.gate_columns}, step.rows, e_.gate_columns);
  }

  const KernelTable& kernels_;
  Team& team_;
  RnnMode mode_;
  const ActivationMode& activation_;
  const Extents& e_;
  void (*step_)(const Int8Rows& h, const Int8Panels& b, const RnnStep& step, std::size_t begin,
                std::size_t end, RangeLanes* ranges, std::size_t ranges_stride);
  QuantizedRows x_;
  QuantizedRows h_;
  Int8Rows h_rows_;
  StepInput<Int8Rows> step_input_ = {};
  std::size_t ranges_count_;
  RangeLanes* ranges_;
  float* unprojected_ = nullptr;            // o * tanh(c'), and
  std::optional<QuantizedRows> quantized_;  // the same
  double input_bound_ = 0;
  bool joined_ = true;
  bool proved_ = true;
};

template <typename Matrix>
struct Layout {
  Layout(Scratch& scratch, const KernelTable& kernels, Team* team, const Extents& e,
         const RnnCall& call, RnnMode mode, const RnnCell<Matrix>& any)
      : common(scratch, e, call), runner(scratch, kernels, *team, e, mode, any) {}
  Common common;
  Runner<Matrix> runner;
};

// How many sequences run side by side in the units of a group. [B][H] is [B / 2][2 H] in memory, so
// a batch of them is a smaller batch of wider rows; zeros in the weights keep them apart. Not with
// ranges of single rows, which would become ranges of pairs; not of floats, where 0 times infinity
// is NaN. From kWidestInput on a single step pays more for reading the zeros than it gains.
std::size_t side_by_side(const RnnSizes& sizes, const ActivationMode& mode) {
  constexpr std::size_t kWidestInput = 256;
  if (sizes.directions != 1 || sizes.projection != 0 || mode.per_row) return 1;
  std::size_t count = 1;
  while (2 * count * sizes.hidden <= kPanelColumns) count *= 2;
  return sizes.input <= kWidestInput / count ? count : 1;
}

void copy_rows(const FloatRows& from, std::size_t begin, std::size_t end, std::size_t columns,
               float* to) {
  for (std::size_t row = begin; row < end; ++row) {
    std::memcpy(to + row * columns, from.data + row * from.stride, columns * sizeof(float));
  }
}

}  // namespace

template <typename Matrix>
Rnn<Matrix>::Rnn(const KernelTable& kernels, const RnnSizes& sizes,
                 std::vector<RnnCell<Matrix>> cells)
    : kernels_(kernels), sizes_(sizes), cells_(std::move(cells)) {
  if constexpr (std::is_same_v<Matrix, Int8Matrix>) {
    const std::size_t count = side_by_side(sizes_, cells_[0].input.mode());
    if (count == 1) return;
    RnnSizes wide = sizes_;
    wide.input *= count;
    wide.hidden *= count;
    std::vector<RnnCell<Matrix>> diagonals;
    diagonals.reserve(cells_.size());
    for (const RnnCell<Matrix>& cell : cells_) {
      diagonals.push_back(
          {cell.input.diagonal(kernels_, count), cell.hidden.diagonal(kernels_, count), {}});
    }
    side_by_side_ = std::make_unique<Rnn>(kernels_, wide, std::move(diagonals));
  }
}

template <typename Matrix>
std::size_t Rnn<Matrix>::bytes() const {
  std::size_t sum = side_by_side_ ? side_by_side_->bytes() : 0;
  for (const RnnCell<Matrix>& cell : cells_) {
    sum += cell.input.bytes() + cell.hidden.bytes();
    if (cell.projection) sum += cell.projection->bytes();
  }
  return sum;
}

template <typename Matrix>
Status Rnn<Matrix>::forward(const RnnCall& call) const {
  if (call.batch == 0) return Status::kOk;
  if (side_by_side_ && call.batch_sizes == nullptr) {
    const std::size_t count = side_by_side_->sizes_.hidden / sizes_.hidden;
    if (call.batch % count == 0) {
      RnnCall wide = call;
      wide.batch /= count;
      wide.rows /= count;
      return side_by_side_->forward(wide);
    }
  }
  const Extents e(sizes_, call);
  const std::size_t directions = sizes_.directions;
  const std::size_t groups = e.units / kPanelColumns;
  // The gates of 16 units take some 20 ns beside their products.
  const double hidden_ns = product_ns(cells_[0].hidden, 1);
  const double row_ns = hidden_ns + 20.0 * static_cast<double>(groups);
  const double ns = 2 * row_ns * static_cast<double>(e.rows * call.layers * directions);
  const std::size_t groups_of_block = sizes_.gates() == 1 ? kMaxBlock : 1;
  const auto batch_of = [&](std::size_t step) {
    return call.batch_sizes == nullptr ? call.batch
                                       : static_cast<std::size_t>(call.batch_sizes[step]);
  };
  // Nobody is to be woken, of however many steps, for phases of which not even the longest is
  // shared: a single step with its input gates, or those of a chunk.
  const double input_ns =
      hidden_ns * static_cast<double>(e.widest_input) / static_cast<double>(e.output);
  const double longest_ns = std::max((row_ns + input_ns) * static_cast<double>(e.batch),
                                     input_ns * static_cast<double>(e.chunk_rows));
  Team team(threads_for(longest_ns), static_cast<std::uint64_t>(ns));
  WithScratch<Layout<Matrix>> scratch(kernels_, &team, e, call, sizes_.mode, cells_[0]);
  Common& common = scratch->common;
  Runner<Matrix>& runner = scratch->runner;
  if (common.zeros != nullptr) std::fill_n(common.zeros, e.h_state, 0.0f);

  const float* x = call.x;
  for (std::size_t layer = 0; layer < call.layers; ++layer) {
    const RnnCell<Matrix>* cells = &cells_[(call.first_layer + layer) * directions];
    float* y = layer + 1 == call.layers ? call.y : common.between[layer % 2];
    Status status = runner.start_layer(cells[0].input, x);
    if (status != Status::kOk) return status;
    for (std::size_t direction = 0; direction < directions; ++direction) {
      const RnnCell<Matrix>& cell = cells[direction];
      const std::size_t index = layer * directions + direction;
      const bool forward = direction == 0;
      const float* c0 = call.c0 == nullptr ? nullptr : call.c0 + index * e.c_state;
      const FloatRows h0 = {call.h0 != nullptr ? call.h0 + index * e.h_state : common.zeros,
                            e.output};
      float* hn = call.hn + index * e.h_state;
      FloatRows h = h0;
      // Rows that take part: those of the first step, whichever that is.
      std::size_t batch = batch_of(forward ? 0 : call.steps - 1);
      status = runner.start_direction(cell, c0);
      if (status == Status::kOk) status = runner.join(h, 0, batch);
      if (status != Status::kOk) return status;
      for (std::size_t row = 0; row < e.batch && e.c_state != 0; ++row) {
        float* c = common.c + row * e.unit_stride;
        if (c0 != nullptr) std::memcpy(c, c0 + row * e.hidden, e.hidden * sizeof(float));
        std::fill(c + (c0 != nullptr ? e.hidden : 0), c + e.units, 0.0f);
      }
      RnnStep step = {};
      step.rows = batch;
      step.hidden = e.hidden;
      step.input_stride = e.gate_stride;
      step.cell = common.c;
      step.cell_stride = e.unit_stride;
      step.output_stride = cell.projection ? e.unit_stride : e.y_stride;
      // Every other step meets the weights from the last to the first, and so begins with those
      // that the nearest caches still hold. Larger ones come faster in one direction.
      const bool turns = cell.hidden.bytes() <= kCached;
      // The row where the next step's rows begin, or in the reverse direction end.
      std::size_t row = forward ? 0 : e.rows;
      for (std::size_t done = 0; done < call.steps;) {
        // A chunk: the next steps, one at least, whose input gates fit the buffer.
        std::size_t chunk_end = call.steps, chunk_rows = call.rows;
        if (call.rows > e.chunk_rows) {
          chunk_rows = 0;
          for (chunk_end = done; chunk_end < call.steps; ++chunk_end) {
            const std::size_t more = batch_of(forward ? chunk_end : call.steps - 1 - chunk_end);
            if (chunk_rows + more > e.chunk_rows) break;
            chunk_rows += more;
          }
        }
        const std::size_t chunk_row = forward ? row : row - chunk_rows;
        const bool single = chunk_end == done + 1;
        const double step_ns = row_ns + (single ? product_ns(cell.input, 1) : 0);
        status = runner.input_gates(cell.input, chunk_row, chunk_rows, single, common.gates);
        if (status != Status::kOk) return status;
        for (; done < chunk_end; ++done) {
          const std::size_t rows = batch_of(forward ? done : call.steps - 1 - done);
          if (rows != batch) {
            if (rows < batch) {  // some sequences have ended
              copy_rows(h, rows, batch, e.output, hn);
              runner.narrow(h, rows);
            } else {  // some begin, from their ends
              copy_rows(h, 0, batch, e.output, common.joined);
              copy_rows(h0, batch, rows, e.output, common.joined);
              h = {common.joined, e.output};
              status = runner.join(h, batch, rows);
              if (status != Status::kOk) return status;
            }
            step.rows = batch = rows;
          }
          if (!forward) row -= batch;
          step.backwards = turns && !step.backwards;
          step.input_gates = common.gates + (row - chunk_row) * e.gate_stride;
          step.previous = h.data;
          step.previous_stride = h.stride;
          float* out = y + row * e.y_stride + direction * e.output;
          status =
              runner.step(cell, h, step, out, groups,
                          grain_for(step_ns * static_cast<double>(batch), groups, groups_of_block));
          if (status != Status::kOk) return status;
          h = {out, e.y_stride};
          if (forward) row += batch;
        }
      }
      copy_rows(h, 0, batch, e.output, hn);
      if (e.c_state != 0) {
        copy_rows({common.c, e.unit_stride}, 0, e.batch, e.hidden, call.cn + index * e.c_state);
      }
    }
    x = y;
  }
  return Status::kOk;
}

template class Rnn<FloatMatrix>;
template class Rnn<HalfMatrix>;
template class Rnn<Int8Matrix>;

}  // namespace dynaquant
