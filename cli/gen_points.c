/* gen_points.c: rows of float32 around random centres, for clustering.
 * A coordinate is its centre's plus a sum of eight 16-bit uniforms, shifted and scaled to deviation 2 (Irwin-Hall:
 * within 0.005 of the normal distribution everywhere, and integers until the last step, so the same bits on every
 * machine). Centres are uniform in 0 .. 100 along each axis. */
#include <endian.h>
#include <string.h>

#include "generator.h"
#include "memory.h"

enum { DEFAULT_DIM = 3, DEFAULT_CLUSTERS = 100, UNIFORMS = 8 };

typedef struct points {
    cli_random random;
    uint64_t dim, clusters;
    float centre[];             /* [clusters][dim] */
} points;

static uint32_t sum_of_four(uint64_t bits)
{
    const uint64_t mask = UINT64_C(0x0000ffff0000ffff), pairs = (bits & mask) + ((bits >> 16) & mask);
    return (uint32_t)pairs + (uint32_t)(pairs >> 32);
}

static float around(cli_random *random)
{
    static const float deviation = 2.0f, scale = 53509.9f;      /* 65536 * sqrt(8 / 12) */
    const int32_t sum = (int32_t)(sum_of_four(cli_random_next(random)) + sum_of_four(cli_random_next(random)));
    return (float)(sum - UNIFORMS * 65535 / 2) * (deviation / scale);
}

static void points_fill(void *opaque, uint8_t *to, size_t size)
{
    points *state = opaque;
    for (uint8_t *const end = to + size; to < end;) {
        const float *centre =
            state->centre + cli_random_below(cli_random_next(&state->random), state->clusters) * state->dim;
        for (uint64_t d = 0; d < state->dim; d++, to += sizeof(float)) {
            const float value = centre[d] + around(&state->random);
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits = htole32(bits);
            memcpy(to, &bits, sizeof bits);
        }
    }
}

static mr_status points_open(const cli_generate_settings *settings, void **out, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t dim = settings->dim != 0 ? settings->dim : DEFAULT_DIM;
    const uint64_t clusters = settings->clusters != 0 ? settings->clusters : DEFAULT_CLUSTERS;
    points *state = mr__alloc(sizeof *state + clusters * dim * sizeof *state->centre);
    MR_CHECK(state != NULL, MR_NO_MEMORY, "no memory for %llu centres", (unsigned long long)clusters);
    *state = (points){.random = cli_random_start(settings->seed, 0), .dim = dim, .clusters = clusters};
    cli_random random = cli_random_start(settings->seed, 1);
    for (uint64_t i = 0; i < clusters * dim; i++)
        state->centre[i] = (float)(cli_random_next(&random) >> 40) * (100.0f / (1 << 24));
    *out = state;
done:
    return status;
}

static size_t points_row(const cli_generate_settings *settings)
{
    return (size_t)(settings->dim != 0 ? settings->dim : DEFAULT_DIM) * sizeof(float);
}

const cli_generator cli_gen_points = {
    .name = "points", .row = points_row, .open = points_open, .fill = points_fill, .close = mr__free};
