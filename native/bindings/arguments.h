// SPDX-License-Identifier: MIT
// Reads arguments. TypeScript has checked them already and speaks to the user; these checks only
// keep a mistake above from becoming a wild read, so their sentences are short.
#ifndef DYNAQUANT_BINDINGS_ARGUMENTS_H_
#define DYNAQUANT_BINDINGS_ARGUMENTS_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>

namespace dynaquant {

// A typed array's memory; valid until the call returns, and as long as no JavaScript runs.
template <typename Element>
struct Span {
  Element* data;
  std::size_t size;
};

template <typename Element>
constexpr napi_typedarray_type typed_array_type();
template <>
constexpr napi_typedarray_type typed_array_type<float>() {
  return napi_float32_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<double>() {
  return napi_float64_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<std::int64_t>() {
  return napi_bigint64_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<std::int32_t>() {
  return napi_int32_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<std::int8_t>() {
  return napi_int8_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<std::uint8_t>() {
  return napi_uint8_array;
}
template <>
constexpr napi_typedarray_type typed_array_type<std::uint16_t>() {
  return napi_uint16_array;
}

// The product, or more than any array can hold where it overflows.
inline std::size_t product(std::initializer_list<std::size_t> factors) {
  std::size_t result = 1;
  for (const std::size_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result)) {
      return std::numeric_limits<std::size_t>::max();
    }
  }
  return result;
}

// The same of the sum.
inline std::size_t sum(std::initializer_list<std::size_t> terms) {
  std::size_t result = 0;
  for (const std::size_t term : terms) {
    if (__builtin_add_overflow(result, term, &result)) {
      return std::numeric_limits<std::size_t>::max();
    }
  }
  return result;
}

template <typename Element>
Span<Element> typed_array(Napi::Env env, napi_value value, const char* name) {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
  const napi_status status =
      napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != typed_array_type<Element>()) {
    throw Napi::TypeError::New(env, std::string(name) + " is not the typed array it should be");
  }
  return {static_cast<Element*>(data), length};
}

// The memory of a span that is to have `size` elements.
template <typename Element>
Element* checked(Napi::Env env, const Span<Element>& span, const char* name, std::size_t size) {
  if (span.size != size) {
    throw Napi::RangeError::New(env, std::string(name) + " has " + std::to_string(span.size) +
                                         " elements instead of " + std::to_string(size));
  }
  return span.data;
}

template <typename Element>
Element* typed_array(Napi::Env env, napi_value value, const char* name, std::size_t size) {
  return checked(env, typed_array<Element>(env, value, name), name, size);
}

// Null for null and undefined.
template <typename Element>
Element* optional_array(Napi::Env env, const Napi::Value& value, const char* name,
                        std::size_t size) {
  if (value.IsNull() || value.IsUndefined()) return nullptr;
  return typed_array<Element>(env, value, name, size);
}

inline std::size_t size_number(Napi::Env env, double number, const char* name) {
  if (!(number >= 0) || number > 9007199254740991.0) {
    throw Napi::TypeError::New(env, std::string(name) + " is not a size");
  }
  return static_cast<std::size_t>(number);
}

inline std::size_t size_argument(Napi::Env env, napi_value value, const char* name) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) number = -1;
  return size_number(env, number, name);
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ARGUMENTS_H_
