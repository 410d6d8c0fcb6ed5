/* test_joint_dense.c: sums over dense keys for which no rank has memory: every table of a block goes to the spill, and
 * the coordinator takes them block by block; and losses in between.
 * Oracle: plain loops over the same input (convoy_cargo.c). */
#include "cmocka_all.h"

#include <time.h>

#include "joint_parts.h"
#include "voyages.h"

enum { RANKS = 4 };

static const char *const jobs[] = {"dense", "centres"};

/* Every rank asks the first one for work before it maps anything, and that one gives some. */
static void leave_no_memory(struct ship *ship, uint32_t kind)
{
    if (kind != MR__SAY_ASK && kind != MR__SAY_GIVE)
        return;
    mr__job *job = ((mr__joint *)mr__ranks_joint(atomic_load(&ship->ranks)))->job;
    pthread_mutex_lock(&job->fold_mutex);
    job->tables_reserved = job->sums_window = 0;
    pthread_mutex_unlock(&job->fold_mutex);
    mr__budget_force(&job->budget, job->budget.limit);
}

/* The first one would map nearly all of it before the others have heard that there is work. The second one coordinates
 * when that is lost, and has to find sums that it must ask for. */
static mr_status hold_the_first_two(struct ship *ship, const mr_block *block)
{
    (void)block;
    if (ship->rank < 2)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return MR_OK;
}

/* The second one maps nearly all of it. */
static mr_status hold_all_but_the_second(struct ship *ship, const mr_block *block)
{
    (void)block;
    if (ship->rank != 1)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return MR_OK;
}

static uint32_t turns_of(const struct convoy *convoy)
{
    uint32_t turns = 0;
    for (uint32_t r = 0; r < convoy->ranks; r++)
        turns += convoy->ships[r].sent_of[MR__SAY_TURN];
    return turns;
}

static void sums_without_memory_for_them(void **state)
{
    for (size_t j = 0; j < MR__COUNT(jobs); j++) {
        struct convoy convoy = {.ranks = RANKS, .on_message = leave_no_memory, .on_map = hold_the_first_two};
        voyage_sail(voyage_named(jobs[j]), &convoy);
        /* integers: a table of each rank; else of each block in each round. Not seen: those of the first rank */
        if (j == 0)
            assert_int_equal(turns_of(&convoy), RANKS - 1);
        else
            assert_in_range(turns_of(&convoy), RANKS, CENTRE_ROUNDS * (ROWS / BLOCK_ROWS));
        assert_int_equal(convoy.ships[0].stats.spilled_bytes > 0, j == 1);
    }
}

static void few_sums_come_without_being_asked_for(void **state)
{
    for (size_t j = 0; j < MR__COUNT(jobs); j++) {
        struct convoy convoy = {.ranks = RANKS, .on_map = hold_all_but_the_second};
        voyage_sail(voyage_named(jobs[j]), &convoy);
        assert_int_equal(turns_of(&convoy), 0);
        assert_int_equal(convoy.ships[0].stats.spilled_bytes, 0);
    }
}

static void a_rank_is_lost_while_sums_are_added(void **state)
{
    static const struct { int kind; uint32_t rank; } cases[] = {
        {MR__SAY_TABLE, RANKS - 1}, {MR__SAY_TURN, 0}, {MR__SAY_FOLDED, 0}};
    static const convoy_death deaths[] = {CONVOY_CRASH, CONVOY_CUT, CONVOY_FREEZE};
    for (size_t n = 0; n < 2 * MR__COUNT(cases) * MR__COUNT(jobs); n++) {
        const size_t c = n / 2 % MR__COUNT(cases), j = n / 2 / MR__COUNT(cases);
        const uint32_t spares = n % 2, nth = j == 0 ? 1 : 1 + 9 * spares;
        struct convoy convoy = {.ranks = RANKS + spares, .spares = spares, .on_message = leave_no_memory,
                                .on_map = hold_the_first_two};
        convoy.strikes[0] = (struct convoy_strike){cases[c].rank, deaths[n % MR__COUNT(deaths)], cases[c].kind, nth};
        voyage_sail(voyage_named(jobs[j]), &convoy);
        assert_true(nth > 1 || atomic_load(&convoy.ships[cases[c].rank].struck));
    }
}

/* The second one when the others send their sums again. */
static void two_are_lost_one_after_the_other(void **state)
{
    for (uint32_t nth = 1; nth <= 3; nth++) {
        struct convoy convoy = {.ranks = RANKS, .on_message = leave_no_memory, .on_map = hold_the_first_two};
        convoy.strikes[0] = (struct convoy_strike){0, CONVOY_CRASH, MR__SAY_TURN, nth};
        convoy.strikes[1] = (struct convoy_strike){1, CONVOY_CUT, MR__SAY_TURN, nth};
        voyage_sail(voyage_named("centres"), &convoy);
        assert_true(atomic_load(&convoy.ships[1].struck));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_without_memory_for_them),
        cmocka_unit_test(few_sums_come_without_being_asked_for),
        cmocka_unit_test(a_rank_is_lost_while_sums_are_added),
        cmocka_unit_test(two_are_lost_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
