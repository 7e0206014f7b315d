// SPDX-License-Identifier: MIT
// Every kernel, written once over a vocabulary (simd/<isa>.h), and the table of them. An <isa>.cc
// includes both into its anonymous namespace and exports one table, which is all that may leave it:
// of every kernel, or of the INT8 kernels alone, where the rest would be what another instruction
// set has (isas.inl.h). What a table does not name is not compiled.

// Where this table's kernels find the weights.
constexpr PanelLayout kLayout = {kBlockTiles, kPlanned};

#include "contract.inl.h"
// What kernels are made of.
#include "activations.inl.h"
#include "copy_rows.inl.h"
#include "functions.inl.h"
#include "products.inl.h"
#include "tiles.inl.h"
// Tiles that prefetch.
#include "prefetch.inl.h"
template <typename Panels>
using Tiles = PrefetchingTiles<Panels, kFarBytes != 0, kBlockTiles>;
// Kernels.
#include "convolve.inl.h"
#include "elementwise.inl.h"
#include "embedding.inl.h"
#include "gemm.inl.h"
#include "pack.inl.h"
#include "params.inl.h"
#include "quantize.inl.h"
#include "rearrange.inl.h"
#include "recurrent.inl.h"
#include "reduce.inl.h"
#include "windows.inl.h"
// On reduce.inl.h.
#include "attention.inl.h"
#include "normalization.inl.h"

constexpr Int8Kernels make_int8_kernels(const char* name) {
  Int8Kernels kernels = {};
  kernels.name = name;
  kernels.layout = kLayout;
  kernels.stored_offset = kStoredOffset;
  kernels.quantize = quantize_kernel;
  kernels.gemm_int8 = gemm_kernel<Int8Rows, Int8Panels>;
  kernels.step_int8[(size_t)RnnMode::kLstm] = step_int8_kernel<Lstm>;
  kernels.step_int8[(size_t)RnnMode::kGru] = step_int8_kernel<Gru>;
  kernels.step_int8[(size_t)RnnMode::kTanh] = step_int8_kernel<TanhRnn>;
  kernels.step_int8[(size_t)RnnMode::kRelu] = step_int8_kernel<ReluRnn>;
  return kernels;
}

template <typename Mode>
constexpr void add_steps(KernelTable& table, RnnMode mode) {
  const size_t i = (size_t)mode;
  table.step_float[i] = step_float_kernel<Mode>;
  table.step_half[i] = step_half_kernel<Mode>;
}

template <typename Result>
constexpr void add_reduction(KernelTable& table, Reduction reduction) {
  table.reduce_rows[(size_t)reduction] = reduce_rows_kernel<Result>;
  table.reduce_columns[(size_t)reduction] = reduce_columns_kernel<Result>;
}

constexpr KernelTable make_table(const char* name) {
  KernelTable table = {};
  static_cast<Int8Kernels&>(table) = make_int8_kernels(name);
  table.range = range_kernel;
  table.choose_params = choose_params_kernel;
  table.gemm_float = gemm_kernel<FloatRows, FloatPanels>;
  table.gemm_half = gemm_kernel<FloatRows, HalfPanels>;
  table.pack = pack_kernel;
  table.multiply_row = multiply_row_kernel;
  table.softmax_scores = softmax_scores_kernel;
  add_steps<Lstm>(table, RnnMode::kLstm);
  add_steps<Gru>(table, RnnMode::kGru);
  add_steps<TanhRnn>(table, RnnMode::kTanh);
  add_steps<ReluRnn>(table, RnnMode::kRelu);
  table.gather_row = gather_row_kernel;
  table.move = move_kernel;
  add_reduction<Combined<Total>>(table, Reduction::kSum);
  add_reduction<Combined<Total, Magnitude>>(table, Reduction::kSumOfMagnitudes);
  add_reduction<Combined<Total, Squared>>(table, Reduction::kSumOfSquares);
  add_reduction<SquaredDeviations>(table, Reduction::kSquaredDeviations);
  add_reduction<Combined<Product>>(table, Reduction::kProduct);
  add_reduction<Combined<Least>>(table, Reduction::kLeast);
  add_reduction<Combined<Largest>>(table, Reduction::kLargest);
  add_reduction<LogSumExp>(table, Reduction::kLogSumExp);
  table.softmax_rows[0] = softmax_rows_kernel<false>;
  table.softmax_rows[1] = softmax_rows_kernel<true>;
  table.softmax_columns[0] = softmax_columns_kernel<false>;
  table.softmax_columns[1] = softmax_columns_kernel<true>;
  table.normalize = normalize_kernel;
  table.normalize_rms = normalize_rms_kernel;
  table.scale_channels = scale_channels_kernel;
  add_elementwise(table);
  table.convolve_run = convolve_run_kernel;
  table.convolve_places = convolve_places_kernel;
  table.window_max = window_max_kernel;
  table.window_mean = window_mean_kernel;
  return table;
}

#define DYNAQUANT_KERNEL_TABLE(isa) \
  extern "C" constexpr KernelTable kernel_table_##isa = make_table(#isa)
#define DYNAQUANT_INT8_KERNELS(isa) \
  extern "C" constexpr Int8Kernels int8_kernels_##isa = make_int8_kernels(#isa)
