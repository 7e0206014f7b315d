// SPDX-License-Identifier: MIT
// The memory of a recurrent call: its shapes, and the buffers that do not depend on the kind of
// weights.
#ifndef DYNAQUANT_ENGINE_RNN_MEMORY_H_
#define DYNAQUANT_ENGINE_RNN_MEMORY_H_

#include <algorithm>
#include <cstddef>

#include "engine/matrix.h"
#include "engine/rnn.h"
#include "engine/scratch.h"

namespace dynaquant {

// A chunk's input gates fit this buffer, unless a single step needs more: enough rows to reuse the
// weights, few enough for the gates to be read back from the L2 cache.
constexpr std::size_t kInputGateBytes = 256 * 1024;
constexpr std::size_t kMinChunkRows = 48;

constexpr std::size_t kLineFloats = 16;

// The shapes of a call, all derived from the layer's sizes and the call.
struct Extents {
  Extents(const RnnSizes& sizes, const RnnCall& call)
      : hidden(sizes.hidden),
        output(sizes.output()),
        batch(call.batch),
        rows(call.rows),
        h_floats(call.batch * output),
        c_floats(sizes.has_cell() ? call.batch * hidden : 0),
        y_stride(sizes.directions * output),
        padded_units(GateLayout{1, hidden}.columns()),
        gate_columns(padded_units * sizes.gates()),
        gate_stride(gate_columns + kLineFloats),
        unit_stride(padded_units + kLineFloats) {
    const std::size_t most =
        std::max(kMinChunkRows, kInputGateBytes / (gate_columns * sizeof(float)));
    chunk_rows = std::min(std::max(most, batch), rows);
    const std::size_t first = sizes.input_of(call.first_layer);
    widest_input = call.layers > 1 ? std::max(first, y_stride) : first;
  }

  std::size_t hidden;
  std::size_t output;  // features of h: `hidden`, or projected
  std::size_t batch;
  std::size_t rows;                // of all steps
  std::size_t h_floats, c_floats;  // of one direction's h and c
  std::size_t y_stride;            // floats from row to row of a layer's output
  std::size_t padded_units;        // `hidden`, rounded up to whole panels
  std::size_t gate_columns;        // of a row of input gates
  // Floats from row to row of the input gates, and of c and of h before its projection. One cache
  // line more than they hold, because the rows of a power of two would all fall into the same set
  // of a cache.
  std::size_t gate_stride, unit_stride;
  std::size_t chunk_rows;    // the most rows of a chunk
  std::size_t widest_input;  // of the layers that run
};

// The buffers that every kind of weights needs.
struct SharedBuffers {
  SharedBuffers(Scratch& scratch, const Extents& e, const RnnCall& call)
      : gates(scratch.take<float>(count_of(e.chunk_rows, e.gate_stride))),
        c(scratch.take<float>(e.c_floats == 0 ? 0 : count_of(e.batch, e.unit_stride))),
        zeros(call.h0 == nullptr ? scratch.take<float>(e.h_floats) : nullptr),
        grown_h(call.batch_sizes != nullptr ? scratch.take<float>(e.h_floats) : nullptr) {
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(call.layers, 3); ++i) {
      between[i] = scratch.take<float>(count_of(e.rows, e.y_stride));
    }
  }

  float* gates;    // the input gates of a chunk
  float* c;        // of one direction; c' replaces it
  float* zeros;    // h0, if the caller has none
  float* grown_h;  // h of a step that has more rows than the one before
  // What one layer writes and the next reads. Two, used in turn, are enough for any number.
  float* between[2] = {nullptr, nullptr};
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_RNN_MEMORY_H_
