/* convoy_cargo.c: see convoy_cargo.h. */
#include "convoy_cargo.h"

#include "cmocka_all.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job_fixture.h"

enum { FILES = 40, FILE_BYTES = 100000, WORDS = 500000, DISTINCT = 20000 };

static struct row rows[ROWS];
static uint64_t word_counts[DISTINCT];
static char *rows_path, *text_path, *file_paths[FILES];

/* ---- what must come of it ---------------------------------------------------------------------------------------- */

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
        row_name(key, name);
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
    row_centres(centre);
    for (int round = 0; round < CENTRE_ROUNDS; round++) {
        double total[CENTRES][2] = {{0}};
        for (size_t block = 0; block < ROWS / BLOCK_ROWS; block++) {
            double sums[CENTRES][2] = {{0}};
            for (size_t i = block * BLOCK_ROWS; i < (block + 1) * BLOCK_ROWS; i++) {
                const double place = row_place(rows[i]);
                const int c = row_nearest(centre, place);
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

/* ---- voyages ---------------------------------------------------------------------------------------------------- */

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

/* ---- input ------------------------------------------------------------------------------------------------------- */

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

void voyage_assert(const struct voyage *voyage, const char *got)
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
