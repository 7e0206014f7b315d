// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <string.h>

#include "cpu_features.h"

namespace dynaquant {
namespace {

struct Row {
  const KernelTable* table;
  bool (*runs)(const CpuFeatures& cpu);
};

// Best first. A new instruction set is one row here.
const Row kRows[] = {
#if defined(__x86_64__) || defined(_M_X64)
    {&kernel_table_avx512vnni, [](const CpuFeatures& cpu) { return cpu.avx512vnni; }},
    {&kernel_table_avxvnni, [](const CpuFeatures& cpu) { return cpu.avxvnni; }},
    {&kernel_table_avx2, [](const CpuFeatures& cpu) { return cpu.avx2; }},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {&kernel_table_neon_i8mm, [](const CpuFeatures& cpu) { return cpu.neon_i8mm; }},
    {&kernel_table_neon_dotprod, [](const CpuFeatures& cpu) { return cpu.neon_dotprod; }},
    {&kernel_table_neon, [](const CpuFeatures&) { return true; }},
#endif
    {&kernel_table_scalar, [](const CpuFeatures&) { return true; }},
};

}  // namespace

size_t supported_tables(const KernelTable* tables[kMaxTables]) {
  const CpuFeatures cpu = detect_cpu_features();
  size_t count = 0;
  for (const Row& row : kRows) {
    if (row.runs(cpu)) tables[count++] = row.table;
  }
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
