/* level.c: the levels are ordered, and the best one that the machine has is the preset.
 *
 * avx512 means Ice Lake, Zen 4 and later: besides F, BW, DQ and VL it asks for VBMI and VBMI2, whose byte permute and
 * byte compress carry the transpose and the tokeniser, and for VPOPCNTDQ and GFNI, which count bytes. The older AVX-512
 * machines, which also clock down at 512 bits, run avx2. (simdjson draws the line at the same place.)
 * __builtin_cpu_supports asks CPUID, and XGETBV for what the system saves: libgcc's cpuinfo.c. */
#include "level.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[MR__LEVELS] = {"scalar", "sse2", "avx2", "avx512", "neon"};

enum { UNDECIDED = -1 };
static _Atomic int current = UNDECIDED;

bool mr__level_supported(mr__level level)
{
    switch (level) {
    case MR__SCALAR:
        return true;
#if defined(__x86_64__)
    case MR__SSE2:
        return true;
    case MR__AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    case MR__AVX512:
        return mr__level_supported(MR__AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
               __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq") &&
               __builtin_cpu_supports("gfni");
#elif defined(__aarch64__)
    case MR__NEON:
        return true;
#endif
    default:
        return false;
    }
}

const char *mr__level_name(mr__level level)
{
    return (unsigned)level < MR__LEVELS ? names[level] : "unknown";
}

static mr__level best(void)
{
    mr__level level = MR__LEVELS - 1;
    while (!mr__level_supported(level))
        level--;
    return level;
}

mr__level mr__level_current(void)
{
    /* relaxed: the value itself is all there is to see, and every thread would compute the same preset */
    int level = atomic_load_explicit(&current, memory_order_relaxed);
    if (level == UNDECIDED) {
        level = (int)best();
        atomic_store_explicit(&current, level, memory_order_relaxed);
    }
    return (mr__level)level;
}

mr_status mr__level_force(mr__level level)
{
    if (!mr__level_supported(level))
        return MR_BAD_USAGE;
    atomic_store_explicit(&current, (int)level, memory_order_relaxed);
    return MR_OK;
}

static void list_supported(char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int level = 0; level < MR__LEVELS; level++)
        if (mr__level_supported((mr__level)level) && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", names[level]);
}

mr_status mr__level_init(mr__error *error)
{
    mr_status status = MR_OK;
    char supported[64];
    const char *forced = getenv("MILLRACE_SIMD");
    int level = (int)best();
    if (forced != NULL && forced[0] != '\0') {
        list_supported(supported, sizeof supported);
        for (level = 0; level < MR__LEVELS && strcmp(forced, names[level]) != 0;)
            level++;
        MR_CHECK(level < MR__LEVELS, MR_BAD_USAGE,
                 "MILLRACE_SIMD=%s is no vector level\n  hint: this machine has %s; unset it for the best one", forced,
                 supported);
        MR_CHECK(mr__level_supported((mr__level)level), MR_BAD_USAGE,
                 "MILLRACE_SIMD=%s: this machine lacks that vector level\n  hint: it has %s; unset it for the best one",
                 forced, supported);
    }
    atomic_store_explicit(&current, level, memory_order_relaxed);
done:
    return status;
}
