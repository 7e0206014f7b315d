// SPDX-License-Identifier: MIT
// Products of rows with a matrix of any kind, shared among a team of threads.
#ifndef DYNAQUANT_ENGINE_PRODUCT_H_
#define DYNAQUANT_ENGINE_PRODUCT_H_

#include <algorithm>
#include <cstddef>

#include "engine/cost.h"
#include "engine/matrix.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"

namespace dynaquant {

// What a call computes on: the kernels of an instruction set, and threads.
struct Machine {
  const KernelTable& kernels;
  Team& team;
};

// A matrix to write: `columns` floats in each row. Rows are `stride` floats apart.
struct FloatMatrixView {
  float* data;
  std::size_t stride;
  std::size_t columns;

  // The columns that the panels [first, last) compute.
  FloatMatrixView of_panels(std::size_t first, std::size_t last) const {
    const std::size_t column = first * kPanelColumns;
    return {data + column, stride, std::min(columns, last * kPanelColumns) - column};
  }
};

inline void gemm(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                 const FloatPanels& panels, const FloatMatrixView& out, bool relu) {
  kernels.gemm_float(x, rows, panels, out.data, out.stride, out.columns, relu);
}
inline void gemm(const KernelTable& kernels, const FloatRows& x, std::size_t rows,
                 const HalfPanels& panels, const FloatMatrixView& out, bool relu) {
  kernels.gemm_half(x, rows, panels, out.data, out.stride, out.columns, relu);
}
inline void gemm(const KernelTable& kernels, const Int8Rows& x, std::size_t rows,
                 const Int8Panels& panels, const FloatMatrixView& out, bool relu) {
  kernels.gemm_int8(x, rows, panels, out.data, out.stride, out.columns, relu);
}

// out = x W^T + b, or with `relu` the larger of that and 0. The blocks of panels are shared out.
template <typename Rows, typename Matrix>
void multiply(const Machine& machine, const Rows& x, std::size_t rows, const Matrix& matrix,
              const FloatMatrixView& out, bool relu = false) {
  const std::size_t block = matrix.layout().block();
  const std::size_t panels = matrix.all().panels;
  const std::size_t blocks = (panels + block - 1) / block;
  machine.team.run(blocks, grain_for(product_ns(matrix, rows), blocks),
                   [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
                     const std::size_t first = begin * block;
                     const std::size_t last = std::min(end * block, panels);
                     gemm(machine.kernels, x, rows, matrix.slice(first, last),
                          out.of_panels(first, last), relu);
                   });
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_PRODUCT_H_
