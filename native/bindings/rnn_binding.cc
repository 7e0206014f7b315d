// SPDX-License-Identifier: MIT
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/async.h"
#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/handle.h"
#include "bindings/matrix_argument.h"
#include "engine/rnn.h"

namespace dynaquant {
namespace {

enum RnnWord : std::size_t { kRnnSteps = kOwnWords, kRnnBatch, kRnnFirstLayer, kRnnLayers };
static_assert(kRnnLayers < kWords, "there is no such word");

RnnMode rnn_mode_argument(Napi::Env env, const Napi::Value& value) {
  const std::string name = value.ToString().Utf8Value();
  if (name == "LSTM") return RnnMode::kLstm;
  if (name == "GRU") return RnnMode::kGru;
  if (name == "RNN_TANH") return RnnMode::kTanh;
  if (name == "RNN_RELU") return RnnMode::kRelu;
  throw_type_error(env, "there is no such mode");
}

// Refuses sizes that no recurrent layer has. Other checks compare the matrices' lengths with them.
RnnSizes sizes_argument(Napi::Env env, const Napi::Value& value) {
  const Napi::Object source = object_argument(env, value, "sizes");
  RnnSizes sizes = {};
  sizes.mode = rnn_mode_argument(env, source.Get("mode"));
  sizes.input = dimension_argument(env, source.Get("inputSize"), "inputSize");
  sizes.hidden = dimension_argument(env, source.Get("hiddenSize"), "hiddenSize");
  sizes.projection = size_argument(env, source.Get("projSize"), "projSize");
  sizes.layers = dimension_argument(env, source.Get("numLayers"), "numLayers");
  sizes.directions = dimension_argument(env, source.Get("directions"), "directions");
  if (sizes.projection > sizes.hidden || (sizes.projection != 0 && sizes.mode != RnnMode::kLstm)) {
    throw_range_error(env, "projSize is out of range");
  }
  if (sizes.directions > 2) throw_range_error(env, "directions is neither 1 nor 2");
  return sizes;
}

std::size_t matrices_of_direction(const RnnSizes& sizes) { return sizes.projection == 0 ? 2 : 3; }

Napi::Array matrices_argument(Napi::Env env, const Napi::Value& value, const RnnSizes& sizes) {
  if (!value.IsArray()) throw_type_error(env, "matrices is not an array");
  const Napi::Array matrices = value.As<Napi::Array>();
  if (matrices.Length() !=
      product({sizes.layers, sizes.directions, matrices_of_direction(sizes)})) {
    throw_range_error(env, "sizes and matrices do not agree");
  }
  return matrices;
}

// new FloatRNN(sizes, matrices)
// new HalfRNN(sizes, matrices)
// new Int8RNN(sizes, matrices, perRow, reduceRange)
// sizes: { mode, inputSize, hiddenSize, projSize (0 for none), numLayers, directions }
// matrices: for each layer and direction W_ih, W_hh and, if projSize is not 0, W_hr.
template <typename Matrix>
std::unique_ptr<Rnn<Matrix>> make_rnn(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const RnnSizes sizes = sizes_argument(env, info[0]);
  const Napi::Array matrices = matrices_argument(env, info[1], sizes);
  ActivationMode mode;
  if (std::is_same<Matrix, Int8Matrix>::value) mode = {info[2].ToBoolean(), info[3].ToBoolean()};
  const GateLayout gates = {sizes.gates(), sizes.hidden};
  std::vector<RnnDirection<Matrix>> directions;
  for (std::size_t i = 0; i < sizes.all_directions(); ++i) {
    const auto matrix = [&](std::size_t which, const GateLayout& layout, std::size_t depth) {
      const Napi::HandleScope scope(env);
      const std::size_t index = matrices_of_direction(sizes) * i + which;
      const Napi::Value source = matrices[static_cast<std::uint32_t>(index)];
      return matrix_argument(env, source, layout, depth, mode, static_cast<Matrix*>(nullptr));
    };
    RnnDirection<Matrix> direction = {matrix(0, gates, sizes.input_of(i / sizes.directions)),
                                      matrix(1, gates, sizes.output()),
                                      {}};
    if (sizes.projection != 0)
      direction.projection = matrix(2, {1, sizes.projection}, sizes.hidden);
    directions.push_back(std::move(direction));
  }
  return std::make_unique<Rnn<Matrix>>(selected_kernels(env), sizes, std::move(directions));
}

template <typename Matrix>
constexpr LayerKind<Rnn<Matrix>> kKind = kind_of<Rnn<Matrix>, make_rnn<Matrix>>();

template <typename Arguments>
RnnCall read_sizes(Napi::Env env, const Arguments& arguments, const RnnSizes& sizes) {
  RnnCall call = {};
  call.steps = arguments.size(kRnnSteps, "steps");
  call.batch = arguments.size(kRnnBatch, "batch");
  call.first_layer = arguments.size(kRnnFirstLayer, "firstLayer");
  call.layers = arguments.size(kRnnLayers, "layers");
  if (call.steps == 0 || call.layers == 0 || call.first_layer >= sizes.layers ||
      call.layers > sizes.layers - call.first_layer) {
    throw_range_error(env, "steps or layers are out of range");
  }
  return call;
}

// The rows of packed sequences.
void count_rows(Napi::Env env, RnnCall& call) {
  std::int64_t most = call.batch_sizes[0];
  if (most < 1 || static_cast<std::uint64_t>(most) != call.batch) {
    throw_range_error(env, "batchSizes and batch do not agree");
  }
  for (std::size_t step = 0; step < call.steps; ++step) {
    const std::int64_t size = call.batch_sizes[step];
    if (size < 1 || size > most) {
      throw_range_error(env, "batchSizes rise, or are below 1");
    }
    call.rows = sum({call.rows, static_cast<std::size_t>(size)});
    most = size;
  }
}

template <typename Arguments>
void read_arrays(Arguments& arguments, const RnnSizes& sizes, RnnCall& call) {
  const std::size_t states = product({call.layers, sizes.directions, call.batch});
  const std::size_t h_size = product({states, sizes.output()});
  const std::size_t c_size = sizes.has_cell() ? product({states, sizes.hidden}) : 0;
  const std::size_t x_size = product({call.rows, sizes.input_of(call.first_layer)});
  const std::size_t y_size = product({call.rows, sizes.directions, sizes.output()});
  call.x = arguments.floats(0, "x", x_size);
  call.h0 = arguments.optional_floats(1, "h0", h_size);
  if (sizes.has_cell()) call.c0 = arguments.optional_floats(2, "c0", c_size);
  const auto outputs = arguments.outputs(3, {{"y", y_size}, {"hn", h_size}, {"cn", c_size}});
  call.y = outputs[0];
  call.hn = outputs[1];
  call.cn = sizes.has_cell() ? outputs[2] : nullptr;
}

// forward(x, h0, c0, y, hn, cn): status
// forwardPacked(x, h0, c0, y, hn, cn, batchSizes): status
template <typename Matrix, bool kPacked>
Napi::Value forward_rnn(const Napi::CallbackInfo& info, const Handle& handle) {
  const Napi::Env env = info.Env();
  const CallReader arguments(info);
  const Rnn<Matrix>& rnn = handle.layer(kKind<Matrix>);
  RnnCall call = read_sizes(env, arguments, rnn.sizes());
  if (kPacked) {
    call.batch_sizes = typed_array<std::int64_t>(env, info[6], "batchSizes", call.steps);
    count_rows(env, call);
  } else {
    call.rows = product({call.steps, call.batch});
  }
  read_arrays(arguments, rnn.sizes(), call);
  return status_value(env, with_memory(env, [&] { return rnn.forward(call); }));
}

// start(x, h0, c0, y, hn, cn, settle, steps, batch, firstLayer, layers, batchSizes): number
template <typename Matrix>
Napi::Value start_rnn(const Napi::CallbackInfo& info, const Handle& handle) {
  return with_memory(info.Env(), [&] {
    AsyncArguments arguments(info, 6);
    const std::shared_ptr<const Rnn<Matrix>> rnn = handle.held_layer(kKind<Matrix>);
    RnnCall call = read_sizes(info.Env(), arguments, rnn->sizes());
    constexpr std::size_t kBatchSizes = 11;
    if (info[kBatchSizes].IsNull()) {
      call.rows = product({call.steps, call.batch});
    } else {
      call.batch_sizes = arguments.integers(kBatchSizes, "batchSizes", call.steps);
      count_rows(info.Env(), call);
    }
    read_arrays(arguments, rnn->sizes(), call);
    return arguments.start([rnn, call] { return rnn->forward(call); }, rnn->wants_team(call));
  });
}

// unpackWeight(matrix, out): matrix as in the constructor's list
template <typename Matrix>
Napi::Value unpack_rnn(const Napi::CallbackInfo& info, const Handle& handle) {
  const Napi::Env env = info.Env();
  const std::size_t index = size_argument(env, info[0], "matrix");
  const Rnn<Matrix>& rnn = handle.layer(kKind<Matrix>);
  const std::size_t each = matrices_of_direction(rnn.sizes());
  if (index / each >= rnn.sizes().all_directions()) {
    throw_range_error(env, "matrix is out of range");
  }
  const RnnDirection<Matrix>& direction = rnn.direction(index / each);
  const Matrix& matrix = index % each == 0   ? direction.input
                         : index % each == 1 ? direction.hidden
                                             : *direction.projection;
  unpack_argument(env, info[1], matrix);
  return env.Undefined();
}

template <typename Matrix>
void define(Napi::Env env, Napi::Object exports, const char* name) {
  Handle::define(env, exports, name, kKind<Matrix>,
                 {Handle::method<forward_rnn<Matrix, false>>("forward"),
                  Handle::method<forward_rnn<Matrix, true>>("forwardPacked"),
                  Handle::method<start_rnn<Matrix>>("start"),
                  Handle::method<unpack_rnn<Matrix>>("unpackWeight")});
}

}  // namespace

void init_rnn(Napi::Env env, Napi::Object exports) {
  define<FloatMatrix>(env, exports, "FloatRNN");
  define<HalfMatrix>(env, exports, "HalfRNN");
  define<Int8Matrix>(env, exports, "Int8RNN");
  add_words(exports, {{"rnnSteps", kRnnSteps},
                      {"rnnBatch", kRnnBatch},
                      {"rnnFirstLayer", kRnnFirstLayer},
                      {"rnnLayers", kRnnLayers}});
}

}  // namespace dynaquant
