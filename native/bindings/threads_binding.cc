// SPDX-License-Identifier: MIT
// The number of threads.
#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

template <void (*set)(std::size_t)>
void set_threads(const Napi::CallbackInfo& info) {
  set(size_argument(info.Env(), info[0], "threads"));
}

// getNumThreads(): number
Napi::Value get_threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(num_threads()));
}

}  // namespace

void init_threads(Napi::Env env, Napi::Object exports) {
  exports.Set("setNumThreads", Napi::Function::New<set_threads<set_num_threads>>(env));
  exports.Set("setDefaultNumThreads",
              Napi::Function::New<set_threads<set_default_num_threads>>(env));
  exports.Set("getNumThreads", Napi::Function::New<get_threads>(env));
  exports.Set("maxThreads", Napi::Number::New(env, static_cast<double>(kMaxThreads)));
}

}  // namespace dynaquant
