/* test_exchange.c: many threads give, many take: every chunk is taken exactly once. Oracle: a number in each chunk. */
#include "cmocka_all.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "exchange.h"
#include "fault.h"

enum { GIVERS = 4, TAKERS = 3, EACH = 3000, ALL = GIVERS * EACH, PARTITIONS = 7, CAPACITY = 4096 };

struct stamp {
    uint32_t giver, number;
};

static mr__exchange *exchange;
static mr__budget budget;
static mr__chunk_pool pool;
static _Atomic uint32_t taken[ALL], taken_count, disorder;
static pthread_mutex_t claim[PARTITIONS];           /* who reads a partition claims it */
static uint32_t last[PARTITIONS][GIVERS];           /* guarded by claim */

static int set_up(void **state)
{
    mr__budget_init(&budget, (uint64_t)ALL * (CAPACITY + 256));
    mr__chunk_pool_init(&pool, &budget, CAPACITY);
    return mr__exchange_create(PARTITIONS, &exchange, NULL) != MR_OK;
}

static int tear_down(void **state)
{
    mr__exchange_destroy(exchange, &pool);
    mr__chunk_pool_fini(&pool);
    return atomic_load(&budget.used) != 0;
}

static mr__chunk *stamped(uint32_t partition, uint32_t giver, uint32_t number)
{
    mr__chunk *chunk = mr__chunk_acquire(&pool, partition, 0);
    assert_non_null(chunk);
    memcpy(chunk->data, &(struct stamp){giver, number}, sizeof(struct stamp));
    chunk->size = 8 + number % 100;
    chunk->pairs = 1;
    return chunk;
}

static void *give_all(void *argument)
{
    const uint32_t giver = (uint32_t)(uintptr_t)argument;
    for (uint32_t i = 0; i < EACH; i++) {
        mr__chunk *chunk = stamped((giver + i * i) % PARTITIONS, giver, i);
        const uint64_t size = chunk->size;
        if (mr__exchange_give(exchange, chunk) < size)
            atomic_fetch_add(&disorder, 1);
    }
    return NULL;
}

static void note(const mr__chunk *chunk)
{
    struct stamp stamp;
    memcpy(&stamp, chunk->data, sizeof stamp);
    uint32_t *before = &last[chunk->partition][stamp.giver];
    if (stamp.number + 1 <= *before)
        atomic_fetch_add(&disorder, 1);
    *before = stamp.number + 1;
    atomic_fetch_add(&taken[stamp.giver * EACH + stamp.number], 1);
    atomic_fetch_add(&taken_count, 1);
}

static void *take_all(void *argument)
{
    uint32_t partition = (uint32_t)(uintptr_t)argument;
    while (atomic_load(&taken_count) < ALL) {
        partition = (partition + 1) % PARTITIONS;
        if (mr__exchange_waiting(exchange, partition) == 0) {
            sched_yield();
            continue;
        }
        pthread_mutex_lock(&claim[partition]);
        for (mr__chunk *chunk = mr__exchange_take(exchange, partition), *next; chunk != NULL; chunk = next) {
            next = chunk->next;
            note(chunk);
            mr__chunk_release(&pool, chunk);
        }
        pthread_mutex_unlock(&claim[partition]);
    }
    return NULL;
}

static void test_each_chunk_is_taken_once_and_in_its_givers_order(void **state)
{
    pthread_t givers[GIVERS], takers[TAKERS];
    for (uint32_t p = 0; p < PARTITIONS; p++)
        pthread_mutex_init(&claim[p], NULL);
    for (uintptr_t i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_create(&takers[i], NULL, take_all, (void *)i), 0);
    for (uintptr_t i = 0; i < GIVERS; i++)
        assert_int_equal(pthread_create(&givers[i], NULL, give_all, (void *)i), 0);
    for (uint32_t i = 0; i < GIVERS; i++)
        pthread_join(givers[i], NULL);
    for (uint32_t i = 0; i < TAKERS; i++)
        pthread_join(takers[i], NULL);
    for (uint32_t i = 0; i < ALL; i++)
        assert_int_equal(atomic_load(&taken[i]), 1);
    assert_int_equal(atomic_load(&disorder), 0);
    assert_int_equal(mr__exchange_waiting_total(exchange), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        assert_null(mr__exchange_take(exchange, p));
}

static void test_the_bytes_that_wait_are_counted(void **state)
{
    assert_int_equal(mr__exchange_give(exchange, stamped(2, 0, 0)), 8);
    assert_int_equal(mr__exchange_give(exchange, stamped(2, 0, 1)), 17);
    assert_int_equal(mr__exchange_give(exchange, stamped(5, 0, 2)), 10);
    assert_int_equal(mr__exchange_waiting(exchange, 2), 17);
    assert_int_equal(mr__exchange_waiting_total(exchange), 27);
    mr__chunk *list = mr__exchange_take(exchange, 2);
    assert_int_equal(list->size, 8);
    assert_int_equal(list->next->size, 9);
    assert_null(list->next->next);
    assert_int_equal(mr__exchange_waiting(exchange, 2), 0);
    assert_int_equal(mr__exchange_waiting_total(exchange), 10);
    mr__chunk_release(&pool, list->next);
    mr__chunk_release(&pool, list);
    /* the one in partition 5 is left for destroy */
}

static void test_without_memory_no_exchange_is_made(void **state)
{
    mr__exchange *const untouched = (mr__exchange *)&state;
    for (size_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__exchange *made = untouched;
            mr__error error = {.code = MR_OK};
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = mr__exchange_create(3, &made, &error);
            if (!mr__fault_fired()) {
                assert_int_equal(status, MR_OK);
                mr__exchange_destroy(made, &pool);
                break;
            }
            assert_int_equal(status, MR_NO_MEMORY);
            assert_ptr_equal(made, untouched);
            assert_string_not_equal(error.text, "");
        }
    }
    mr__fault_disarm();
    assert_int_equal(mr__exchange_create(0, &exchange, NULL), MR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_chunk_is_taken_once_and_in_its_givers_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_bytes_that_wait_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory_no_exchange_is_made, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
