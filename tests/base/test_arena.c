/* test_arena.c: what an arena gives out is aligned, does not overlap, and lives until reset.
 * Oracle: a stamp in each piece. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "check.h"
#include "fault.h"

enum { PIECES = 4000 };

static uint32_t random_state;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* mostly small, now and then larger than a chunk */
static size_t random_size(void)
{
    return next_random() % 500 == 0 ? next_random() % (3 << 20) : next_random() % 300;
}

static void test_pieces_are_aligned_and_keep_their_bytes(void **state)
{
    static uint8_t *piece[PIECES];
    static size_t size[PIECES];
    for (uint32_t seed = 0; seed < 5; seed++) {
        mr__arena arena;
        mr__arena_init(&arena);
        random_state = seed;
        for (size_t i = 0; i < PIECES; i++) {
            const size_t alignment = (size_t)1 << next_random() % 7;
            size[i] = random_size();
            piece[i] = mr__arena_alloc(&arena, size[i], alignment);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % alignment, 0);
            memset(piece[i], (int)(i % 251), size[i]);
        }
        for (size_t i = 0; i < PIECES; i++)
            for (size_t b = 0; b < size[i]; b += 1 + size[i] / 64)
                assert_int_equal(piece[i][b], i % 251);
        mr__arena_fini(&arena);
    }
}

static void test_growth_is_told_before_it_happens(void **state)
{
    mr__arena arena;
    mr__arena_init(&arena);
    random_state = 9;
    size_t grown = 0;
    for (size_t i = 0; i < PIECES; i++) {
        const size_t size = random_size(), before = arena.reserved;
        const size_t promised = mr__arena_growth(&arena, size);
        assert_non_null(mr__arena_alloc(&arena, size, 8));
        /* a promise of growth may be broken by alignment slack, a promise of none may not */
        assert_true(arena.reserved - before <= promised);
        grown += arena.reserved > before;
    }
    assert_true(grown > 3 && grown < PIECES / 2);
    mr__arena_fini(&arena);
    assert_int_equal(arena.reserved, 0);
}

static void test_copies_are_the_same_bytes(void **state)
{
    mr__arena arena;
    mr__arena_init(&arena);
    assert_string_equal(mr__arena_strdup(&arena, ""), "");
    assert_string_equal(mr__arena_strdup(&arena, "race"), "race");
    assert_memory_equal(mr__arena_copy(&arena, "a\0b", 4), "a\0b", 4);
    mr__arena_fini(&arena);
}

static void test_a_failed_allocation_leaves_the_arena_as_it_was(void **state)
{
    mr__arena arena;
    mr__arena_init(&arena);
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__arena_alloc(&arena, 10, 8));
    assert_int_equal(arena.reserved, 0);
    char *kept = mr__arena_strdup(&arena, "kept");
    const mr__arena before = arena;
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__arena_alloc(&arena, 1 << 20, 8));
    assert_true(mr__fault_fired());
    assert_memory_equal(&arena, &before, sizeof arena);
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__arena_copy(&arena, kept, 1 << 20));
    assert_string_equal(kept, "kept");
    mr__arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_aligned_and_keep_their_bytes),
        cmocka_unit_test(test_growth_is_told_before_it_happens),
        cmocka_unit_test(test_copies_are_the_same_bytes),
        cmocka_unit_test(test_a_failed_allocation_leaves_the_arena_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
