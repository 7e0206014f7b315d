// SPDX-License-Identifier: MIT
// For `npm run bench:instructions`: runs one fixed case of the engine once, under callgrind, which
// counts what happens inside measured(). Arguments: ISA, case. Without a case: lists them.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/linear.h"
#include "engine/matrix.h"
#include "engine/rnn.h"
#include "engine/thread_pool.h"
#include "kernels/dispatch.h"

using namespace dynaquant;

namespace {

enum class Layer { kLinear, kLstm, kGru, kRnn };
enum class Weights { kInt8, kFloat, kHalf };

struct Case {
  const char* name;
  Layer layer;
  Weights weights;
  std::size_t input, output, batch, steps;
};

constexpr Case kCases[] = {
    {"lstm-int8-h8-b1-t1", Layer::kLstm, Weights::kInt8, 8, 8, 1, 1},
    {"lstm-int8-h8-b1-t20", Layer::kLstm, Weights::kInt8, 8, 8, 1, 20},
    {"lstm-int8-h128-b1-t20", Layer::kLstm, Weights::kInt8, 128, 128, 1, 20},
    {"lstm-int8-h128-b8-t20", Layer::kLstm, Weights::kInt8, 128, 128, 8, 20},
    {"lstm-int8-h256-b1-t1", Layer::kLstm, Weights::kInt8, 256, 256, 1, 1},
    {"lstm-int8-h256-b8-t1", Layer::kLstm, Weights::kInt8, 256, 256, 8, 1},
    {"lstm-float-h128-b1-t20", Layer::kLstm, Weights::kFloat, 128, 128, 1, 20},
    {"gru-int8-h8-b1-t20", Layer::kGru, Weights::kInt8, 8, 8, 1, 20},
    {"gru-int8-h128-b1-t20", Layer::kGru, Weights::kInt8, 128, 128, 1, 20},
    {"gru-int8-h128-b8-t20", Layer::kGru, Weights::kInt8, 128, 128, 8, 20},
    {"gru-float-h128-b1-t20", Layer::kGru, Weights::kFloat, 128, 128, 1, 20},
    {"gru-half-h128-b1-t20", Layer::kGru, Weights::kHalf, 128, 128, 1, 20},
    {"rnn-int8-h128-b1-t20", Layer::kRnn, Weights::kInt8, 128, 128, 1, 20},
    {"rnn-int8-h128-b8-t20", Layer::kRnn, Weights::kInt8, 128, 128, 8, 20},
    {"linear-int8-512x512-b1", Layer::kLinear, Weights::kInt8, 512, 512, 1, 0},
    {"linear-int8-512x512-b32", Layer::kLinear, Weights::kInt8, 512, 512, 32, 0},
    {"linear-float-512x512-b1", Layer::kLinear, Weights::kFloat, 512, 512, 1, 0},
};

// A fixed sequence of numbers in -1..1.
double next() {
  static std::uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (state >> 8) / 8388608.0 - 1;
}
std::vector<float> floats(std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(next());
  return values;
}
// Like trained weights: most are small, a few are large.
std::vector<std::int8_t> weights(std::size_t count) {
  std::vector<std::int8_t> values(count);
  for (std::int8_t& value : values) {
    value = static_cast<std::int8_t>(127 * next() * next() * next());
  }
  return values;
}

template <typename Matrix>
Matrix matrix(const KernelTable& kernels, const GateLayout& layout, std::size_t depth);
template <>
Int8Matrix matrix(const KernelTable& kernels, const GateLayout& layout, std::size_t depth) {
  const std::vector<std::int8_t> weight = weights(layout.rows() * depth);
  const std::vector<float> bias = floats(layout.rows());
  const float scale = 1.0f / 128;
  return Int8Matrix(kernels, ActivationMode(), {weight.data(), &scale, 1, bias.data()}, layout,
                    depth);
}
template <>
FloatMatrix matrix(const KernelTable&, const GateLayout& layout, std::size_t depth) {
  return FloatMatrix(floats(layout.rows() * depth).data(), floats(layout.rows()).data(), layout,
                     depth);
}
// Values from 0 to 2, made from bits that are never an infinity.
template <>
HalfMatrix matrix(const KernelTable&, const GateLayout& layout, std::size_t depth) {
  std::vector<std::uint16_t> weight(layout.rows() * depth);
  for (std::uint16_t& value : weight) value = static_cast<std::uint16_t>(8192 + 8192 * next());
  return HalfMatrix(weight.data(), floats(layout.rows()).data(), layout, depth);
}
}  // namespace

// callgrind collects inside this function only (--toggle-collect=measured).
extern "C" __attribute__((noinline)) void measured(void (*call)(const void*), const void* context) {
  call(context);
}

namespace {
template <typename Call>
void measure(const Call& call) {
  const auto body = [](const void* context) {
    if ((*static_cast<const Call*>(context))() != Status::kOk) std::abort();
  };
  body(&call);  // the first call may set things up
  measured(body, &call);
}

template <typename Matrix>
void run_rnn(const KernelTable& kernels, const Case& c) {
  const RnnMode mode = c.layer == Layer::kLstm  ? RnnMode::kLstm
                       : c.layer == Layer::kGru ? RnnMode::kGru
                                                : RnnMode::kTanh;
  const RnnSizes sizes = {mode, c.input, c.output, 0, 1, 1};
  const GateLayout layout = {sizes.gates(), c.output};
  std::vector<RnnDirection<Matrix>> cells;
  cells.push_back(
      {matrix<Matrix>(kernels, layout, c.input), matrix<Matrix>(kernels, layout, c.output), {}});
  const Rnn<Matrix> rnn(kernels, sizes, std::move(cells));
  const std::size_t rows = c.steps * c.batch, state = c.batch * c.output;
  const std::vector<float> x = floats(rows * c.input);
  const std::vector<float> h0 = floats(state), c0 = floats(state);
  std::vector<float> y(rows * c.output), hn(state), cn(state);
  const RnnCall call = {c.steps,  c.batch,   nullptr,   rows,     0,         1,
                        x.data(), h0.data(), c0.data(), y.data(), hn.data(), cn.data()};
  measure([&] { return rnn.forward(call); });
}

template <typename Matrix>
void run_linear(const KernelTable& kernels, const Case& c) {
  const Linear<Matrix> linear(kernels, c.output, matrix<Matrix>(kernels, {1, c.output}, c.input),
                              false);
  const std::vector<float> x = floats(c.batch * c.input);
  std::vector<float> out(c.batch * c.output);
  measure([&] { return linear.forward(x.data(), c.batch, out.data()); });
}

template <typename Matrix>
void run_case(const KernelTable& kernels, const Case& c) {
  c.layer == Layer::kLinear ? run_linear<Matrix>(kernels, c) : run_rnn<Matrix>(kernels, c);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    for (const Case& c : kCases) std::puts(c.name);
    return 0;
  }
  set_num_threads(1);
  const KernelTable* kernels = find_table(argv[1]);
  if (kernels == nullptr) return 2;
  for (const Case& c : kCases) {
    if (argc > 2 && std::strcmp(c.name, argv[2]) == 0) {
      if (c.weights == Weights::kInt8) run_case<Int8Matrix>(*kernels, c);
      if (c.weights == Weights::kFloat) run_case<FloatMatrix>(*kernels, c);
      if (c.weights == Weights::kHalf) run_case<HalfMatrix>(*kernels, c);
      return 0;
    }
  }
  return 2;
}
