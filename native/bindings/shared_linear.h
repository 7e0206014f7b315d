// SPDX-License-Identifier: MIT
// Linears by number, for calls that run several of them.
#ifndef DYNAQUANT_BINDINGS_SHARED_LINEAR_H_
#define DYNAQUANT_BINDINGS_SHARED_LINEAR_H_

#include <napi.h>

#include <cstdint>
#include <memory>

#include "engine/encoder_layer.h"

namespace dynaquant {

// A Linear, and what keeps it alive.
struct SharedLinear {
  AnyLinear linear;
  std::shared_ptr<const void> owner;
};

// The Linear, of whatever weights, that a handle shares under this number: see Handle.
SharedLinear shared_linear(Napi::Env env, std::uint64_t number);

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_SHARED_LINEAR_H_
