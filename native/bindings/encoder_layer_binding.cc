// SPDX-License-Identifier: MIT
#include "engine/encoder_layer.h"

#include <memory>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/async.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "bindings/shared_linear.h"

namespace dynaquant {
namespace {

// The arrays of a call that runs at once, as AsyncArguments reads those of one that does not.
class Arrays {
 public:
  explicit Arrays(const Napi::CallbackInfo& info) : info_(info) {}

  const float* floats(std::size_t i, const char* name, std::size_t size) const {
    return typed_array<float>(info_.Env(), info_[i], name, size);
  }
  const float* optional_floats(std::size_t i, const char* name, std::size_t size) const {
    return optional_array<float>(info_.Env(), info_[i], name, size);
  }

 private:
  const Napi::CallbackInfo& info_;
};

// The arguments of both calls.
enum Argument : std::size_t { kX, kNorms, kMask = kNorms + 4, kOut, kGeometry, kArguments };

struct EncoderCall {
  EncoderLayer layer = {};
  const float* x;
  bool clocked;
  std::vector<std::shared_ptr<const void>> owners;  // of the layer's Linears
};

void check_linear(Napi::Env env, const AnyLinear& linear, std::size_t in, std::size_t out) {
  const bool fits = std::visit(
      [&](const auto* each) { return each->in_features() == in && each->out_features() == out; },
      linear);
  if (!fits) throw_range_error(env, "the Linears have other sizes");
}

// The layer but for its arrays. The geometry is the numbers of the Linears, sizes and options in
// the order of EncoderLayer, the mask's steps, and whether to clock the products.
EncoderCall read_geometry(Napi::Env env, const Napi::Value& value) {
  NumberReader geometry(env, value, "geometry");
  EncoderCall call;
  EncoderLayer& layer = call.layer;
  for (AnyLinear& linear : layer.linears) {
    SharedLinear shared = shared_linear(env, geometry.size());
    linear = shared.linear;
    call.owners.push_back(std::move(shared.owner));
  }
  layer.norm1.eps = static_cast<float>(geometry.number());
  layer.norm2.eps = static_cast<float>(geometry.number());
  layer.norm_first = geometry.number() != 0;
  layer.activation = geometry.number() != 0 ? Unary::kGelu : Unary::kRelu;
  for (std::size_t* size :
       {&layer.batch, &layer.length, &layer.width, &layer.inner, &layer.heads}) {
    *size = size_from(env, 1, geometry.number(), "geometry");
  }
  layer.batch_first = geometry.number() != 0;
  layer.scale = static_cast<float>(geometry.number());
  layer.causal = geometry.number() != 0;
  layer.mask_steps.batch = geometry.size();
  layer.mask_steps.head = geometry.size();
  layer.mask_steps.row = geometry.size();
  call.clocked = geometry.number() != 0;
  if (layer.width % layer.heads != 0) throw_range_error(env, "heads do not divide width");
  check_linear(env, layer.linears[kInProj], layer.width, 3 * layer.width);
  check_linear(env, layer.linears[kOutProj], layer.width, layer.width);
  check_linear(env, layer.linears[kLinear1], layer.width, layer.inner);
  check_linear(env, layer.linears[kLinear2], layer.inner, layer.width);
  return call;
}

std::size_t elements(const EncoderLayer& layer) {
  return product({layer.batch, layer.length, layer.width});
}

template <typename Reader>
EncoderCall read_call(const Napi::CallbackInfo& info, Reader& arrays) {
  EncoderCall call = read_geometry(info.Env(), info[kGeometry]);
  EncoderLayer& layer = call.layer;
  call.x = arrays.floats(kX, "x", elements(layer));
  layer.norm1.weight = arrays.optional_floats(kNorms, "weight", layer.width);
  layer.norm1.bias = arrays.optional_floats(kNorms + 1, "bias", layer.width);
  layer.norm2.weight = arrays.optional_floats(kNorms + 2, "weight", layer.width);
  layer.norm2.bias = arrays.optional_floats(kNorms + 3, "bias", layer.width);
  const HeadSteps& steps = layer.mask_steps;
  const std::size_t mask =
      sum({product({layer.batch - 1, steps.batch}), product({layer.heads - 1, steps.head}),
           product({layer.length - 1, steps.row}), layer.length});
  layer.mask = arrays.optional_floats(kMask, "mask", mask);
  return call;
}

// encodeLayer(x, weight1, bias1, weight2, bias2, mask, out, geometry): status. Weights, biases and
// mask may be null. Where a benchmark made the geometry's last number 1, its first becomes the
// nanoseconds that the products took.
Napi::Value encode_layer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Arrays arrays(info);
  const EncoderCall call = read_call(info, arrays);
  float* out = typed_array<float>(env, info[kOut], "out", elements(call.layer));
  const Span<double> geometry = typed_array<double>(env, info[kGeometry], "geometry");
  double* products = call.clocked ? geometry.data : nullptr;
  return status_value(env, with_memory(env, [&] {
                        return forward(selected_kernels(env), call.layer, call.x, out, products);
                      }));
}

// startEncodeLayer(..., settle): number. See AsyncArguments.
Napi::Value start_encode_layer(const Napi::CallbackInfo& info) {
  return with_memory(info.Env(), [&] {
    AsyncArguments arguments(info, kArguments);
    // Not by make_shared: see handle.h.
    const std::shared_ptr<const EncoderCall> call(new EncoderCall(read_call(info, arguments)));
    const auto [out] = arguments.outputs(kOut, {{"out", elements(call->layer)}});
    const KernelTable& kernels = selected_kernels(info.Env());
    return arguments.start(
        [&kernels, call, out = out] {
          return forward(kernels, call->layer, call->x, out, nullptr);
        },
        false);
  });
}

}  // namespace

void init_encoder_layer(Napi::Env env, Napi::Object exports) {
  exports.Set("encodeLayer", Napi::Function::New<encode_layer>(env));
  exports.Set("startEncodeLayer", Napi::Function::New<start_encode_layer>(env));
}

}  // namespace dynaquant
