// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "engine/rearrange.h"

namespace dynaquant {
namespace {

// The memory of an array with elements of 4 bytes, or of 8, which are two of 4.
Span<float> elements(Napi::Env env, napi_value value, const char* name) {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) == napi_ok) {
    if (type == napi_float32_array || type == napi_int32_array) {
      return {static_cast<float*>(data), length};
    }
    if (type == napi_float64_array || type == napi_bigint64_array) {
      return {static_cast<float*>(data), 2 * length};
    }
  }
  throw_type_error(env, name, "has no elements of 4 or 8 bytes");
}

std::ptrdiff_t step(Napi::Env env, double number, const char* name) {
  const double size = static_cast<double>(size_number(env, number < 0 ? -number : number, name));
  return static_cast<std::ptrdiff_t>(number < 0 ? -size : size);
}

// Refuses indices outside of an array. Steps back are taken from where the walk begins.
class Extent {
 public:
  explicit Extent(double begin) : least_(begin), most_(begin) {}
  void add(double size, double step) { (step < 0 ? least_ : most_) += (size - 1) * step; }
  void check(Napi::Env env, std::size_t size, const char* name) const {
    if (least_ >= 0 && most_ < static_cast<double>(size)) return;
    throw_range_error(env, name, "is too short");
  }

 private:
  double least_;
  double most_;
};

// rearrange(in, out, layout): status. The layout is the number of dimensions, where the walk begins
// in `in` and in `out`, then of each dimension its size and its steps in both.
Napi::Value move_elements(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> in = elements(env, info[0], "in"), out = elements(env, info[1], "out");
  const Span<double> layout = typed_array<double>(env, info[2], "layout");
  if (layout.size != 3 + 3 * kMaxDims) throw_range_error(env, "layout is too short");
  const double* word = layout.data;
  const std::size_t rank = size_number(env, word[0], "rank");
  if (rank > kMaxDims) throw_range_error(env, "there are too many dimensions");
  const std::size_t in_begin = size_number(env, word[1], "in's begin");
  const std::size_t out_begin = size_number(env, word[2], "out's begin");
  Extent in_extent(word[1]), out_extent(word[2]);
  MovedDim dims[kMaxDims];
  for (std::size_t i = 0; i < rank; ++i) {
    word += 3;
    dims[i] = {size_number(env, word[0], "size"), step(env, word[1], "in's step"),
               step(env, word[2], "out's step")};
    if (dims[i].size == 0 || dims[i].out == 0) throw_range_error(env, "a dim is empty");
    in_extent.add(word[0], word[1]);
    out_extent.add(word[0], word[2]);
  }
  in_extent.check(env, in.size, "in");
  out_extent.check(env, out.size, "out");
  return status_value(
      env, rearrange(selected_kernels(env), in.data + in_begin, dims, rank, out.data + out_begin));
}

}  // namespace

void init_rearrange(Napi::Env env, Napi::Object exports) {
  exports.Set("rearrange", Napi::Function::New<move_elements>(env));
  exports.Set("mostMovedDims", static_cast<double>(kMaxDims));
}

}  // namespace dynaquant
