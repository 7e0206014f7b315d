// SPDX-License-Identifier: MIT
// Convolutions over one dimension with int8 weights. With a position's channels beside each other,
// the taps of an output are a run of bytes, so that overlapping runs are the rows of a product.
#ifndef DYNAQUANT_ENGINE_CONVOLUTION_INT8_H_
#define DYNAQUANT_ENGINE_CONVOLUTION_INT8_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/convolution.h"
#include "engine/matrix.h"
#include "engine/status.h"
#include "kernels/kernels.h"

namespace dynaquant {

class Int8Convolution {
 public:
  // `sizes` are of one dimension and not transposed; source.weight: [out_channels][in_channels /
  // groups][column]. One range over the whole input, so `mode` is not per row.
  Int8Convolution(const KernelTable& kernels, const ConvolutionSizes& sizes,
                  const ActivationMode& mode, const Int8Weight& source);

  // As Convolution::forward, on the quantized input. Padding quantizes exactly.
  Status forward(const float* x, const PlaneSizes& in, float* out) const;

  const ConvolutionSizes& sizes() const { return sizes_; }
  PlaneSizes out_planes(const PlaneSizes& in) const {
    return {in.batch, in.rows, convolved(sizes_.columns, in.columns)};
  }
  std::size_t bytes() const;
  double row_ns() const;
  // Writes the weight as it was given.
  void unpack(std::int8_t* weight) const;

 private:
  friend class Int8ConvolutionCall;
  std::size_t group_inputs() const { return sizes_.in_channels / sizes_.groups; }
  std::size_t group_outputs() const { return sizes_.out_channels / sizes_.groups; }

  const KernelTable& kernels_;
  ConvolutionSizes sizes_;
  ActivationMode mode_;
  std::vector<Int8Matrix> groups_;  // [output][tap][input channel]
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_CONVOLUTION_INT8_H_
