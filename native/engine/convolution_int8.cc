// SPDX-License-Identifier: MIT
#include "engine/convolution_int8.h"

#include <algorithm>
#include <numeric>

#include "engine/cost.h"
#include "engine/padded_planes.h"
#include "engine/quantized_rows.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"

namespace dynaquant {

Int8Convolution::Int8Convolution(const KernelTable& kernels, const ConvolutionSizes& sizes,
                                 const ActivationMode& mode, const Int8Weight& source)
    : kernels_(kernels), sizes_(sizes), mode_(mode) {
  const std::size_t taps = sizes.columns.kernel, inputs = group_inputs(), outputs = group_outputs(),
                    depth = taps * inputs;
  std::vector<std::int8_t> weight(outputs * depth);
  for (std::size_t g = 0; g < sizes.groups; ++g) {
    const std::size_t first = g * outputs;
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const std::size_t o = i / depth, c = i / taps % inputs, k = i % taps;
      weight[(o * taps + k) * inputs + c] = source.weight[first * depth + i];
    }
    const bool shared = source.scale_count == 1;
    groups_.emplace_back(
        kernels, mode,
        Int8Weight{weight.data(), source.scales + (shared ? 0 : first), shared ? 1 : outputs,
                   source.bias == nullptr ? nullptr : source.bias + first},
        GateLayout{1, outputs}, depth);
  }
}

std::size_t Int8Convolution::bytes() const {
  std::size_t bytes = 0;
  for (const Int8Matrix& group : groups_) bytes += group.bytes();
  return bytes;
}

double Int8Convolution::row_ns() const {
  return product_ns(groups_[0], 1) * static_cast<double>(sizes_.groups);
}

void Int8Convolution::unpack(std::int8_t* weight) const {
  const std::size_t taps = sizes_.columns.kernel, inputs = group_inputs(), depth = taps * inputs;
  std::vector<std::int8_t> packed(group_outputs() * depth);
  for (const Int8Matrix& group : groups_) {
    group.unpack(packed.data());
    for (std::size_t i = 0; i < packed.size(); ++i) {
      const std::size_t o = i / depth, c = i / taps % inputs, k = i % taps;
      *weight++ = packed[(o * taps + k) * inputs + c];
    }
  }
}

// One forward.
class Int8ConvolutionCall {
 public:
  Int8ConvolutionCall(const Int8Convolution& convolution, const PlaneSizes& in)
      : convolution_(convolution),
        axis_(convolution.sizes_.columns),
        in_(in),
        columns_(convolution.out_planes(in).columns),
        padded_{in.columns, axis_.before, axis_.after},
        phase_((padded_.padded() + axis_.dilation - 1) / axis_.dilation),
        step_(axis_.dilation / std::gcd(axis_.stride, axis_.dilation)) {}

  Status run(const float* x, float* out) const;

 private:
  // Outputs that are computed at a time.
  static constexpr std::size_t kPlaces = 256;
  // Rows are read in quads and written in sixteens.
  static constexpr std::size_t kSpare = 64;

  // A group of an item.
  struct Memory {
    Memory(Scratch& scratch, const Int8ConvolutionCall& call)
        : floats(scratch.take<float>(call.values())),
          bytes(scratch.take<std::uint8_t>(call.values() + kSpare)),
          results(scratch.take<float>(kPlaces * call.convolution_.group_outputs())) {}
    float* floats;
    std::uint8_t* bytes;
    float* results;  // [output position][channel]
  };

  std::size_t values() const {
    return count_of(axis_.dilation, phase_, convolution_.group_inputs());
  }
  void lay_out(const float* x, float* to) const;
  void multiply_group(const Machine& machine, const RowParams& params, const Memory& memory,
                      const Int8Matrix& matrix, float* out) const;

  const Int8Convolution& convolution_;
  const ConvolutionAxis& axis_;
  PlaneSizes in_;
  std::size_t columns_;  // of the output
  PaddedSize padded_;
  // Position j is in phase j % dilation, where the taps of an output are neighbours.
  std::size_t phase_;  // positions of a phase
  std::size_t step_;   // outputs to the next one whose taps are in the same phase
};

Status Int8ConvolutionCall::run(const float* x, float* out) const {
  const std::size_t groups = convolution_.groups_.size();
  const std::size_t inputs = convolution_.group_inputs(), outputs = convolution_.group_outputs();
  const std::size_t count = in_.batch * groups * inputs * in_.columns;
  if (in_.batch * columns_ == 0) return Status::kOk;
  const KernelTable& kernels = convolution_.kernels_;
  RangeLanes range = {};
  if (!kernels.range({x, count}, 1, count, &range, 0)) return Status::kInputNotFinite;
  float scale, inverse;
  std::int32_t zero_point;
  const RowParams params = {&scale, &inverse, &zero_point, 0};
  kernels.choose_params(&range, 1, convolution_.mode_.levels(), params);

  const double ns = static_cast<double>(columns_) * convolution_.row_ns();
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns * static_cast<double>(in_.batch)));
  const Machine machine = {kernels, team};
  WithScratch<Memory> memory(*this);
  std::fill_n(memory->bytes + values(), kSpare, std::uint8_t{0});
  for (std::size_t i = 0; i < in_.batch * groups && !team.stopped(); ++i) {
    lay_out(x + i * inputs * in_.columns, memory->floats);
    kernels.quantize({memory->floats, values()}, 1, values(), params, memory->bytes, values());
    multiply_group(machine, params, *memory, convolution_.groups_[i % groups],
                   out + i * outputs * columns_);
  }
  if (team.stopped()) return Status::kStopped;
  const auto bounded = [scale](const Int8Matrix& m) { return m.bound(scale) < kSafeMagnitude; };
  const std::vector<Int8Matrix>& all = convolution_.groups_;
  const std::size_t results = in_.batch * groups * outputs * columns_;
  return std::all_of(all.begin(), all.end(), bounded) ||
                 all_finite(kernels, {out, results}, 1, results)
             ? Status::kOk
             : Status::kOverflow;
}

// [channel][position] to [phase][position of the phase][channel], padded.
void Int8ConvolutionCall::lay_out(const float* x, float* to) const {
  const std::size_t inputs = convolution_.group_inputs();
  for (std::size_t phase = 0; phase < axis_.dilation; ++phase) {
    for (std::size_t i = 0; i < phase_; ++i, to += inputs) {
      const std::size_t j = i * axis_.dilation + phase;
      const std::size_t at = j < padded_.padded()
                                 ? padded_index(j, padded_, convolution_.sizes_.padding_mode)
                                 : padded_.size;
      for (std::size_t c = 0; c < inputs; ++c) {
        to[c] = at == padded_.size ? 0.0f : x[c * in_.columns + at];
      }
    }
  }
}

// out: [channel][position]. The outputs `first`, `first` + step, ... are rows of one product.
void Int8ConvolutionCall::multiply_group(const Machine& machine, const RowParams& params,
                                         const Memory& memory, const Int8Matrix& matrix,
                                         float* out) const {
  const std::size_t inputs = convolution_.group_inputs(), outputs = convolution_.group_outputs();
  const std::size_t stride = axis_.stride * step_ / axis_.dilation * inputs;
  for (std::size_t first = 0; first < std::min(step_, columns_); ++first) {
    const std::size_t count = (columns_ - first - 1) / step_ + 1, j = first * axis_.stride;
    const std::uint8_t* rows =
        memory.bytes + (j % axis_.dilation * phase_ + j / axis_.dilation) * inputs;
    for (std::size_t begin = 0; begin < count; begin += kPlaces) {
      const std::size_t places = std::min(kPlaces, count - begin);
      multiply(machine, Int8Rows{rows + begin * stride, stride, params}, places, matrix,
               {memory.results, outputs, outputs});
      float* to = out + first + begin * step_;
      for (std::size_t o = 0; o < outputs; ++o) {
        for (std::size_t i = 0; i < places; ++i) {
          to[o * columns_ + i * step_] = memory.results[i * outputs + o];
        }
      }
    }
  }
}

Status Int8Convolution::forward(const float* x, const PlaneSizes& in, float* out) const {
  return Int8ConvolutionCall(*this, in).run(x, out);
}

}  // namespace dynaquant
