// SPDX-License-Identifier: MIT
// What addon.cc registers: one function a bindings file, and the state of one environment.
#ifndef DYNAQUANT_BINDINGS_BINDINGS_H_
#define DYNAQUANT_BINDINGS_BINDINGS_H_

#include <napi.h>

#include "bindings/arguments.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

constexpr std::size_t kSlotFloats = 16;
constexpr std::size_t kSlots = 6;
constexpr std::size_t kSizes = 4;

// One per environment (main thread or worker): no statics. The process has one thread pool.
struct AddonData {
  const KernelTable* kernels;  // handed to every handle that is built from now on
  // Small arrays and a call's numbers travel through these: see toSlot in src/native.ts. The
  // JavaScript side is kept alive by the references and shown to nobody, so the addresses stay.
  Napi::Reference<Napi::Float32Array> slots_array;
  Napi::Reference<Napi::Float64Array> sizes_array;
  float* slots;
  const double* sizes;
  ThreadPoolUser pool_user = {};
};

inline AddonData& addon_data(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

inline const KernelTable& selected_kernels(Napi::Env env) { return *addon_data(env).kernels; }

// A Float32Array of `size` elements, or, for undefined, the slot.
inline float* slotted_array(Napi::Env env, napi_value value, const char* name, std::size_t size,
                            float* slots, std::size_t slot) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_undefined) {
    if (size > kSlotFloats) throw Napi::TypeError::New(env, std::string(name) + " is missing");
    return slots + slot * kSlotFloats;
  }
  return typed_array<float>(env, value, name, size);
}

void init_embedding(Napi::Env env, Napi::Object exports);
void init_kernels(Napi::Env env, Napi::Object exports);
void init_linear(Napi::Env env, Napi::Object exports);
void init_random(Napi::Env env, Napi::Object exports);
void init_rnn(Napi::Env env, Napi::Object exports);
void init_threads(Napi::Env env, Napi::Object exports);

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_BINDINGS_H_
