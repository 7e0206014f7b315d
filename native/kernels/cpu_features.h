// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_KERNELS_CPU_FEATURES_H_
#define DYNAQUANT_KERNELS_CPU_FEATURES_H_

namespace dynaquant {

// What the processor has and the operating system saves: a feature counts only if both agree.
struct CpuFeatures {
  bool avx2;          // AVX2, FMA and F16C
  bool avxvnni;       // AVX-VNNI, beside AVX2
  bool avx512vnni;    // AVX-512 F, BW, VL, DQ and VNNI, beside AVX2
  bool neon_dotprod;  // sdot, beside NEON, which every AArch64 has
  bool neon_i8mm;     // sudot, beside sdot
};

CpuFeatures detect_cpu_features();

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_CPU_FEATURES_H_
