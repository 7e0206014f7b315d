// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <string.h>

namespace dynaquant {

extern "C" {
#define DYNAQUANT_ISA(isa) extern const KernelTable kernel_table_##isa;
#include "isas.inl.h"
}

size_t supported_tables(const KernelTable* tables[kMaxTables]) {
  const CpuFeatures cpu = detect_cpu_features();
  size_t count = 0;
#define DYNAQUANT_ISA(isa) \
  if (cpu.isa) tables[count++] = &kernel_table_##isa;
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
