// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "engine/reduce.h"

namespace dynaquant {
namespace {

enum LineWord : std::size_t { kOuter = kOwnWords, kLength, kInner, kReduction };
// `kLength` and `kReduction` are the same words in both kinds of call.
enum NormWord : std::size_t { kRows = kOuter, kRepeat = kInner, kNorm = kReduction, kGroups, kEps };
static_assert(kEps < kWords, "there is no such word");

// A word that must not be 0.
std::size_t length_word(const Napi::CallbackInfo& info, const CallReader& call, std::size_t word,
                        const char* name) {
  const std::size_t length = call.size(word, name);
  if (length == 0) throw_range_error(info.Env(), name, "is 0");
  return length;
}

Lines lines_of(const Napi::CallbackInfo& info, const CallReader& call) {
  return {call.size(kOuter, "outer"), length_word(info, call, kLength, "length"),
          call.size(kInner, "inner")};
}

// A word that numbers one of `count`.
std::size_t choice(const Napi::CallbackInfo& info, const CallReader& call, std::size_t word,
                   std::size_t count, const char* name) {
  const std::size_t number = call.size(word, name);
  if (number >= count) throw_range_error(info.Env(), name, "is unknown");
  return number;
}

// reduce(x, out); the words hold the lines and the reduction
void reduce_lines(const Napi::CallbackInfo& info) {
  const CallReader call(info);
  const Lines lines = lines_of(info, call);
  const auto reduction =
      static_cast<Reduction>(choice(info, call, kReduction, kReductions, "reduction"));
  const float* x = call.floats(0, "x", product({lines.outer, lines.length, lines.inner}));
  float* out = call.floats(1, "out", product({lines.outer, lines.inner}));
  reduce(selected_kernels(info.Env()), reduction, x, lines, out);
}

// softmax(x, out); the words hold the lines and, as the reduction, 1 for its logarithm
void softmax_lines(const Napi::CallbackInfo& info) {
  const CallReader call(info);
  const Lines lines = lines_of(info, call);
  const bool log = choice(info, call, kReduction, 2, "log") == 1;
  const std::size_t size = product({lines.outer, lines.length, lines.inner});
  const float* x = call.floats(0, "x", size);
  softmax(selected_kernels(info.Env()), log, x, lines, call.floats(1, "out", size));
}

// normalize(x, weight, bias, out); the words hold rows, length, groups, repeat, the norm and eps
void normalize_rows(const Napi::CallbackInfo& info) {
  const CallReader call(info);
  const NormRows norm = {static_cast<Norm>(choice(info, call, kNorm, 2, "norm")),
                         static_cast<float>(call.number(kEps)), call.size(kRows, "rows"),
                         length_word(info, call, kLength, "length"),
                         length_word(info, call, kGroups, "groups")};
  const std::size_t repeat = length_word(info, call, kRepeat, "repeat");
  if (norm.length % repeat != 0) {
    throw_range_error(info.Env(), "length and repeat do not agree");
  }
  const std::size_t parameters = product({norm.length / repeat, norm.groups});
  const std::size_t size = product({norm.rows, norm.length});
  const float* x = call.floats(0, "x", size);
  const Affine affine = {call.optional_floats(1, "weight", parameters),
                         call.optional_floats(2, "bias", parameters), repeat};
  normalize(selected_kernels(info.Env()), norm, x, affine, call.floats(3, "out", size));
}

// scaleChannels(x, means, weight, bias, out); the words hold rows, channels and repeat
void scale_rows(const Napi::CallbackInfo& info) {
  const CallReader call(info);
  const std::size_t rows = call.size(kRows, "rows");
  const std::size_t count = length_word(info, call, kLength, "channels");
  const std::size_t repeat = length_word(info, call, kRepeat, "repeat");
  const std::size_t size = product({rows, count, repeat});
  const float* x = call.floats(0, "x", size);
  const ChannelRows channels = {rows, count, call.floats(1, "means", count)};
  const Affine affine = {call.floats(2, "weight", count), call.floats(3, "bias", count), repeat};
  scale_channels(selected_kernels(info.Env()), channels, x, affine, call.floats(4, "out", size));
}

}  // namespace

void init_reduce(Napi::Env env, Napi::Object exports) {
  exports.Set("reduce", Napi::Function::New<reduce_lines>(env));
  exports.Set("softmax", Napi::Function::New<softmax_lines>(env));
  exports.Set("normalize", Napi::Function::New<normalize_rows>(env));
  exports.Set("scaleChannels", Napi::Function::New<scale_rows>(env));
  add_words(exports, {{"reduceOuter", kOuter},
                      {"reduceLength", kLength},
                      {"reduceInner", kInner},
                      {"reduction", kReduction},
                      {"normGroups", kGroups},
                      {"normEps", kEps}});
}

}  // namespace dynaquant
