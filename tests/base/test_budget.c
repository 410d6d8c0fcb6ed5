/* test_budget.c: the sum of what is reserved never exceeds the limit, whoever asks. */
#include "cmocka_all.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "check.h"
#include "memory.h"

enum { LIMIT = 1000, THREADS = 4, GRANTS = 5000 };

static void test_reserving_stops_at_the_limit(void **state)
{
    mr__budget budget;
    mr__budget_init(&budget, LIMIT);
    assert_true(mr__budget_reserve(&budget, 600));
    assert_false(mr__budget_reserve(&budget, 401));
    assert_false(mr__budget_reserve(&budget, UINT64_MAX));
    assert_true(mr__budget_reserve(&budget, 400));
    assert_int_equal(mr__budget_left(&budget), 0);
    assert_true(mr__budget_reserve(&budget, 0));
    mr__budget_release(&budget, 1000);
    assert_int_equal(mr__budget_left(&budget), LIMIT);
    assert_int_equal(budget.peak, LIMIT);
}

static void test_force_goes_beyond_the_limit_and_then_nobody_else_may(void **state)
{
    mr__budget budget;
    mr__budget_init(&budget, LIMIT);
    mr__budget_force(&budget, 1500);
    assert_int_equal(budget.peak, 1500);
    assert_int_equal(mr__budget_left(&budget), 0);
    assert_false(mr__budget_reserve(&budget, 1));
    mr__budget_release(&budget, 600);
    assert_int_equal(mr__budget_left(&budget), 100);
    assert_true(mr__budget_reserve(&budget, 100));
}

struct borrower {
    mr__budget *budget;
    uint64_t granted, seen_above;
};

/* Who is refused lets the others go on: one of them may hold all there is. */
static void *borrow_and_give_back(void *argument)
{
    struct borrower *borrower = argument;
    uint64_t mine = 0;
    for (uint32_t i = 0; borrower->granted < GRANTS; i++) {
        if (mr__budget_reserve(borrower->budget, 90)) {
            mine += 90;
            borrower->granted++;
        } else {
            sched_yield();
        }
        borrower->seen_above += atomic_load(&borrower->budget->used) > LIMIT;
        if (mine > 0 && i % 3 != 0) {
            mr__budget_release(borrower->budget, 90);
            mine -= 90;
        }
    }
    mr__budget_release(borrower->budget, mine);
    return NULL;
}

static void test_threads_together_keep_the_limit(void **state)
{
    mr__budget budget;
    pthread_t threads[THREADS];
    struct borrower borrowers[THREADS];
    mr__budget_init(&budget, LIMIT);
    for (size_t i = 0; i < THREADS; i++) {
        borrowers[i] = (struct borrower){.budget = &budget};
        assert_int_equal(pthread_create(&threads[i], NULL, borrow_and_give_back, &borrowers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(borrowers[i].seen_above, 0);
        assert_int_equal(borrowers[i].granted, GRANTS);
    }
    assert_int_equal(budget.used, 0);
    assert_in_range(budget.peak, 90, LIMIT);
}

static void test_the_resident_set_grows_by_what_is_touched(void **state)
{
    enum { SIZE = 32 << 20 };
#if defined(__SANITIZE_THREAD__)
    skip();                     /* its shadow memory is resident too */
#endif
    const uint64_t before = mr__rss_bytes();
    if (before == 0)
        skip();                 /* no /proc */
    uint8_t *pages = mr__pages_alloc(SIZE);
    assert_non_null(pages);
    memset(pages, 1, SIZE);
    assert_in_range(mr__rss_bytes(), before + SIZE / 2, before + 2 * (uint64_t)SIZE);
    assert_true(mr__peak_rss_bytes() >= before + SIZE / 2);
    mr__pages_free(pages, SIZE);
    assert_true(mr__rss_bytes() < before + SIZE / 2);
    assert_true(mr__peak_rss_bytes() >= before + SIZE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserving_stops_at_the_limit),
        cmocka_unit_test(test_force_goes_beyond_the_limit_and_then_nobody_else_may),
        cmocka_unit_test(test_threads_together_keep_the_limit),
        cmocka_unit_test(test_the_resident_set_grows_by_what_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
