// SPDX-License-Identifier: MIT
#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "engine/pooling.h"

namespace dynaquant {
namespace {

enum PoolingWord : std::size_t { kPlanes = kOwnWords, kRows, kColumns };
static_assert(kColumns < kWords, "there is no such word");

// The axis whose five numbers begin at `numbers`: count, kernel, stride, dilation, padding.
PoolingAxis axis_argument(Napi::Env env, std::size_t size, const double* numbers) {
  const PoolingAxis axis = {size,
                            size_from(env, 0, numbers[0], "count"),
                            size_from(env, 1, numbers[1], "kernel"),
                            size_from(env, 1, numbers[2], "stride"),
                            size_from(env, 1, numbers[3], "dilation"),
                            size_from(env, 0, numbers[4], "padding")};
  if (product({axis.kernel, axis.dilation}) > kLargestDimension) {
    throw_range_error(env, "the kernel is too large");
  }
  return axis;
}

// pool(x, out, sizes, indices | null): status. The words hold the planes, and their rows and
// columns; sizes: [pool, divisor, ...rows, ...columns].
Napi::Value pool_planes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  constexpr std::size_t kAxis = 5, kFirst = 2;
  const double* numbers = typed_array<double>(env, info[2], "sizes", kFirst + 2 * kAxis);
  const std::size_t which = size_number(env, numbers[0], "pool");
  if (which > static_cast<std::size_t>(Pool::kAdaptiveMean)) {
    throw_range_error(env, "there is no such pool");
  }
  const Pooling pooling = {
      static_cast<Pool>(which), axis_argument(env, call.size(kRows, "rows"), numbers + kFirst),
      axis_argument(env, call.size(kColumns, "columns"), numbers + kFirst + kAxis), numbers[1]};
  const std::size_t planes = call.size(kPlanes, "planes");
  const std::size_t windows = product({planes, pooling.rows.count, pooling.columns.count});
  const float* x = call.floats(0, "x", product({planes, pooling.rows.size, pooling.columns.size}));
  float* out = call.floats(1, "out", windows);
  std::int64_t* indices = optional_array<std::int64_t>(env, info[3], "indices", windows);
  return status_value(env, with_memory(env, [&] {
                        return pool(selected_kernels(env), pooling, planes, x, out, indices);
                      }));
}

}  // namespace

void init_pooling(Napi::Env env, Napi::Object exports) {
  exports.Set("pool", Napi::Function::New<pool_planes>(env));
  add_words(exports,
            {{"poolingPlanes", kPlanes}, {"poolingRows", kRows}, {"poolingColumns", kColumns}});
}

}  // namespace dynaquant
