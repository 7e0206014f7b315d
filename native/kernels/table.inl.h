// SPDX-License-Identifier: MIT
// The one table an ISA file exports, over the kernels above it in the same anonymous namespace.
#define DYNAQUANT_STEPS(kernel) {kernel<Lstm>, kernel<Gru>, kernel<TanhRnn>, kernel<ReluRnn>}
#define DYNAQUANT_KERNEL_TABLE(isa)                                                      \
  extern "C" const KernelTable kernel_table_##isa = {#isa,                               \
                                                     kPlanned,                           \
                                                     kTileWidePanels == 4,               \
                                                     kStoredOffset,                      \
                                                     range_kernel,                       \
                                                     choose_params_kernel,               \
                                                     quantize_kernel,                    \
                                                     gemm_kernel,                        \
                                                     gemm_kernel,                        \
                                                     gemm_kernel,                        \
                                                     DYNAQUANT_STEPS(step_int8_kernel),  \
                                                     DYNAQUANT_STEPS(step_float_kernel), \
                                                     DYNAQUANT_STEPS(step_half_kernel),  \
                                                     gather_row_kernel,                  \
                                                     sigmoid_kernel,                     \
                                                     tanh_kernel}
