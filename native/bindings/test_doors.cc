// SPDX-License-Identifier: MIT
// The private doors through which the tests reach single kernels and the thread pool. Users reach
// none of them, so here, and only here in bindings, is arithmetic.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "bindings/matrix_argument.h"
#include "engine/aligned_buffer.h"
#include "engine/cpu_count.h"
#include "engine/matrix.h"
#include "engine/thread_pool.h"
#include "kernels/choose_params.h"

namespace dynaquant {
namespace {

std::size_t size_property(Napi::Env env, const Napi::Object& object, const char* name) {
  return size_argument(env, object.Get(name), name);
}

// Rows somewhere in an array, so that tests can place them at odd addresses between guard bytes.
template <typename Element>
struct PlacedRows {
  Element* data;
  std::size_t stride;
};

// { array, offset, stride }, as values. Reading them may run getters, which may detach any array,
// so that no address may be taken before all are read.
struct PlacedRowsValue {
  Napi::Value array;
  std::size_t offset, stride;
};
PlacedRowsValue placed_rows_value(Napi::Env env, const Napi::Value& value) {
  const Napi::Object source = object_argument(env, value, "rows");
  const std::size_t offset = size_property(env, source, "offset");
  const std::size_t stride = size_property(env, source, "stride");
  return {source.Get("array"), offset, stride};
}

// Their memory, with room for rows of so many columns.
template <typename Element>
PlacedRows<Element> placed_rows(Napi::Env env, const PlacedRowsValue& value, std::size_t rows,
                                std::size_t columns) {
  const Span<Element> span = typed_array<Element>(env, value.array, "array");
  const std::size_t needed = rows == 0 ? 0 : sum({product({rows - 1, value.stride}), columns});
  if (sum({value.offset, needed}) > span.size) {
    throw_range_error(env, "array is too short");
  }
  return {span.data + value.offset, value.stride};
}

// testRange(x, rows, columns): [min, max, finite]; x as placed_rows_value takes it
Napi::Value test_range(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t rows = size_argument(env, info[1], "rows");
  const std::size_t columns = size_argument(env, info[2], "columns");
  const PlacedRows<float> x =
      placed_rows<float>(env, placed_rows_value(env, info[0]), rows, columns);
  RangeLanes range = {};
  const bool finite = selected_kernels(env).range({x.data, x.stride}, rows, columns, &range, 0);
  Napi::Array result = Napi::Array::New(env, 3);
  result[0u] = *std::min_element(range.min, range.min + kPanelColumns);
  result[1u] = *std::max_element(range.max, range.max + kPanelColumns);
  result[2u] = Napi::Boolean::New(env, finite);
  return result;
}

// testQuantize(x, out, { rows, columns, inverseScale, zeroPoint }); x and out as
// placed_rows_value takes them
void test_quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = object_argument(env, info[2], "options");
  const std::size_t rows = size_property(env, options, "rows");
  const std::size_t columns = size_property(env, options, "columns");
  const std::size_t padded = (columns + 15) / 16 * 16;
  float scale = 0, inverse = float_argument(env, options.Get("inverseScale"), "inverseScale");
  std::int32_t zero_point = options.Get("zeroPoint").ToNumber().Int32Value();
  const PlacedRowsValue from = placed_rows_value(env, info[0]);
  const PlacedRowsValue to = placed_rows_value(env, info[1]);
  const PlacedRows<float> x = placed_rows<float>(env, from, rows, columns);
  const PlacedRows<std::uint8_t> out = placed_rows<std::uint8_t>(env, to, rows, padded);
  const KernelTable& kernels = selected_kernels(env);
  kernels.quantize({x.data, x.stride}, rows, columns, {&scale, &inverse, &zero_point, 0}, out.data,
                   out.stride);
  for (std::size_t row = 0; row < rows; ++row) {  // out of the table's stored form
    for (std::size_t i = 0; i < padded; ++i) {
      std::uint8_t& q = out.data[row * out.stride + i];
      q = static_cast<std::uint8_t>(q + kernels.stored_offset);
    }
  }
}

// testChooseParams(ranges, levels, scales, inverses, zeroPoints): boolean, whether all ranges are
// empty afterwards. The table's params of `ranges`, pairs of min and max, all in one call. From
// range to range, min and max are in other ones of the sixteen lanes.
Napi::Value test_choose_params(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<float> pairs = typed_array<float>(env, info[0], "ranges");
  const std::size_t levels = size_argument(env, info[1], "levels");
  if (levels != 127 && levels != 255) throw_range_error(env, "levels is not 127 or 255");
  const std::size_t count = pairs.size / 2;
  float* scales = typed_array<float>(env, info[2], "scales", count);
  float* inverses = typed_array<float>(env, info[3], "inverses", count);
  std::int32_t* zero_points = typed_array<std::int32_t>(env, info[4], "zeroPoints", count);
  AlignedBuffer<RangeLanes> ranges(count);
  for (std::size_t i = 0; i < count; ++i) {
    ranges.data()[i] = {};
    ranges.data()[i].min[i % kPanelColumns] = pairs.data[2 * i];
    ranges.data()[i].max[(i + 5) % kPanelColumns] = pairs.data[2 * i + 1];
  }
  selected_kernels(env).choose_params(ranges.data(), count, static_cast<int>(levels),
                                      {scales, inverses, zero_points, 1});
  const auto is_zero = [](float value) { return value == 0; };
  const bool empty =
      std::all_of(ranges.data(), ranges.data() + count, [&](const RangeLanes& range) {
        return std::all_of(range.min, range.min + kPanelColumns, is_zero) &&
               std::all_of(range.max, range.max + kPanelColumns, is_zero);
      });
  return Napi::Boolean::New(env, empty);
}

// testScalarParams(min, max, levels): [scale, zeroPoint], by the routine that is the meaning of
// every table's, with the scale in double
Napi::Value test_scalar_params(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const float min = float_argument(env, info[0], "min"), max = float_argument(env, info[1], "max");
  const ChosenParams params = choose_params(min, max, float_argument(env, info[2], "levels"));
  Napi::Array result = Napi::Array::New(env, 2);
  result[0u] = params.scale;
  result[1u] = params.zero_point;
  return result;
}

// An int8 weight alone, for products of bytes that no activation would give.
class TestInt8Matrix : public Napi::ObjectWrap<TestInt8Matrix> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("TestInt8Matrix",
                DefineClass(env, "TestInt8Matrix",
                            {InstanceMethod<&TestInt8Matrix::multiply>("multiply"),
                             InstanceMethod<&TestInt8Matrix::unpack_weight>("unpackWeight"),
                             InstanceMethod<&TestInt8Matrix::mean_chain>("meanChain")}));
  }

  // new TestInt8Matrix(matrix, depth, columns, reduceRange)
  explicit TestInt8Matrix(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<TestInt8Matrix>(info),
        kernels_(selected_kernels(info.Env())),
        matrix_(make(info)) {}

 private:
  static Int8Matrix make(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::size_t depth = dimension_argument(env, info[1], "depth");
    const std::size_t columns = dimension_argument(env, info[2], "columns");
    return matrix_argument(env, info[0], {1, columns}, depth, {false, info[3].ToBoolean()},
                           static_cast<Int8Matrix*>(nullptr));
  }

  // multiply(q, { rows, stride, scale, zeroPoint }, out). Each row has 4 * ceil(depth / 4) bytes,
  // 0..128, or 0..255 with the full range.
  void multiply(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Napi::Object options = object_argument(env, info[1], "options");
    const std::size_t rows = size_property(env, options, "rows");
    const std::size_t stride = size_property(env, options, "stride");
    float scale = float_argument(env, options.Get("scale"), "scale"), inverse = 0;
    std::int32_t zero_point = options.Get("zeroPoint").ToNumber().Int32Value();
    const std::size_t columns = matrix_.layout().rows();
    if (stride < (matrix_.depth() + kQuad - 1) / kQuad * kQuad) {
      throw_range_error(env, "stride is too small");
    }
    const std::size_t bytes = product({rows, stride});
    const std::uint8_t* q = typed_array<std::uint8_t>(env, info[0], "q", bytes);
    float* out = typed_array<float>(env, info[2], "out", product({rows, columns}));
    // The table's stored form, at the same misalignment.
    const std::size_t offset = reinterpret_cast<std::uintptr_t>(q) % 64;
    AlignedBuffer<std::uint8_t> stored(offset + bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
      stored.data()[offset + i] = static_cast<std::uint8_t>(q[i] - kernels_.stored_offset);
    }
    const Int8Rows x = {stored.data() + offset, stride, {&scale, &inverse, &zero_point, 0}};
    kernels_.gemm_int8(x, rows, matrix_.all(), out, columns, columns, false);
  }

  // unpackWeight(out)
  void unpack_weight(const Napi::CallbackInfo& info) {
    unpack_argument(info.Env(), info[0], matrix_);
  }

  // meanChain(): number, the depth quads that one int16 sum takes on average
  Napi::Value mean_chain(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), matrix_.mean_chain());
  }

  const KernelTable& kernels_;
  const Int8Matrix matrix_;
};

// testCgroupQuota(root): number
Napi::Value test_cgroup_quota(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(cgroup_cpu_quota(info[0].ToString().Utf8Value())));
}

// testTeam(threads, workNs, count, grain, rounds, spins): [size, participants] of one team that
// covered [0, count) `rounds` times, each index with some spins of work; participants is the most
// that took part in one round. Throws where an index was not covered exactly once.
Napi::Value test_team(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t threads = size_argument(env, info[0], "threads");
  const std::size_t work_ns = size_argument(env, info[1], "workNs");
  const std::size_t count = size_argument(env, info[2], "count");
  const std::size_t grain = size_argument(env, info[3], "grain");
  const std::size_t rounds = size_argument(env, info[4], "rounds");
  const std::size_t spins = size_argument(env, info[5], "spins");
  constexpr double kMostWork = 0x1p36;                        // a minute of spins
  constexpr std::size_t kMostIndices = std::size_t{1} << 24;  // 128 MB of counters
  const double work = static_cast<double>(product({count + 1, rounds + 1, spins + 1}));
  if (count > kMostIndices || work > kMostWork) {
    throw_range_error(env, "count, rounds and spins are too large");
  }

  std::vector<std::size_t> covered(count);  // no atomics: a second writer is a mistake to find
  std::atomic<bool> misled{false};
  std::size_t most = 0;
  Team team(threads, work_ns);
  const std::size_t size = team.size();
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<std::size_t> done(size);
    team.run(count, grain,
             [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
               if (participant >= size || begin > end || end > count) {
                 misled = true;
                 return;
               }
               for (std::size_t i = begin; i < end; ++i) {
                 for (volatile std::size_t spin = 0; spin < spins;) spin = spin + 1;
                 ++covered[i];
               }
               done[participant] += end - begin;
             });
    std::size_t participants = 0;
    for (const std::size_t part : done) participants += part != 0;
    most = std::max(most, participants);
    for (const std::size_t times : covered) misled = misled || times != round + 1;
  }
  if (misled) throw_error(env, "an index was not covered exactly once");
  Napi::Array result = Napi::Array::New(env, 2);
  result[0u] = Napi::Number::New(env, static_cast<double>(size));
  result[1u] = Napi::Number::New(env, static_cast<double>(most));
  return result;
}

}  // namespace

void init_test_doors(Napi::Env env, Napi::Object exports) {
  exports.Set("testRange", Napi::Function::New<test_range>(env));
  exports.Set("testQuantize", Napi::Function::New<test_quantize>(env));
  exports.Set("testChooseParams", Napi::Function::New<test_choose_params>(env));
  exports.Set("testScalarParams", Napi::Function::New<test_scalar_params>(env));
  exports.Set("testCgroupQuota", Napi::Function::New<test_cgroup_quota>(env));
  exports.Set("testTeam", Napi::Function::New<test_team>(env));
  TestInt8Matrix::define(env, exports);
}

}  // namespace dynaquant
