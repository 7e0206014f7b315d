// SPDX-License-Identifier: MIT
// The tables that were built, best first, and which of them this machine can run.
#ifndef DYNAQUANT_KERNELS_DISPATCH_H_
#define DYNAQUANT_KERNELS_DISPATCH_H_

#include "kernels.h"

namespace dynaquant {

extern "C" {
extern const KernelTable kernel_table_scalar;
extern const KernelTable kernel_table_avx2;
extern const KernelTable kernel_table_avxvnni;
extern const KernelTable kernel_table_avx512vnni;
extern const KernelTable kernel_table_neon;
extern const KernelTable kernel_table_neon_dotprod;
extern const KernelTable kernel_table_neon_i8mm;
}

constexpr size_t kMaxTables = 8;

// Fills `tables` with those this machine can run, best first, and returns their number (1 or more:
// scalar is always the last).
size_t supported_tables(const KernelTable* tables[kMaxTables]);

// The table of that name, or null when it is unknown, not built or not runnable here.
const KernelTable* find_table(const char* name);

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_DISPATCH_H_
