/* test_works.c: holes in lists of works. Oracle: a grid that the test paints. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "ledger.h"
#include "memory.h"

enum { WIDE = 20, HIGH = 7 };

static void paint(uint8_t grid[WIDE][HIGH], const mr__work *work, int by)
{
    for (uint64_t x = work->begin; x < work->end; x++)
        for (uint32_t y = work->first; y < work->last; y++)
            grid[x][y] = (uint8_t)(grid[x][y] + by);
}

static mr__work some_work(void)
{
    const uint64_t begin = (uint64_t)rand() % WIDE;
    const uint32_t first = (uint32_t)rand() % HIGH;
    return (mr__work){begin, begin + 1 + (uint64_t)rand() % (WIDE - begin), first,
                      first + 1 + (uint32_t)rand() % (HIGH - first)};
}

/* Works may lie over each other here, as those of several jobs would. */
static void a_hole_takes_what_lies_in_it_and_nothing_else(void **state)
{
    srand(7);
    for (int round = 0; round < 500; round++) {
        uint8_t wanted[WIDE][HIGH] = {{0}}, got[WIDE][HIGH] = {{0}};
        mr__works works = {.count = 0};
        for (int i = rand() % 12; i > 0; i--) {
            const mr__work work = some_work();
            paint(wanted, &work, 1);
            assert_int_equal(mr__works_push(&works, work, NULL), MR_OK);
        }
        for (int i = 0; i < 3; i++) {
            const mr__work hole = some_work();
            for (uint64_t x = hole.begin; x < hole.end; x++)
                memset(&wanted[x][hole.first], 0, hole.last - hole.first);
            assert_int_equal(mr__works_cut(&works, &hole, NULL), MR_OK);
        }
        for (size_t i = 0; i < works.count; i++) {
            assert_true(works.list[i].begin < works.list[i].end && works.list[i].first < works.list[i].last);
            paint(got, &works.list[i], 1);
        }
        assert_memory_equal(got, wanted, sizeof got);
        mr__free(works.list);
    }
}

static void a_hole_without_memory_takes_nothing(void **state)
{
    mr__works works = {.count = 0};
    const mr__work hole = {4, 6, 2, 3};
    for (int i = 0; i < 8; i++)
        assert_int_equal(mr__works_push(&works, (mr__work){0, 10, 0, 5}, NULL), MR_OK);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(mr__works_cut(&works, &hole, NULL), MR_NO_MEMORY);
    mr__fault_disarm();
    assert_int_equal(works.count, 8);
    assert_int_equal(works.list[7].end, 10);
    assert_int_equal(mr__works_cut(&works, &hole, NULL), MR_OK);
    assert_int_equal(works.count, 32);
    mr__free(works.list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hole_takes_what_lies_in_it_and_nothing_else),
        cmocka_unit_test(a_hole_without_memory_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
