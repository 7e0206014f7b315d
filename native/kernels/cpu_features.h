// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_KERNELS_CPU_FEATURES_H_
#define DYNAQUANT_KERNELS_CPU_FEATURES_H_

namespace dynaquant {

// Which instruction sets run here, a bool each: the processor has it and the operating system saves
// its registers.
struct CpuFeatures {
#define DYNAQUANT_ISA(isa) bool isa;
#include "isas.inl.h"
};

CpuFeatures detect_cpu_features();

}  // namespace dynaquant

#endif  // DYNAQUANT_KERNELS_CPU_FEATURES_H_
