// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "engine/random.h"

namespace dynaquant {
namespace {

// The first argument: the state's bytes, owned and kept by JavaScript.
GeneratorState* state_argument(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* bytes = typed_array<std::uint8_t>(env, info[0], "state", sizeof(GeneratorState));
  if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(GeneratorState) != 0) {
    throw_range_error(env, "state is not aligned");
  }
  // Any value of `next` is safe, because beyond 624 the generator twists first.
  return reinterpret_cast<GeneratorState*>(bytes);
}

template <typename Element>
Span<Element> out_argument(const Napi::CallbackInfo& info) {
  return typed_array<Element>(info.Env(), info[1], "out");
}

double number_argument(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].ToNumber().DoubleValue();
}

// randomSeed(state, seed)
void random_seed(const Napi::CallbackInfo& info) {
  seed(state_argument(info), info[1].ToNumber().Uint32Value());
}

// randomUniform(state, out, from, to)
template <typename Real>
void random_uniform(const Napi::CallbackInfo& info) {
  const Span<Real> out = out_argument<Real>(info);
  fill_uniform(state_argument(info), static_cast<Real>(number_argument(info, 2)),
               static_cast<Real>(number_argument(info, 3)), out.data, out.size);
}

// randomNormal(state, out, mean, std)
template <typename Real>
void random_normal(const Napi::CallbackInfo& info) {
  const Span<Real> out = out_argument<Real>(info);
  fill_normal(state_argument(info), number_argument(info, 2), number_argument(info, 3), out.data,
              out.size);
}

// randomBernoulli(state, out, p)
void random_bernoulli(const Napi::CallbackInfo& info) {
  const Span<float> out = out_argument<float>(info);
  fill_bernoulli(state_argument(info), number_argument(info, 2), out.data, out.size);
}

// randomIntegers(state, out, low, range)
void random_integers(const Napi::CallbackInfo& info) {
  bool lossless;
  const std::int64_t low = info[2].As<Napi::BigInt>().Int64Value(&lossless);
  const std::uint64_t range = info[3].As<Napi::BigInt>().Uint64Value(&lossless);
  if (range == 0) throw_range_error(info.Env(), "range is zero");
  const Span<std::int64_t> out = out_argument<std::int64_t>(info);
  fill_integers(state_argument(info), low, range, out.data, out.size);
}

// randomPermutation(state, out)
void random_permutation(const Napi::CallbackInfo& info) {
  const Span<std::int64_t> out = out_argument<std::int64_t>(info);
  fill_permutation(state_argument(info), out.data, out.size);
}

}  // namespace

void init_random(Napi::Env env, Napi::Object exports) {
  exports.Set("generatorStateBytes", Napi::Number::New(env, sizeof(GeneratorState)));
  exports.Set("randomSeed", Napi::Function::New<random_seed>(env));
  exports.Set("randomUniform", Napi::Function::New<random_uniform<float>>(env));
  exports.Set("randomUniform64", Napi::Function::New<random_uniform<double>>(env));
  exports.Set("randomNormal", Napi::Function::New<random_normal<float>>(env));
  exports.Set("randomNormal64", Napi::Function::New<random_normal<double>>(env));
  exports.Set("randomBernoulli", Napi::Function::New<random_bernoulli>(env));
  exports.Set("randomIntegers", Napi::Function::New<random_integers>(env));
  exports.Set("randomPermutation", Napi::Function::New<random_permutation>(env));
}

}  // namespace dynaquant
