// SPDX-License-Identifier: MIT
// Errors that JavaScript gets. They are made by functions, because making one takes 200 bytes of
// code, and there are many places that throw.
#ifndef DYNAQUANT_BINDINGS_ERRORS_H_
#define DYNAQUANT_BINDINGS_ERRORS_H_

#include <napi.h>

#include <new>

#include "engine/aligned_buffer.h"

namespace dynaquant {

[[noreturn]] void throw_error(Napi::Env env, const char* message);
[[noreturn]] void throw_type_error(Napi::Env env, const char* message);
[[noreturn]] void throw_range_error(Napi::Env env, const char* message);
// Of an argument: its name, and what is wrong with it.
[[noreturn]] void throw_type_error(Napi::Env env, const char* name, const char* fault);
[[noreturn]] void throw_range_error(Napi::Env env, const char* name, const char* fault);

// The RangeError that a user reads. `bytes` could not be had; 0 if that is unknown.
[[noreturn]] void throw_memory_error(Napi::Env env, double bytes);

// Returns what `body` does. Memory that it cannot get becomes that error, because only native code
// knows how much it wanted.
template <typename Body>
auto with_memory(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const OutOfMemory& error) {
    throw_memory_error(env, error.bytes());
  } catch (const std::bad_alloc&) {
    throw_memory_error(env, 0);
  }
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ERRORS_H_
