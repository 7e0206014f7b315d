// SPDX-License-Identifier: MIT
// PyTorch's CPU generator, bit for bit: MT19937 and the distributions over it.
#ifndef DYNAQUANT_ENGINE_RANDOM_H_
#define DYNAQUANT_ENGINE_RANDOM_H_

#include <cstddef>
#include <cstdint>

namespace dynaquant {

// The whole state. Plain data, because it lives in a buffer that JavaScript owns and may save or
// restore.
struct GeneratorState {
  static constexpr std::uint32_t kWords = 624;

  std::uint32_t words[kWords];
  std::uint32_t next;        // words used so far, 0..624
  std::uint32_t has_normal;  // 0 or 1
  double normal;             // the second of a pair of normals, kept for the next scalar draw
};
static_assert(sizeof(GeneratorState) == 2512, "saved states have this many bytes");

void seed(GeneratorState* state, std::uint32_t seed);

// Uniform in [from, to): a float has 24 random bits, a double 53. x * (to - from) + from is rounded
// once.
void fill_uniform(GeneratorState* state, float from, float to, float* out, std::size_t count);
void fill_uniform(GeneratorState* state, double from, double to, double* out, std::size_t count);

// N(mean, std^2) by Box-Muller: fewer than 16 values are drawn one by one in double, more in blocks
// of 16.
void fill_normal(GeneratorState* state, double mean, double std, float* out, std::size_t count);
void fill_normal(GeneratorState* state, double mean, double std, double* out, std::size_t count);

// low + random % range; range >= 1.
void fill_integers(GeneratorState* state, std::int64_t low, std::uint64_t range, std::int64_t* out,
                   std::size_t count);

// 1 with probability p, else 0.
void fill_bernoulli(GeneratorState* state, double p, float* out, std::size_t count);

// A permutation of 0..count-1, count < 2^32.
void fill_permutation(GeneratorState* state, std::int64_t* out, std::size_t count);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RANDOM_H_
