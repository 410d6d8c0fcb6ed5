/* Whole jobs through the public API, against counts made while the input was written. */
#include "cmocka_all.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "job_fixture.h"

enum { WORDS = 300000, DISTINCT = 40000 };

static const char *text;
static uint64_t want[DISTINCT];

static uint32_t number_of(mr_slice key)
{
    char name[64] = "";
    unsigned number;
    assert_in_range(key.size, 2, sizeof name - 1);
    memcpy(name, key.data, key.size);
    assert_int_equal(sscanf(name, name[1] == 'o' ? "word-that-is-rather-long-%u" : "w%u", &number), 1);
    assert_in_range(number, 0, DISTINCT - 1);
    return number;
}

static void counts_are_right_for_every_team_memory_and_order(void **state)
{
    static const struct { uint32_t workers; uint64_t memory; mr_sort sort; } cases[] = {
        {1, 0, MR_SORT_NONE}, {2, 0, MR_SORT_NONE}, {5, 0, MR_SORT_KEY}, {2, 1 << 20, MR_SORT_NONE},
        {1, 1 << 20, MR_SORT_KEY}, {3, 1 << 20, MR_SORT_VALUE}, {2, 0, MR_SORT_VALUE}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_session *session = fixture_session(cases[c].workers, cases[c].memory);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
        const mr_job job = {.app = &mr_app_fixture_count, .dataset = dataset, .sort = cases[c].sort};
        mr_result *result = fixture_run(session, &job);
        uint64_t pairs = 0, words = 0, last_count = UINT64_MAX;
        char last_key[64] = "";
        size_t last_size = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value); pairs++) {
            const uint64_t count = fixture_u64(value);
            assert_int_equal(count, want[number_of(key)]);
            words += count;
            if (cases[c].sort == MR_SORT_VALUE)
                assert_true(count <= last_count);
            if (cases[c].sort == MR_SORT_KEY || (cases[c].sort == MR_SORT_VALUE && count == last_count)) {
                const int order = memcmp(last_key, key.data, last_size < key.size ? last_size : key.size);
                assert_true(order < 0 || (order == 0 && last_size < key.size));
            }
            last_count = count;
            memcpy(last_key, key.data, key.size);
            last_size = key.size;
        }
        uint64_t distinct = 0;
        for (uint32_t i = 0; i < DISTINCT; i++)
            distinct += want[i] > 0;
        assert_int_equal(words, WORDS);
        assert_int_equal(pairs, distinct);
        assert_int_equal(mr_result_stats(result)->pairs, WORDS);
        assert_int_equal(mr_result_stats(result)->keys, distinct);
        mr_result_close(result);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
}

static void reduce_sees_every_value_of_a_key_once_and_in_order(void **state)
{
    static const struct { uint32_t workers; uint64_t memory; } cases[] = {{1, 0}, {2, 0}, {2, 1 << 20}};
    char *first = NULL;
    size_t first_size = 0;
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_session *session = fixture_session(cases[c].workers, cases[c].memory);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
        const mr_job job = {.app = &mr_app_fixture_group, .dataset = dataset, .sort = MR_SORT_KEY};
        mr_result *result = fixture_run(session, &job);
        char *all = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&all, &size);
        for (mr_slice key, value; mr_result_next(result, &key, &value);) {
            char line[64] = "";
            unsigned long long count, sum;
            memcpy(line, value.data, value.size);
            assert_null(strstr(line, "unsorted"));
            assert_int_equal(sscanf(line, "%llu %llu", &count, &sum), 2);
            assert_int_equal(count, want[number_of(key)]);
            fprintf(to, "%.*s\t%s\n", (int)key.size, key.data, line);
        }
        fclose(to);
        if (first == NULL) {
            first = all;
            first_size = size;
            assert_true(size > 0);
        } else {
            assert_int_equal(size, first_size);
            assert_memory_equal(all, first, size);
            free(all);
        }
        mr_result_close(result);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    free(first);
}

static const char *write_records(uint32_t count)
{
    static char path[4200];
    uint64_t state = 5;
    snprintf(path, sizeof path, "%s/records", fixture_folder);
    FILE *file = fopen(path, "w");
    for (uint32_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint64_t record[2] = {state >> 40, i};    /* some keys are equal */
        fwrite(record, sizeof record, 1, file);
    }
    fclose(file);
    return path;
}

static void records_come_out_in_total_order(void **state)
{
    enum { COUNT = 200000 };
    const char *records = write_records(COUNT);
    for (int small = 0; small < 2; small++) {
        mr_session *session = fixture_session(2, small ? 1 << 20 : 0);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &records, 1, &dataset), MR_OK);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_fixture_order, .dataset = dataset});
        uint8_t last[16] = {0};
        uint64_t count = 0, sum = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value); count++) {
            uint8_t record[16];
            uint64_t number;
            memcpy(record, key.data, 8);
            memcpy(record + 8, value.data, 8);
            memcpy(&number, value.data, 8);
            sum += number;
            assert_true(memcmp(last, record, 16) <= 0);
            memcpy(last, record, 16);
        }
        assert_int_equal(count, COUNT);
        assert_int_equal(sum, (uint64_t)COUNT * (COUNT - 1) / 2);
        mr_result_close(result);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    unlink(records);
}

static void floating_sums_have_the_same_bits_for_every_team_and_when_pinned(void **state)
{
    enum { ROWS = 300001 };
    char path[4200];
    const char *paths = path;
    double first[2] = {0, 0};
    double plain[2] = {0, 0};
    snprintf(path, sizeof path, "%s/rows", fixture_folder);
    FILE *file = fopen(path, "w");
    uint64_t random = 3;
    for (uint32_t i = 0; i < ROWS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const float row[2] = {(float)(random >> 40) * 1e-3f, (float)i / 7};
        plain[0] += row[0];
        plain[1] += row[1];
        fwrite(row, sizeof row, 1, file);
    }
    fclose(file);
    for (uint32_t workers = 1; workers <= 3; workers++) {
        mr_session *session = fixture_session(workers, 0);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &paths, 1, &dataset), MR_OK);
        mr_dataset_pin(dataset);
        for (int again = 0; again < 2; again++) {
            mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_fixture_mean, .dataset = dataset});
            mr_slice key, value;
            double sums[2];
            assert_true(mr_result_next(result, &key, &value));
            assert_int_equal(value.size, sizeof sums);
            memcpy(sums, value.data, sizeof sums);
            if (workers == 1 && again == 0)
                memcpy(first, sums, sizeof sums);
            assert_memory_equal(sums, first, sizeof sums);
            for (int i = 0; i < 2; i++)
                assert_true(sums[i] / plain[i] > 1 - 1e-12 && sums[i] / plain[i] < 1 + 1e-12);
            assert_int_equal(mr_result_stats(result)->rows, ROWS);
            mr_result_close(result);
        }
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    unlink(path);
}

static void bad_jobs_get_a_sentence(void **state)
{
    mr_session *session = fixture_session(1, 0);
    mr_dataset *dataset;
    const char *missing = "/nowhere/at/all";
    mr_result *result = NULL;
    assert_int_equal(mr_dataset_open(session, &missing, 1, &dataset), MR_BAD_INPUT);
    assert_non_null(strstr(mr_error(session), missing));
    assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_order, .dataset = dataset}, &result),
                     MR_BAD_INPUT);
    assert_non_null(strstr(mr_error(session), "record size"));
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_count}, &result), MR_BAD_USAGE);
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_group, .dataset = dataset, .sort = MR_SORT_VALUE},
                            &result), MR_BAD_USAGE);
    const char *setting = "nonsense=1";
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_count, .dataset = dataset, .params = &setting,
                                               .param_count = 1}, &result), MR_BAD_USAGE);
    mr_app_handle old = mr_app_fixture_count;
    old.api_version = 99;
    assert_int_equal(mr_run(session, &(mr_job){.app = &old, .dataset = dataset}, &result), MR_BAD_APP);
    assert_non_null(strstr(mr_error(session), "99"));
    mr_app_handle other = mr_app_fixture_count;
    other.descriptor_size += 8;
    assert_int_equal(mr_run(session, &(mr_job){.app = &other, .dataset = dataset}, &result), MR_BAD_APP);
    assert_non_null(strstr(mr_error(session), "was built with other headers: its descriptor has "));
    mr_app_handle empty = mr_app_fixture_count;
    empty.app = NULL;
    assert_int_equal(mr_run(session, &(mr_job){.app = &empty, .dataset = dataset}, &result), MR_BAD_APP);
    assert_non_null(strstr(mr_error(session), "app fixture_count has no descriptor"));
    char *explained = NULL;
    assert_int_equal(mr_explain(session, &(mr_job){.app = &empty, .dataset = dataset}, &explained), MR_BAD_APP);
    assert_non_null(strstr(mr_error(session), "app fixture_count has no descriptor"));
    assert_null(explained);
    mr_app_handle nameless = mr_app_fixture_count;
    nameless.name = NULL;
    assert_int_equal(mr_run(session, &(mr_job){.app = &nameless, .dataset = dataset}, &result), MR_BAD_APP);
    assert_null(result);
    mr_dataset_close(dataset);
    mr_session_close(session);
    const mr_session_options tiny = {.memory = 1 << 20, .records = ""};
    assert_int_equal(mr_session_open(&tiny, &session), MR_OK);
    assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_count, .dataset = dataset}, &result),
                     MR_BAD_USAGE);
    assert_non_null(strstr(mr_error(session), "at least"));
    mr_dataset_close(dataset);
    mr_session_close(session);
}

static void no_rows(const mr_block *block, mr_emitter *out, const void *params)
{
}

static void a_row_kernel_over_bytes_is_refused(void **state)
{
    static const mr_row_kernel kernel = {.name = "no_rows", .scalar = no_rows};
    static const struct { mr_input input; mr_layout layout; } cases[] = {
        {MR_INPUT_TEXT, MR_COLUMNS}, {MR_INPUT_FILES, MR_COLUMNS}, {MR_INPUT_RECORDS, MR_ROWS}};
    mr_session *session = fixture_session(1, 0);
    mr_dataset *dataset;
    assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        const mr_app app = {.input = cases[c].input, .layout = cases[c].layout, .record_size = 1, .key = MR_DENSE,
                            .dense_keys = 1, .value = MR_U64, .combine = MR_SUM, .row = &kernel};
        const mr_app_handle handle = {MR_APP_MAGIC, MR_API_VERSION, sizeof app, "no_rows", &app};
        mr_result *result = NULL;
        assert_int_equal(mr_run(session, &(mr_job){.app = &handle, .dataset = dataset}, &result), MR_BAD_APP);
        assert_non_null(strstr(mr_error(session), "a row kernel needs rows"));
        assert_null(result);
    }
    mr_dataset_close(dataset);
    mr_session_close(session);
}

/* ---- keys where memory ends -------------------------------------------------------------------------------------- */

enum { PAGE = 4096 };

static uint8_t *page;       /* what follows it cannot be read */

static mr_status last_bytes_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const uint64_t one = 1;
    mr_emit(out, NULL, 0, &one);
    for (size_t size = 0; size <= MR_INLINE_KEY + 1; size++)
        mr_emit(out, page + PAGE - size, size, &one);
    return MR_OK;
}

static void keys_may_be_empty_and_end_where_memory_does(void **state)
{
    static const mr_combine rules[] = {MR_COMBINE_NONE, MR_COUNT, MR_SUM};
    page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    memset(page, 'k', PAGE);
    assert_int_equal(mprotect(page + PAGE, PAGE, PROT_NONE), 0);
    for (size_t rule = 0; rule < MR__COUNT(rules); rule++) {
        const mr_app app = {.input = MR_INPUT_FILES, .key = MR_BYTES, .value = MR_U64, .combine = rules[rule],
                            .map = last_bytes_map};
        const mr_app_handle handle = {MR_APP_MAGIC, MR_API_VERSION, sizeof app, "last_bytes", &app};
        uint64_t count[MR_INLINE_KEY + 2] = {0};
        mr_session *session = fixture_session(1, 0);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
        mr_result *result = fixture_run(session, &(mr_job){.app = &handle, .dataset = dataset});
        for (mr_slice key, value; mr_result_next(result, &key, &value);) {
            assert_in_range(key.size, 0, MR_INLINE_KEY + 1);
            assert_memory_equal(key.data, page, key.size);
            count[key.size] += fixture_u64(value);
        }
        for (size_t size = 0; size < MR__COUNT(count); size++)
            assert_int_equal(count[size], size == 0 ? 2 : 1);
        mr_result_close(result);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    munmap(page, 2 * PAGE);
}

static void cancel(const mr_progress *progress, void *session)
{
    mr_session_cancel(session);
}

/* Of five bytes, through standard input. */
static mr_status open_pipe(mr_session *session, mr_dataset **dataset)
{
    const char *dash = "-";
    int ends[2];
    const int keep = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a b a", 5), 5);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    const mr_status status = mr_dataset_open(session, &dash, 1, dataset);
    assert_int_equal(dup2(keep, STDIN_FILENO), STDIN_FILENO);
    close(keep);
    return status;
}

/* A request is heard once: by the job that it ended, or by the dataset. */
static void expect_pipes_to_be_read(mr_session *session)
{
    mr_dataset *dataset = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_pipe(session, &dataset), MR_OK);
        assert_int_equal(mr_dataset_bytes(dataset), 5);
        mr_dataset_close(dataset);
        mr_session_cancel(session);
        assert_int_equal(open_pipe(session, &dataset), MR_CANCELLED);
    }
}

static void a_cancelled_job_leaves_nothing(void **state)
{
    char big[4200], output[4200];
    const char *path = big;
    snprintf(big, sizeof big, "%s", fixture_words(fixture_folder, "big", 20000000, 1000000, 3, NULL));
    snprintf(output, sizeof output, "%s/cancelled", fixture_folder);
    const int before = fixture_entries(fixture_folder);
    mr_session *session = fixture_session(2, 0);
    mr_dataset *dataset;
    mr_result *result = NULL;
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    assert_int_equal(mr_run(session, &(mr_job){.app = &mr_app_fixture_group, .dataset = dataset, .output = output,
                                               .progress = cancel, .progress_context = session}, &result),
                     MR_CANCELLED);
    expect_pipes_to_be_read(session);
    mr_dataset_close(dataset);
    mr_session_close(session);
    assert_int_equal(fixture_entries(fixture_folder), before);
    unlink(big);
}

static mr_status roam_map(const mr_block *block, mr_emitter *out, const void *params)
{
    cpu_set_t here;
    if (sched_getaffinity(0, sizeof here, &here) != 0)
        return MR_INTERNAL;
    mr_emit(out, "cpus", 4, &(uint64_t){(uint64_t)CPU_COUNT(&here)});
    return MR_OK;
}

MR_APP(least_cpus) {
    .summary = "On how many processors a map may run, at least",
    .input = MR_INPUT_TEXT, .unit = MR_LINES,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_MIN,
    .map = roam_map,
};

/* Else two jobs of one worker each would share a core while others are idle. */
static void only_a_team_that_fills_the_machine_is_bound(void **state)
{
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    const uint32_t cpus = (uint32_t)CPU_COUNT(&allowed);
    const struct { uint32_t workers, expected; } cases[] = {{1, cpus}, {cpus, 1}, {cpus + 1, 1}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_slice key, value;
        mr_session *session = fixture_session(cases[c].workers, 0);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &text, 1, &dataset), MR_OK);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_least_cpus, .dataset = dataset});
        assert_true(mr_result_next(result, &key, &value));
        assert_int_equal(fixture_u64(value), cases[c].expected);
        mr_result_close(result);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    assert_int_equal(CPU_COUNT(&allowed), cpus);
}

static int set_up(void **state)
{
    fixture_set_up(state);
    text = strdup(fixture_words(fixture_folder, "text", WORDS, DISTINCT, 1, want));
    return 0;
}

static int tear_down(void **state)
{
    unlink(text);
    free((void *)text);
    return fixture_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_right_for_every_team_memory_and_order),
        cmocka_unit_test(reduce_sees_every_value_of_a_key_once_and_in_order),
        cmocka_unit_test(records_come_out_in_total_order),
        cmocka_unit_test(floating_sums_have_the_same_bits_for_every_team_and_when_pinned),
        cmocka_unit_test(bad_jobs_get_a_sentence),
        cmocka_unit_test(a_row_kernel_over_bytes_is_refused),
        cmocka_unit_test(keys_may_be_empty_and_end_where_memory_does),
        cmocka_unit_test(a_cancelled_job_leaves_nothing),
        cmocka_unit_test(only_a_team_that_fills_the_machine_is_bound),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
