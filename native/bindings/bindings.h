// SPDX-License-Identifier: MIT
// What addon.cc registers: one function a bindings file, and the state of one environment.
#ifndef DYNAQUANT_BINDINGS_BINDINGS_H_
#define DYNAQUANT_BINDINGS_BINDINGS_H_

#include <napi.h>

#include "bindings/arguments.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

constexpr std::size_t kSlotFloats = 256;
constexpr std::size_t kSlots = 6;
constexpr std::size_t kSizes = 6;

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

// The arguments of a call that are Float32Arrays, by the last of `sizes`: bit i for the i-th. The
// others have what their slots hold. (To ask each what it is costs 5 to 15 ns.)
class CallArrays {
 public:
  explicit CallArrays(const Napi::CallbackInfo& info)
      : info_(info),
        slots_(addon_data(info.Env()).slots),
        arrays_(size_number(info.Env(), addon_data(info.Env()).sizes[kSizes - 1], "arrays")) {}

  Span<float> span(std::size_t i, const char* name, std::size_t size) const {
    if ((arrays_ >> i & 1) != 0) return typed_array<float>(info_.Env(), info_[i], name);
    if (size > kSlotFloats) {
      throw Napi::TypeError::New(info_.Env(), std::string(name) + " is missing");
    }
    return {slots_ + i * kSlotFloats, size};
  }
  float* of_size(std::size_t i, const char* name, std::size_t size) const {
    return checked(info_.Env(), span(i, name, size), name, size);
  }

 private:
  const Napi::CallbackInfo& info_;
  float* slots_;
  std::size_t arrays_;
};

void init_embedding(Napi::Env env, Napi::Object exports);
void init_kernels(Napi::Env env, Napi::Object exports);
void init_linear(Napi::Env env, Napi::Object exports);
void init_random(Napi::Env env, Napi::Object exports);
void init_rnn(Napi::Env env, Napi::Object exports);
void init_threads(Napi::Env env, Napi::Object exports);

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_BINDINGS_H_
