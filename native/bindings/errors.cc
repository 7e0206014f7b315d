// SPDX-License-Identifier: MIT
#include "bindings/errors.h"

#include <string>

namespace dynaquant {

void throw_error(Napi::Env env, const char* message) { throw Napi::Error::New(env, message); }
void throw_type_error(Napi::Env env, const char* message) {
  throw Napi::TypeError::New(env, message);
}
void throw_range_error(Napi::Env env, const char* message) {
  throw Napi::RangeError::New(env, message);
}
void throw_type_error(Napi::Env env, const char* name, const char* fault) {
  throw_type_error(env, (std::string(name) + ' ' + fault).c_str());
}
void throw_range_error(Napi::Env env, const char* name, const char* fault) {
  throw_range_error(env, (std::string(name) + ' ' + fault).c_str());
}

void throw_memory_error(Napi::Env env, double bytes) {
  const std::string wanted =
      bytes == 0 ? "more memory"
                 : std::to_string(static_cast<unsigned long long>(bytes)) + " bytes";
  Napi::Error error = Napi::RangeError::New(env, "cannot allocate " + wanted);
  error.Set("code", "ERR_TOO_LARGE");
  throw error;
}

}  // namespace dynaquant
