// SPDX-License-Identifier: MIT
#include "engine/elementwise.h"

#include <vector>

#include "bindings/arguments.h"
#include "bindings/call.h"
#include "bindings/environment.h"

namespace dynaquant {
namespace {

enum ElementwiseWord : std::size_t {
  kFunction = kOwnWords,  // its number in its enum
  kCount,                 // of elements of the result
  kNumbers,               // the numbers of a unary function; the operands' strides
};
static_assert(kNumbers + kMaxOperands <= kWords, "there is no such word");

template <typename Function>
Function function_of(Napi::Env env, const CallReader& call, std::size_t count) {
  const std::size_t number = call.size(kFunction, "function");
  if (number >= count) throw_range_error(env, "there is no such function");
  return static_cast<Function>(number);
}

// The dimensions of a result of several operands, the outermost first. The argument is a list of
// the size and the operands' strides of each. If it is undefined there is one dimension, and words
// hold the same.
class AxesArgument {
 public:
  AxesArgument(const CallReader& call, Napi::Env env, const Napi::Value& value,
               std::size_t operands)
      : operands_(operands) {
    if (value.IsUndefined()) {
      for (std::size_t i = 0; i <= operands; ++i) words_[i] = call.number(kCount + i);
      add(env, words_, 1);
    } else {
      const Span<double> span = typed_array<double>(env, value, "axes");
      add(env, span.data, span.size / (1 + operands));
    }
  }

  Axes axes() const {
    return {more_.empty() ? &only_ : more_.data(), more_.empty() ? 1 : more_.size()};
  }
  std::size_t elements() const { return elements_; }
  // How many elements the i-th operand has.
  std::size_t extent(std::size_t i) const { return extents_[i]; }

 private:
  void add(Napi::Env env, const double* numbers, std::size_t rank) {
    if (rank == 0) throw_range_error(env, "there is no axis");
    if (rank > 1) more_.resize(rank);
    Axis* axes = rank > 1 ? more_.data() : &only_;
    for (std::size_t d = 0; d < rank; ++d) {
      Axis& axis = axes[d];
      axis = {size_number(env, *numbers++, "a size"), {}};
      if (axis.size == 0) throw_range_error(env, "a size is 0");
      elements_ = product({elements_, axis.size});
      for (std::size_t i = 0; i < operands_; ++i) {
        axis.strides[i] = size_number(env, *numbers++, "a stride");
        if (d + 1 == rank && axis.strides[i] > 1) {
          throw_range_error(env, "the last stride is neither 0 nor 1");
        }
        extents_[i] = sum({extents_[i], product({axis.size - 1, axis.strides[i]})});
      }
    }
  }

  std::size_t operands_;
  double words_[1 + kMaxOperands];
  Axis only_;
  std::vector<Axis> more_;
  std::size_t elements_ = 1;
  std::size_t extents_[kMaxOperands] = {1, 1, 1};
};

// unary(x, out)
void unary(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  const std::size_t count = call.size(kCount, "count");
  const Numbers numbers = {static_cast<float>(call.number(kNumbers)),
                           static_cast<float>(call.number(kNumbers + 1))};
  const float* x = call.floats(0, "x", count);
  float* out = call.floats(1, "out", count);
  apply(selected_kernels(env), function_of<Unary>(env, call, kUnaries), x, count, numbers, out);
}

// binary(a, b, out, axes)
void binary(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  const AxesArgument axes(call, env, info[3], 2);
  const float* a = call.floats(0, "a", axes.extent(0));
  const float* b = call.floats(1, "b", axes.extent(1));
  float* out = call.floats(2, "out", axes.elements());
  apply(selected_kernels(env), function_of<Binary>(env, call, kBinaries), a, b, axes.axes(), out);
}

// compare(a, b, out, axes)
void compare(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  const AxesArgument axes(call, env, info[3], 2);
  const float* a = call.floats(0, "a", axes.extent(0));
  const float* b = call.floats(1, "b", axes.extent(1));
  std::uint8_t* out = typed_array<std::uint8_t>(env, info[2], "out", axes.elements());
  compare(selected_kernels(env), function_of<Comparison>(env, call, kComparisons), a, b,
          axes.axes(), out);
}

// select(condition, yes, no, out, axes)
void select(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CallReader call(info);
  const AxesArgument axes(call, env, info[4], 3);
  const std::uint8_t* condition =
      typed_array<std::uint8_t>(env, info[0], "condition", axes.extent(0));
  const float* yes = call.floats(1, "yes", axes.extent(1));
  const float* no = call.floats(2, "no", axes.extent(2));
  float* out = call.floats(3, "out", axes.elements());
  select(selected_kernels(env), condition, yes, no, axes.axes(), out);
}

}  // namespace

void init_elementwise(Napi::Env env, Napi::Object exports) {
  exports.Set("unary", Napi::Function::New<unary>(env));
  exports.Set("binary", Napi::Function::New<binary>(env));
  exports.Set("compare", Napi::Function::New<compare>(env));
  exports.Set("select", Napi::Function::New<select>(env));
  add_words(exports, {{"elementwiseFunction", kFunction},
                      {"elementwiseCount", kCount},
                      {"elementwiseNumbers", kNumbers}});
}

}  // namespace dynaquant
