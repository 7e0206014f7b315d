// SPDX-License-Identifier: MIT
// Calls kernels as kernels.h does not allow. kernel-contract.test.ts builds it with
// DYNAQUANT_CHECKS; the argument names the mistake to make.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace dynaquant {
extern "C" const KernelTable kernel_table_scalar;
}
using namespace dynaquant;

int main(int, char** argv) {
  const KernelTable& kernels = kernel_table_scalar;
  const auto makes = [&](const char* mistake) { return std::strcmp(argv[1], mistake) == 0; };

  // An RNN of 80 units: 5 panels, of which 4 make a block.
  constexpr size_t kUnits = 80, kPanels = 5, kWholePanels = 8, kRow = 96;
  alignas(64) static int8_t weights[kWholePanels * kUnits / kQuad * kQuadBytes + 64];
  alignas(64) static int32_t column_sums[kUnits];
  alignas(64) static float column_scales[kUnits], bias[kUnits];
  const Int8Panels b = {weights + (makes("alignment") ? 32 : 0),
                        kMaxBlock,
                        column_sums,
                        column_scales,
                        bias,
                        nullptr,
                        nullptr,
                        kUnits / kQuad,
                        kPanels};

  static float h[kRow], gates[kRow], out[kRow], cell[kRow];
  static RangeLanes ranges[1];
  float scale, inverse;
  int32_t zero_point;
  const RowParams params = {&scale, &inverse, &zero_point, makes("stride") ? 2u : 0u};
  kernels.range({h, kRow}, 1, kUnits, ranges, 0);
  kernels.choose_params(ranges, 1, makes("levels") ? 128 : 127, params);

  static uint8_t q[kRow];
  h[kUnits - 1] = makes("infinity") ? INFINITY : 0;
  kernels.quantize({h, kRow}, 1, kUnits, params, q, kRow);
  kernels.gemm_int8({q, kRow, params}, 1, b, out, kRow, makes("columns") ? kRow : kUnits, false);

  RnnStep step = {};
  step.rows = 1;
  step.hidden = kUnits;
  step.input_gates = gates;
  step.output = out;
  kernels.step_int8[static_cast<size_t>(RnnMode::kTanh)]({q, kRow, params}, b, step,
                                                         makes("block") ? 1 : 0, 5, ranges, 0);

  // An LSTM of 20 units: 2 groups, of which the second is partly used.
  alignas(64) static float float_weights[8 * 20 * kPanelColumns], float_bias[8 * kPanelColumns];
  static float lstm_gates[8 * kPanelColumns];
  step.hidden = 20;
  step.input_gates = lstm_gates;
  step.cell = cell;
  const size_t offsets[] = {0, 1};
  kernels.convolve_run(h, {float_weights, float_bias, offsets, 2, makes("width") ? 17u : 16u, 20},
                       8, {out, 4, 1});
  const float* places[] = {h, h + 1};
  float* place_outputs[] = {out, out + 1};
  kernels.convolve_places({places, place_outputs, 2, 2},
                          {float_weights, float_bias, offsets, 2, makes("panels") ? 8u : 16u, 8});
  kernels.window_max({h, offsets, makes("values") ? 0u : 2u, 2}, 4, out);
  cell[31] = makes("padding") ? 1 : 0;
  kernels.step_float[static_cast<size_t>(RnnMode::kLstm)](
      {h, kRow}, {float_weights, float_bias, 20, 8}, step, 0, 2);
}
