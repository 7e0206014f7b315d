// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <string.h>

namespace dynaquant {

extern "C" {
#define DYNAQUANT_ISA(isa) extern const KernelTable kernel_table_##isa;
#define DYNAQUANT_INT8_ISA(isa, base) extern const Int8Kernels int8_kernels_##isa;
#include "isas.inl.h"
}

[[maybe_unused]] static KernelTable with_int8(KernelTable table, const Int8Kernels& kernels) {
  static_cast<Int8Kernels&>(table) = kernels;
  return table;
}

size_t supported_tables(const KernelTable* tables[kMaxTables]) {
  const CpuFeatures cpu = detect_cpu_features();
  size_t count = 0;
#define DYNAQUANT_ISA(isa) \
  if (cpu.isa) tables[count++] = &kernel_table_##isa;
#define DYNAQUANT_INT8_ISA(isa, base)                                                        \
  static const KernelTable table_##isa = with_int8(kernel_table_##base, int8_kernels_##isa); \
  if (cpu.isa) tables[count++] = &table_##isa;
#include "isas.inl.h"
  return count;
}

const KernelTable* find_table(const char* name) {
  const KernelTable* tables[kMaxTables];
  const size_t count = supported_tables(tables);
  for (size_t i = 0; i < count; ++i) {
    if (strcmp(tables[i]->name, name) == 0) return tables[i];
  }
  return nullptr;
}

}  // namespace dynaquant
