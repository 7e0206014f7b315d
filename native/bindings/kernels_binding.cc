// SPDX-License-Identifier: MIT
// The choice of instruction set, and the quantization of weights.
#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "engine/quantize.h"
#include "kernels/dispatch.h"

namespace dynaquant {
namespace {

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
  if (table != nullptr) addon_data(info.Env()).kernels = table;
  return Napi::Boolean::New(info.Env(), table != nullptr);
}

// quantizeWeight(weight, rows, out, scales): boolean, false if a weight is not finite
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  const std::size_t rows = size_argument(env, info[1], "rows");
  std::int8_t* out = typed_array<std::int8_t>(env, info[2], "out", weight.size);
  const Span<float> scales = typed_array<float>(env, info[3], "scales");
  if (rows == 0 || weight.size % rows != 0 || (scales.size != 1 && scales.size != rows)) {
    throw_range_error(env, "rows, weight and scales do not agree");
  }
  return Napi::Boolean::New(
      env, quantize_weight(weight.data, rows, weight.size / rows, scales.size, out, scales.data));
}

// quantizeHalf(weight, out): boolean, false if a weight is not finite
Napi::Value to_half(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  std::uint16_t* out = typed_array<std::uint16_t>(env, info[1], "out", weight.size);
  return Napi::Boolean::New(env, quantize_half(weight.data, weight.size, out));
}

}  // namespace

void init_kernels(Napi::Env env, Napi::Object exports) {
  exports.Set("isas", Napi::Function::New<isas>(env));
  exports.Set("isa", Napi::Function::New<isa>(env));
  exports.Set("selectIsa", Napi::Function::New<select_isa>(env));
  exports.Set("quantizeWeight", Napi::Function::New<quantize>(env));
  exports.Set("quantizeHalf", Napi::Function::New<to_half>(env));
}

}  // namespace dynaquant
