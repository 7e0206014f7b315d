// SPDX-License-Identifier: MIT
// What kernels.h asks of a kernel's caller. Each kernel begins with one of these functions. They
// are empty except in builds with DYNAQUANT_CHECKS.

DYNAQUANT_INLINE bool is_aligned(const void* p, size_t alignment) {
  return (uintptr_t)p % alignment == 0;
}
template <typename Element>
DYNAQUANT_INLINE bool is_array(const Element* p) {
  return p != nullptr && is_aligned(p, alignof(Element));
}
// Whether rows of `columns` elements lie one after the other.
DYNAQUANT_INLINE bool is_apart(size_t rows, size_t columns, size_t stride) {
  return rows <= 1 || stride >= columns;
}
DYNAQUANT_INLINE bool is_disjoint(const float* a, const float* b, size_t count) {
  return a + count <= b || b + count <= a;
}
DYNAQUANT_INLINE size_t groups_of(size_t hidden) {
  return (hidden + kPanelColumns - 1) / kPanelColumns;
}

DYNAQUANT_INLINE void check_params(const RowParams& params, size_t rows) {
  DYNAQUANT_CHECK(params.stride <= 1);
  DYNAQUANT_CHECK(is_array(params.scales));
  DYNAQUANT_CHECK(is_array(params.inverses));
  DYNAQUANT_CHECK(is_array(params.zero_points));
  for (size_t row = 0; row < (params.stride == 0 ? 1 : rows); ++row) {
    DYNAQUANT_CHECK(params.zero_points[row] >= 0 && params.zero_points[row] <= 255);
  }
}

DYNAQUANT_INLINE void check_panels(const Int8Panels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 64));
  DYNAQUANT_CHECK(is_aligned(b.column_sums, 64));
  DYNAQUANT_CHECK(is_aligned(b.scales, 64));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
  DYNAQUANT_CHECK(b.block == 3 || b.block == kMaxBlock);
  DYNAQUANT_CHECK((b.plans != nullptr) == kLayout.planned);
  for (size_t panel = 0; kLayout.planned && panel < b.panels; ++panel) {
    if (b.plans[panel].products != Products::kChains) continue;
    size_t quads = 0;
    for (const uint8_t* chain = b.chains + b.plans[panel].first_chain; quads < b.quads; ++chain) {
      DYNAQUANT_CHECK(*chain >= 1);
      quads += *chain;
    }
    DYNAQUANT_CHECK(quads == b.quads);
  }
}
DYNAQUANT_INLINE void check_panels(const FloatPanels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 64));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
}
DYNAQUANT_INLINE void check_panels(const HalfPanels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 32));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
}

DYNAQUANT_INLINE void check_rows(const Int8Rows& a, size_t rows, const Int8Panels& b) {
  DYNAQUANT_CHECK(a.data != nullptr);
  DYNAQUANT_CHECK(is_apart(rows, b.quads * kQuad, a.stride));
  check_params(a.params, rows);
}
template <typename Panels>
DYNAQUANT_INLINE void check_rows(const FloatRows& a, size_t rows, const Panels& b) {
  DYNAQUANT_CHECK(is_array(a.data));
  DYNAQUANT_CHECK(is_apart(rows, b.depth, a.stride));
}

template <typename Rows, typename Panels>
DYNAQUANT_INLINE void check_product(const Rows& a, size_t rows, const Panels& b, const float* out,
                                    size_t out_stride, size_t columns) {
  check_rows(a, rows, b);
  check_panels(b);
  DYNAQUANT_CHECK(is_array(out));
  DYNAQUANT_CHECK(is_apart(rows, columns, out_stride));
  DYNAQUANT_CHECK(columns <= b.panels * kPanelColumns);
  DYNAQUANT_CHECK(columns + kPanelColumns > b.panels * kPanelColumns);
}

DYNAQUANT_INLINE void check_block(const Int8Panels& b, size_t block) {
  DYNAQUANT_CHECK(b.block == block);
}
template <typename Panels>
DYNAQUANT_INLINE void check_block(const Panels&, size_t) {}

template <typename Mode, typename Rows, typename Panels>
DYNAQUANT_INLINE void check_step(const Rows& h, const Panels& b, const RnnStep& step, size_t begin,
                                 size_t end) {
  const size_t groups = groups_of(step.hidden), units = groups * kPanelColumns;
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

DYNAQUANT_INLINE void check_ranges(const RangeLanes* ranges, size_t stride) {
  DYNAQUANT_CHECK(is_array(ranges));
  DYNAQUANT_CHECK(stride <= 1);
}

DYNAQUANT_INLINE void check_range(const FloatRows& x, size_t rows, size_t columns,
                                  const RangeLanes* ranges, size_t stride) {
  DYNAQUANT_CHECK(is_array(x.data));
  DYNAQUANT_CHECK(is_apart(rows, columns, x.stride));
  check_ranges(ranges, stride);
}

DYNAQUANT_INLINE void check_choice(const RangeLanes* ranges, size_t count, int levels,
                                   const RowParams& params) {
  check_ranges(ranges, 1);
  DYNAQUANT_CHECK(levels == 127 || levels == 255);
  DYNAQUANT_CHECK(count <= 1 || params.stride == 1);
  for (size_t i = 0; i < count; ++i) {
    for (size_t lane = 0; lane < kPanelColumns; ++lane) {
      DYNAQUANT_CHECK(ranges[i].min[lane] <= 0 && ranges[i].max[lane] >= 0);
    }
  }
}

DYNAQUANT_INLINE void check_quantize(const FloatRows& x, size_t rows, size_t columns,
                                     const RowParams& params, const uint8_t* out,
                                     size_t out_stride) {
  DYNAQUANT_CHECK(is_array(x.data));
  DYNAQUANT_CHECK(is_apart(rows, columns, x.stride));
  DYNAQUANT_CHECK(out != nullptr);
  DYNAQUANT_CHECK(is_apart(rows, (columns + 15) / 16 * 16, out_stride));
  check_params(params, rows);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const float q = x.data[row * x.stride + column] * params.inverses[row * params.stride];
      DYNAQUANT_CHECK(q < 4194304 && q > -4194304);
    }
  }
}

DYNAQUANT_INLINE void check_table_row(const TableRow& row, const float* out) {
  DYNAQUANT_CHECK(row.bits == 32 || row.bits == 8 || row.bits == 4);
  DYNAQUANT_CHECK(row.data != nullptr);
  DYNAQUANT_CHECK(row.bits < 32 || is_aligned(row.data, alignof(float)));
  DYNAQUANT_CHECK(row.bits == 4 || !row.high);
  DYNAQUANT_CHECK(is_array(out));
}

DYNAQUANT_INLINE void check_elementwise(const float* x, size_t count, const float* out) {
  DYNAQUANT_CHECK(is_array(x) && is_array(out));
  DYNAQUANT_CHECK(is_disjoint(x, out, count));
}
