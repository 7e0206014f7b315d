// SPDX-License-Identifier: MIT
// One LSTM step: the recurrent product of a group (i, f, g, o of 16 units), its gates and the cell
// update in one pass. A tile's gate values go through a buffer of at most kTileRows x 64 floats,
// which the compiler keeps in registers for a single row and which stays in L1 otherwise.

// c' = (f * c) + (i * g), two products and one sum; h' = o * tanh(c').
DYNAQUANT_INLINE F32 lstm_cell(F32 i, F32 f, F32 g, F32 o, F32* c) {
  *c = add(mul(sigmoid(f), *c), mul(sigmoid(i), tanh(g)));
  return mul(sigmoid(o), tanh(*c));
}

template <int kRows, typename Rows, typename Panels, typename Seen>
inline void lstm_rows(const Rows& h, size_t row, size_t count, const Panels& b, size_t group,
                      const LstmStep& step, Seen& seen) {
  if constexpr (kRows > 1) {
    if (count < kRows) return lstm_rows<kRows - 1>(h, row, count, b, group, step, seen);
  }
  F32 gates[kRows][kLstmGates];
  const size_t first = group * kLstmGates;
  const auto use = [&](size_t r, size_t panel, F32 v) { gates[r - row][panel - first] = v; };
  multiply_rows<kRows>(h, row, kRows, b, first, kLstmGates, use);
  const size_t unit = group * kPanelColumns;
  const size_t units = step.hidden - unit;
#pragma GCC unroll 1
  for (int r = 0; r < kRows; ++r) {
    const float* x = step.input_gates + (row + r) * step.input_stride + first * kPanelColumns;
    float* cell = step.cell + (row + r) * step.cell_stride + unit;
    float* out = step.output + (row + r) * step.output_stride + unit;
    F32 c = load(cell);
    const F32 h_new = lstm_cell(add(gates[r][0], load(x)), add(gates[r][1], load(x + 16)),
                                add(gates[r][2], load(x + 32)), add(gates[r][3], load(x + 48)), &c);
    store(cell, c);
    if (units >= kPanelColumns) {
      store(out, h_new);
    } else {
      store_first(out, h_new, units);
    }
    seen(h_new);
  }
}

template <typename Rows, typename Panels, typename Seen>
inline void lstm_step(const Rows& h, const Panels& b, const LstmStep& step, Seen& seen) {
  const size_t groups = b.panels / kLstmGates;
  for (size_t group = 0; group < groups; ++group) {
    for (size_t row = 0; row < step.rows;) {
      const size_t count = tile_rows(step.rows - row);
      lstm_rows<kTileRows>(h, row, count, b, group, step, seen);
      row += count;
    }
  }
}

inline void lstm_step_int8_kernel(const Int8Rows& h, const Int8Panels& b, const LstmStep& step,
                                  Range* range) {
  F32 low = set_f32(range->min), high = set_f32(range->max);
  const auto seen = [&](F32 v) {
    low = min(v, low);
    high = max(v, high);
  };
  lstm_step(h, b, step, seen);
  range->min = reduce_min(low);
  range->max = reduce_max(high);
}

inline void lstm_step_float_kernel(const FloatRows& h, const FloatPanels& b, const LstmStep& step) {
  const auto seen = [](F32) {};
  lstm_step(h, b, step, seen);
}
