/* job_fixture.c: see job_fixture.h. */
#include "job_fixture.h"

#include "cmocka_all.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"

const char *fixture_folder;

static mr_status count_map(const mr_block *block, mr_emitter *out, const void *params)
{
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(fixture_count) {
    .summary = "Count words",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .map = count_map,
};

static mr_status group_map(const mr_block *block, mr_emitter *out, const void *params)
{
    mr_text_lines(block, line) {
        const mr_block words = {.data = line.data, .size = line.size};
        const uint64_t size = line.size;
        mr_text_words(&words, word)
            mr_emit(out, word.data, word.size, &size);
    }
    return MR_OK;
}

static mr_status group_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0, sum = 0, last = 0;
    bool ascending = true;
    for (mr_slice value; mr_values_next(values, &value); count++) {
        uint64_t size;
        memcpy(&size, value.data, 8);
        ascending = ascending && memcmp(&last, &size, 8) <= 0;
        last = size;
        sum += size;
    }
    return mr_writef(out, "%llu %llu%s", (unsigned long long)count, (unsigned long long)sum,
                     ascending ? "" : " unsorted");
}

MR_APP(fixture_group) {
    .summary = "Lengths of the lines of each word",
    .input = MR_INPUT_TEXT, .unit = MR_LINES,
    .key = MR_BYTES, .value = MR_U64,
    .map = group_map, .reduce = group_reduce,
};

static mr_status order_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (size_t row = 0; row < block->rows; row++)
        mr_emit(out, block->data + row * 16, 8, block->data + row * 16 + 8);
    return MR_OK;
}

MR_APP(fixture_order) {
    .summary = "Sort records of 16 bytes",
    .input = MR_INPUT_RECORDS, .layout = MR_ROWS, .record_size = 16,
    .key = MR_FIXED, .key_size = 8, .value = MR_STRUCT, .value_size = 8,
    .map = order_map,
    .sort = MR_SORT_KEY, .output = MR_OUTPUT_BINARY,
};

static const mr_column mean_columns[] = {{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}};

static mr_status mean_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const float *x = block->columns[0], *y = block->columns[1];
    for (size_t row = 0; row < block->rows; row++) {
        mr_add_dense_f64(out, 0, 0, x[row]);
        mr_add_dense_f64(out, 0, 1, y[row]);
    }
    return MR_OK;
}

MR_APP(fixture_mean) {
    .summary = "Sums of two columns",
    .input = MR_INPUT_RECORDS, .record_size = 8, .columns = mean_columns, .column_count = 2,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64_VECTOR, .value_width = 2, .combine = MR_SUM,
    .map = mean_map,
};

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

mr_session *fixture_session(uint32_t workers, uint64_t extra_memory)
{
    mr_session *session;
    const uint64_t least = (uint64_t)(14 + 10 * workers) << 20;
    const mr_session_options options = {.workers = workers, .burst = fixture_folder, .records = "",
                                        .memory = extra_memory != 0 ? mr__rss_bytes() + least + extra_memory : 0};
    if (mr_session_open(&options, &session) != MR_OK)
        fail_msg("%s", mr_error(NULL));
    return session;
}

mr_result *fixture_run(mr_session *session, const mr_job *job)
{
    mr_result *result = NULL;
    if (mr_run(session, job, &result) != MR_OK)
        fail_msg("%s", mr_error(session));
    return result;
}

uint64_t fixture_u64(mr_slice slice)
{
    uint64_t number;
    assert_int_equal(slice.size, 8);
    memcpy(&number, slice.data, 8);
    return number;
}

char *fixture_parts(const char *output, uint32_t first, uint32_t count, size_t *size)
{
    char *all = NULL;
    FILE *to = open_memstream(&all, size);
    for (uint32_t part = first; part < first + count; part++) {
        char path[4300];
        snprintf(path, sizeof path, "%s/part-%05u", output, part);
        FILE *from = fopen(path, "r");
        assert_non_null(from);
        for (int c; (c = getc(from)) != EOF;)
            putc(c, to);
        fclose(from);
    }
    fclose(to);
    return all;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

int fixture_set_up(void **state)
{
    static char path[4096];
    const char *parent = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/millrace-test-XXXXXX", parent != NULL ? parent : "/tmp");
    fixture_folder = mkdtemp(path);
    return fixture_folder != NULL ? 0 : -1;
}

int fixture_tear_down(void **state)
{
    const int left = fixture_entries(fixture_folder);
    fixture_remove(fixture_folder);
    assert_int_equal(left, 0);
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    return remove(path);
}

void fixture_remove(const char *folder)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

uint32_t fixture_word(uint32_t number, char *text)
{
    return (uint32_t)sprintf(text, number % 4 == 0 ? "word-that-is-rather-long-%u" : "w%u", number);
}

const char *fixture_words(const char *folder, const char *name, uint32_t words, uint32_t distinct, uint32_t seed,
                          uint64_t *counts)
{
    static char path[4096];
    uint64_t state = seed;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return NULL;
    for (uint32_t i = 0; i < words; i++) {
        char text[64];
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint32_t number = (uint32_t)((state >> 33) % distinct);
        fwrite(text, 1, fixture_word(number, text), file);
        fputc(i % 10 == 9 ? '\n' : ' ', file);
        if (counts != NULL)
            counts[number]++;
    }
    fclose(file);
    return path;
}

void fixture_assert_empty(const char *folder)
{
    char names[1024] = "";
    size_t size = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && size < sizeof names)
            size += (size_t)snprintf(names + size, sizeof names - size, " %s", entry->d_name);
    closedir(directory);
    assert_string_equal(names, "");
}

int fixture_entries(const char *folder)
{
    int count = 0;
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}
