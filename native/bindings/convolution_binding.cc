// SPDX-License-Identifier: MIT
#include <memory>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/async.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/handle.h"
#include "bindings/matrix_argument.h"
#include "engine/convolution.h"
#include "engine/convolution_int8.h"

namespace dynaquant {
namespace {

enum ConvolutionWord : std::size_t { kBatch = kOwnWords, kRows, kColumns };
static_assert(kColumns < kWords, "there is no such word");

// The axis whose six numbers begin at `numbers`.
ConvolutionAxis axis_argument(Napi::Env env, const double* numbers) {
  const ConvolutionAxis axis = {
      size_from(env, 1, numbers[0], "kernel"),   size_from(env, 1, numbers[1], "stride"),
      size_from(env, 1, numbers[2], "dilation"), size_from(env, 0, numbers[3], "before"),
      size_from(env, 0, numbers[4], "after"),    size_from(env, 0, numbers[5], "outputPadding")};
  if (product({axis.kernel, axis.dilation}) > kLargestDimension) {
    throw_range_error(env, "the kernel is too large");
  }
  return axis;
}

// [inChannels, outChannels, groups, paddingMode, transposed, ...rows, ...columns]
ConvolutionSizes sizes_argument(Napi::Env env, napi_value value) {
  constexpr std::size_t kAxis = 6, kFirst = 5;
  const double* numbers = typed_array<double>(env, value, "sizes", kFirst + 2 * kAxis);
  const std::size_t in = size_number(env, numbers[0], "inChannels"),
                    out = size_number(env, numbers[1], "outChannels"),
                    groups = size_number(env, numbers[2], "groups"),
                    mode = size_number(env, numbers[3], "paddingMode");
  if (in == 0 || out == 0 || groups == 0 || in % groups != 0 || out % groups != 0 || mode > 3) {
    throw_range_error(env, "the channels do not fit the groups");
  }
  const ConvolutionSizes sizes = {in,
                                  out,
                                  groups,
                                  axis_argument(env, numbers + kFirst),
                                  axis_argument(env, numbers + kFirst + kAxis),
                                  static_cast<PaddingMode>(mode),
                                  numbers[4] != 0};
  if (sizes.transposed && (sizes.rows.kernel != 1 || sizes.padding_mode != PaddingMode::kZeros)) {
    throw_range_error(env, "transposed, only columns, padded with zeros");
  }
  return sizes;
}

// new FloatConvolution(weight, bias | null, sizes)
std::unique_ptr<Convolution> make_convolution(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ConvolutionSizes sizes = sizes_argument(env, info[2]);
  const float* weight =
      typed_array<float>(env, info[0], "weight",
                         product({sizes.in_channels / sizes.groups, sizes.out_channels,
                                  sizes.rows.kernel, sizes.columns.kernel}));
  const float* bias = optional_array<float>(env, info[1], "bias", sizes.out_channels);
  return std::make_unique<Convolution>(selected_kernels(env), sizes, weight, bias);
}

// new Int8Convolution({ weight, scales, bias | null }, sizes, reduceRange)
std::unique_ptr<Int8Convolution> make_int8_convolution(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const MatrixValues values(env, info[0]);
  const ConvolutionSizes sizes = sizes_argument(env, info[1]);
  ActivationMode mode;
  mode.reduce_range = info[2].ToBoolean();
  const std::size_t depth = product({sizes.in_channels / sizes.groups, sizes.columns.kernel});
  if (depth > mode.max_depth() || sizes.rows.kernel != 1 || sizes.transposed) {
    throw_range_error(env, "int8 weights are of one dimension, not too deep");
  }
  const std::int8_t* weight =
      typed_array<std::int8_t>(env, values.weight, "weight", product({sizes.out_channels, depth}));
  const Span<float> scales = typed_array<float>(env, values.scales, "scales");
  if (scales.size != 1 && scales.size != sizes.out_channels) {
    throw_range_error(env, "scales has neither one element nor one a channel");
  }
  const float* bias = optional_array<float>(env, values.bias, "bias", sizes.out_channels);
  return std::make_unique<Int8Convolution>(selected_kernels(env), sizes, mode,
                                           Int8Weight{weight, scales.data, scales.size, bias});
}

constexpr LayerKind<Convolution> kFloat = kind_of<Convolution, make_convolution>();
constexpr LayerKind<Int8Convolution> kInt8 = kind_of<Int8Convolution, make_int8_convolution>();

// Floats of the input and the output.
struct Floats {
  std::size_t x;
  std::size_t out;
};
// Throws unless the planes are of possible sizes, and padding that repeats inputs has enough.
template <typename Layer>
Floats checked(Napi::Env env, const Layer& layer, const PlaneSizes& in) {
  const ConvolutionSizes& sizes = layer.sizes();
  const std::size_t x = product({in.batch, sizes.in_channels, in.rows, in.columns});
  const auto repeats = [&](const ConvolutionAxis& axis, std::size_t size) {
    const std::size_t most = axis.before > axis.after ? axis.before : axis.after;
    const bool reflects = sizes.padding_mode == PaddingMode::kReflect;
    const bool circles = sizes.padding_mode == PaddingMode::kCircular;
    return sizes.padding_mode == PaddingMode::kZeros || most == 0 ||
           (size > 0 && !(reflects && most >= size) && !(circles && most > size));
  };
  // What the layer computes with, and the largest input that it may copy.
  const auto spread = [](const ConvolutionAxis& axis, std::size_t size) {
    return sum({axis.before, axis.after, axis.output_padding, axis.dilation * axis.kernel,
                axis.stride, size});
  };
  const std::size_t padded =
      product({sizes.in_channels, spread(sizes.rows, in.rows), spread(sizes.columns, in.columns)});
  const std::size_t longest = product({in.columns, sizes.columns.stride});
  if (x > kLargestDimension || padded > kLargestDimension || longest > kLargestDimension ||
      !repeats(sizes.rows, in.rows) || !repeats(sizes.columns, in.columns)) {
    throw_range_error(env, "the input's planes are too large or too small");
  }
  const PlaneSizes out = layer.out_planes(in);
  return {x, product({out.batch, sizes.out_channels, out.rows, out.columns})};
}

// forward(x, out): status
template <const auto& kKind>
Napi::Value forward_convolution(const Napi::CallbackInfo& info, const Handle& handle) {
  const CallReader call(info);
  const auto& convolution = handle.layer(kKind);
  const PlaneSizes in = {call.size(kBatch, "batch"), call.size(kRows, "rows"),
                         call.size(kColumns, "columns")};
  const Floats floats = checked(info.Env(), convolution, in);
  const float* x = call.floats(0, "x", floats.x);
  float* out = call.floats(1, "out", floats.out);
  return status_value(info.Env(),
                      with_memory(info.Env(), [&] { return convolution.forward(x, in, out); }));
}

// start(x, out, settle, batch, rows, columns): number
template <const auto& kKind>
Napi::Value start_convolution(const Napi::CallbackInfo& info, const Handle& handle) {
  return with_memory(info.Env(), [&] {
    AsyncArguments arguments(info, 2);
    const auto convolution = handle.held_layer(kKind);
    const PlaneSizes in = {arguments.size(kBatch, "batch"), arguments.size(kRows, "rows"),
                           arguments.size(kColumns, "columns")};
    const Floats floats = checked(info.Env(), *convolution, in);
    const float* x = arguments.floats(0, "x", floats.x);
    const auto [out] = arguments.outputs(1, {{"out", floats.out}});
    return arguments.start(
        [convolution, x, in, out = out] { return convolution->forward(x, in, out); }, false);
  });
}

// unpackWeight(out)
Napi::Value unpack_convolution(const Napi::CallbackInfo& info, const Handle& handle) {
  const Int8Convolution& layer = handle.layer(kInt8);
  const ConvolutionSizes& sizes = layer.sizes();
  const std::size_t count = sizes.in_channels / sizes.groups * sizes.out_channels;
  layer.unpack(typed_array<std::int8_t>(info.Env(), info[0], "out", count * sizes.columns.kernel));
  return info.Env().Undefined();
}

template <const auto& kKind>
Handle::Methods methods() {
  return {Handle::method<forward_convolution<kKind>>("forward"),
          Handle::method<start_convolution<kKind>>("start")};
}

}  // namespace

void init_convolution(Napi::Env env, Napi::Object exports) {
  Handle::define(env, exports, "FloatConvolution", kFloat, methods<kFloat>());
  Handle::Methods int8_methods = methods<kInt8>();
  int8_methods.push_back(Handle::method<unpack_convolution>("unpackWeight"));
  Handle::define(env, exports, "Int8Convolution", kInt8, std::move(int8_methods));
  add_words(
      exports,
      {{"convolutionBatch", kBatch}, {"convolutionRows", kRows}, {"convolutionColumns", kColumns}});
}

}  // namespace dynaquant
