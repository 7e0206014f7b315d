// SPDX-License-Identifier: MIT
// AVX-512 with VNNI, and AMX-INT8's eight tile registers of up to 16 rows x 64 bytes. A register of
// rows has 64 bytes of each, one of weights has 16 quads of a panel as they lie, and one of sums
// has a panel's columns of each row. tdpbusd adds 16 x 16 x 64 products, the same integers as as
// many vpdpbusd.

#include "avx512vnni.h"

constexpr size_t kRegisterRows = 16;
constexpr size_t kRegisterQuads = 16;
constexpr size_t kRegisterBytes = kRegisterQuads * kQuadBytes;

// These are in assembly, because gcc's intrinsics want literal numbers of registers, and do not
// tell the compiler that a load reads memory.

// All registers of rows and of sums (0 to 5) get `rows` rows, those of weights (6 and 7) all.
inline void shape_registers(size_t rows) {
  struct alignas(64) {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shapes = {};
  shapes.palette = 1;
  for (int i = 0; i < 8; ++i) {
    shapes.row_bytes[i] = kQuadBytes;
    shapes.rows[i] = (uint8_t)(i < 6 ? rows : kRegisterQuads);
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(shapes));
}
// Leaves the processor without state that a switch of threads would have to save.
inline void release_registers() { __asm__ volatile("tilerelease"); }

template <int kRegister>
DYNAQUANT_INLINE void zero_register() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kRegister));
}
template <int kRegister>
DYNAQUANT_INLINE void load_register(const void* from, size_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kRegister)
                   : "memory");
}
template <int kRegister>
DYNAQUANT_INLINE void store_register(int32_t* to) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(kQuadBytes), "i"(kRegister)
                   : "memory");
}
template <int kSums, int kRows, int kWeights>
DYNAQUANT_INLINE void dot_registers() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRows), "i"(kWeights));
}
