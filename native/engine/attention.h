// SPDX-License-Identifier: MIT
// Attention: softmax(q k^T * scale + mask) v for each head of each batch.
#ifndef DYNAQUANT_ENGINE_ATTENTION_H_
#define DYNAQUANT_ENGINE_ATTENTION_H_

#include <cstddef>

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

// Fills `out` and `weights`. See KernelTable::softmax_scores for the weights; both products sum in
// rising order, one fma a term. Undefined unless kOk is returned.
Status attend(const KernelTable& kernels, const Attention& attention);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ATTENTION_H_
