// SPDX-License-Identifier: MIT
#include "cpu_features.h"

#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace dynaquant {
namespace {

#if defined(__x86_64__)

struct Cpuid {
  uint32_t eax, ebx, ecx, edx;
};

Cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
  Cpuid r = {};
  // Returns zeros for a leaf beyond the processor's highest.
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// Which register states the operating system saves; only valid where OSXSAVE is set.
uint64_t xcr0() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

bool has(uint32_t word, int bit) { return (word >> bit) & 1; }

// Whether threads may use AMX's tile registers. Linux wants to be asked, once for all threads of a
// process. Kernels before 5.16, and sandboxes, know no such question or refuse.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // older headers do not name them
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

void detect(CpuFeatures& cpu) {
  const Cpuid leaf1 = cpuid(1, 0), leaf7 = cpuid(7, 0);
  const bool os_xsave = has(leaf1.ecx, 27);
  const uint64_t saved = os_xsave ? xcr0() : 0;
  const bool os_avx = (saved & 0x06) == 0x06;     // xmm, ymm
  const bool os_avx512 = (saved & 0xe6) == 0xe6;  // and opmask, zmm 0-15, zmm 16-31
  cpu.avx2 =
      os_avx && has(leaf1.ecx, 28) && has(leaf1.ecx, 12) && has(leaf1.ecx, 29) && has(leaf7.ebx, 5);
  // eax of leaf 7 is its highest subleaf.
  cpu.avxvnni = cpu.avx2 && leaf7.eax >= 1 && has(cpuid(7, 1).eax, 4);
  cpu.avx512vnni = cpu.avx2 && os_avx512 && has(leaf7.ebx, 16) && has(leaf7.ebx, 17) &&
                   has(leaf7.ebx, 30) && has(leaf7.ebx, 31) && has(leaf7.ecx, 11);
  const bool os_tiles = (saved & 0x60000) == 0x60000;  // tile shapes, tiles
  cpu.avx512amx =
      cpu.avx512vnni && os_tiles && has(leaf7.edx, 24) && has(leaf7.edx, 25) && may_use_tiles();
#ifdef DYNAQUANT_AVXVNNI_EVEX  // see simd/avxvnni.h
  cpu.avxvnni = cpu.avx512vnni;
#endif
}

#elif defined(__aarch64__) && defined(_WIN32)

void detect(CpuFeatures& cpu) {
  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE, which older
  // SDKs do not name.
  cpu.neon = true;
  cpu.neon_dotprod = IsProcessorFeaturePresent(43);
  cpu.neon_i8mm = cpu.neon_dotprod && IsProcessorFeaturePresent(66);
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

void detect(CpuFeatures& cpu) {
  cpu.neon = true;
  cpu.neon_dotprod = has("hw.optional.arm.FEAT_DotProd");
  cpu.neon_i8mm = cpu.neon_dotprod && has("hw.optional.arm.FEAT_I8MM");
}

#elif defined(__aarch64__) && defined(__linux__)

void detect(CpuFeatures& cpu) {
  // HWCAP_ASIMDDP and HWCAP2_I8MM, which older headers do not name.
  cpu.neon = true;
  cpu.neon_dotprod = (getauxval(AT_HWCAP) >> 20) & 1;
  cpu.neon_i8mm = cpu.neon_dotprod && ((getauxval(AT_HWCAP2) >> 13) & 1);
}

#elif defined(__aarch64__)

void detect(CpuFeatures& cpu) { cpu.neon = true; }

#else

void detect(CpuFeatures&) {}

#endif

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures cpu = {};
// Of WebAssembly, otherwise the module would not have been loaded.
#if defined(__wasm_relaxed_simd__)
  cpu.wasm_relaxed = true;
#elif defined(__wasm__)
  cpu.wasm = true;
#else
  cpu.scalar = true;
#endif
#ifdef DYNAQUANT_DIALECTS
  cpu.scalar_blocks = cpu.scalar_chains = cpu.scalar_pairs = true;
#endif
  detect(cpu);
  return cpu;
}

}  // namespace dynaquant
