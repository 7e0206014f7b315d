// SPDX-License-Identifier: MIT
#include <napi.h>

#include "bindings/environment.h"
#include "kernels/dispatch.h"

namespace dynaquant {

// What each bindings file adds to the addon.
using Init = void(Napi::Env env, Napi::Object exports);
Init init_async, init_call, init_convolution, init_elementwise, init_embedding, init_encoder_layer,
    init_kernels, init_linear, init_matrix, init_pooling, init_random, init_rearrange, init_reduce,
    init_rnn, init_streams, init_threads;
#ifndef DYNAQUANT_NO_TEST_DOORS
Init init_test_doors;
#endif

namespace {

#define STRING_OF(tokens) #tokens
#define STRING(macro) STRING_OF(macro)

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const KernelTable* tables[kMaxTables];
  supported_tables(tables);
  env.SetInstanceData(new AddonData{tables[0]});
  for (Init* add :
       {init_async, init_call, init_convolution, init_elementwise, init_embedding,
        init_encoder_layer, init_kernels, init_linear, init_matrix, init_pooling, init_random,
        init_rearrange, init_reduce, init_rnn, init_streams, init_threads}) {
    add(env, exports);
  }
#ifndef DYNAQUANT_NO_TEST_DOORS
  init_test_doors(env, exports);
#endif
  exports.Set("version", STRING(DYNAQUANT_VERSION));  // package.json's
  return exports;
}

}  // namespace

NODE_API_MODULE(dynaquant, init)

}  // namespace dynaquant
