/* test_carry_meanwhile.c: what comes while a thread holds items of an outbox or an inbox, without the mutex.
 * Oracle: the bytes that were put, and the rules of the headers. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <unistd.h>

#include "carry_pair.h"

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

/* Its owner has it. */
static void confirm_late(struct fleet *fleet)
{
    mr__error error = {.text = ""};
    struct node *of = &fleet->nodes[0];
    assert_int_equal(fleet_hand_over(of, 1, late, &error), MR_OK);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    fleet_check(fleet);
}

static void test_what_is_being_spilled_may_be_forgotten(void **state)
{
    setenv("MILLRACE_KEEP", "0", 1);
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    unsetenv("MILLRACE_KEEP");
    struct node *of = &fleet->nodes[0];
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_OK);
    late = NULL;
    for (mr__path path = MR__CONTROL; path < MR__PATHS && late == NULL; path++)
        while ((late = fleet_take_letter(fleet, 1, 0, path)) != NULL && late->kind != MR__MAIL_CONFIRM)
            free(late);
    assert_non_null(late);
    set_meanwhile(fleet, confirm_late);
    fleet_make_room(&of->lanes[0], 1);
    assert_null(meanwhile);
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    fleet_check(fleet);
    free(late);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_held_by_the_carrier_moves_after_it),
        cmocka_unit_test(test_what_is_being_spilled_moves_after_it),
        cmocka_unit_test(test_what_is_held_by_the_carrier_is_sent_again_if_it_must),
        cmocka_unit_test(test_what_is_being_spilled_is_not_sent),
        cmocka_unit_test(test_an_epoch_becomes_whole_while_it_is_spilled),
        cmocka_unit_test(test_a_sender_is_lost_while_its_pairs_are_spilled),
        cmocka_unit_test(test_what_is_being_spilled_may_be_forgotten),
        cmocka_unit_test(test_the_carrier_is_woken_when_what_it_wants_was_spilled),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
