/* What a job does with its dataset: files of any size, blocks that stay in memory, columns and what lies behind them. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "job_fixture.h"

#define MIB ((uint64_t)1 << 20)

static const char *write_file(const char *name, const void *bytes, size_t size)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    FILE *file = fopen(path, "w");
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    return path;
}

static void files_of_no_byte_and_of_one(void **state)
{
    static const struct { const char *bytes; uint64_t keys; } cases[] = {{"", 0}, {"x", 1}, {"\n", 0}, {" ", 0}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        const char *path = write_file("tiny", cases[c].bytes, strlen(cases[c].bytes));
        for (mr_sort sort = MR_SORT_NONE; sort <= MR_SORT_VALUE; sort++) {
            mr_session *session = fixture_session(3, 0);
            mr_dataset *dataset;
            uint64_t keys = 0;
            assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
            const mr_job job = {.app = &mr_app_fixture_count, .dataset = dataset, .sort = sort};
            mr_result *result = fixture_run(session, &job);
            for (mr_slice key, value; mr_result_next(result, &key, &value); keys++)
                assert_int_equal(fixture_u64(value), 1);
            assert_int_equal(keys, cases[c].keys);
            mr_result_close(result);
            mr_dataset_close(dataset);
            mr_session_close(session);
        }
        unlink(path);
    }
}

static const mr_column columns[] = {{MR_COLUMN_U32, 0}, {MR_COLUMN_U32, 4}};

static const char *to_cut;      /* by the map of the first block */

static void maybe_cut(const mr_block *block)
{
    if (to_cut != NULL && block->first_row == 0)
        assert_int_equal(truncate(to_cut, 4096), 0);
}

static mr_status column_map(const mr_block *block, mr_emitter *out, const void *params)
{
    maybe_cut(block);
    const uint32_t *a = block->columns[0], *b = block->columns[1];
    for (size_t row = 0; row < block->rows; row++) {
        mr_add_dense_u64(out, 0, a[row]);
        mr_add_dense_u64(out, 1, b[row]);
    }
    return MR_OK;
}

static mr_status row_map(const mr_block *block, mr_emitter *out, const void *params)
{
    maybe_cut(block);
    for (size_t row = 0; row < block->rows; row++) {
        uint32_t record[2];
        memcpy(record, block->data + row * 8, 8);
        mr_add_dense_u64(out, 0, record[0]);
        mr_add_dense_u64(out, 1, record[1]);
    }
    return MR_OK;
}

#define TWO_SUMS(name_, layout_, map_)                                                                                 \
    MR_APP(name_) {                                                                                                    \
        .input = MR_INPUT_RECORDS, .layout = layout_, .record_size = 8, .columns = columns, .column_count = 2,         \
        .key = MR_DENSE, .dense_keys = 2, .value = MR_U64, .combine = MR_SUM, .map = map_,                             \
    }
TWO_SUMS(by_columns, MR_COLUMNS, column_map);
TWO_SUMS(by_rows, MR_ROWS, row_map);

enum { RECORDS = 1000001 };

/* A file of RECORDS records; sums: of its two columns. */
static const char *write_records(uint64_t sums[2])
{
    static uint32_t records[RECORDS][2];
    sums[0] = sums[1] = 0;
    for (uint32_t i = 0; i < RECORDS; i++) {
        records[i][0] = i * 2654435761u;
        records[i][1] = i;
        sums[0] += records[i][0];
        sums[1] += i;
    }
    return write_file("records", records, sizeof records);
}

static void assert_sums(mr_session *session, const mr_app_handle *app, mr_dataset *dataset, const uint64_t want[2])
{
    mr_result *result = fixture_run(session, &(mr_job){.app = app, .dataset = dataset});
    mr_slice key, value;
    for (int i = 0; i < 2; i++) {
        assert_true(mr_result_next(result, &key, &value));
        assert_int_equal(fixture_u64(value), want[i]);
    }
    mr_result_close(result);
}

static void a_pinned_dataset_serves_apps_with_other_layouts(void **state)
{
    uint64_t want[2];
    const char *path = write_records(want);
    static const mr_app_handle *const apps[] = {&mr_app_by_columns, &mr_app_by_rows, &mr_app_by_rows,
                                                &mr_app_by_columns};
    mr_session *session = fixture_session(2, 0);
    mr_dataset *dataset;
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    mr_dataset_pin(dataset);
    for (size_t a = 0; a < MR__COUNT(apps); a++)
        assert_sums(session, apps[a], dataset, want);
    mr_dataset_close(dataset);
    mr_session_close(session);
    unlink(path);
}

static const mr_column number_column[] = {{MR_COLUMN_U64, 0}};

static mr_status plan_odd_blocks(mr_plan *plan)
{
    plan->block_rows = 1000;        /* no multiple of MR_ROW_PADDING: rows of the next block follow in the file */
    return MR_OK;
}

static mr_status padding_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const uint64_t *numbers = block->columns[0];
    for (size_t row = 0; row < block->rows; row++)
        mr_add_dense_u64(out, 0, numbers[row]);
    for (size_t row = block->rows; row % MR_ROW_PADDING != 0; row++)
        mr_add_dense_u64(out, 1, numbers[row]);
    return MR_OK;
}

MR_APP(padding) {
    .input = MR_INPUT_RECORDS, .record_size = 8, .columns = number_column, .column_count = 1, .plan = plan_odd_blocks,
    .key = MR_DENSE, .dense_keys = 2, .value = MR_U64, .combine = MR_SUM, .map = padding_map,
};

static void behind_the_last_row_of_a_column_that_fills_the_record_lie_zeros(void **state)
{
    static const char *const paths[] = {"pread", "mmap", "io_uring"};
    static uint64_t numbers[100003];
    for (size_t i = 0; i < MR__COUNT(numbers); i++)
        numbers[i] = 1;
    const char *path = write_file("numbers", numbers, sizeof numbers);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr_dataset *dataset;
        setenv("MILLRACE_READ", paths[p], 1);
        mr_session *session = fixture_session(1, 0);
        assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
        assert_sums(session, &mr_app_padding, dataset, (uint64_t[]){MR__COUNT(numbers), 0});
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    unsetenv("MILLRACE_READ");
    unlink(path);
}

static size_t refused_from = SIZE_MAX;      /* bytes: a process with little address space */
static uint32_t refused;

void *__real_mr__pages_alloc(size_t size);
void *__wrap_mr__pages_alloc(size_t size);

void *__wrap_mr__pages_alloc(size_t size)
{
    if (size < refused_from)
        return __real_mr__pages_alloc(size);
    refused++;
    return NULL;
}

static void a_dataset_that_has_no_room_is_read_again(void **state)
{
    uint64_t want[2];
    const char *path = write_records(want);
    mr_session *session = fixture_session(2, 0);
    mr_dataset *dataset;
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    mr_dataset_pin(dataset);
    refused_from = RECORDS * 8;
    for (uint32_t job = 1; job <= 2; job++) {
        assert_sums(session, &mr_app_by_columns, dataset, want);
        assert_int_equal(refused, job);
    }
    refused_from = SIZE_MAX;
    assert_sums(session, &mr_app_by_columns, dataset, want);
    unlink(path);                   /* from here on the pinned blocks are all there is */
    assert_sums(session, &mr_app_by_columns, dataset, want);
    mr_dataset_close(dataset);
    mr_session_close(session);
}

static void what_was_read_from_a_file_that_was_cut_is_not_kept(void **state)
{
    static const mr_app_handle *const apps[] = {&mr_app_by_columns, &mr_app_by_rows};
    setenv("MILLRACE_READ", "mmap", 1);     /* what is cut off while it is mapped reads as zeros */
    for (size_t a = 0; a < MR__COUNT(apps); a++) {
        uint64_t want[2];
        mr_result *result = NULL;
        const char *path = write_records(want);
        mr_session *session = fixture_session(1, 0);
        mr_dataset *dataset;
        assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
        mr_dataset_pin(dataset);
        to_cut = path;
        assert_int_equal(mr_run(session, &(mr_job){.app = apps[a], .dataset = dataset}, &result), MR_BAD_INPUT);
        to_cut = NULL;
        write_records(want);
        assert_sums(session, apps[a], dataset, want);
        unlink(path);                       /* now all of it is in memory */
        assert_sums(session, apps[a], dataset, want);
        mr_dataset_close(dataset);
        mr_session_close(session);
    }
    unsetenv("MILLRACE_READ");
}

/* Each file is one block of numbers. */
static _Atomic uint32_t files_mapped;

static mr_status numbers_map(const mr_block *block, mr_emitter *out, const void *params)
{
    files_mapped++;
    for (size_t at = 0; at + 8 <= block->size; at += 8) {
        uint64_t number;
        memcpy(&number, block->data + at, 8);
        mr_emit_u64(out, number, &number);
    }
    return MR_OK;
}

MR_APP(numbers) {
    .input = MR_INPUT_FILES, .key = MR_U64, .value = MR_U64, .map = numbers_map, .sort = MR_SORT_KEY,
};

static void a_total_order_over_files_samples_each_file_once(void **state)
{
    enum { NUMBERS = 500000, FILES = 2 };
    static uint64_t numbers[FILES][NUMBERS];
    const char *paths[FILES];
    for (uint64_t i = 0; i < FILES * NUMBERS; i++)
        numbers[i % FILES][i / FILES] = i * 7919 % (FILES * NUMBERS);       /* each number once */
    for (int f = 0; f < FILES; f++)
        paths[f] = strdup(write_file(f == 0 ? "a" : "b", numbers[f], sizeof numbers[f]));
    mr_session *session = fixture_session(2, 48 * MIB);
    mr_dataset *dataset;
    assert_int_equal(mr_dataset_open(session, paths, FILES, &dataset), MR_OK);
    files_mapped = 0;
    mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_numbers, .dataset = dataset});
    assert_int_equal(files_mapped, 2 * FILES);
    uint64_t want = 0;
    for (mr_slice key, value; mr_result_next(result, &key, &value); want++)
        assert_int_equal(fixture_u64(key), want);
    assert_int_equal(want, FILES * NUMBERS);
    mr_result_close(result);
    mr_dataset_close(dataset);
    mr_session_close(session);
    for (int f = 0; f < FILES; f++) {
        unlink(paths[f]);
        free((void *)paths[f]);
    }
}

static void an_explanation_moves_nothing_in_memory(void **state)
{
    uint64_t sums[2];
    char *text = NULL;
    const char *path = write_records(sums);
    mr_session *session = fixture_session(1, 0);
    mr_dataset *dataset;
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    mr_dataset_pin(dataset);
    mr_result_close(fixture_run(session, &(mr_job){.app = &mr_app_by_columns, .dataset = dataset}));
    unlink(path);                   /* from here on the pinned blocks are all there is */
    assert_int_equal(mr_explain(session, &(mr_job){.app = &mr_app_by_rows, .dataset = dataset}, &text), MR_OK);
    free(text);
    mr_result_close(fixture_run(session, &(mr_job){.app = &mr_app_by_columns, .dataset = dataset}));
    mr_dataset_close(dataset);
    mr_session_close(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_no_byte_and_of_one),
        cmocka_unit_test(a_pinned_dataset_serves_apps_with_other_layouts),
        cmocka_unit_test(behind_the_last_row_of_a_column_that_fills_the_record_lie_zeros),
        cmocka_unit_test(a_dataset_that_has_no_room_is_read_again),
        cmocka_unit_test(what_was_read_from_a_file_that_was_cut_is_not_kept),
        cmocka_unit_test(a_total_order_over_files_samples_each_file_once),
        cmocka_unit_test(an_explanation_moves_nothing_in_memory),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
