/* Keys and values at the edges of what an app may declare, over an index range: row i of each app emits what its test
 * can compute again. Every job runs with plenty of memory, then with so little that it spills. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "job_fixture.h"

#define MIB ((uint64_t)1 << 20)

static uint64_t rows;           /* of the range; plan() asks */

static mr_status plan_range(mr_plan *plan)
{
    plan->range = rows;
    plan->block_rows = rows / 16 + 1;
    return MR_OK;
}

/* ---- keys of every length ---------------------------------------------------------------------------------------- */

static const uint32_t lengths[] = {0, 1, 15, 16, 17, 255, 16384, 16385, 300000};
enum { LENGTHS = sizeof lengths / sizeof lengths[0], SAME = 3 };

static mr_status lengths_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const uint32_t length = lengths[row % LENGTHS];
        uint8_t *key = mr_scratch(out, length);
        memset(key, 'a' + (int)(row / LENGTHS % SAME), length);
        mr_emit(out, key, length, NULL);
    }
    return MR_OK;
}

MR_APP(lengths) {
    .input = MR_INPUT_RANGE, .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .plan = plan_range, .map = lengths_map,
};

static void keys_of_every_length_are_counted(void **state)
{
    enum { TIMES = 40 };
    static const uint64_t memories[] = {0, 1};
    rows = LENGTHS * SAME * TIMES;
    for (size_t m = 0; m < MR__COUNT(memories); m++) {
        mr_session *session = fixture_session(2, memories[m] * MIB);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_lengths, .sort = MR_SORT_KEY});
        uint32_t seen[LENGTHS] = {0}, total = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value); total++) {
            uint64_t count;
            uint32_t l = 0;
            memcpy(&count, value.data, 8);
            while (l < LENGTHS && lengths[l] != key.size)
                l++;
            assert_in_range(l, 0, LENGTHS - 1);
            assert_int_equal(count, l == 0 ? TIMES * SAME : TIMES);
            for (size_t i = 0; i < key.size; i++)
                assert_int_equal(key.data[i], 'a' + seen[l]);       /* ascending */
            seen[l]++;
        }
        assert_int_equal(total, 1 + (LENGTHS - 1) * SAME);
        mr_result_close(result);
        mr_session_close(session);
    }
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

enum { GROUPS = 1000 };

static int64_t number_of_row(uint64_t row)
{
    return (int64_t)(row * 2654435761u % 100003) - 50000;
}

static mr_status i64_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const int64_t number = number_of_row(row);
        mr_emit_u64(out, row % GROUPS * 1000003, &number);
    }
    return MR_OK;
}

static mr_status f64_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const double number = (double)number_of_row(row);
        mr_emit_u32(out, (uint32_t)(row % GROUPS * 1000003), &number);
    }
    return MR_OK;
}

#define NUMBERS(name_, key_, value_, combine_, map_)                                                                   \
    MR_APP(name_) {                                                                                                    \
        .input = MR_INPUT_RANGE, .key = key_, .value = value_, .combine = combine_, .plan = plan_range, .map = map_,   \
    }
NUMBERS(i64_min, MR_U64, MR_I64, MR_MIN, i64_map);
NUMBERS(i64_max, MR_U64, MR_I64, MR_MAX, i64_map);
NUMBERS(i64_sum, MR_U64, MR_I64, MR_SUM, i64_map);
NUMBERS(f64_min, MR_U32, MR_F64, MR_MIN, f64_map);
NUMBERS(f64_max, MR_U32, MR_F64, MR_MAX, f64_map);
NUMBERS(f64_sum, MR_U32, MR_F64, MR_SUM, f64_map);

static void smallest_largest_and_sum_of_numbers(void **state)
{
    static const struct { const mr_app_handle *app; mr_combine combine; bool f64; } cases[] = {
        {&mr_app_i64_min, MR_MIN, false}, {&mr_app_i64_max, MR_MAX, false}, {&mr_app_i64_sum, MR_SUM, false},
        {&mr_app_f64_min, MR_MIN, true}, {&mr_app_f64_max, MR_MAX, true}, {&mr_app_f64_sum, MR_SUM, true}};
    rows = 200000;
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        int64_t want[GROUPS];
        for (uint64_t row = 0; row < rows; row++) {
            const int64_t number = number_of_row(row);
            int64_t *to = &want[row % GROUPS];
            const bool first = row < GROUPS;
            if (cases[c].combine == MR_SUM)
                *to = first ? number : *to + number;
            else if (first || (cases[c].combine == MR_MIN ? number < *to : number > *to))
                *to = number;
        }
        mr_session *session = fixture_session(3, 0);
        mr_result *result = fixture_run(session, &(mr_job){.app = cases[c].app, .sort = MR_SORT_KEY});
        uint64_t at = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value); at++) {
            uint64_t number = 0;
            int64_t i64;
            double f64;
            assert_in_range(at, 0, GROUPS - 1);
            assert_int_equal(key.size, cases[c].f64 ? 4 : 8);
            memcpy(&number, key.data, key.size);
            assert_int_equal(number, at * 1000003);     /* ascending as numbers, not as bytes */
            memcpy(&i64, value.data, 8);
            memcpy(&f64, value.data, 8);
            assert_true(cases[c].f64 ? f64 == (double)want[at] : i64 == want[at]);
        }
        assert_int_equal(at, GROUPS);
        mr_result_close(result);
        mr_session_close(session);
    }
}

/* ---- vectors and structs ----------------------------------------------------------------------------------------- */

static mr_status vector_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const double vector[3] = {1, (double)(row % 100), (double)row};
        mr_emit_u32(out, (uint32_t)(row % 7), vector);
    }
    return MR_OK;
}

MR_APP(vectors) {
    .input = MR_INPUT_RANGE, .key = MR_U32, .value = MR_F64_VECTOR, .value_width = 3, .combine = MR_SUM,
    .plan = plan_range, .map = vector_map,
};

static void vectors_of_hashed_keys_are_added(void **state)
{
    double want[7][3] = {{0}};
    rows = 70001;
    for (uint64_t row = 0; row < rows; row++) {
        want[row % 7][0] += 1;
        want[row % 7][1] += (double)(row % 100);
        want[row % 7][2] += (double)row;
    }
    mr_session *session = fixture_session(2, 0);
    mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_vectors, .sort = MR_SORT_KEY});
    for (uint32_t k = 0; k < 7; k++) {
        mr_slice key, value;
        assert_true(mr_result_next(result, &key, &value));
        assert_memory_equal(key.data, &k, 4);
        assert_int_equal(value.size, sizeof want[k]);
        assert_memory_equal(value.data, want[k], sizeof want[k]);   /* whole numbers: exact */
    }
    mr_result_close(result);
    mr_session_close(session);
}

/* Twelve bytes: packed, every second would lie at an odd place. */
struct range {
    int32_t low, high, count;
};

static bool aligned = true;

static void widen(void *into, const void *value, const void *params)
{
    struct range *a = into;
    const struct range *b = value;
    if ((uintptr_t)a % 8 != 0 || (uintptr_t)b % 8 != 0)
        aligned = false;
    a->low = b->low < a->low ? b->low : a->low;
    a->high = b->high > a->high ? b->high : a->high;
    a->count += b->count;
}

static mr_status range_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        char key[64];
        const int32_t number = (int32_t)number_of_row(row);
        const struct range one = {number, number, 1};
        const int size = sprintf(key, row % 3 == 0 ? "a rather long key %u" : "k%u", (unsigned)(row % 200000));
        mr_emit(out, key, (size_t)size, &one);
    }
    return MR_OK;
}

static mr_status range_format(mr_slice key, const void *value, mr_writer *out, const void *params)
{
    const struct range *r = value;
    if ((uintptr_t)value % 8 != 0)
        aligned = false;
    return mr_writef(out, "%d..%d %d", (int)r->low, (int)r->high, (int)r->count);
}

MR_APP(ranges) {
    .input = MR_INPUT_RANGE, .key = MR_BYTES, .value = MR_STRUCT, .value_size = sizeof(struct range),
    .combine = MR_COMBINE_USER, .combine_with = widen, .format = range_format, .plan = plan_range, .map = range_map,
};

static void structs_are_combined_by_the_app_and_formatted(void **state)
{
    static const struct { uint32_t workers; uint64_t memory; mr_sort sort; } cases[] = {
        {1, 0, MR_SORT_KEY}, {2, 0, MR_SORT_KEY}, {2, 1, MR_SORT_KEY}, {2, 1, MR_SORT_NONE}};
    char output[4200], *first = NULL;
    size_t first_size = 0;
    rows = 400000;
    snprintf(output, sizeof output, "%s/out", fixture_folder);
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_session *session = fixture_session(cases[c].workers, cases[c].memory * MIB);
        const mr_job job = {.app = &mr_app_ranges, .output = output, .sort = cases[c].sort, .parts = 3};
        mr_result *result = fixture_run(session, &job);
        size_t size = 0, lines = 0;
        assert_int_equal(mr_result_stats(result)->parts, 3);
        if (cases[c].memory != 0)
            assert_true(mr_result_stats(result)->spilled_bytes > 0);
        char *all = fixture_parts(output, 0, 3, &size);
        int64_t count = 0;
        for (const char *line = all, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
            int low, high, n;
            unsigned key;
            char alone[80];                                 /* sscanf measures all that follows */
            snprintf(alone, sizeof alone, "%.*s", (int)(end - line), line);
            assert_int_equal(sscanf(alone, *line == 'k' ? "k%u\t%d..%d %d" : "a rather long key %u\t%d..%d %d", &key,
                                    &low, &high, &n), 4);
            assert_true(low <= high && n > 0);
            count += n;
        }
        assert_int_equal(count, rows);
        assert_int_equal(lines, mr_result_stats(result)->keys);
        if (cases[c].sort == MR_SORT_KEY && first != NULL) {
            assert_int_equal(size, first_size);
            assert_memory_equal(all, first, size);
        }
        if (first == NULL) {
            first = all;
            first_size = size;
        } else {
            free(all);
        }
        mr_result_close(result);
        mr_session_close(session);
        fixture_remove(output);
    }
    free(first);
    assert_true(aligned);
}

/* ---- values of megabytes ----------------------------------------------------------------------------------------- */

enum { LARGE = 2 << 20, LARGE_KEYS = 12 };

static void add_large(void *into, const void *value, const void *params)
{
    uint64_t *a = into;
    const uint64_t *b = value;
    for (size_t i = 0; i < LARGE / 8; i++)
        a[i] += b[i];
}

static mr_status large_map(const mr_block *block, mr_emitter *out, const void *params)
{
    uint64_t *value = mr_scratch(out, LARGE);
    for (uint64_t row = block->first_row; value != NULL && row < block->first_row + block->rows; row++) {
        const uint32_t key = (uint32_t)(row % LARGE_KEYS);
        for (size_t i = 0; i < LARGE / 8; i++)
            value[i] = row + i;
        mr_emit_u32(out, key, value);
    }
    return out->status;
}

MR_APP(large) {
    .input = MR_INPUT_RANGE, .key = MR_U32, .value = MR_STRUCT, .value_size = LARGE, .output = MR_OUTPUT_BINARY,
    .combine = MR_COMBINE_USER, .combine_with = add_large, .plan = plan_range, .map = large_map,
};

static void values_of_megabytes_stay_within_the_limit(void **state)
{
    enum { TIMES = 6 };
    static const uint64_t memories[] = {0, 40};
    rows = LARGE_KEYS * TIMES;
    for (size_t m = 0; m < MR__COUNT(memories); m++) {
        mr_session *session = fixture_session(2, memories[m] * MIB);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_large, .sort = MR_SORT_KEY});
        for (uint32_t k = 0; k < LARGE_KEYS; k++) {
            mr_slice key, value;
            uint64_t base = 0;
            for (uint32_t t = 0; t < TIMES; t++)
                base += k + (uint64_t)t * LARGE_KEYS;
            assert_true(mr_result_next(result, &key, &value));
            assert_memory_equal(key.data, &k, 4);
            assert_int_equal(value.size, LARGE);
            for (size_t i = 0; i < LARGE / 8; i += 997) {
                uint64_t number;
                memcpy(&number, value.data + i * 8, 8);
                assert_int_equal(number, base + i * TIMES);
            }
        }
        mr_result_close(result);
        mr_session_close(session);
    }
}

/* ---- suffixes, and reduces that do not read everything ----------------------------------------------------------- */

enum { SUFFIXES = 600 };
static const char *const groups[] = {"", "a", "az", "aza", "b", "a key that is rather long",
                                     "a key that is rather longer"};

/* Every group with every suffix of two letters: sorted as whole keys, the groups would lie among each other. */
static mr_status suffix_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const uint64_t which = row % (MR__COUNT(groups) * SUFFIXES);
        const char *group = groups[which % MR__COUNT(groups)];
        const uint64_t suffix = which / MR__COUNT(groups);
        char key[64];
        const int size = sprintf(key, "%s%c%c", group, 'a' + (int)(suffix / 26), 'a' + (int)(suffix % 26));
        mr_emit(out, key, (size_t)size, NULL);
    }
    return MR_OK;
}

static mr_status suffix_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0, sum = 0;
    char last[2] = {0, 0};
    for (mr_slice value; mr_values_next(values, &value); count++) {
        uint64_t number;
        if (value.size != 10 || memcmp(last, value.data, 2) >= 0)
            return MR_INTERNAL;
        memcpy(last, value.data, 2);
        memcpy(&number, value.data + 2, 8);
        sum += number;
    }
    mr_slice beyond;
    if (mr_values_next(values, &beyond))        /* the end stays the end */
        return MR_INTERNAL;
    return mr_writef(out, "%llu %llu", (unsigned long long)count, (unsigned long long)sum);
}

MR_APP(suffixes) {
    .input = MR_INPUT_RANGE, .key = MR_BYTES, .key_suffix = 2, .value = MR_U64, .combine = MR_COUNT,
    .plan = plan_range, .map = suffix_map, .reduce = suffix_reduce,
};

static void a_group_comes_once_with_its_suffixes_in_order(void **state)
{
    enum { TIMES = 20 };
    static const uint64_t memories[] = {0, 1};
    rows = MR__COUNT(groups) * SUFFIXES * TIMES;
    for (size_t m = 0; m < MR__COUNT(memories); m++) {
        mr_session *session = fixture_session(2, memories[m] * MIB);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_suffixes});
        uint32_t seen = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value);) {
            uint32_t g = 0;
            while (g < MR__COUNT(groups) &&
                   (strlen(groups[g]) != key.size || memcmp(groups[g], key.data, key.size) != 0))
                g++;
            assert_in_range(g, 0, MR__COUNT(groups) - 1);
            assert_int_equal(seen >> g & 1, 0);
            seen |= 1u << g;
            char text[64] = "", want[64];
            memcpy(text, value.data, value.size);
            snprintf(want, sizeof want, "%d %d", SUFFIXES, SUFFIXES * TIMES);
            assert_string_equal(text, want);
        }
        assert_int_equal(seen, (1u << MR__COUNT(groups)) - 1);
        mr_result_close(result);
        mr_session_close(session);
    }
}

static mr_status many_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const int64_t number = number_of_row(row);
        mr_emit_u64(out, row % GROUPS, &number);
    }
    return MR_OK;
}

/* Reads none, one or some of the values, by the key. */
static mr_status lazy_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t number, read = 0;
    memcpy(&number, key.data, 8);
    for (mr_slice value; read < number % 4 && mr_values_next(values, &value);)
        read++;
    return number % 4 == 3 ? MR_OK : mr_writef(out, "%llu", (unsigned long long)read);
}

MR_APP(lazy) {
    .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_I64, .plan = plan_range, .map = many_map, .reduce = lazy_reduce,
};

static void a_reduce_need_not_read_its_values_nor_write(void **state)
{
    static const uint64_t memories[] = {0, 1};
    rows = 1500000;
    for (size_t m = 0; m < MR__COUNT(memories); m++) {
        mr_session *session = fixture_session(2, memories[m] * MIB);
        mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_lazy, .sort = MR_SORT_KEY});
        uint64_t want = 0;
        for (mr_slice key, value; mr_result_next(result, &key, &value); want++) {
            uint64_t number;
            want += want % 4 == 3;
            memcpy(&number, key.data, 8);
            assert_int_equal(number, want);
            assert_int_equal(value.size, 1);
            assert_int_equal(value.data[0], '0' + want % 4);
        }
        assert_int_equal(want, GROUPS - 1);
        if (memories[m] != 0)
            assert_true(mr_result_stats(result)->spilled_bytes > 0);
        mr_result_close(result);
        mr_session_close(session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_every_length_are_counted),
        cmocka_unit_test(smallest_largest_and_sum_of_numbers),
        cmocka_unit_test(vectors_of_hashed_keys_are_added),
        cmocka_unit_test(structs_are_combined_by_the_app_and_formatted),
        cmocka_unit_test(values_of_megabytes_stay_within_the_limit),
        cmocka_unit_test(a_group_comes_once_with_its_suffixes_in_order),
        cmocka_unit_test(a_reduce_need_not_read_its_values_nor_write),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
