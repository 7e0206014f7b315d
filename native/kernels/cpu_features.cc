// SPDX-License-Identifier: MIT
#include "cpu_features.h"

#include <stdint.h>

#if defined(_M_X64)
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace dynaquant {

#if defined(__x86_64__) || defined(_M_X64)

namespace {

struct Cpuid {
  uint32_t eax, ebx, ecx, edx;
};

Cpuid cpuid(uint32_t leaf) {
  Cpuid r = {};
#if defined(_M_X64)
  int out[4];
  __cpuidex(out, (int)leaf, 0);
  r = {(uint32_t)out[0], (uint32_t)out[1], (uint32_t)out[2], (uint32_t)out[3]};
#else
  // Returns zeros for a leaf beyond the processor's highest.
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
  return r;
}

// Which register states the operating system saves; only valid where OSXSAVE is set.
uint64_t xcr0() {
#if defined(_M_X64)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
#endif
}

bool has(uint32_t word, int bit) { return (word >> bit) & 1; }

}  // namespace

CpuFeatures detect_cpu_features() {
  const Cpuid leaf1 = cpuid(1), leaf7 = cpuid(7);
  const bool os_xsave = has(leaf1.ecx, 27);
  const uint64_t saved = os_xsave ? xcr0() : 0;
  const bool os_avx = (saved & 0x06) == 0x06;     // xmm, ymm
  const bool os_avx512 = (saved & 0xe6) == 0xe6;  // and opmask, zmm 0-15, zmm 16-31
  CpuFeatures cpu = {};
  cpu.avx2 = os_avx && has(leaf1.ecx, 28) && has(leaf1.ecx, 12) && has(leaf7.ebx, 5);
  cpu.avx512vnni = cpu.avx2 && os_avx512 && has(leaf7.ebx, 16) && has(leaf7.ebx, 17) &&
                   has(leaf7.ebx, 30) && has(leaf7.ebx, 31) && has(leaf7.ecx, 11);
  return cpu;
}

#else

CpuFeatures detect_cpu_features() { return {}; }

#endif

}  // namespace dynaquant
