// SPDX-License-Identifier: MIT
// Products of int8 tiles whose sums are in tile registers (simd/avx512amx.h): a tile is up to two
// registers of rows x a block. Two registers of rows take two panels at a time, so that each load
// serves two products; a single one takes a block. Prefetching weights gains nothing here.

// Where a product goes: the larger of it and `lowest`, to `columns` of each row.
struct Result {
  float* data;
  size_t stride;
  size_t columns;
  float lowest;
  bool far;  // its lines are prefetched

  Result of_row(size_t row) const { return {data + row * stride, stride, columns, lowest, far}; }
  Result of_panel(size_t panel) const {
    const size_t column = panel * kPanelColumns;
    return {data + column, stride, columns - column, lowest, far};
  }
};

// The sums of some rows and panels in memory, on their way to real numbers.
struct Sums {
  // From a panel to the next. More than two panels have a single register of rows.
  static constexpr size_t panel_size(size_t panels) {
    return (panels > 2 ? 1 : 2) * kRegisterRows * kPanelColumns;
  }

  alignas(64) int32_t data[kMaxBlock * kRegisterRows * kPanelColumns];
  const int32_t* first;  // of the first row
  size_t row, count, panel, panels;
  Result to;
  size_t done;  // rows
};

// RegisterTiles has a `store` of its own.
DYNAQUANT_INLINE void store_all(float* p, F32 v) { store(p, v); }

// Stores tiles, as PrefetchingTiles does. Becoming real numbers takes as long as some hundred
// products, so it happens between the products of what comes next: a tile is complete when the next
// one is stored, or by finish().
class RegisterTiles {
 public:
  static constexpr size_t kRows = 2 * kRegisterRows;

  RegisterTiles(const Int8Panels& b, size_t rows, bool) : b_(b), rest_(b.quads % kRegisterQuads) {
    // Registers are shaped once, because that takes as long as 15 products: all have as many rows,
    // and the last one of a tile begins among those of the one before.
    const size_t registers = (rows + kRegisterRows - 1) / kRegisterRows;
    rows_ = (rows + registers - 1) / registers;
    shape_registers(rows_);
    sums_[current_].count = sums_[current_].done = 0;
  }
  ~RegisterTiles() { release_registers(); }
  RegisterTiles(const RegisterTiles&) = delete;
  RegisterTiles& operator=(const RegisterTiles&) = delete;

  size_t rows_of_next(size_t left) const { return left < 2 * rows_ ? left : 2 * rows_; }

  void store(size_t tile, const Int8Rows& a, size_t row, size_t count, size_t panel, size_t panels,
             float* out, size_t stride) {
    store(tile, a, row, count, panel, panels,
          Result{out, stride, panels * kPanelColumns, -__builtin_inff(), false});
  }
  void store(size_t tile, const Int8Rows& a, size_t row, size_t count, size_t panel, size_t panels,
             const Result& to) {
    if (tile == 0) copy_rest(panel, panels);
    if (count > rows_) {
      size_t p = 0;
      for (; panels - p >= 2; p += 2) multiply<2, 2>(a, row, count, panel, p, to);
      if (p < panels) multiply<2, 1>(a, row, count, panel, p, to);
    } else {
      if (panels == 4) return multiply<1, 4>(a, row, count, panel, 0, to);
      if (panels == 3) return multiply<1, 3>(a, row, count, panel, 0, to);
      if (panels == 2) return multiply<1, 2>(a, row, count, panel, 0, to);
      multiply<1, 1>(a, row, count, panel, 0, to);
    }
  }
  void finish(const Int8Rows& a) { make_real(a, sums_[current_], kRows); }

 private:
  // Copies the last quads of a block, where they fill no register, behind quads of zeros. They are
  // multiplied with the last 64 bytes of the rows.
  void copy_rest(size_t panel, size_t panels) {
    if (rest_ == 0) return;
    const int8_t* block = b_.weights + panel * b_.quads * kQuadBytes;
    for (size_t p = 0; p < panels; ++p) {
      for (size_t i = 0; i < kRegisterQuads; ++i) {
        const size_t quad = b_.quads - kRegisterQuads + i;
        const bool is_rest = i >= kRegisterQuads - rest_;
        copy_quad(is_rest ? block + (quad * b_.block + p) * kQuadBytes : kZeros,
                  rest_weights_ + p * kRegisterBytes + i * kQuadBytes);
      }
    }
  }
  static void copy_quad(const int8_t* from, int8_t* to) {
    _mm512_store_si512(to, load_weights(from).s8x64);
  }

  // Weights of the next 16 quads: of a panel at `data`, its quads `stride` bytes apart; of the next
  // one `panel` bytes further.
  struct NextWeights {
    const int8_t* data;
    size_t stride, panel;
  };
  // Adds their products with 64 bytes of the rows of each register, the second one's `second` bytes
  // after the first one's. Sums are in the registers 0 to 3, rows in 4 and 5, weights in 6 and 7.
  template <int kRowRegisters, int kPanels>
  DYNAQUANT_INLINE static void add_products(const uint8_t* a, size_t stride, size_t second,
                                            const NextWeights& w) {
    load_register<6>(w.data, w.stride);
    load_register<4>(a, stride);
    dot_registers<0, 4, 6>();
    if constexpr (kRowRegisters == 2) {
      load_register<5>(a + second, stride);
      dot_registers<kPanels, 5, 6>();
    }
    if constexpr (kPanels > 1) {
      load_register<7>(w.data + w.panel, w.stride);
      dot_registers<1, 4, 7>();
      if constexpr (kRowRegisters == 2) dot_registers<3, 5, 7>();
    }
    if constexpr (kPanels > 2) {
      load_register<6>(w.data + 2 * w.panel, w.stride);
      dot_registers<2, 4, 6>();
    }
    if constexpr (kPanels > 3) {
      load_register<7>(w.data + 3 * w.panel, w.stride);
      dot_registers<3, 4, 7>();
    }
  }

  // Multiplies `count` rows with kPanels panels of a block, from its panel `first` on.
  template <int kRowRegisters, int kPanels>
  DYNAQUANT_NOINLINE void multiply(const Int8Rows& a, size_t row, size_t count, size_t block,
                                   size_t first, const Result& to) {
    Sums& last = sums_[current_];
    Sums& sums = sums_[current_ ^= 1];
    // The last register's rows end where the tile ends.
    const size_t first_row = kRowRegisters == 2 ? row : row + count - rows_;
    const uint8_t* rows = a.data + first_row * a.stride;
    const size_t second = (count - rows_) * a.stride;
    const int8_t* weights = b_.weights + block * b_.quads * kQuadBytes + first * kQuadBytes;
    const size_t stride = b_.block * kQuadBytes;
    const size_t steps = (b_.quads + kRegisterQuads - 1) / kRegisterQuads;
    const size_t rows_a_step = (last.count + steps - 1) / steps;
    const Result out = to.of_panel(first);
    if (out.far) prefetch_result(out.data, out.stride, count, kPanels * kPanelColumns);
    zero_register<0>();
    zero_register<1>();
    zero_register<2>();
    zero_register<3>();
    for (size_t quad = 0; b_.quads - quad >= kRegisterQuads; quad += kRegisterQuads) {
      add_products<kRowRegisters, kPanels>(rows + quad * kQuad, a.stride, second,
                                           {weights + quad * stride, stride, kQuadBytes});
      make_real(a, last, rows_a_step);
    }
    if (rest_ != 0) {
      add_products<kRowRegisters, kPanels>(
          rows + (b_.quads - kRegisterQuads) * kQuad, a.stride, second,
          {rest_weights_ + first * kRegisterBytes, kQuadBytes, kRegisterBytes});
      make_real(a, last, rows_a_step);
    }
    store_sums<kRowRegisters, kPanels>(sums.data, count);
    sums.first = sums.data + (kRowRegisters == 2 ? 0 : rows_ - count) * kPanelColumns;
    sums.row = row;
    sums.count = count;
    sums.panel = block + first;
    sums.panels = kPanels;
    sums.to = out;
    sums.done = 0;
  }

  // Rows that two registers share have the same sums in both.
  template <int kRowRegisters, int kPanels>
  DYNAQUANT_INLINE void store_sums(int32_t* to, size_t count) const {
    constexpr size_t kSize = Sums::panel_size(kPanels);
    store_register<0>(to);
    if constexpr (kPanels > 1) store_register<1>(to + kSize);
    if constexpr (kRowRegisters == 2) {
      int32_t* second = to + (count - rows_) * kPanelColumns;
      store_register<kPanels>(second);
      if constexpr (kPanels > 1) store_register<3>(second + kSize);
    }
    if constexpr (kPanels > 2) store_register<2>(to + 2 * kSize);
    if constexpr (kPanels > 3) store_register<3>(to + 3 * kSize);
  }

  // Makes real numbers of `count` more rows of sums, or of those that are left.
  DYNAQUANT_INLINE void make_real(const Int8Rows& a, Sums& sums, size_t count) const {
    if (count > sums.count - sums.done) count = sums.count - sums.done;
    if (count == 0) return;
    if (sums.panels == 4) {
      make_real<4>(a, sums, count);
    } else if (sums.panels == 3) {
      make_real<3>(a, sums, count);
    } else if (sums.panels == 2) {
      make_real<2>(a, sums, count);
    } else {
      make_real<1>(a, sums, count);
    }
    sums.done += count;
  }
  template <int kPanels>
  DYNAQUANT_INLINE void make_real(const Int8Rows& a, const Sums& sums, size_t count) const {
    if (a.params.stride == 0) {
      make_real<kPanels, true>(a, sums, count);
    } else {
      make_real<kPanels, false>(a, sums, count);
    }
  }
  template <int kPanels, bool kOneParams>
  DYNAQUANT_NOINLINE void make_real(const Int8Rows& a, const Sums& sums, size_t count) const {
    const size_t row = sums.row + sums.done, columns = sums.to.columns, stride = sums.to.stride;
    const F32 lowest = set_f32(sums.to.lowest);
    Dequantize by[kPanels];
    F32 bias[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      by[p] = dequantize(a, row, b_, sums.panel + p);
      bias[p] = load(b_.bias + (sums.panel + p) * kPanelColumns);
    }
    const int32_t* from = sums.first + sums.done * kPanelColumns;
    float* out = sums.to.data + sums.done * stride;
    for (size_t r = 0; r < count; ++r, from += kPanelColumns, out += stride) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        if (!kOneParams) by[p] = dequantize(a, row + r, b_, sums.panel + p);
        const S32 sum = add(load(from + p * Sums::panel_size(kPanels)), by[p].seed);
        store_some(out, p, max(lowest, fma(to_f32(sum), by[p].scale, bias[p])), columns);
      }
    }
  }
  DYNAQUANT_INLINE static void store_some(float* out, size_t panel, F32 v, size_t columns) {
    const size_t column = panel * kPanelColumns;
    if (columns >= column + kPanelColumns) {
      store_all(out + column, v);
    } else {
      store_first(out + column, v, columns - column);
    }
  }

  alignas(64) static constexpr int8_t kZeros[kQuadBytes] = {};

  const Int8Panels& b_;
  const size_t rest_;  // quads beyond whole registers
  size_t rows_;        // of a register
  int current_ = 0;
  Sums sums_[2];
  alignas(64) int8_t rest_weights_[kMaxBlock * kRegisterBytes];
};
