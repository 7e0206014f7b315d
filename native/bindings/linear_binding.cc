// SPDX-License-Identifier: MIT
#include <memory>
#include <type_traits>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/async.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/handle.h"
#include "bindings/matrix_argument.h"
#include "bindings/shared_linear.h"
#include "engine/linear.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

enum LinearWord : std::size_t { kLinearRows = kOwnWords };
static_assert(kLinearRows < kWords, "there is no such word");

// new FloatLinear(matrix, inFeatures, outFeatures, relu)
// new HalfLinear(matrix, inFeatures, outFeatures, relu)
// new Int8Linear(matrix, inFeatures, outFeatures, perRow, reduceRange, relu)
template <typename Matrix>
std::unique_ptr<Linear<Matrix>> make_linear(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t in = dimension_argument(env, info[1], "inFeatures");
  const std::size_t out = dimension_argument(env, info[2], "outFeatures");
  constexpr bool kInt8 = std::is_same<Matrix, Int8Matrix>::value;
  ActivationMode mode;
  if (kInt8) mode = {info[3].ToBoolean(), info[4].ToBoolean()};
  return std::make_unique<Linear<Matrix>>(
      selected_kernels(env), out,
      matrix_argument(env, info[0], {1, out}, in, mode, static_cast<Matrix*>(nullptr)),
      info[kInt8 ? 5 : 3].ToBoolean());
}

template <typename Matrix>
constexpr LayerKind<Linear<Matrix>> kKind = kind_of<Linear<Matrix>, make_linear<Matrix>>();

// forward(x, out): status
template <typename Matrix>
Napi::Value forward_linear(const Napi::CallbackInfo& info, const Handle& handle) {
  const CallReader call(info);
  const Linear<Matrix>& linear = handle.layer(kKind<Matrix>);
  const std::size_t rows = call.size(kLinearRows, "rows");
  const float* x = call.floats(0, "x", product({rows, linear.in_features()}));
  float* out = call.floats(1, "out", product({rows, linear.out_features()}));
  return status_value(info.Env(),
                      with_memory(info.Env(), [&] { return linear.forward(x, rows, out); }));
}

// start(x, out, settle, rows): number
template <typename Matrix>
Napi::Value start_linear(const Napi::CallbackInfo& info, const Handle& handle) {
  return with_memory(info.Env(), [&] {
    AsyncArguments arguments(info, 2);
    const std::shared_ptr<const Linear<Matrix>> linear = handle.held_layer(kKind<Matrix>);
    const std::size_t rows = arguments.size(kLinearRows, "rows");
    const float* x = arguments.floats(0, "x", product({rows, linear->in_features()}));
    const auto [out] = arguments.outputs(1, {{"out", product({rows, linear->out_features()})}});
    return arguments.start([linear, x, rows, out = out] { return linear->forward(x, rows, out); },
                           false);
  });
}

// unpackWeight(out)
template <typename Matrix>
Napi::Value unpack_linear(const Napi::CallbackInfo& info, const Handle& handle) {
  unpack_argument(info.Env(), info[0], handle.layer(kKind<Matrix>).matrix());
  return info.Env().Undefined();
}

template <typename Matrix>
void define(Napi::Env env, Napi::Object exports, const char* name) {
  Handle::define(env, exports, name, kKind<Matrix>,
                 {Handle::method<forward_linear<Matrix>>("forward"),
                  Handle::method<start_linear<Matrix>>("start"),
                  Handle::method<unpack_linear<Matrix>>("unpackWeight")});
}

template <typename Matrix>
bool share(std::uint64_t number, SharedLinear& linear) {
  std::shared_ptr<const Linear<Matrix>> layer = Handle::shared(number, kKind<Matrix>);
  if (layer == nullptr) return false;
  linear = {layer.get(), std::move(layer)};
  return true;
}

}  // namespace

SharedLinear shared_linear(Napi::Env env, std::uint64_t number) {
  SharedLinear linear;
  if (!share<Int8Matrix>(number, linear) && !share<FloatMatrix>(number, linear) &&
      !share<HalfMatrix>(number, linear)) {
    throw_range_error(env, "there is no such shared Linear");
  }
  return linear;
}

void init_linear(Napi::Env env, Napi::Object exports) {
  define<FloatMatrix>(env, exports, "FloatLinear");
  define<HalfMatrix>(env, exports, "HalfLinear");
  define<Int8Matrix>(env, exports, "Int8Linear");
  add_words(exports, {{"linearRows", kLinearRows}});
}

}  // namespace dynaquant
