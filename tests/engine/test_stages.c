/* What a job does beside mapping: limits, parts, results in memory that were spilled, and being cancelled or refused in
 * every stage, or failing in one. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "comma_locale.h"
#include "job_fixture.h"

#define MIB ((uint64_t)1 << 20)

static uint64_t rows, limit;    /* plan() asks */
static mr_session *to_cancel;   /* by the function named next */
static const char *cancel_in;

static void maybe_cancel(const char *function)
{
    if (cancel_in != NULL && strcmp(cancel_in, function) == 0)
        mr_session_cancel(to_cancel);
}

static mr_status plan_range(mr_plan *plan)
{
    plan->range = rows;
    plan->limit = limit;
    plan->block_rows = rows / 16 + 1;
    return MR_OK;
}

/* ---- apps -------------------------------------------------------------------------------------------------------- */

enum { KEYS = 1000 };

/* Key i % KEYS, scattered; the value is the row. */
static mr_status scatter_map(const mr_block *block, mr_emitter *out, const void *params)
{
    maybe_cancel("map");
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++)
        mr_emit_u64(out, row * 387 % KEYS, &row);
    return MR_OK;
}

static mr_status count_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0;
    maybe_cancel("reduce");
    for (mr_slice value; mr_values_next(values, &value);)
        count++;
    return mr_write(out, &count, sizeof count);
}

static mr_status number_format(mr_slice key, const void *value, mr_writer *out, const void *params)
{
    uint64_t number;
    maybe_cancel("format");
    memcpy(&number, value, sizeof number);
    return mr_writef(out, "<%llu>", (unsigned long long)number);
}

MR_APP(counted) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .combine = MR_COUNT, .format = number_format,
    .plan = plan_range, .map = scatter_map,
};
MR_APP(kept) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .plan = plan_range, .map = scatter_map,
};
MR_APP(reduced) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .output = MR_OUTPUT_BINARY,
    .plan = plan_range, .map = scatter_map, .reduce = count_reduce,
};

static mr_status dense_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (size_t row = 0; row < block->rows; row++)
        mr_add_dense_u64(out, (block->first_row + row) % KEYS, 1);
    return MR_OK;
}

static mr_status dense_round(mr_round *round)
{
    maybe_cancel("round");
    round->again = round->index < 2;
    return MR_OK;
}

MR_APP(dense) {
    .input = MR_INPUT_RANGE, .key = MR_DENSE, .dense_keys = KEYS, .value = MR_U64, .combine = MR_COUNT,
    .plan = plan_range, .map = dense_map, .round = dense_round,
};
MR_APP(dense_emits) {
    .input = MR_INPUT_RANGE, .key = MR_DENSE, .dense_keys = KEYS, .value = MR_U64, .combine = MR_SUM,
    .plan = plan_range, .map = scatter_map,
};

/* ---- limits and parts -------------------------------------------------------------------------------------------- */

static void a_limit_cuts_ties_by_key(void **state)
{
    static const struct { const mr_app_handle *app; mr_sort sort; } cases[] = {
        {&mr_app_counted, MR_SORT_VALUE}, {&mr_app_counted, MR_SORT_KEY}, {&mr_app_kept, MR_SORT_KEY},
        {&mr_app_dense, MR_SORT_KEY}};
    static const uint64_t memories[] = {0, 1};
    enum { EACH = 1200, LIMIT = 7 };
    rows = KEYS * EACH;
    limit = LIMIT;
    for (size_t c = 0; c < MR__COUNT(cases) * 2; c++) {
        char output[4200];
        size_t size;
        uint64_t at = 0;
        const mr_job job = {.app = cases[c / 2].app, .sort = cases[c / 2].sort};
        mr_job written = job;
        const bool kept = job.app == &mr_app_kept;
        mr_session *session = fixture_session(2, memories[c % 2] * MIB);
        mr_result *result = fixture_run(session, &job);
        for (mr_slice key, value; mr_result_next(result, &key, &value); at++) {
            assert_int_equal(fixture_u64(key), kept ? 0 : at);       /* all counts are equal: the smallest keys win */
            if (!kept)
                assert_int_equal(fixture_u64(value), EACH);
        }
        assert_int_equal(at, LIMIT);
        assert_int_equal(mr_result_stats(result)->keys, LIMIT);
        mr_result_close(result);
        mr_session_close(session);      /* what a first job leaves in the process counts against the second's limit */
        session = fixture_session(2, memories[c % 2] * MIB);
        snprintf(output, sizeof output, "%s/out", fixture_folder);
        written.output = output;
        result = fixture_run(session, &written);
        assert_int_equal(mr_result_stats(result)->parts, 1);
        char *all = fixture_parts(output, 0, 1, &size);
        at = 0;
        for (const char *end = all; (end = strchr(end, '\n')) != NULL; end++)
            at++;
        assert_int_equal(at, LIMIT);
        if (job.app == &mr_app_counted)
            assert_string_equal(all, "0\t<1200>\n1\t<1200>\n2\t<1200>\n3\t<1200>\n4\t<1200>\n5\t<1200>\n6\t<1200>\n");
        free(all);
        mr_result_close(result);
        mr_session_close(session);
        fixture_remove(output);
    }
    limit = 0;
}

static void the_parts_asked_for_are_one_order(void **state)
{
    static const uint32_t parts[] = {1, 2, 5, 100};
    static const mr_app_handle *const apps[] = {&mr_app_counted, &mr_app_kept};
    rows = 50000;
    for (size_t c = 0; c < MR__COUNT(parts) * MR__COUNT(apps); c++) {
        char output[4200];
        uint64_t lines = 0, last = 0;
        const uint32_t count = parts[c / 2];
        snprintf(output, sizeof output, "%s/out", fixture_folder);
        mr_session *session = fixture_session(2, 0);
        mr_result *result = fixture_run(session, &(mr_job){.app = apps[c % 2], .sort = MR_SORT_KEY, .output = output,
                                                   .parts = count});
        assert_int_equal(fixture_entries(output), count + 1);   /* and _SUCCESS */
        for (uint32_t p = 0; p < count; p++) {
            size_t size;
            char *all = fixture_parts(output, p, 1, &size);
            for (const char *line = all, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
                const uint64_t key = strtoull(line, NULL, 10);
                assert_true(key >= last);
                last = key;
            }
            free(all);
        }
        assert_int_equal(lines, c % 2 == 0 ? KEYS : rows);
        mr_result_close(result);
        mr_session_close(session);
        fixture_remove(output);
    }
    mr_session *session = fixture_session(1, 0);
    mr_result *result = NULL;
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_counted, .parts = 5000}, &result), MR_BAD_USAGE);
    assert_null(result);
    mr_session_close(session);
}

static void binary_output_is_the_same_pairs_sorted_or_not(void **state)
{
    static const mr_sort sorts[] = {MR_SORT_NONE, MR_SORT_KEY};
    rows = 100000;
    for (size_t s = 0; s < MR__COUNT(sorts); s++) {
        char output[4200];
        bool seen[KEYS] = {false};
        size_t size;
        snprintf(output, sizeof output, "%s/out", fixture_folder);
        mr_session *session = fixture_session(2, 0);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_reduced, .sort = sorts[s], .output = output});
        assert_int_equal(mr_result_stats(result)->parts, 1);
        char *all = fixture_parts(output, 0, 1, &size);
        assert_int_equal(size, KEYS * 16);
        for (uint32_t i = 0; i < KEYS; i++) {
            const mr_slice key = {(uint8_t *)all + i * 16, 8}, value = {(uint8_t *)all + i * 16 + 8, 8};
            assert_in_range(fixture_u64(key), 0, KEYS - 1);
            assert_false(seen[fixture_u64(key)]);
            seen[fixture_u64(key)] = true;
            assert_int_equal(fixture_u64(value), 100000 / KEYS);
            if (sorts[s] == MR_SORT_KEY)
                assert_int_equal(fixture_u64(key), i);
        }
        free(all);
        mr_result_close(result);
        mr_session_close(session);
        fixture_remove(output);
    }
}

/* ---- results in memory ------------------------------------------------------------------------------------------- */

static void a_result_that_was_spilled_can_be_read_twice_beside_another(void **state)
{
    static const mr_sort sorts[] = {MR_SORT_NONE, MR_SORT_KEY};
    rows = 3000000;
    for (size_t s = 0; s < MR__COUNT(sorts); s++) {
        mr_session *session = fixture_session(2, 1 * MIB);
        mr_result *large = fixture_run(session, &(mr_job){.app = &mr_app_kept, .sort = sorts[s]});
        assert_true(mr_result_stats(large)->spilled_bytes > 0);
        const uint64_t kept = rows;
        rows = 5000;
        mr_result *small = NULL;
        const mr_status second = mr_run(session, &(mr_job){.app = &mr_app_counted}, &small);
        if (second != MR_OK)        /* what the first result holds may leave too little memory */
            assert_non_null(strstr(mr_error(session), "memory limit"));
        rows = kept;
        for (int again = 0; again < 2; again++) {
            uint64_t count = 0, sum = 0, last = 0;
            for (mr_slice key, value; mr_result_next(large, &key, &value); count++) {
                sum += fixture_u64(value);
                assert_int_equal(fixture_u64(value) * 387 % KEYS, fixture_u64(key));
                assert_true(sorts[s] == MR_SORT_NONE || fixture_u64(key) >= last);
                last = fixture_u64(key);
            }
            assert_int_equal(count, kept);
            assert_int_equal(sum, kept * (kept - 1) / 2);
            mr_result_rewind(large);
        }
        mr_slice key, value;
        assert_true(mr_result_next(large, &key, &value));       /* closed in the middle */
        mr_result_close(large);
        mr_result_close(small);
        mr_session_close(session);
        fixture_assert_empty(fixture_folder);
    }
}

/* ---- numbers as text --------------------------------------------------------------------------------------------- */

static mr_status half_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const double half = 0.5;
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++)
        mr_emit_u64(out, 7, &half);
    return MR_OK;
}

static mr_status double_format(mr_slice key, const void *value, mr_writer *out, const void *params)
{
    double number;
    memcpy(&number, value, sizeof number);
    return mr_writef(out, "%.2f", number);
}

#define HALVES(name_, format_)                                                                                         \
    MR_APP(name_) {                                                                                                    \
        .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_F64, .combine = MR_SUM, .plan = plan_range,                \
        .map = half_map, .format = format_,                                                                            \
    }
HALVES(halves, NULL);
HALVES(formatted_halves, double_format);

static void a_comma_in_the_hosts_locale_does_not_reach_results(void **state)
{
    static const struct { const mr_app_handle *app; const char *line; } cases[] = {
        {&mr_app_halves, "7\t500.5\n"}, {&mr_app_formatted_halves, "7\t500.50\n"}};
    char locale[4200], output[4200];
    rows = 1001;
    snprintf(locale, sizeof locale, "%s/locale", fixture_folder);
    snprintf(output, sizeof output, "%s/out", fixture_folder);
    assert_int_equal(mkdir(locale, 0700), 0);
    const bool comma = comma_locale_begin(locale);
    for (size_t c = 0; comma && c < MR__COUNT(cases); c++) {
        size_t size;
        mr_session *session = fixture_session(2, 0);
        mr_result_close(fixture_run(session, &(mr_job){.app = cases[c].app, .output = output}));
        char *all = fixture_parts(output, 0, 1, &size);
        assert_string_equal(all, cases[c].line);
        free(all);
        mr_session_close(session);
        fixture_remove(output);
    }
    setlocale(LC_NUMERIC, "C");
    fixture_remove(locale);
    if (!comma) {
        print_message("skipped: localedef made no locale with a decimal comma\n");
        skip();
    }
}

/* ---- cancelled and refused --------------------------------------------------------------------------------------- */

static void a_job_can_be_cancelled_in_every_stage(void **state)
{
    static const struct { const char *in; const mr_app_handle *app; mr_sort sort; } cases[] = {
        {"map", &mr_app_counted, MR_SORT_NONE}, {"map", &mr_app_kept, MR_SORT_KEY},
        {"reduce", &mr_app_reduced, MR_SORT_NONE}, {"reduce", &mr_app_reduced, MR_SORT_KEY},
        {"format", &mr_app_counted, MR_SORT_NONE}, {"format", &mr_app_counted, MR_SORT_VALUE},
        {"round", &mr_app_dense, MR_SORT_NONE}};
    rows = 1000000;
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        char output[4200];
        mr_result *result = NULL;
        snprintf(output, sizeof output, "%s/out", fixture_folder);
        to_cancel = fixture_session(2, c % 2 * MIB);
        cancel_in = cases[c].in;
        const mr_job job = {.app = cases[c].app, .sort = cases[c].sort, .output = output};
        assert_int_equal(mr_run(to_cancel, &job, &result), MR_CANCELLED);
        assert_non_null(strstr(mr_error(to_cancel), "cancelled"));
        assert_null(result);
        assert_int_equal(access(output, F_OK), -1);
        cancel_in = NULL;
        if (c % 2 == 0) {
            result = fixture_run(to_cancel, &job);      /* the next job of the session does not know */
            assert_int_equal(access(output, F_OK), 0);
            mr_result_close(result);
            fixture_remove(output);
        }
        mr_session_close(to_cancel);
        fixture_assert_empty(fixture_folder);
    }
}

static mr_status lines_map(const mr_block *block, mr_emitter *out, const void *params)
{
    maybe_cancel("lines");
    return MR_OK;
}

MR_APP(lines) {
    .input = MR_INPUT_TEXT, .unit = MR_LINES, .key = MR_U64, .value = MR_U64, .map = lines_map,
};

/* The line behind the first one is a hole, so long that reading it to its end fails: there is no memory for it. */
static void a_job_can_be_cancelled_in_a_long_line(void **state)
{
    char path[4200];
    const char *paths[] = {path};
    mr_dataset *dataset;
    mr_result *result = NULL;
    snprintf(path, sizeof path, "%s/long", fixture_folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("x\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, 1 << 30), 0);
    to_cancel = fixture_session(1, MIB);
    assert_int_equal(mr_dataset_open(to_cancel, paths, 1, &dataset), MR_OK);
    const mr_job job = {.app = &mr_app_lines, .dataset = dataset};
    assert_int_equal(mr_run(to_cancel, &job, &result), MR_NO_MEMORY);
    cancel_in = "lines";
    assert_int_equal(mr_run(to_cancel, &job, &result), MR_CANCELLED);
    cancel_in = NULL;
    mr_dataset_close(dataset);
    mr_session_close(to_cancel);
    fixture_remove(path);
}

/* Two workers: who comes first waits until the other has come, and fails. The other naps from then on. */
static _Atomic uint32_t comers, later;
static _Atomic bool has_failed;
static bool fails_in_map;

static mr_status fail_beside_another(void)
{
    const bool first = atomic_fetch_add(&comers, 1) == 0;
    while (first ? atomic_load(&comers) < 2 : !atomic_load(&has_failed))
        usleep(200);
    if (first) {
        atomic_store(&has_failed, true);
        return MR_BAD_INPUT;
    }
    atomic_fetch_add(&later, 1);
    usleep(100000);             /* who has failed may be slow to say so */
    return MR_OK;
}

enum { SMALL_BLOCK = 16, SMALL_BLOCKS = 1024, TASK_BLOCKS = 64 };       /* TASK_BLOCKS: of a worker's first task */

static mr_status plan_small_blocks(mr_plan *plan)
{
    plan->range = SMALL_BLOCK * SMALL_BLOCKS;
    plan->block_rows = SMALL_BLOCK;
    return MR_OK;
}

static mr_status failing_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = fails_in_map ? fail_beside_another() : MR_OK;
    for (uint64_t row = block->first_row; row < block->first_row + block->rows && status == MR_OK; row++)
        mr_emit_u64(out, row, &row);
    return status;
}

static mr_status failing_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    return fail_beside_another();
}

MR_APP(failing) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64, .output = MR_OUTPUT_BINARY,
    .plan = plan_small_blocks, .map = failing_map, .reduce = failing_reduce,
};

static void a_failure_ends_the_tasks_of_other_workers(void **state)
{
    for (int c = 0; c < 2; c++) {
        mr_session *session = fixture_session(2, 0);
        mr_result *result = NULL;
        fails_in_map = c == 0;
        atomic_store(&comers, 0);
        atomic_store(&later, 0);
        atomic_store(&has_failed, false);
        assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_failing}, &result), MR_BAD_INPUT);
        assert_non_null(strstr(mr_error(session), fails_in_map ? "map of app failing" : "reduce of app failing"));
        assert_in_range(atomic_load(&later), 1, TASK_BLOCKS / 2);
        mr_session_close(session);
    }
}

static void pairs_from_a_job_with_dense_keys_are_refused(void **state)
{
    mr_session *session = fixture_session(2, 0);
    mr_result *result = NULL;
    rows = 1000;
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_dense_emits}, &result), MR_APP_FAILED);
    assert_non_null(strstr(mr_error(session), "dense"));
    assert_null(result);
    mr_session_close(session);
}

static void an_explanation_has_no_loose_ends(void **state)
{
    char *text = NULL;
    mr_session *session = fixture_session(2, 0);
    rows = 1000;
    assert_int_equal(mr_explain(session, &(mr_job){.app = &mr_app_counted, .sort = MR_SORT_KEY}, &text), MR_OK);
    assert_non_null(strstr(text, "1000 rows"));
    assert_non_null(strstr(text, "2 CPU workers"));
    assert_null(strstr(text, "; \n"));
    free(text);
    mr_session_close(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_cuts_ties_by_key),
        cmocka_unit_test(the_parts_asked_for_are_one_order),
        cmocka_unit_test(binary_output_is_the_same_pairs_sorted_or_not),
        cmocka_unit_test(a_result_that_was_spilled_can_be_read_twice_beside_another),
        cmocka_unit_test(a_comma_in_the_hosts_locale_does_not_reach_results),
        cmocka_unit_test(a_job_can_be_cancelled_in_every_stage),
        cmocka_unit_test(a_job_can_be_cancelled_in_a_long_line),
        cmocka_unit_test(a_failure_ends_the_tasks_of_other_workers),
        cmocka_unit_test(pairs_from_a_job_with_dense_keys_are_refused),
        cmocka_unit_test(an_explanation_has_no_loose_ends),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
