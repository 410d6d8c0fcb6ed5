/* test_chunk.c: a pool gives out chunks as long as its budget lasts, and uses again what comes back. */
#include "cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "chunk.h"
#include "fault.h"
#include "memory.h"

enum { CAPACITY = 8192, THREADS = 4 };

static void test_chunks_are_empty_and_writable_to_their_last_byte(void **state)
{
    mr__budget budget;
    mr__chunk_pool pool;
    mr__budget_init(&budget, 1 << 20);
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    for (uint32_t round = 0; round < 3; round++) {
        mr__chunk *chunk = mr__chunk_acquire(&pool, 40 + round, 100);
        assert_non_null(chunk);
        assert_int_equal(chunk->partition, 40 + round);
        assert_int_equal(chunk->size, 0);
        assert_int_equal(chunk->pairs, 0);
        assert_int_equal(chunk->capacity, CAPACITY);
        assert_null(chunk->next);
        memset(chunk->data, 0xaa, CAPACITY);
        chunk->size = chunk->pairs = 7;
        chunk->next = chunk;
        mr__chunk_release(&pool, chunk);
    }
    mr__chunk_release(&pool, NULL);
    mr__chunk_pool_fini(&pool);
    assert_int_equal(budget.used, 0);
}

static void test_the_budget_ends_it_and_a_forced_chunk_goes_beyond(void **state)
{
    mr__budget budget;
    mr__chunk_pool pool;
    mr__chunk *list = NULL, *chunk;
    uint32_t count = 0;
    mr__budget_init(&budget, 10 * CAPACITY);
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    while ((chunk = mr__chunk_acquire(&pool, 0, 0)) != NULL) {
        chunk->next = list;
        list = chunk;
        count++;
    }
    assert_in_range(count, 8, 10);
    assert_true(budget.used <= budget.limit);
    mr__chunk *forced = mr__chunk_acquire_forced(&pool, 0, 0);
    assert_non_null(forced);
    assert_true(budget.used > budget.limit);
    mr__chunk_release(&pool, list->next);
    list->next = NULL;
    assert_non_null(chunk = mr__chunk_acquire(&pool, 0, 0));        /* what came back, without new budget */
    mr__chunk_release(&pool, chunk);
    mr__chunk_release(&pool, forced);
    mr__chunk_release(&pool, list);
    const uint64_t before = budget.used;
    mr__chunk_pool_trim(&pool);
    assert_true(budget.used < before);
    mr__chunk_pool_fini(&pool);
}

static void test_a_small_chunk_takes_the_pages_that_it_needs(void **state)
{
    const size_t page = mr__page_size(), large = 16 * page;
    mr__budget budget;
    mr__chunk_pool pool;
    mr__budget_init(&budget, 3 * page);
    mr__chunk_pool_init(&pool, &budget, (uint32_t)large);
    mr__chunk *one = mr__chunk_acquire_small(&pool, 9, 1, false);
    mr__chunk *two = mr__chunk_acquire_small(&pool, 9, page, false);
    assert_non_null(one);
    assert_non_null(two);
    assert_int_equal(budget.used, 3 * page);
    assert_null(mr__chunk_acquire_small(&pool, 9, 1, false));
    mr__chunk *forced = mr__chunk_acquire_small(&pool, 9, 1, true);
    assert_non_null(forced);
    assert_int_equal(budget.used, 4 * page);
    assert_null(mr__chunk_acquire_small(&pool, 9, large / 2, true));
    assert_null(mr__chunk_acquire_small(&pool, 9, SIZE_MAX, true));
    assert_int_equal(two->partition, 9);
    assert_true(two->capacity >= page && two->size == 0 && two->pairs == 0 && two->next == NULL);
    memset(two->data, 0xaa, two->capacity + MR__CHUNK_PADDING);
    mr__chunk_release(&pool, one);
    mr__chunk_release(&pool, two);
    mr__chunk_release(&pool, forced);
    assert_int_equal(budget.used, 0);
    mr__chunk_pool_fini(&pool);
}

static void test_a_pair_larger_than_a_chunk_gets_one_of_its_own(void **state)
{
    mr__budget budget;
    mr__chunk_pool pool;
    mr__budget_init(&budget, 1 << 20);
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    mr__chunk *large = mr__chunk_acquire(&pool, 1, 100000);
    assert_non_null(large);
    assert_true(large->capacity >= 100000);
    memset(large->data, 1, large->capacity);
    assert_null(mr__chunk_acquire(&pool, 1, 1 << 20));
    mr__chunk_release(&pool, large);
    assert_int_equal(budget.used, 0);           /* not kept: nobody else could use it */
    mr__chunk_pool_fini(&pool);
}

static void test_without_pages_the_budget_gets_back_what_was_reserved(void **state)
{
    mr__budget budget;
    mr__chunk_pool pool;
    mr__budget_init(&budget, 1 << 20);
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__chunk_acquire(&pool, 0, 0));
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__chunk_acquire_forced(&pool, 0, 0));
    assert_int_equal(budget.used, 0);
    mr__chunk_pool_fini(&pool);
}

static void *acquire_and_release(void *argument)
{
    mr__chunk_pool *pool = argument;
    uintptr_t wrong = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        mr__chunk *chunk = mr__chunk_acquire(pool, i, 0);
        if (chunk == NULL)
            continue;
        memcpy(chunk->data, &i, sizeof i);
        wrong += memcmp(chunk->data, &i, sizeof i) != 0 || chunk->partition != i;
        mr__chunk_release(pool, chunk);
        if (i % 1000 == 0)
            mr__chunk_pool_trim(pool);
    }
    return (void *)wrong;
}

static void test_threads_share_a_pool(void **state)
{
    mr__budget budget;
    mr__chunk_pool pool;
    pthread_t threads[THREADS];
    mr__budget_init(&budget, 3 * (CAPACITY + 256));     /* fewer chunks than threads: some go without */
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, acquire_and_release, &pool), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_true(budget.peak <= budget.limit);
    mr__chunk_pool_fini(&pool);
    assert_int_equal(budget.used, 0);
}

static void a_grown_pool_takes_slabs_and_trim_gives_back_those_that_are_free(void **state)
{
    enum { COUNT = 330, LARGE = (256 << 10) - 128 };
    static mr__chunk *chunks[COUNT];
    mr__budget budget;
    mr__chunk_pool pool;
    uint32_t in_slabs = 0;
    mr__budget_init(&budget, (uint64_t)1 << 30);
    mr__chunk_pool_init(&pool, &budget, LARGE);
    for (uint32_t i = 0; i < COUNT; i++) {
        chunks[i] = mr__chunk_acquire(&pool, i, 1);
        assert_non_null(chunks[i]);
        assert_true(chunks[i]->capacity >= LARGE);
        chunks[i]->data[0] = chunks[i]->data[LARGE - 1] = (uint8_t)i;
        in_slabs += chunks[i]->slab != NULL;
    }
    assert_in_range(in_slabs, 1, COUNT - 1);
    for (uint32_t i = 0; i < COUNT; i++) {      /* no two overlap */
        assert_int_equal(chunks[i]->data[0], (uint8_t)i);
        assert_int_equal(chunks[i]->data[LARGE - 1], (uint8_t)i);
    }
    for (uint32_t i = 0; i + 1 < COUNT; i++)
        mr__chunk_release(&pool, chunks[i]);
    mr__chunk_pool_trim(&pool);
    const uint64_t one_slab = atomic_load(&budget.used);
    assert_in_range(one_slab, LARGE, 2 << 20);
    assert_int_equal(chunks[COUNT - 1]->data[0], (uint8_t)(COUNT - 1));
    mr__chunk_release(&pool, chunks[COUNT - 1]);
    mr__chunk_pool_trim(&pool);
    assert_int_equal(atomic_load(&budget.used), 0);
    assert_non_null(chunks[0] = mr__chunk_acquire(&pool, 0, 1));
    mr__chunk_release(&pool, chunks[0]);
    mr__chunk_pool_fini(&pool);
    assert_int_equal(atomic_load(&budget.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grown_pool_takes_slabs_and_trim_gives_back_those_that_are_free),
        cmocka_unit_test(test_chunks_are_empty_and_writable_to_their_last_byte),
        cmocka_unit_test(test_the_budget_ends_it_and_a_forced_chunk_goes_beyond),
        cmocka_unit_test(test_a_small_chunk_takes_the_pages_that_it_needs),
        cmocka_unit_test(test_a_pair_larger_than_a_chunk_gets_one_of_its_own),
        cmocka_unit_test(test_without_pages_the_budget_gets_back_what_was_reserved),
        cmocka_unit_test(test_threads_share_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
