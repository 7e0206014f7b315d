// SPDX-License-Identifier: MIT
// Softmax along lines, and the normalization of rows by their own mean and variance.

template <bool kLog, typename Line>
DYNAQUANT_INLINE void softmax_line(const Line& line, float* out) {
  const Exponentials all = exponentials_of(line, kLog ? nullptr : out);
  const F32 largest = all.largest, sum = kLog ? log(all.sum) : all.sum;
  const Line from = kLog ? line : line.over(out);
  const auto result = [&](F32 x) { return kLog ? sub(sub(x, largest), sum) : div(x, sum); };
  for (size_t i = 0; i < line.vectors(); ++i) line.write(out, i, result(from.vector(i)));
  if (line.rest() > 0) line.write_last(out, result(from.last(largest)));
}

template <bool kLog>
inline void softmax_rows_kernel(const float* x, size_t rows, size_t length, float* out) {
  check_reduction(x, length, rows, out);
  for (size_t row = 0; row < rows; ++row) {
    softmax_line<kLog>(Row{x + row * length, length}, out + row * length);
  }
}
template <bool kLog>
inline void softmax_columns_kernel(const float* x, size_t length, size_t stride, size_t columns,
                                   float* out) {
  check_reduction(x, length, columns, out);
  for_columns(x, length, stride, columns,
              [=](size_t column, const auto& line) { softmax_line<kLog>(line, out + column); });
}

// A parameter for each element of a row; where there is none, `otherwise`.
struct EachItsOwn {
  Row parameters;
  F32 otherwise;
  DYNAQUANT_INLINE F32 vector(size_t i) const {
    return parameters.x == nullptr ? otherwise : parameters.vector(i);
  }
  DYNAQUANT_INLINE F32 last() const {
    return parameters.x == nullptr ? otherwise : parameters.last(otherwise);
  }
};
// One for all elements.
struct OneForAll {
  F32 parameter;
  DYNAQUANT_INLINE F32 vector(size_t) const { return parameter; }
  DYNAQUANT_INLINE F32 last() const { return parameter; }
};

// fma(value(x - shift), weight, bias) of each element of a row.
template <typename Shift, typename Value, typename Parameter>
DYNAQUANT_INLINE void write_affine(const Row& row, const Shift& shift, const Value& value,
                                   const Parameter& weight, const Parameter& bias, float* out) {
  for (size_t i = 0; i < row.vectors(); ++i) {
    const F32 y = value(sub(row.vector(i), shift.vector(i)));
    row.write(out, i, fma(y, weight.vector(i), bias.vector(i)));
  }
  if (row.rest() == 0) return;
  const F32 y = value(sub(row.last(set_f32(0.0f)), shift.last()));
  row.write_last(out, fma(y, weight.last(), bias.last()));
}

// What multiplies and adds nothing, the sign of a zero included.
constexpr float kNoWeight = 1.0f, kNoBias = -0.0f;
DYNAQUANT_INLINE F32 parameter_or(const float* parameters, size_t i, float otherwise) {
  return set_f32(parameters == nullptr ? otherwise : parameters[i]);
}

DYNAQUANT_INLINE void check_affine(const float* x, size_t rows, size_t length, const Affine& affine,
                                   const float* out) {
  check_reduction(x, length, rows, out);
  DYNAQUANT_CHECK(affine.repeat > 0 && length % affine.repeat == 0);
  DYNAQUANT_CHECK(affine.weight == nullptr || is_array(affine.weight));
  DYNAQUANT_CHECK(affine.bias == nullptr || is_array(affine.bias));
}

DYNAQUANT_INLINE void normalize_row(const Row& row, const Affine& affine, float eps,
                                    const Center& center, F32 squares, float* out) {
  const F32 variance = div(squares, set_f32((float)row.length));
  const F32 factor = div(set_f32(1.0f), sqrt(add(variance, set_f32(eps))));
  const OneForAll shift = {center.mean};
  const auto value = [&](F32 x) { return mul(sub(x, center.rest), factor); };
  if (affine.repeat == 1) {
    const EachItsOwn weight = {{affine.weight, row.length}, set_f32(kNoWeight)};
    const EachItsOwn bias = {{affine.bias, row.length}, set_f32(kNoBias)};
    write_affine(row, shift, value, weight, bias, out);
    return;
  }
  for (size_t i = 0; i < row.length / affine.repeat; ++i) {
    const size_t at = i * affine.repeat;
    const OneForAll weight = {parameter_or(affine.weight, i, kNoWeight)};
    const OneForAll bias = {parameter_or(affine.bias, i, kNoBias)};
    write_affine(Row{row.x + at, affine.repeat}, shift, value, weight, bias, out + at);
  }
}

inline void normalize_kernel(const float* x, size_t rows, size_t length, const Affine& affine,
                             float eps, float* out) {
  check_affine(x, rows, length, affine, out);
  for (size_t i = 0; i < rows * length; i += length) {
    const Row row = {x + i, length};
    const Center center = center_of(row);
    normalize_row(row, affine, eps, center, squared_deviations(row, center), out + i);
  }
}
inline void normalize_rms_kernel(const float* x, size_t rows, size_t length, const Affine& affine,
                                 float eps, float* out) {
  check_affine(x, rows, length, affine, out);
  const Center none = {set_f32(0.0f), set_f32(0.0f)};
  for (size_t i = 0; i < rows * length; i += length) {
    const Row row = {x + i, length};
    normalize_row(row, affine, eps, none, Combined<Total, Squared>::of(row), out + i);
  }
}

inline void scale_channels_kernel(const float* x, size_t rows, size_t length, const float* means,
                                  const Affine& affine, float* out) {
  check_affine(x, rows, length, affine, out);
  DYNAQUANT_CHECK(is_array(means));
  const auto same = [](F32 y) { return y; };
  for (size_t i = 0; i < rows * length; i += length) {
    if (affine.repeat == 1) {
      const EachItsOwn shift = {{means, length}, set_f32(0.0f)};
      const EachItsOwn weight = {{affine.weight, length}, set_f32(kNoWeight)};
      const EachItsOwn bias = {{affine.bias, length}, set_f32(kNoBias)};
      write_affine(Row{x + i, length}, shift, same, weight, bias, out + i);
      continue;
    }
    for (size_t channel = 0; channel < length / affine.repeat; ++channel) {
      const size_t at = i + channel * affine.repeat;
      const OneForAll shift = {set_f32(means[channel])};
      const OneForAll weight = {parameter_or(affine.weight, channel, kNoWeight)};
      const OneForAll bias = {parameter_or(affine.bias, channel, kNoBias)};
      write_affine(Row{x + at, affine.repeat}, shift, same, weight, bias, out + at);
    }
  }
}
