// SPDX-License-Identifier: MIT
// Functions of each element, and of the elements of operands that are broadcast along rows.

#define DYNAQUANT_UNARY(Name, expression)                                                        \
  struct Name {                                                                                  \
    static DYNAQUANT_INLINE F32 of(F32 x, F32 a, F32 b) { return (void)a, (void)b, expression; } \
  }
DYNAQUANT_UNARY(Abs, abs(x));
DYNAQUANT_UNARY(Neg, sub(set_f32(-0.0f), x));
DYNAQUANT_UNARY(Square, mul(x, x));
DYNAQUANT_UNARY(Cube, mul(mul(x, x), x));
DYNAQUANT_UNARY(Sqrt, sqrt(x));
DYNAQUANT_UNARY(Rsqrt, div(set_f32(1.0f), sqrt(x)));
DYNAQUANT_UNARY(Reciprocal, div(set_f32(1.0f), x));
DYNAQUANT_UNARY(Floor, floor(x));
DYNAQUANT_UNARY(Ceil, sub(set_f32(-0.0f), floor(sub(set_f32(-0.0f), x))));
DYNAQUANT_UNARY(Round, round_even(x));
DYNAQUANT_UNARY(Trunc, copy_sign(floor(abs(x)), x));
DYNAQUANT_UNARY(Sign, sign(x));
DYNAQUANT_UNARY(Clamp, clamp(x, a, b));
DYNAQUANT_UNARY(Relu, relu(x));
DYNAQUANT_UNARY(LeakyRelu, leaky_relu(x, a));
DYNAQUANT_UNARY(Hardsigmoid, hardsigmoid(x));
DYNAQUANT_UNARY(Hardswish, hardswish(x));
DYNAQUANT_UNARY(Exp, exp(x));
DYNAQUANT_UNARY(Log, log(x));
DYNAQUANT_UNARY(Erf, erf(x));
DYNAQUANT_UNARY(Sigmoid, sigmoid(x));
DYNAQUANT_UNARY(Tanh, tanh(x));
DYNAQUANT_UNARY(Gelu, gelu(x));
DYNAQUANT_UNARY(GeluTanh, gelu_tanh(x));
DYNAQUANT_UNARY(Silu, silu(x));
DYNAQUANT_UNARY(Softplus, softplus(x, a, b));
DYNAQUANT_UNARY(Elu, elu(x, a));
#undef DYNAQUANT_UNARY

DYNAQUANT_INLINE bool is_disjoint(const float* a, const float* b, size_t count) {
  return a + count <= b || b + count <= a;
}

template <typename Function>
inline void unary_kernel(const float* x, size_t count, const Numbers& numbers, float* out) {
  DYNAQUANT_CHECK(count == 0 || (is_array(x) && is_array(out)));
  DYNAQUANT_CHECK(x == out || is_disjoint(x, out, count));
  const F32 a = set_f32(numbers.a), b = set_f32(numbers.b);
  for (size_t i = 0; i < count; i += 16) {  // the function, which may be long, stands at one place
    const size_t left = count - i;
    const F32 y = Function::of(left >= 16 ? load(x + i) : load_first(x + i, left), a, b);
    if (left >= 16) {
      store(out + i, y);
    } else {
      store_first(out + i, y, left);
    }
  }
}

#define DYNAQUANT_BINARY(Name, Result, expression)                         \
  struct Name {                                                            \
    static DYNAQUANT_INLINE Result of(F32 a, F32 b) { return expression; } \
  }
DYNAQUANT_BINARY(Add, F32, add(a, b));
DYNAQUANT_BINARY(Sub, F32, sub(a, b));
DYNAQUANT_BINARY(Mul, F32, mul(a, b));
DYNAQUANT_BINARY(Div, F32, div(a, b));
DYNAQUANT_BINARY(Minimum, F32, minimum(a, b));
DYNAQUANT_BINARY(Maximum, F32, maximum(a, b));
DYNAQUANT_BINARY(Equal, Mask, equal(a, b));
DYNAQUANT_BINARY(NotEqual, Mask, opposite(equal(a, b)));
DYNAQUANT_BINARY(Less, Mask, less(a, b));
DYNAQUANT_BINARY(LessEqual, Mask, less_equal(a, b));
#undef DYNAQUANT_BINARY

// How sixteen elements, or the `count` that are left, are read and written.
DYNAQUANT_INLINE F32 read(const float* p) { return load(p); }
DYNAQUANT_INLINE F32 read_first(const float* p, size_t count) { return load_first(p, count); }
DYNAQUANT_INLINE Mask read(const uint8_t* p) { return load_mask(p); }
DYNAQUANT_INLINE Mask read_first(const uint8_t* p, size_t count) {
  return load_mask_first(p, count);
}
DYNAQUANT_INLINE void write(float* p, F32 v) { store(p, v); }
DYNAQUANT_INLINE void write_first(float* p, F32 v, size_t count) { store_first(p, v, count); }
DYNAQUANT_INLINE void write(uint8_t* p, Mask m) { store_mask(p, m); }
DYNAQUANT_INLINE void write_first(uint8_t* p, Mask m, size_t count) {
  store_mask_first(p, m, count);
}
DYNAQUANT_INLINE F32 broadcast(const float* p) { return set_f32(*p); }
DYNAQUANT_INLINE Mask broadcast(const uint8_t* p) {
  return opposite(equal(set_f32(*p), set_f32(0.0f)));
}

// A row of an operand: its elements, or one of them again and again.
template <typename Element>
struct OperandRow {
  using Lanes = decltype(broadcast((const Element*)nullptr));

  DYNAQUANT_INLINE OperandRow(const Operand<Element>& operand, size_t row)
      : data(operand.data + row * operand.row_stride),
        repeats(operand.repeats),
        same(broadcast(data)) {}
  DYNAQUANT_INLINE Lanes at(size_t i) const { return repeats ? same : read(data + i); }
  DYNAQUANT_INLINE Lanes first_at(size_t i, size_t count) const {
    return repeats ? same : read_first(data + i, count);
  }

  const Element* data;
  bool repeats;
  Lanes same;
};

template <typename Function, typename Result>
inline void binary_kernel(const Operand<float>& a, const Operand<float>& b, size_t rows,
                          size_t columns, Result* out) {
  DYNAQUANT_CHECK(is_array(a.data) && is_array(b.data) && out != nullptr);
  for (size_t row = 0; row < rows; ++row, out += columns) {
    const OperandRow<float> x(a, row), y(b, row);
    size_t i = 0;
    for (; columns - i >= 16; i += 16) write(out + i, Function::of(x.at(i), y.at(i)));
    const size_t left = columns - i;
    if (left) write_first(out + i, Function::of(x.first_at(i, left), y.first_at(i, left)), left);
  }
}

inline void select_kernel(const Operand<uint8_t>& condition, const Operand<float>& yes,
                          const Operand<float>& no, size_t rows, size_t columns, float* out) {
  DYNAQUANT_CHECK(condition.data != nullptr && is_array(yes.data) && is_array(no.data));
  DYNAQUANT_CHECK(is_array(out));
  for (size_t row = 0; row < rows; ++row, out += columns) {
    const OperandRow<uint8_t> c(condition, row);
    const OperandRow<float> x(yes, row), y(no, row);
    size_t i = 0;
    for (; columns - i >= 16; i += 16) store(out + i, select(c.at(i), x.at(i), y.at(i)));
    const size_t left = columns - i;
    if (left) {
      const F32 chosen = select(c.first_at(i, left), x.first_at(i, left), y.first_at(i, left));
      store_first(out + i, chosen, left);
    }
  }
}

// Each in the order of its enum in kernels.h.
template <typename... Functions>
constexpr void add_unaries(KernelTable& table) {
  static_assert(sizeof...(Functions) == kUnaries, "one each");
  size_t i = 0;
  ((table.unary[i++] = unary_kernel<Functions>), ...);
}
template <typename... Functions>
constexpr void add_binaries(KernelTable& table) {
  static_assert(sizeof...(Functions) == kBinaries, "one each");
  size_t i = 0;
  ((table.binary[i++] = binary_kernel<Functions, float>), ...);
}
template <typename... Functions>
constexpr void add_comparisons(KernelTable& table) {
  static_assert(sizeof...(Functions) == kComparisons, "one each");
  size_t i = 0;
  ((table.comparison[i++] = binary_kernel<Functions, uint8_t>), ...);
}
constexpr void add_elementwise(KernelTable& table) {
  add_unaries<Abs, Neg, Square, Cube, Sqrt, Rsqrt, Reciprocal, Floor, Ceil, Round, Trunc, Sign,
              Clamp, Relu, LeakyRelu, Hardsigmoid, Hardswish, Exp, Log, Erf, Sigmoid, Tanh, Gelu,
              GeluTanh, Silu, Softplus, Elu>(table);
  add_binaries<Add, Sub, Mul, Div, Minimum, Maximum>(table);
  add_comparisons<Equal, NotEqual, Less, LessEqual>(table);
  table.select = select_kernel;
}
