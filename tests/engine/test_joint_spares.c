/* test_joint_spares.c: ranks that stand by, and take the place of one that is lost.
 * Oracle: as test_joint.c. What a rank did is told by what it said (convoy.h), and by its maps and reduces.
 *
 * MILLRACE_JOINT_STEP, MILLRACE_JOINT_SEEDS, MILLRACE_JOINT_SEED: as test_joint_losses.c. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "job_fixture.h"
#include "voyages.h"

enum { WORKING = 3, DEATHS_EACH = 2, SEEDS = 24 };

static const char *const place = voyages_place, *const output = voyages_output;

/* Said nothing that goes with work; of rank 0, which says most of it to itself, nobody can tell. */
static bool is_quiet(const struct ship *ship)
{
    return ship->sent_of[MR__SAY_ASK] == 0 && ship->sent_of[MR__SAY_TABLE] == 0 &&
           ship->sent_of[MR__MAIL_CHUNK] == 0 && ship->sent_of[MR__MAIL_END] == 0;
}

static void assert_spares(const struct convoy *convoy, uint32_t rank, uint32_t used)
{
    const mr_stats *stats = &convoy->ships[rank].stats;
    assert_int_equal(stats->ranks, convoy->ranks);
    assert_int_equal(stats->spares, convoy->spares);
    assert_int_equal(stats->spares_used, used);
}

/* ---- nobody is lost ---------------------------------------------------------------------------------------------- */

static _Atomic uint32_t reduced_by[CONVOY_MOST];

static mr_status note_reduce(struct ship *ship, mr_slice key)
{
    atomic_fetch_add(&reduced_by[ship->rank], 1);
    return MR_OK;
}

static void a_spare_does_nothing_unless_somebody_is_lost(void **state)
{
    memset(reduced_by, 0, sizeof reduced_by);
    for (size_t v = 0; v < VOYAGES; v++) {
        const uint32_t spares = 1 + v % 3;
        struct convoy convoy = {.ranks = WORKING + spares, .spares = spares, .workers = 2, .on_reduce = note_reduce};
        voyage_sail(&voyages[v], &convoy);
        for (uint32_t r = 0; r < convoy.ranks; r++) {
            assert_true(r == 0 || is_quiet(&convoy.ships[r]) == (r >= WORKING));
            assert_spares(&convoy, r, 0);
        }
    }
    assert_true(atomic_load(&reduced_by[0]) > 0);
    for (uint32_t r = WORKING; r < CONVOY_MOST; r++)
        assert_int_equal(atomic_load(&reduced_by[r]), 0);
}

/* Programs go on with what a job left in memory, on every rank alike. */
static void dense_results_in_memory_are_on_spares_too(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = WORKING + 2, .spares = 2};
    voyage_load(voyage_named("dense"), &convoy, &job, NULL);
    convoy_sail(&convoy);
    convoy_assert_arrived(&convoy);
    for (uint32_t r = 0; r < convoy.ranks; r++)
        voyage_assert(voyage_named("dense"), convoy.ships[r].text);
    convoy_scrap(&convoy);
}

static void results_in_memory_are_with_those_who_have_a_place(void **state)
{
    static const char *const names[] = {"count", "list", "suffix", "range"};
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        mr_job job;
        struct convoy convoy = {.ranks = WORKING + 1, .spares = 1};
        voyage_load(voyage_named(names[n]), &convoy, &job, NULL);
        convoy_sail(&convoy);
        convoy_assert_arrived(&convoy);
        assert_int_equal(convoy.ships[WORKING].text_size, 0);
        char *got = convoy_results(&convoy);
        voyage_assert(voyage_named(names[n]), got);
        free(got);
        convoy_scrap(&convoy);
    }
}

static void one_rank_works_and_others_stand_by(void **state)
{
    static const char *const names[] = {"count", "list", "order", "centres", "count by value", "words", "files"};
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        struct convoy convoy = {.ranks = 3, .spares = 2};
        voyage_sail(voyage_named(names[n]), &convoy);
        assert_spares(&convoy, 0, 0);
    }
}

/* ---- one is lost ------------------------------------------------------------------------------------------------- */

static const convoy_death deaths[] = {CONVOY_CRASH, CONVOY_CUT, CONVOY_CRASH, CONVOY_FREEZE, CONVOY_CUT, CONVOY_SILENT};

/* Where it is certain that the others go on without it. */
static void a_spare_takes_the_place_of_a_rank_that_is_lost(void **state)
{
    static const struct { const char *voyage; int kind; } cases[] = {
        {"count", 1},                   /* its first account */
        {"list", MR__SAY_ASK}, {"list", MR__MAIL_CHUNK}, {"list", MR__SAY_IDLE}, {"list", MR__SAY_DONE},
        {"order", MR__MAIL_END}, {"count by value", MR__SAY_DONE}, {"count limited", MR__SAY_IDLE},
        {"centres", MR__SAY_ASK}, {"centres", MR__SAY_IDLE}, {"centres", MR__SAY_TABLE}, {"centres", MR__SAY_DONE},
        {"dense", MR__SAY_TABLE}, {"dense", MR__SAY_DONE},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        const uint32_t victim = 1 + c % (WORKING - 1);
        struct convoy convoy = {.ranks = WORKING + 2, .spares = 2, .on_reduce = note_reduce};
        convoy.strikes[0] = (struct convoy_strike){victim, c % 3 == 0 ? CONVOY_CUT : CONVOY_CRASH, cases[c].kind, 1};
        memset(reduced_by, 0, sizeof reduced_by);
        voyage_sail(voyage_named(cases[c].voyage), &convoy);
        const bool struck = atomic_load(&convoy.ships[victim].struck);
        assert_spares(&convoy, 0, struck);
        assert_int_equal(convoy.ships[0].stats.ranks_lost, struck);
        if (cases[c].kind == MR__MAIL_CHUNK || cases[c].kind == MR__MAIL_END) {
            if (!struck)                /* the others were so fast that it had nothing to send */
                continue;
        }
        assert_true(struck);
        /* after the last DONE of dense keys nothing is left to map */
        const bool works = !voyage_named(cases[c].voyage)->app->app->round || cases[c].kind != MR__SAY_DONE;
        if (works && strcmp(cases[c].voyage, "dense") != 0)
            assert_true(convoy.ships[WORKING].sent_of[MR__SAY_ASK] > 0);
        assert_true(is_quiet(&convoy.ships[WORKING + 1]));
        assert_int_equal(atomic_load(&reduced_by[WORKING + 1]), 0);
        if (strcmp(cases[c].voyage, "list") == 0)
            assert_true(atomic_load(&reduced_by[WORKING]) > 0);
    }
}

/* victims: ranks [first, last). */
static void die_at_every_message(const char *name, uint32_t working, uint32_t spares, uint32_t first, uint32_t last)
{
    const struct voyage *voyage = voyage_named(name);
    struct convoy calm = {.ranks = working + spares, .spares = spares};
    uint32_t turn = 0;
    voyage_sail(voyage, &calm);
    for (uint32_t rank = first; rank < last; rank++) {
        const uint32_t messages = calm.ships[rank].sent;
        const uint32_t step = voyages_setting("MILLRACE_JOINT_STEP", messages / DEATHS_EACH + 1);
        for (uint32_t nth = 1 + turn % step; nth <= messages; nth += step, turn++) {
            struct convoy convoy = {.ranks = working + spares, .spares = spares};
            convoy.strikes[0] = (struct convoy_strike){rank, deaths[turn % MR__COUNT(deaths)], CONVOY_ANY_KIND, nth};
            voyage_sail(voyage, &convoy);
            const uint32_t used = convoy.ships[rank == 0 ? 1 : 0].stats.spares_used;
            assert_true(used <= (rank < working ? 1 : 0));
        }
    }
}

static const char *const many[] = {"count", "list", "suffix", "order", "dense", "centres", "count by value",
                                   "count limited", "count by key"};

static void a_rank_dies_at_any_message(void **state)
{
    for (size_t n = 0; n < MR__COUNT(many); n++)
        die_at_every_message(many[n], WORKING, 1, 0, WORKING);
}

static void the_only_one_that_works_dies_at_any_message(void **state)
{
    for (size_t n = 0; n < MR__COUNT(many); n++)
        die_at_every_message(many[n], 1, 1, 0, 1);
}

static void a_spare_dies_at_any_message(void **state)
{
    for (size_t n = 0; n < MR__COUNT(many); n++)
        die_at_every_message(many[n], 2, 1, 2, 3);
}

/* The first and the last message of every kind. */
static void a_rank_dies_at_any_turn(void **state)
{
    static const char *const names[] = {"list", "centres"};
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        const struct voyage *voyage = voyage_named(names[n]);
        struct convoy calm = {.ranks = 3, .spares = 1};
        voyage_sail(voyage, &calm);
        for (uint32_t rank = 0; rank < 3; rank++) {
            for (int kind = 0; kind < MR__KIND_OWN; kind++) {
                const uint32_t last = calm.ships[rank].sent_of[kind];
                for (uint32_t nth = 1; nth <= last; nth = nth < last ? last : last + 1) {
                    struct convoy convoy = {.ranks = 3, .spares = 1};
                    convoy.strikes[0] = (struct convoy_strike){rank, deaths[(unsigned)(kind + rank) % 3], kind, nth};
                    voyage_sail(voyage, &convoy);
                }
            }
        }
    }
}

/* ---- many are lost ----------------------------------------------------------------------------------------------- */

/* Of two that work and two spares one is left. */
static void places_are_filled_until_no_spare_is_left(void **state)
{
    for (size_t n = 0; n < MR__COUNT(many); n++) {
        for (uint32_t left = 0; left < 4; left++) {
            struct convoy convoy = {.ranks = 4, .spares = 2};
            for (uint32_t d = 0; d < 3; d++)
                convoy.strikes[d] = (struct convoy_strike){(left + 1 + d) % 4, deaths[(left + d + n) % 3],
                                                           CONVOY_ANY_KIND, 4 + 7 * d + (uint32_t)n};
            voyage_sail(voyage_named(many[n]), &convoy);
        }
    }
}

static void sail_by_chance(unsigned seed)
{
    unsigned state = seed;
    const struct voyage *voyage = voyage_named(many[seed % MR__COUNT(many)]);
    const uint32_t working = 1 + (uint32_t)rand_r(&state) % 3, spares = 1 + (uint32_t)rand_r(&state) % 3;
    const uint32_t ranks = working + spares, dying = 1 + (uint32_t)rand_r(&state) % CONVOY_DEATHS;
    struct convoy convoy = {.ranks = ranks, .spares = spares, .workers = 1 + seed % 2};
    const uint32_t first = (uint32_t)rand_r(&state) % ranks;
    for (uint32_t d = 0; d < dying && d + 1 < ranks; d++)
        convoy.strikes[d] = (struct convoy_strike){(first + d) % ranks, deaths[(unsigned)rand_r(&state) % 4],
                                                   CONVOY_ANY_KIND, 1 + (uint32_t)rand_r(&state) % 60};
    voyage_sail(voyage, &convoy);
}

static void several_die_by_chance(void **state)
{
    voyages_by_chance(SEEDS, sail_by_chance);
}

/* ---- jobs, one after the other ----------------------------------------------------------------------------------- */

/* Who took a place has it in the next job, too: the lost rank is still missing. */
static void a_place_is_kept_in_later_jobs(void **state)
{
    static const char *const names[] = {"list", "centres", "count by value"};
    struct convoy convoy = {.ranks = 4, .spares = 2};
    convoy.strikes[0] = (struct convoy_strike){1, CONVOY_CRASH, MR__SAY_ASK, 2};
    voyages_sail_in_a_row(names, MR__COUNT(names), &convoy);
    assert_spares(&convoy, 0, 1);       /* of the last one */
    assert_true(is_quiet(&convoy.ships[3]));
}

static void count_differently(struct ship *ship, mr_job *job)
{
    ship->session->spares = ship->rank == 2 ? 2 : 1;
}

static void ranks_that_count_spares_differently_are_told(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = 3, .spares = 1, .alter = count_differently};
    voyage_load(voyage_named("count"), &convoy, &job, output);
    convoy_sail(&convoy);
    for (uint32_t r = 0; r < 3; r++) {
        assert_int_equal(convoy.ships[r].status, MR_NETWORK_FAILED);
        assert_non_null(strstr(convoy.ships[r].error, "was told of 1 spare ranks, rank 2 on "));
    }
    assert_int_equal(fixture_entries(place), 0);
    convoy_scrap(&convoy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spare_does_nothing_unless_somebody_is_lost),
        cmocka_unit_test(dense_results_in_memory_are_on_spares_too),
        cmocka_unit_test(results_in_memory_are_with_those_who_have_a_place),
        cmocka_unit_test(one_rank_works_and_others_stand_by),
        cmocka_unit_test(a_spare_takes_the_place_of_a_rank_that_is_lost),
        cmocka_unit_test(a_rank_dies_at_any_message),
        cmocka_unit_test(the_only_one_that_works_dies_at_any_message),
        cmocka_unit_test(a_spare_dies_at_any_message),
        cmocka_unit_test(a_rank_dies_at_any_turn),
        cmocka_unit_test(places_are_filled_until_no_spare_is_left),
        cmocka_unit_test(several_die_by_chance),
        cmocka_unit_test(a_place_is_kept_in_later_jobs),
        cmocka_unit_test(ranks_that_count_spares_differently_are_told),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
