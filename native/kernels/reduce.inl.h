// SPDX-License-Identifier: MIT
// Reductions of lines. A line is a row, whose elements are neighbours, or a column; columns are
// taken sixteen at a time, each in a lane of its own. A row is the same with its elements in turn
// over the lanes, which are combined at the end. So the order of a sum depends on nothing but the
// line's length.

// A row: whole vectors, then the `rest` of its elements.
struct Row {
  const float* x;
  size_t length;

  size_t vectors() const { return length / 16; }
  size_t rest() const { return length % 16; }
  DYNAQUANT_INLINE F32 vector(size_t i) const { return load(x + 16 * i); }
  // What comes after the whole vectors, and `others` in the lanes behind it.
  DYNAQUANT_INLINE F32 last(F32 others) const {
    return keep_first(load_first(x + (length - rest()), rest()), rest(), others);
  }
  DYNAQUANT_INLINE void write(float* out, size_t i, F32 v) const { store(out + 16 * i, v); }
  DYNAQUANT_INLINE void write_last(float* out, F32 v) const {
    store_first(out + (length - rest()), v, rest());
  }
  // All lanes combined, the same in each.
  template <typename Op>
  DYNAQUANT_INLINE static F32 combined(F32 v) {
    v = Op::join(v, swap_lanes<8>(v));
    v = Op::join(v, swap_lanes<4>(v));
    v = Op::join(v, swap_lanes<2>(v));
    return Op::join(v, swap_lanes<1>(v));
  }
  DYNAQUANT_INLINE void write_result(float* out, F32 v) const { store_first(out, v, 1); }
  Row over(const float* other) const { return {other, length}; }
};

// Up to sixteen columns; all sixteen if `kWhole`.
template <bool kWhole>
struct Columns {
  const float* x;
  size_t length, stride, count;

  size_t vectors() const { return length; }
  static constexpr size_t rest() { return 0; }
  DYNAQUANT_INLINE F32 vector(size_t i) const {
    return kWhole ? load(x + i * stride) : load_first(x + i * stride, count);
  }
  DYNAQUANT_INLINE F32 last(F32 others) const { return others; }
  DYNAQUANT_INLINE void write(float* out, size_t i, F32 v) const {
    write_result(out + i * stride, v);
  }
  DYNAQUANT_INLINE void write_last(float*, F32) const {}
  template <typename Op>
  DYNAQUANT_INLINE static F32 combined(F32 v) {
    return v;
  }
  Columns over(const float* other) const { return {other, length, stride, count}; }
  DYNAQUANT_INLINE void write_result(float* out, F32 v) const {
    if (kWhole) {
      store(out, v);
    } else {
      store_first(out, v, count);
    }
  }
};

// How two vectors become one, what an empty line is, and what join(it, x) leaves x: -0 + -0 is -0.
struct Total {
  static constexpr float kNothing = 0, kStart = -0.0f;
  DYNAQUANT_INLINE static F32 join(F32 a, F32 b) { return add(a, b); }
};
struct Product {
  static constexpr float kNothing = 1, kStart = 1;
  DYNAQUANT_INLINE static F32 join(F32 a, F32 b) { return mul(a, b); }
};
struct Least {
  static constexpr float kNothing = __builtin_inff(), kStart = kNothing;
  DYNAQUANT_INLINE static F32 join(F32 a, F32 b) { return minimum(a, b); }
};
struct Largest {
  static constexpr float kNothing = -__builtin_inff(), kStart = kNothing;
  DYNAQUANT_INLINE static F32 join(F32 a, F32 b) { return maximum(a, b); }
};

// Combines vector(0), vector(1), ... vector(count - 1), each asked for once and in order: blocks of
// sixteen, and the blocks in pairs, pairs of pairs and so on, so that a sum of n vectors passes
// through 5 + log2(n / 16) roundings (through 15 in the last block). vector() may be long, and
// stands at few places.
template <typename Op, typename Vector>
DYNAQUANT_INLINE F32 pairwise(size_t count, const Vector& vector) {
  constexpr size_t kBlock = 16;
  F32 pending[60];  // of 2^k blocks each, k falling
  size_t depth = 0, blocks = 0, i = 0;
  const auto push = [&](F32 block) {
    for (size_t n = ++blocks; n % 2 == 0; n /= 2) block = Op::join(pending[--depth], block);
    pending[depth++] = block;
  };
  for (; count - i >= kBlock; i += kBlock) {
    F32 a = set_f32(Op::kStart), b = a, c = a, d = a;
#pragma GCC unroll 1
    for (size_t k = 0; k < kBlock; k += 4) {
      a = Op::join(a, vector(i + k));
      b = Op::join(b, vector(i + k + 1));
      c = Op::join(c, vector(i + k + 2));
      d = Op::join(d, vector(i + k + 3));
    }
    push(Op::join(Op::join(a, b), Op::join(c, d)));
  }
  F32 result = set_f32(Op::kNothing);
  if (i < count) {
    result = vector(i);
    while (++i < count) result = Op::join(result, vector(i));
  } else if (depth > 0) {
    result = pending[--depth];
  }
  while (depth > 0) result = Op::join(pending[--depth], result);
  return result;
}

// Combines a line: vector(i) is asked for its whole vectors, last() for the rest.
template <typename Op, typename Line, typename Vector, typename Last>
DYNAQUANT_INLINE F32 combine(const Line& line, const Vector& vector, const Last& last) {
  F32 result = pairwise<Op>(line.vectors(), vector);
  if (line.rest() > 0) result = Op::join(result, last());
  return Line::template combined<Op>(result);
}
// The same of value(x) for each element x. Lanes without an element are left out.
template <typename Op, typename Line, typename Value>
DYNAQUANT_INLINE F32 combine_values(const Line& line, const Value& value) {
  const F32 nothing = set_f32(Op::kNothing);
  return combine<Op>(
      line, [&](size_t i) { return value(line.vector(i)); },
      [&] { return keep_first(value(line.last(nothing)), line.rest(), nothing); });
}

// What `Reduction` names.
struct Itself {
  DYNAQUANT_INLINE static F32 of(F32 x) { return x; }
};
struct Magnitude {
  DYNAQUANT_INLINE static F32 of(F32 x) { return abs(x); }
};
struct Squared {
  DYNAQUANT_INLINE static F32 of(F32 x) { return mul(x, x); }
};
template <typename Op, typename Value = Itself>
struct Combined {
  template <typename Line>
  DYNAQUANT_INLINE static F32 of(const Line& line) {
    return combine_values<Op>(line, [](F32 x) { return Value::of(x); });
  }
};

// What is subtracted from a line's elements to center them: its mean, rounded, and the mean of what
// that leaves. A mean far from 0 would otherwise cost as many digits as it has before the point.
struct Center {
  F32 mean, rest;
  DYNAQUANT_INLINE F32 operator()(F32 x) const { return sub(sub(x, mean), rest); }
};
template <typename Line>
DYNAQUANT_INLINE Center center_of(const Line& line) {
  const F32 size = set_f32((float)line.length);
  const F32 mean = div(Combined<Total>::of(line), size);
  const F32 rest = combine_values<Total>(line, [=](F32 x) { return sub(x, mean); });
  return {mean, div(rest, size)};
}
// The sum of (x - mean)^2.
template <typename Line>
DYNAQUANT_INLINE F32 squared_deviations(const Line& line, const Center& center) {
  return combine_values<Total>(line, [&](F32 x) { return mul(center(x), center(x)); });
}
struct SquaredDeviations {
  template <typename Line>
  DYNAQUANT_INLINE static F32 of(const Line& line) {
    return squared_deviations(line, center_of(line));
  }
};

// A line's largest element, and the sum of exp(x - largest).
struct Exponentials {
  F32 largest, sum;
};
// exp(x - largest) is written to `out` unless that is null. Not inlined, because it is long.
template <typename Line>
DYNAQUANT_NOINLINE Exponentials exponentials_of(const Line& of, float* out) {
  const Line line = of;
  const F32 largest = Combined<Largest>::of(line);
  const auto written = [&](size_t i) {
    const F32 e = exp_of_negative(sub(line.vector(i), largest));
    if (out != nullptr) line.write(out, i, e);
    return e;
  };
  const auto last_written = [&] {
    // If all elements are -inf, the lanes behind them are NaN like theirs.
    const F32 e = exp_of_negative(sub(line.last(set_f32(-__builtin_inff())), largest));
    if (out != nullptr) line.write_last(out, e);
    return e;
  };
  return {largest, combine<Total>(line, written, last_written)};
}
struct LogSumExp {
  template <typename Line>
  DYNAQUANT_INLINE static F32 of(const Line& line) {
    const auto [largest, sum] = exponentials_of(line, nullptr);
    // An infinity, or a NaN, is the result.
    const Mask finite = less(abs(largest), set_f32(__builtin_inff()));
    return select(finite, add(largest, log(sum)), largest);
  }
};

DYNAQUANT_INLINE void check_reduction(const float* x, size_t length, size_t count,
                                      const float* out) {
  DYNAQUANT_CHECK(length > 0);
  DYNAQUANT_CHECK(count == 0 || (is_array(x) && is_array(out)));
}

template <typename Result>
inline void reduce_rows_kernel(const float* x, size_t rows, size_t length, float* out) {
  check_reduction(x, length, rows, out);
  for (size_t row = 0; row < rows; ++row) {
    const Row line = {x + row * length, length};
    line.write_result(out + row, Result::of(line));
  }
}

// body(first column, Columns) for sixteen columns at a time.
template <typename Body>
DYNAQUANT_INLINE void for_columns(const float* x, size_t length, size_t stride, size_t columns,
                                  const Body& body) {
  size_t column = 0;
  for (; !kFreeMasks && columns - column >= 16; column += 16) {
    body(column, Columns<true>{x + column, length, stride, 16});
  }
  for (; column < columns; column += 16) {
    const size_t count = columns - column < 16 ? columns - column : 16;
    body(column, Columns<false>{x + column, length, stride, count});
  }
}
template <typename Result>
inline void reduce_columns_kernel(const float* x, size_t length, size_t stride, size_t columns,
                                  float* out) {
  check_reduction(x, length, columns, out);
  for_columns(x, length, stride, columns, [=](size_t column, const auto& line) {
    line.write_result(out + column, Result::of(line));
  });
}
