// SPDX-License-Identifier: MIT
// What addon.cc registers: one function a bindings file, and the state of one environment.
#ifndef DYNAQUANT_BINDINGS_BINDINGS_H_
#define DYNAQUANT_BINDINGS_BINDINGS_H_

#include <napi.h>

#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

// One per environment (main thread or worker): no statics. The process has one thread pool.
struct AddonData {
  const KernelTable* kernels;  // handed to every handle that is built from now on
  ThreadPoolUser pool_user = {};
};

inline const KernelTable& selected_kernels(Napi::Env env) {
  return *env.GetInstanceData<AddonData>()->kernels;
}

void init_kernels(Napi::Env env, Napi::Object exports);
void init_linear(Napi::Env env, Napi::Object exports);
void init_lstm(Napi::Env env, Napi::Object exports);
void init_random(Napi::Env env, Napi::Object exports);
void init_threads(Napi::Env env, Napi::Object exports);

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_BINDINGS_H_
