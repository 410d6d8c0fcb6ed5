/* test_ledger.c: what is given to whom, and what comes back after a loss.
 * Oracle: works and groups worked out by hand, and arrays that the test paints. Losses at random are in
 * test_ledger_model.c. */
#include "cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "ledger.h"

enum {
    ALL_OF_IT = 1000000,        /* as the smallest work: pieces are given whole */
    PARTS = 32                  /* a work is this part of what is left for one rank, if that is not too small */
};

static mr__ledger *created(uint64_t total, uint32_t partitions, uint32_t ranks, uint64_t smallest)
{
    mr__ledger *ledger = NULL;
    assert_int_equal(mr__ledger_create(total, partitions, ranks, smallest, &ledger, NULL), MR_OK);
    assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
    return ledger;
}

static bool give(mr__ledger *ledger, uint32_t rank, mr__work *work)
{
    mr__error error = {.text = ""};
    bool found = false;
    const mr_status status = mr__ledger_give(ledger, rank, 0, work, &found, &error);
    if (status != MR_OK || mr__ledger_check(ledger, &error) != MR_OK)
        fail_msg("%s", error.text);
    return found;
}

#define assert_given(ledger, rank, ...)                                                                                \
    do {                                                                                                               \
        const mr__work want = {__VA_ARGS__};                                                                           \
        mr__work given;                                                                                                \
        assert_true(give(ledger, rank, &given));                                                                       \
        assert_int_equal(given.begin, want.begin);                                                                     \
        assert_int_equal(given.end, want.end);                                                                         \
        assert_int_equal(given.first, want.first);                                                                     \
        assert_int_equal(given.last, want.last);                                                                       \
    } while (0)

static void assert_nothing_left(mr__ledger *ledger)
{
    mr__work work;
    assert_int_equal(mr__ledger_left(ledger), 0);
    assert_false(give(ledger, 0, &work));
}

static void assert_groups(const mr__ledger *ledger, const mr__group *expected, size_t expected_count)
{
    size_t count;
    const mr__group *groups = mr__ledger_groups(ledger, &count);
    assert_int_equal(count, expected_count);
    for (size_t g = 0; g < count; g++) {
        assert_int_equal(groups[g].first, expected[g].first);
        assert_int_equal(groups[g].last, expected[g].last);
        assert_int_equal(groups[g].owner, expected[g].owner);
        assert_int_equal(groups[g].covered.count, 0);
    }
}

/* ---- give -------------------------------------------------------------------------------------------------------- */

static void home_comes_first_from_its_front_then_what_others_get_last(void **state)
{
    mr__ledger *ledger = created(100, 2, 2, 30);
    assert_int_equal(mr__ledger_left(ledger), 100);
    assert_given(ledger, 0, 0, 30, 0, 2);
    assert_given(ledger, 0, 30, 50, 0, 2);          /* the rest of its home */
    assert_int_equal(mr__ledger_left(ledger), 50);
    assert_given(ledger, 0, 70, 100, 0, 2);         /* stolen, from the end */
    assert_given(ledger, 1, 50, 70, 0, 2);
    assert_nothing_left(ledger);
    mr__ledger_destroy(ledger);
}

static void a_thief_takes_where_most_is_left(void **state)
{
    mr__ledger *ledger = created(400, 4, 4, 40);
    assert_given(ledger, 1, 100, 140, 0, 4);
    assert_given(ledger, 3, 300, 340, 0, 4);
    assert_given(ledger, 0, 0, 40, 0, 4);
    assert_given(ledger, 0, 40, 80, 0, 4);
    assert_given(ledger, 0, 80, 100, 0, 4);
    assert_given(ledger, 0, 260, 300, 0, 4);        /* rank 2 did nothing yet */
    for (uint32_t i = 0; i < 4; i++) {              /* three homes have 60 left now: each of them once, from its end */
        mr__work work;
        assert_true(give(ledger, 9, &work));        /* a spare, at home nowhere */
        assert_int_equal(work.end - work.begin, i < 3 ? 40 : 20);
        assert_true(i == 3 || work.end == 200 || work.end == 260 || work.end == 400);
    }
    mr__ledger_destroy(ledger);
}

static void works_shrink_towards_the_end_and_not_below_the_smallest(void **state)
{
    enum { RANKS = 5, TOTAL = 1000000, SMALLEST = 100 };
    mr__ledger *ledger = created(TOTAL, 8, RANKS, SMALLEST);
    uint8_t *given = calloc(TOTAL, 1);
    uint64_t done = 0;
    uint32_t works = 0, rests = 0;
    mr__work work;
    assert_non_null(given);
    for (; give(ledger, works * works % RANKS, &work); works++) {
        const uint64_t units = work.end - work.begin, share = (TOTAL - done) / (PARTS * RANKS);
        const uint64_t expected = share > SMALLEST ? share : SMALLEST;
        assert_true(units <= expected);
        rests += units < expected;                  /* what a home has no more of */
        for (uint64_t u = work.begin; u < work.end; u++)
            assert_int_equal(given[u]++, 0);
        done += units;
        assert_int_equal(mr__ledger_left(ledger), TOTAL - done);
    }
    assert_int_equal(done, TOTAL);
    assert_in_range(works, PARTS * RANKS, PARTS * RANKS * 10);      /* PARTS x RANKS x ln(TOTAL / SMALLEST), about */
    assert_in_range(rests, 0, RANKS);
    free(given);
    mr__ledger_destroy(ledger);
}

static void no_work_is_less_than_a_rank_wants(void **state)
{
    enum { RANKS = 5, TOTAL = 1000000, SMALLEST = 100 };
    static const uint64_t least[] = {0, SMALLEST, 2000, TOTAL, UINT64_MAX};
    uint32_t counts[MR__COUNT(least)];
    for (size_t i = 0; i < MR__COUNT(least); i++) {
        mr__ledger *ledger = created(TOTAL, 8, RANKS, SMALLEST);
        uint64_t done = 0;
        uint32_t works = 0, rests = 0;
        mr__work work;
        bool found;
        for (;; works++) {
            assert_int_equal(mr__ledger_give(ledger, works % RANKS, least[i], &work, &found, NULL), MR_OK);
            if (!found)
                break;
            const uint64_t units = work.end - work.begin, share = (TOTAL - done) / (PARTS * RANKS);
            const uint64_t most = (TOTAL - done) / (2 * RANKS), worth = least[i] < most ? least[i] : most;
            const uint64_t larger = share > worth ? share : worth, expected = larger > SMALLEST ? larger : SMALLEST;
            assert_true(units <= expected);
            rests += units < expected;
            done += units;
        }
        assert_int_equal(done, TOTAL);
        assert_in_range(rests, 0, RANKS + 1);
        counts[i] = works;
        assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
        mr__ledger_destroy(ledger);
    }
    assert_int_equal(counts[1], counts[0]);
    assert_true(counts[2] < counts[0] / 2 && counts[3] < counts[2] && counts[4] == counts[3]);
}

/* Time passes in the test alone: a rank maps a unit in 1, rank 0 in `slowness`, and all have a second work in hand.
 * They want works that last for `least`. Returns how much longer it took than if nobody had waited for anybody. */
static double time_with_a_slow_rank(uint32_t ranks, uint32_t slowness, uint32_t least)
{
    enum { TOTAL = 1000000, SMALLEST = 50, RANKS_MOST = 64 };
    mr__ledger *ledger = created(TOTAL, ranks, ranks, SMALLEST);
    double free_at[RANKS_MOST] = {0}, end = 0;
    uint64_t in_hand[RANKS_MOST] = {0};
    for (uint32_t working = ranks; working > 0;) {
        uint32_t next = 0;
        mr__work work;
        bool found = false;
        for (uint32_t r = 1; r < ranks; r++)
            next = free_at[r] < free_at[next] ? r : next;
        assert_int_equal(mr__ledger_give(ledger, next, least / (next == 0 ? slowness : 1), &work, &found, NULL), MR_OK);
        const uint64_t mapped = in_hand[next];
        in_hand[next] = found ? work.end - work.begin : 0;
        free_at[next] += (double)mapped * (next == 0 ? slowness : 1);
        if (mapped == 0 && !found) {
            end = free_at[next] > end ? free_at[next] : end;
            free_at[next] = HUGE_VAL;
            working--;
        }
    }
    mr__ledger_destroy(ledger);
    return end * (ranks - 1 + 1.0 / slowness) / TOTAL;
}

static void a_slow_rank_costs_no_more_than_its_share(void **state)
{
    static const uint32_t ranks[] = {2, 3, 8, 64}, slow[] = {1, 2, 4, 8};
    for (size_t i = 0; i < MR__COUNT(ranks); i++) {
        for (size_t k = 0; k < MR__COUNT(slow); k++) {
            const double ratio = time_with_a_slow_rank(ranks[i], slow[k], 0);
            if (!(ratio < 1.05))
                fail_msg("%u ranks, one %u times slower: %.3f of the ideal time", ranks[i], slow[k], ratio);
            /* a hundredth of what each rank has to do: so much may one wait for another, and for the work in hand */
            const double coarse = time_with_a_slow_rank(ranks[i], slow[k], 10000 / ranks[i]);
            if (!(coarse < 1.05))
                fail_msg("%u ranks, one %u times slower, works that last: %.3f of the ideal time", ranks[i], slow[k],
                         coarse);
        }
    }
}

static void homes_are_what_later_calls_say(void **state)
{
    enum { TOTAL = 60, RANKS = 4, CALLS = 10 };
    uint32_t random = 1, moved = 0;
    for (uint32_t round = 0; round < 300; round++) {
        mr__ledger *ledger = created(TOTAL, RANKS, RANKS, 1 + round % 20);
        uint32_t home[TOTAL];
        bool given[TOTAL] = {false};
        mr__work work;
        for (uint32_t u = 0; u < TOTAL; u++)
            home[u] = u * RANKS / TOTAL;
        for (uint32_t call = 0; call < CALLS; call++) {
            random = random * 1664525 + 1013904223;         /* Numerical Recipes' generator */
            const uint32_t begin = (random >> 8) % (TOTAL + 1), length = (random >> 20) % (TOTAL + 1 - begin);
            const uint32_t rank = (random >> 16) % (RANKS + 1);
            assert_int_equal(mr__ledger_set_home(ledger, rank, begin, begin + length, NULL), MR_OK);
            assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
            for (uint32_t u = begin; u < begin + length; u++)
                home[u] = rank;
            if (call == CALLS / 2) {                        /* and some is given away before homes move again */
                assert_true(give(ledger, round % RANKS, &work));
                for (uint64_t u = work.begin; u < work.end; u++)
                    given[u] = true;
            }
        }
        for (uint32_t rank = 0; rank <= RANKS; rank++) {
            for (uint32_t u = 0; u < TOTAL; u++) {
                if (home[u] != rank || given[u])
                    continue;
                assert_true(give(ledger, rank, &work));
                assert_int_equal(work.begin, u);
                for (uint64_t w = work.begin; w < work.end; w++) {
                    assert_int_equal(home[w], rank);
                    assert_false(given[w]);
                    given[w] = true;
                }
                moved++;
            }
        }
        assert_nothing_left(ledger);
        mr__ledger_destroy(ledger);
    }
    assert_true(moved > 1000);
}

static void small_jobs_and_wrong_ones(void **state)
{
    mr__ledger *ledger = created(0, 3, 3, 0);
    assert_nothing_left(ledger);
    assert_int_equal(mr__ledger_set_home(ledger, 0, 0, 0, NULL), MR_OK);
    assert_int_equal(mr__ledger_set_home(ledger, 0, 0, 1, NULL), MR_INTERNAL);
    mr__ledger_destroy(ledger);
    ledger = created(2, 7, 5, 0);                   /* fewer units than ranks */
    for (uint32_t i = 0; i < 2; i++) {
        mr__work work;
        assert_true(give(ledger, i, &work));
        assert_int_equal(work.end - work.begin, 1);
    }
    assert_nothing_left(ledger);
    mr__ledger_destroy(ledger);
    ledger = created(UINT64_MAX, 3, 2, 1);          /* no sum overflows */
    assert_true(mr__ledger_left(ledger) == UINT64_MAX);
    assert_given(ledger, 1, UINT64_MAX / 2, UINT64_MAX / 2 + UINT64_MAX / (2 * PARTS), 0, 3);
    mr__ledger_destroy(ledger);
    ledger = NULL;
    mr__error error = {.text = ""};
    assert_int_equal(mr__ledger_create(10, 3, 4, 1, &ledger, &error), MR_INTERNAL);
    assert_string_not_equal(error.text, "");
    assert_int_equal(mr__ledger_create(10, 3, 0, 1, &ledger, NULL), MR_INTERNAL);
    assert_null(ledger);
}

/* ---- rebuild ----------------------------------------------------------------------------------------------------- */

static mr__cover covers(uint64_t begin, uint64_t end)
{
    mr__cover cover = {.count = 0};
    assert_int_equal(mr__cover_add(&cover, begin, end, NULL), MR_OK);
    return cover;
}

/* The picture at the head of ledger_rebuild.c; [0, 10) is given to rank 1, and rank 2 is lost. */
static void what_the_dead_had_is_to_do_where_nobody_covers_it(void **state)
{
    mr__ledger *ledger = created(60, 3, 3, ALL_OF_IT);
    mr__group mine = {.first = 0, .last = 1, .owner = 0, .covered = covers(0, 30)};
    mr__group theirs = {.first = 1, .last = 2, .owner = 1, .covered = covers(0, 10)};
    mr__work work = {0, 10, 0, 3};
    const mr__account accounts[] = {{.rank = 1, .works = &work, .work_count = 1, .groups = &theirs, .group_count = 1},
                                    {.rank = 0, .groups = &mine, .group_count = 1}};
    const mr__group expected[] = {{.first = 0, .last = 1, .owner = 0},
                                  {.first = 1, .last = 2, .owner = 1},
                                  {.first = 2, .last = 3, .owner = 0}};
    assert_int_equal(mr__ledger_rebuild(ledger, accounts, 2, NULL), MR_OK);
    assert_groups(ledger, expected, 3);
    assert_int_equal(mr__ledger_left(ledger), 30 + (20 * 2 + 2) / 3);
    /* whole works first, in three pieces by homes (20, 40); then partial ones */
    assert_given(ledger, 1, 30, 40, 0, 3);
    assert_given(ledger, 1, 40, 60, 0, 3);
    assert_given(ledger, 1, 20, 30, 1, 3);
    assert_given(ledger, 1, 10, 20, 1, 3);
    assert_nothing_left(ledger);
    mr__cover_fini(&mine.covered);
    mr__cover_fini(&theirs.covered);
    mr__ledger_destroy(ledger);
}

/* Rank 3 of 4 is alone. It was given [0, 10) for the partitions 2 .. 5 once: no new group reaches over 2 or 5. */
static void new_groups_end_where_living_works_do(void **state)
{
    mr__ledger *ledger = created(40, 8, 4, ALL_OF_IT);
    mr__group mine = {.first = 6, .last = 8, .owner = 3, .covered = {.count = 0}};
    mr__work work = {0, 10, 2, 5};
    const mr__account account = {.rank = 3, .works = &work, .work_count = 1, .groups = &mine, .group_count = 1};
    const mr__group expected[] = {{.first = 0, .last = 2, .owner = 3}, {.first = 2, .last = 5, .owner = 3},
                                  {.first = 5, .last = 6, .owner = 3}, {.first = 6, .last = 8, .owner = 3}};
    assert_int_equal(mr__ledger_rebuild(ledger, &account, 1, NULL), MR_OK);
    assert_groups(ledger, expected, 4);
    assert_given(ledger, 3, 30, 40, 0, 8);
    assert_given(ledger, 3, 10, 20, 0, 8);          /* stolen from the dead */
    assert_given(ledger, 3, 20, 30, 0, 8);
    assert_given(ledger, 3, 0, 10, 5, 8);
    assert_given(ledger, 3, 0, 10, 0, 2);
    assert_nothing_left(ledger);
    mr__ledger_destroy(ledger);
}

static void the_poorest_get_what_the_dead_owned(void **state)
{
    mr__ledger *ledger = created(10, 20, 3, 1);     /* 0 .. 6, 6 .. 13, 13 .. 20 */
    mr__group zero = {.first = 0, .last = 6, .owner = 0, .covered = {.count = 0}};
    const mr__account accounts[] = {{.rank = 0, .groups = &zero, .group_count = 1}, {.rank = 7}, {.rank = 5}};
    /* 14 are to be divided among ranks that own 6, 0 and 0: two spares get 7 each */
    const mr__group expected[] = {{.first = 0, .last = 6, .owner = 0},
                                  {.first = 6, .last = 13, .owner = 5},
                                  {.first = 13, .last = 20, .owner = 7}};
    assert_int_equal(mr__ledger_rebuild(ledger, accounts, 3, NULL), MR_OK);
    assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
    assert_groups(ledger, expected, 3);
    mr__ledger_destroy(ledger);
}

/* Three places of 21 partitions; 3 .. 5 are spares. */
static void spares_take_vacant_places_and_no_others(void **state)
{
    const mr__group of[] = {{.first = 0, .last = 7, .owner = 0}, {.first = 7, .last = 14, .owner = 1},
                            {.first = 14, .last = 21, .owner = 2}, {.first = 7, .last = 14, .owner = 3}};
    static const struct {
        uint32_t owners, alive;         /* bits: who owns what `of` says; who else is alive, and owns nothing */
        uint32_t gets[3];               /* owners of the three ranges, when it is over; 9: several */
    } cases[] = {
        {0, 0x3f, {0, 1, 2}},           /* a job begins */
        {0, 0x3b, {0, 1, 3}},           /* ... without one of its ranks: of this range nobody owned anything yet */
        {0x7, 0x38, {0, 1, 2}},         /* nobody is lost */
        {0x7, 0x28, {0, 1, 2}},         /* a spare is */
        {0x6, 0x38, {3, 1, 2}}, {0x5, 0x38, {0, 3, 2}}, {0x3, 0x38, {0, 1, 3}},
        {0x3, 0x30, {0, 1, 4}},         /* the first spare, too */
        {0x4, 0x38, {3, 4, 2}}, {0, 0x38, {3, 4, 5}},
        {0xd, 0x30, {0, 3, 2}},         /* one who took a place holds it */
        {0xc, 0x30, {4, 3, 2}}, {0x5, 0x30, {0, 4, 2}},
        {0x1, 0x20, {0, 9, 9}},         /* more losses than spares */
        {0x5, 0, {0, 9, 2}},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__ledger *ledger = created(100, 21, 3, 1);
        mr__account accounts[6];
        mr__group groups[4];
        size_t living = 0, count;
        memcpy(groups, of, sizeof groups);
        for (uint32_t r = 0; r < 6; r++) {
            const bool owns = cases[c].owners >> r & 1;
            if (owns || cases[c].alive >> r & 1)
                accounts[living++] = (mr__account){.rank = r, .groups = owns ? &groups[r] : NULL, .group_count = owns};
        }
        assert_int_equal(mr__ledger_rebuild(ledger, accounts, living, NULL), MR_OK);
        assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
        const mr__group *now = mr__ledger_groups(ledger, &count);
        for (uint32_t p = 0; p < 21; p++) {
            size_t g = 0;
            while (now[g].last <= p)
                g++;
            const uint32_t wanted = cases[c].gets[p / 7];
            if (wanted != 9 && now[g].owner != wanted)
                fail_msg("case %zu: partition %u went to rank %u, not %u", c, p, now[g].owner, wanted);
        }
        mr__ledger_destroy(ledger);
    }
}

/* Ranks 0 and 1 live, of three; each case breaks one thing. */
static void accounts_that_do_not_fit_are_refused(void **state)
{
#define GROUPS {{.last = 2}, {.first = 2, .last = 4, .owner = 1}}, {0, 1}
    static const struct {
        const char *name, *says;
        mr__work works[2][2];               /* of rank 0, of rank 1 */
        mr__group groups[2];
        uint32_t ranks[2];
        uint64_t covered;
    } cases[] = {
        {"the same rank", "rank 1", {{{0}}}, {{.last = 2, .owner = 1}, {.first = 2, .last = 4, .owner = 1}}, {1, 1}, 0},
        {"two owners", "rank 0 and rank 1", {{{0}}}, {{.last = 3}, {.first = 2, .last = 4, .owner = 1}}, {0, 1}, 0},
        {"another's group", "rank 1", {{{0}}}, {{.last = 2}, {.first = 2, .last = 4, .owner = 0}}, {0, 1}, 0},
        {"an empty group", "rank 1", {{{0}}}, {{.last = 2}, {.first = 2, .last = 2, .owner = 1}}, {0, 1}, 0},
        {"a group outside", "rank 1", {{{0}}}, {{.last = 2}, {.first = 5, .last = 7, .owner = 1}}, {0, 1}, 0},
        {"covered outside", "rank 0", {{{0}}}, GROUPS, 61},
        {"a work outside", "rank 0", {{{0, 61, 0, 6}}}, GROUPS, 0},
        {"too many partitions", "rank 0", {{{0, 9, 0, 7}}}, GROUPS, 0},
        {"a reversed work", "rank 0", {{{9, 8, 0, 6}}}, GROUPS, 0},
        {"no partitions", "rank 1", {{{0}}, {{0, 9, 4, 4}}}, GROUPS, 0},
        {"given twice", "rank 0 and rank 1", {{{0, 10, 0, 6}}, {{9, 12, 0, 6}}}, GROUPS, 0},
        {"given twice in part", "rank 1", {{{0, 10, 0, 6}}, {{9, 12, 2, 4}}}, GROUPS, 0},
        {"parts given twice", "rank 1", {{{0, 10, 0, 4}}, {{9, 12, 2, 6}}}, GROUPS, 0},
        {"a work that parts the first group", "rank 0", {{{0, 10, 1, 4}}}, GROUPS, 0},
        {"a work that parts the last group", "rank 0", {{{0, 10, 0, 3}}}, GROUPS, 0},
    };
    const mr__group before[] = {{.first = 0, .last = 2, .owner = 0},
                                {.first = 2, .last = 4, .owner = 1},
                                {.first = 4, .last = 6, .owner = 2}};
    mr__ledger *ledger = created(60, 6, 3, 1);
    mr__error nothing = {.text = ""};
    assert_int_equal(mr__ledger_rebuild(ledger, NULL, 0, &nothing), MR_INTERNAL);
    assert_string_not_equal(nothing.text, "");
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__account accounts[2];
        mr__group groups[2];
        mr__work works[2][2];
        mr__error error = {.text = ""};
        memcpy(groups, cases[c].groups, sizeof groups);
        memcpy(works, cases[c].works, sizeof works);
        if (cases[c].covered > 0)
            groups[0].covered = covers(5, cases[c].covered);
        for (uint32_t i = 0; i < 2; i++)
            accounts[i] = (mr__account){.rank = cases[c].ranks[i], .works = works[i],
                                        .work_count = works[i][0].begin + works[i][0].end > 0, .groups = &groups[i],
                                        .group_count = 1};
        if (mr__ledger_rebuild(ledger, accounts, 2, &error) != MR_INTERNAL || strstr(error.text, cases[c].says) == NULL)
            fail_msg("%s: %s", cases[c].name, error.text);
        assert_int_equal(mr__ledger_check(ledger, NULL), MR_OK);
        assert_int_equal(mr__ledger_left(ledger), 60);
        assert_groups(ledger, before, 3);
        mr__cover_fini(&groups[0].covered);
    }
    mr__ledger_destroy(ledger);
}

/* A thousand ranks and more, a third of the job done; one is lost. The sums are those of a walk over all accounts. */
static void one_of_many_ranks_is_lost(void **state)
{
    enum { RANKS = 1500, EACH = 900, LOST = 700 };
    mr__ledger *ledger = created((uint64_t)RANKS * EACH, RANKS * 2, RANKS, 10);
    mr__account *accounts = calloc(RANKS, sizeof *accounts);
    mr__work *works = calloc(RANKS, sizeof *works);
    mr__group *groups = calloc(RANKS, sizeof *groups);
    size_t count;
    assert_true(accounts != NULL && works != NULL && groups != NULL);
    for (uint32_t r = 0, n = 0; r < RANKS; r++) {
        bool found = false;
        assert_int_equal(mr__ledger_give(ledger, r, 0, &works[r], &found, NULL), MR_OK);
        assert_true(found);
        groups[r] = (mr__group){.first = 2 * r, .last = 2 * r + 2, .owner = r, .covered = {.count = 0}};
        if (r != LOST)
            accounts[n++] = (mr__account){.rank = r, .works = &works[r], .work_count = 1, .groups = &groups[r],
                                          .group_count = 1};
    }
    const uint64_t lost = works[LOST].end - works[LOST].begin, left = mr__ledger_left(ledger);
    assert_true(lost > 20);
    for (uint32_t r = 0; r < RANKS; r++) {          /* half of what was lost had reached all; some had more of it */
        const uint64_t reached = r % 3 == 0 ? lost * 3 / 4 : lost / 2;
        groups[r].covered = covers(works[LOST].begin, works[LOST].begin + reached);
    }
    assert_int_equal(mr__ledger_rebuild(ledger, accounts, RANKS - 1, NULL), MR_OK);
    mr__ledger_groups(ledger, &count);
    assert_int_equal(count, RANKS + 1);             /* two partitions went to two ranks */
    uint64_t points = (left + lost) * RANKS * 2;
    for (uint32_t r = 0; r < RANKS; r++)
        points -= r != LOST ? mr__cover_units(&groups[r].covered) * 2 : 0;
    assert_int_equal(mr__ledger_left(ledger), (points + RANKS * 2 - 1) / (RANKS * 2));
    for (uint32_t r = 0; r < RANKS; r++)
        mr__cover_fini(&groups[r].covered);
    free(groups);
    free(works);
    free(accounts);
    mr__ledger_destroy(ledger);
}

/* ---- allocations that fail --------------------------------------------------------------------------------------- */

/* Two ledgers go the same way, and calls of one fail: what they give must stay equal. */
struct twins {
    mr__ledger *well, *ill;
    const mr__account *accounts;
};

static mr_status move_homes(mr__ledger *ledger, const struct twins *twins, mr__error *error)
{
    return mr__ledger_set_home(ledger, 3, 17, 61, error);
}

static mr_status give_one(mr__ledger *ledger, const struct twins *twins, mr__error *error)
{
    mr__work work;
    bool found;
    return mr__ledger_give(ledger, 1, 0, &work, &found, error);
}

static mr_status rebuild(mr__ledger *ledger, const struct twins *twins, mr__error *error)
{
    return mr__ledger_rebuild(ledger, twins->accounts, 2, error);
}

static uint32_t sweep(struct twins *twins, mr_status (*call)(mr__ledger *, const struct twins *, mr__error *))
{
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        const uint64_t left = mr__ledger_left(twins->ill);
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = call(twins->ill, twins, &error);
        mr__fault_disarm();
        assert_int_equal(mr__ledger_check(twins->ill, NULL), MR_OK);
        if (!mr__fault_fired()) {
            assert_int_equal(status, MR_OK);
            assert_int_equal(call(twins->well, twins, NULL), MR_OK);
            return nth - 1;
        }
        assert_int_equal(status, MR_NO_MEMORY);
        assert_string_not_equal(error.text, "");
        assert_int_equal(mr__ledger_left(twins->ill), left);
    }
}

static void a_call_that_finds_no_memory_leaves_the_ledger_as_before(void **state)
{
    mr__group groups[] = {{.first = 0, .last = 2, .owner = 0, .covered = covers(0, 37)},
                          {.first = 2, .last = 4, .owner = 1, .covered = covers(5, 20)}};
    mr__work works[] = {{20, 30, 0, 8}, {30, 33, 2, 6}};
    const mr__account accounts[] = {{.rank = 0, .works = works, .work_count = 2, .groups = groups, .group_count = 1},
                                    {.rank = 1, .groups = &groups[1], .group_count = 1}};
    struct twins twins = {.accounts = accounts};
    uint32_t failed = 0;
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        twins.ill = (mr__ledger *)state;
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__ledger_create(100, 8, 4, 3, &twins.ill, &error);
        mr__fault_disarm();
        if (!mr__fault_fired())
            break;
        assert_int_equal(status, MR_NO_MEMORY);
        assert_ptr_equal(twins.ill, state);
        assert_string_not_equal(error.text, "");
        failed++;
    }
    assert_true(failed >= 4);
    twins.well = created(100, 8, 4, 3);
    assert_true(sweep(&twins, give_one) == 0);
    assert_true(sweep(&twins, move_homes) >= 1);
    assert_true(sweep(&twins, give_one) >= 4);
    assert_true(sweep(&twins, rebuild) >= 10);
    assert_true(sweep(&twins, give_one) == 0);
    mr__work work, same;
    for (uint32_t rank = 0; give(twins.well, rank % 5, &work); rank++) {
        assert_true(give(twins.ill, rank % 5, &same));
        assert_memory_equal(&work, &same, sizeof work);
    }
    assert_nothing_left(twins.ill);
    mr__ledger_destroy(twins.well);
    mr__ledger_destroy(twins.ill);
    mr__cover_fini(&groups[0].covered);
    mr__cover_fini(&groups[1].covered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_comes_first_from_its_front_then_what_others_get_last),
        cmocka_unit_test(a_thief_takes_where_most_is_left),
        cmocka_unit_test(works_shrink_towards_the_end_and_not_below_the_smallest),
        cmocka_unit_test(no_work_is_less_than_a_rank_wants),
        cmocka_unit_test(a_slow_rank_costs_no_more_than_its_share),
        cmocka_unit_test(homes_are_what_later_calls_say),
        cmocka_unit_test(small_jobs_and_wrong_ones),
        cmocka_unit_test(what_the_dead_had_is_to_do_where_nobody_covers_it),
        cmocka_unit_test(new_groups_end_where_living_works_do),
        cmocka_unit_test(the_poorest_get_what_the_dead_owned),
        cmocka_unit_test(spares_take_vacant_places_and_no_others),
        cmocka_unit_test(accounts_that_do_not_fit_are_refused),
        cmocka_unit_test(one_of_many_ranks_is_lost),
        cmocka_unit_test(a_call_that_finds_no_memory_leaves_the_ledger_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
