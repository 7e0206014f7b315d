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
  Napi::Float64Array sizes = Napi::Float64Array::New(env, dynaquant::kSizes);
  env.SetInstanceData(new dynaquant::AddonData{
      tables[0], Napi::Persistent(slots), Napi::Persistent(sizes), slots.Data(), sizes.Data()});
  exports.Set("sizes", sizes);
  exports.Set("slots", slots);
  dynaquant::init_embedding(env, exports);
  dynaquant::init_kernels(env, exports);
  dynaquant::init_linear(env, exports);
  dynaquant::init_random(env, exports);
  dynaquant::init_rnn(env, exports);
  dynaquant::init_threads(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(dynaquant, init)
