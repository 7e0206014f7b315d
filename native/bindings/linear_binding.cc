// SPDX-License-Identifier: MIT
#include <memory>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "engine/linear.h"

namespace dynaquant {
namespace {

// new FloatLinear(weight, bias | null, inFeatures, outFeatures)
std::unique_ptr<FloatLinear> make(const Napi::CallbackInfo& info, FloatLinear*) {
  const Napi::Env env = info.Env();
  const std::size_t in = size_argument(env, info[2], "inFeatures");
  const std::size_t out = size_argument(env, info[3], "outFeatures");
  const float* weight = typed_array<float>(env, info[0], "weight", product({in, out}));
  const float* bias = optional_array<float>(env, info[1], "bias", out);
  return std::make_unique<FloatLinear>(selected_kernels(env), weight, bias, in, out);
}

// new Int8Linear(weight, scales, bias | null, inFeatures, outFeatures)
std::unique_ptr<Int8Linear> make(const Napi::CallbackInfo& info, Int8Linear*) {
  const Napi::Env env = info.Env();
  const std::size_t in = size_argument(env, info[3], "inFeatures");
  const std::size_t out = size_argument(env, info[4], "outFeatures");
  if (in > kMaxDepth) throw Napi::RangeError::New(env, "inFeatures is too large for int32 sums");
  const std::int8_t* weight = typed_array<std::int8_t>(env, info[0], "weight", product({in, out}));
  const Span<float> scales = typed_array<float>(env, info[1], "scales");
  if (scales.size != 1 && scales.size != out) {
    throw Napi::RangeError::New(env, "scales has neither one element nor one a row");
  }
  const float* bias = optional_array<float>(env, info[2], "bias", out);
  return std::make_unique<Int8Linear>(selected_kernels(env), weight, scales.data, scales.size, bias,
                                      in, out);
}

template <typename Linear>
class LinearHandle : public Napi::ObjectWrap<LinearHandle<Linear>> {
 public:
  static void define(Napi::Env env, Napi::Object exports, const char* name) {
    exports.Set(
        name,
        LinearHandle::DefineClass(
            env, name,
            {LinearHandle::template InstanceMethod<&LinearHandle::forward>("forward"),
             LinearHandle::template InstanceMethod<&LinearHandle::unpack_weight>("unpackWeight"),
             LinearHandle::template InstanceMethod<&LinearHandle::test_multiply>("testMultiply")}));
  }

  explicit LinearHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<LinearHandle>(info), linear_(make(info, static_cast<Linear*>(nullptr))) {
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(),
                                                 static_cast<std::int64_t>(linear_->bytes()));
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(linear_->bytes()));
  }

 private:
  // forward(x, rows, out): status
  Napi::Value forward(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::size_t rows = size_argument(env, info[1], "rows");
    const float* x = typed_array<float>(env, info[0], "x", product({rows, linear_->in_features()}));
    float* out = typed_array<float>(env, info[2], "out", product({rows, linear_->out_features()}));
    return Napi::Number::New(env, static_cast<int>(linear_->forward(x, rows, out)));
  }

  // unpackWeight(out)
  void unpack_weight(const Napi::CallbackInfo& info) {
    if constexpr (std::is_same<Linear, Int8Linear>::value) {
      linear_->matrix().unpack(typed_array<std::int8_t>(
          info.Env(), info[0], "out", linear_->in_features() * linear_->out_features()));
    } else {
      throw Napi::Error::New(info.Env(), "a float Linear keeps its weight in JavaScript");
    }
  }

  // testMultiply(q, rows, stride, scale, zeroPoint, out): the integer product alone, on bytes of
  // the caller's choice, for the tests' extremes. Each row has 4 * ceil(inFeatures / 4) bytes,
  // 0..128.
  void test_multiply(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if constexpr (std::is_same<Linear, Int8Linear>::value) {
      const std::size_t rows = size_argument(env, info[1], "rows");
      const std::size_t stride = size_argument(env, info[2], "stride");
      const std::uint8_t* q = typed_array<std::uint8_t>(env, info[0], "q", product({rows, stride}));
      if (stride < (linear_->in_features() + kQuad - 1) / kQuad * kQuad) {
        throw Napi::RangeError::New(env, "stride is too small");
      }
      float* out =
          typed_array<float>(env, info[5], "out", product({rows, linear_->out_features()}));
      linear_->multiply(
          {q, stride, info[3].ToNumber().FloatValue(), info[4].ToNumber().Int32Value()}, rows, out);
    } else {
      throw Napi::Error::New(env, "a float Linear has no integer product");
    }
  }

  const std::unique_ptr<const Linear> linear_;
};

}  // namespace

void init_linear(Napi::Env env, Napi::Object exports) {
  LinearHandle<FloatLinear>::define(env, exports, "FloatLinear");
  LinearHandle<Int8Linear>::define(env, exports, "Int8Linear");
}

}  // namespace dynaquant
