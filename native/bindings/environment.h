// SPDX-License-Identifier: MIT
// The state of one environment.
#ifndef DYNAQUANT_BINDINGS_ENVIRONMENT_H_
#define DYNAQUANT_BINDINGS_ENVIRONMENT_H_

#include <napi.h>

#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

// Memory that JavaScript and native code share, so that a call need not ask for its address:
// call.h says what it holds. The references keep the arrays alive. Nobody outside this package sees
// them, so the addresses stay.
struct CallBuffers {
  Napi::Reference<Napi::Float32Array> slots_array;
  Napi::Reference<Napi::Float64Array> words_array;
  float* slots = nullptr;
  const double* words = nullptr;
};

// One per environment (main thread or worker): no statics. The process has one thread pool.
struct AddonData {
  const KernelTable* kernels;  // handed to every handle that is built from now on
  CallBuffers call = {};
  ThreadPoolUser pool_user = {};
};

inline AddonData& addon_data(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

inline const KernelTable& selected_kernels(Napi::Env env) { return *addon_data(env).kernels; }

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ENVIRONMENT_H_
