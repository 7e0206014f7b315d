// SPDX-License-Identifier: MIT
#include <memory>
#include <type_traits>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/matrix_argument.h"
#include "engine/linear.h"
#include "engine/product.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// new FloatLinear(matrix, inFeatures, outFeatures, relu)
// new HalfLinear(matrix, inFeatures, outFeatures, relu)
// new Int8Linear(matrix, inFeatures, outFeatures, perRow, reduceRange, relu)
template <typename Matrix>
std::unique_ptr<Linear<Matrix>> make_linear(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t in = size_argument(env, info[1], "inFeatures");
  const std::size_t out = size_argument(env, info[2], "outFeatures");
  constexpr std::size_t kRelu = std::is_same<Matrix, Int8Matrix>::value ? 5 : 3;
  return std::make_unique<Linear<Matrix>>(
      selected_kernels(env), out,
      matrix_argument(env, info[0], {1, out}, in, mode_argument(info, 3),
                      static_cast<Matrix*>(nullptr)),
      info[kRelu].ToBoolean());
}

template <typename Matrix>
class LinearHandle : public Napi::ObjectWrap<LinearHandle<Matrix>> {
 public:
  static void define(Napi::Env env, Napi::Object exports, const char* name) {
    exports.Set(
        name,
        LinearHandle::DefineClass(
            env, name,
            {LinearHandle::template InstanceMethod<&LinearHandle::forward>("forward"),
             LinearHandle::template InstanceMethod<&LinearHandle::unpack_weight>("unpackWeight"),
             LinearHandle::template InstanceMethod<&LinearHandle::mean_chain>("meanChain"),
             LinearHandle::template InstanceMethod<&LinearHandle::test_multiply>("testMultiply")}));
  }

  explicit LinearHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<LinearHandle>(info), linear_(make_linear<Matrix>(info)) {
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(),
                                                 static_cast<std::int64_t>(linear_->bytes()));
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(linear_->bytes()));
  }

 private:
  // forward(x, out): status. In `sizes`: rows.
  Napi::Value forward(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::size_t rows = size_number(env, addon_data(env).sizes[0], "rows");
    const CallArrays arrays(info);
    const float* x = arrays.of_size(0, "x", product({rows, linear_->in_features()}));
    float* out = arrays.of_size(1, "out", product({rows, linear_->out_features()}));
    return Napi::Number::New(env, static_cast<int>(linear_->forward(x, rows, out)));
  }

  // unpackWeight(out)
  void unpack_weight(const Napi::CallbackInfo& info) {
    unpack_argument(info.Env(), info[0], linear_->matrix());
  }

  // meanChain(): number
  Napi::Value mean_chain(const Napi::CallbackInfo& info) {
    if constexpr (std::is_same<Matrix, Int8Matrix>::value) {
      return Napi::Number::New(info.Env(), linear_->matrix().mean_chain());
    } else {
      throw Napi::Error::New(info.Env(), "this Linear has no chains");
    }
  }

  // testMultiply(q, rows, stride, scale, zeroPoint, out): the integer product alone, on bytes of
  // the caller's choice, for the tests' extremes. Each row has 4 * ceil(inFeatures / 4) bytes,
  // 0..128, or 0..255 with the full range.
  void test_multiply(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if constexpr (std::is_same<Matrix, Int8Matrix>::value) {
      const std::size_t rows = size_argument(env, info[1], "rows");
      const std::size_t stride = size_argument(env, info[2], "stride");
      const Span<std::uint8_t> q = typed_array<std::uint8_t>(env, info[0], "q");
      if (q.size != product({rows, stride}) ||
          stride < (linear_->in_features() + kQuad - 1) / kQuad * kQuad) {
        throw Napi::RangeError::New(env, "q or stride is too small");
      }
      float* out =
          typed_array<float>(env, info[5], "out", product({rows, linear_->out_features()}));
      const KernelTable& kernels = linear_->kernels();
      // The table's stored form, at the same misalignment.
      const std::size_t offset = reinterpret_cast<std::uintptr_t>(q.data) % 64;
      AlignedBuffer<std::uint8_t> stored(offset + q.size);
      for (std::size_t i = 0; i < q.size; ++i) {
        stored.data()[offset + i] = static_cast<std::uint8_t>(q.data[i] - kernels.stored_offset);
      }
      float scale = info[3].ToNumber().FloatValue(), inverse = 0;
      std::int32_t zero_point = info[4].ToNumber().Int32Value();
      Team team(1, 0);
      const Int8Rows x = {stored.data() + offset, stride, {&scale, &inverse, &zero_point, 0}};
      const std::size_t columns = linear_->out_features();
      multiply({kernels, team}, x, rows, linear_->matrix(), {out, columns, columns});
    } else {
      throw Napi::Error::New(env, "this Linear has no integer product");
    }
  }

  const std::unique_ptr<const Linear<Matrix>> linear_;
};

}  // namespace

void init_linear(Napi::Env env, Napi::Object exports) {
  LinearHandle<FloatMatrix>::define(env, exports, "FloatLinear");
  LinearHandle<HalfMatrix>::define(env, exports, "HalfLinear");
  LinearHandle<Int8Matrix>::define(env, exports, "Int8Linear");
}

}  // namespace dynaquant
