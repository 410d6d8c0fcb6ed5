/* test_carry_owners.c: groups get other owners and ranks are lost, at moments that chance seldom finds.
 * Oracle: the bytes that were put, and the rules of the headers. */
#include "cmocka_all.h"

#include <stdlib.h>

#include "carry_pair.h"

static void test_groups_that_cannot_be_are_refused(void **state)
{
    static const struct {
        mr__group groups[2];
        size_t count;
    } cases[] = {
        {{{.last = HALF}}, 1},                                                      /* not all */
        {{{.last = HALF}, {.first = HALF + 1, .last = FLEET_PARTITIONS}}, 2},       /* a gap */
        {{{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS + 1}}, 2},       /* too many */
        {{{.last = FLEET_PARTITIONS, .owner = 2}}, 1},                              /* a rank that is none */
        {{{.last = FLEET_PARTITIONS, .owner = 1}}, 1},                              /* from a living one */
        {{{.last = FLEET_PARTITIONS, .owner = 0}}, 1},                              /* another shape */
    };
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    for (size_t i = 0; i < MR__COUNT(cases); i++)
        pair_assign(&fleet->nodes[0], cases[i].groups, cases[i].count, MR_INTERNAL);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

static void test_what_moves_to_this_rank_goes_to_its_exchange_and_extents(void **state)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    const uint32_t first = mr__outbox_begin(of->outbox);
    pair_put(of, first, HALF, 100, 1);
    pair_close(of, first, 0, 10);
    pair_settle(fleet);
    fleet_make_room(&of->lanes[0], 1);              /* what was sent goes first */
    const uint32_t second = mr__outbox_begin(of->outbox);
    pair_put(of, second, HALF + 2, 120, 2);
    fleet_kill(fleet, 1);
    pair_assign(of, groups, 2, MR_OK);
    pair_put(of, second, HALF + 3, 130, 3);
    assert_false(mr__outbox_is_clear(of->outbox));
    pair_close(of, second, 10, 20);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    assert_int_equal(of->job.partition[HALF].extent_count, 1);
    assert_int_equal(of->job.partition[HALF].extents[0].size, 100);
    pair_arrived(of, HALF + 2, 120, 2);
    pair_arrived(of, HALF + 3, 130, 3);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

/* Rank 2 hears of an owner that never comes to be, sends it so many messages, of which some arrive in time, and all of
 * them again when that becomes true later. */
static void be_stale(uint32_t sent, uint32_t in_time)
{
    static const mr__group before[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 1},
                                       {.first = 8, .last = 12, .owner = 2}};
    static const mr__group never[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 0},
                                      {.first = 8, .last = 12, .owner = 2}};
    static const mr__group between[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 3},
                                        {.first = 8, .last = 12, .owner = 2}};
    struct fleet *fleet = fleet_create(4, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[2], *at = &fleet->nodes[0];
    pair_assign(from, before, 3, MR_OK);
    pair_assign(at, before, 3, MR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        pair_put(from, epoch, 5, 100, (uint8_t)epoch);
        pair_close(from, epoch, 10 * epoch, 10 * epoch + 10);
    }
    pair_assign(from, never, 3, MR_OK);
    for (uint32_t i = 0; i < sent; i++)
        pair_turn(from);
    for (uint32_t i = 0; i < in_time; i++)
        fleet_deliver(fleet, 2, 0, MR__BULK);
    pair_assign(from, between, 3, MR_OK);
    pair_assign(at, between, 3, MR_OK);
    pair_assign(from, never, 3, MR_OK);              /* now it becomes true */
    pair_assign(at, never, 3, MR_OK);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(mr__exchange_waiting(at->job.exchange, 5), 300);
    fleet_destroy(fleet, false);
}

static void test_what_is_stale_is_not_counted_twice(void **state)
{
    for (uint32_t sent = 0; sent <= 6; sent++)
        for (uint32_t in_time = 0; in_time <= sent; in_time++)
            be_stale(sent, in_time);
}

static bool is_rank_4(void *context, uint32_t rank)
{
    return rank == 4;
}

/* Rank 3 maps what rank 2 forgot of what rank 4 had, as if the coordinator had given it that. */
static void map_again(struct fleet *fleet, const mr__works *forgotten)
{
    struct node *at = &fleet->nodes[3];
    for (size_t i = 0; i < forgotten->count; i++) {
        const uint32_t epoch = mr__outbox_begin(at->outbox);
        pair_put(at, epoch, 5, 100, 1);
        pair_close(at, epoch, forgotten->list[i].begin, forgotten->list[i].end);
    }
}

/* Rank 2 hears of rank 3 as an owner that never comes to be, sends it a cheap epoch, and then again to rank 4, which
 * has it and is lost. When rank 3 becomes the owner after all, the epoch is there already. */
static void test_what_is_stale_elsewhere_is_not_mapped_again(void **state)
{
    static const mr__group views[][3] = {
        {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 1}, {.first = 8, .last = 12, .owner = 2}},
        {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 3}, {.first = 8, .last = 12, .owner = 2}},
        {{.last = 4, .owner = 3}, {.first = 4, .last = 8, .owner = 4}, {.first = 8, .last = 12, .owner = 2}},
        {{.last = 4, .owner = 3}, {.first = 4, .last = 8, .owner = 3}, {.first = 8, .last = 12, .owner = 2}},
    };
    struct fleet *fleet = fleet_create(5, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[2];
    mr__works forgotten = {.count = 0};
    mr__error error = {.text = ""};
    for (uint32_t r = 2; r < 5; r++)
        pair_assign(&fleet->nodes[r], views[0], 3, MR_OK);
    fleet_kill(fleet, 1);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    pair_put(from, epoch, 5, 100, 1);
    pair_close_after(from, epoch, 0, 10, CHEAP);
    pair_assign(from, views[1], 3, MR_OK);
    while (pair_turn(from) == MR__CARRIED)
        fleet_deliver(fleet, 2, 3, MR__BULK);
    fleet_kill(fleet, 0);
    for (uint32_t r = 2; r < 5; r++)
        pair_assign(&fleet->nodes[r], views[2], 3, MR_OK);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(mr__exchange_waiting(fleet->nodes[4].job.exchange, 5), 100);
    fleet_kill(fleet, 4);
    assert_int_equal(mr__outbox_forgotten(from->outbox, is_rank_4, NULL, &forgotten, &error), MR_OK);
    for (uint32_t r = 2; r < 4; r++)
        pair_assign(&fleet->nodes[r], views[3], 3, MR_OK);
    map_again(fleet, &forgotten);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(mr__exchange_waiting(fleet->nodes[3].job.exchange, 5), 100);
    mr__free(forgotten.list);
    fleet_destroy(fleet, false);
}

/* A part of a large chunk is stale, and its credit comes back. */
static void test_a_part_of_a_chunk_may_be_stale(void **state)
{
    static const mr__group before[] = {{.last = 8, .owner = 0}, {.first = 8, .last = 12, .owner = 1}};
    static const mr__group after[] = {{.last = 8, .owner = 0}, {.first = 8, .last = 10, .owner = 1},
                                      {.first = 10, .last = 12, .owner = 1}};
    struct fleet *fleet = fleet_create(2, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_assign(from->outbox, before, 2, &error), MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    pair_put(from, epoch, 9, MR__PIECE_MOST + 10, 1);
    assert_int_equal(pair_turn(from), MR__CARRIED);
    assert_true(fleet_deliver(fleet, 0, 1, MR__BULK));
    /* rank 1 never had the group that it was sent for */
    assert_int_equal(mr__outbox_assign(from->outbox, after, 3, &error), MR_OK);
    assert_int_equal(mr__inbox_assign(at->inbox, after, 3, &error), MR_OK);
    pair_close(from, epoch, 0, 10);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    pair_arrived(at, 9, MR__PIECE_MOST + 10, 1);
    fleet_destroy(fleet, false);
}

static void test_the_lost_are_not_heard(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    mr__inbox_forget(fleet->nodes[1].inbox, 0);
    chunk->bytes[0] ^= 1;                       /* even nonsense */
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_OK);
    fleet_check(fleet);
    assert_int_equal(mr__exchange_waiting_total(fleet->nodes[1].job.exchange), 0);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static bool is_first(void *context, uint32_t rank)
{
    return rank == 0;
}

static void test_a_group_covers_what_came_whole_of_the_lost(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    mr__group groups[] = {{.last = HALF, .owner = 0}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 1}};
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t epoch = mr__outbox_begin(fleet->nodes[0].outbox);
        if (i != 1)                             /* an epoch without pairs counts as any other */
            pair_put(&fleet->nodes[0], epoch, HALF + i, 50, 1);
        if (i < 2)                              /* the last one stays open */
            pair_close(&fleet->nodes[0], epoch, 10 * i, 10 * i + 10);
    }
    pair_settle(fleet);
    assert_int_equal(mr__inbox_cover(at->inbox, is_first, NULL, groups, 2, &error), MR_OK);
    assert_int_equal(groups[0].covered.count, 0);
    assert_int_equal(groups[1].covered.count, 1);
    assert_int_equal(groups[1].covered.ranges[0].begin, 0);
    assert_int_equal(groups[1].covered.ranges[0].end, 20);
    mr__cover_fini(&groups[1].covered);
    groups[1].first++;
    assert_int_equal(mr__inbox_cover(at->inbox, is_first, NULL, groups, 2, &error), MR_INTERNAL);
    fleet_destroy(fleet, false);
}

static void test_an_epoch_of_nothing_is_forgotten(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    mr__error error = {.text = ""};
    const mr__cover nothing = {.count = 0};
    const mr__mapped mapped = {&nothing, 0, FLEET_PARTITIONS, DEAR};
    uint64_t waiting = 7;
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    mr__chunk *empty = mr__chunk_acquire(&of->job.pool, HALF, 1);
    assert_int_equal(mr__outbox_put(of->outbox, epoch, empty, NULL, &waiting, &error), MR_OK);
    assert_int_equal(waiting, 0);
    assert_false(mr__outbox_is_clear(of->outbox));
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_OK);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_int_equal(pair_turn(of), MR__CARRY_NOTHING);
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_INTERNAL);
    fleet_destroy(fleet, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_that_cannot_be_are_refused),
        cmocka_unit_test(test_what_moves_to_this_rank_goes_to_its_exchange_and_extents),
        cmocka_unit_test(test_what_is_stale_is_not_counted_twice),
        cmocka_unit_test(test_what_is_stale_elsewhere_is_not_mapped_again),
        cmocka_unit_test(test_a_part_of_a_chunk_may_be_stale),
        cmocka_unit_test(test_the_lost_are_not_heard),
        cmocka_unit_test(test_a_group_covers_what_came_whole_of_the_lost),
        cmocka_unit_test(test_an_epoch_of_nothing_is_forgotten),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
