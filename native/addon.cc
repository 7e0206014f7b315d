// SPDX-License-Identifier: MIT
#include <napi.h>

#include "bindings/environment.h"
#include "kernels/dispatch.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const dynaquant::KernelTable* tables[dynaquant::kMaxTables];
  dynaquant::supported_tables(tables);
  env.SetInstanceData(new dynaquant::AddonData{tables[0]});
  dynaquant::init_call(env, exports);
  dynaquant::init_embedding(env, exports);
  dynaquant::init_kernels(env, exports);
  dynaquant::init_linear(env, exports);
  dynaquant::init_random(env, exports);
  dynaquant::init_rnn(env, exports);
  dynaquant::init_test_doors(env, exports);
  dynaquant::init_threads(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(dynaquant, init)
