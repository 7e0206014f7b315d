// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include "kernels.h"

#if !defined(__AMX_INT8__) && !defined(__AMXINT8__)  // the latter is older clang's
#error "this file is compiled with its instruction set's flags only: see binding.gyp"
#endif

namespace dynaquant {
extern "C" const KernelTable kernel_table_avx512vnni;
namespace {
#include "simd/avx512amx.h"
// Where this table's kernels find the weights.
constexpr PanelLayout kLayout = {kBlockTiles, kPlanned};

#include "contract.inl.h"
// What kernels are made of.
#include "activations.inl.h"
#include "copy_rows.inl.h"
#include "products.inl.h"
#include "tiles.inl.h"
// Tiles.
#include "prefetch.inl.h"
#include "registers.inl.h"
template <typename Panels>
using Tiles = RegisterTiles;
// Kernels.
#include "gemm.inl.h"
#include "quantize.inl.h"
#include "recurrent.inl.h"

// Whether vpdpbusd is faster (Emerald Rapids). It takes a third of the time for six rows, and
// shaping registers takes as long as the products of 16 x 128 x 128.
bool is_small(size_t rows, const Int8Panels& b, size_t panels) {
  constexpr size_t kRows = 6, kQuads = 16 * 128 * 128 / kQuadBytes;
  return rows < kRows || b.quads < kRegisterQuads || rows * panels * b.quads < kQuads;
}

void gemm_registers_kernel(const Int8Rows& a, size_t rows, const Int8Panels& b, float* out,
                           size_t out_stride, size_t columns, bool relu) {
  if (is_small(rows, b, b.panels)) {
    return kernel_table_avx512vnni.gemm_int8(a, rows, b, out, out_stride, columns, relu);
  }
  check_product(a, rows, b, out, out_stride, columns);
  RegisterTiles tiles(b, rows, false);
  const Result to = {out, out_stride, columns, relu ? 0.0f : -__builtin_inff(),
                     rows * out_stride > kFarFloats};
  for (size_t panel = 0; panel < b.panels; panel += b.block) {
    const size_t panels = b.panels - panel < b.block ? b.panels - panel : b.block;
    for (size_t row = 0, tile = 0, count; row < rows; row += count, ++tile) {
      count = tiles.rows_of_next(rows - row);
      tiles.store(tile, a, row, count, panel, panels, to.of_row(row).of_panel(panel));
    }
  }
  tiles.finish(a);
}

template <typename Mode, RnnMode kMode>
void step_registers_kernel(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                           size_t begin, size_t end, RangeLanes* ranges, size_t ranges_stride) {
  if (is_small(step.rows, b, (end - begin) * Mode::kGates)) {
    return kernel_table_avx512vnni.step_int8[(size_t)kMode](h, b, step, begin, end, ranges,
                                                            ranges_stride);
  }
  step_int8_kernel<Mode>(h, b, step, begin, end, ranges, ranges_stride);
}
}  // namespace

extern "C" constexpr Int8Kernels int8_kernels_avx512amx = {
    "avx512amx",
    kLayout,
    kStoredOffset,
    quantize_kernel,
    gemm_registers_kernel,
    {step_registers_kernel<Lstm, RnnMode::kLstm>, step_registers_kernel<Gru, RnnMode::kGru>,
     step_registers_kernel<TanhRnn, RnnMode::kTanh>,
     step_registers_kernel<ReluRnn, RnnMode::kRelu>},
};
}  // namespace dynaquant
