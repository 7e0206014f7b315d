// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "engine/attention.h"
#include "engine/float_product.h"

namespace dynaquant {
namespace {

enum ProductWord : std::size_t {
  kProductRows = kOwnWords,
  kProductDepth,
  kProductColumns,
  kProductTransposed
};
static_assert(kProductTransposed < kWords, "there is no such word");

// Reads the dimensions of the batch: [size, a_step, b_step] for each, or undefined for none.
void batch_argument(Napi::Env env, const Napi::Value& value, FloatProduct& product) {
  product.batch_dims = 0;
  if (value.IsUndefined()) return;
  const Span<double> span = typed_array<double>(env, value, "batch");
  if (span.size > 3 * kMaxBatchDims) throw_range_error(env, "batch is too long");
  for (std::size_t i = 0; i + 2 < span.size; i += 3) {
    const auto number = [&](std::size_t j) { return size_number(env, span.data[i + j], "batch"); };
    product.batch[product.batch_dims++] = {number(0), number(1), number(2)};
  }
}

// Floats from the first to the last element that the matrices of the batch have.
std::size_t extent(const FloatProduct& wanted, std::size_t BatchDim::* step, std::size_t matrix) {
  std::size_t last = matrix;
  for (std::size_t i = 0; i < wanted.batch_dims; ++i) {
    const BatchDim& dim = wanted.batch[i];
    if (dim.size == 0) return 0;
    last = sum({last, product({dim.size - 1, dim.*step})});
  }
  return last;
}

// multiplyFloats(a, b, out, bias, batch): status
Napi::Value multiply_floats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  FloatProduct wanted;
  wanted.rows = call.size(kProductRows, "rows");
  wanted.depth = call.size(kProductDepth, "depth");
  wanted.columns = call.size(kProductColumns, "columns");
  wanted.transposed = call.number(kProductTransposed) != 0;
  batch_argument(env, info[4], wanted);
  std::size_t results = product({wanted.rows, wanted.columns});
  for (std::size_t i = 0; i < wanted.batch_dims; ++i) {
    results = product({results, wanted.batch[i].size});
  }
  wanted.a =
      call.floats(0, "a", extent(wanted, &BatchDim::a_step, product({wanted.rows, wanted.depth})));
  wanted.b = call.floats(
      1, "b", extent(wanted, &BatchDim::b_step, product({wanted.depth, wanted.columns})));
  wanted.out = call.floats(2, "out", results);
  wanted.bias = call.optional_floats(3, "bias", wanted.columns);
  return status_value(env,
                      with_memory(env, [&] { return multiply(selected_kernels(env), wanted); }));
}

// Rows in each head of each batch.
struct HeadRows {
  std::size_t batch;
  std::size_t heads;
  std::size_t rows;
  std::size_t features;  // of a row
};

HeadSteps steps_argument(NumberReader& geometry) {
  const std::size_t batch = geometry.size(), head = geometry.size();
  return {batch, head, geometry.size()};
}

// The address of the first row, if all of them are inside the array. Takes the offset and the steps
// from the geometry.
float* heads_argument(Napi::Env env, const Napi::Value& value, const char* name,
                      const HeadRows& wanted, NumberReader& geometry, HeadSteps& steps) {
  const std::size_t offset = geometry.size();
  steps = steps_argument(geometry);
  const Span<float> span = typed_array<float>(env, value, name);
  const std::size_t end = sum({offset, product({wanted.batch - 1, steps.batch}),
                               product({wanted.heads - 1, steps.head}),
                               product({wanted.rows - 1, steps.row}), wanted.features});
  if (end > span.size) throw_range_error(env, name, "is too short");
  return span.data + offset;
}

// attend(q, k, v, mask, out, weights, geometry): status. `mask` and `weights` may be null. The
// geometry is the sizes, the scale, whether it is causal, and offset, batch, head and row step of
// q, k, v, out and the mask.
Napi::Value attend(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  NumberReader geometry(env, info[6], "geometry");
  Attention wanted = {};
  AttentionSizes& sizes = wanted.sizes;
  for (std::size_t* size : {&sizes.batch, &sizes.heads, &sizes.group, &sizes.queries, &sizes.keys,
                            &sizes.features, &sizes.value_features}) {
    *size = geometry.size();
  }
  if (sizes.batch == 0 || sizes.heads == 0 || sizes.queries == 0 || sizes.keys == 0 ||
      sizes.group == 0 || sizes.heads % sizes.group != 0) {
    throw_range_error(env, "a size is out of range");
  }
  wanted.scale = static_cast<float>(geometry.number());
  wanted.causal = geometry.number() != 0;
  const std::size_t batch = sizes.batch, shared = sizes.heads / sizes.group;
  const HeadRows queries = {batch, sizes.heads, sizes.queries, sizes.features};
  const HeadRows keys = {batch, shared, sizes.keys, sizes.features};
  const HeadRows values = {batch, shared, sizes.keys, sizes.value_features};
  const HeadRows mask = {batch, sizes.heads, sizes.queries, sizes.keys};
  const HeadRows results = {batch, sizes.heads, sizes.queries, sizes.value_features};
  wanted.q = heads_argument(env, info[0], "q", queries, geometry, wanted.q_steps);
  wanted.k = heads_argument(env, info[1], "k", keys, geometry, wanted.k_steps);
  wanted.v = heads_argument(env, info[2], "v", values, geometry, wanted.v_steps);
  wanted.out = heads_argument(env, info[4], "out", results, geometry, wanted.out_steps);
  if (!info[3].IsNull()) {
    wanted.mask = heads_argument(env, info[3], "mask", mask, geometry, wanted.mask_steps);
  }
  wanted.weights = optional_array<float>(
      env, info[5], "weights", product({sizes.batch, sizes.heads, sizes.queries, sizes.keys}));
  return status_value(
      env, with_memory(env, [&] { return dynaquant::attend(selected_kernels(env), wanted); }));
}

}  // namespace

void init_matrix(Napi::Env env, Napi::Object exports) {
  exports.Set("multiplyFloats", Napi::Function::New<multiply_floats>(env));
  exports.Set("attend", Napi::Function::New<attend>(env));
  add_words(exports, {{"productRows", kProductRows},
                      {"productDepth", kProductDepth},
                      {"productColumns", kProductColumns},
                      {"productTransposed", kProductTransposed}});
}

}  // namespace dynaquant
