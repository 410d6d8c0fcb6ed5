/* test_memory.c: memory that can be made to fail, and pages. */
#include "cmocka_all.h"

#include <string.h>

#include "check.h"
#include "fault.h"
#include "memory.h"

static const size_t sizes[] = {1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9 << 20};

static void test_pages_are_zero_and_aligned(void **state)
{
    for (size_t s = 0; s < MR__COUNT(sizes); s++) {
        uint8_t *pages = mr__pages_alloc(sizes[s]);
        assert_non_null(pages);
        assert_int_equal((uintptr_t)pages % (sizes[s] >= 2 << 20 ? 2 << 20 : 4096), 0);
        for (size_t i = 0; i < sizes[s]; i += 511)
            assert_int_equal(pages[i], 0);
        memset(pages, 0xee, sizes[s]);
        mr__pages_free(pages, sizes[s]);
    }
    mr__pages_free(NULL, 4096);
}

static void test_sizes_that_no_machine_has_give_null(void **state)
{
    assert_null(mr__pages_alloc(0));
    assert_null(mr__pages_alloc(SIZE_MAX));
    assert_null(mr__pages_alloc(SIZE_MAX / 2 + 1));
}

static void test_a_size_of_zero_gives_memory_that_can_be_freed(void **state)
{
    void *blocks[] = {mr__alloc(0), mr__alloc_zero(0, 8), mr__alloc_zero(8, 0), mr__realloc(NULL, 0), mr__strdup("")};
    for (size_t b = 0; b < MR__COUNT(blocks); b++) {
        assert_non_null(blocks[b]);
        mr__free(blocks[b]);
    }
    mr__free(NULL);
}

static void test_every_kind_can_be_made_to_fail(void **state)
{
    char *old = mr__strdup("kept");
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_null(mr__alloc(8));
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_null(mr__alloc_zero(1, 8));
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_null(mr__strdup("x"));
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_null(mr__realloc(old, 100));
    assert_string_equal(old, "kept");
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__pages_alloc(4096));
    mr__free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_zero_and_aligned),
        cmocka_unit_test(test_sizes_that_no_machine_has_give_null),
        cmocka_unit_test(test_a_size_of_zero_gives_memory_that_can_be_freed),
        cmocka_unit_test(test_every_kind_can_be_made_to_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
