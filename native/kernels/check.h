// SPDX-License-Identifier: MIT
// DYNAQUANT_CHECK(condition) ends the process unless the condition holds, in builds with
// DYNAQUANT_CHECKS (the sanitized build has it: scripts/build-variant.mjs). In others it is not
// even evaluated.
#ifndef DYNAQUANT_KERNELS_CHECK_H_
#define DYNAQUANT_KERNELS_CHECK_H_

#ifdef DYNAQUANT_CHECKS
#include <stdio.h>
#include <stdlib.h>
constexpr bool kChecks = true;
#define DYNAQUANT_CHECK(condition)                                                   \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: a kernel needs %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                       \
    }                                                                                \
  } while (0)
#else
constexpr bool kChecks = false;  // for checks that are more than conditions
#define DYNAQUANT_CHECK(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#endif  // DYNAQUANT_KERNELS_CHECK_H_
