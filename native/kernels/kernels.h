// SPDX-License-Identifier: MIT
// What a kernel promises, once, for every instruction set. The scalar table is the meaning; every
// other table returns the same bits (tests compare them with no tolerance).
//
// Contract, for all kernels:
// - Activations are uint8 in 0..128 (torch's reduced range; 128 is a rounding tie and does occur),
//   weights int8 in -128..127, sums int32. So a pair sum fits int16 (-32768..32512) and a depth of
//   up to 131,071 fits int32.
// - A panel is 16 columns. Depth is padded with zero weights to a multiple of 4, columns to 16.
// - Pointers into panels are 64-byte aligned; all others need only their element's alignment.
// - Nothing is read or written outside rows x columns as stated; buffers may not alias unless
// stated.
// - No allocation, no exceptions, no state.
#ifndef DYNAQUANT_KERNELS_KERNELS_H_
#define DYNAQUANT_KERNELS_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

// For what must not become a call: vectors in a call go through memory.
#if defined(_MSC_VER)
#define DYNAQUANT_INLINE __forceinline
#else
#define DYNAQUANT_INLINE inline __attribute__((always_inline))
#endif

namespace dynaquant {

constexpr size_t kPanelColumns = 16;  // columns of a panel, lanes of a vocabulary's vectors
constexpr size_t kQuad = 4;           // depth values one dot instruction eats per column
constexpr size_t kLstmGates = 4;      // panels of an LSTM group: i, f, g, o of the same 16 units

// An int8 matrix, packed: panels[panel][quad][column][4]. `bias` is -0.0 where there is none, so
// that fma(sum, scale, bias) is the product alone, its sign of zero included.
struct Int8Panels {
  const int8_t* weights;
  const int32_t* column_sums;  // sum of a column's weights: what the activations' zero point weighs
  const float* scales;         // one a column
  const float* bias;           // one a column
  size_t quads;                // padded depth / 4
  size_t panels;
};

// A float matrix, packed: panels[panel][depth][column].
struct FloatPanels {
  const float* weights;
  const float* bias;  // one a column, 0 where there is none
  size_t depth;
  size_t panels;
};

// Quantized rows: real = scale * (q - zero_point). `stride` in bytes; 4 * quads of a row are read.
struct Int8Rows {
  const uint8_t* data;
  size_t stride;
  float scale;
  int32_t zero_point;
};

// Float rows, `stride` in floats.
struct FloatRows {
  const float* data;
  size_t stride;
};

// Smallest and largest value seen; `finite` is false once a NaN or an infinity was seen.
struct Range {
  float min;
  float max;
  bool finite;
};

// One time step of one direction of an LSTM layer, all but the recurrent product.
struct LstmStep {
  size_t rows;               // batch
  size_t hidden;             // units; groups = ceil(hidden / 16)
  const float* input_gates;  // W_ih x + b_ih: [row][group][gate][16]
  size_t input_stride;       // floats, = groups * 64
  float* cell;               // [row][groups * 16]; c on entry, c' on return; padding is and stays 0
  size_t cell_stride;        // floats
  float* output;             // h': [row][hidden]
  size_t output_stride;      // floats
};

struct KernelTable {
  const char* name;

  // Extends *range by rows x columns of x. Exact; the sign of a zero is not defined.
  void (*range)(const FloatRows& x, size_t rows, size_t columns, Range* range);

  // out = clamp(rne(x * inverse_scale) + zero_point, 0, 255), |x * inverse_scale| < 2^22. A row of
  // bytes is written in whole sixteens: those from `columns` on become the zero point. Exact.
  void (*quantize)(const FloatRows& x, size_t rows, size_t columns, float inverse_scale,
                   int32_t zero_point, uint8_t* out, size_t out_stride);

  // out[row][column] = fma(float(sum_k (q - zero_point) * w), scale * scales[column],
  // bias[column]). Writes `columns` of each row (the last panel may be partly used). Exact.
  void (*gemm_int8)(const Int8Rows& a, size_t rows, const Int8Panels& b, float* out,
                    size_t out_stride, size_t columns);

  // out[row][column] = bias[column] + sum_k a * w, one fma a term, in rising k.
  void (*gemm_float)(const FloatRows& a, size_t rows, const FloatPanels& b, float* out,
                     size_t out_stride, size_t columns);

  // gates = gemm(h) + input_gates; c' = (sigmoid(f) * c) + (sigmoid(i) * tanh(g));
  // h' = sigmoid(o) * tanh(c'), panels in groups of i, f, g, o. The int8 step extends *range by h'
  // (and by 0 where the last group is padded, which no quantization range minds).
  void (*lstm_step_int8)(const Int8Rows& h, const Int8Panels& b, const LstmStep& step,
                         Range* range);
  void (*lstm_step_float)(const FloatRows& h, const FloatPanels& b, const LstmStep& step);

  // Elementwise; within 2 ulp of exact for |x| <= 87 (beyond: 0 and 1 to 2e-38). NaN stays NaN.
  void (*sigmoid)(const float* x, size_t count, float* out);
  void (*tanh)(const float* x, size_t count, float* out);
};

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_KERNELS_H_
