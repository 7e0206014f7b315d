// SPDX-License-Identifier: MIT
// The instruction sets that are built, best first: a new one is one row here. Each has a vocabulary
// (simd/<isa>.h), a file that exports its table (<isa>.cc), a library (binding.gyp, CMakeLists.txt)
// and a way to detect it (cpu_features.cc). Includers define DYNAQUANT_ISA; tests read the rows.
//
// DYNAQUANT_INT8_ISA(isa, base): it multiplies bytes better than `base`, and is no better at the
// rest. Its file exports Int8Kernels only, and its table is base's with these. Tile sizes of floats
// are base's then. Includers that make no difference leave it out.

#ifndef DYNAQUANT_INT8_ISA
#define DYNAQUANT_INT8_ISA(isa, base) DYNAQUANT_ISA(isa)
#endif
#if defined(__x86_64__)
DYNAQUANT_INT8_ISA(avx512amx, avx512vnni)  // AMX-TILE and AMX-INT8
DYNAQUANT_ISA(avx512vnni)                  // AVX-512 F, BW, VL, DQ and VNNI, beside AVX2
DYNAQUANT_INT8_ISA(avxvnni, avx2)          // AVX-VNNI
DYNAQUANT_ISA(avx2)                        // AVX2, FMA and F16C
#elif defined(__aarch64__)
DYNAQUANT_INT8_ISA(neon_i8mm, neon)     // sudot, beside sdot
DYNAQUANT_INT8_ISA(neon_dotprod, neon)  // sdot
DYNAQUANT_ISA(neon)                     // every AArch64
#elif defined(__wasm_relaxed_simd__)
DYNAQUANT_ISA(wasm_relaxed)  // WebAssembly's SIMD128 and relaxed SIMD, where that has an fma
#elif defined(__wasm__)
DYNAQUANT_ISA(wasm)  // WebAssembly's SIMD128, for engines on every processor
#endif
#ifndef __wasm__
DYNAQUANT_ISA(scalar)  // every processor
#endif
#ifdef DYNAQUANT_DIALECTS
DYNAQUANT_ISA(scalar_blocks)  // for tests: see scalar.cc
DYNAQUANT_ISA(scalar_chains)
DYNAQUANT_ISA(scalar_pairs)
#endif
#undef DYNAQUANT_ISA
#undef DYNAQUANT_INT8_ISA
