/* The array buffer: every pair comes out once, in its partition, also when the pool is empty and spilling makes
 * room. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "array_buffer.h"

enum { PARTITIONS = 8, PAIRS = 5000 };

struct receiver {
    mr__chunk_pool *pool;
    mr__chunk *held;
    uint64_t sum[PARTITIONS], pairs[PARTITIONS];
    uint32_t asked;
};

static const mr__pair_layout layout = {.value_size = 8};

static void count_chunk(struct receiver *receiver, const mr__chunk *chunk)
{
    uint32_t pairs = 0;
    for (const uint8_t *at = chunk->data; at < chunk->data + chunk->size; pairs++) {
        mr__pair pair;
        uint64_t value;
        at = mr__pair_read(&layout, at, &pair);
        memcpy(&value, pair.value, 8);
        receiver->sum[chunk->partition] += value;
        assert_int_equal(value % PARTITIONS, chunk->partition);
    }
    assert_int_equal(pairs, chunk->pairs);
    receiver->pairs[chunk->partition] += pairs;
}

static mr_status hold(void *context, mr__chunk *chunk, mr__error *error)
{
    struct receiver *receiver = context;
    chunk->next = receiver->held;
    receiver->held = chunk;
    return MR_OK;
}

static mr_status release_held(void *context, mr__error *error)
{
    struct receiver *receiver = context;
    receiver->asked++;
    while (receiver->held != NULL) {
        mr__chunk *chunk = receiver->held;
        receiver->held = chunk->next;
        count_chunk(receiver, chunk);
        mr__chunk_release(receiver->pool, chunk);
    }
    return MR_OK;
}

static void every_pair_reaches_its_partition_once(void **state)
{
    static const uint64_t limits[] = {1 << 30, 100 << 10, 4 << 10};
    for (size_t l = 0; l < MR__COUNT(limits); l++) {
        mr__budget budget;
        mr__chunk_pool pool;
        mr__array_buffer buffer;
        mr__error error = {0};
        mr__budget_init(&budget, limits[l]);
        mr__chunk_pool_init(&pool, &budget, 2000);
        struct receiver receiver = {.pool = &pool};
        assert_int_equal(mr__array_buffer_init(&buffer, &layout, &pool, PARTITIONS, &error), MR_OK);
        buffer.context = &receiver;
        buffer.full = hold;
        buffer.need_room = release_held;
        char key[8000];
        memset(key, 'k', sizeof key);
        for (uint64_t i = 0; i < PAIRS; i++) {
            const mr__pair pair = {(const uint8_t *)key, (const uint8_t *)&i,
                                   i % 1000 == 999 ? 8000 : (uint32_t)(i % 30), 8};
            assert_int_equal(mr__array_append(&buffer, (uint32_t)(i % PARTITIONS), &pair, &error), MR_OK);
        }
        assert_int_equal(mr__array_buffer_flush(&buffer, &error), MR_OK);
        release_held(&receiver, &error);
        for (uint64_t p = 0; p < PARTITIONS; p++) {
            const uint64_t n = PAIRS / PARTITIONS;
            assert_int_equal(receiver.pairs[p], n);
            assert_int_equal(receiver.sum[p], n * p + PARTITIONS * (n * (n - 1) / 2));
        }
        if (l > 0)
            assert_true(receiver.asked > 1);
        mr__array_buffer_fini(&buffer);
        mr__chunk_pool_fini(&pool);
        assert_int_equal(atomic_load(&budget.used), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair_reaches_its_partition_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
