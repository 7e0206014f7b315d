// SPDX-License-Identifier: MIT
#include <memory>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/matrix_argument.h"
#include "engine/lstm.h"

namespace dynaquant {
namespace {

// new FloatLSTM(inputSize, hiddenSize, numLayers, directions, matrices)
// new Int8LSTM(inputSize, hiddenSize, numLayers, directions, matrices, perRow, reduceRange)
// matrices: for each layer and direction W_ih, then W_hh.
template <typename Matrix>
std::unique_ptr<Lstm<Matrix>> make_lstm(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const LstmSizes sizes = {
      size_argument(env, info[0], "inputSize"), size_argument(env, info[1], "hiddenSize"),
      size_argument(env, info[2], "numLayers"), size_argument(env, info[3], "directions")};
  const Napi::Array matrices = info[4].As<Napi::Array>();
  if (sizes.hidden == 0 || sizes.hidden > (std::size_t{1} << 40) || sizes.directions < 1 ||
      sizes.directions > 2 || matrices.Length() != product({sizes.layers, sizes.directions, 2})) {
    throw Napi::RangeError::New(env, "sizes and matrices do not agree");
  }
  const GateLayout layout = {kLstmGates, sizes.hidden};
  std::vector<LstmCell<Matrix>> cells;
  cells.reserve(sizes.cells());
  for (std::size_t i = 0; i < sizes.cells(); ++i) {
    const auto matrix = [&](std::size_t which, std::size_t depth) {
      const Napi::Value source = matrices[static_cast<std::uint32_t>(2 * i + which)];
      return matrix_argument(env, source, layout, depth, mode_argument(info, 5),
                             static_cast<Matrix*>(nullptr));
    };
    cells.push_back({matrix(0, sizes.input_of(i / sizes.directions)), matrix(1, sizes.hidden)});
  }
  return std::make_unique<Lstm<Matrix>>(selected_kernels(env), sizes, std::move(cells));
}

template <typename Matrix>
class LstmHandle : public Napi::ObjectWrap<LstmHandle<Matrix>> {
 public:
  static void define(Napi::Env env, Napi::Object exports, const char* name) {
    exports.Set(
        name,
        LstmHandle::DefineClass(
            env, name,
            {LstmHandle::template InstanceMethod<&LstmHandle::forward>("forward"),
             LstmHandle::template InstanceMethod<&LstmHandle::unpack_weight>("unpackWeight")}));
  }

  explicit LstmHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<LstmHandle>(info), lstm_(make_lstm<Matrix>(info)) {
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(),
                                                 static_cast<std::int64_t>(lstm_->bytes()));
  }

  void Finalize(Napi::BasicEnv env) override {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(lstm_->bytes()));
  }

 private:
  // forward(x, h0 | null, c0 | null, y, hn, cn): status; each array, or undefined for its slot. In
  // `sizes`: steps, batch, firstLayer, layers.
  Napi::Value forward(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const LstmSizes& sizes = lstm_->sizes();
    LstmCall call = {};
    const AddonData& data = addon_data(env);
    call.steps = size_number(env, data.sizes[0], "steps");
    call.batch = size_number(env, data.sizes[1], "batch");
    call.first_layer = size_number(env, data.sizes[2], "firstLayer");
    call.layers = size_number(env, data.sizes[3], "layers");
    if (call.steps == 0 || call.layers == 0 || call.first_layer >= sizes.layers ||
        call.layers > sizes.layers - call.first_layer) {
      throw Napi::RangeError::New(env, "steps or layers are out of range");
    }
    const std::size_t rows = product({call.steps, call.batch});
    const std::size_t state = product({call.layers, sizes.directions, call.batch, sizes.hidden});
    const auto array = [&](std::size_t i, const char* name, std::size_t size) {
      return slotted_array(env, info[i], name, size, data.slots, i);
    };
    call.x = array(0, "x", product({rows, sizes.input_of(call.first_layer)}));
    call.h0 = info[1].IsNull() ? nullptr : array(1, "h0", state);
    call.c0 = info[2].IsNull() ? nullptr : array(2, "c0", state);
    call.y = array(3, "y", product({rows, sizes.directions, sizes.hidden}));
    call.hn = array(4, "hn", state);
    call.cn = array(5, "cn", state);
    return Napi::Number::New(env, static_cast<int>(lstm_->forward(call)));
  }

  // unpackWeight(matrix, out): matrix as in the constructor's list
  void unpack_weight(const Napi::CallbackInfo& info) {
    if constexpr (std::is_same<Matrix, Int8Matrix>::value) {
      const Napi::Env env = info.Env();
      const std::size_t index = size_argument(env, info[0], "matrix");
      if (index / 2 >= lstm_->sizes().cells()) {
        throw Napi::RangeError::New(env, "matrix is out of range");
      }
      const LstmCell<Matrix>& cell = lstm_->cell(index / 2);
      const Matrix& matrix = index % 2 == 0 ? cell.input : cell.hidden;
      matrix.unpack(typed_array<std::int8_t>(env, info[1], "out",
                                             kLstmGates * lstm_->sizes().hidden * matrix.depth()));
    } else {
      throw Napi::Error::New(info.Env(), "a float LSTM keeps its weights in JavaScript");
    }
  }

  const std::unique_ptr<const Lstm<Matrix>> lstm_;
};

}  // namespace

void init_lstm(Napi::Env env, Napi::Object exports) {
  LstmHandle<FloatMatrix>::define(env, exports, "FloatLSTM");
  LstmHandle<Int8Matrix>::define(env, exports, "Int8LSTM");
}

}  // namespace dynaquant
