/* gen_edges.c: a graph with a power law: R-MAT (Chakrabarti, Zhan, Faloutsos 2004) with Graph500's quadrant weights, as
 * pairs of little-endian u32 (from, to). Loops and repeated edges occur; small numbers are the well-connected vertices.
 *
 * Each bit of the two vertex numbers is a choice among four quadrants. Two bits at once are one look-up with 16 random
 * bits in a table of 65,536 entries, so that 64 random bits give eight bits of both numbers. */
#include <endian.h>
#include <string.h>

#include "generator.h"
#include "memory.h"

enum { TABLE_BITS = 16, TABLE = 1 << TABLE_BITS, SCALE_MAX = 32, EDGES_PER_VERTEX = 16, SCALE_MIN = 4, EDGE = 8 };

typedef struct edges {
    cli_random random;
    uint32_t scale;
    uint8_t step[TABLE];        /* two bits of `from`, two bits of `to` */
} edges;

/* Of 65,536, for the quadrants 00, 01, 10, 11: 0.57, 0.19, 0.19, 0.05. */
static const uint32_t weights[4] = {37356, 12452, 12452, 3276};

static void build_table(edges *state)
{
    uint32_t at = 0;
    for (uint32_t first = 0; first < 4; first++) {
        for (uint32_t second = 0; second < 4; second++) {
            const uint32_t from = (first >> 1) << 1 | second >> 1, to = (first & 1) << 1 | (second & 1);
            const uint32_t share = (uint32_t)(((uint64_t)weights[first] * weights[second]) >> TABLE_BITS);
            const uint32_t end = first == 3 && second == 3 ? TABLE : at + share;
            for (; at < end; at++)
                state->step[at] = (uint8_t)(from << 2 | to);
        }
    }
}

static void edges_fill(void *opaque, uint8_t *out, size_t size)
{
    edges *state = opaque;
    const uint32_t steps = (state->scale + 1) / 2, spare = steps * 2 - state->scale;
    for (uint8_t *const end = out + size; out < end; out += EDGE) {
        uint64_t from = 0, to = 0, bits = 0;
        for (uint32_t i = 0; i < steps; i++, bits >>= TABLE_BITS) {
            if (i % 4 == 0)
                bits = cli_random_next(&state->random);
            const uint32_t step = state->step[bits & (TABLE - 1)];
            from = from << 2 | step >> 2;
            to = to << 2 | (step & 3);
        }
        const uint32_t edge[2] = {htole32((uint32_t)(from >> spare)), htole32((uint32_t)(to >> spare))};
        memcpy(out, edge, sizeof edge);
    }
}

static mr_status edges_open(const cli_generate_settings *settings, void **out, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t scale = settings->scale != 0 ? (uint32_t)settings->scale : SCALE_MIN;
    edges *state = mr__alloc(sizeof *state);
    MR_CHECK(state != NULL, MR_NO_MEMORY, "no memory for the generator");
    while (settings->scale == 0 && scale < SCALE_MAX &&
           (UINT64_C(1) << scale) * EDGES_PER_VERTEX < settings->size / EDGE)
        scale++;
    state->random = cli_random_start(settings->seed, 0);
    state->scale = scale;
    build_table(state);
    *out = state;
done:
    return status;
}

static size_t edges_row(const cli_generate_settings *settings)
{
    return EDGE;
}

const cli_generator cli_gen_edges = {
    .name = "edges", .row = edges_row, .open = edges_open, .fill = edges_fill, .close = mr__free};
