// SPDX-License-Identifier: MIT
// Convolutions over one or two dimensions, and transposed ones over one: a kernel that sums over
// taps, a copy that pads, and which output needs which tap.
#ifndef DYNAQUANT_ENGINE_CONVOLUTION_H_
#define DYNAQUANT_ENGINE_CONVOLUTION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/aligned_buffer.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

// What is done along a dimension. All but the padding are at least 1.
struct ConvolutionAxis {
  std::size_t kernel = 1;
  std::size_t stride = 1;
  std::size_t dilation = 1;
  std::size_t before = 0;  // padding
  std::size_t after = 0;
  std::size_t output_padding = 0;  // of a transposed convolution
};

// PyTorch's padding modes.
enum class PaddingMode : std::uint8_t { kZeros, kReflect, kReplicate, kCircular };

struct ConvolutionSizes {
  std::size_t in_channels;
  std::size_t out_channels;
  std::size_t groups;  // divides both
  ConvolutionAxis rows;
  ConvolutionAxis columns;
  PaddingMode padding_mode;
  bool transposed;  // then over columns alone, and padded with zeros
};

// Planes of an input: [batch][channel][rows][columns].
struct PlaneSizes {
  std::size_t batch;
  std::size_t rows;
  std::size_t columns;
};

// Positions along a dimension; 0 if the kernel does not fit the input.
std::size_t convolved(const ConvolutionAxis& axis, std::size_t size);
std::size_t convolved_transposed(const ConvolutionAxis& axis, std::size_t size);

class Convolution {
 public:
  // weight: [out_channels][in_channels / groups][row][column], of a transposed convolution
  // [in_channels][out_channels / groups][column]; bias: [out_channels] or null.
  Convolution(const KernelTable& kernels, const ConvolutionSizes& sizes, const float* weight,
              const float* bias);

  // out: [batch][out_channels][out_rows][out_columns]. A sum starts at the bias and goes over
  // rising (channel, row, column) of the weight, one fma a term. Undefined unless kOk is returned.
  // Padding other than zeros must be what PyTorch allows: see padded_index.
  Status forward(const float* x, const PlaneSizes& in, float* out) const;

  const ConvolutionSizes& sizes() const { return sizes_; }
  PlaneSizes out_planes(const PlaneSizes& in) const;
  std::size_t bytes() const { return weights_.bytes() + bias_.bytes(); }
  // Roughly what an output position takes on one thread, all channels.
  double row_ns() const;

 private:
  friend class ConvolutionCall;

  // The taps that are summed together: all; of a transposed convolution, those that meet a phase of
  // the output. Its phases that no tap meets are the bias alone and have no part.
  struct Part {
    std::size_t phase;                 // 0 unless transposed
    std::vector<std::size_t> columns;  // the weight's
    std::size_t rows;
    std::size_t weights_at;  // of the group 0
    std::size_t taps;        // of all input channels of a group
  };
  std::size_t group_inputs() const { return sizes_.in_channels / sizes_.groups; }
  std::size_t group_outputs() const { return sizes_.out_channels / sizes_.groups; }
  // Channels of a group's panels.
  std::size_t padded_outputs() const;
  std::vector<Part> parts() const;
  void pack(const Part& part, const float* weight);

  const KernelTable& kernels_;
  ConvolutionSizes sizes_;
  std::size_t width_;  // of a panel
  std::vector<Part> parts_;
  AlignedBuffer<float> weights_;  // [part][group][panel][tap][width]
  AlignedBuffer<float> bias_;     // [group][padded_outputs]
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_CONVOLUTION_H_
