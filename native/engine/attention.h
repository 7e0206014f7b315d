// SPDX-License-Identifier: MIT
// Attention: softmax(q k^T * scale + mask) v for each head of each batch.
#ifndef DYNAQUANT_ENGINE_ATTENTION_H_
#define DYNAQUANT_ENGINE_ATTENTION_H_

#include <cstddef>

#include "engine/product.h"
#include "engine/scratch.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// Where the rows of a (batch, head) are: steps in floats. A row's elements are neighbours.
struct HeadSteps {
  std::size_t batch;
  std::size_t head;
  std::size_t row;

  std::size_t at(std::size_t b, std::size_t h) const { return b * batch + h * head; }
};

struct AttentionSizes {
  std::size_t batch;
  std::size_t heads;
  std::size_t group;  // heads that share their keys and values
  std::size_t queries;
  std::size_t keys;
  std::size_t features;        // of a query and a key
  std::size_t value_features;  // of a value and a result
};

struct Attention {
  AttentionSizes sizes;
  float scale;
  bool causal;  // query i sees the keys up to and with i only
  const float* q;
  const float* k;
  const float* v;
  const float* mask;  // [keys] for each query; null for none
  float* out;
  float* weights;  // [batch][heads][queries][keys]; null if they are not wanted
  HeadSteps q_steps, k_steps, v_steps, mask_steps, out_steps;

  double ns() const;  // roughly, on one thread
};

// What a team's threads need. Each packs all keys and values of a head for itself, so that they
// take threads * keys * (features + value_features) * 4 bytes.
struct AttentionRoom {
  AttentionRoom(Scratch& scratch, const AttentionSizes& sizes, std::size_t threads);
  AttentionRoom of(std::size_t thread) const;

  float* keys;
  float* values;
  float* scores;  // rows of `stride`
  std::size_t stride;
  std::size_t keys_size, values_size, scores_size;
  double* products = nullptr;  // where the caller's thread adds the nanoseconds that they take
};

// Fills `out` and `weights`. See KernelTable::softmax_scores for the weights; both products sum in
// rising order, one fma a term. Undefined unless kOk is returned.
Status attend(const KernelTable& kernels, const Attention& attention);
// The same on the caller's team, in the caller's room.
Status attend(const Machine& machine, const Attention& attention, const AttentionRoom& room);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ATTENTION_H_
