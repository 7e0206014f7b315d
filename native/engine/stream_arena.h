// SPDX-License-Identifier: MIT
// The states of many live streams of one model.
#ifndef DYNAQUANT_ENGINE_STREAM_ARENA_H_
#define DYNAQUANT_ENGINE_STREAM_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/aligned_buffer.h"

namespace dynaquant {

// The states of a recurrent module for one stream: a row of h for each layer, then a row of c.
struct StreamPart {
  std::size_t layers;
  std::size_t hidden;  // floats of a row of h
  std::size_t cell;    // floats of a row of c; 0 if the module has no c

  std::size_t floats() const { return layers * (hidden + cell); }
};

// What is wrong with a stream's id.
enum class StreamStatus : int {
  kOk = 0,
  kNoStream = 1,  // closed, or never opened
  kInStep = 2,    // in a step that has not ended
  kTwice = 3,     // among the ids of this step already
};

// A stream's record has the states of all parts, one part after the other. Records lie in blocks,
// which never move. The lowest free record is opened first, so that after a peak the high blocks
// empty. An empty block gives its memory back.
//
// A step takes its streams by `begin`, and lets go of them by `end`. In between nobody else can
// change or close them, but many steps may be under way.
class StreamArena {
 public:
  // Numbers a record. Only valid between `begin` and `end`.
  using Slot = std::int32_t;

  explicit StreamArena(std::vector<StreamPart> parts);
  StreamArena(const StreamArena&) = delete;
  StreamArena& operator=(const StreamArena&) = delete;
  ~StreamArena();

  // A new stream's id, its states zeros. Ids are integers above 0 that a double holds, and no id
  // ever comes back. 0 if there are too many streams. Throws std::bad_alloc, and changes nothing
  // then.
  double open();
  StreamStatus reset(double id);
  StreamStatus close(double id);
  // Copies the record.
  StreamStatus read(double id, float* out);
  StreamStatus write(double id, const float* states);

  // Takes `count` streams: fills `slots`, [count], and gathers their states. In `states` each part
  // has h0, then c0, both [layers][count][row]. If an id is wrong, no stream is taken, and slots[0]
  // is its index.
  StreamStatus begin(const double* ids, std::size_t count, Slot* slots, float* states);
  // Whether the slots are of streams that a step has taken.
  bool in_step(const Slot* slots, std::size_t count) const;
  // Lets go of the streams, which must be in a step. Their states become `states`, which lie as
  // `begin` gathers them, or stay what they were if it is null.
  void end(const Slot* slots, std::size_t count, const float* states);

  std::size_t floats() const { return floats_; }  // of a record
  std::size_t bytes() const;

 private:
  struct Stream {
    std::uint32_t generation = 0;  // how many streams had this slot before
    bool open = false;
    bool in_step = false;
  };
  struct Block {
    AlignedBuffer<float> records;
    std::size_t open = 0;  // streams
  };

  void add_block();
  // Calls copy(row of a record, index of the same row in gathered states, floats) for all rows.
  template <typename Copy>
  void for_rows(const Slot* slots, std::size_t count, const Copy& copy);
  StreamStatus find(double id, std::size_t* slot) const;
  float* record(std::size_t slot) {
    return blocks_[slot / per_block_].records.data() + slot % per_block_ * floats_;
  }

  const std::vector<StreamPart> parts_;
  std::size_t floats_ = 0;
  std::size_t per_block_;
  std::vector<Block> blocks_;
  std::size_t allocated_ = 0;  // blocks that have memory
  std::vector<Stream> streams_;
  std::vector<Slot> free_;  // a heap, the lowest slot first
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_STREAM_ARENA_H_
