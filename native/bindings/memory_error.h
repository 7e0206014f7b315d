// SPDX-License-Identifier: MIT
// What JavaScript gets when memory cannot be had.
#ifndef DYNAQUANT_BINDINGS_MEMORY_ERROR_H_
#define DYNAQUANT_BINDINGS_MEMORY_ERROR_H_

#include <napi.h>

#include <new>
#include <string>

#include "engine/aligned_buffer.h"

namespace dynaquant {

// Returns what `body` does. Memory that it cannot get becomes the RangeError that a user reads,
// because only native code knows how much it wanted.
template <typename Body>
auto with_memory(Napi::Env env, const Body& body) -> decltype(body()) {
  std::string size = "more memory";
  try {
    return body();
  } catch (const OutOfMemory& error) {
    size = std::to_string(static_cast<unsigned long long>(error.bytes())) + " bytes";
  } catch (const std::bad_alloc&) {
  }
  Napi::Error error = Napi::RangeError::New(env, "cannot allocate " + size);
  error.Set("code", "ERR_TOO_LARGE");
  throw error;
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_MEMORY_ERROR_H_
