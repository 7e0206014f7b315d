// SPDX-License-Identifier: MIT
#include "bindings/call.h"

#include <cstdint>
#include <iterator>

namespace dynaquant {
namespace {

// The names of Status, by its numbers.
Napi::Array status_names(Napi::Env env) {
  constexpr const char* kNames[] = {
      "ok",       "inputNotFinite", "hiddenNotFinite", "cellNotFinite",
      "overflow", "stopped",        "noMemory"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(Status::kNoMemory) + 1, "one each");
  Napi::Array names = Napi::Array::New(env);
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    names[static_cast<std::uint32_t>(i)] = Napi::String::New(env, kNames[i]);
  }
  return names;
}

#ifdef __wasm__
// The module's memory, of which JavaScript makes views: see wasm/glue.mjs.
void add_buffers(Napi::Env env, Napi::Object exports) {
  static float slots[kSlots * kSlotFloats];
  static double words[kWords];
  addon_data(env).call = {{}, {}, slots, words};
  Napi::Object addresses = Napi::Object::New(env);
  addresses.Set("slots", static_cast<double>(reinterpret_cast<std::uintptr_t>(slots)));
  addresses.Set("slotFloats", static_cast<double>(std::size(slots)));
  addresses.Set("words", static_cast<double>(reinterpret_cast<std::uintptr_t>(words)));
  addresses.Set("wordCount", static_cast<double>(std::size(words)));
  exports.Set("callAddresses", addresses);
}
#else
void add_buffers(Napi::Env env, Napi::Object exports) {
  Napi::Float32Array slots = Napi::Float32Array::New(env, kSlots * kSlotFloats);
  Napi::Float64Array words = Napi::Float64Array::New(env, kWords);
  addon_data(env).call = {Napi::Persistent(slots), Napi::Persistent(words), slots.Data(),
                          words.Data()};
  exports.Set("callSlots", slots);
  exports.Set("callWords", words);
}
#endif

}  // namespace

void add_words(Napi::Object exports, std::initializer_list<NamedWord> words) {
  Napi::Object layout = exports.Get("callLayout").As<Napi::Object>();
  for (const auto& [name, word] : words) layout.Set(name, static_cast<double>(word));
}

void init_call(Napi::Env env, Napi::Object exports) {
  add_buffers(env, exports);
  exports.Set("callLayout", Napi::Object::New(env));
  add_words(
      exports,
      {{"slotFloats", kSlotFloats}, {"arrays", kArrays}, {"given", kGiven}, {"joined", kJoined}});
  exports.Set("statusNames", status_names(env));
}

}  // namespace dynaquant
