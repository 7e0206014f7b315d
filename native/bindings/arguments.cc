// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"

#include <string>

namespace dynaquant {

Span<void> typed_array_of(Napi::Env env, napi_value value, const char* name,
                          napi_typedarray_type wanted) {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
  const napi_status status =
      napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr);
  // Where arrays are copied (wasm/glue.mjs). No other implementation has this failure.
  if (status == napi_generic_failure) throw_memory_error(env, 0);
  if (status != napi_ok || type != wanted) {
    throw_type_error(env, name, "is not the typed array it should be");
  }
  return {data, length};
}

void throw_length(Napi::Env env, const char* name, std::size_t length, std::size_t wanted) {
  const std::string fault = "has " + std::to_string(length) + " elements instead of ";
  throw_range_error(env, name, (fault + std::to_string(wanted)).c_str());
}

}  // namespace dynaquant
