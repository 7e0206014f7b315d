// SPDX-License-Identifier: MIT
// Largest values and means of windows, 16 neighbouring windows at a time.

// Value k of 16 windows from x on; or, of the first `count` < 16.
DYNAQUANT_INLINE F32 load_windows(const float* x, size_t step, size_t count) {
  if (count == kPanelColumns && step == 1) return load(x);
  if (count == kPanelColumns && step == 2) return load_even(x);
  if (count == 1) return set_f32(*x);
  alignas(64) float lanes[kPanelColumns] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = x[i * step];
  return load(lanes);
}

// Calls `join(so far, value)` with the values of 16 windows in rising k, the first time with
// `start`, and returns the last result.
template <typename Join>
DYNAQUANT_INLINE F32 join_windows(const Windows& windows, size_t window, size_t count, F32 start,
                                  const Join& join) {
  const float* x = windows.x + window * windows.step;
  F32 joined = start;
  for (size_t k = 0; k < windows.values; ++k) {
    joined = join(joined, load_windows(x + windows.offsets[k], windows.step, count));
  }
  return joined;
}

template <typename Join, typename Finish>
DYNAQUANT_INLINE void each_windows(const Windows& windows, size_t count, F32 start,
                                   const Join& join, const Finish& finish, float* out) {
  for (size_t window = 0; window < count; window += kPanelColumns) {
    if (count - window < kPanelColumns && count < kPanelColumns) {
      return store_first(out, finish(join_windows(windows, 0, count, start, join)), count);
    }
    // The last ones go back over windows that are done, rather than beyond the end.
    const size_t first = count - window < kPanelColumns ? count - kPanelColumns : window;
    store(out + first, finish(join_windows(windows, first, kPanelColumns, start, join)));
  }
}

DYNAQUANT_INLINE void check_windows(const Windows& windows, const float* out) {
  DYNAQUANT_CHECK(is_array(windows.x));
  DYNAQUANT_CHECK(is_array(windows.offsets));
  DYNAQUANT_CHECK(windows.values >= 1);
  DYNAQUANT_CHECK(is_array(out));
}

inline void window_max_kernel(const Windows& windows, size_t count, float* out) {
  check_windows(windows, out);
  each_windows(
      windows, count, set_f32(-__builtin_inff()),
      [](F32 largest, F32 x) { return maximum(x, largest); }, [](F32 v) { return v; }, out);
}

inline void window_mean_kernel(const Windows& windows, size_t count, float divisor, float* out) {
  check_windows(windows, out);
  const F32 by = set_f32(divisor);
  each_windows(
      windows, count, set_f32(0.0f), [](F32 sum, F32 x) { return add(sum, x); },
      [=](F32 sum) { return div(sum, by); }, out);
}
