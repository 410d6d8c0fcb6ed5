/* test_reserve.c: values that a map computes where they lie, and copies where it is told that there is no such place,
 * give the same parts. Oracle: a formula gives byte i of row r's value. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fault.h"
#include "job_fixture.h"

enum { ROWS = 240, MANY_ROWS = 1000, BLOCK_ROWS = 64, LARGE = 20004, SMALL = 12 };
#define MIB ((uint64_t)1 << 20)

static uint64_t range = ROWS;
static uint32_t value_size;
static bool range_known;
static atomic_uint placed, copied, misplaced;       /* blocks */
static char output[4200];

static mr_status rows_plan(mr_plan *plan)
{
    plan->range = range;
    plan->block_rows = BLOCK_ROWS;
    plan->value_size = value_size;
    plan->key_range = range_known ? range : 0;
    return MR_OK;
}

static void fill(uint8_t *value, uint64_t row)
{
    for (uint32_t i = 0; i < value_size; i++)
        value[i] = (uint8_t)(((uint32_t)row * 40503u + i * 2654435761u) >> 11);
}

static mr_status rows_map(const mr_block *block, mr_emitter *out, const void *params)
{
    size_t stride = 1;
    uint8_t *values = mr_emit_reserve(out, block->first_row, block->rows, &stride);
    if (values != NULL) {
        misplaced += (uintptr_t)values % 8 != 0 || stride != value_size + 8;
        for (size_t i = 0; i < block->rows; i++)
            fill(values + i * stride, block->first_row + i);
        placed++;
        return mr_emit_commit(out);
    }
    misplaced += stride != 1;
    copied++;
    uint8_t *value = mr_scratch(out, value_size);
    for (size_t i = 0; i < block->rows && value != NULL; i++) {
        fill(value, block->first_row + i);
        mr_emit_u64(out, block->first_row + i, value);
    }
    return out->status;
}

/* Of each block two reservations, of which the second ends the first. */
static mr_status second_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const size_t half = block->rows / 2;
    size_t stride;
    uint8_t *values = mr_emit_reserve(out, block->first_row, block->rows, &stride);
    if (values != NULL)
        memset(values, 1, half * stride);
    values = mr_emit_reserve(out, block->first_row, half, &stride);
    if (values == NULL)
        return MR_APP_FAILED;
    for (size_t i = 0; i < half; i++)
        fill(values + i * stride, block->first_row + i);
    mr_emit_commit(out);
    return mr_emit_reserve(out, block->first_row, block->rows, &stride) != NULL ? MR_OK : MR_APP_FAILED;
}

/* Commits what the block before reserved. */
static mr_status late_map(const mr_block *block, mr_emitter *out, const void *params)
{
    size_t stride;
    if (block->first_row > 0)
        return mr_emit_commit(out);
    return mr_emit_reserve(out, block->first_row, block->rows, &stride) != NULL ? MR_OK : MR_APP_FAILED;
}

static mr_status nothing_map(const mr_block *block, mr_emitter *out, const void *params)
{
    return mr_emit_commit(out);
}

static void add(void *into, const void *other, const void *params)
{
    memcpy(into, other, value_size);
}

#define ROWS_APP(name_, map_, combine_)                                                                                \
    MR_APP(name_) {                                                                                                    \
        .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_STRUCT, .combine = combine_,                               \
        .combine_with = (combine_) == MR_COMBINE_USER ? add : NULL, .plan = rows_plan, .map = map_,                    \
        .sort = MR_SORT_KEY, .output = MR_OUTPUT_VALUES,                                                               \
    }
ROWS_APP(rows, rows_map, MR_COMBINE_NONE);
ROWS_APP(rows_combined, rows_map, MR_COMBINE_USER);
ROWS_APP(second, second_map, MR_COMBINE_NONE);
ROWS_APP(late, late_map, MR_COMBINE_NONE);
ROWS_APP(nothing, nothing_map, MR_COMBINE_NONE);

/* Runs it and takes the output away. half: of each block only the first half is there. */
static mr_status run(mr_session *session, const mr_app_handle *app, bool half, uint64_t *spilled)
{
    mr_result *result = NULL;
    uint8_t want[LARGE];
    size_t size, at = 0;
    placed = copied = misplaced = 0;
    const mr_status status = mr_run(session, &(mr_job){.app = app, .output = output}, &result);
    if (status != MR_OK)
        return status;
    const mr_stats *stats = mr_result_stats(result);
    if (spilled != NULL)
        *spilled = stats->spilled_bytes;
    uint8_t *bytes = (uint8_t *)fixture_parts(output, 0, stats->parts, &size);
    for (uint64_t row = 0; row < range; row++) {
        const uint64_t in_block = row % BLOCK_ROWS;
        const uint64_t rows = row - in_block + BLOCK_ROWS <= range ? BLOCK_ROWS : range % BLOCK_ROWS;
        if (half && in_block >= rows / 2)
            continue;
        assert_true(at + value_size <= size);
        fill(want, row);
        assert_memory_equal(bytes + at, want, value_size);
        at += value_size;
    }
    assert_int_equal(at, size);
    assert_int_equal(misplaced, 0);
    free(bytes);
    mr_result_close(result);
    fixture_remove(output);
    return MR_OK;
}

static void large_values_are_computed_in_place(void **state)
{
    value_size = LARGE;
    range_known = true;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        mr_session *session = fixture_session(workers, 0);
        assert_int_equal(run(session, &mr_app_rows, false, NULL), MR_OK);
        assert_int_equal(placed, (ROWS + BLOCK_ROWS - 1) / BLOCK_ROWS);
        assert_int_equal(copied, 0);
        mr_session_close(session);
    }
}

static void small_unknown_and_combined_values_are_copied(void **state)
{
    static const struct { const mr_app_handle *app; uint32_t value_size; bool range_known, all; } cases[] = {
        {&mr_app_rows, SMALL, true, true}, {&mr_app_rows, LARGE, false, false},
        {&mr_app_rows_combined, LARGE, true, true}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_session *session = fixture_session(2, 0);
        value_size = cases[c].value_size;
        range_known = cases[c].range_known;
        assert_int_equal(run(session, cases[c].app, false, NULL), MR_OK);
        assert_true(copied > 0);
        if (cases[c].all)
            assert_int_equal(placed, 0);
        mr_session_close(session);
    }
}

static void values_in_place_are_spilled_as_others_are(void **state)
{
    enum { SPILLS = 2 };
    uint32_t in_place = 0, in_copies = 0, spills = 0;
    value_size = LARGE;
    range_known = true;
    range = MANY_ROWS;
    for (uint64_t extra = 1; extra <= 21; extra += 4) {
        uint64_t spilled = 0;
        mr_session *session = fixture_session(2, extra * MIB);
        assert_int_equal(run(session, &mr_app_rows, false, &spilled), MR_OK);
        in_place += placed;
        in_copies += copied;
        spills += spilled > 0 && placed > 0;
        mr_session_close(session);
    }
    range = ROWS;
    print_message("%u blocks in place, %u copied; spilled %u times\n", in_place, in_copies, spills);
    assert_true(in_place > 0 && in_copies > 0 && spills >= SPILLS);
}

static void what_is_not_committed_is_not_emitted(void **state)
{
    mr_session *session = fixture_session(2, 0);
    value_size = LARGE;
    range_known = true;
    assert_int_equal(run(session, &mr_app_second, true, NULL), MR_OK);
    const mr_app_handle *const commit_nothing[] = {&mr_app_nothing, &mr_app_late};
    for (size_t a = 0; a < MR__COUNT(commit_nothing); a++) {
        assert_int_equal(run(session, commit_nothing[a], false, NULL), MR_APP_FAILED);
        assert_non_null(strstr(mr_error(session), "reserved no memory"));
    }
    mr_session_close(session);
}

static void without_memory_values_are_copied(void **state)
{
    uint32_t harmless = 0;
    value_size = LARGE;
    range_known = true;
    for (uint32_t nth = 1;; nth += 1 + nth / 4) {
        mr_session *session = fixture_session(2, 0);
        mr__fault_arm(MR__FAULT_PAGES, nth);
        const mr_status status = run(session, &mr_app_rows, 0, NULL);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        harmless += fired && status == MR_OK && copied > 0;
        if (status != MR_OK)
            assert_string_not_equal(mr_error(session), "");
        mr_session_close(session);
        fixture_assert_empty(fixture_folder);
        if (!fired)
            break;
    }
    assert_true(harmless > 0);
}

static int set_up(void **state)
{
    const int result = fixture_set_up(state);
    snprintf(output, sizeof output, "%s/out", fixture_folder);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_values_are_computed_in_place),
        cmocka_unit_test(small_unknown_and_combined_values_are_copied),
        cmocka_unit_test(values_in_place_are_spilled_as_others_are),
        cmocka_unit_test(what_is_not_committed_is_not_emitted),
        cmocka_unit_test(without_memory_values_are_copied),
    };
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
