// SPDX-License-Identifier: MIT
#include "engine/attention.h"

#include <algorithm>
#include <cstdint>

#include "engine/clock.h"
#include "engine/cost.h"
#include "engine/float_product.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// Queries of an item, which packs keys and values once.
constexpr std::size_t kItemRows = 256;

// Queries whose scores are computed together. Their scores should stay in a near cache, but fewer
// rows than the least would read keys and values too often.
std::size_t block_rows(const AttentionSizes& sizes) {
  constexpr std::size_t kScores = 8 * 1024, kLeast = 32, kMost = 128;
  const std::size_t rows =
      std::clamp(kScores / std::max<std::size_t>(sizes.keys, 1), kLeast, kMost);
  return std::min(rows, sizes.queries);
}

// Some queries of one head.
class Item {
 public:
  Item(const KernelTable& kernels, const Attention& attention, const AttentionRoom& room,
       std::size_t item)
      : kernels_(kernels), all_(attention), sizes_(attention.sizes), room_(room) {
    const std::size_t chunks = (sizes_.queries + kItemRows - 1) / kItemRows;
    begin_ = item % chunks * kItemRows;
    end_ = std::min(begin_ + kItemRows, sizes_.queries);
    head_ = item / chunks % sizes_.heads;
    batch_ = item / chunks / sizes_.heads;
    keys_ = seen_by(end_ - 1);
    const std::size_t shared = head_ / sizes_.group;
    k_ = {all_.k + all_.k_steps.at(batch_, shared), all_.k_steps.row};
    v_ = {all_.v + all_.v_steps.at(batch_, shared), all_.v_steps.row};
  }

  void run() const {
    if (!few()) {
      const Clock clock(room_.products);
      kernels_.pack(k_, sizes_.features, keys_, true, room_.keys);
      kernels_.pack(v_, keys_, sizes_.value_features, false, room_.values);
    }
    const std::size_t block = block_rows(sizes_);
    for (std::size_t row = begin_; row < end_; row += block) {
      attend_rows(row, std::min(end_ - row, block));
    }
  }

 private:
  bool few() const { return sizes_.queries <= kFewRows; }
  // The keys that a query sees.
  std::size_t seen_by(std::size_t row) const {
    return all_.causal ? std::min(row + 1, sizes_.keys) : sizes_.keys;
  }

  void attend_rows(std::size_t row, std::size_t rows) const {
    const std::size_t keys = seen_by(row + rows - 1);
    const FloatRows q = {all_.q + all_.q_steps.at(batch_, head_) + row * all_.q_steps.row,
                         all_.q_steps.row};
    const FloatMatrixView scores = {room_.scores, room_.stride, keys};
    product(q, rows, {k_, sizes_.features, true}, room_.keys, scores);
    const float* mask = all_.mask;
    if (mask != nullptr) mask += all_.mask_steps.at(batch_, head_) + row * all_.mask_steps.row;
    // Weights of all packed values: they are 0 where no query of these rows sees the key.
    kernels_.softmax_scores({room_.scores, room_.stride, rows, keys_, all_.scale, mask,
                             all_.mask_steps.row, seen_by(row), all_.causal});
    float* out = all_.out + all_.out_steps.at(batch_, head_) + row * all_.out_steps.row;
    product({room_.scores, room_.stride}, rows, {v_, keys_, false}, room_.values,
            {out, all_.out_steps.row, sizes_.value_features});
    if (all_.weights != nullptr) copy_weights(row, rows);
  }

  // out = a b, whose b is packed unless there are few rows.
  void product(const FloatRows& a, std::size_t rows, const Factor& b, float* packed,
               const FloatMatrixView& out) const {
    const Clock clock(room_.products);
    if (!few()) return multiply_packed(kernels_, a, rows, packed, b.depth, out);
    for (std::size_t i = 0; i < rows; ++i) {
      multiply_row(kernels_, a.data + i * a.stride, b, packed,
                   {out.data + i * out.stride, out.stride, out.columns});
    }
  }

  void copy_weights(std::size_t row, std::size_t rows) const {
    float* to =
        all_.weights + ((batch_ * sizes_.heads + head_) * sizes_.queries + row) * sizes_.keys;
    for (std::size_t i = 0; i < rows; ++i, to += sizes_.keys) {
      std::copy_n(room_.scores + i * room_.stride, keys_, to);
      std::fill(to + keys_, to + sizes_.keys, 0.0f);
    }
  }

  const KernelTable& kernels_;
  const Attention& all_;
  const AttentionSizes& sizes_;
  const AttentionRoom& room_;
  std::size_t begin_, end_, head_, batch_, keys_;
  FloatRows k_, v_;
};

}  // namespace

double Attention::ns() const {
  const double scores = static_cast<double>(sizes.batch) * sizes.heads * sizes.queries * sizes.keys;
  return scores * static_cast<double>(sizes.features + sizes.value_features + 32) / 50;
}

AttentionRoom::AttentionRoom(Scratch& scratch, const AttentionSizes& sizes, std::size_t threads)
    : stride(padded_columns(sizes.keys)) {
  const bool few = sizes.queries <= kFewRows;
  keys_size = few ? kRowScratch : packed_floats(sizes.features, sizes.keys);
  values_size = few ? 0 : packed_floats(sizes.keys, sizes.value_features);
  scores_size = count_of(block_rows(sizes), stride);
  keys = scratch.take<float>(count_of(threads, keys_size));
  values = scratch.take<float>(count_of(threads, values_size));
  scores = scratch.take<float>(count_of(threads, scores_size));
}

AttentionRoom AttentionRoom::of(std::size_t thread) const {
  AttentionRoom room = *this;
  room.keys += thread * keys_size;
  room.values += thread * values_size;
  room.scores += thread * scores_size;
  if (thread != 0) room.products = nullptr;
  return room;
}

Status attend(const Machine& machine, const Attention& attention, const AttentionRoom& room) {
  const AttentionSizes& sizes = attention.sizes;
  const std::size_t chunks = (sizes.queries + kItemRows - 1) / kItemRows;
  const std::size_t items = sizes.batch * sizes.heads * chunks;
  Team& team = machine.team;
  team.run(items, grain_for(attention.ns(), items),
           [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
             const AttentionRoom own = room.of(participant);
             for (std::size_t item = begin; item < end && !team.stopped(); ++item) {
               Item(machine.kernels, attention, own, item).run();
             }
           });
  return team.stopped() ? Status::kStopped : Status::kOk;
}

Status attend(const KernelTable& kernels, const Attention& attention) {
  const double ns = attention.ns();
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  WithScratch<AttentionRoom> room(attention.sizes, team.size());
  return attend({kernels, team}, attention, *room);
}

}  // namespace dynaquant
