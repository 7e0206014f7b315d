// SPDX-License-Identifier: MIT
// The tables that were built, best first, and which of them this machine can run.
#ifndef DYNAQUANT_KERNELS_DISPATCH_H_
#define DYNAQUANT_KERNELS_DISPATCH_H_

#include "cpu_features.h"
#include "kernels.h"

namespace dynaquant {

constexpr size_t kMaxTables = sizeof(CpuFeatures) / sizeof(bool);

// Fills `tables` with those this machine can run, best first, and returns their number (1 or more:
// scalar always runs).
size_t supported_tables(const KernelTable* tables[kMaxTables]);

// The table of that name, or null when it is unknown, not built or not runnable here.
const KernelTable* find_table(const char* name);

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_DISPATCH_H_
