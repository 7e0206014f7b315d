// SPDX-License-Identifier: MIT
// The choice of instruction set, the quantization formulas, elementwise activations, and the
// private door through which the tests call single kernels.
#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "engine/matrix.h"
#include "engine/quantize.h"
#include "kernels/choose_params.h"
#include "kernels/dispatch.h"

namespace dynaquant {
namespace {

float float_argument(Napi::Env env, napi_value value, const char* name) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    throw Napi::TypeError::New(env, std::string(name) + " is not a number");
  }
  return static_cast<float>(number);
}

// The tail of a typed array from an element on, and how much of it there is: tests place matrices
// at odd addresses between guard bytes.
template <typename Element>
Element* at_offset(Napi::Env env, const Napi::Value& array, const Napi::Value& offset,
                   std::size_t needed, const char* name) {
  const Span<Element> span = typed_array<Element>(env, array, name);
  const std::size_t start = size_argument(env, offset, name);
  if (start > span.size || needed > span.size - start) {
    throw Napi::RangeError::New(env, std::string(name) + " is too short");
  }
  return span.data + start;
}

std::size_t extent(std::size_t rows, std::size_t stride, std::size_t columns) {
  return rows == 0 ? 0 : product({rows - 1, stride}) + columns;
}

// isas(): string[], those this machine can run, best first
Napi::Value isas(const Napi::CallbackInfo& info) {
  const KernelTable* tables[kMaxTables];
  const std::size_t count = supported_tables(tables);
  Napi::Array names = Napi::Array::New(info.Env(), count);
  for (std::size_t i = 0; i < count; ++i) names[static_cast<std::uint32_t>(i)] = tables[i]->name;
  return names;
}

// isa(): string, the one that handles built from now on use
Napi::Value isa(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), selected_kernels(info.Env()).name);
}

// selectIsa(name): boolean, whether there is such a one here
Napi::Value select_isa(const Napi::CallbackInfo& info) {
  const KernelTable* table = find_table(info[0].ToString().Utf8Value().c_str());
  if (table != nullptr) info.Env().GetInstanceData<AddonData>()->kernels = table;
  return Napi::Boolean::New(info.Env(), table != nullptr);
}

// chooseQuantizationParams(min, max, reduceRange): [scale, zeroPoint]
Napi::Value chosen_params(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ActivationMode mode = {false, info[2].ToBoolean()};
  const ChosenParams params = choose_params(float_argument(env, info[0], "min"),
                                            float_argument(env, info[1], "max"), mode.levels());
  Napi::Array result = Napi::Array::New(env, 2);
  result[0u] = params.scale;
  result[1u] = params.zero_point;
  return result;
}

// quantizeWeight(weight, rows, out, scales): boolean, false where a weight is not finite
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  const std::size_t rows = size_argument(env, info[1], "rows");
  std::int8_t* out = typed_array<std::int8_t>(env, info[2], "out", weight.size);
  const Span<float> scales = typed_array<float>(env, info[3], "scales");
  if (rows == 0 || weight.size % rows != 0 || (scales.size != 1 && scales.size != rows)) {
    throw Napi::RangeError::New(env, "rows, weight and scales do not agree");
  }
  return Napi::Boolean::New(
      env, quantize_weight(weight.data, rows, weight.size / rows, scales.size, out, scales.data));
}

// quantizeHalf(weight, out): boolean, false where a weight is not finite
Napi::Value to_half(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  std::uint16_t* out = typed_array<std::uint16_t>(env, info[1], "out", weight.size);
  return Napi::Boolean::New(env, quantize_half(weight.data, weight.size, out));
}

template <void (*KernelTable::*kernel)(const float*, std::size_t, float*)>
void elementwise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> x = typed_array<float>(env, info[0], "x");
  float* out = typed_array<float>(env, info[1], "out", x.size);
  (selected_kernels(env).*kernel)(x.data, x.size, out);
}

// testRange(x, offset, rows, columns, stride): [min, max, finite]
Napi::Value test_range(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t rows = size_argument(env, info[2], "rows");
  const std::size_t columns = size_argument(env, info[3], "columns");
  const std::size_t stride = size_argument(env, info[4], "stride");
  const float* x = at_offset<float>(env, info[0], info[1], extent(rows, stride, columns), "x");
  RangeLanes range = {};
  const bool finite = selected_kernels(env).range({x, stride}, rows, columns, &range, 0);
  Napi::Array result = Napi::Array::New(env, 3);
  result[0u] = *std::min_element(range.min, range.min + kPanelColumns);
  result[1u] = *std::max_element(range.max, range.max + kPanelColumns);
  result[2u] = Napi::Boolean::New(env, finite);
  return result;
}

// testQuantize(x, offset, rows, columns, stride, inverseScale, zeroPoint, out, outOffset,
// outStride)
void test_quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t rows = size_argument(env, info[2], "rows");
  const std::size_t columns = size_argument(env, info[3], "columns");
  const std::size_t stride = size_argument(env, info[4], "stride");
  const std::size_t out_stride = size_argument(env, info[9], "outStride");
  const std::size_t padded = (columns + 15) / 16 * 16;
  const float* x = at_offset<float>(env, info[0], info[1], extent(rows, stride, columns), "x");
  std::uint8_t* out =
      at_offset<std::uint8_t>(env, info[7], info[8], extent(rows, out_stride, padded), "out");
  float scale = 0, inverse = float_argument(env, info[5], "inverseScale");
  std::int32_t zero_point = info[6].ToNumber().Int32Value();
  const KernelTable& kernels = selected_kernels(env);
  kernels.quantize({x, stride}, rows, columns, {&scale, &inverse, &zero_point, 0}, out, out_stride);
  for (std::size_t row = 0; row < rows; ++row) {  // out of the table's stored form
    for (std::size_t i = 0; i < padded; ++i) {
      std::uint8_t& q = out[row * out_stride + i];
      q = static_cast<std::uint8_t>(q + kernels.stored_offset);
    }
  }
}

}  // namespace

void init_kernels(Napi::Env env, Napi::Object exports) {
  exports.Set("isas", Napi::Function::New<isas>(env));
  exports.Set("isa", Napi::Function::New<isa>(env));
  exports.Set("selectIsa", Napi::Function::New<select_isa>(env));
  exports.Set("chooseQuantizationParams", Napi::Function::New<chosen_params>(env));
  exports.Set("quantizeWeight", Napi::Function::New<quantize>(env));
  exports.Set("quantizeHalf", Napi::Function::New<to_half>(env));
  exports.Set("sigmoid", Napi::Function::New<elementwise<&KernelTable::sigmoid>>(env));
  exports.Set("tanh", Napi::Function::New<elementwise<&KernelTable::tanh>>(env));
  exports.Set("testRange", Napi::Function::New<test_range>(env));
  exports.Set("testQuantize", Napi::Function::New<test_quantize>(env));
}

}  // namespace dynaquant
