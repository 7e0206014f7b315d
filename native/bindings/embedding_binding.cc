// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "engine/embedding.h"

namespace dynaquant {
namespace {

int bits_argument(Napi::Env env, napi_value value) {
  const std::size_t bits = size_argument(env, value, "bits");
  if (bits != 4 && bits != 8) throw Napi::RangeError::New(env, "bits is neither 4 nor 8");
  return static_cast<int>(bits);
}

// Arguments 0 to 3: a Float32Array, null, 32, width; or a Uint8Array, affines, 8 or 4, width.
EmbeddingTable table_argument(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t width = size_argument(env, info[3], "width");
  if (width == 0) throw Napi::RangeError::New(env, "width is 0");
  if (info[1].IsNull()) {
    const Span<float> table = typed_array<float>(env, info[0], "table");
    return {table.data, nullptr, 32, table.size / width, width};
  }
  const Span<float> affines = typed_array<float>(env, info[1], "affines");
  const std::size_t rows = affines.size / 2, count = product({rows, width});
  const int bits = bits_argument(env, info[2]);
  const std::size_t bytes = bits == 8 ? count : count / 2 + count % 2;
  return {typed_array<std::uint8_t>(env, info[0], "table", bytes), affines.data, bits, rows, width};
}

Indices indices_argument(Napi::Env env, const Napi::Value& value, const EmbeddingTable& table) {
  const Span<std::int32_t> span = typed_array<std::int32_t>(env, value, "indices");
  const Indices indices = {span.data, span.size};
  if (!all_inside(indices, table.rows)) {
    throw Napi::RangeError::New(env, "an index is outside the table");
  }
  return indices;
}

// embeddingLookup(table, affines, bits, width, indices, out)
void embedding_lookup(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const EmbeddingTable table = table_argument(info);
  const Indices indices = indices_argument(env, info[4], table);
  float* out = typed_array<float>(env, info[5], "out", product({indices.count, table.width}));
  lookup(selected_kernels(env), table, indices, out);
}

// embeddingBag(table, affines, bits, width, indices, out, bounds, mode, weights, padding)
void embedding_bag(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const EmbeddingTable table = table_argument(info);
  const Indices indices = indices_argument(env, info[4], table);
  const Span<double> bounds = typed_array<double>(env, info[6], "bounds");
  if (bounds.size == 0) throw Napi::RangeError::New(env, "bounds is empty");
  double before = 0;
  for (std::size_t i = 0; i < bounds.size; ++i) {
    if (!(bounds.data[i] >= before) || bounds.data[i] > static_cast<double>(indices.count)) {
      throw Napi::RangeError::New(env, "bounds do not rise within the indices");
    }
    before = bounds.data[i];
  }
  const std::size_t mode = size_argument(env, info[7], "mode");
  if (mode > 2) throw Napi::RangeError::New(env, "mode is not 0, 1 or 2");
  const Bags bags = {bounds.data, bounds.size - 1, static_cast<BagMode>(mode),
                     optional_array<float>(env, info[8], "weights", indices.count),
                     info[9].ToNumber().Int32Value()};
  float* out = typed_array<float>(env, info[5], "out", product({bags.count, table.width}));
  lookup_bags(selected_kernels(env), table, indices, bags, out);
}

// quantizeTable(weight, width, bits, out, scales, zeroPoints): boolean, false where a weight or a
// range is not finite
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  const std::size_t width = size_argument(env, info[1], "width");
  const int bits = bits_argument(env, info[2]);
  if (width == 0 || weight.size % width != 0) {
    throw Napi::RangeError::New(env, "weight and width do not agree");
  }
  const std::size_t rows = weight.size / width;
  const std::size_t bytes = bits == 8 ? weight.size : weight.size / 2 + weight.size % 2;
  std::uint8_t* out = typed_array<std::uint8_t>(env, info[3], "out", bytes);
  float* scales = typed_array<float>(env, info[4], "scales", rows);
  float* zero_points = typed_array<float>(env, info[5], "zeroPoints", rows);
  return Napi::Boolean::New(
      env, quantize_table(weight.data, rows, width, {bits, out, scales, zero_points}));
}

}  // namespace

void init_embedding(Napi::Env env, Napi::Object exports) {
  exports.Set("embeddingLookup", Napi::Function::New<embedding_lookup>(env));
  exports.Set("embeddingBag", Napi::Function::New<embedding_bag>(env));
  exports.Set("quantizeTable", Napi::Function::New<quantize>(env));
}

}  // namespace dynaquant
