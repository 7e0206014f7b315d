// SPDX-License-Identifier: MIT
#include "engine/rnn.h"

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "engine/cost.h"
#include "engine/rnn_int8.h"
#include "engine/rnn_memory.h"
#include "engine/rnn_plain.h"
#include "engine/sequence.h"
#include "engine/state_rows.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// Roughly what a row of a step of one direction takes on one thread, without its input gates.
template <typename Matrix>
double step_row_ns(const RnnDirection<Matrix>& first, std::size_t groups) {
  // The gates of 16 units take roughly 20 ns more than their products.
  return product_ns(first.hidden, 1) + 20.0 * static_cast<double>(groups);
}

// Rough times of a call on one thread, in nanoseconds.
struct RnnCost {
  template <typename Matrix>
  RnnCost(const RnnSizes& sizes, const RnnDirection<Matrix>& first, const Extents& e,
          const RnnCall& call)
      : groups(e.padded_units / kPanelColumns),
        groups_of_block(sizes.gates() == 1 ? kMaxBlock : 1) {
    const double hidden_ns = product_ns(first.hidden, 1);
    row_ns = step_row_ns(first, groups);
    total_ns = 2 * row_ns * static_cast<double>(e.rows * call.layers * sizes.directions);
    const double input_ns =
        hidden_ns * static_cast<double>(e.widest_input) / static_cast<double>(e.output);
    longest_phase_ns = std::max((row_ns + input_ns) * static_cast<double>(e.batch),
                                input_ns * static_cast<double>(e.chunk_rows));
  }

  std::size_t groups;           // of a direction's units
  std::size_t groups_of_block;  // groups that threads take together
  double row_ns;                // a row of a step, without its input gates
  double total_ns;              // the call
  double longest_phase_ns;      // a single step with its input gates, or the input gates of a chunk
};

// All memory of a call.
template <typename Matrix>
struct CallMemory {
  CallMemory(Scratch& scratch, const Machine& machine, const Extents& e, const RnnCall& call,
             RnnMode mode, const RnnDirection<Matrix>& first)
      : team(machine.team), buffers(scratch, e, call), runner(scratch, machine, e, mode, first) {}
  const Team& team;
  SharedBuffers buffers;
  RnnRunner<Matrix> runner;
};

// One direction of one layer, over the whole sequence.
template <typename Matrix>
class DirectionRun {
 public:
  DirectionRun(const RnnDirection<Matrix>& direction, const StateRows& states, const RnnCost& cost,
               const Extents& e, CallMemory<Matrix>& memory)
      : direction_(direction),
        states_(states),
        cost_(cost),
        e_(e),
        team_(memory.team),
        buffers_(memory.buffers),
        runner_(memory.runner) {}

  // `y` is the direction's part of the layer's output.
  Status run(SequenceWalk walk, float* y) {
    Progress now;
    Status status = start(walk, now);
    while (status == Status::kOk && !walk.done()) status = run_chunk(walk, y, now);
    if (status == Status::kOk) finish(now);
    return status;
  }

 private:
  // What changes from step to step.
  struct Progress {
    FloatRows h;  // of the rows that take part
    RnnStep step;
  };

  Status start(const SequenceWalk& walk, Progress& now) {
    now.h = {states_.h0, e_.output};
    now.step = {};
    now.step.rows = walk.first_rows();
    now.step.hidden = e_.hidden;
    now.step.input_stride = e_.gate_stride;
    now.step.cell = buffers_.c;
    now.step.cell_stride = e_.unit_stride;
    now.step.output_stride = direction_.projection ? e_.unit_stride : e_.y_stride;
    Status status = runner_.start_direction(direction_, states_.c0);
    if (status == Status::kOk) status = runner_.join(now.h, 0, now.step.rows);
    if (status == Status::kOk && e_.c_floats != 0) {
      load_cell(states_.c0, e_.batch, e_.hidden, {buffers_.c, e_.unit_stride, e_.padded_units});
    }
    return status;
  }

  Status run_chunk(SequenceWalk& walk, float* y, Progress& now) {
    const SequenceChunk chunk = walk.next_chunk();
    const double row_ns = cost_.row_ns + (chunk.is_single() ? product_ns(direction_.input, 1) : 0);
    // Every other step reads the weights from the last to the first, and so begins with those that
    // the nearest caches still hold. Larger weights come faster in one direction.
    const bool turns = direction_.hidden.bytes() <= kCached;
    Status status = runner_.input_gates(direction_.input, chunk, buffers_.gates);
    for (std::size_t i = 0; status == Status::kOk && i < chunk.steps; ++i) {
      if (team_.stopped()) return Status::kStopped;
      const SequenceStep at = walk.next_step();
      if (at.rows != at.rows_before) {
        status = change_rows(at, now);
        if (status != Status::kOk) break;
      }
      now.step.backwards = turns && !now.step.backwards;
      now.step.input_gates = buffers_.gates + (at.row - chunk.row) * e_.gate_stride;
      now.step.previous = now.h.data;
      now.step.previous_stride = now.h.stride;
      float* out = y + at.row * e_.y_stride;
      status = runner_.step(
          direction_, now.h, now.step, out, cost_.groups,
          grain_for(row_ns * static_cast<double>(at.rows), cost_.groups, cost_.groups_of_block));
      now.h = {out, e_.y_stride};
    }
    return status;
  }

  // Changes the rows that take part. Forwards, sequences end; backwards, they begin, at their ends.
  Status change_rows(const SequenceStep& at, Progress& now) {
    now.step.rows = at.rows;
    if (at.rows < at.rows_before) {
      copy_rows(now.h, at.rows, at.rows_before, e_.output, states_.hn);
      runner_.narrow(now.h, at.rows);
      return Status::kOk;
    }
    copy_rows(now.h, 0, at.rows_before, e_.output, buffers_.grown_h);
    copy_rows({states_.h0, e_.output}, at.rows_before, at.rows, e_.output, buffers_.grown_h);
    now.h = {buffers_.grown_h, e_.output};
    return runner_.join(now.h, at.rows_before, at.rows);
  }

  // The sequences that ended before the last step have left their h already.
  void finish(const Progress& now) {
    copy_rows(now.h, 0, now.step.rows, e_.output, states_.hn);
    if (e_.c_floats != 0) {
      copy_rows({buffers_.c, e_.unit_stride}, 0, e_.batch, e_.hidden, states_.cn);
    }
  }

  const RnnDirection<Matrix>& direction_;
  const StateRows states_;
  const RnnCost& cost_;
  const Extents& e_;
  const Team& team_;
  SharedBuffers& buffers_;
  RnnRunner<Matrix>& runner_;
};

// The states of the `index`th direction of a call.
StateRows states_of(const RnnCall& call, const Extents& e, const float* zeros, std::size_t index) {
  return {call.h0 == nullptr ? zeros : call.h0 + index * e.h_floats,
          call.c0 == nullptr ? nullptr : call.c0 + index * e.c_floats, call.hn + index * e.h_floats,
          e.c_floats == 0 ? nullptr : call.cn + index * e.c_floats};
}

// How many sequences run side by side in the units of a group. [B][H] is [B / 2][2 H] in memory, so
// a batch is also a smaller batch of wider rows, which zeros in the weights keep apart. Ranges of
// single rows rule it out, because they would become ranges of pairs; so do floats, where 0 times
// infinity is NaN. From kWidestInput on a single step pays more for reading the zeros than it
// gains.
std::size_t side_by_side(const RnnSizes& sizes, const ActivationMode& mode) {
  constexpr std::size_t kWidestInput = 256;
  if (sizes.directions != 1 || sizes.projection != 0 || mode.per_row) return 1;
  std::size_t count = 1;
  while (2 * count * sizes.hidden <= kPanelColumns) count *= 2;
  return sizes.input <= kWidestInput / count ? count : 1;
}

}  // namespace

template <typename Matrix>
Rnn<Matrix>::Rnn(const KernelTable& kernels, const RnnSizes& sizes,
                 std::vector<RnnDirection<Matrix>> directions)
    : kernels_(kernels), sizes_(sizes), directions_(std::move(directions)) {
  if (sizes_.hidden == 0 || directions_.empty() || directions_.size() != sizes_.all_directions()) {
    throw std::invalid_argument("a recurrent layer has units, and matrices for each direction");
  }
  if constexpr (std::is_same_v<Matrix, Int8Matrix>) {
    const std::size_t count = side_by_side(sizes_, directions_[0].input.mode());
    if (count == 1) return;
    RnnSizes joined = sizes_;
    joined.input *= count;
    joined.hidden *= count;
    std::vector<RnnDirection<Matrix>> diagonals;
    diagonals.reserve(directions_.size());
    for (const RnnDirection<Matrix>& each : directions_) {
      diagonals.push_back(
          {each.input.diagonal(kernels_, count), each.hidden.diagonal(kernels_, count), {}});
    }
    side_by_side_ = std::make_unique<Rnn>(kernels_, joined, std::move(diagonals));
  }
}

template <typename Matrix>
std::size_t Rnn<Matrix>::bytes() const {
  std::size_t sum = side_by_side_ ? side_by_side_->bytes() : 0;
  for (const RnnDirection<Matrix>& each : directions_) {
    sum += each.input.bytes() + each.hidden.bytes();
    if (each.projection) sum += each.projection->bytes();
  }
  return sum;
}

template <typename Matrix>
double Rnn<Matrix>::row_ns() const {
  const std::size_t groups = GateLayout{1, sizes_.hidden}.columns() / kPanelColumns;
  return 2 * step_row_ns(directions_[0], groups) * static_cast<double>(sizes_.directions);
}

template <typename Matrix>
bool Rnn<Matrix>::wants_team(const RnnCall& call) const {
  // Each step reads the hidden weights again. They come two to three times as fast if a thread's
  // part of them fits its core's own cache, and only then. A long call must not keep others
  // waiting.
  constexpr double kTooLongNs = 50e6;
  const std::size_t bytes = directions_[0].hidden.bytes();
  return call.steps > 1 && bytes > kCached && bytes / num_threads() <= kCached + kCached / 4 &&
         row_ns() * static_cast<double>(call.rows * call.layers) < kTooLongNs;
}

template <typename Matrix>
Status Rnn<Matrix>::forward(const RnnCall& call) const {
  if (call.batch == 0) return Status::kOk;
  if (side_by_side_ && call.batch_sizes == nullptr) {
    const std::size_t count = side_by_side_->sizes_.hidden / sizes_.hidden;
    if (call.batch % count == 0) {
      RnnCall joined = call;
      joined.batch /= count;
      joined.rows /= count;
      return side_by_side_->forward(joined);
    }
  }
  const Extents e(sizes_, call);
  const RnnCost cost(sizes_, directions_[0], e, call);
  // Do not wake threads if no single phase is long enough to share, however many steps the call
  // has.
  Team team(threads_for(cost.longest_phase_ns), static_cast<std::uint64_t>(cost.total_ns));
  const Machine machine = {kernels_, team};
  WithScratch<CallMemory<Matrix>> memory(machine, e, call, sizes_.mode, directions_[0]);
  SharedBuffers& buffers = memory->buffers;
  if (buffers.zeros != nullptr) std::fill_n(buffers.zeros, e.h_floats, 0.0f);
  const Sequence sequence = {call.steps, call.batch, call.rows, call.batch_sizes};

  const float* x = call.x;
  for (std::size_t layer = 0; layer < call.layers; ++layer) {
    const RnnDirection<Matrix>* directions =
        &directions_[(call.first_layer + layer) * sizes_.directions];
    float* y = layer + 1 == call.layers ? call.y : buffers.between[layer % 2];
    Status status = memory->runner.start_layer(directions[0].input, x);
    for (std::size_t i = 0; status == Status::kOk && i < sizes_.directions; ++i) {
      const StateRows states = states_of(call, e, buffers.zeros, layer * sizes_.directions + i);
      DirectionRun<Matrix> run(directions[i], states, cost, e, *memory);
      status = run.run(SequenceWalk(sequence, i == 0, e.chunk_rows), y + i * e.output);
    }
    if (status != Status::kOk) return status;
    x = y;
  }
  return Status::kOk;
}

template class Rnn<FloatMatrix>;
template class Rnn<HalfMatrix>;
template class Rnn<Int8Matrix>;

}  // namespace dynaquant
