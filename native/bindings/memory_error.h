// SPDX-License-Identifier: MIT
// What JavaScript gets when memory cannot be had.
#ifndef DYNAQUANT_BINDINGS_MEMORY_ERROR_H_
#define DYNAQUANT_BINDINGS_MEMORY_ERROR_H_

#include <napi.h>

#include <new>
#include <string>

#include "engine/aligned_buffer.h"

namespace dynaquant {

// The RangeError that a user reads.
inline Napi::Error memory_error(Napi::Env env, const std::string& what) {
  Napi::Error error = Napi::RangeError::New(env, "cannot allocate " + what);
  error.Set("code", "ERR_TOO_LARGE");
  return error;
}

// Returns what `body` does. Memory that it cannot get becomes that error,
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
  throw memory_error(env, size);
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_MEMORY_ERROR_H_
