// SPDX-License-Identifier: MIT
#include "engine/random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace dynaquant {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

void twist(GeneratorState* state) {
  constexpr std::uint32_t kN = GeneratorState::kWords, kM = 397;
  std::uint32_t* w = state->words;
  for (std::uint32_t k = 0; k < kN; ++k) {
    const std::uint32_t next = w[k + 1 < kN ? k + 1 : 0];
    const std::uint32_t y = (w[k] & 0x80000000u) | (next & 0x7fffffffu);
    w[k] = w[k + kM < kN ? k + kM : k + kM - kN] ^ (y >> 1) ^ ((next & 1) ? 0x9908b0dfu : 0);
  }
  state->next = 0;
}

std::uint32_t random32(GeneratorState* state) {
  if (state->next >= GeneratorState::kWords) twist(state);
  std::uint32_t y = state->words[state->next++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

std::uint64_t random64(GeneratorState* state) {
  const std::uint64_t high = random32(state);
  return (high << 32) | random32(state);
}

float uniform_float(GeneratorState* state) {
  return static_cast<float>(random32(state) & 0xffffffu) * 0x1p-24f;
}

double uniform_double(GeneratorState* state) {
  return static_cast<double>(random64(state) & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
}

// Draws a pair of normals and returns one, or returns the one that the last call left.
double scalar_normal(GeneratorState* state) {
  if (state->has_normal) {
    state->has_normal = 0;
    return state->normal;
  }
  const double u1 = uniform_double(state);
  const double u2 = uniform_double(state);
  const double radius = std::sqrt(-2.0 * std::log1p(-u2));
  const double theta = kTwoPi * u1;
  state->normal = radius * std::sin(theta);
  state->has_normal = 1;
  return radius * std::cos(theta);
}

// Cephes' logf and sincosf as ATen's AVX2 code (avx_mathfun.h) computes them, fused multiply-adds
// included, because PyTorch's normals need these very roundings, not better ones.
float log_cephes(float x) {
  x = std::max(x, 0x1p-126f);
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  float e = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127) + 1.0f;
  bits = (bits & 0x807fffffu) | 0x3f000000u;  // mantissa in [0.5, 1)
  float m;
  std::memcpy(&m, &bits, sizeof m);
  x = m - 1.0f;
  if (m < 0.707106781186547524f) {
    e -= 1.0f;
    x += m;
  }
  const float z = x * x;
  float y = 7.0376836292e-2f;
  for (const float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f}) {
    y = std::fma(y, x, c);
  }
  y *= x;
  y = std::fma(y, z, e * -2.12194440e-4f);
  y = std::fma(-z, 0.5f, y);
  x += y;
  return std::fma(e, 0.693359375f, x);
}

void sincos_cephes(float x, float* sin, float* cos) {
  const std::int32_t j = (static_cast<std::int32_t>(x * 1.27323954473516f) + 1) & ~1;
  const float y = static_cast<float>(j);
  x = std::fma(y, -0.78515625f, x);
  x = std::fma(y, -2.4187564849853515625e-4f, x);
  x = std::fma(y, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = 2.443315711809948e-5f;
  c = std::fma(c, z, -1.388731625493765e-3f);
  c = std::fma(c, z, 4.166664568298827e-2f);
  c *= z;
  c = std::fma(c, z, -(z * 0.5f));
  c += 1.0f;
  float s = -1.9515295891e-4f;
  s = std::fma(s, z, 8.3321608736e-3f);
  s = std::fma(s, z, -1.6666654611e-1f);
  s *= z;
  s = std::fma(s, x, x);
  if ((j & 2) != 0) std::swap(s, c);
  *sin = (j & 4) != 0 ? -s : s;
  *cos = ((j - 2) & 4) == 0 ? -c : c;
}

void box_muller(float* block, float mean, float std) {
  for (int i = 0; i < 8; ++i) {
    const float u1 = 1.0f - block[i];
    const float radius = std::sqrt(-2.0f * log_cephes(u1));
    float sin, cos;
    sincos_cephes(6.2831855f * block[i + 8], &sin, &cos);
    block[i] = std::fma(radius * cos, std, mean);
    block[i + 8] = std::fma(radius * sin, std, mean);
  }
}

void box_muller(double* block, double mean, double std) {
  for (int i = 0; i < 8; ++i) {
    // log1p, not log, because log would need a newer C library than RHEL 8's.
    const double radius = std::sqrt(-2.0 * std::log1p(-block[i]));
    const double theta = kTwoPi * block[i + 8];
    block[i] = radius * std::cos(theta) * std + mean;
    block[i + 8] = radius * std::sin(theta) * std + mean;
  }
}

// Draws all uniforms first, then turns whole blocks into normals. If some values are left over, the
// last sixteen are drawn anew.
template <typename Real>
void fill_normal_blocks(GeneratorState* state, Real mean, Real std, Real* out, std::size_t count) {
  fill_uniform(state, Real{0}, Real{1}, out, count);
  for (std::size_t i = 0; i + 16 <= count; i += 16) box_muller(out + i, mean, std);
  if (count % 16 != 0) {
    fill_uniform(state, Real{0}, Real{1}, out + count - 16, 16);
    box_muller(out + count - 16, mean, std);
  }
}

template <typename Real>
void fill_normal_any(GeneratorState* state, double mean, double std, Real* out, std::size_t count) {
  if (count >= 16) {
    fill_normal_blocks(state, static_cast<Real>(mean), static_cast<Real>(std), out, count);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<Real>(scalar_normal(state) * std + mean);
  }
}

}  // namespace

void seed(GeneratorState* state, std::uint32_t seed) {
  state->words[0] = seed;
  for (std::uint32_t j = 1; j < GeneratorState::kWords; ++j) {
    const std::uint32_t last = state->words[j - 1];
    state->words[j] = 1812433253u * (last ^ (last >> 30)) + j;
  }
  state->next = GeneratorState::kWords;
  state->has_normal = 0;
  state->normal = 0;
}

void fill_uniform(GeneratorState* state, float from, float to, float* out, std::size_t count) {
  const float width = to - from;
  for (std::size_t i = 0; i < count; ++i) out[i] = std::fma(uniform_float(state), width, from);
}

void fill_uniform(GeneratorState* state, double from, double to, double* out, std::size_t count) {
  const double width = to - from;
  for (std::size_t i = 0; i < count; ++i) out[i] = std::fma(uniform_double(state), width, from);
}

void fill_normal(GeneratorState* state, double mean, double std, float* out, std::size_t count) {
  fill_normal_any(state, mean, std, out, count);
}

void fill_normal(GeneratorState* state, double mean, double std, double* out, std::size_t count) {
  fill_normal_any(state, mean, std, out, count);
}

void fill_integers(GeneratorState* state, std::int64_t low, std::uint64_t range, std::int64_t* out,
                   std::size_t count) {
  const bool wide = range >= (std::uint64_t{1} << 28);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t random = wide ? random64(state) : random32(state);
    out[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + random % range);
  }
}

void fill_bernoulli(GeneratorState* state, double p, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = uniform_double(state) < p ? 1.0f : 0.0f;
}

void fill_permutation(GeneratorState* state, std::int64_t* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::int64_t>(i);
  for (std::size_t i = 0; i + 1 < count; ++i) {
    std::swap(out[i], out[i + random32(state) % (count - i)]);
  }
}

}  // namespace dynaquant
