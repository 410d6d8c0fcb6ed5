/* One output that many ranks write, and ranks that stop or die while they commit it. Oracle: shared_ranks.h.
 *
 * At a chosen call one rank stops, others commit or die, and it goes on; so every interleaving of whole commits with
 * the calls of another one is tried, not only those that chance brings up. */
#include "shared_ranks.h"

/* Rank d commits at depth d: within the call at which rank d-1 was stopped. */
static struct {
    mr__output *ranks[RANKS];
    uint32_t calls[RANKS], stops_at[RANKS], dies_at[RANKS];     /* by depth; 0: never */
    uint32_t depth, count;
    uint32_t committed;         /* how many were told that it was they */
    bool force, dead[RANKS];
    enum found seen;
} play;

static void act(uint32_t rank);

static void observe(void)
{
    const uint32_t depth = play.depth;
    const enum found now = find();
    if (play.seen == NEW)
        assert_int_equal(now, NEW);             /* the old one never comes back, the new one never goes */
    if (play.seen == OLD && ability == EXCHANGES)
        assert_int_not_equal(now, NOTHING);
    if (now != NOTHING)
        play.seen = now;
    play.calls[depth]++;
    if (play.calls[depth] == play.dies_at[depth])
        play.dead[depth] = true;
    if (play.calls[depth] == play.stops_at[depth] && depth + 1 < play.count) {
        play.depth++;
        act(play.depth);
        play.depth--;
    }
}

static bool is_dead_now(void)
{
    return play.dead[play.depth];
}

static void act(uint32_t rank)
{
    mr__error error = {.code = MR_OK};
    bool before = true;
    const mr_status status = commit(play.ranks[rank], rank, RANKS, &before, &error);
    if (play.dead[rank])
        return;
    if (status != MR_OK)
        print_error("ability %d, force %d, rank %u, stops at %u %u, deaths at %u %u: %s\n", ability, play.force, rank,
                    play.stops_at[0], play.stops_at[1], play.dies_at[0], play.dies_at[1], error.text);
    assert_int_equal(status, MR_OK);
    assert_int_equal(find(), NEW);
    play.committed += !before;
}

/* Rank 0 commits; `count` ranks act, as stops_at and dies_at say. Returns how many calls rank 0 made. */
static uint32_t perform(bool force, uint32_t count, const uint32_t *stops_at, const uint32_t *dies_at)
{
    memset(&play, 0, sizeof play);
    play.count = count;
    play.force = force;
    if (force)
        make_old();
    open_ranks(play.ranks, RANKS, force);
    memcpy(play.stops_at, stops_at, count * sizeof *stops_at);
    memcpy(play.dies_at, dies_at, count * sizeof *dies_at);
    play.seen = find();
    step = observe;
    is_dead = is_dead_now;
    act(0);
    const uint32_t calls = play.calls[0];
    bool died = false;
    for (uint32_t r = 0; r < count; r++)
        died |= play.dead[r];
    if (died) {                                 /* a survivor does what is left */
        step = NULL;
        is_dead = NULL;
        assert_int_equal(mr__output_check(play.ranks[RANKS - 1], NULL), MR_OK);
        memset(play.dead, 0, sizeof play.dead);
        act(RANKS - 1);
    }
    step = NULL;
    is_dead = NULL;
    for (uint32_t r = 0; r < RANKS; r++)
        assert_true(mr__output_is_committed(play.ranks[r]));
    assert_true(died ? play.committed <= 1 : play.committed == 1);
    assert_whole(RANKS);
    close_ranks(play.ranks, RANKS);
    remove_target();
    return calls;
}

static void wherever_one_stops_another_commits_and_the_first_goes_on(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                calls = perform(force, 2, (uint32_t[]){at, 0}, (uint32_t[]){0, 0});
}

static void wherever_two_stop_a_third_commits_and_they_go_on(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                for (uint32_t then = 1 + at % 13; then <= 60; then += 13)
                    calls = perform(force, 3, (uint32_t[]){at, then, 0}, (uint32_t[]){0, 0, 0});
}

static void wherever_one_dies_another_finishes(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                calls = perform(force, 1, (uint32_t[]){0}, (uint32_t[]){at});
}

/* The first one stops, the second one takes over and dies, the first one goes on and has to do it. */
static void whoever_is_overtaken_by_one_that_dies_takes_over_again(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at += 2)
                for (uint32_t death = 1 + at % 5; death <= 30; death += 5)
                    calls = perform(force, 2, (uint32_t[]){at, 0}, (uint32_t[]){0, death});
}

static mr__output *rewriter;
static mr__part *half_written;
static uint32_t rewrite_at, rewrite_calls;

static void rewrite(void)
{
    if (++rewrite_calls != rewrite_at)
        return;
    mr__part *part = NULL;
    if (mr__output_part(rewriter, 0, &part, NULL) == MR_OK && mr__part_write(part, "late", 4, NULL) == MR_OK)
        mr__part_close(part, NULL, NULL);
    else
        mr__part_abort(part);
    if (mr__output_part(rewriter, 1, &half_written, NULL) == MR_OK)
        mr__part_write(half_written, "half", 4, NULL);
}

static void what_a_lost_rank_still_writes_is_not_in_the_result(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++) {
        rewrite_calls = rewrite_at = 0;
        do {
            mr__output *ranks[2];
            bool before;
            open_ranks(ranks, 2, false);
            rewriter = ranks[0];
            rewrite_calls = 0;
            rewrite_at++;
            step = rewrite;
            assert_int_equal(commit(ranks[1], 0, 2, &before, NULL), MR_OK);
            step = NULL;
            assert_int_equal(assert_whole(2), 0);
            mr__part_abort(half_written);
            half_written = NULL;
            close_ranks(ranks, 2);
            remove_target();
        } while (rewrite_at <= rewrite_calls);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wherever_one_stops_another_commits_and_the_first_goes_on, start_afresh),
        cmocka_unit_test_setup(wherever_two_stop_a_third_commits_and_they_go_on, start_afresh),
        cmocka_unit_test_setup(wherever_one_dies_another_finishes, start_afresh),
        cmocka_unit_test_setup(whoever_is_overtaken_by_one_that_dies_takes_over_again, start_afresh),
        cmocka_unit_test_setup(what_a_lost_rank_still_writes_is_not_in_the_result, start_afresh),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
