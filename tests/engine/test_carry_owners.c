/* test_carry_owners.c: groups get other owners and ranks are lost, at moments that chance seldom finds; and what each
 * call does where an allocation or a write fails. Oracle: the bytes that were put, and the rules of the headers. */
#include "cmocka_all.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "carry_pair.h"
#include "fault.h"
#include "outbox_parts.h"

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

static bool is_rank_1(void *context, uint32_t rank)
{
    return rank == 1;
}

static void assert_forgotten(struct node *of, const mr__work *expected, size_t count)
{
    mr__error error = {.text = ""};
    mr__works forgotten = {.count = 0};
    assert_int_equal(mr__outbox_forgotten(of->outbox, is_rank_1, NULL, &forgotten, &error), MR_OK);
    assert_int_equal(forgotten.count, count);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(&forgotten.list[i], &expected[i], sizeof *expected);
    mr__free(forgotten.list);
}

static struct fleet *pair_that_keeps(const char *what)
{
    setenv("MILLRACE_KEEP", what, 1);
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    unsetenv("MILLRACE_KEEP");
    return fleet;
}

static void test_what_is_not_kept_is_to_be_mapped_again(void **state)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    static const mr__work forgotten[] = {{10, 20, HALF, FLEET_PARTITIONS}, {0, 10, HALF, FLEET_PARTITIONS}};
    struct fleet *fleet = pair_that_keeps("0");
    struct node *of = &fleet->nodes[0];
    const uint32_t first = mr__outbox_begin(of->outbox), second = mr__outbox_begin(of->outbox);
    pair_put(of, first, HALF, 100, 1);
    pair_put(of, second, HALF, 110, 2);
    pair_close(of, first, 0, 10);
    const uint64_t both = mr__outbox_kept(of->outbox);
    pair_settle(fleet);
    assert_int_equal(mr__outbox_kept(of->outbox), both / 2);        /* that of the open epoch */
    fleet_check(fleet);
    fleet_make_room(&of->lanes[0], 1);
    pair_close(of, second, 10, 20);
    pair_settle(fleet);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    assert_true(mr__outbox_is_clear(of->outbox));
    fleet_check(fleet);
    const uint32_t third = mr__outbox_begin(of->outbox);
    pair_put(of, third, HALF + 1, 120, 3);
    fleet_kill(fleet, 1);
    pair_close(of, third, 20, 30);
    assert_forgotten(of, forgotten, 2);
    assert_forgotten(of, forgotten, 2);
    pair_assign(of, groups, 2, MR_OK);
    assert_forgotten(of, NULL, 0);
    fleet_check(fleet);
    pair_arrived(of, HALF + 1, 120, 3);             /* what had not gone, and nothing else */
    assert_null(mr__exchange_take(of->job.exchange, HALF));
    assert_int_equal(of->job.partition[HALF].extent_count, 0);
    fleet_destroy(fleet, false);
}

/* An epoch of 100 bytes that took so long. */
static uint64_t kept_of(const char *keep, uint64_t ns)
{
    struct fleet *fleet = keep != NULL ? pair_that_keeps(keep) : pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    mr__error error = {.text = ""};
    mr__cover input = {.count = 0};
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 100, 1);
    assert_int_equal(mr__cover_add(&input, 0, 10, &error), MR_OK);
    const mr__mapped mapped = {&input, 0, FLEET_PARTITIONS, ns};
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_OK);
    mr__cover_fini(&input);
    assert_true(mr__outbox_kept(of->outbox) > 0);
    pair_settle(fleet);
    const uint64_t kept = mr__outbox_kept(of->outbox);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
    return kept;
}

static void test_what_is_dear_is_kept(void **state)
{
    /* half of it was for the partitions of the other rank, 8 ns a byte */
    assert_int_equal(kept_of(NULL, 2 * 800 - 1), 0);
    assert_true(kept_of(NULL, 2 * 800) > 0);
    assert_true(kept_of("1", 0) > 0);
    assert_int_equal(kept_of("0", UINT64_MAX), 0);
}

/* A lane spills what was sent, while its owner's confirmation comes. */
static void test_what_is_being_spilled_may_be_forgotten(void **state)
{
    struct fleet *fleet = pair_that_keeps("0");
    struct node *of = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 100, 1);
    pair_close(of, epoch, 0, 10);
    while (pair_turn(of) == MR__CARRIED)
        ;
    /* the chunk and the END go, the confirmation comes back */
    while (fleet_deliver(fleet, 0, 1, MR__BULK))
        ;
    struct letter *confirm = NULL;
    for (mr__path path = MR__CONTROL; path < MR__PATHS && confirm == NULL; path++)
        while ((confirm = fleet_take_letter(fleet, 1, 0, path)) != NULL && confirm->kind != MR__MAIL_CONFIRM)
            free(confirm);
    assert_non_null(confirm);
    mr__error error = {.text = ""};
    mr__item *held = mr__outbox_hold(of->outbox, 1, false);
    assert_non_null(held);
    assert_int_equal(fleet_hand_over(of, 1, confirm, &error), MR_OK);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    fleet_check(fleet);
    uint64_t freed;
    mr__spill_writer *writer = NULL;
    assert_int_equal(mr__spill_writer_create(of->job.spill, &of->job.budget, &writer, &error), MR_OK);
    assert_int_equal(mr__outbox_write(of->outbox, writer, held, &freed, &error), MR_OK);
    mr__spill_writer_destroy(writer);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    fleet_check(fleet);
    free(confirm);
    fleet_destroy(fleet, false);
}

static void test_a_word_that_keep_does_not_know(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    mr__outbox *none = NULL;
    mr__error error = {.text = ""};
    setenv("MILLRACE_KEEP", "perhaps", 1);
    assert_int_equal(mr__outbox_create(&fleet->nodes[0].job, &fleet->nodes[0].mail, &none, &error), MR_BAD_USAGE);
    unsetenv("MILLRACE_KEEP");
    assert_null(none);
    assert_non_null(strstr(error.text, "perhaps"));
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
    assert_int_equal(mr__outbox_put(of->outbox, epoch, empty, &waiting, &error), MR_OK);
    assert_int_equal(waiting, 0);
    assert_false(mr__outbox_is_clear(of->outbox));
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_OK);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_int_equal(pair_turn(of), MR__CARRY_NOTHING);
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_INTERNAL);
    fleet_destroy(fleet, false);
}

static void test_few_pairs_keep_little_memory(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, 1 << 18, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    for (uint32_t p = HALF; p < FLEET_PARTITIONS; p++)
        pair_put(from, epoch, p, 1000, 1);
    assert_int_equal(mr__outbox_kept(from->outbox) + HALF * (sizeof(mr__chunk) + MR__CHUNK_PADDING), HALF * 4096);
    pair_close(from, epoch, 0, 10);
    pair_settle(fleet);
    mr__chunk_pool_trim(&at->job.pool);
    assert_int_equal(atomic_load(&at->job.budget.used), HALF * 4096);
    fleet_destroy(fleet, false);
}

/* ---- between the locks ------------------------------------------------------------------------------------------- */

/* Called once, in the middle of a post or a flush: the mutex of outbox or inbox is not held then. */
static void (*meanwhile)(struct fleet *fleet);
static struct fleet *meanwhile_fleet;

static void meet(void)
{
    void (*now)(struct fleet *fleet) = meanwhile;
    meanwhile = NULL;
    if (now != NULL)
        now(meanwhile_fleet);
}

mr_status __real_mr__spill_flush(mr__spill_writer *writer, mr__error *error);
mr_status __wrap_mr__spill_flush(mr__spill_writer *writer, mr__error *error);

mr_status __wrap_mr__spill_flush(mr__spill_writer *writer, mr__error *error)
{
    meet();
    return __real_mr__spill_flush(writer, error);
}

static mr_status (*real_post)(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head,
                              size_t head_size, const void *bytes, size_t size, mr__error *error);

static mr_status post_meanwhile(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head,
                                size_t head_size, const void *bytes, size_t size, mr__error *error)
{
    if (kind == MR__MAIL_CHUNK)
        meet();
    return real_post(context, path, to, kind, head, head_size, bytes, size, error);
}

static void set_meanwhile(struct fleet *fleet, void (*what)(struct fleet *fleet))
{
    meanwhile = what;
    meanwhile_fleet = fleet;
}

/* Rank 1 is lost, and rank 0 gets what it owned. */
static void inherit(struct fleet *fleet)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    fleet_kill(fleet, 1);
    pair_assign(&fleet->nodes[0], groups, 2, MR_OK);
    assert_false(mr__outbox_is_clear(fleet->nodes[0].outbox));
    assert_false(atomic_load(&fleet->nodes[0].told_clear));
    assert_int_equal(mr__exchange_waiting_total(fleet->nodes[0].job.exchange), 0);
    assert_int_equal(mr__outbox_kept(fleet->nodes[0].outbox), 0);
}

static void test_what_is_held_by_the_carrier_moves_after_it(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    real_post = of->mail.post;
    of->mail.post = post_meanwhile;
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 200, 4);
    pair_close(of, epoch, 0, 10);
    set_meanwhile(fleet, inherit);
    assert_int_equal(pair_turn(of), MR__CARRIED);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_true(atomic_load(&of->told_clear));
    pair_arrived(of, HALF, 200, 4);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

static void test_what_is_being_spilled_moves_after_it(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 200, 4);
    pair_close(of, epoch, 0, 10);
    set_meanwhile(fleet, inherit);
    fleet_make_room(&of->lanes[0], 1);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_true(atomic_load(&of->told_clear));
    assert_int_equal(of->job.partition[HALF].extent_count, 1);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

/* The same owner, another shape: all is to be sent again. */
static void reshape(struct fleet *fleet)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = HALF + 1, .owner = 1},
                                       {.first = HALF + 1, .last = FLEET_PARTITIONS, .owner = 1}};
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_assign(fleet->nodes[0].outbox, groups, 3, &error), MR_OK);
}

static void test_what_is_held_by_the_carrier_is_sent_again_if_it_must(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    real_post = of->mail.post;
    of->mail.post = post_meanwhile;
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 200, 4);
    set_meanwhile(fleet, reshape);
    assert_int_equal(pair_turn(of), MR__CARRIED);
    fleet_check(fleet);
    assert_int_equal(pair_turn(of), MR__CARRIED);
    assert_int_equal(pair_turn(of), MR__CARRY_NOTHING);
    for (uint32_t generation = 1; generation <= 2; generation++) {
        struct letter *one = fleet_take_letter(fleet, 0, 1, MR__BULK);
        assert_non_null(one);
        const uint8_t *at = one->bytes;
        const mr__share_name name = mr__get_name(&at);
        assert_int_equal(name.generation, generation);
        assert_int_equal(name.last, generation == 1 ? FLEET_PARTITIONS : HALF + 1);
        free(one);
    }
    fleet_destroy(fleet, false);
}

static void carry_in_vain(struct fleet *fleet)
{
    assert_int_equal(pair_turn(&fleet->nodes[0]), MR__CARRY_NOTHING);
}

static void test_what_is_being_spilled_is_not_sent(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 200, 4);
    set_meanwhile(fleet, carry_in_vain);
    fleet_make_room(&of->lanes[0], 1);
    assert_int_equal(pair_turn(of), MR__CARRIED);
    pair_close(of, epoch, 0, 10);
    pair_settle(fleet);
    pair_arrived(&fleet->nodes[1], HALF, 200, 4);
    fleet_destroy(fleet, false);
}

static struct letter *late;

static void hand_over_late(struct fleet *fleet)
{
    mr__error error = {.text = ""};
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, late, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting_total(fleet->nodes[1].job.exchange), 0);
    assert_int_equal(fleet->nodes[1].job.partition[HALF + 1].extent_count, 0);
    fleet_check(fleet);
}

static void forget_first(struct fleet *fleet)
{
    mr__inbox_forget(fleet->nodes[1].inbox, 0);
}

/* The end of an epoch, or of its sender, comes while the inbox spills what it holds. */
static void spill_meanwhile(void (*what)(struct fleet *fleet), size_t extents)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk;
    mr__error error = {.text = ""};
    uint64_t freed;
    pair_carry_one(fleet, &chunk, &late);
    assert_int_equal(fleet_hand_over(at, 0, chunk, &error), MR_OK);
    assert_int_equal(mr__spill_writer_create(at->job.spill, &at->job.budget, &at->lanes[0].writer, &error), MR_OK);
    set_meanwhile(fleet, what);
    assert_int_equal(mr__inbox_spill(at->inbox, at->lanes[0].writer, 1, &freed, &error), MR_OK);
    assert_true(freed >= 200);
    assert_int_equal(at->job.partition[HALF + 1].extent_count, extents);
    fleet_check(fleet);
    free(chunk);
    free(late);
    fleet_destroy(fleet, false);
}

static void test_an_epoch_becomes_whole_while_it_is_spilled(void **state)
{
    spill_meanwhile(hand_over_late, 1);
}

static void test_a_sender_is_lost_while_its_pairs_are_spilled(void **state)
{
    spill_meanwhile(forget_first, 0);
}

static void let_the_carrier_look(struct fleet *fleet)
{
    mr__error error = {.text = ""};
    uint8_t credit[MR__CREDIT_SIZE];
    mr__put64(credit, mr__carry_cost(FLEET_CHUNK));
    assert_int_equal(mr__outbox_message(fleet->nodes[0].outbox, 1, MR__MAIL_CREDIT, credit, sizeof credit, &error),
                     MR_OK);
    usleep(20000);
}

static struct letter *await_letter(struct fleet *fleet)
{
    struct letter *one = NULL;
    const uint64_t end = mr__now_ns() + 60000000000u;
    while ((one = fleet_take_letter(fleet, 0, 1, MR__BULK)) == NULL && mr__now_ns() < end)
        usleep(1000);
    return one;
}

static void test_the_carrier_is_woken_when_what_it_wants_was_spilled(void **state)
{
    struct fleet *fleet = pair_create(1000, FLEET_CHUNK, true);     /* the window is one chunk */
    struct node *of = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    for (uint32_t i = 0; i < 2; i++)
        pair_put(of, epoch, HALF, FLEET_CHUNK, 1);
    for (uint32_t i = 0; i < 2; i++) {
        struct letter *one = await_letter(fleet);
        assert_non_null(one);
        free(one);
        set_meanwhile(fleet, i == 0 ? let_the_carrier_look : NULL);
        if (i == 0)
            fleet_make_room(&of->lanes[0], UINT64_MAX);
    }
    fleet_destroy(fleet, true);
}

/* ---- what fails -------------------------------------------------------------------------------------------------- */

static mr_status hand_over_all(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path, mr__error *error)
{
    mr_status status = MR_OK;
    for (struct letter *one; status == MR_OK && (one = fleet_take_letter(fleet, from, to, path)) != NULL;) {
        status = fleet_hand_over(&fleet->nodes[to], from, one, error);
        free(one);
    }
    return status;
}

static mr_status carry_all(struct fleet *fleet, mr__error *error)
{
    mr_status status = MR_OK;
    mr__carried carried = MR__CARRIED;
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    for (uint32_t i = 0; i < 60; i++) {
        MR_TRY(mr__carrier_turn(from->carrier, &carried, error));
        MR_TRY(hand_over_all(fleet, 0, 1, MR__BULK, error));
        MR_TRY(mr__carrier_turn(at->carrier, &carried, error));
        MR_TRY(hand_over_all(fleet, 1, 0, MR__CONTROL, error));
    }
done:
    return status;
}

/* Chunks in memory and spilled, memory that is short, a loss: every call that can fail. */
static mr_status live_through(struct fleet *fleet, mr__spill_writer *writer, const mr__cover *inputs, mr__error *error)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    mr_status status = MR_OK;
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    uint64_t waiting, freed;
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        for (uint32_t p = 0; p < FLEET_PARTITIONS; p += 3) {
            mr__chunk *chunk = mr__chunk_acquire_forced(&from->job.pool, p, 64);
            MR_CHECK(chunk != NULL, MR_NO_MEMORY, "no memory for the test's chunk");
            memset(chunk->data, (int)p, 64);
            chunk->size = 64;
            chunk->pairs = 8;
            MR_TRY(mr__outbox_put(from->outbox, epoch, chunk, &waiting, error));
        }
        if (i == 0)
            MR_TRY(mr__outbox_make_room(from->outbox, writer, UINT64_MAX, &freed, error));
        const mr__mapped mapped = {&inputs[i], 0, FLEET_PARTITIONS, DEAR};
        MR_TRY(mr__outbox_close(from->outbox, epoch, &mapped, error));
    }
    MR_TRY(carry_all(fleet, error));
    MR_CHECK(mr__outbox_is_clear(from->outbox), MR_INTERNAL, "not clear");
    MR_CHECK(at->job.partition[HALF].extent_count == 2, MR_INTERNAL, "%zu extents",
             at->job.partition[HALF].extent_count);
    MR_TRY(mr__outbox_assign(from->outbox, groups, 2, error));
    mr__inbox_forget(from->inbox, 1);
    MR_TRY(mr__inbox_assign(from->inbox, groups, 2, error));
    MR_CHECK(mr__outbox_is_clear(from->outbox), MR_INTERNAL, "not clear after a loss");
    MR_TRY(mr__outbox_check(from->outbox, error));
    MR_TRY(mr__inbox_check(at->inbox, error));
done:
    return status;
}

static void test_each_call_may_fail(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_ALLOC, MR__FAULT_PAGES, MR__FAULT_OPEN, MR__FAULT_READ,
                                                  MR__FAULT_WRITE};
    mr__error error = {.text = ""};
    mr__cover inputs[2] = {{.count = 0}, {.count = 0}};
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(mr__cover_add(&inputs[i], 10 * i, 10 * i + 10, &error), MR_OK);
    uint32_t failures = 0;
    for (size_t p = 0; p < MR__COUNT(points); p++)
        for (uint32_t nth = 1;; nth++) {
            struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
            struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
            at->job.budget.limit = 1000;
            mr__budget_force(&at->job.budget, 2000);
            assert_int_equal(mr__spill_writer_create(from->job.spill, &from->job.budget, &from->lanes[0].writer,
                                                     &error), MR_OK);
            mr__error_clear(&error);
            mr__fault_arm(points[p], nth);
            const mr_status status = live_through(fleet, from->lanes[0].writer, inputs, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            if (status != MR_OK)
                assert_string_not_equal(error.text, "");
            if (!fired && status != MR_OK)
                fail_msg("%s", error.text);
            failures += status != MR_OK;
            mr__budget_release(&at->job.budget, 2000);
            fleet_destroy(fleet, false);
            if (!fired)
                break;
        }
    assert_true(failures > 30);
    for (uint32_t i = 0; i < 2; i++)
        mr__cover_fini(&inputs[i]);
}

static mr_status no_post(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head, size_t head_size,
                         const void *bytes, size_t size, mr__error *error)
{
    return mr__fail(error, MR_NETWORK_FAILED, "this rank was taken for lost");
}

static _Atomic int failures_told;

static void note_failure(void *context, mr_status status, const mr__error *error)
{
    assert_int_equal(status, MR_NETWORK_FAILED);
    assert_string_equal(error->text, "this rank was taken for lost");
    atomic_fetch_add(&failures_told, 1);
}

static void test_a_carrier_that_fails_says_so_once(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, true);
    struct node *from = &fleet->nodes[0];
    mr__carrier_stop(from->carrier);
    from->mail.post = no_post;
    from->mail.failed = note_failure;
    mr__error error = {.text = ""};
    assert_int_equal(mr__carrier_start(&from->job, &from->mail, from->outbox, from->inbox, &from->carrier, &error),
                     MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    for (uint32_t i = 0; i < 3; i++)
        pair_put(from, epoch, HALF, 100, 1);
    const uint64_t end = mr__now_ns() + 20000000000u;
    while (atomic_load(&failures_told) == 0 && mr__now_ns() < end)
        sched_yield();
    pair_put(from, epoch, HALF, 100, 1);
    pair_close(from, epoch, 0, 10);
    fleet_destroy(fleet, true);
    assert_int_equal(atomic_load(&failures_told), 1);
}

static void test_without_memory_none_is_made(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *of = &fleet->nodes[0];
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        mr__outbox *outbox = NULL;
        mr__inbox *inbox = NULL;
        mr__carrier *carrier = NULL;
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        mr_status status = mr__outbox_create(&of->job, &of->mail, &outbox, &error);
        if (status == MR_OK)
            status = mr__inbox_create(&of->job, &of->mail, &inbox, &error);
        if (status == MR_OK)
            status = mr__carrier_start(&of->job, &of->mail, outbox, inbox, &carrier, &error);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        assert_int_equal(status, fired ? MR_NO_MEMORY : MR_OK);
        assert_int_equal(carrier != NULL, !fired);
        assert_int_equal(error.text[0] != '\0', fired);
        mr__carrier_stop(carrier);
        mr__inbox_destroy(inbox);
        mr__outbox_destroy(outbox);
        if (!fired)
            break;
    }
    fleet_destroy(fleet, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_that_cannot_be_are_refused),
        cmocka_unit_test(test_what_moves_to_this_rank_goes_to_its_exchange_and_extents),
        cmocka_unit_test(test_what_is_not_kept_is_to_be_mapped_again),
        cmocka_unit_test(test_what_is_dear_is_kept),
        cmocka_unit_test(test_what_is_being_spilled_may_be_forgotten),
        cmocka_unit_test(test_a_word_that_keep_does_not_know),
        cmocka_unit_test(test_what_is_stale_is_not_counted_twice),
        cmocka_unit_test(test_a_part_of_a_chunk_may_be_stale),
        cmocka_unit_test(test_the_lost_are_not_heard),
        cmocka_unit_test(test_a_group_covers_what_came_whole_of_the_lost),
        cmocka_unit_test(test_an_epoch_of_nothing_is_forgotten),
        cmocka_unit_test(test_few_pairs_keep_little_memory),
        cmocka_unit_test(test_what_is_held_by_the_carrier_moves_after_it),
        cmocka_unit_test(test_what_is_being_spilled_moves_after_it),
        cmocka_unit_test(test_what_is_held_by_the_carrier_is_sent_again_if_it_must),
        cmocka_unit_test(test_what_is_being_spilled_is_not_sent),
        cmocka_unit_test(test_an_epoch_becomes_whole_while_it_is_spilled),
        cmocka_unit_test(test_a_sender_is_lost_while_its_pairs_are_spilled),
        cmocka_unit_test(test_the_carrier_is_woken_when_what_it_wants_was_spilled),
        cmocka_unit_test(test_each_call_may_fail),
        cmocka_unit_test(test_a_carrier_that_fails_says_so_once),
        cmocka_unit_test(test_without_memory_none_is_made),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
