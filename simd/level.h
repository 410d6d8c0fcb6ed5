/* level.h: which vector level runs, decided at run time by CPUID and XGETBV, or forced.
 * MILLRACE_SIMD=scalar|sse2|avx2|avx512|neon forces one; an unknown name, or one that this machine lacks, is an error
 * and not a silent fall-back. Threads: set once (mr__level_init) before workers start. */
#ifndef MR__LEVEL_H
#define MR__LEVEL_H

#include <stdbool.h>

#include "check.h"

typedef enum mr__level { MR__SCALAR, MR__SSE2, MR__AVX2, MR__AVX512, MR__NEON, MR__LEVELS } mr__level;

mr_status mr__level_init(mr__error *error);
mr__level mr__level_current(void);      /* the best one if init was not called */
bool mr__level_supported(mr__level level);
const char *mr__level_name(mr__level level);
/* For tests: MR_BAD_USAGE if unsupported. */
mr_status mr__level_force(mr__level level);

#endif
