// SPDX-License-Identifier: MIT
// The order in which one direction of a recurrent layer walks over a batch of sequences: which rows
// take part in each step, and which steps get their input gates together, as a chunk. Numbers only:
// no kernels, no memory.
#ifndef DYNAQUANT_ENGINE_SEQUENCE_H_
#define DYNAQUANT_ENGINE_SEQUENCE_H_

#include <cstddef>
#include <cstdint>

namespace dynaquant {

// A batch of sequences. Its rows lie step by step: those of step 0, then those of step 1, ...
// Packed sequences have `batch_sizes`: the longest sequence comes first, so the rows of a step are
// those of its first `batch_sizes[step]` sequences.
struct Sequence {
  std::size_t steps;                // at least 1
  std::size_t batch;                // rows of step 0
  std::size_t rows;                 // of all steps
  const std::int64_t* batch_sizes;  // [steps], never rising; null if each step has `batch` rows

  std::size_t rows_of(std::size_t step) const {
    return batch_sizes == nullptr ? batch : static_cast<std::size_t>(batch_sizes[step]);
  }
};

// A step of a walk. Its rows are [row, row + rows) of the batch. If they are fewer than those of
// the step before, some sequences have ended; if they are more, as happens backwards, some begin.
struct SequenceStep {
  std::size_t row;
  std::size_t rows;
  std::size_t rows_before;  // of the step that was walked before; of the first step its own
};

// Steps that are walked one after the other. Their rows are [row, row + rows) of the batch.
struct SequenceChunk {
  std::size_t row;
  std::size_t rows;
  std::size_t steps;

  bool is_single() const { return steps == 1; }
};

// Walks over all steps, from the first to the last or from the last to the first.
class SequenceWalk {
 public:
  // A chunk has at most `chunk_rows` rows, which must be as many as the largest step has.
  SequenceWalk(const Sequence& sequence, bool forward, std::size_t chunk_rows)
      : sequence_(sequence),
        forward_(forward),
        chunk_rows_(chunk_rows),
        row_(forward ? 0 : sequence.rows),
        rows_before_(sequence.rows_of(forward ? 0 : sequence.steps - 1)) {}

  // Rows of the first step, before any step is walked.
  std::size_t first_rows() const { return rows_before_; }
  bool done() const { return walked_ == sequence_.steps; }

  // The next steps, as many as a chunk holds. Call it at the start, and after the steps of the last
  // chunk, while the walk is not done. It does not move.
  SequenceChunk next_chunk() const {
    SequenceChunk chunk = {row_, sequence_.rows, sequence_.steps};
    if (sequence_.rows > chunk_rows_) {
      chunk.rows = 0;
      std::size_t end = walked_;
      for (; end < sequence_.steps; ++end) {
        const std::size_t more = rows_of_walked(end);
        if (chunk.rows + more > chunk_rows_) break;
        chunk.rows += more;
      }
      chunk.steps = end - walked_;
    }
    if (!forward_) chunk.row -= chunk.rows;
    return chunk;
  }

  // Moves to the next step. The walk must not be done.
  SequenceStep next_step() {
    SequenceStep step = {row_, rows_of_walked(walked_), rows_before_};
    if (forward_) {
      row_ += step.rows;
    } else {
      step.row = row_ -= step.rows;
    }
    rows_before_ = step.rows;
    ++walked_;
    return step;
  }

 private:
  // Rows of the step that comes after `walked` others.
  std::size_t rows_of_walked(std::size_t walked) const {
    return sequence_.rows_of(forward_ ? walked : sequence_.steps - 1 - walked);
  }

  const Sequence sequence_;
  const bool forward_;
  const std::size_t chunk_rows_;
  std::size_t walked_ = 0;
  std::size_t row_;  // where the next step's rows begin, or backwards end
  std::size_t rows_before_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_SEQUENCE_H_
