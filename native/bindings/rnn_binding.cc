// SPDX-License-Identifier: MIT
#include <memory>
#include <type_traits>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/matrix_argument.h"
#include "engine/rnn.h"

namespace dynaquant {
namespace {

RnnMode rnn_mode_argument(Napi::Env env, const Napi::Value& value) {
  const std::string name = value.ToString().Utf8Value();
  if (name == "LSTM") return RnnMode::kLstm;
  if (name == "GRU") return RnnMode::kGru;
  if (name == "RNN_TANH") return RnnMode::kTanh;
  if (name == "RNN_RELU") return RnnMode::kRelu;
  throw Napi::TypeError::New(env, "there is no such mode");
}

// new FloatRNN(mode, inputSize, hiddenSize, projSize, numLayers, directions, matrices)
// new HalfRNN(mode, inputSize, hiddenSize, projSize, numLayers, directions, matrices)
// new Int8RNN(mode, inputSize, hiddenSize, projSize, numLayers, directions, matrices, perRow,
//             reduceRange)
// matrices: for each layer and direction W_ih, W_hh and, where projSize is not 0, W_hr.
template <typename Matrix>
std::unique_ptr<Rnn<Matrix>> make_rnn(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const RnnSizes sizes = {
      rnn_mode_argument(env, info[0]),           size_argument(env, info[1], "inputSize"),
      size_argument(env, info[2], "hiddenSize"), size_argument(env, info[3], "projSize"),
      size_argument(env, info[4], "numLayers"),  size_argument(env, info[5], "directions")};
  const Napi::Array matrices = info[6].As<Napi::Array>();
  const std::size_t each = sizes.projection == 0 ? 2 : 3;
  constexpr std::size_t kLargest = std::size_t{1} << 40;
  if (sizes.hidden == 0 || sizes.hidden > kLargest || sizes.projection > kLargest ||
      (sizes.projection != 0 && sizes.mode != RnnMode::kLstm) || sizes.directions < 1 ||
      sizes.directions > 2 ||
      matrices.Length() != product({sizes.layers, sizes.directions, each})) {
    throw Napi::RangeError::New(env, "sizes and matrices do not agree");
  }
  const GateLayout gates = {sizes.gates(), sizes.hidden};
  std::vector<RnnDirection<Matrix>> cells;
  cells.reserve(sizes.all_directions());
  for (std::size_t i = 0; i < sizes.all_directions(); ++i) {
    const auto matrix = [&](std::size_t which, const GateLayout& layout, std::size_t depth) {
      const Napi::Value source = matrices[static_cast<std::uint32_t>(each * i + which)];
      return matrix_argument(env, source, layout, depth, mode_argument(info, 7),
                             static_cast<Matrix*>(nullptr));
    };
    RnnDirection<Matrix> cell = {matrix(0, gates, sizes.input_of(i / sizes.directions)),
                                 matrix(1, gates, sizes.output()),
                                 {}};
    if (sizes.projection != 0) cell.projection = matrix(2, {1, sizes.projection}, sizes.hidden);
    cells.push_back(std::move(cell));
  }
  return std::make_unique<Rnn<Matrix>>(selected_kernels(env), sizes, std::move(cells));
}

template <typename Matrix>
class RnnHandle : public Napi::ObjectWrap<RnnHandle<Matrix>> {
 public:
  static void define(Napi::Env env, Napi::Object exports, const char* name) {
    exports.Set(
        name, RnnHandle::DefineClass(
                  env, name,
                  {RnnHandle::template InstanceMethod<&RnnHandle::forward>("forward"),
                   RnnHandle::template InstanceMethod<&RnnHandle::forward_packed>("forwardPacked"),
                   RnnHandle::template InstanceMethod<&RnnHandle::unpack_weight>("unpackWeight")}));
  }

  explicit RnnHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<RnnHandle>(info), rnn_(make_rnn<Matrix>(info)) {
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(),
                                                 static_cast<std::int64_t>(rnn_->bytes()));
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(rnn_->bytes()));
  }

 private:
  // forward(x, h0, c0, y, hn, cn): status. A `y` that is larger by hn and cn takes them too, in
  // this order, and an `hn` that is larger by cn takes that. In `sizes`: steps, batch, firstLayer,
  // layers, and the states there are: 1 for h0, 2 for c0.
  Napi::Value forward(const Napi::CallbackInfo& info) {
    RnnCall call = sizes_of_call(info.Env());
    call.rows = product({call.steps, call.batch});
    return run(info, call);
  }

  // forwardPacked(x, h0, c0, y, hn, cn, batchSizes): status
  Napi::Value forward_packed(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    RnnCall call = sizes_of_call(env);
    call.batch_sizes = typed_array<std::int64_t>(env, info[6], "batchSizes", call.steps);
    std::int64_t most = call.batch_sizes[0];
    if (most < 1 || static_cast<std::uint64_t>(most) != call.batch) {
      throw Napi::RangeError::New(env, "batchSizes and batch do not agree");
    }
    for (std::size_t step = 0; step < call.steps; ++step) {
      const std::int64_t size = call.batch_sizes[step];
      if (size < 1 || size > most ||
          __builtin_add_overflow(call.rows, static_cast<std::size_t>(size), &call.rows)) {
        throw Napi::RangeError::New(env, "batchSizes rise, or are below 1");
      }
      most = size;
    }
    return run(info, call);
  }

  RnnCall sizes_of_call(Napi::Env env) const {
    const RnnSizes& sizes = rnn_->sizes();
    const AddonData& data = addon_data(env);
    RnnCall call = {};
    call.steps = size_number(env, data.sizes[0], "steps");
    call.batch = size_number(env, data.sizes[1], "batch");
    call.first_layer = size_number(env, data.sizes[2], "firstLayer");
    call.layers = size_number(env, data.sizes[3], "layers");
    if (call.steps == 0 || call.layers == 0 || call.first_layer >= sizes.layers ||
        call.layers > sizes.layers - call.first_layer) {
      throw Napi::RangeError::New(env, "steps or layers are out of range");
    }
    return call;
  }

  Napi::Value run(const Napi::CallbackInfo& info, RnnCall& call) {
    const Napi::Env env = info.Env();
    const RnnSizes& sizes = rnn_->sizes();
    const std::size_t states = product({call.layers, sizes.directions, call.batch});
    const std::size_t y_size = product({call.rows, sizes.directions, sizes.output()});
    const std::size_t h_size = product({states, sizes.output()});
    const std::size_t c_size = sizes.has_cell() ? product({states, sizes.hidden}) : 0;
    const std::size_t given = size_number(env, addon_data(env).sizes[4], "states");
    const CallArrays arrays(info);
    call.x = arrays.of_size(0, "x", product({call.rows, sizes.input_of(call.first_layer)}));
    if ((given & 1) != 0) call.h0 = arrays.of_size(1, "h0", h_size);
    if ((given & 2) != 0 && sizes.has_cell()) call.c0 = arrays.of_size(2, "c0", c_size);
    const Span<float> y = arrays.span(3, "y", y_size);
    const std::size_t states_size = sum({h_size, c_size});
    const bool all = y.size > y_size;
    call.y = checked(env, y, "y", all ? sum({y_size, states_size}) : y_size);
    const Span<float> hn =
        all ? Span<float>{call.y + y_size, states_size} : arrays.span(4, "hn", h_size);
    const bool pair = hn.size > h_size;
    call.hn = checked(env, hn, "hn", pair ? states_size : h_size);
    if (sizes.has_cell()) call.cn = pair ? call.hn + h_size : arrays.of_size(5, "cn", c_size);
    return Napi::Number::New(env, static_cast<int>(rnn_->forward(call)));
  }

  // unpackWeight(matrix, out): matrix as in the constructor's list
  void unpack_weight(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::size_t index = size_argument(env, info[0], "matrix");
    const std::size_t each = rnn_->sizes().projection == 0 ? 2 : 3;
    if (index / each >= rnn_->sizes().all_directions()) {
      throw Napi::RangeError::New(env, "matrix is out of range");
    }
    const RnnDirection<Matrix>& cell = rnn_->direction(index / each);
    const Matrix& matrix = index % each == 0   ? cell.input
                           : index % each == 1 ? cell.hidden
                                               : *cell.projection;
    unpack_argument(env, info[1], matrix);
  }

  const std::unique_ptr<const Rnn<Matrix>> rnn_;
};

}  // namespace

void init_rnn(Napi::Env env, Napi::Object exports) {
  RnnHandle<FloatMatrix>::define(env, exports, "FloatRNN");
  RnnHandle<HalfMatrix>::define(env, exports, "HalfRNN");
  RnnHandle<Int8Matrix>::define(env, exports, "Int8RNN");
}

}  // namespace dynaquant
