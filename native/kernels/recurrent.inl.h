// SPDX-License-Identifier: MIT
// One step of a recurrent layer: the recurrent product of a group (the gates of 16 units), its
// gates and the new state in one pass. A tile takes a block: one group of an LSTM or GRU, four
// groups of an RNN, which has one gate. The tile's products go through a buffer of at most
// kTileRows x 64 floats, which stays in L1. Its gates are computed after the next tile's products,
// so that the processor overlaps both instead of waiting for the tile's own sums.

// The products of a group's gates in memory, read like an array in registers.
struct StoredProducts {
  const float* data;
  DYNAQUANT_INLINE F32 operator[](size_t gate) const { return load(data + gate * kPanelColumns); }
};

// Position of one row in one group: its input gates, its first unit, and the number of units from
// there to the end.
struct GatePosition {
  GatePosition(const RnnStep& step, size_t row, size_t group, size_t gates)
      : row(row),
        unit(group * kPanelColumns),
        left(step.hidden - unit),
        gi(step.input_gates + row * step.input_stride + unit * gates) {}
  size_t row, unit, left;
  const float* gi;
};

// A mode: the gates of a group, in PyTorch's order, and the new state from the products `gh` and
// the input gates. It has two parts, each a long chain of operations. A processor overlaps one part
// of several rows, but not both parts.

// c' = (f * c) + (i * g); h' = o * tanh(c'). i * g and o * tanh(c') are one division each.
struct Lstm {
  static constexpr size_t kGates = gates_of(RnnMode::kLstm);
  static constexpr bool kHasCell = true, kReadsPrevious = false;
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep& step,
                                    const GatePosition& at) {
    float* cell = step.cell + at.row * step.cell_stride + at.unit;
    const F32 i = add(gh[0], load(at.gi)), f = add(gh[1], load(at.gi + 16));
    const F32 g = add(gh[2], load(at.gi + 32));
    const F32 c = add(div(load(cell), one_plus_exp_minus(f)), sigmoid_times_tanh(i, g));
    store(cell, c);
    return c;
  }
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 c, const Products& gh, const RnnStep&,
                                     const GatePosition& at) {
    return sigmoid_times_tanh(add(gh[3], load(at.gi + 48)), c);
  }
};

// n = tanh(gi_n + (gh_n * r)); h' = ((h - n) * z) + n. A sigmoid's product is one division.
struct Gru {
  static constexpr size_t kGates = gates_of(RnnMode::kGru);
  static constexpr bool kHasCell = false, kReadsPrevious = true;
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep&, const GatePosition& at) {
    const F32 r = add(gh[0], load(at.gi));
    return add(load(at.gi + 32), div(gh[2], one_plus_exp_minus(r)));
  }
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products& gh, const RnnStep& step,
                                     const GatePosition& at) {
    const float* previous = step.previous + at.row * step.previous_stride + at.unit;
    const F32 h = at.left >= kPanelColumns ? load(previous) : load_first(previous, at.left);
    const F32 z = add(gh[1], load(at.gi + 16)), n = tanh(sum);
    return add(div(sub(h, n), one_plus_exp_minus(z)), n);
  }
};

struct OneGate {
  static constexpr size_t kGates = gates_of(RnnMode::kTanh);
  static constexpr bool kHasCell = false, kReadsPrevious = false;
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep&, const GatePosition& at) {
    return add(gh[0], load(at.gi));
  }
};
struct TanhRnn : OneGate {
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products&, const RnnStep&,
                                     const GatePosition&) {
    return tanh(sum);
  }
};
struct ReluRnn : OneGate {
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products&, const RnnStep&,
                                     const GatePosition&) {
    return max(set_f32(0.0f), sum);
  }
};

// Stores h' of a row of a group, and calls `on_output(row, h')`.
template <typename OnOutput>
DYNAQUANT_INLINE void store_output(F32 h, const RnnStep& step, const GatePosition& at,
                                   const OnOutput& on_output) {
  float* out = step.output + at.row * step.output_stride + at.unit;
  if (at.left >= kPanelColumns) {
    store(out, h);
  } else {
    store_first(out, h, at.left);
  }
  on_output(at.row, h);
}

template <typename Mode, size_t kRows>
struct Tile {
  static constexpr size_t kPanels = block_panels(Mode::kGates);
  static constexpr size_t kGroups = kPanels / Mode::kGates;
  static constexpr size_t kStride = kPanels * kPanelColumns;
  alignas(64) float products[kRows * kStride];
  size_t row, count, group, groups;
};

// Computes a tile's gates. Between the two parts, a row's result replaces its first products.
template <typename Mode, size_t kRows, typename OnOutput>
inline void step_tile(Tile<Mode, kRows>& tile, const RnnStep& step, const OnOutput& on_output) {
  const auto each = [&](const auto& part) {
#pragma GCC unroll 1
    for (size_t r = 0; r < tile.count; ++r) {
      float* row = tile.products + r * Tile<Mode, kRows>::kStride;
#pragma GCC unroll 1
      for (size_t g = 0; g < (Tile<Mode, kRows>::kGroups == 1 ? 1 : tile.groups); ++g) {
        part(row + g * Mode::kGates * kPanelColumns,
             GatePosition(step, tile.row + r, tile.group + g, Mode::kGates));
      }
    }
  };
  each([&](float* products, const GatePosition& at) {
    store(products, Mode::first(StoredProducts{products}, step, at));
  });
  each([&](const float* products, const GatePosition& at) {
    store_output(Mode::second(load(products), StoredProducts{products}, step, at), step, at,
                 on_output);
  });
}

// The first group of each block of the groups [begin, end), in the step's order.
template <size_t kGroups>
struct Blocks {
  size_t begin, count;
  bool backwards;
  DYNAQUANT_INLINE size_t operator[](size_t i) const {
    return begin + (backwards ? count - 1 - i : i) * kGroups;
  }
};

// One row, blocks of one group. The products stay in registers, where there are many: with 16
// registers of 256 bits this is slower than through memory. A group's two parts come before and
// after the next group's products, so that the loads of those wait for neither.
template <typename Mode, typename Rows, typename Panels, typename OnOutput>
inline void step_one(const Rows& h, const Panels& b, const RnnStep& step, const Blocks<1>& groups,
                     const OnOutput& on_output) {
  constexpr size_t kGates = Mode::kGates;
  F32 gates[kGates];
  const auto multiply = [&](size_t i) {
    const size_t first = groups[i] * kGates;
    multiply_tile<1, kGates>(h, 0, b, first, [&](size_t, size_t p, F32 v) { gates[p] = v; });
  };
  if (groups.count > 0) multiply(0);
  for (size_t i = 0; i < groups.count; ++i) {
    const GatePosition at(step, 0, groups[i], kGates);
    F32 last[kGates];
    for (size_t gate = 0; gate < kGates; ++gate) last[gate] = gates[gate];
    const F32 between = Mode::first(last, step, at);
    if (i + 1 < groups.count) multiply(i + 1);
    store_output(Mode::second(between, last, step, at), step, at, on_output);
  }
}

template <typename Mode, typename Rows, typename Panels, typename OnOutput>
inline void step_groups(const Rows& h, const Panels& b, const RnnStep& step, size_t begin,
                        size_t end, const OnOutput& on_output) {
  using StepTile = Tile<Mode, Tiles<Panels>::kRows>;
  constexpr size_t kGroups = StepTile::kGroups;
  const Blocks<kGroups> blocks = {begin, (end - begin + kGroups - 1) / kGroups, step.backwards};
  if constexpr (kBlockTiles && kGroups == 1) {
    if (step.rows == 1) return step_one<Mode>(h, b, step, blocks, on_output);
  }
  StepTile tiles[2];
  Tiles<Panels> panels(b, step.rows, step.backwards);
  bool pending = false;
  int current = 0;
  for (size_t i = 0; i < blocks.count; ++i) {
    const size_t group = blocks[i];
    for (size_t row = 0, nth = 0; row < step.rows; ++nth) {
      StepTile& tile = tiles[current];
      tile.row = row;
      tile.count = panels.rows_of_next(step.rows - row);
      tile.group = group;
      tile.groups = kGroups < end - group ? kGroups : end - group;
      panels.store(nth, h, row, tile.count, group * Mode::kGates, tile.groups * Mode::kGates,
                   tile.products, StepTile::kStride);
      row += tile.count;
      current ^= 1;
      if (pending) step_tile(tiles[current], step, on_output);
      pending = true;
    }
  }
  panels.finish(h);
  if (pending) step_tile(tiles[current ^ 1], step, on_output);
}

DYNAQUANT_INLINE void check_block(const Int8Panels& b, size_t block) {
  DYNAQUANT_CHECK(b.block == block);
}
template <typename Panels>
DYNAQUANT_INLINE void check_block(const Panels&, size_t) {}

template <typename Mode, typename Rows, typename Panels>
DYNAQUANT_INLINE void check_step(const Rows& h, const Panels& b, const RnnStep& step, size_t begin,
                                 size_t end) {
  const size_t groups = panels_of(step.hidden), units = groups * kPanelColumns;
  check_rows(h, step.rows, b);
  check_panels(b);
  check_block(b, block_panels(Mode::kGates));
  DYNAQUANT_CHECK(begin * Mode::kGates % block_panels(Mode::kGates) == 0);
  DYNAQUANT_CHECK(begin <= end && end <= groups);
  DYNAQUANT_CHECK(groups * Mode::kGates == b.panels);
  DYNAQUANT_CHECK(is_array(step.input_gates));
  DYNAQUANT_CHECK(is_apart(step.rows, units * Mode::kGates, step.input_stride));
  DYNAQUANT_CHECK(is_array(step.output));
  DYNAQUANT_CHECK(is_apart(step.rows, step.hidden, step.output_stride));
  if (Mode::kReadsPrevious) {
    DYNAQUANT_CHECK(is_array(step.previous));
    DYNAQUANT_CHECK(is_apart(step.rows, step.hidden, step.previous_stride));
  }
  if constexpr (!kChecks) return;
  if (Mode::kHasCell) {
    DYNAQUANT_CHECK(is_array(step.cell));
    DYNAQUANT_CHECK(is_apart(step.rows, units, step.cell_stride));
    for (size_t row = 0; end == groups && row < step.rows; ++row) {
      for (size_t unit = step.hidden; unit < units; ++unit) {
        DYNAQUANT_CHECK(step.cell[row * step.cell_stride + unit] == 0);
      }
    }
  }
}

template <typename Mode>
inline void step_int8_kernel(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                             size_t begin, size_t end, RangeLanes* ranges, size_t ranges_stride) {
  check_step<Mode>(h, b, step, begin, end);
  check_ranges(ranges, ranges_stride);
  step_groups<Mode>(h, b, step, begin, end, [=](size_t row, F32 v) {
    RangeLanes* range = ranges + row * ranges_stride;
    store(range->min, min(v, load(range->min)));
    store(range->max, max(v, load(range->max)));
  });
}

template <typename Mode>
inline void step_float_kernel(const FloatRows& h, const FloatPanels& b, const RnnStep& step,
                              size_t begin, size_t end) {
  check_step<Mode>(h, b, step, begin, end);
  step_groups<Mode>(h, b, step, begin, end, [](size_t, F32) {});
}

template <typename Mode>
inline void step_half_kernel(const FloatRows& h, const HalfPanels& b, const RnnStep& step,
                             size_t begin, size_t end) {
  check_step<Mode>(h, b, step, begin, end);
  step_groups<Mode>(h, b, step, begin, end, [](size_t, F32) {});
}
