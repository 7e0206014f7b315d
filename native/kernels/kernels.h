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
#define DYNAQUANT_INLINE inline __attribute__((always_inline))
#define DYNAQUANT_NOINLINE __attribute__((noinline))

namespace dynaquant {

constexpr size_t kPanelColumns = 16;  // columns of a panel, lanes of a vocabulary's vectors
constexpr size_t kQuad = 4;           // depth values that one dot instruction takes of a column
constexpr size_t kQuadBytes = kQuad * kPanelColumns;
constexpr size_t kMaxBlock = 4;  // panels that a tile takes together, at most

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
// are read.
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

struct KernelTable {
  const char* name;
  PanelLayout layout;
  // A quantized byte is stored as q - stored_offset: 128 where products are of signed bytes.
  int32_t stored_offset;

  // Extends ranges[row * ranges_stride] by the rows of x; the stride is 0 or 1. False if a NaN or
  // an infinity was seen.
  bool (*range)(const FloatRows& x, size_t rows, size_t columns, RangeLanes* ranges,
                size_t ranges_stride);

  // Params of `count` ranges with 127 or 255 levels above 0. Empties the ranges. Exact: see
  // choose_params.h.
  void (*choose_params)(RangeLanes* ranges, size_t count, int levels, const RowParams& params);

  // q = clamp(rne(x * inverse) + zero_point, 0, 255), |x * inverse| < 2^22, in the table's stored
  // form. A row is written in whole sixteens; bytes from `columns` on become the zero point. Exact.
  void (*quantize)(const FloatRows& x, size_t rows, size_t columns, const RowParams& params,
                   uint8_t* out, size_t out_stride);

  // out[row][column] = fma(float(sum_k (q - zero_point) * w), scale * scales[column],
  // bias[column]); with `relu`, 0 where that is below 0. Writes `columns` of each row; the last
  // panel may be partly used. Exact.
  void (*gemm_int8)(const Int8Rows& a, size_t rows, const Int8Panels& b, float* out,
                    size_t out_stride, size_t columns, bool relu);

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
  // See recurrent.inl.h for the roundings. The int8 step extends ranges[row * ranges_stride] by h'
  // (and by 0 for padding).
  void (*step_int8[kRnnModes])(const Int8Rows& h, const Int8Panels& b, const RnnStep& step,
                               size_t begin, size_t end, RangeLanes* ranges, size_t ranges_stride);
  void (*step_float[kRnnModes])(const FloatRows& h, const FloatPanels& b, const RnnStep& step,
                                size_t begin, size_t end);
  void (*step_half[kRnnModes])(const FloatRows& h, const HalfPanels& b, const RnnStep& step,
                               size_t begin, size_t end);

  // kSet: out = fma(value, scale, offset); kAdd: out = fma(value, scale, out + offset); kMax: the
  // larger of out and fma(value, scale, offset), for each of the `columns`. Exact.
  void (*gather_row)(const TableRow& row, size_t columns, Gather gather, float* out);

  // Elementwise; within 3.5 ulp of exact, sigmoid below -20 within 6 and beyond +-87 0 and 1 to
  // 2e-38. NaN stays NaN.
  void (*sigmoid)(const float* x, size_t count, float* out);
  void (*tanh)(const float* x, size_t count, float* out);
};

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_KERNELS_H_
