// SPDX-License-Identifier: MIT
#include "panels.h"

#include <string.h>

#include "check.h"

namespace dynaquant {
namespace {

constexpr size_t kLongestChain = 255;

int positive_part(int x) { return x > 0 ? x : 0; }

// How many quads, from the first on and at most kLongestChain, may be added in int16 lanes. 0 if
// the first one overflows by itself.
size_t chain_length(const int8_t* quads, size_t count, const LaneLimits& limits) {
  constexpr size_t kLanes = kPanelColumns * 2;
  int16_t positive[kLanes] = {}, negative[kLanes] = {};
  const size_t longest = count < kLongestChain ? count : kLongestChain;
  for (size_t quad = 0; quad < longest; ++quad) {
    int over = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const int a = quads[quad * kQuadBytes + 2 * lane];
      const int b = quads[quad * kQuadBytes + 2 * lane + 1];
      positive[lane] = (int16_t)(positive[lane] + positive_part(a) + positive_part(b));
      negative[lane] = (int16_t)(negative[lane] + positive_part(-a) + positive_part(-b));
      over |= (positive[lane] > limits.positive) | (negative[lane] > limits.negative);
    }
    if (over) return quad;
  }
  return longest;
}

// Chains cost three more instructions and an unpredictable branch each. Below a mean of 2.25 quads,
// or in a panel too shallow to have several, quads one by one are as fast.
bool are_worthwhile(size_t chains, size_t quads) {
  constexpr double kMeanQuads = 2.25;
  constexpr size_t kShallow = 16;
  return quads >= kShallow && (double)quads >= kMeanQuads * (double)chains;
}

}  // namespace

size_t Int8Packing::index(size_t column, size_t k) const {
  const size_t panel = column / kPanelColumns, quad = k / kQuad;
  const size_t in_block = panel % block;
  const size_t line = (panel - in_block) * quads() +
                      (layout.interleaved ? quad * block + in_block : in_block * quads() + quad);
  return line * kQuadBytes + column % kPanelColumns * kQuad + k % kQuad;
}

void Int8Packing::clear(int8_t* packed) const { memset(packed, 0, bytes()); }

int32_t Int8Packing::pack(const int8_t* weights, size_t column, int8_t* packed) const {
  int8_t* quad = packed + index(column, 0);
  size_t k = 0;
  for (; k + kQuad <= depth; k += kQuad, quad += quad_stride()) memcpy(quad, weights + k, kQuad);
  if (k < depth) memcpy(quad, weights + k, depth - k);
  int32_t sum = 0;
  for (k = 0; k < depth; ++k) sum += weights[k];
  return sum;
}

void Int8Packing::unpack(const int8_t* packed, size_t column, int8_t* weights) const {
  const int8_t* quad = packed + index(column, 0);
  size_t k = 0;
  for (; k + kQuad <= depth; k += kQuad, quad += quad_stride()) memcpy(weights + k, quad, kQuad);
  if (k < depth) memcpy(weights + k, quad, depth - k);
}

size_t Int8Packing::plan(const int8_t* packed, size_t panel, const LaneLimits& limits,
                         Products* products, uint8_t* chains) const {
  DYNAQUANT_CHECK(layout.planned && !layout.interleaved);
  const int8_t* weights = packed + panel * quads() * kQuadBytes;
  size_t count = 0;
  for (size_t done = 0; done < quads(); ++count) {
    const size_t length = chain_length(weights + done * kQuadBytes, quads() - done, limits);
    if (length == 0) {
      *products = Products::kSixteenBit;
      return 0;
    }
    chains[count] = (uint8_t)length;
    done += length;
  }
  *products = are_worthwhile(count, quads()) ? Products::kChains : Products::kPairs;
  return *products == Products::kChains ? count : 0;
}

}  // namespace dynaquant
