// SPDX-License-Identifier: MIT
// Copies rows, with relu if asked.

// The first `columns` of each row. `from` may be `to`.
inline void copy_rows(const float* from, size_t from_stride, size_t rows, size_t columns, float* to,
                      size_t to_stride, bool relu) {
  // The bound is max's first argument, so that a NaN passes and -0 stays.
  const F32 lowest = set_f32(relu ? 0.0f : -__builtin_inff());
  for (; rows; --rows, from += from_stride, to += to_stride) {
    size_t done = 0;
    for (; columns - done >= kPanelColumns; done += kPanelColumns) {
      store(to + done, max(lowest, load(from + done)));
    }
    if (done < columns) {
      const size_t left = columns - done;
      store_first(to + done, max(lowest, load_first(from + done, left)), left);
    }
  }
}
