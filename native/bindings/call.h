// SPDX-License-Identifier: MIT
// How the arguments of a hot call travel. src/native/call.ts is the other side: it writes what this
// file reads, and takes the layout from the constants that init_call exports.
//
// A call has up to six Float32Array arguments. A short one travels by copy through its slot of
// shared memory, because asking for the address of an array costs more than such a copy. A call's
// numbers are words of shared memory, because Node-API charges about 100 ns for each argument
// beyond six (Zen 4).
#ifndef DYNAQUANT_BINDINGS_CALL_H_
#define DYNAQUANT_BINDINGS_CALL_H_

#include <napi.h>

#include <array>
#include <cstddef>
#include <initializer_list>

#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "engine/status.h"

namespace dynaquant {

constexpr std::size_t kSlots = 6;         // slot i is the i-th argument's
constexpr std::size_t kSlotFloats = 256;  // of each slot

// The words. The first three are bit sets over the arguments, the others belong to one kind of
// call: its binding numbers them from kOwnWords on.
enum Word : std::size_t {
  kArrays,  // the argument is an array; otherwise its slot holds it
  kGiven,   // the argument is there at all
  kJoined,  // the output lies behind the output before it, in the same array
  kOwnWords,
};
constexpr std::size_t kWords = kOwnWords + 8;

// Tells JavaScript the index of a word by its name. A binding's init function does so for its own.
struct NamedWord {
  const char* name;
  std::size_t word;
};
void add_words(Napi::Object exports, std::initializer_list<NamedWord> words);

// The words and arguments of one call. Valid until the call returns, because the next one writes
// over them: an asynchronous call must copy what it needs.
class CallReader {
 public:
  explicit CallReader(const Napi::CallbackInfo& info)
      : info_(info),
        buffers_(addon_data(info.Env()).call),
        arrays_(size(kArrays, "arrays")),
        given_(size(kGiven, "given")),
        joined_(size(kJoined, "joined")) {}

  double number(std::size_t word) const { return buffers_.words[word]; }
  std::size_t size(std::size_t word, const char* name) const {
    return size_number(info_.Env(), number(word), name);
  }

  // An argument of `size` floats.
  float* floats(std::size_t i, const char* name, std::size_t size) const {
    const Napi::Env env = info_.Env();
    if (has(arrays_, i)) return typed_array<float>(env, info_[i], name, size);
    if (size > kSlotFloats) throw_type_error(env, name, "is missing");
    return buffers_.slots + i * kSlotFloats;
  }
  // The same, or null if the call has no such argument.
  float* optional_floats(std::size_t i, const char* name, std::size_t size) const {
    return has(given_, i) ? floats(i, name, size) : nullptr;
  }

  struct Output {
    const char* name;
    std::size_t size;
  };
  // The outputs `first`, `first + 1`, ...: each in its own memory or, if it is joined, behind the
  // one before it.
  template <std::size_t N>
  std::array<float*, N> outputs(std::size_t first, const Output (&wanted)[N]) const {
    std::array<float*, N> result;
    for (std::size_t begin = 0, end; begin < N; begin = end) {
      std::size_t total = wanted[begin].size;
      for (end = begin + 1; end < N && has(joined_, first + end); ++end) {
        total = sum({total, wanted[end].size});
      }
      float* data = floats(first + begin, wanted[begin].name, total);
      for (std::size_t i = begin; i < end; data += wanted[i].size, ++i) result[i] = data;
    }
    return result;
  }

 private:
  static bool has(std::size_t bits, std::size_t i) { return (bits >> i & 1) != 0; }

  const Napi::CallbackInfo& info_;
  const CallBuffers& buffers_;
  std::size_t arrays_;
  std::size_t given_;
  std::size_t joined_;
};

inline Napi::Value status_value(Napi::Env env, Status status) {
  return Napi::Number::New(env, static_cast<int>(status));
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_CALL_H_
