/* convoy_apps.c: see convoy_apps.h. */
#include "convoy_apps.h"

#include "cmocka_all.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job_fixture.h"

enum {
    ROWS = 9600, BLOCK_ROWS = 64, ROW_SIZE = 16, KEYS = 700, DENSE = 97, CENTRES = 3, CENTRE_ROUNDS = 3, RANGE = 7000,
    FILES = 40, FILE_BYTES = 100000, WORDS = 500000, DISTINCT = 20000,
};

struct row {
    uint64_t key, value;
};

struct params {
    struct ship *ship;                  /* set by plan(); all ranks are one process here */
    uint64_t limit;
    double centre[CENTRES];
};

static const mr_param params_list[] = {
    MR_PARAM_U64_FIELD(struct params, limit, "0", 0, 1e9, "keep so many"),
};

static mr_status plan(mr_plan *plan)
{
    struct params *params = plan->params;
    params->ship = convoy_self();
    for (int c = 0; c < CENTRES; c++)
        params->centre[c] = 1000.0 * c;
    plan->block_rows = BLOCK_ROWS;
    plan->limit = params->limit;
    if (params->limit > 0)
        plan->sort = MR_SORT_VALUE;
    plan->range = RANGE;
    return MR_OK;
}

static mr_status begin_map(const mr_block *block, const struct params *params)
{
    const struct convoy *convoy = params->ship->convoy;
    return convoy->on_map != NULL ? convoy->on_map(params->ship, block) : MR_OK;
}

static mr_status begin_reduce(mr_slice key, const struct params *params)
{
    const struct convoy *convoy = params->ship->convoy;
    return convoy->on_reduce != NULL ? convoy->on_reduce(params->ship, key) : MR_OK;
}

#define COMMON .plan = plan, .params = params_list, .param_count = 1, .params_size = sizeof(struct params)
#define ROWS_AS_THEY_ARE .input = MR_INPUT_RECORDS, .layout = MR_ROWS, .record_size = ROW_SIZE

static struct row row_of(const mr_block *block, size_t index)
{
    struct row row;
    memcpy(&row, block->data + index * ROW_SIZE, sizeof row);
    return row;
}

/* ---- the apps ---------------------------------------------------------------------------------------------------- */

static int name_key(uint64_t key, char *text)
{
    return sprintf(text, key % 5 == 0 ? "a-key-that-is-rather-long-%" PRIu64 : "k%" PRIu64, key % KEYS);
}

static mr_status count_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[64];
        mr_emit(out, text, (size_t)name_key(row_of(block, i).key, text), NULL);
    }
    return status;
}

MR_APP(convoy_count) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Count the keys of rows",
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = count_map,
};

static mr_status list_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[64];
        const struct row row = row_of(block, i);
        mr_emit(out, text, (size_t)name_key(row.key, text), &row.value);
    }
    return status;
}

static mr_status list_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0, sum = 0;
    const mr_status status = begin_reduce(key, params);
    for (mr_slice value; mr_values_next(values, &value); count++) {
        uint64_t number;
        memcpy(&number, value.data, sizeof number);
        sum += number;
    }
    return status != MR_OK ? status : mr_writef(out, "%" PRIu64 " %" PRIu64, count, sum);
}

MR_APP(convoy_list) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Count and add the values of each key",
    .key = MR_BYTES, .value = MR_U64, .map = list_map, .reduce = list_reduce,
};

static mr_status suffix_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[96];
        const struct row row = row_of(block, i);
        const int size = name_key(row.key, text);
        mr_emit(out, text, (size_t)(size + sprintf(text + size, "%08" PRIx64, row.value)), &row.value);
    }
    return status;
}

static mr_status suffix_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0;
    char first[9] = "", last[9] = "";
    const mr_status status = begin_reduce(key, params);
    for (mr_slice value; mr_values_next(values, &value); count++) {
        if (memcmp(value.data, last, 8) < 0)
            return MR_INTERNAL;
        memcpy(last, value.data, 8);
        memcpy(count == 0 ? first : last, value.data, 8);
    }
    return status != MR_OK ? status : mr_writef(out, "%" PRIu64 " %s %s", count, first, last);
}

MR_APP(convoy_suffix) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "First and last suffix of each key",
    .key = MR_BYTES, .key_suffix = 8, .value = MR_U64, .map = suffix_map, .reduce = suffix_reduce,
};

static mr_status order_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[32];
        const struct row row = row_of(block, i);
        mr_emit(out, text, (size_t)sprintf(text, "%06" PRIx64 ".%08" PRIx64, row.key, row.value), &row.value);
    }
    return status;
}

MR_APP(convoy_order) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Rows in order",
    .key = MR_FIXED, .key_size = 15, .value = MR_U64, .map = order_map, .sort = MR_SORT_KEY,
};

static mr_status dense_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        const struct row row = row_of(block, i);
        mr_add_dense_u64(out, row.key % DENSE, row.value);
    }
    return status;
}

MR_APP(convoy_dense) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Add rows by a small number",
    .key = MR_DENSE, .dense_keys = DENSE, .value = MR_U64, .combine = MR_SUM, .map = dense_map,
};

static double place_of(struct row row)
{
    return (double)(row.key % 4000) + (double)row.value / 7;
}

static int nearest(const double *centre, double place)
{
    int best = 0;
    for (int c = 1; c < CENTRES; c++) {
        const double far = place > centre[c] ? place - centre[c] : centre[c] - place;
        const double least = place > centre[best] ? place - centre[best] : centre[best] - place;
        best = far < least ? c : best;
    }
    return best;
}

static mr_status centres_map(const mr_block *block, mr_emitter *out, const void *context)
{
    const struct params *params = context;
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        const double place = place_of(row_of(block, i));
        const uint64_t key = (uint64_t)nearest(params->centre, place);
        mr_add_dense_f64(out, key, 0, place);
        mr_add_dense_f64(out, key, 1, 1);
    }
    return status;
}

static mr_status centres_round(mr_round *round)
{
    struct params *params = round->params;
    const double *sums = round->dense;
    for (int c = 0; c < CENTRES; c++)
        params->centre[c] = sums[2 * c + 1] > 0 ? sums[2 * c] / sums[2 * c + 1] : params->centre[c];
    round->again = round->index + 1 < CENTRE_ROUNDS;
    return round->rows == ROWS ? MR_OK : MR_INTERNAL;
}

static mr_status centres_finish(const mr_round *round, mr_writer *out)
{
    const struct params *params = round->params;
    for (int c = 0; c < CENTRES; c++)
        mr_writef(out, "%d\t%.17g\n", c, params->centre[c]);
    return MR_OK;
}

MR_APP(convoy_centres) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Centres of clusters on a line",
    .key = MR_DENSE, .dense_keys = CENTRES, .value = MR_F64_VECTOR, .value_width = 2, .combine = MR_SUM,
    .map = centres_map, .round = centres_round, .finish = centres_finish,
};

static mr_status range_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (uint64_t row = block->first_row; row < block->first_row + block->rows && status == MR_OK; row++) {
        char text[32];
        mr_emit(out, text, (size_t)sprintf(text, "r%" PRIu64, row % DENSE), NULL);
    }
    return status;
}

MR_APP(convoy_range) {
    COMMON, .summary = "Count remainders", .input = MR_INPUT_RANGE,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = range_map,
};

static mr_status words_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    if (status != MR_OK)
        return status;
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(convoy_words) {
    COMMON, .summary = "Count words", .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = words_map,
};

static mr_status files_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    const char *name = strrchr(block->source_name, '/') + 1;
    const uint64_t size = block->size;
    return status != MR_OK ? status : mr_emit(out, name, strlen(name), &size);
}

MR_APP(convoy_files) {
    COMMON, .summary = "Sizes of files", .input = MR_INPUT_FILES,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_SUM, .map = files_map,
};

/* ---- what must come out ------------------------------------------------------------------------------------------ */

static struct row rows[ROWS];
static uint64_t word_counts[DISTINCT];
static char *rows_path, *text_path, *file_paths[FILES];

struct counted {
    uint64_t count, sum, first, last;
};

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_number_downwards(const void *a, const void *b)
{
    char *const *left = a, *const *right = b;
    const unsigned long long x = strtoull(strchr(*left, '\t') + 1, NULL, 10);
    const unsigned long long y = strtoull(strchr(*right, '\t') + 1, NULL, 10);
    if (x != y)
        return x > y ? -1 : 1;
    return by_bytes(a, b);
}

static char *sorted(const char *text, int (*compare)(const void *, const void *), size_t limit)
{
    char *copy = strdup(text), *all = NULL, *next = copy;
    size_t count = 0, size = 0;
    for (const char *at = text; *at != '\0'; at++)
        count += *at == '\n';
    char **lines = calloc(count + 1, sizeof *lines);
    for (size_t i = 0; i < count; i++) {
        lines[i] = next;
        next = strchr(next, '\n');
        *next++ = '\0';
    }
    qsort(lines, count, sizeof *lines, compare);
    FILE *to = open_memstream(&all, &size);
    for (size_t i = 0; i < count && (limit == 0 || i < limit); i++)
        fprintf(to, "%s\n", lines[i]);
    fclose(to);
    free(lines);
    free(copy);
    return all;
}

static void count_keys(struct counted *counted)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        struct counted *one = &counted[row->key % KEYS];
        one->first = one->count == 0 || row->value < one->first ? row->value : one->first;
        one->last = one->count == 0 || row->value > one->last ? row->value : one->last;
        one->count++;
        one->sum += row->value;
    }
}

static char *want_keys(const char *kind)
{
    static struct counted counted[KEYS];
    char *all = NULL, name[64];
    size_t size = 0;
    memset(counted, 0, sizeof counted);
    count_keys(counted);
    FILE *to = open_memstream(&all, &size);
    for (uint64_t key = 0; key < KEYS; key++) {
        const struct counted *one = &counted[key];
        if (one->count == 0)
            continue;
        name_key(key, name);
        if (strcmp(kind, "count") == 0)
            fprintf(to, "%s\t%" PRIu64 "\n", name, one->count);
        else if (strcmp(kind, "list") == 0)
            fprintf(to, "%s\t%" PRIu64 " %" PRIu64 "\n", name, one->count, one->sum);
        else
            fprintf(to, "%s\t%" PRIu64 " %08" PRIx64 " %08" PRIx64 "\n", name, one->count, one->first, one->last);
    }
    fclose(to);
    return all;
}

static char *want_order(void)
{
    char *all = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    for (size_t i = 0; i < ROWS; i++)
        fprintf(to, "%06" PRIx64 ".%08" PRIx64 "\t%" PRIu64 "\n", rows[i].key, rows[i].value, rows[i].value);
    fclose(to);
    return all;
}

static char *want_dense(void)
{
    uint64_t sums[DENSE] = {0};
    char *all = NULL;
    size_t size = 0;
    for (size_t i = 0; i < ROWS; i++)
        sums[rows[i].key % DENSE] += rows[i].value;
    FILE *to = open_memstream(&all, &size);
    for (int i = 0; i < DENSE; i++)
        fprintf(to, "%d\t%" PRIu64 "\n", i, sums[i]);
    fclose(to);
    return all;
}

/* Sums of blocks, added in the order of the blocks: so it is documented (docs/determinism.md). */
static char *want_centres(void)
{
    double centre[CENTRES];
    char *all = NULL;
    size_t size = 0;
    for (int c = 0; c < CENTRES; c++)
        centre[c] = 1000.0 * c;
    for (int round = 0; round < CENTRE_ROUNDS; round++) {
        double total[CENTRES][2] = {{0}};
        for (size_t block = 0; block < ROWS / BLOCK_ROWS; block++) {
            double sums[CENTRES][2] = {{0}};
            for (size_t i = block * BLOCK_ROWS; i < (block + 1) * BLOCK_ROWS; i++) {
                const double place = place_of(rows[i]);
                const int c = nearest(centre, place);
                sums[c][0] += place;
                sums[c][1] += 1;
            }
            for (int c = 0; c < CENTRES; c++) {
                total[c][0] += sums[c][0];
                total[c][1] += sums[c][1];
            }
        }
        for (int c = 0; c < CENTRES; c++)
            centre[c] = total[c][1] > 0 ? total[c][0] / total[c][1] : centre[c];
    }
    FILE *to = open_memstream(&all, &size);
    for (int c = 0; c < CENTRES; c++)
        fprintf(to, "%d\t%.17g\n", c, centre[c]);
    fclose(to);
    return all;
}

static char *want_range(void)
{
    char *all = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    for (int i = 0; i < DENSE; i++)
        fprintf(to, "r%d\t%d\n", i, RANGE / DENSE + (i < RANGE % DENSE));
    fclose(to);
    return all;
}

static char *want_words(void)
{
    char *all = NULL, word[64];
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    for (uint32_t i = 0; i < DISTINCT; i++) {
        if (word_counts[i] == 0)
            continue;
        fixture_word(i, word);
        fprintf(to, "%s\t%" PRIu64 "\n", word, word_counts[i]);
    }
    fclose(to);
    return all;
}

static char *want_files(void)
{
    char *all = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    for (int i = 0; i < FILES; i++)
        fprintf(to, "file-%d\t%d\n", i, FILE_BYTES + i);
    fclose(to);
    return all;
}

struct voyage voyages[VOYAGES] = {
    {.name = "count", .app = &mr_app_convoy_count},
    {.name = "list", .app = &mr_app_convoy_list},
    {.name = "suffix", .app = &mr_app_convoy_suffix},
    {.name = "order", .app = &mr_app_convoy_order, .in_order = true},
    {.name = "dense", .app = &mr_app_convoy_dense, .in_order = true},
    {.name = "centres", .app = &mr_app_convoy_centres, .in_order = true},
    {.name = "range", .app = &mr_app_convoy_range, .cargo = CARGO_NONE},
    {.name = "words", .app = &mr_app_convoy_words, .cargo = CARGO_TEXT},
    {.name = "files", .app = &mr_app_convoy_files, .cargo = CARGO_FILES},
    {.name = "count by key", .app = &mr_app_convoy_count, .sort = MR_SORT_KEY, .in_order = true},
    {.name = "list by key", .app = &mr_app_convoy_list, .sort = MR_SORT_KEY, .in_order = true},
    {.name = "count by value", .app = &mr_app_convoy_count, .sort = MR_SORT_VALUE, .in_order = true},
    {.name = "count limited", .app = &mr_app_convoy_count, .param = "limit=20", .in_order = true},
};

struct voyage *voyage_named(const char *name)
{
    for (size_t v = 0; v < VOYAGES; v++)
        if (strcmp(voyages[v].name, name) == 0)
            return &voyages[v];
    fail_msg("no voyage %s", name);
    return NULL;
}

static char *wanted(const struct voyage *voyage)
{
    const mr_app_handle *app = voyage->app;
    char *all = app == &mr_app_convoy_count     ? want_keys("count")
                : app == &mr_app_convoy_list    ? want_keys("list")
                : app == &mr_app_convoy_suffix  ? want_keys("suffix")
                : app == &mr_app_convoy_order   ? want_order()
                : app == &mr_app_convoy_dense   ? want_dense()
                : app == &mr_app_convoy_centres ? want_centres()
                : app == &mr_app_convoy_range   ? want_range()
                : app == &mr_app_convoy_words   ? want_words()
                                                : want_files();
    if (app == &mr_app_convoy_dense || app == &mr_app_convoy_centres)
        return all;
    char *lines = voyage->param != NULL             ? sorted(all, by_number_downwards, 20)
                  : voyage->sort == MR_SORT_VALUE   ? sorted(all, by_number_downwards, 0)
                                                    : sorted(all, by_bytes, 0);
    free(all);
    return lines;
}

static char *write_file(const char *name, const void *bytes, size_t size)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    return strdup(path);
}

static void make_input(void)
{
    static char content[FILE_BYTES + FILES];
    uint64_t state = 7;
    for (uint64_t i = 0; i < ROWS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        rows[i] = (struct row){state >> 40, i};
    }
    rows_path = write_file("rows", rows, sizeof rows);
    text_path = strdup(fixture_words(fixture_folder, "text", WORDS, DISTINCT, 3, word_counts));
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%d", i);
        memset(content, 'a' + i % 26, sizeof content);
        file_paths[i] = write_file(name, content, (size_t)(FILE_BYTES + i));
    }
    for (size_t v = 0; v < VOYAGES; v++)
        voyages[v].want = wanted(&voyages[v]);
}

static void remove_file(char *path)
{
    unlink(path);
    free(path);
}

static void drop_input(void)
{
    remove_file(rows_path);
    remove_file(text_path);
    for (int i = 0; i < FILES; i++)
        remove_file(file_paths[i]);
    for (size_t v = 0; v < VOYAGES; v++)
        free(voyages[v].want);
}

char voyages_place[4200], voyages_output[4300];

int voyages_set_up(void **state)
{
    fixture_set_up(state);
    make_input();
    snprintf(voyages_place, sizeof voyages_place, "%s/place", fixture_folder);
    snprintf(voyages_output, sizeof voyages_output, "%s/out", voyages_place);
    return mkdir(voyages_place, 0777);
}

int voyages_tear_down(void **state)
{
    fixture_remove(voyages_place);
    drop_input();
    return fixture_tear_down(state);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

void voyage_load(const struct voyage *voyage, struct convoy *convoy, mr_job *job, const char *output)
{
    *job = (mr_job){.app = voyage->app, .sort = voyage->sort, .output = output, .params = &voyage->param,
                    .param_count = voyage->param != NULL};
    convoy->jobs = job;
    convoy->job_count = 1;
    convoy->inputs = (const char *const *)(voyage->cargo == CARGO_ROWS   ? &rows_path
                                           : voyage->cargo == CARGO_TEXT ? &text_path
                                                                         : file_paths);
    convoy->input_count = voyage->cargo == CARGO_FILES ? FILES : 1;
}

char *voyage_output(const char *output)
{
    char *all = NULL, path[4300];
    size_t size = 0;
    const int entries = fixture_entries(output);
    struct stat mark;
    if (entries < 1)
        fail_msg("%s is no result", output);
    snprintf(path, sizeof path, "%s/_SUCCESS", output);
    assert_int_equal(stat(path, &mark), 0);
    all = fixture_parts(output, 0, (uint32_t)entries - 1, &size);
    return all;
}

void voyage_assert(const struct voyage *voyage, char *got)
{
    char *lines = voyage->in_order ? strdup(got) : sorted(got, by_bytes, 0);
    const char *a = lines, *b = voyage->want;
    size_t line = 1;
    while (*a != '\0' && *a == *b) {
        line += *a == '\n';
        a++;
        b++;
    }
    if (*a != *b) {
        while (a > lines && a[-1] != '\n') {
            a--;
            b--;
        }
        fail_msg("%s: line %zu is '%.60s', wanted: '%.60s'", voyage->name, line, a, b);
    }
    free(lines);
}
