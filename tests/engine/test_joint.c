/* test_joint.c: jobs that many ranks do together, undisturbed.
 * Oracle: plain loops and qsort() over the same input (convoy_cargo.c).
 * --wrap=mr__tier_remove_tree: who removes what a dead job left. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "job_fixture.h"
#include "joint_parts.h"
#include "voyages.h"

static const char *const output = voyages_output;

static void sail_to_output(const struct voyage *voyage, uint32_t ranks, uint32_t workers)
{
    struct convoy convoy = {.ranks = ranks, .workers = workers};
    voyage_sail(voyage, &convoy);
}

static void every_app_is_right_on_three_ranks(void **state)
{
    for (size_t v = 0; v < VOYAGES; v++)
        sail_to_output(&voyages[v], 3, 2);
}

static _Atomic uint64_t saved;      /* bytes, by packing, of the rank that saved the most */

static mr_status note_saved(struct ship *ship, mr_slice key)
{
    mr__ranks *ranks = atomic_load(&ship->ranks);
    const uint64_t now = mr__outbox_saved(mr__ranks_joint(ranks)->outbox);
    if (now > atomic_load(&saved))
        atomic_store(&saved, now);
    return MR_OK;
}

static void packed_pairs_come_to_the_same(void **state)
{
    static const char *const names[] = {"words", "list", "order"};
    setenv("MILLRACE_LZ4", "1", 1);
    for (size_t n = 0; n < MR__COUNT(names); n++)
        sail_to_output(voyage_named(names[n]), 3, 2);
    mr_job job;
    struct convoy convoy = {.ranks = 3, .on_reduce = note_saved};
    voyage_load(voyage_named("list"), &convoy, &job, output);
    convoy_sail(&convoy);
    convoy_assert_arrived(&convoy);
    fixture_remove(output);
    convoy_scrap(&convoy);
    unsetenv("MILLRACE_LZ4");
    assert_true(atomic_load(&saved) > 1000);
}

static void any_number_of_ranks_is_right(void **state)
{
    static const char *const names[] = {"count", "list", "order", "centres", "count by value", "words"};
    static const uint32_t ranks[] = {1, 2, 5, 8};
    for (size_t r = 0; r < MR__COUNT(ranks); r++)
        for (size_t n = 0; n < MR__COUNT(names); n++)
            sail_to_output(voyage_named(names[n]), ranks[r], 1);
}

static void results_in_memory_are_shared_among_the_ranks(void **state)
{
    static const char *const names[] = {"count", "list", "suffix", "range", "dense"};
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        const struct voyage *voyage = voyage_named(names[n]);
        const bool dense = strcmp(names[n], "dense") == 0;
        mr_job job;
        struct convoy convoy = {.ranks = 3};
        voyage_load(voyage, &convoy, &job, NULL);
        convoy_sail(&convoy);
        convoy_assert_arrived(&convoy);
        for (uint32_t r = 0; r < 3 && dense; r++)       /* each rank has all of it */
            voyage_assert(voyage, convoy.ships[r].text);
        if (!dense) {
            char *got = convoy_results(&convoy);
            voyage_assert(voyage, got);
            free(got);
        }
        convoy_scrap(&convoy);
    }
}

static void a_session_does_many_jobs(void **state)
{
    static const char *const names[] = {"count", "centres", "order", "count by value"};
    struct convoy convoy = {.ranks = 3};
    voyages_sail_in_a_row(names, MR__COUNT(names), &convoy);
}

static void all_ranks_together_give_the_numbers_of_the_job(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = 3};
    voyage_load(voyage_named("list"), &convoy, &job, output);
    convoy_sail(&convoy);
    convoy_assert_arrived(&convoy);
    for (uint32_t r = 0; r < 3; r++) {
        const mr_stats *stats = &convoy.ships[r].stats;
        assert_int_equal(stats->pairs, 9600);
        assert_int_equal(stats->keys, 700);
        assert_int_equal(stats->ranks, 3);
        assert_int_equal(stats->ranks_lost, 0);
    }
    fixture_remove(output);
    convoy_scrap(&convoy);
}

static struct ship *sweeper;            /* NULL: nobody, or the thread of a courier */
static uint32_t sweeps;

int __real_mr__tier_remove_tree(mr__tier *tier, const char *path);

int __wrap_mr__tier_remove_tree(mr__tier *tier, const char *path)
{
    if (strstr(path, "/.leaving.millrace-") != NULL) {
        sweeper = convoy_self();
        sweeps++;
    }
    return __real_mr__tier_remove_tree(tier, path);
}

/* There may be thousands of files in it, and a courier that sends nothing is taken for lost. */
static void what_a_dead_job_left_is_removed_on_the_jobs_own_thread(void **state)
{
    char result[4400], path[4500];
    mr_job job;
    struct convoy convoy = {.ranks = 3};
    snprintf(result, sizeof result, "%s/leaving", voyages_place);
    snprintf(path, sizeof path, "%s/.leaving.millrace-1-0123456789abcdef", voyages_place);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/attempts");
    assert_int_equal(mkdir(path, 0777), 0);
    voyage_load(voyage_named("count"), &convoy, &job, result);
    convoy_sail(&convoy);
    convoy_assert_arrived(&convoy);
    assert_int_equal(sweeps, 1);
    assert_ptr_equal(sweeper, &convoy.ships[0]);
    fixture_remove(result);
    fixture_assert_empty(voyages_place);
    convoy_scrap(&convoy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_app_is_right_on_three_ranks),
        cmocka_unit_test(packed_pairs_come_to_the_same),
        cmocka_unit_test(any_number_of_ranks_is_right),
        cmocka_unit_test(results_in_memory_are_shared_among_the_ranks),
        cmocka_unit_test(a_session_does_many_jobs),
        cmocka_unit_test(all_ranks_together_give_the_numbers_of_the_job),
        cmocka_unit_test(what_a_dead_job_left_is_removed_on_the_jobs_own_thread),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
