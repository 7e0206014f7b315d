// SPDX-License-Identifier: MIT
// One LSTM step: the recurrent product of a group (i, f, g, o of 16 units), its gates and the cell
// update in one pass. A tile's products go through a buffer of at most kTileRows x 64 floats, which
// stays in L1, and its gates are computed after the next tile's products: they then run in the
// shadow of those instead of waiting for the end of their own sums.

// c' = (f * c) + (i * g); h' = o * tanh(c'). i * g and o * tanh(c') are one division each.
DYNAQUANT_INLINE F32 lstm_cell(F32 i, F32 f, F32 g, F32 o, F32* c) {
  *c = add(mul(sigmoid(f), *c), sigmoid_times_tanh(i, g));
  return sigmoid_times_tanh(o, *c);
}

// The gates of one row of a group, from its four products.
template <typename Seen>
DYNAQUANT_INLINE void lstm_row(const F32 (&products)[kLstmGates], const LstmStep& step, size_t row,
                               size_t group, const Seen& seen) {
  const size_t unit = group * kPanelColumns;
  const size_t units = step.hidden - unit;
  const float* x = step.input_gates + row * step.input_stride + unit * kLstmGates;
  float* cell = step.cell + row * step.cell_stride + unit;
  float* out = step.output + row * step.output_stride + unit;
  F32 c = load(cell);
  const F32 h = lstm_cell(add(products[0], load(x)), add(products[1], load(x + 16)),
                          add(products[2], load(x + 32)), add(products[3], load(x + 48)), &c);
  store(cell, c);
  if (units >= kPanelColumns) {
    store(out, h);
  } else {
    store_first(out, h, units);
  }
  seen(row, h);
}

struct LstmTile {
  size_t row, count, group;
  F32 products[kTileRows][kLstmGates];
};

template <typename Seen>
inline void lstm_gates(const LstmTile& tile, const LstmStep& step, const Seen& seen) {
#pragma GCC unroll 1
  for (size_t r = 0; r < tile.count; ++r) {
    lstm_row(tile.products[r], step, tile.row + r, tile.group, seen);
  }
}

// One row: its products stay in registers, where there are many (with 16 of 256 bits it is 20 %
// slower than through memory).
template <typename Rows, typename Panels, typename Seen>
inline void lstm_step_one(const Rows& h, const Panels& b, const LstmStep& step, size_t begin,
                          size_t end, const Seen& seen) {
  F32 last[kLstmGates];
  for (size_t group = begin; group < end; ++group) {
    const size_t first = group * kLstmGates;
    F32 products[kLstmGates];
    multiply_tile<1, kLstmGates>(h, 0, b, first,
                                 [&](size_t, size_t panel, F32 v) { products[panel - first] = v; });
    if (group > begin) lstm_row(last, step, 0, group - 1, seen);
    for (size_t gate = 0; gate < kLstmGates; ++gate) last[gate] = products[gate];
  }
  if (end > begin) lstm_row(last, step, 0, end - 1, seen);
}

template <typename Rows, typename Panels, typename Seen>
inline void lstm_step(const Rows& h, const Panels& b, const LstmStep& step, size_t begin,
                      size_t end, const Seen& seen) {
  if constexpr (kTileWidePanels > 1) {
    if (step.rows == 1) return lstm_step_one(h, b, step, begin, end, seen);
  }
  LstmTile tiles[2];
  bool pending = false;
  int current = 0;
  for (size_t group = begin; group < end; ++group) {
    for (size_t row = 0; row < step.rows;) {
      LstmTile& tile = tiles[current];
      tile.row = row;
      tile.count = tile_rows(step.rows - row);
      tile.group = group;
      const size_t first = group * kLstmGates;
      multiply_rows<kTileRows>(
          h, row, tile.count, b, first, kLstmGates,
          [&](size_t r, size_t panel, F32 v) { tile.products[r - row][panel - first] = v; });
      row += tile.count;
      current ^= 1;
      if (pending) lstm_gates(tiles[current], step, seen);
      pending = true;
    }
  }
  if (pending) lstm_gates(tiles[current ^ 1], step, seen);
}

inline void lstm_step_int8_kernel(const Int8Rows& h, const Int8Panels& b, const LstmStep& step,
                                  size_t begin, size_t end, RangeLanes* ranges,
                                  size_t ranges_step) {
  lstm_step(h, b, step, begin, end, [=](size_t row, F32 v) {
    RangeLanes* range = ranges + row * ranges_step;
    store(range->min, min(v, load(range->min)));
    store(range->max, max(v, load(range->max)));
  });
}

inline void lstm_step_float_kernel(const FloatRows& h, const FloatPanels& b, const LstmStep& step,
                                   size_t begin, size_t end) {
  lstm_step(h, b, step, begin, end, [](size_t, F32) {});
}
