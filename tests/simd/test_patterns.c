/* test_patterns.c: every level finds what comparing every pattern at every place finds, in the same order.
 * Oracle: the two nested loops in expect(). */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "text_cases.h"

enum { PATTERNS_MAX = 3000, MATCHES_MAX = 200000, PATTERN_BYTES = 24 };

static mr_slice patterns[PATTERNS_MAX];
static uint8_t pattern_bytes[PATTERNS_MAX][PATTERN_BYTES];
static mr_match want[MATCHES_MAX], got[MATCHES_MAX];

static size_t expect(const text_case *text, size_t pattern_count)
{
    size_t count = 0;
    for (size_t at = 0; at < text->size; at++)
        for (size_t p = 0; p < pattern_count; p++)
            if (patterns[p].size <= text->size - at &&
                memcmp(patterns[p].data, text->data + at, patterns[p].size) == 0) {
                assert_true(count < MATCHES_MAX);
                want[count++] = (mr_match){.pattern = (uint32_t)p, .offset = (uint32_t)at};
            }
    return count;
}

static void *compile(size_t count)
{
    const size_t size = mr_patterns_size(patterns, count);
    void *blob = aligned_alloc(64, size);
    assert_true(size > 0 && blob != NULL);
    mr_patterns_compile(patterns, count, blob);
    void *moved = aligned_alloc(64, size);              /* relocatable: the copy must do */
    assert_non_null(moved);
    memcpy(moved, blob, size);
    memset(blob, 0xff, size);
    free(blob);
    return moved;
}

static void check(const text_case *text, const void *blob, size_t pattern_count, size_t max, size_t *total)
{
    const size_t expected = expect(text, pattern_count);
    for (int level = 0; level < MR__LEVELS; level++) {
        if (mr__level_force((mr__level)level) != MR_OK)
            continue;
        size_t position = 0, count = 0;
        for (size_t found; (found = mr_patterns_find(blob, text->data, text->size, &position, got + count, max)) > 0;)
            count += found;
        assert_int_equal(position, text->size);
        assert_int_equal(count, expected);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(got[i].offset, want[i].offset);
            assert_int_equal(got[i].pattern, want[i].pattern);
        }
    }
    *total += expected;
}

/* Patterns of `shortest` to `longest` bytes, every second one cut from the text so that it does occur. */
static void draw_patterns(const text_case *text, size_t count, size_t shortest, size_t longest, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 7;
    for (size_t p = 0; p < count; p++) {
        const size_t size = shortest + (next_random(&state) >> 8) % (longest - shortest + 1);
        const size_t at = (next_random(&state) >> 8) % CASE_MAX;
        for (size_t i = 0; i < size; i++)
            pattern_bytes[p][i] = (uint8_t)"abcdefgXYZ \n\x80\xff"[(next_random(&state) >> 8) % 14];
        if (p % 2 == 0 && at + size <= text->size)
            memcpy(pattern_bytes[p], text->data + at, size);
        patterns[p] = (mr_slice){pattern_bytes[p], size};
    }
}

static void every_level_finds_every_occurrence(void **state)
{
    static const struct {
        size_t count, shortest, longest;
    } sets[] = {{1, 1, 1},  {1, 5, 5},   {3, 1, 3},   {10, 2, 9},   {10, 4, 24},  {60, 1, 24},
                {64, 3, 8}, {256, 4, 9}, {257, 4, 9}, {300, 1, 12}, {2000, 2, 9}, {PATTERNS_MAX, 4, 12}};
    static text_case text;
    size_t total = 0;
    for (size_t s = 0; s < MR__COUNT(sets); s++)
        for (size_t t = 0; t < TEXTURES; t++) {
            /* sets whose patterns match everywhere get short texts: the oracle is quadratic */
            const size_t size = sets[s].count > 100 ? 300 : 1000;
            make_case(&text, &textures[t], size, s + t, s * 16 + t);
            draw_patterns(&text, sets[s].count, sets[s].shortest, sets[s].longest, s * 16 + t);
            void *blob = compile(sets[s].count);
            check(&text, blob, sets[s].count, MATCHES_MAX / 2, &total);
            check(&text, blob, sets[s].count, sets[s].count, &total);       /* many calls */
            for (size_t cut = 0; cut < 70 && sets[s].count < 100; cut++) {  /* every end, also inside a pattern */
                text.size = cut;
                check(&text, blob, sets[s].count, MATCHES_MAX / 2, &total);
            }
            free(blob);
        }
    assert_true(total > 10000);
}

static void same_and_nested_patterns_are_all_reported_in_order(void **state)
{
    static const char *const texts[] = {"abcd", "b", "abc", "abcd", "bcd", "abcde"};
    static const mr_match expected[] = {{0, 1}, {2, 1}, {3, 1}, {5, 1}, {1, 2}, {4, 2}};
    text_case text;
    mr_match matches[8];
    make_case(&text, &textures[0], 0, 0, 1);
    memcpy(text.data, "xabcde", 6);
    text.size = 6;
    for (size_t p = 0; p < MR__COUNT(texts); p++)
        patterns[p] = (mr_slice){(const uint8_t *)texts[p], strlen(texts[p])};
    void *blob = compile(MR__COUNT(texts));
    for (int level = 0; level < MR__LEVELS; level++) {
        if (mr__level_force((mr__level)level) != MR_OK)
            continue;
        size_t position = 0;
        assert_int_equal(mr_patterns_find(blob, text.data, text.size, &position, matches, 8), 6);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(matches[i].pattern, expected[i].pattern);
            assert_int_equal(matches[i].offset, expected[i].offset);
        }
        assert_int_equal(mr_patterns_find(blob, text.data, text.size, &position, matches, 8), 0);
    }
    free(blob);
}

static void an_empty_set_or_pattern_has_no_size(void **state)
{
    const mr_slice set[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"", 0}};
    assert_int_equal(mr_patterns_size(set, 0), 0);
    assert_int_equal(mr_patterns_size(set, 2), 0);
    assert_true(mr_patterns_size(set, 1) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_finds_every_occurrence),
        cmocka_unit_test(same_and_nested_patterns_are_all_reported_in_order),
        cmocka_unit_test(an_empty_set_or_pattern_has_no_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
