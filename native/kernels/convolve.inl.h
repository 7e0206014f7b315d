// SPDX-License-Identifier: MIT
// Convolutions as sums over taps: bias + the sum of weight * x[offset] in rising tap, one fma a
// tap. Lanes are either neighbouring positions, which are read as they lie, or output channels,
// whose weights lie side by side. The sums are the same, so a caller takes what wastes fewer lanes.

// Sums that a tile keeps in registers, in vectors.
constexpr int kTileSums = kTileRows * (kBlockTiles ? (int)kMaxBlock : 1);
// Vectors of positions that a tile of so many channels takes: a power of two.
constexpr int run_vectors(int rows) {
  int vectors = 1;
  while (vectors < 8 && 2 * vectors * rows <= kTileSums) vectors *= 2;
  return vectors;
}

// Writes `count` positions of some channels to places that are out.step apart. Not inlined, because
// every tile ends so.
DYNAQUANT_NOINLINE void scatter(const float* sums, size_t channels, size_t stride, size_t count,
                                const RunOut& out, float* to) {
  for (; channels; --channels, sums += stride, to += out.channel_stride) {
#pragma GCC unroll 16
    for (size_t i = 0; i < count; ++i) to[i * out.step] = sums[i];
  }
}

// kRows channels from `channel` on, at kVectors x 16 positions from `position` on; or, with kFew,
// at the first `count` < 16 of them.
template <int kRows, int kVectors, bool kFew>
DYNAQUANT_NOINLINE void convolve_run_tile(const float* x, const TapPanels& w, size_t channel,
                                          size_t position, size_t count, const RunOut& out) {
  F32 acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const F32 bias = set_f32(w.bias[channel + r]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = bias;
  }
  const float* weights = w.weights + channel / w.width * w.width * w.taps + channel % w.width;
  for (size_t k = 0; k < w.taps; ++k, weights += w.width) {
    const float* from = x + position + w.offsets[k];
    F32 taps[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      taps[v] = kFew ? load_first(from, count) : load(from + v * kPanelColumns);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F32 weight = set_f32(weights[r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = fma(weight, taps[v], acc[r][v]);
    }
  }
  float* to = out.data + channel * out.channel_stride + position * out.step;
  if (out.step == 1) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        float* run = to + r * out.channel_stride + v * kPanelColumns;
        kFew ? store_first(run, acc[r][v], count) : store(run, acc[r][v]);
      }
    }
    return;
  }
  alignas(64) float sums[kRows][kVectors * kPanelColumns];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(&sums[r][v * kPanelColumns], acc[r][v]);
  }
  constexpr size_t kWide = kVectors * kPanelColumns;
  scatter(sums[0], kRows, kWide, kFew ? count : kWide, out, to);
}

// Positions [position, count), count >= 16, in tiles of kVectors and fewer. The last tile goes back
// over positions that are done, rather than beyond the end.
template <int kRows, int kVectors>
inline void convolve_run_tiles(const float* x, const TapPanels& w, size_t channel, size_t position,
                               size_t count, const RunOut& out) {
  constexpr size_t kWide = kVectors * kPanelColumns, kHalf = kVectors / 2 * kPanelColumns;
  for (; count - position >= kWide; position += kWide) {
    convolve_run_tile<kRows, kVectors, false>(x, w, channel, position, 0, out);
  }
  const size_t left = count - position;
  if (left == 0) return;
  if (count >= kWide && left > kHalf) {
    return convolve_run_tile<kRows, kVectors, false>(x, w, channel, count - kWide, 0, out);
  }
  if constexpr (kVectors > 1) {
    convolve_run_tiles<kRows, kVectors / 2>(x, w, channel, position, count, out);
  }
}

template <int kRows>
inline void convolve_run_rows(const float* x, const TapPanels& w, size_t channel, size_t rows,
                              size_t count, const RunOut& out) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return convolve_run_rows<kRows - 1>(x, w, channel, rows, count, out);
  }
  if (count < kPanelColumns) return convolve_run_tile<kRows, 1, true>(x, w, channel, 0, count, out);
  convolve_run_tiles<kRows, run_vectors(kRows)>(x, w, channel, 0, count, out);
}

DYNAQUANT_INLINE void check_taps(const TapPanels& w) {
  DYNAQUANT_CHECK(is_array(w.weights));
  DYNAQUANT_CHECK(is_array(w.bias));
  DYNAQUANT_CHECK(is_array(w.offsets));
  DYNAQUANT_CHECK(w.width >= 1 && w.width <= kPanelColumns);
  DYNAQUANT_CHECK(w.width == kPanelColumns || w.channels <= w.width);
}

DYNAQUANT_INLINE void check_run(const float* x, const TapPanels& w, const RunOut& out) {
  check_taps(w);
  DYNAQUANT_CHECK(is_array(x));
  DYNAQUANT_CHECK(is_array(out.data));
  DYNAQUANT_CHECK(out.step >= 1);
}

inline void convolve_run_kernel(const float* x, const TapPanels& w, size_t count,
                                const RunOut& out) {
  check_run(x, w, out);
  for (size_t panel = 0; panel < w.channels; panel += w.width) {
    const size_t end = w.channels - panel < w.width ? w.channels : panel + w.width;
    for (size_t channel = panel, rows; channel < end; channel += rows) {
      rows = tile_rows(end - channel);
      convolve_run_rows<kTileRows>(x, w, channel, rows, count, out);
    }
  }
}

// kRows positions, kPanels x 16 channels from `channel` on.
template <int kRows, int kPanels>
DYNAQUANT_NOINLINE void convolve_places_tile(const Places& places, const TapPanels& w,
                                             size_t channel, size_t place) {
  F32 acc[kRows][kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const F32 bias = load(w.bias + channel + p * kPanelColumns);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[r][p] = bias;
  }
  const float* from[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) from[r] = places.x[place + r];
  const float* weights = w.weights + channel * w.taps;
  const size_t panel_size = w.taps * kPanelColumns;
  for (size_t k = 0; k < w.taps; ++k, weights += kPanelColumns) {
    const size_t offset = w.offsets[k];
    F32 weight[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) weight[p] = load(weights + p * panel_size);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F32 tap = set_f32(from[r][offset]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[r][p] = fma(weight[p], tap, acc[r][p]);
    }
  }
  alignas(64) float sums[kRows][kPanels * kPanelColumns];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) store(&sums[r][p * kPanelColumns], acc[r][p]);
  }
  const size_t left = w.channels - channel, most = kPanels * kPanelColumns;
  const size_t channels = left < most ? left : most;
  for (size_t c = 0; c < channels; ++c) {
    for (int r = 0; r < kRows; ++r) {
      places.out[place + r][(channel + c) * places.channel_stride] = sums[r][c];
    }
  }
}

template <int kRows>
inline void convolve_places_rows(const Places& places, const TapPanels& w, size_t channel,
                                 size_t place, size_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return convolve_places_rows<kRows - 1>(places, w, channel, place, rows);
  }
  const size_t panels = panels_of(w.channels - channel);
  if constexpr (kRows == 1 || kBlockTiles) {
    if (panels >= 4) return convolve_places_tile<kRows, 4>(places, w, channel, place);
    if (panels == 3) return convolve_places_tile<kRows, 3>(places, w, channel, place);
    if (panels == 2) return convolve_places_tile<kRows, 2>(places, w, channel, place);
    convolve_places_tile<kRows, 1>(places, w, channel, place);
  } else {
    const size_t end = panels < kMaxBlock ? panels : kMaxBlock;
    for (size_t p = 0; p < end; ++p) {
      convolve_places_tile<kRows, 1>(places, w, channel + p * kPanelColumns, place);
    }
  }
}

DYNAQUANT_INLINE void check_places(const Places& places, const TapPanels& w) {
  check_taps(w);
  DYNAQUANT_CHECK(w.width == kPanelColumns);
  DYNAQUANT_CHECK(is_array(places.x));
  DYNAQUANT_CHECK(is_array(places.out));
}

inline void convolve_places_kernel(const Places& places, const TapPanels& w) {
  check_places(places, w);
  for (size_t channel = 0; channel < w.channels; channel += kMaxBlock * kPanelColumns) {
    for (size_t place = 0, rows; place < places.count; place += rows) {
      rows = tile_rows(places.count - place);
      convolve_places_rows<kTileRows>(places, w, channel, place, rows);
    }
  }
}
