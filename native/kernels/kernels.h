// SPDX-License-Identifier: MIT
// What a kernel promises, on every instruction set. The scalar table is the meaning; every other
// table returns the same bits (tests compare them with no tolerance).
//
// Contract, for all kernels:
// - Activations are uint8: 0..128 with torch's reduced range (128 is a rounding tie, and occurs),
//   0..255 with the full range. Weights are int8 in -128..127, sums int32, exact to a depth of
//   131,071 (65,793 with the full range).
// - A panel is 16 columns. Depth is padded with zero weights to a multiple of 4, columns to 16.
// - Pointers into panels are 64-byte aligned, into float16 panels 32-byte; all others need only
//   their element's alignment.
// - Nothing is read or written outside rows x columns as stated. Buffers alias only where stated.
// - No allocation, no exceptions, no state.
// Builds with DYNAQUANT_CHECKS assert what can be checked of this (contract.inl.h).
#ifndef DYNAQUANT_KERNELS_KERNELS_H_
#define DYNAQUANT_KERNELS_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

#include "check.h"

// For functions that must be inlined, because a call would pass vectors through memory.
#ifndef DYNAQUANT_INLINE
#define DYNAQUANT_INLINE inline __attribute__((always_inline))
#endif
#define DYNAQUANT_NOINLINE __attribute__((noinline))

namespace dynaquant {

constexpr size_t kPanelColumns = 16;  // columns of a panel, lanes of a vocabulary's vectors
constexpr size_t kQuad = 4;           // depth values that one dot instruction takes of a column
constexpr size_t kQuadBytes = kQuad * kPanelColumns;
constexpr size_t kMaxBlock = 4;  // panels that a tile takes together, at most
// The panels that columns fill, and their columns with those that pad the last one.
static DYNAQUANT_INLINE constexpr size_t panels_of(size_t columns) {
  return (columns + kPanelColumns - 1) / kPanelColumns;
}
static DYNAQUANT_INLINE constexpr size_t padded_columns(size_t columns) {
  return panels_of(columns) * kPanelColumns;
}

// What a recurrent layer's step does. PyTorch's modes; the first two have four and three gates.
enum class RnnMode : uint8_t { kLstm, kGru, kTanh, kRelu };
constexpr size_t kRnnModes = 4;
// Panels of a group, the same 16 units each: i, f, g, o; r, z, n; one.
constexpr size_t gates_of(RnnMode mode) {
  return mode == RnnMode::kLstm ? 4 : (mode == RnnMode::kGru ? 3 : 1);
}
// Panels of a block: those of whole groups that fit a tile.
constexpr size_t block_panels(size_t gates) { return gates == 3 ? 3 : kMaxBlock; }

// How a table wants int8 weights to lie. `Int8Packing` (panels.h) packs by it.
struct PanelLayout {
  // A block holds a quad of each of its panels in turn, instead of panel after panel: for tiles
  // that take a block at once. One stream of addresses, at constant offsets, arrives faster than
  // four.
  bool interleaved;
  // Panels have plans: for instruction sets without an 8-bit dot product.
  bool planned;
};

// How an instruction set without an 8-bit dot product may sum a panel's products. The weights prove
// it when they are packed.
enum class Products : uint8_t {
  kPairs,       // a quad alone is safe in int16
  kChains,      // so are runs of quads, whose lengths (1..255) are in `chains`
  kSixteenBit,  // a quad may overflow: 16-bit multiplications with 32-bit sums
};
struct PanelPlan {
  Products products;
  uint32_t first_chain;  // index of the panel's first chain length
};

// An int8 matrix, packed by the table's PanelLayout. A quad of a panel is [column][4], 64 bytes.
// Panels come in blocks of `block`; the last one may be partly used. `bias` is -0.0 where there is
// none, so that fma(sum, scale, bias) is the product alone, its sign of zero included.
struct Int8Panels {
  const int8_t* weights;
  size_t block;
  const int32_t* column_sums;  // sum of a column's weights: what the activations' zero point weighs
  const float* scales;         // one a column
  const float* bias;           // one a column
  const PanelPlan* plans;      // one a panel; null if the layout is not `planned`
  const uint8_t* chains;
  size_t quads;  // padded depth / 4
  size_t panels;
};

// A float matrix, packed: panels[panel][depth][column].
struct FloatPanels {
  const float* weights;
  const float* bias;  // one a column, 0 where there is none
  size_t depth;
  size_t panels;
};

// A float16 matrix, packed in the same order. Weights are raw bits.
struct HalfPanels {
  const uint16_t* weights;
  const float* bias;
  size_t depth;
  size_t panels;
};

// How rows are quantized: real = scale * (q - zero_point). All rows share one set of params (stride
// 0), or each row has its own (stride 1).
struct RowParams {
  float* scales;
  float* inverses;  // 1 / scale
  int32_t* zero_points;
  size_t stride;
};

// Quantized rows, as `quantize` of the same table wrote them. `stride` in bytes, of which 4 * quads
// are read; rows may overlap.
struct Int8Rows {
  const uint8_t* data;
  size_t stride;
  RowParams params;
};

// Float rows, `stride` in floats.
struct FloatRows {
  const float* data;
  size_t stride;
};

// The smallest and largest value seen: the minimum and maximum of sixteen lanes. An empty range is
// all 0, because ranges always contain 0. The sign of a zero is not defined.
struct RangeLanes {
  float min[kPanelColumns];
  float max[kPanelColumns];
};

// One time step of one direction of a recurrent layer, all but the recurrent product.
struct RnnStep {
  size_t rows;               // batch
  size_t hidden;             // units; groups = ceil(hidden / 16)
  const float* input_gates;  // W_ih x + b_ih: [row][group][gate][16]
  size_t input_stride;       // floats
  // LSTM: [row][groups * 16]; c on entry, c' on return; padding is and stays 0.
  float* cell;
  size_t cell_stride;      // floats
  const float* previous;   // GRU: h, [row][hidden]
  size_t previous_stride;  // floats
  float* output;           // h': [row][hidden]
  size_t output_stride;    // floats
  // Take the groups from the last to the first. A caller that changes direction every step starts
  // with the weights that the previous step left in the nearest cache.
  bool backwards;
};

// A row of an embedding table. A stored value means value * scale + offset; integers are unsigned.
struct TableRow {
  const void* data;  // the row's first value; with 4 bits, the byte that holds it
  int bits;          // 32: floats; 8; 4: two a byte, the first in its low half
  bool high;         // with 4 bits: the row's first value is in its byte's high half
  float scale;
  float offset;
};
// How a row is combined with the result so far.
enum class Gather : uint8_t { kSet, kAdd, kMax };

// Elements of 4 bytes that change places: [row][column] here and there, strides in elements.
struct Moves {
  size_t rows;
  size_t columns;
  ptrdiff_t in_row;
  ptrdiff_t in_column;
  ptrdiff_t out_row;
  ptrdiff_t out_column;
};

// What becomes of a line of numbers.
enum class Reduction : uint8_t {
  kSum,
  kSumOfMagnitudes,
  kSumOfSquares,
  kSquaredDeviations,  // sum of (x - mean)^2
  kProduct,
  kLeast,  // a NaN if there is one, as in kLargest
  kLargest,
  kLogSumExp,  // log of the sum of exp(x)
};
constexpr size_t kReductions = 8;

// Parameters of a row: element i has weight[i / repeat] and bias[i / repeat]. Null: no such.
struct Affine {
  const float* weight;
  const float* bias;
  size_t repeat;  // divides the row's length
};

// Functions of one element, some with numbers a and b. A NaN stays NaN. Up to kHardswish each is
// the float operations that it says, in that order. The errors of the others are against exact, in
// ulp of the exact result; where that is subnormal, an ulp is 2^-149. At
// the infinities they have their limits.
enum class Unary : uint8_t {
  kAbs,
  kNeg,
  kSquare,
  kCube,  // (x x) x
  kSqrt,
  kRsqrt,       // 1 / sqrt(x)
  kReciprocal,  // 1 / x
  kFloor,
  kCeil,
  kRound,  // ties to even
  kTrunc,
  kSign,         // 0 for NaN
  kClamp,        // min(max(x, a), b)
  kRelu,         // max(x, 0)
  kLeakyRelu,    // x where it is positive, else a * x
  kHardsigmoid,  // min(max(x + 3, 0), 6) / 6
  kHardswish,    // x * min(max(x + 3, 0), 6) / 6
  kExp,          // within 2 ulp
  kLog,          // within 1 ulp, of subnormal numbers too
  kErf,          // within 2.5 ulp
  kSigmoid,      // within 3.5 ulp, below -20 6; beyond +-87 0 and 1 to 2e-38
  kTanh,         // within 3.5 ulp
  kGelu,         // x Phi(x), Phi of the normal distribution: within 10 ulp, in the far tail too
  kGeluTanh,     // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): within 5 ulp and 6e-8
  kSilu,         // x / (1 + exp(-x)): within 4 ulp, below -87 1e-43
  kSoftplus,     // log(1 + exp(a x)) / a, x where a x > b: within 2.5 ulp, for a = 1
  kElu,          // x where it is positive, else a (exp(x) - 1): within 2 ulp
};
constexpr size_t kUnaries = (size_t)Unary::kElu + 1;
struct Numbers {
  float a, b;
};
// Functions of two. The extremes are NaN where an operand is.
enum class Binary : uint8_t { kAdd, kSub, kMul, kDiv, kMinimum, kMaximum };
constexpr size_t kBinaries = (size_t)Binary::kMaximum + 1;
enum class Comparison : uint8_t { kEqual, kNotEqual, kLess, kLessEqual };
constexpr size_t kComparisons = (size_t)Comparison::kLessEqual + 1;

// Rows of an operand, `row_stride` elements apart (0: all rows are the same). A row has an element
// for each column or, if it `repeats`, one for all of them.
template <typename Element>
struct Operand {
  const Element* data;
  size_t row_stride;
  bool repeats;
};

// What a convolution sums for each output channel: weight * x[position + offset] over its taps.
// panels[panel][tap][channel], `width` channels in a panel: 16, or fewer where one panel holds all.
struct TapPanels {
  const float* weights;
  const float* bias;      // one a channel of the panels, 0 where there is none
  const size_t* offsets;  // one a tap, in floats
  size_t taps;
  size_t width;
  size_t channels;  // of which the last panel may have less than its width
};
// Where neighbouring positions go: channel o of position j to data[o * channel_stride + j * step].
struct RunOut {
  float* data;
  size_t channel_stride;
  size_t step;
};
// Positions anywhere: the input of each, and where its channel 0 goes.
struct Places {
  const float* const* x;
  float* const* out;
  size_t channel_stride;  // of the outputs
  size_t count;
};

// What windows of a row hold: value k of window j is x[offsets[k] + j * step].
struct Windows {
  const float* x;
  const size_t* offsets;
  size_t values;  // of a window, at least 1
  size_t step;
};
// The scores of attention, q k^T: rows of queries, columns of keys.
struct Scores {
  float* data;
  size_t stride;  // floats, at least `columns` and whole sixteens
  size_t rows;
  size_t columns;
  float scale;
  const float* mask;   // is added to the scaled scores; null for none
  size_t mask_stride;  // floats; 0 if all rows share theirs
  size_t visible;      // keys that the first row sees, 1..columns
  bool causal;         // each later row sees one key more, until it sees all
};

// What depends on how an instruction set multiplies bytes.
struct Int8Kernels {
  const char* name;
  PanelLayout layout;
  // A quantized byte is stored as q - stored_offset: 128 where products are of signed bytes.
  int32_t stored_offset;

  // q = clamp(rne(x * inverse) + zero_point, 0, 255), |x * inverse| < 2^22, in the table's stored
  // form. A row is written in whole sixteens; bytes from `columns` on become the zero point. Exact.
  void (*quantize)(const FloatRows& x, size_t rows, size_t columns, const RowParams& params,
                   uint8_t* out, size_t out_stride);

  // out[row][column] = fma(float(sum_k (q - zero_point) * w), scale * scales[column],
  // bias[column]); with `relu`, 0 where that is below 0. Writes `columns` of each row; the last
  // panel may be partly used. Exact.
  void (*gemm_int8)(const Int8Rows& a, size_t rows, const Int8Panels& b, float* out,
                    size_t out_stride, size_t columns, bool relu);

  // A step of each mode, as `step_float` below. It also extends ranges[row * ranges_stride] by h'
  // (and by 0 for padding).
  void (*step_int8[kRnnModes])(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                               size_t begin, size_t end, RangeLanes* ranges, size_t ranges_stride);
};

// All kernels of an instruction set. Those of `Int8Kernels` may be compiled for a better one than
// the others.
struct KernelTable : Int8Kernels {
  // Extends ranges[row * ranges_stride] by the rows of x; the stride is 0 or 1. False if a NaN or
  // an infinity was seen.
  bool (*range)(const FloatRows& x, size_t rows, size_t columns, RangeLanes* ranges,
                size_t ranges_stride);

  // Params of `count` ranges with 127 or 255 levels above 0. Empties the ranges. Exact: see
  // choose_params.h.
  void (*choose_params)(RangeLanes* ranges, size_t count, int levels, const RowParams& params);

  // out[row][column] = bias[column] + sum_k a * w, one fma a term, in rising k. With float16
  // weights the sum starts at 0 and the bias is added last.
  void (*gemm_float)(const FloatRows& a, size_t rows, const FloatPanels& b, float* out,
                     size_t out_stride, size_t columns, bool relu);
  void (*gemm_half)(const FloatRows& a, size_t rows, const HalfPanels& b, float* out,
                    size_t out_stride, size_t columns, bool relu);

  // Packs a matrix of `depth` x `columns` into FloatPanels' weights, its last panel padded with
  // zeros. The rows are the matrix's or, `transposed`, its columns. Exact.
  void (*pack)(const FloatRows& b, size_t depth, size_t columns, bool transposed, float* panels);
  // out[column] = sum_k x[k] * b[k][column], in order, as gemm_float does it without bias. Depth is
  // at least 1.
  void (*multiply_row)(const float* x, const FloatRows& b, size_t depth, size_t columns,
                       float* out);

  // score = exp(y - max) / sum of these, y = fma(score, scale, mask) or score * scale, over the
  // keys that a row sees; 0 for the others, and everywhere if all y are -inf. Columns are written
  // in whole sixteens. Each is within (columns / 16 + |y - max| + 10) * 2^-24 of itself if y - max
  // > -87, and below that within 1e-37 of it.
  void (*softmax_scores)(const Scores& scores);

  // A step of each mode, for the groups [begin, end), `begin` at the start of a block. gi are the
  // input gates, gh = gemm(h):
  //   kLstm  c' = sigmoid(f) * c + sigmoid(i) * tanh(g), h' = sigmoid(o) * tanh(c'), of gh + gi
  //   kGru   r, z = sigmoid(gh + gi), n = tanh(gi_n + gh_n * r), h' = (h - n) * z + n
  //   kTanh, kRelu   h' = tanh(gh + gi), h' = relu(gh + gi)
  // See recurrent.inl.h for the roundings.
  void (*step_float[kRnnModes])(const FloatRows& h, const FloatPanels& b, const RnnStep& step,
                                size_t begin, size_t end);
  void (*step_half[kRnnModes])(const FloatRows& h, const HalfPanels& b, const RnnStep& step,
                               size_t begin, size_t end);

  // kSet: out = fma(value, scale, offset); kAdd: out = fma(value, scale, out + offset); kMax: the
  // larger of out and fma(value, scale, offset), for each of the `columns`. Exact.
  void (*gather_row)(const TableRow& row, size_t columns, Gather gather, float* out);

  // out[row * out_row + column * out_column] = in[row * in_row + column * in_column], bit for bit:
  // the elements need not be floats. Fast where both columns are 1 apart (runs), and where those of
  // `in` and the rows of `out` are (a transpose).
  void (*move)(const float* in, const Moves& moves, float* out);

  // Lines: rows, out[row] = what `Reduction` says of x[row * length + i], or columns, out[column]
  // of x[i * stride + column]. A line has at least one element, and gives the same bits whatever
  // lines are beside it. Buffers do not overlap. With u = 2^-24, n elements and r roundings of a
  // term, at most 24 + log2(n / 256) in a row, 15 + log2(n / 16) in a column, and never less than
  // 24 and 15:
  //   kSum, kSumOfMagnitudes   within r u times the sum of magnitudes
  //   kSumOfSquares            within (r + 1) u of itself; kProduct n u
  //   kSquaredDeviations       within (60 + 3 r) u of itself, wherever the mean is
  //   kLogSumExp               within (40 + 2 log2(n) + 3 |result|) u
  // kLeast and kLargest are exact, but the sign of a zero is not defined.
  void (*reduce_rows[kReductions])(const float* x, size_t rows, size_t length, float* out);
  void (*reduce_columns[kReductions])(const float* x, size_t length, size_t stride, size_t columns,
                                      float* out);

  // exp(x - max) / sum of that along the same lines, or with [1] its logarithm. The first is within
  // (40 + 2 log2(n) + max - x) u of itself or 1.2e-38, and 0 where x is -inf; the second within
  // (40 + 2 log2(n) + 4 |result|) u. A line of -inf alone is NaN, as is one with a NaN or inf.
  void (*softmax_rows[2])(const float* x, size_t rows, size_t length, float* out);
  void (*softmax_columns[2])(const float* x, size_t length, size_t stride, size_t columns,
                             float* out);

  // y * weight + bias of each row, y = (x - mean) / sqrt(variance + eps); for normalize_rms
  // y = x / sqrt(mean of x^2 + eps). Within (64 + 2 log2(n / 256)) u, at least 64 u, times
  // (|y| + 1) |weight| + |bias|. A row gives the same bits whatever rows are beside it.
  void (*normalize)(const float* x, size_t rows, size_t length, const Affine& affine, float eps,
                    float* out);
  void (*normalize_rms)(const float* x, size_t rows, size_t length, const Affine& affine, float eps,
                        float* out);
  // fma(x - means[i / repeat], weight, bias), exact as written.
  void (*scale_channels)(const float* x, size_t rows, size_t length, const float* means,
                         const Affine& affine, float* out);
  // out[i] = f(x[i]); `out` may be x. `Unary` has the errors.
  void (*unary[kUnaries])(const float* x, size_t count, const Numbers& numbers, float* out);
  // out[row][column] = f(a, b), out without gaps. Exact: each result is rounded once.
  void (*binary[kBinaries])(const Operand<float>& a, const Operand<float>& b, size_t rows,
                            size_t columns, float* out);
  // 1 where true, else 0. All but kNotEqual are false where an operand is NaN.
  void (*comparison[kComparisons])(const Operand<float>& a, const Operand<float>& b, size_t rows,
                                   size_t columns, uint8_t* out);
  // `yes` where the condition's byte is not 0, else `no`.
  void (*select)(const Operand<uint8_t>& condition, const Operand<float>& yes,
                 const Operand<float>& no, size_t rows, size_t columns, float* out);

  // out = bias[channel] + sum_k weight[channel][k] * x[position + offsets[k]], one fma a tap, in
  // rising k, whichever of the two computes it: within (taps + 1) 2^-24 of the sum of magnitudes,
  // as long as nothing is subnormal. `convolve_run` takes the positions 0..count - 1 of
  // x, `convolve_places` any, but only panels of 16.
  void (*convolve_run)(const float* x, const TapPanels& w, size_t count, const RunOut& out);
  void (*convolve_places)(const Places& places, const TapPanels& w);

  // For each of the windows 0..count - 1. The largest value, of equal ones the first; NaN if one is
  // (the last, if several are). And the sum in rising k, which begins at 0, divided by `divisor`:
  // within (values + 1) 2^-24 of the sum of magnitudes, divided like the sum.
  void (*window_max)(const Windows& windows, size_t count, float* out);
  void (*window_mean)(const Windows& windows, size_t count, float divisor, float* out);
};

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_KERNELS_H_
