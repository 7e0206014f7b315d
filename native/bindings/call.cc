// SPDX-License-Identifier: MIT
#include "bindings/call.h"

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

}  // namespace

void add_words(Napi::Object exports, std::initializer_list<NamedWord> words) {
  Napi::Object layout = exports.Get("callLayout").As<Napi::Object>();
  for (const auto& [name, word] : words) layout.Set(name, static_cast<double>(word));
}

void init_call(Napi::Env env, Napi::Object exports) {
  Napi::Float32Array slots = Napi::Float32Array::New(env, kSlots * kSlotFloats);
  Napi::Float64Array words = Napi::Float64Array::New(env, kWords);
  addon_data(env).call = {Napi::Persistent(slots), Napi::Persistent(words), slots.Data(),
                          words.Data()};
  exports.Set("callSlots", slots);
  exports.Set("callWords", words);
  exports.Set("callLayout", Napi::Object::New(env));
  add_words(
      exports,
      {{"slotFloats", kSlotFloats}, {"arrays", kArrays}, {"given", kGiven}, {"joined", kJoined}});
  exports.Set("statusNames", status_names(env));
}

}  // namespace dynaquant
