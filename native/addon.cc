// SPDX-License-Identifier: MIT
#include <napi.h>

#include "bindings/bindings.h"
#include "kernels/dispatch.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const dynaquant::KernelTable* tables[dynaquant::kMaxTables];
  dynaquant::supported_tables(tables);
  Napi::Float32Array slots =
      Napi::Float32Array::New(env, dynaquant::kSlots * dynaquant::kSlotFloats);
  env.SetInstanceData(new dynaquant::AddonData{tables[0], Napi::Persistent(slots), slots.Data()});
  exports.Set("slots", slots);
  dynaquant::init_kernels(env, exports);
  dynaquant::init_linear(env, exports);
  dynaquant::init_lstm(env, exports);
  dynaquant::init_random(env, exports);
  dynaquant::init_threads(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(dynaquant, init)
