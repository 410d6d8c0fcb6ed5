/* test_carry_kept.c: what an outbox keeps of what it sent, and what it says of the rest.
 * Oracle: the bytes that were put, and the rules of outbox.h. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "carry_pair.h"

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
    pair_forgot(of, forgotten, 2);
    pair_forgot(of, forgotten, 2);
    pair_assign(of, groups, 2, MR_OK);
    pair_forgot(of, NULL, 0);
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
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    pair_put(of, epoch, HALF, 100, 1);
    pair_close_after(of, epoch, 0, 10, ns);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_kept_is_to_be_mapped_again),
        cmocka_unit_test(test_what_is_dear_is_kept),
        cmocka_unit_test(test_a_word_that_keep_does_not_know),
        cmocka_unit_test(test_few_pairs_keep_little_memory),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
