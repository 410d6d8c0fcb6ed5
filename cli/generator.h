/* generator.h: endless streams of made-up data, from a seed.
 * Promise   The same settings give the same bytes on every machine: integers, and floating point in + - * / only,
 *           without contraction. A stream depends neither on the sizes in which it is asked for nor on how much is
 *           asked.
 * Owner     open/close: the caller; close takes NULL.
 * Units     fill: any whole number of rows, in bytes.
 * Threads   One at a time. */
#ifndef MR__GENERATOR_H
#define MR__GENERATOR_H

#include <stddef.h>
#include <stdint.h>

#include "check.h"

/* 0: the generator's own choice. */
typedef struct cli_generate_settings {
    uint64_t size, seed;
    const char *output;
    uint64_t words, dim, clusters, scale;
    double exponent;
} cli_generate_settings;

typedef struct cli_generator {
    const char *name;
    size_t (*row)(const cli_generate_settings *settings);       /* bytes */
    mr_status (*open)(const cli_generate_settings *settings, void **state, mr__error *error);
    void (*fill)(void *state, uint8_t *to, size_t size);
    void (*close)(void *state);
} cli_generator;

extern const cli_generator cli_gen_zipf, cli_gen_records, cli_gen_points, cli_gen_edges;

/* splitmix64 (Steele, Lea, Flood 2014): one addition and a mixer; passes BigCrush. */
typedef struct cli_random {
    uint64_t state;
} cli_random;

static inline uint64_t cli_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t cli_random_next(cli_random *random)
{
    return cli_mix(random->state += UINT64_C(0x9e3779b97f4a7c15));
}

/* Seeds 1, 2, 3 ... start far apart; `stream` separates the uses of one seed. */
static inline cli_random cli_random_start(uint64_t seed, uint64_t stream)
{
    return (cli_random){cli_mix(seed + UINT64_C(0x9e3779b97f4a7c15)) ^ cli_mix(stream + UINT64_C(0xd1b54a32d192ed03))};
}

/* 0 .. bound - 1, from 64 random bits. */
static inline uint64_t cli_random_below(uint64_t bits, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)bits * bound) >> 64);
}

#endif
