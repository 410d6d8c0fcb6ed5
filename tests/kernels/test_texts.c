/* test_texts.c: kernels over text find the words and lines of a plain loop, in each mode, on every device: whatever the
 * text holds, wherever it is cut into segments and pieces, with one work-item a group and with many.
 * Oracle: plain loops over the whole text, below; lists of keys are compared sorted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/app.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "lab.h"
#include "simd/text_cases.h"
#include "string_match/string_match.h"
#include "wordcount/wordcount.h"

extern const char wordcount_cl[], inverted_index_cl[], top_k_cl[], string_match_cl[];

enum { MODE_COUNT, MODE_ARRAY, MODE_COMBINE, MODE_DENSE };
enum { FAULT_OVERFLOW = 2, FAULT_LONG_KEY = 3 };
enum { TEXT_MAX = 1 << 21, ITEMS_MAX = 1 << 16 };

static bool simulated;

/* ---- texts ------------------------------------------------------------------------------------------------------- */

typedef struct text {
    const char *name;
    uint8_t *bytes;
    size_t size;
} text;

static void fill_random(text *t, const char *alphabet, size_t letters, uint64_t seed)
{
    for (size_t i = 0; i < t->size; i++)
        t->bytes[i] = (uint8_t)alphabet[(next_random(&seed) >> 33) % 64 ? (next_random(&seed) >> 40) % letters : 0];
}

static text make_text(const char *name, size_t size)
{
    text t = {name, calloc(1, size + 1), size};
    assert_non_null(t.bytes);
    return t;
}

static text make_literal(const char *name, const char *bytes, size_t size)
{
    text t = make_text(name, size);
    memcpy(t.bytes, bytes, size);
    return t;
}
#define LITERAL(name, bytes) make_literal(name, bytes, sizeof bytes - 1)

static size_t make_texts(text *texts)
{
    const size_t size = simulated ? 300 : 20000;
    size_t count = 0;
    texts[count++] = LITERAL("a letter", "a");
    texts[count++] = LITERAL("a blank", " ");
    texts[count++] = LITERAL("a line break", "\n");
    texts[count++] = LITERAL("no last line break", "The mill the race\nthe MILL");
    texts[count++] = LITERAL("CRLF, empty lines", "one two\r\n\r\n\ntwo\r\r\n \t\v\f one\r");
    texts[count++] = LITERAL("NUL and high bytes", "a\0b a\0b \x80\xff\xc3\xa9 caf\xc3\xa9\n\0\n\0\0 x");
    texts[count++] = LITERAL("apostrophes", "it's-a don't_don't, it's; 3rd [x]@Z`z{A");
    texts[count] = make_text("words", size);
    fill_random(&texts[count++], "  \nabcABz", 9, 1);
    texts[count] = make_text("every byte", size);
    for (uint64_t i = 0, state = 5; i < size; i++)
        texts[count].bytes[i] = (uint8_t)(next_random(&state) >> 40);
    count++;
    texts[count] = make_text("long words", size);
    fill_random(&texts[count], "abc-", 4, 2);
    for (size_t i = 0; i < size; i += size / 6 + 1)
        texts[count].bytes[i] = i % 2 ? ' ' : '\n';
    count++;
    texts[count] = make_text("one word", size / 4);
    memset(texts[count].bytes, 'q', texts[count].size);
    count++;
    return count;
}

static void drop_texts(text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i].bytes);
}

/* ---- the oracle: spans of the whole text ------------------------------------------------------------------------- */

typedef struct pair {
    uint32_t at, size;
    uint64_t value;
} pair;

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\v' || byte == '\f' || byte == '\r';
}

static bool in_word(uint8_t byte, uint32_t split)
{
    if (split == MR_SPLIT_LETTERS)
        return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    return !is_blank(byte);
}

static size_t all_words(const text *t, uint32_t split, pair *words)
{
    size_t count = 0;
    for (size_t i = 0; i < t->size; i++)
        if (in_word(t->bytes[i], split) && (i == 0 || !in_word(t->bytes[i - 1], split))) {
            size_t end = i;
            while (end < t->size && in_word(t->bytes[end], split))
                end++;
            words[count++] = (pair){(uint32_t)i, (uint32_t)(end - i), 1};
        }
    return count;
}

static const uint8_t *compared;         /* the text whose pairs are sorted; folded if the test folds */

static int by_key(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    const size_t common = x->size < y->size ? x->size : y->size;
    const int order = memcmp(compared + x->at, compared + y->at, common);
    return order != 0 ? order : x->size < y->size ? -1 : x->size > y->size;
}

/* Sorts by key and adds up equal ones; returns how many are left. */
static size_t combine(const text *t, bool fold, pair *pairs, size_t count)
{
    size_t left = 0;
    uint8_t *copy = malloc(t->size + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < t->size; i++)
        copy[i] = (uint8_t)(fold && t->bytes[i] >= 'A' && t->bytes[i] <= 'Z' ? t->bytes[i] + 32 : t->bytes[i]);
    compared = copy;
    qsort(pairs, count, sizeof *pairs, by_key);
    for (size_t i = 0; i < count; i++)
        if (left > 0 && by_key(&pairs[left - 1], &pairs[i]) == 0)
            pairs[left - 1].value += pairs[i].value;
        else
            pairs[left++] = pairs[i];
    free(copy);
    return left;
}

static void assert_same_pairs(const text *t, bool fold, const pair *got, size_t got_count, const pair *want,
                              size_t want_count)
{
    assert_int_equal(got_count, want_count);
    for (size_t i = 0; i < want_count; i++) {
        assert_int_equal(got[i].size, want[i].size);
        assert_true(got[i].value == want[i].value);
        for (uint32_t b = 0; b < want[i].size; b++) {
            const uint8_t x = t->bytes[got[i].at + b], y = t->bytes[want[i].at + b];
            assert_true(x == y || (fold && (x ^ y) == 32 && in_word(x, MR_SPLIT_LETTERS)));
        }
    }
}

/* ---- running a kernel over segments of a text -------------------------------------------------------------------- */

/* The device's part of a text, as device_text.c cuts it: one byte before, then to the end of the last record. */
typedef struct segment {
    const uint8_t *bytes;
    uint32_t shift, size, begin, end;   /* shift: of bytes[0] in the text */
} segment;

static segment cut(const text *t, size_t begin, size_t end, mr_unit unit)
{
    size_t stop = end - 1;
    while (stop < t->size && !(t->bytes[stop] == '\n' || (unit == MR_WORDS && is_blank(t->bytes[stop]))))
        stop++;
    stop += stop < t->size;
    const uint32_t front = begin > 0;
    return (segment){t->bytes + begin - front, (uint32_t)begin - front, (uint32_t)(stop - begin) + front, front,
                     (uint32_t)(end - begin) + front};
}

typedef struct launch {
    const lab_program *program;
    uint32_t piece, mode, slots;
    const void *params;
    size_t params_size;
    uint64_t *dense;
    size_t dense_keys;
    uint32_t fault[4];
} launch;

static struct {
    uint32_t counts[ITEMS_MAX + 1];
    pair entries[TEXT_MAX / 16];
    uint64_t refs[1 << 16], values[1 << 16];
} board;

/* Runs one mode; what it leaves is on the board. Returns the number of work-items. */
static size_t run(launch *l, const segment *s, size_t room)
{
    const size_t local = l->program->job.group, pieces = (s->end - s->begin + l->piece - 1) / l->piece;
    const size_t items = (pieces + local - 1) / local * local;
    uint32_t size = s->size, begin = s->begin, end = s->end, room32 = (uint32_t)room, source = 0;
    uint64_t offset = s->shift;
    assert_true(items <= ITEMS_MAX && room * sizeof(pair) <= sizeof board.entries);
    memset(l->fault, 0, sizeof l->fault);
    const lab_argument arguments[] = {
        {LAB_IN, (void *)s->bytes, s->size}, {LAB_NUMBER, &size, 4}, {LAB_NUMBER, &begin, 4}, {LAB_NUMBER, &end, 4},
        {LAB_NUMBER, &l->piece, 4}, {LAB_NUMBER, &offset, 8}, {LAB_NUMBER, &source, 4},
        {LAB_IN, (void *)l->params, l->params_size}, {LAB_NUMBER, &l->mode, 4},
        {LAB_OUT, board.counts, (items + 1) * sizeof *board.counts}, {LAB_OUT, board.entries, room * sizeof(pair)},
        {LAB_NUMBER, &room32, 4}, {LAB_OUT, board.refs, l->slots * 8}, {LAB_OUT, board.values, l->slots * 8},
        {LAB_NUMBER, &l->slots, 4}, {LAB_OUT, l->dense, l->dense_keys * 8}, {LAB_OUT, l->fault, sizeof l->fault}};
    lab_run(l->program, arguments, MR__COUNT(arguments), 1, &items, &local);
    return items;
}

/* The pairs of a segment in ARRAY mode, after the counting pass; positions count from the beginning of the text. */
static size_t run_array(launch *l, const segment *s, pair *pairs)
{
    l->mode = MODE_COUNT;
    const size_t items = run(l, s, 0);
    assert_int_equal(l->fault[0], 0);
    uint32_t total = 0;
    for (size_t i = 0; i <= items; i++) {
        const uint32_t own = i < items ? board.counts[i] : 0;
        board.counts[i] = total;
        total += own;
    }
    l->mode = MODE_ARRAY;
    run(l, s, total);
    assert_int_equal(l->fault[0], 0);
    for (uint32_t i = 0; i < total; i++)
        pairs[i] = (pair){board.entries[i].at + s->shift, board.entries[i].size, board.entries[i].value};
    return total;
}

static size_t run_combine(launch *l, const segment *s, pair *pairs)
{
    size_t count = 0;
    l->mode = MODE_COMBINE;
    memset(board.refs, 0, sizeof board.refs);
    memset(board.values, 0, sizeof board.values);
    run(l, s, 0);
    assert_int_equal(l->fault[0], 0);
    for (uint32_t slot = 0; slot < l->slots; slot++)
        if (board.refs[slot] != 0)
            pairs[count++] = (pair){(uint32_t)board.refs[slot] - 1 + s->shift,
                                    (uint32_t)(board.refs[slot] >> 32) & 0xfffff, board.values[slot]};
    return count;
}

/* Lengths of segments and pieces: whole, short, and shorter than words; a simulator gets the second. */
static const struct cut {
    size_t segment;
    uint32_t piece;
} cuts[] = {{TEXT_MAX, 4096}, {TEXT_MAX, 100}, {777, 64}, {13, 5}, {1, 1}};

static bool cut_fits(const text *t, const struct cut *c)
{
    return simulated ? c == &cuts[1] : t->size / c->segment <= 30;
}

static void check_words(const lab_device *device, const char *source, const void *params, size_t params_size,
                        uint32_t split, bool fold, mr_unit unit, unsigned group)
{
    static pair want[TEXT_MAX / 16], got[TEXT_MAX / 16];
    text texts[16];
    const size_t count = make_texts(texts);
    const lab_job job = {.form = LAB_TEXTS, .source = source, .lanes = 1, .group = group, .unit = unit};
    lab_program program = lab_build(device, &job, "mr_text");
    launch l = {.program = &program, .slots = simulated ? 1 << 8 : 1 << 15, .params = params,
                .params_size = params_size};
    for (size_t i = 0; i < count; i++) {
        const text *t = &texts[i];
        const size_t want_count = combine(t, fold, want, all_words(t, split, want));
        for (size_t c = 0; c < MR__COUNT(cuts); c++) {
            if (!cut_fits(t, &cuts[c]))
                continue;
            for (uint32_t mode = MODE_ARRAY; mode <= MODE_COMBINE; mode++) {
                size_t got_count = 0;
                l.piece = cuts[c].piece;
                for (size_t begin = 0; begin < t->size; begin += cuts[c].segment) {
                    const size_t left = t->size - begin;
                    const segment s = cut(t, begin, begin + (left < cuts[c].segment ? left : cuts[c].segment), unit);
                    got_count += mode == MODE_ARRAY ? run_array(&l, &s, got + got_count)
                                                    : run_combine(&l, &s, got + got_count);
                    assert_int_equal(l.fault[3], fold);
                }
                got_count = combine(t, fold, got, got_count);
                assert_same_pairs(t, fold, got, got_count, want, want_count);
            }
        }
    }
    lab_drop(&program);
    drop_texts(texts, count);
}

static void words_are_those_of_a_plain_loop(void **state)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    for (size_t d = 0; d < count; d++)
        for (unsigned group = 1; group <= 64; group += 63)
            for (uint32_t split = 0; split < 2; split++) {
                const struct wordcount_params params = {.split = split, .fold = split};
                check_words(&devices[d], wordcount_cl, &params, sizeof params, split, split == 1, MR_WORDS, group);
            }
}

static void words_of_lines_are_those_of_a_plain_loop(void **state)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    const struct wordcount_params params = {.split = MR_SPLIT_BLANKS, .fold = 1};
    for (size_t d = 0; d < count; d++)
        check_words(&devices[d], inverted_index_cl, &params, sizeof params, MR_SPLIT_BLANKS, true, MR_LINES, 1);
}

static void a_table_that_is_full_says_so(void **state)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    text t = make_text("numbers", simulated ? 1200 : 40000);
    for (size_t i = 0; i < t.size; i++)         /* words of 7 letters that count up */
        t.bytes[i] = (uint8_t)(i % 8 == 7 ? ' ' : 'a' + (i / 8 >> 4 * (i % 8)) % 16);
    for (size_t d = 0; d < count; d++) {
        const lab_job job = {.form = LAB_TEXTS, .source = wordcount_cl, .lanes = 1, .group = 1, .unit = MR_WORDS};
        lab_program program = lab_build(&devices[d], &job, "mr_text");
        const struct wordcount_params params = {0};
        launch l = {.program = &program, .piece = 40000, .mode = MODE_COMBINE, .slots = 64, .params = &params,
                    .params_size = sizeof params};
        const segment s = cut(&t, 0, t.size, MR_WORDS);
        memset(board.refs, 0, sizeof board.refs);
        memset(board.values, 0, sizeof board.values);
        run(&l, &s, 0);
        assert_int_equal(l.fault[0], FAULT_OVERFLOW);
        lab_drop(&program);
    }
    free(t.bytes);
}

static void a_word_too_long_to_combine_is_an_array_pair(void **state)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    text t = make_text("a mebibyte", (1 << 20) + 3);
    memset(t.bytes, 'w', t.size);
    t.bytes[1] = ' ';
    for (size_t d = 0; d < count && !simulated; d++) {
        const lab_job job = {.form = LAB_TEXTS, .source = wordcount_cl, .lanes = 1, .group = 1, .unit = MR_WORDS};
        lab_program program = lab_build(&devices[d], &job, "mr_text");
        const struct wordcount_params params = {0};
        launch l = {.program = &program, .piece = 4096, .mode = MODE_COMBINE, .slots = 1024, .params = &params,
                    .params_size = sizeof params};
        const segment s = cut(&t, 0, t.size, MR_WORDS);
        pair pairs[2];
        run(&l, &s, 0);
        assert_int_equal(l.fault[0], FAULT_LONG_KEY);
        assert_int_equal(run_array(&l, &s, pairs), 2);
        assert_int_equal(pairs[1].size, (1 << 20) + 1);
        lab_drop(&program);
    }
    free(t.bytes);
}

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

static bool contains(const uint8_t *line, size_t size, const mr_slice *pattern)
{
    for (size_t at = 0; at + pattern->size <= size; at++)
        if (memcmp(line + at, pattern->data, pattern->size) == 0)
            return true;
    return false;
}

static void check_patterns(const lab_device *device, const mr_slice *patterns, size_t pattern_count, unsigned group)
{
    text texts[16];
    const size_t count = make_texts(texts), set_at = (sizeof(struct match_params) + 63) & ~(size_t)63;
    const size_t params_size = set_at + mr_patterns_size(patterns, pattern_count);
    struct match_params *params = aligned_alloc(64, (params_size + 63) & ~(size_t)63);
    assert_non_null(params);
    memset(params, 0, set_at);
    params->count = pattern_count;
    params->compiled = set_at;
    mr_patterns_compile(patterns, pattern_count, (uint8_t *)params + set_at);
    const lab_job job = {.form = LAB_TEXTS, .source = string_match_cl, .lanes = 1, .group = group, .unit = MR_LINES,
                         .dense_keys = (unsigned)pattern_count, .dense_width = 1};
    lab_program program = lab_build(device, &job, "mr_text");
    for (size_t i = 0; i < count; i++) {
        uint64_t want[256] = {0}, lines = 0;
        for (const uint8_t *line = texts[i].bytes, *end = line + texts[i].size; line < end; lines++) {
            const uint8_t *stop = memchr(line, '\n', (size_t)(end - line));
            if (stop == NULL)
                stop = end;
            for (size_t p = 0; p < pattern_count; p++)
                want[p] += contains(line, (size_t)(stop - line), &patterns[p]);
            line = stop + 1;
        }
        for (size_t c = 0; c < MR__COUNT(cuts); c++) {
            uint64_t got[256] = {0};
            if (!cut_fits(&texts[i], &cuts[c]))
                continue;
            launch l = {.program = &program, .piece = cuts[c].piece, .mode = MODE_DENSE, .slots = 1, .params = params,
                        .params_size = params_size, .dense = got, .dense_keys = pattern_count};
            for (size_t begin = 0; begin < texts[i].size; begin += cuts[c].segment) {
                const size_t left = texts[i].size - begin;
                const size_t end = begin + (left < cuts[c].segment ? left : cuts[c].segment);
                const segment s = cut(&texts[i], begin, end, MR_LINES);
                run(&l, &s, 0);
                assert_int_equal(l.fault[0], 0);
            }
            assert_memory_equal(got, want, pattern_count * sizeof *got);
        }
    }
    lab_drop(&program);
    drop_texts(texts, count);
    free(params);
}

#define SLICE(text) {(const uint8_t *)(text), sizeof(text) - 1}

static void lines_with_patterns_are_counted_once_for_each(void **state)
{
    static const mr_slice patterns[] = {SLICE("a"), SLICE("the"), SLICE("abca"), SLICE("cbabca-"), SLICE("\r"),
                                        SLICE("two\r"), SLICE("\xc3\xa9"), SLICE("a\0b"), SLICE("qqqqqqqqqqqqqqqqq"),
                                        SLICE("it's-a don't_don't, it's; 3rd"), SLICE("nowhere at all"), SLICE("Aa")};
    size_t count;
    const lab_device *devices = lab_devices(&count);
    for (size_t d = 0; d < count; d++)
        for (unsigned group = 1; group <= 64; group += 63) {
            check_patterns(&devices[d], patterns, MR__COUNT(patterns), group);
            check_patterns(&devices[d], patterns + 2, 2, group);    /* no short ones */
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_a_plain_loop),
        cmocka_unit_test(words_of_lines_are_those_of_a_plain_loop),
        cmocka_unit_test(a_table_that_is_full_says_so),
        cmocka_unit_test(a_word_too_long_to_combine_is_an_array_pair),
        cmocka_unit_test(lines_with_patterns_are_counted_once_for_each),
    };
    return lab_ready(&simulated) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
