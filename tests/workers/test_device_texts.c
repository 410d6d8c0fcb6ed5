/* test_device_texts.c: text kernels through a real device process: what is counted, at every cut of a file, by every
 * way that pairs can take. The oracle counts words in C. */
#include "cmocka_all.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_weigh.h"

enum { TEXT = 300000, LONGEST = 64, WORDS_UNIT = 1, DENSE_KEYS = 16 };

static const char kernel[] =
    "#include <millrace/text_opencl.h>\n"
    "MR_TEXT_KERNEL(words, uchar)\n"
    "{\n"
    "    mr_each_word(text, word, MR_SPLIT_BLANKS) {\n"
    "#if MR_DENSE_KEYS > 0\n"
    "        mr_add_dense(out, min(word.size, 15u), 1);\n"
    "#else\n"
    "        mr_emit(out, word, word.size);\n"
    "#endif\n"
    "    }\n"
    "}\n";

static char text[TEXT + 1];

/* Words of 1 to 40 letters, a few of them often, most of them once; blanks of all kinds. */
static void make_text(void)
{
    static const char blanks[] = " \n\t\r\v\f";
    uint32_t seed = 7;
    size_t at = 0;
    while (at < TEXT) {
        seed = seed * 1664525 + 1013904223;
        const uint32_t kind = seed >> 28, size = kind < 8 ? 1 + (seed >> 20 & 3) : 1 + (seed >> 16) % 40;
        for (uint32_t i = 0; i < size && at < TEXT; i++) {
            if (kind >= 8)
                seed = seed * 1664525 + 1013904223;
            text[at++] = (char)('a' + (kind < 8 ? i : (seed >> 24) % 26));
        }
        for (uint32_t i = 0; i < 1 + (seed >> 10) % 3 && at < TEXT; i++)
            text[at++] = blanks[(seed >> 12) % 6];
    }
}

struct count {
    char key[LONGEST];
    uint32_t size;
    uint64_t value;
};

struct counts {
    struct count *items;
    size_t count, room;
};

static void add(struct counts *counts, const void *key, uint32_t size, uint64_t value)
{
    assert_true(size < LONGEST);
    if (counts->count == counts->room)
        counts->items = realloc(counts->items, (counts->room = counts->room * 2 + 1024) * sizeof *counts->items);
    struct count *item = &counts->items[counts->count++];
    memset(item, 0, sizeof *item);
    memcpy(item->key, key, size);
    item->size = size;
    item->value = value;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, LONGEST);
}

static void combine(struct counts *counts)
{
    size_t to = 0;
    qsort(counts->items, counts->count, sizeof *counts->items, by_key);
    for (size_t i = 0; i < counts->count; i++)
        if (to > 0 && memcmp(counts->items[to - 1].key, counts->items[i].key, LONGEST) == 0)
            counts->items[to - 1].value += counts->items[i].value;
        else
            counts->items[to++] = counts->items[i];
    counts->count = to;
}

static void count_words(struct counts *counts, const char *at, size_t size, const uint8_t *suffix)
{
    for (size_t i = 0; i < size;) {
        char key[LONGEST];
        size_t start = i;
        while (i < size && !isspace((unsigned char)at[i]))
            i++;
        if (i > start) {
            memcpy(key, at + start, i - start);
            if (suffix != NULL)
                memcpy(key + (i - start), suffix, 4);
            add(counts, key, (uint32_t)(i - start) + (suffix != NULL ? 4 : 0), i - start);
        }
        i++;
    }
}

static uint64_t take_pairs(struct counts *counts, const uint8_t *memory, uint64_t bytes)
{
    uint64_t pairs = 0;
    for (uint64_t at = 0; at < bytes; pairs++) {
        const mr__device_pair *pair = (const mr__device_pair *)(memory + at);
        assert_true(bytes - at >= sizeof *pair + pair->size);
        add(counts, pair + 1, pair->size, pair->value);
        at += sizeof *pair + (pair->size + 7) / 8 * 8;
    }
    return pairs;
}

static void assert_same(struct counts *got, struct counts *want)
{
    combine(got);
    combine(want);
    assert_int_equal(got->count, want->count);
    assert_memory_equal(got->items, want->items, got->count * sizeof *got->items);
    free(got->items);
    free(want->items);
}

static struct device_job job_of(const char *const *files, uint32_t count, uint32_t buffer)
{
    return (struct device_job){
        .job = {.form = MR__DEVICE_TEXTS, .slots = 2, .slot_bytes = 8 << 20, .zero_copy = 1, .unit = WORDS_UNIT,
                .buffer = buffer, .largest_segment = TEXT},
        .name = "words", .kernel = kernel, .cache = device_directory(), .files = files, .file_count = count};
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static void pairs_are_the_same_by_every_way(void **state)
{
    static const uint32_t buffers[] = {MR__DEVICE_ARRAY, MR__DEVICE_COMBINE, MR__DEVICE_AUTO};
    skip_without_device();
    const char *const files[] = {device_file("text", text, TEXT)};
    for (size_t b = 0; b < 3; b++)
        for (uint32_t zero_copy = 0; zero_copy < 2; zero_copy++) {
            struct device device;
            struct device_job job = job_of(files, 1, buffers[b]);
            struct counts got = {.count = 0}, want = {.count = 0};
            job.job.zero_copy = zero_copy;
            weigh_open(&device, &job, NULL);
            const mr__device_segment segment = {.size = TEXT};
            const mr__device_done done = device_do(&device, &segment, 1);
            assert_string_equal(done.text, "");
            count_words(&want, text, TEXT, NULL);
            assert_int_equal(done.pairs, want.count);
            const uint64_t pairs = take_pairs(&got, device.memory, done.bytes);
            if (buffers[b] == MR__DEVICE_ARRAY)
                assert_int_equal(pairs, want.count);
            else if (buffers[b] == MR__DEVICE_COMBINE)
                assert_true(pairs < want.count);
            assert_true(buffers[b] == MR__DEVICE_AUTO || done.buffer == buffers[b]);
            assert_same(&got, &want);
            assert_int_equal(device_stop(&device), 0);
        }
}

static void every_cut_counts_each_word_once(void **state)
{
    enum { SIZE = 700 };
    skip_without_device();
    struct device device;
    struct counts got = {.count = 0}, want = {.count = 0};
    const char *const files[] = {device_file("cut", text, SIZE)};
    struct device_job job = job_of(files, 1, MR__DEVICE_ARRAY);
    weigh_open(&device, &job, NULL);
    for (uint64_t cut = 1; cut < SIZE; cut++) {
        const mr__device_segment segments[] = {{.size = cut}, {.offset = cut, .size = SIZE - cut}};
        for (int i = 0; i < 2; i++) {
            const mr__device_done done = device_do(&device, &segments[i], 1);
            assert_string_equal(done.text, "");
            take_pairs(&got, device.memory, done.bytes);
        }
        count_words(&want, text, SIZE, NULL);
    }
    assert_same(&got, &want);
    assert_int_equal(device_stop(&device), 0);
}

static void small_files_share_a_launch_and_keep_their_numbers(void **state)
{
    enum { FILES = 40 };
    static char names[FILES][32];
    skip_without_device();
    const char *files[FILES];
    static char paths[FILES][128];
    mr__device_segment segments[FILES];
    struct counts got = {.count = 0}, want = {.count = 0};
    size_t at = 0;
    for (uint32_t f = 0; f < FILES; f++) {
        const size_t size = f % 5 == 3 ? 0 : 10 + f * 37;
        const uint8_t suffix[4] = {0, 0, 0, (uint8_t)f};
        snprintf(names[f], sizeof names[f], "small-%u", f);
        snprintf(paths[f], sizeof paths[f], "%s", device_file(names[f], text + at, size));
        files[f] = paths[f];
        segments[f] = (mr__device_segment){.file = f, .size = size};
        count_words(&want, text + at, size, suffix);
        at += size;
    }
    struct device device;
    struct device_job job = job_of(files, FILES, MR__DEVICE_AUTO);
    job.job.suffix_size = 4;
    weigh_open(&device, &job, NULL);
    const mr__device_done done = device_do(&device, segments, FILES);
    assert_string_equal(done.text, "");
    take_pairs(&got, device.memory, done.bytes);
    assert_same(&got, &want);
    assert_int_equal(device_stop(&device), 0);
}

static void a_full_table_runs_again_with_a_larger_one(void **state)
{
    enum { WORDS = 60000, BYTES = WORDS * 8 };
    skip_without_device();
    char *const many = malloc(BYTES + 1);
    for (int i = 0; i < WORDS; i++)
        snprintf(many + i * 8, 9, "w%06d ", i);
    const char *const files[] = {device_file("many", many, BYTES)};
    struct device device;
    struct counts got = {.count = 0}, want = {.count = 0};
    struct device_job job = job_of(files, 1, MR__DEVICE_COMBINE);
    job.job.largest_segment = BYTES;
    weigh_open(&device, &job, NULL);
    const mr__device_segment segment = {.size = BYTES};
    const mr__device_done done = device_do(&device, &segment, 1);
    assert_string_equal(done.text, "");
    assert_true(done.again > 0);
    assert_int_equal(done.buffer, MR__DEVICE_COMBINE);
    take_pairs(&got, device.memory, done.bytes);
    count_words(&want, many, BYTES, NULL);
    assert_same(&got, &want);
    assert_int_equal(device_stop(&device), 0);
    free(many);
}

static void dense_keys_are_added_up_over_the_parts_of_a_task(void **state)
{
    skip_without_device();
    const char *const files[] = {device_file("dense", text, TEXT)};
    struct device device;
    struct device_job job = job_of(files, 1, MR__DEVICE_AUTO);
    struct counts words = {.count = 0};
    uint64_t want[DENSE_KEYS] = {0};
    job.job.dense_keys = DENSE_KEYS;
    job.job.width = 1;
    job.job.largest_segment = TEXT / 4;         /* smaller than the segment: several parts */
    job.job.zero_copy = 0;
    weigh_open(&device, &job, NULL);
    const mr__device_segment segment = {.size = TEXT};
    count_words(&words, text, TEXT, NULL);
    for (size_t i = 0; i < words.count; i++)
        want[words.items[i].size < DENSE_KEYS ? words.items[i].size : DENSE_KEYS - 1]++;
    for (int round = 0; round < 2; round++) {
        const mr__device_done done = device_do(&device, &segment, 1);
        assert_string_equal(done.text, "");
        assert_int_equal(done.bytes, sizeof want);
        assert_memory_equal(device.memory, want, sizeof want);
    }
    free(words.items);
    assert_int_equal(device_stop(&device), 0);
}

static void what_no_buffer_holds_is_left_to_a_cpu(void **state)
{
    enum { WORD = 400000 };
    skip_without_device();
    char *const word = malloc(WORD);
    memset(word, 'x', WORD);
    const char *const files[] = {device_file("word", word, WORD), device_file("text", text, TEXT)};
    struct device device;
    struct device_job job = job_of(files, 2, MR__DEVICE_ARRAY);
    job.job.largest_segment = 1000;
    job.job.zero_copy = 0;
    job.job.slot_bytes = 64 << 10;
    weigh_open(&device, &job, NULL);
    const mr__device_segment longest = {.size = 1000}, too_many = {.file = 1, .size = 50000};
    mr__device_done done = device_do(&device, &longest, 1);
    assert_int_equal(done.outcome, MR__DEVICE_UNFIT);
    assert_non_null(strstr(done.text, "longer than the device's transfer buffer"));
    done = device_do(&device, &too_many, 1);
    assert_int_equal(done.outcome, MR__DEVICE_UNFIT);
    assert_non_null(strstr(done.text, "do not fit its slot"));
    assert_int_equal(device_stop(&device), 0);
    free(word);
}

int main(void)
{
    make_text();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_the_same_by_every_way),
        cmocka_unit_test(every_cut_counts_each_word_once),
        cmocka_unit_test(small_files_share_a_launch_and_keep_their_numbers),
        cmocka_unit_test(a_full_table_runs_again_with_a_larger_one),
        cmocka_unit_test(dense_keys_are_added_up_over_the_parts_of_a_task),
        cmocka_unit_test(what_no_buffer_holds_is_left_to_a_cpu),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
