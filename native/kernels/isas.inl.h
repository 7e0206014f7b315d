// SPDX-License-Identifier: MIT
// The instruction sets that are built, best first: a new one is one row here. Each has a vocabulary
// (simd/<isa>.h), a file that exports its table (<isa>.cc), a library (binding.gyp, CMakeLists.txt)
// and a way to detect it (cpu_features.cc). Includers define DYNAQUANT_ISA; tests read the rows.

#if defined(__x86_64__)
DYNAQUANT_ISA(avx512vnni)  // AVX-512 F, BW, VL, DQ and VNNI, beside AVX2
DYNAQUANT_ISA(avxvnni)     // AVX-VNNI, beside AVX2
DYNAQUANT_ISA(avx2)        // AVX2, FMA and F16C
#elif defined(__aarch64__)
DYNAQUANT_ISA(neon_i8mm)     // sudot, beside sdot
DYNAQUANT_ISA(neon_dotprod)  // sdot
DYNAQUANT_ISA(neon)          // every AArch64
#endif
DYNAQUANT_ISA(scalar)  // every processor
#ifdef DYNAQUANT_DIALECTS
DYNAQUANT_ISA(scalar_blocks)  // for tests: see scalar.cc
DYNAQUANT_ISA(scalar_chains)
DYNAQUANT_ISA(scalar_pairs)
#endif
#undef DYNAQUANT_ISA
