/* test_joint_losses.c: ranks die, or stand still, at any message of a job; the others finish it, and are right.
 * Oracle: as test_joint.c; and whatever the lost wrote, there is one output, whole, and nothing beside it.
 *
 * MILLRACE_JOINT_STEP=1 kills at every message (default: so many steps that it takes some seconds);
 * MILLRACE_JOINT_SEEDS=1000: so many jobs with two random deaths; MILLRACE_JOINT_SEED=17: that one alone. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "job_fixture.h"
#include "joint_parts.h"
#include "voyages.h"

enum { RANKS = 3, DEATHS_EACH = 5, SEEDS = 60 };

static const char *const place = voyages_place, *const output = voyages_output;

/* The next jobs keep what they sent, or forget it once it came. */
static void keep_by_turns(unsigned turn)
{
    setenv("MILLRACE_KEEP", turn % 2 == 0 ? "0" : "1", 1);
}

/* ---- one rank dies ----------------------------------------------------------------------------------------------- */

static const convoy_death deaths[] = {CONVOY_CRASH, CONVOY_CUT, CONVOY_CRASH, CONVOY_FREEZE, CONVOY_CUT, CONVOY_SILENT};

static void die_at_every_message(const char *name)
{
    const struct voyage *voyage = voyage_named(name);
    struct convoy calm = {.ranks = RANKS};
    uint32_t turn = 0;
    voyage_sail(voyage, &calm);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const uint32_t messages = calm.ships[rank].sent;
        const uint32_t step = voyages_setting("MILLRACE_JOINT_STEP", messages / DEATHS_EACH + 1);
        for (uint32_t nth = 1 + turn % step; nth <= messages; nth += step, turn++) {
            struct convoy convoy = {.ranks = RANKS};
            convoy.strikes[0] = (struct convoy_strike){rank, deaths[turn % MR__COUNT(deaths)], CONVOY_ANY_KIND, nth};
            keep_by_turns(turn / MR__COUNT(deaths) + turn);
            voyage_sail(voyage, &convoy);
        }
    }
}

static void a_rank_dies_at_any_message(void **state)
{
    static const char *const names[] = {"count", "list", "suffix", "order", "dense", "centres", "count by value",
                                        "count limited", "count by key"};
    for (size_t n = 0; n < MR__COUNT(names); n++)
        die_at_every_message(names[n]);
}

/* The first and the last message of every kind: where a stage begins, and where it ends. */
static void a_rank_dies_at_any_turn(void **state)
{
    static const char *const names[] = {"list", "centres", "count by value"};
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        const struct voyage *voyage = voyage_named(names[n]);
        struct convoy calm = {.ranks = RANKS};
        voyage_sail(voyage, &calm);
        for (uint32_t rank = 0; rank < RANKS; rank++) {
            for (int kind = 0; kind < MR__KIND_OWN; kind++) {
                const uint32_t last = calm.ships[rank].sent_of[kind];
                for (uint32_t nth = 1; nth <= last; nth = nth < last ? last : last + 1) {
                    struct convoy convoy = {.ranks = RANKS};
                    convoy.strikes[0] = (struct convoy_strike){rank, deaths[(unsigned)(kind + rank) % 3], kind, nth};
                    keep_by_turns(nth);
                    voyage_sail(voyage, &convoy);
                }
            }
        }
    }
}

static mr_status map_slowly(struct ship *ship, const mr_block *block)
{
    (void)ship;
    (void)block;
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    return MR_OK;
}

/* The others die one after the other, and nobody has kept what they owned: it is mapped again, in works for some of the
 * partitions. One waits until another is mapped, and meanwhile it is said that there are no more. */
static void the_last_work_may_wait(void **state)
{
    for (uint32_t n = 0; n < 12; n++) {
        struct convoy convoy = {.ranks = 4, .workers = 1 + n % 2, .on_map = map_slowly};
        for (uint32_t d = 0; d < 3; d++)
            convoy.strikes[d] = (struct convoy_strike){(n + d) % 4, CONVOY_CRASH, CONVOY_ANY_KIND, 30 + 12 * d + n};
        keep_by_turns(0);
        voyage_sail(voyage_named(n % 4 < 2 ? "list" : "order"), &convoy);
    }
}

/* ---- many die ---------------------------------------------------------------------------------------------------- */

static void sail_by_chance(unsigned seed)
{
    static const char *const names[] = {"count", "list", "order", "centres", "count by value", "dense"};
    unsigned state = seed;
    const struct voyage *voyage = voyage_named(names[seed % MR__COUNT(names)]);
    const uint32_t ranks = 3 + (uint32_t)rand_r(&state) % 3, dying = 2 + (uint32_t)rand_r(&state) % 2;
    struct convoy convoy = {.ranks = ranks, .workers = 1 + seed % 2};
    const uint32_t first = (uint32_t)rand_r(&state) % ranks;
    keep_by_turns(seed / MR__COUNT(names));
    setenv("MILLRACE_LZ4", seed % 4 == 0 ? "1" : "0", 1);
    for (uint32_t d = 0; d < dying && d + 1 < ranks; d++)
        convoy.strikes[d] = (struct convoy_strike){(first + d) % ranks, deaths[(unsigned)rand_r(&state) % 4],
                                                   CONVOY_ANY_KIND, 1 + (uint32_t)rand_r(&state) % 90};
    voyage_sail(voyage, &convoy);
    unsetenv("MILLRACE_LZ4");
}

static void several_die_by_chance(void **state)
{
    voyages_by_chance(SEEDS, sail_by_chance);
}

static void all_but_one_die(void **state)
{
    for (uint32_t left = 0; left < 4; left++) {
        struct convoy convoy = {.ranks = 4};
        for (uint32_t d = 0; d < 3; d++)
            convoy.strikes[d] = (struct convoy_strike){(left + 1 + d) % 4, deaths[(left + d) % 3], CONVOY_ANY_KIND,
                                                       5 + 9 * d};
        voyage_sail(voyage_named(left % 2 == 0 ? "list" : "centres"), &convoy);
    }
}

/* ---- between jobs ------------------------------------------------------------------------------------------------ */

enum { JOBS = 3 };

/* Some ranks know that a job is committed, and are in the next one; the others are told by them. */
static void sail_three_jobs(struct convoy_strike strike)
{
    static const char *const names[JOBS] = {"list", "centres", "count by value"};
    struct convoy convoy = {.ranks = RANKS, .strikes = {strike}};
    voyages_sail_in_a_row(names, JOBS, &convoy);
}

static void a_rank_dies_between_jobs(void **state)
{
    for (uint32_t nth = 1; nth <= JOBS * (RANKS - 1); nth++)
        for (size_t d = 0; d < 2; d++)
            sail_three_jobs((struct convoy_strike){0, deaths[d], MR__SAY_COMMITTED, nth});
    for (uint32_t rank = 0; rank < RANKS; rank++)
        for (uint32_t nth = 2; nth <= 3; nth++)     /* its first words in the next jobs */
            sail_three_jobs((struct convoy_strike){rank, deaths[nth % 3], 1, nth});
}

static _Atomic bool came;

static mr_status fail_on_one(struct ship *ship, const mr_block *block)
{
    if (ship->rank == 1)
        atomic_store(&came, true);
    while (!atomic_load(&came))
        usleep(200);
    return ship->rank == 1 ? MR_BAD_INPUT : MR_OK;
}

/* One of the others knows, and passes it on when it ends. */
static void a_rank_fails_and_dies_while_it_says_so(void **state)
{
    for (uint32_t nth = 1; nth < RANKS; nth++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .on_map = fail_on_one};
        convoy.strikes[0] = (struct convoy_strike){1, CONVOY_CRASH, MR__SAY_FAILED, nth};
        atomic_store(&came, false);
        voyage_load(voyage_named("list"), &convoy, &job, output);
        convoy_sail(&convoy);
        const mr_status wanted = nth == 1 ? MR_OK : MR_BAD_INPUT;
        for (uint32_t r = 0; r < RANKS; r += 2) {
            assert_int_equal(convoy.ships[r].status, wanted);
            assert_true(nth == 1 || strstr(convoy.ships[r].error, "rank 1 on ") != NULL);
        }
        if (nth == 1)           /* nobody heard of the failure: the job goes on without that rank */
            fixture_remove(output);
        fixture_assert_empty(place);
        convoy_scrap(&convoy);
    }
}

/* ---- a rank stands still and wakes up ---------------------------------------------------------------------------- */

static _Atomic uint32_t still;
static _Atomic bool began;      /* rank 1, to map */
static bool asks_again;         /* it is struck when it asks for more */

static mr_status wait_in_map(struct ship *ship, const mr_block *block)
{
    if (ship->rank == 1)
        atomic_store(&began, true);
    /* the others leave it some input */
    while (ship->rank != 1 && !(asks_again ? atomic_load(&ship->convoy->ships[1].struck) : atomic_load(&began)))
        usleep(200);
    if (ship->rank == 1 && atomic_load(&ship->struck) && atomic_exchange(&still, 1) == 0)
        convoy_wait_for_others(ship);
    return MR_OK;
}

static mr_status wait_in_reduce(struct ship *ship, mr_slice key)
{
    if (ship->rank == 1 && atomic_load(&ship->struck) && atomic_exchange(&still, 1) == 0)
        convoy_wait_for_others(ship);
    return MR_OK;
}

/* Its workers go on with what they were at when the others have long finished. */
static void who_wakes_up_changes_nothing(void **state)
{
    static const struct { int kind; uint32_t nth; } when[] = {{MR__SAY_ASK, 2}, {MR__MAIL_END, 1}, {MR__SAY_IDLE, 1},
                                                              {MR__SAY_DONE, 1}};
    for (size_t w = 0; w < MR__COUNT(when); w++) {
        struct convoy convoy = {.ranks = RANKS, .on_map = wait_in_map, .on_reduce = wait_in_reduce};
        atomic_store(&still, 0);
        atomic_store(&began, false);
        asks_again = when[w].kind == MR__SAY_ASK;
        convoy.strikes[0] = (struct convoy_strike){1, CONVOY_FREEZE, when[w].kind, when[w].nth};
        voyage_sail(voyage_named("list"), &convoy);
        assert_int_equal(convoy.ships[1].status, MR_NETWORK_FAILED);
        assert_non_null(strstr(convoy.ships[1].error, "rank 1"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_dies_at_any_message),
        cmocka_unit_test(a_rank_dies_at_any_turn),
        cmocka_unit_test(the_last_work_may_wait),
        cmocka_unit_test(several_die_by_chance),
        cmocka_unit_test(all_but_one_die),
        cmocka_unit_test(a_rank_dies_between_jobs),
        cmocka_unit_test(a_rank_fails_and_dies_while_it_says_so),
        cmocka_unit_test(who_wakes_up_changes_nothing),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
