// SPDX-License-Identifier: MIT
// The state of one environment.
#ifndef DYNAQUANT_BINDINGS_ENVIRONMENT_H_
#define DYNAQUANT_BINDINGS_ENVIRONMENT_H_

#include <napi.h>

#include <cstddef>

#include "bindings/errors.h"
#include "engine/executor.h"
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

// A handle on its environment's list.
class LiveHandle {
 public:
  // Whether its object was collected. Its finalizer may run much later.
  virtual bool is_collected() const = 0;
  // Lets go of what it holds, and leaves the list.
  virtual void release(Napi::BasicEnv env) = 0;

 protected:
  explicit LiveHandle(const void* kind) : kind_(kind) {}
  ~LiveHandle() { leave(); }
  LiveHandle(const LiveHandle&) = delete;
  LiveHandle& operator=(const LiveHandle&) = delete;
  void leave();

  // Throws unless this is a handle of the kind. V8 lets a method have no other receiver. Bun lets
  // it have any wrapped object, which it then takes for its own class. All handles begin alike, so
  // that the kind is found in each.
  void check_receiver(Napi::Env env, const void* kind) const {
    if (kind_ != kind) throw_type_error(env, "the receiver is a handle of another kind");
  }

 private:
  friend class LiveHandles;
  const void* kind_;
  LiveHandle* previous_ = nullptr;
  LiveHandle* next_ = nullptr;
  class LiveHandles* list_ = nullptr;
};

// The handles of an environment. Node runs finalizers only after the present turn of the event
// loop, so that a loop in one turn would keep all the weights that it drops. V8 does collect their
// objects, because it is told of the memory. So whoever makes a handle first frees what was
// collected, each time when enough was added since the last time.
class LiveHandles {
 public:
  LiveHandles() = default;
  ~LiveHandles();
  LiveHandles(const LiveHandles&) = delete;
  LiveHandles& operator=(const LiveHandles&) = delete;

  void add(Napi::Env env, LiveHandle& handle, std::size_t bytes);

 private:
  friend class LiveHandle;
  void sweep(Napi::Env env);

  LiveHandle* first_ = nullptr;
  std::size_t added_ = 0;  // bytes, since the last sweep
};

// One per environment (main thread or worker): no statics. The process has one thread pool and one
// executor.
struct AddonData {
  const KernelTable* kernels;  // handed to every handle that is built from now on
  CallBuffers call = {};
  ThreadPoolUser pool_user = {};
  ExecutorUser executor_user = {};
  class AsyncCalls* async_calls = nullptr;  // async.cc makes and deletes it
  LiveHandles handles = {};
};

inline AddonData& addon_data(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

inline const KernelTable& selected_kernels(Napi::Env env) { return *addon_data(env).kernels; }

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ENVIRONMENT_H_
