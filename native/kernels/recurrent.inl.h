// SPDX-License-Identifier: MIT
// One step of a recurrent layer: the recurrent product of a group (the gates of 16 units), its
// gates and the new state in one pass. A tile takes a block: one group of an LSTM or GRU, four of
// an RNN, whose one gate would make it narrow. Its products go through a buffer of at most
// kTileRows x 64 floats, which stays in L1, and its gates are computed after the next tile's
// products: they then run in the shadow of those instead of waiting for the end of their own sums.

// The products of a group's gates in memory, read like an array in registers.
struct StoredProducts {
  const float* data;
  DYNAQUANT_INLINE F32 operator[](size_t gate) const { return load(data + gate * kPanelColumns); }
};

// Where a row of a group stands: its input gates, the first of its units, and how many are left.
struct Place {
  Place(const RnnStep& step, size_t row, size_t group, size_t gates)
      : row(row),
        unit(group * kPanelColumns),
        units(step.hidden - unit),
        gi(step.input_gates + row * step.input_stride + unit * gates) {}
  size_t row, unit, units;
  const float* gi;
};

// A mode: the gates of a group, in PyTorch's order, and what becomes of the products `gh` and the
// input gates. In two parts, of which each takes some 60 cycles from its first to its last
// operation: a processor overlaps the same part of several rows, not several rows of both parts.

// c' = (f * c) + (i * g); h' = o * tanh(c'). i * g and o * tanh(c') are one division each.
struct Lstm {
  static constexpr size_t kGates = gates_of(RnnMode::kLstm);
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep& step, const Place& at) {
    float* cell = step.cell + at.row * step.cell_stride + at.unit;
    const F32 i = add(gh[0], load(at.gi)), f = add(gh[1], load(at.gi + 16));
    const F32 g = add(gh[2], load(at.gi + 32));
    const F32 c = add(div(load(cell), one_plus_exp_minus(f)), sigmoid_times_tanh(i, g));
    store(cell, c);
    return c;
  }
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 c, const Products& gh, const RnnStep&, const Place& at) {
    return sigmoid_times_tanh(add(gh[3], load(at.gi + 48)), c);
  }
};

// n = tanh(gi_n + (gh_n * r)); h' = ((h - n) * z) + n. A sigmoid's product is one division.
struct Gru {
  static constexpr size_t kGates = gates_of(RnnMode::kGru);
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep&, const Place& at) {
    const F32 r = add(gh[0], load(at.gi));
    return add(load(at.gi + 32), div(gh[2], one_plus_exp_minus(r)));
  }
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products& gh, const RnnStep& step,
                                     const Place& at) {
    const float* previous = step.previous + at.row * step.previous_stride + at.unit;
    const F32 h = at.units >= kPanelColumns ? load(previous) : load_first(previous, at.units);
    const F32 z = add(gh[1], load(at.gi + 16)), n = tanh(sum);
    return add(div(sub(h, n), one_plus_exp_minus(z)), n);
  }
};

struct OneGate {
  static constexpr size_t kGates = gates_of(RnnMode::kTanh);
  template <typename Products>
  DYNAQUANT_INLINE static F32 first(const Products& gh, const RnnStep&, const Place& at) {
    return add(gh[0], load(at.gi));
  }
};
struct TanhRnn : OneGate {
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products&, const RnnStep&, const Place&) {
    return tanh(sum);
  }
};
struct ReluRnn : OneGate {
  template <typename Products>
  DYNAQUANT_INLINE static F32 second(F32 sum, const Products&, const RnnStep&, const Place&) {
    return max(set_f32(0.0f), sum);
  }
};

// h' of a row of a group, to where it belongs.
template <typename Seen>
DYNAQUANT_INLINE void put(F32 h, const RnnStep& step, const Place& at, const Seen& seen) {
  float* out = step.output + at.row * step.output_stride + at.unit;
  if (at.units >= kPanelColumns) {
    store(out, h);
  } else {
    store_first(out, h, at.units);
  }
  seen(at.row, h);
}

template <typename Mode>
struct Tile {
  static constexpr size_t kPanels = block_panels(Mode::kGates);
  static constexpr size_t kGroups = kPanels / Mode::kGates;
  static constexpr size_t kStride = kPanels * kPanelColumns;
  alignas(64) float products[kTileRows * kStride];
  size_t row, count, group, groups;
};

// The gates of a tile. Between its parts, a row's result takes the place of its first products.
template <typename Mode, typename Seen>
inline void step_tile(Tile<Mode>& tile, const RnnStep& step, const Seen& seen) {
  const auto each = [&](const auto& part) {
#pragma GCC unroll 1
    for (size_t r = 0; r < tile.count; ++r) {
      float* row = tile.products + r * Tile<Mode>::kStride;
#pragma GCC unroll 1
      for (size_t g = 0; g < (Tile<Mode>::kGroups == 1 ? 1 : tile.groups); ++g) {
        part(row + g * Mode::kGates * kPanelColumns,
             Place(step, tile.row + r, tile.group + g, Mode::kGates));
      }
    }
  };
  each([&](float* products, const Place& at) {
    store(products, Mode::first(StoredProducts{products}, step, at));
  });
  each([&](const float* products, const Place& at) {
    put(Mode::second(load(products), StoredProducts{products}, step, at), step, at, seen);
  });
}

// The blocks of the groups [begin, end) in the order of a step: each by its first group.
template <size_t kGroups>
struct Blocks {
  size_t begin, count;
  bool backwards;
  DYNAQUANT_INLINE size_t operator[](size_t i) const {
    return begin + (backwards ? count - 1 - i : i) * kGroups;
  }
};

// One row of blocks of one group: its products stay in registers, where there are many (with 16 of
// 256 bits it is 20 % slower than through memory). The parts of a group's gates stand on both sides
// of the next group's products, whose loads wait for neither long.
template <typename Mode, typename Rows, typename Panels, typename Seen>
inline void step_one(const Rows& h, const Panels& b, const RnnStep& step, const Blocks<1>& groups,
                     const Seen& seen) {
  constexpr size_t kGates = Mode::kGates;
  F32 gates[kGates];
  const auto multiply = [&](size_t i) {
    const size_t first = groups[i] * kGates;
    multiply_tile<1, kGates>(h, 0, b, first, [&](size_t, size_t p, F32 v) { gates[p] = v; });
  };
  if (groups.count > 0) multiply(0);
  for (size_t i = 0; i < groups.count; ++i) {
    const Place at(step, 0, groups[i], kGates);
    F32 last[kGates];
    for (size_t gate = 0; gate < kGates; ++gate) last[gate] = gates[gate];
    const F32 between = Mode::first(last, step, at);
    if (i + 1 < groups.count) multiply(i + 1);
    put(Mode::second(between, last, step, at), step, at, seen);
  }
}

template <typename Mode, typename Rows, typename Panels, typename Seen>
inline void step_groups(const Rows& h, const Panels& b, const RnnStep& step, size_t begin,
                        size_t end, const Seen& seen) {
  constexpr size_t kGroups = Tile<Mode>::kGroups;
  const Blocks<kGroups> blocks = {begin, (end - begin + kGroups - 1) / kGroups, step.backwards};
  if constexpr (kTileWidePanels > 1 && kGroups == 1) {
    if (step.rows == 1) return step_one<Mode>(h, b, step, blocks, seen);
  }
  Tile<Mode> tiles[2];
  FarPanels<Panels> far(b);
  bool pending = false;
  int current = 0;
  for (size_t i = 0; i < blocks.count; ++i) {
    const size_t group = blocks[i];
    for (size_t row = 0, nth = 0; row < step.rows; ++nth) {
      Tile<Mode>& tile = tiles[current];
      tile.row = row;
      tile.count = tile_rows(step.rows - row);
      tile.group = group;
      tile.groups = kGroups < end - group ? kGroups : end - group;
      store_rows<kTileRows>(h, row, tile.count, far.of_tile(nth), group * Mode::kGates,
                            tile.groups * Mode::kGates, tile.products, Tile<Mode>::kStride);
      row += tile.count;
      current ^= 1;
      if (pending) step_tile(tiles[current], step, seen);
      pending = true;
    }
  }
  if (pending) step_tile(tiles[current ^ 1], step, seen);
}

template <typename Mode>
inline void step_int8_kernel(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                             size_t begin, size_t end, RangeLanes* ranges, size_t ranges_step) {
  step_groups<Mode>(h, b, step, begin, end, [=](size_t row, F32 v) {
    RangeLanes* range = ranges + row * ranges_step;
    store(range->min, min(v, load(range->min)));
    store(range->max, max(v, load(range->max)));
  });
}

template <typename Mode>
inline void step_float_kernel(const FloatRows& h, const FloatPanels& b, const RnnStep& step,
                              size_t begin, size_t end) {
  step_groups<Mode>(h, b, step, begin, end, [](size_t, F32) {});
}

template <typename Mode>
inline void step_half_kernel(const FloatRows& h, const HalfPanels& b, const RnnStep& step,
                             size_t begin, size_t end) {
  step_groups<Mode>(h, b, step, begin, end, [](size_t, F32) {});
}
