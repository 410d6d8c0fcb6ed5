/* test_carry_table.c: pairs that go to other ranks and are in a lane's combine buffer still (outbox_table.c).
 * Oracle: the keys that were put into the buffer, by the partition of their hash. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "carry_pair.h"

enum { KEYS = 6000, BITS = 4, PAIR = 16 };

/* Rank 0 has the first half, and the second one is of rank 0, 1 or 2. */
static const mr__group all_own[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}},
                       before[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 1}},
                       after[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 2}};

/* An engine's lane with a buffer of KEYS keys; key k was counted k + 1 times. The first partitions of 2^BITS are the
 * fleet's. */
struct table {
    mr__lane lane;
    mr__budget budget;
};

static uint32_t partition_of(uint64_t key)
{
    return mr__partition_of(mr__hash_key(&key, sizeof key, 0), BITS);
}

static struct table *table_create(void)
{
    static const mr__pair_layout layout = {.key_size = sizeof(uint64_t), .value_size = sizeof(uint64_t)};
    static const mr__combine_rule rule = {.combine = MR_SUM, .value = MR_U64};
    struct table *made = calloc(1, sizeof *made);
    mr__error error = {.text = ""};
    assert_non_null(made);
    mr__budget_init(&made->budget, UINT64_MAX);
    mr__combine_buffer_init(&made->lane.combine, &layout, &rule, &made->budget, UINT64_MAX, true, 0);
    for (uint64_t key = 0; key < KEYS; key++) {
        uint8_t bytes[MR_INLINE_KEY] = {0};
        mr__staged staged;
        const uint64_t hash = mr__hash_key(&key, sizeof key, 0), value = key + 1;
        uint32_t accepted;
        memcpy(bytes, &key, sizeof key);
        mr__stage_in_place(&staged, bytes, sizeof key);
        assert_int_equal(mr__combine_batch(&made->lane.combine, &staged, &hash, (const uint8_t *)&value, 1, &accepted,
                                           &error), MR_OK);
        assert_int_equal(accepted, 1);
    }
    made->lane.epoch.in_place = calloc(FLEET_PARTITIONS, sizeof *made->lane.epoch.in_place);
    assert_non_null(made->lane.epoch.in_place);
    return made;
}

static void table_destroy(struct table *of)
{
    mr__combine_buffer_fini(&of->lane.combine);
    free(of->lane.epoch.in_place);
    free(of);
}

/* A copy of what the table has of a partition, in chunks of `most` pairs, the way epoch.c makes them. */
static void put_copy(struct node *of, struct table *table, uint32_t epoch, uint32_t partition, uint32_t most)
{
    mr__error error = {.text = ""};
    mr__cell_cursor cursor = mr__combine_buffer_partition(&table->lane.combine, partition, BITS), at = cursor;
    mr__chunk *chunk = NULL;
    mr__origin origin = {.lane = &table->lane};
    uint64_t waiting = 1;
    mr__pair pair;
    for (bool more = true; more; at = cursor) {
        more = mr__combine_buffer_next_of(&table->lane.combine, &cursor, &pair);
        if (chunk != NULL && (!more || chunk->pairs == most)) {
            assert_int_equal(mr__outbox_put(of->outbox, epoch, chunk, &origin, &waiting, &error), MR_OK);
            assert_int_equal(waiting, 0);
            chunk = NULL;
        }
        if (!more)
            break;
        if (chunk == NULL) {
            chunk = mr__chunk_acquire_forced(&of->job.pool, partition, (size_t)most * PAIR);
            assert_non_null(chunk);
            origin.from = at;
        }
        mr__pair_write(&table->lane.combine.layout, chunk->data + chunk->size, &pair);
        chunk->size += PAIR;
        chunk->pairs++;
    }
}

static void put_all(struct node *of, struct table *table, uint32_t epoch)
{
    for (uint32_t p = HALF; p < FLEET_PARTITIONS; p++)
        put_copy(of, table, epoch, p, 10 + p);
}

/* The exchange has each pair of the partition once, and no other; takes them. */
static void assert_arrived(struct node *at, uint32_t partition)
{
    bool seen[KEYS] = {false};
    uint32_t count = 0, expected = 0;
    mr__chunk *chunks = mr__exchange_take(at->job.exchange, partition);
    for (const mr__chunk *chunk = chunks; chunk != NULL; chunk = chunk->next)
        for (uint32_t i = 0; i < chunk->pairs; i++, count++) {
            uint64_t pair[2];
            memcpy(pair, chunk->data + (size_t)i * PAIR, PAIR);
            assert_true(pair[0] < KEYS && partition_of(pair[0]) == partition && !seen[pair[0]]);
            assert_int_equal(pair[1], pair[0] + 1);
            seen[pair[0]] = true;
        }
    mr__chunk_release_all(&at->job.pool, chunks);
    for (uint64_t key = 0; key < KEYS; key++)
        expected += partition_of(key) == partition;
    assert_true(expected > 100);
    assert_int_equal(count, expected);
}

static void assert_all_arrived(struct node *at)
{
    for (uint32_t p = HALF; p < FLEET_PARTITIONS; p++)
        assert_arrived(at, p);
}

static void assert_nothing_waits(struct node *at)
{
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++) {
        assert_null(mr__exchange_take(at->job.exchange, p));
        assert_int_equal(at->job.partition[p].extent_count, 0);
    }
}

static void test_what_was_sent_takes_no_memory(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct table *table = table_create();
    struct node *from = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    put_all(from, table, epoch);
    assert_true(mr__outbox_kept(from->outbox) > 0);
    pair_settle(fleet);
    assert_int_equal(mr__outbox_kept(from->outbox), 0);     /* the epoch is open: nothing was confirmed */
    pair_close(from, epoch, 0, 100);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_all_arrived(&fleet->nodes[1]);
    table_destroy(table);
    fleet_destroy(fleet, false);
}

static void test_room_is_made_without_writing(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct table *table = table_create();
    struct node *from = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    put_all(from, table, epoch);
    pair_turn(from);
    fleet_make_room(&from->lanes[0], UINT64_MAX);
    assert_int_equal(mr__outbox_kept(from->outbox), 0);
    assert_int_equal(mr__spill_bytes(from->job.spill), 0);
    fleet_check(fleet);
    pair_close(from, epoch, 0, 100);
    pair_settle(fleet);
    assert_all_arrived(&fleet->nodes[1]);
    table_destroy(table);
    fleet_destroy(fleet, false);
}

/* Rank 1 is lost when it has it all, or some, or nothing: rank 2 gets it all. It was cheap to map, and is kept. */
static void test_a_new_owner_gets_it_again(void **state)
{
    for (uint32_t turns = 0; turns <= 60; turns += 20) {
        struct fleet *fleet = fleet_create(3, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
        struct table *table = table_create();
        struct node *from = &fleet->nodes[0];
        for (uint32_t r = 0; r < 3; r++)
            pair_assign(&fleet->nodes[r], before, 2, MR_OK);
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        put_all(from, table, epoch);
        for (uint32_t turn = 0; turn < turns; turn++)
            pair_turn(from);
        if (turns == 60) {
            pair_close_after(from, epoch, 0, 100, CHEAP);
            pair_settle(fleet);
        }
        fleet_kill(fleet, 1);
        pair_forgot(from, NULL, 0);
        pair_assign(from, after, 2, MR_OK);
        pair_assign(&fleet->nodes[2], after, 2, MR_OK);
        fleet_check(fleet);
        if (turns < 60)
            pair_close_after(from, epoch, 0, 100, CHEAP);
        pair_settle(fleet);
        assert_int_equal(mr__outbox_kept(from->outbox), 0);
        assert_all_arrived(&fleet->nodes[2]);
        table_destroy(table);
        fleet_destroy(fleet, false);
    }
}

static void test_what_becomes_own_stays_where_it_is(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct table *table = table_create();
    struct node *of = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    for (uint32_t p = HALF; p < FLEET_PARTITIONS - 1; p++)
        put_copy(of, table, epoch, p, 10);
    pair_turn(of);
    fleet_kill(fleet, 1);
    pair_assign(of, all_own, 2, MR_OK);
    put_copy(of, table, epoch, FLEET_PARTITIONS - 1, 10);
    pair_close(of, epoch, 0, 100);
    assert_true(mr__outbox_is_clear(of->outbox));
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
        assert_int_equal(atomic_load(&table->lane.epoch.in_place[p]), p >= HALF);
    assert_nothing_waits(of);
    fleet_check(fleet);
    table_destroy(table);
    fleet_destroy(fleet, false);
}

/* The lane maps again: what it had comes from chunks from then on, and the buffer may change. */
static void test_what_is_taken_out_is_kept(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct table *table = table_create(), *other = table_create();
    struct node *of = &fleet->nodes[0];
    mr__error error = {.text = ""};
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    put_all(of, table, epoch);
    pair_close(of, epoch, 0, 100);
    pair_settle(fleet);
    assert_all_arrived(&fleet->nodes[1]);
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
        assert_int_equal(mr__outbox_take_out(of->outbox, &other->lane, p, &error), MR_OK);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
        assert_int_equal(mr__outbox_take_out(of->outbox, &table->lane, p, &error), MR_OK);
    assert_true(mr__outbox_kept(of->outbox) > 0);
    fleet_check(fleet);
    mr__combine_buffer_clear(&table->lane.combine, false);
    fleet_kill(fleet, 1);
    pair_assign(of, all_own, 2, MR_OK);
    fleet_check(fleet);
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
        assert_false(atomic_load(&table->lane.epoch.in_place[p]));
    assert_all_arrived(of);
    table_destroy(table);
    table_destroy(other);
    fleet_destroy(fleet, false);
}

/* What O1 says of an origin is true only if nobody changes the buffer before it is taken out. */
static void test_a_buffer_that_changed_is_noticed(void **state)
{
    struct fleet *fleet = fleet_create(3, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct table *table = table_create();
    struct node *from = &fleet->nodes[0];
    mr__error error = {.text = ""};
    mr__carried carried = MR__CARRIED;
    for (uint32_t r = 0; r < 3; r++)
        pair_assign(&fleet->nodes[r], before, 2, MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    put_all(from, table, epoch);
    pair_settle(fleet);
    mr__combine_buffer_clear(&table->lane.combine, false);
    fleet_kill(fleet, 1);
    pair_assign(from, after, 2, MR_OK);
    assert_int_equal(mr__carrier_turn(from->carrier, &carried, &error), MR_INTERNAL);
    assert_non_null(strstr(error.text, "combine buffer"));
    table_destroy(table);
    fleet_destroy(fleet, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_sent_takes_no_memory),
        cmocka_unit_test(test_room_is_made_without_writing),
        cmocka_unit_test(test_a_new_owner_gets_it_again),
        cmocka_unit_test(test_what_becomes_own_stays_where_it_is),
        cmocka_unit_test(test_what_is_taken_out_is_kept),
        cmocka_unit_test(test_a_buffer_that_changed_is_noticed),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
