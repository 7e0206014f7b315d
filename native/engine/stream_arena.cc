// SPDX-License-Identifier: MIT
#include "engine/stream_arena.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace dynaquant {
namespace {

// An id is `generation << kSlotBits | slot + 1`, at most 53 bits. So the first ids are small, and
// none is 0. A slot whose generations are used up is not opened again.
constexpr unsigned kSlotBits = 28;
constexpr std::size_t kMostSlots = (std::size_t{1} << kSlotBits) - 1;
constexpr std::uint32_t kGenerations = std::uint32_t{1} << (53 - kSlotBits);

// Small enough that a few streams take little memory, large enough that blocks cost nothing.
constexpr std::size_t kBlockFloats = 64 * 1024;

// Records are prefetched so many floats before they are copied, one record at least. Those of many
// streams are not in the nearest caches, and each is somewhere else.
constexpr std::size_t kAheadFloats = 2048;

void prefetch(const float* record, std::size_t floats) {
  constexpr std::size_t kLine = 16;
  for (std::size_t i = 0; i < floats; i += kLine) __builtin_prefetch(record + i);
}

// Frees the memory of a block. The system gets its pages at once, because glibc would keep them for
// as long as anything newer lies behind them.
void free_block(AlignedBuffer<float>& block) {
#if defined(__linux__)
  const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(block.data());
  const std::uintptr_t first = (start + page - 1) / page * page;
  const std::uintptr_t end = (start + block.bytes()) / page * page;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
#endif
  block = AlignedBuffer<float>();
}

}  // namespace

StreamArena::StreamArena(std::vector<StreamPart> parts) : parts_(std::move(parts)) {
  for (const StreamPart& part : parts_) floats_ += part.floats();
  per_block_ = std::max<std::size_t>(1, kBlockFloats / floats_);
}

StreamArena::~StreamArena() {
  for (Block& block : blocks_) free_block(block.records);
}

void StreamArena::add_block() {
  const std::size_t first = streams_.size();
  // In this order, because any of them may throw, and the next attempt begins again.
  free_.reserve(first + per_block_);
  blocks_.resize(first / per_block_ + 1);
  streams_.resize(first + per_block_);
  // There are no others, and what rises is a heap.
  for (std::size_t i = 0; i < per_block_; ++i) free_.push_back(static_cast<Slot>(first + i));
}

double StreamArena::open() {
  if (free_.empty()) {
    if (streams_.size() + per_block_ > kMostSlots) return 0;
    add_block();
  }
  const std::size_t slot = static_cast<std::size_t>(free_.front());
  Block& block = blocks_[slot / per_block_];
  if (block.open == 0) {
    block.records = AlignedBuffer<float>(count_of(per_block_, floats_));
    ++allocated_;
  }
  std::pop_heap(free_.begin(), free_.end(), std::greater<Slot>());
  free_.pop_back();
  ++block.open;
  Stream& stream = streams_[slot];
  stream.open = true;
  std::fill_n(record(slot), floats_, 0.0f);
  return static_cast<double>(std::uint64_t{stream.generation} << kSlotBits | (slot + 1));
}

StreamStatus StreamArena::find(double id, std::size_t* slot) const {
  constexpr double kEnd = 9007199254740992.0;  // 2^53
  if (!(id >= 1 && id < kEnd)) return StreamStatus::kNoStream;
  const std::uint64_t number = static_cast<std::uint64_t>(id);
  // Wraps for 0, which no slot reaches.
  *slot = static_cast<std::size_t>((number & kMostSlots) - 1);
  if (static_cast<double>(number) != id || *slot >= streams_.size()) return StreamStatus::kNoStream;
  const Stream& stream = streams_[*slot];
  if (!stream.open || stream.generation != number >> kSlotBits) return StreamStatus::kNoStream;
  return stream.in_step ? StreamStatus::kInStep : StreamStatus::kOk;
}

StreamStatus StreamArena::reset(double id) {
  std::size_t slot;
  const StreamStatus status = find(id, &slot);
  if (status == StreamStatus::kOk) std::fill_n(record(slot), floats_, 0.0f);
  return status;
}

StreamStatus StreamArena::close(double id) {
  std::size_t slot;
  const StreamStatus status = find(id, &slot);
  if (status != StreamStatus::kOk) return status;
  Stream& stream = streams_[slot];
  stream.open = false;
  if (++stream.generation != kGenerations) {
    free_.push_back(static_cast<Slot>(slot));  // has room: see add_block
    std::push_heap(free_.begin(), free_.end(), std::greater<Slot>());
  }
  Block& block = blocks_[slot / per_block_];
  if (--block.open == 0) {
    free_block(block.records);
    --allocated_;
  }
  return status;
}

StreamStatus StreamArena::read(double id, float* out) {
  std::size_t slot;
  const StreamStatus status = find(id, &slot);
  if (status == StreamStatus::kOk) std::memcpy(out, record(slot), floats_ * sizeof(float));
  return status;
}

StreamStatus StreamArena::write(double id, const float* states) {
  std::size_t slot;
  const StreamStatus status = find(id, &slot);
  if (status == StreamStatus::kOk) std::memcpy(record(slot), states, floats_ * sizeof(float));
  return status;
}

template <typename Copy>
void StreamArena::for_rows(const Slot* slots, std::size_t count, const Copy& copy) {
  const std::size_t ahead = std::max<std::size_t>(1, kAheadFloats / floats_);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + ahead < count) prefetch(record(slots[i + ahead]), floats_);
    float* from = record(slots[i]);
    std::size_t matrix = 0;  // where the rows of all streams begin
    for (const StreamPart& part : parts_) {
      for (const std::size_t row : {part.hidden, part.cell}) {
        for (std::size_t layer = 0; layer < part.layers; ++layer) {
          copy(from, matrix + i * row, row);
          from += row;
          matrix += count * row;
        }
      }
    }
  }
}

StreamStatus StreamArena::begin(const double* ids, std::size_t count, Slot* slots, float* states) {
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t slot;
    StreamStatus status = find(ids[i], &slot);
    if (status != StreamStatus::kOk) {
      end(slots, i, nullptr);
      if (status == StreamStatus::kInStep && !streams_[slot].in_step) status = StreamStatus::kTwice;
      slots[0] = static_cast<Slot>(i);
      return status;
    }
    streams_[slot].in_step = true;
    slots[i] = static_cast<Slot>(slot);
  }
  for_rows(slots, count, [&](const float* row, std::size_t at, std::size_t floats) {
    std::memcpy(states + at, row, floats * sizeof(float));
  });
  return StreamStatus::kOk;
}

bool StreamArena::in_step(const Slot* slots, std::size_t count) const {
  return std::all_of(slots, slots + count, [this](Slot slot) {
    const std::size_t index = static_cast<std::size_t>(slot);
    return index < streams_.size() && streams_[index].in_step;
  });
}

void StreamArena::end(const Slot* slots, std::size_t count, const float* states) {
  if (states != nullptr) {
    for_rows(slots, count, [&](float* row, std::size_t at, std::size_t floats) {
      std::memcpy(row, states + at, floats * sizeof(float));
    });
  }
  for (std::size_t i = 0; i < count; ++i) streams_[slots[i]].in_step = false;
}

std::size_t StreamArena::bytes() const {
  return allocated_ * block_bytes() + streams_.capacity() * sizeof(Stream) +
         free_.capacity() * sizeof(Slot) + blocks_.capacity() * sizeof(Block);
}

}  // namespace dynaquant
