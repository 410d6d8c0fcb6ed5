/* Reduce while maps still run: a worker that has nothing to map sorts what came, in every mode and memory limit the
 * result is the same, byte for byte. The oracle: the barrier run, and arithmetic on what was emitted. Merge tasks are
 * counted on their way into the engine (the linker's --wrap), since a map can then wait for one. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"
#include "job_fixture.h"

#define MIB ((uint64_t)1 << 20)

enum { KEYS = 5000, BLOCKS = 16, PATIENCE = 1000 };     /* PATIENCE: of 100 ms */

static uint64_t rows;
static bool late;               /* the first block comes last */
static bool wants_merge;        /* ... and waits for a merge */
static _Atomic int samples;     /* times that the first block is mapped before, to find splitters */
static _Atomic uint32_t others; /* blocks that were mapped while the first one waited */
static _Atomic uint32_t merges; /* tasks that ended */

mr_status __real_mr__merge_task(mr__task *task, mr__worker *worker, mr__error *error);
mr_status __wrap_mr__merge_task(mr__task *task, mr__worker *worker, mr__error *error);

mr_status __wrap_mr__merge_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    const mr_status status = __real_mr__merge_task(task, worker, error);
    atomic_fetch_add(&merges, 1);
    return status;
}

static mr_status plan_blocks(mr_plan *plan)
{
    plan->range = rows;
    plan->block_rows = rows / BLOCKS;
    return MR_OK;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static bool others_did_enough(void)
{
    return atomic_load(&others) >= BLOCKS / 2 && (!wants_merge || atomic_load(&merges) > 0);
}

/* Who has the first block may have some more: half of them must come from the other worker. */
static mr_status scatter_map(const mr_block *block, mr_emitter *out, const void *params)
{
    if (late && block->first_row == 0 && atomic_fetch_sub(&samples, 1) <= 0) {
        for (int i = 0; i < PATIENCE && !others_did_enough(); i++)
            nap();
        for (int i = 0; i < 5; i++)     /* and for the rest, and more merges */
            nap();
    } else {
        atomic_fetch_add(&others, 1);
    }
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++)
        mr_emit_u64(out, row * 7919 % KEYS, &row);
    return MR_OK;
}

/* How many values, and a sum that depends on their order. */
static mr_status fold_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t folded[2] = {0, 0};
    for (mr_slice value; mr_values_next(values, &value); folded[0]++) {
        uint64_t row;
        memcpy(&row, value.data, sizeof row);
        folded[1] = folded[1] * 31 + row;
    }
    return mr_write(out, folded, sizeof folded);
}

MR_APP(folded) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .output = MR_OUTPUT_BINARY,
    .plan = plan_blocks, .map = scatter_map, .reduce = fold_reduce,
};
MR_APP(kept) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .output = MR_OUTPUT_BINARY,
    .plan = plan_blocks, .map = scatter_map,
};

struct outcome {
    char *bytes;
    size_t size;
    uint64_t spilled;
    uint32_t merges;
};

static struct outcome run(const mr_app_handle *app, mr_sort sort, const char *mode, uint64_t memory)
{
    struct outcome outcome;
    char output[4200];
    snprintf(output, sizeof output, "%s/out", fixture_folder);
    setenv("MILLRACE_REDUCE", mode, 1);
    wants_merge = strcmp(mode, "pipelined") == 0;
    atomic_store(&others, 0);
    atomic_store(&merges, 0);
    atomic_store(&samples, app == &mr_app_kept);
    mr_session *session = fixture_session(2, memory);
    mr_result *result = fixture_run(session, &(mr_job){.app = app, .sort = sort, .output = output});
    const mr_stats *stats = mr_result_stats(result);
    outcome.merges = atomic_load(&merges);
    outcome.spilled = stats->spilled_bytes;
    outcome.bytes = fixture_parts(output, 0, stats->parts, &outcome.size);
    mr_result_close(result);
    mr_session_close(session);
    fixture_remove(output);
    unsetenv("MILLRACE_REDUCE");
    return outcome;
}

static void what_came_is_sorted_while_others_map(void **state)
{
    static const struct { const mr_app_handle *app; mr_sort sort; size_t key_values; } cases[] = {
        {&mr_app_folded, MR_SORT_NONE, KEYS}, {&mr_app_folded, MR_SORT_KEY, KEYS}, {&mr_app_kept, MR_SORT_KEY, 0}};
    /* all in memory; runs, and what waits for them, are spilled: the pairs need twice the memory */
    static const struct { uint64_t memory, rows; } sizes[] = {{48, 800000}, {1, 2000000}};
    late = true;
    for (size_t c = 0; c < MR__COUNT(cases) * 2; c++) {
        const mr_app_handle *app = cases[c / 2].app;
        const mr_sort sort = cases[c / 2].sort;
        const uint64_t memory = sizes[c % 2].memory * MIB;
        rows = sizes[c % 2].rows;
        struct outcome barrier = run(app, sort, "barrier", memory);
        struct outcome pipelined = run(app, sort, "pipelined", memory);
        assert_int_equal(barrier.size, cases[c / 2].key_values != 0 ? KEYS * 24 : rows * 16);
        assert_int_equal(pipelined.size, barrier.size);
        assert_memory_equal(pipelined.bytes, barrier.bytes, barrier.size);
        assert_int_equal(barrier.merges, 0);
        assert_true(pipelined.merges > 0);
        assert_true(c % 2 == 0 || pipelined.spilled > 0);
        free(barrier.bytes);
        free(pipelined.bytes);
    }
    late = false;
}

static void nothing_is_merged_when_all_workers_map(void **state)
{
    rows = 400000;
    struct outcome barrier = run(&mr_app_folded, MR_SORT_KEY, "barrier", 0);
    struct outcome pipelined = run(&mr_app_folded, MR_SORT_KEY, "pipelined", 0);
    assert_int_equal(pipelined.merges, 0);
    assert_int_equal(pipelined.size, barrier.size);
    assert_memory_equal(pipelined.bytes, barrier.bytes, barrier.size);
    free(barrier.bytes);
    free(pipelined.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_is_sorted_while_others_map),
        cmocka_unit_test(nothing_is_merged_when_all_workers_map),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
