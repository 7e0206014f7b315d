// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "engine/embedding.h"

namespace dynaquant {
namespace {

enum TableWord : std::size_t { kTableBits = kOwnWords, kTableWidth, kBagMode, kBagPadding };
static_assert(kBagPadding < kWords, "there is no such word");

int checked_bits(Napi::Env env, double bits) {
  if (bits != 4 && bits != 8) throw_range_error(env, "bits is neither 4 nor 8");
  return static_cast<int>(bits);
}

// Argument 0 is a Float32Array and argument 1 null, or they are a Uint8Array and its affines. The
// words hold the bits (32 for floats, 8 or 4) and the width.
EmbeddingTable table_argument(const Napi::CallbackInfo& info, const CallReader& call) {
  const Napi::Env env = info.Env();
  const std::size_t width = call.size(kTableWidth, "width");
  if (width == 0) throw_range_error(env, "width is 0");
  if (info[1].IsNull()) {
    const Span<float> table = typed_array<float>(env, info[0], "table");
    return {table.data, nullptr, 32, table.size / width, width};
  }
  const Span<float> affines = typed_array<float>(env, info[1], "affines");
  const std::size_t rows = affines.size / 2, count = product({rows, width});
  const int bits = checked_bits(env, call.number(kTableBits));
  const std::size_t bytes = bits == 8 ? count : count / 2 + count % 2;
  return {typed_array<std::uint8_t>(env, info[0], "table", bytes), affines.data, bits, rows, width};
}

Indices indices_argument(Napi::Env env, const Napi::Value& value, const EmbeddingTable& table) {
  const Span<std::int32_t> span = typed_array<std::int32_t>(env, value, "indices");
  const Indices indices = {span.data, span.size};
  if (!all_inside(indices, table.rows)) {
    throw_range_error(env, "an index is outside the table");
  }
  return indices;
}

// The bounds of the bags, one more than there are bags. They rise, from at least 0 to at most the
// number of indices.
Span<double> bounds_argument(Napi::Env env, const Napi::Value& value, const Indices& indices) {
  const Span<double> bounds = typed_array<double>(env, value, "bounds");
  if (bounds.size == 0) throw_range_error(env, "bounds is empty");
  double before = 0;
  for (std::size_t i = 0; i < bounds.size; ++i) {
    if (!(bounds.data[i] >= before) || bounds.data[i] > static_cast<double>(indices.count)) {
      throw_range_error(env, "bounds do not rise within the indices");
    }
    before = bounds.data[i];
  }
  return bounds;
}

// embeddingLookup(table, affines, indices, out)
void embedding_lookup(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const EmbeddingTable table = table_argument(info, CallReader(info));
  const Indices indices = indices_argument(env, info[2], table);
  float* out = typed_array<float>(env, info[3], "out", product({indices.count, table.width}));
  lookup(selected_kernels(env), table, indices, out);
}

// embeddingBag(table, affines, indices, bounds, weights, out); the words hold the mode and the
// index that is left out, or -1
void embedding_bag(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  const EmbeddingTable table = table_argument(info, call);
  const Indices indices = indices_argument(env, info[2], table);
  const Span<double> bounds = bounds_argument(env, info[3], indices);
  const std::size_t mode = call.size(kBagMode, "mode");
  if (mode > 2) throw_range_error(env, "mode is not 0, 1 or 2");
  const double padding = call.number(kBagPadding);
  if (!(padding >= -1 && padding <= std::numeric_limits<std::int32_t>::max())) {
    throw_range_error(env, "padding is no index");
  }
  const Bags bags = {bounds.data, bounds.size - 1, static_cast<BagMode>(mode),
                     optional_array<float>(env, info[4], "weights", indices.count),
                     static_cast<std::int32_t>(padding)};
  float* out = typed_array<float>(env, info[5], "out", product({bags.count, table.width}));
  lookup_bags(selected_kernels(env), table, indices, bags, out);
}

// quantizeTable(weight, width, bits, out, scales, zeroPoints): boolean, false if a weight or a
// range is not finite
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t width = size_argument(env, info[1], "width");
  const int bits = checked_bits(env, static_cast<double>(size_argument(env, info[2], "bits")));
  const Span<float> weight = typed_array<float>(env, info[0], "weight");
  if (width == 0 || weight.size % width != 0) {
    throw_range_error(env, "weight and width do not agree");
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
  add_words(exports, {{"tableBits", kTableBits},
                      {"tableWidth", kTableWidth},
                      {"bagMode", kBagMode},
                      {"bagPadding", kBagPadding}});
}

}  // namespace dynaquant
