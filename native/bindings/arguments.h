// SPDX-License-Identifier: MIT
// Reads arguments. TypeScript has checked them already and speaks to the user. These checks only
// keep a mistake above from becoming a wild read, so their sentences are short.
#ifndef DYNAQUANT_BINDINGS_ARGUMENTS_H_
#define DYNAQUANT_BINDINGS_ARGUMENTS_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "bindings/errors.h"

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

// The product or, if it overflows, more than any array can hold.
inline std::size_t product(std::initializer_list<std::size_t> factors) {
  std::size_t result = 1;
  for (const std::size_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result)) {
      return std::numeric_limits<std::size_t>::max();
    }
  }
  return result;
}

// The sum or, if it overflows, more than any array can hold.
inline std::size_t sum(std::initializer_list<std::size_t> terms) {
  std::size_t result = 0;
  for (const std::size_t term : terms) {
    if (__builtin_add_overflow(result, term, &result)) {
      return std::numeric_limits<std::size_t>::max();
    }
  }
  return result;
}

// The typed array of this type that `value` is.
Span<void> typed_array_of(Napi::Env env, napi_value value, const char* name,
                          napi_typedarray_type wanted);
[[noreturn]] void throw_length(Napi::Env env, const char* name, std::size_t length,
                               std::size_t wanted);

template <typename Element>
Span<Element> typed_array(Napi::Env env, napi_value value, const char* name) {
  const Span<void> span = typed_array_of(env, value, name, typed_array_type<Element>());
  return {static_cast<Element*>(span.data), span.size};
}

// The memory of an array of exactly `size` elements.
template <typename Element>
Element* typed_array(Napi::Env env, napi_value value, const char* name, std::size_t size) {
  const Span<Element> span = typed_array<Element>(env, value, name);
  if (span.size != size) throw_length(env, name, span.size, size);
  return span.data;
}

// Null for null and undefined.
template <typename Element>
Element* optional_array(Napi::Env env, const Napi::Value& value, const char* name,
                        std::size_t size) {
  if (value.IsNull() || value.IsUndefined()) return nullptr;
  return typed_array<Element>(env, value, name, size);
}

// Larger sizes could not be counted exactly by JavaScript.
constexpr double kLargestInteger = 9007199254740991.0;
// No layer has a larger dimension, so that sums and small multiples of dimensions cannot overflow.
constexpr std::size_t kLargestDimension = std::size_t{1} << (sizeof(std::size_t) == 8 ? 40 : 24);

inline std::size_t size_number(Napi::Env env, double number, const char* name) {
  if (number >= 0 && number <= kLargestInteger) {
    const std::size_t size = static_cast<std::size_t>(number);
    if (static_cast<double>(size) == number) return size;
  }
  throw_type_error(env, name, "is not a size");
}

inline std::size_t size_argument(Napi::Env env, napi_value value, const char* name) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) number = -1;
  return size_number(env, number, name);
}

// Reads the numbers of a Float64Array in turn.
class NumberReader {
 public:
  NumberReader(Napi::Env env, const Napi::Value& value, const char* name)
      : env_(env), name_(name), numbers_(typed_array<double>(env, value, name)) {}

  double number() {
    if (next_ == numbers_.size) throw_range_error(env_, name_, "is too short");
    return numbers_.data[next_++];
  }
  std::size_t size() { return size_number(env_, number(), name_); }

 private:
  Napi::Env env_;
  const char* name_;
  Span<double> numbers_;
  std::size_t next_ = 0;
};

// A size that is at least `least`, and not larger than a dimension may be.
inline std::size_t size_from(Napi::Env env, std::size_t least, double number, const char* name) {
  const std::size_t size = size_number(env, number, name);
  if (size < least || size > kLargestDimension) {
    throw_range_error(env, name, "is out of range");
  }
  return size;
}

// A dimension that a layer cannot do without: at least 1.
inline std::size_t dimension_argument(Napi::Env env, napi_value value, const char* name) {
  return size_from(env, 1, static_cast<double>(size_argument(env, value, name)), name);
}

inline float float_argument(Napi::Env env, napi_value value, const char* name) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    throw_type_error(env, name, "is not a number");
  }
  return static_cast<float>(number);
}

inline Napi::Object object_argument(Napi::Env env, const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw_type_error(env, name, "is not an object");
  return value.As<Napi::Object>();
}

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ARGUMENTS_H_
