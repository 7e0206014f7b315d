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

// How long a thread computes, roughly, before it looks whether anybody still wants the result.
constexpr double kLongNs = 5e6;

// out = x W^T + b, or with `relu` the larger of that and 0. The blocks of panels are shared out. A
// product that takes longer than kLongNs ends early when its call is stopped.
template <typename Rows, typename Matrix>
void multiply(const Machine& machine, const Rows& x, std::size_t rows, const Matrix& matrix,
              const FloatMatrixView& out, bool relu = false) {
  const std::size_t block = matrix.layout().block();
  const std::size_t panels = matrix.all().panels;
  const std::size_t blocks = (panels + block - 1) / block;
  const double ns = product_ns(matrix, rows);
  const std::size_t piece =
      ns < kLongNs ? panels : block * static_cast<std::size_t>(1 + blocks / (ns / kLongNs));
  machine.team.run(
      blocks, grain_for(ns, blocks), [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
        const std::size_t end_panel = std::min(end * block, panels);
        for (std::size_t first = begin * block, last; first < end_panel; first = last) {
          if (machine.team.stopped()) return;
          last = std::min(first + piece, end_panel);
          gemm(machine.kernels, x, rows, matrix.slice(first, last), out.of_panels(first, last),
               relu);
        }
      });
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_PRODUCT_H_
