/* test_joint_failures.c: one rank fails, or does another job than the others: every rank ends, with the same status and
 * the sentence of the one that failed, and nothing looks like a result.
 * Oracle: what the test did to that rank.
 * --wrap=mr__joint_spares_init: a rank gets no memory for its part in the job.
 *
 * MILLRACE_JOINT_FAULTS=1 fails every allocation of a job in turn, 7 (for example) every seventh. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convoy_cargo.h"
#include "fault.h"
#include "job_fixture.h"
#include "joint_parts.h"

enum { RANKS = 3, BAD = 1 };

static const char *const place = voyages_place, *const output = voyages_output;

static void prepare(const struct voyage *voyage, struct convoy *convoy, mr_job *job)
{
    voyage_load(voyage, convoy, job, output);
}

/* Every rank ended with `status` and a sentence that has `words`; all but `who` name its rank and host. */
static void assert_all_failed(const struct convoy *convoy, mr_status status, const char *words, uint32_t who)
{
    char host[64] = "", name[100];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "rank %u on %s", who, host);
    for (uint32_t r = 0; r < convoy->ranks; r++) {
        const struct ship *ship = &convoy->ships[r];
        if (ship->status != status || strstr(ship->error, words) == NULL ||
            (r != who && strstr(ship->error, name) == NULL))
            fail_msg("rank %u ended with %d: %s; wanted: %d, %s, %s", r, (int)ship->status, ship->error, (int)status,
                     words, name);
    }
    fixture_assert_empty(place);
}

/* ---- ranks that do not do the same job --------------------------------------------------------------------------- */

static void do_another_app(struct ship *ship, mr_job *job)
{
    if (ship->rank == BAD)
        job->app = &mr_app_convoy_list;
}

static void take_other_parameters(struct ship *ship, mr_job *job)
{
    static const char *const other = "limit=7";
    if (ship->rank == BAD) {
        job->params = &other;
        job->param_count = 1;
    }
}

static void write_elsewhere(struct ship *ship, mr_job *job)
{
    static char other[4400];
    if (ship->rank != BAD)
        return;
    snprintf(other, sizeof other, "%s-2", output);
    job->output = other;
}

static void ranks_that_do_another_job_are_told(void **state)
{
    static const struct {
        void (*alter)(struct ship *ship, mr_job *job);
        const char *words;
    } cases[] = {{do_another_app, "runs app convoy_count"}, {take_other_parameters, "different parameters or outputs"},
                 {write_elsewhere, "different parameters or outputs"}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .alter = cases[c].alter};
        prepare(voyage_named("count"), &convoy, &job);
        convoy_sail(&convoy);
        assert_all_failed(&convoy, MR_NETWORK_FAILED, cases[c].words, 0);
        for (uint32_t r = 0; r < RANKS; r++)        /* both sides are named */
            assert_non_null(strstr(convoy.ships[r].error, "rank 1 on "));
        convoy_scrap(&convoy);
    }
}

static void run_over(struct ship *ship, const char *const *inputs, size_t count)
{
    mr_job job = ship->convoy->jobs[0];
    mr_dataset *dataset = NULL;
    mr_result *result = NULL;
    mr_status status = mr_dataset_open(ship->session, inputs, count, &dataset);
    job.dataset = dataset;
    if (status == MR_OK)
        status = mr_run(ship->session, &job, &result);
    convoy_note(ship, status);
    mr_result_close(result);
    mr_dataset_close(dataset);
}

/* Rank 1 alone sees one file more. */
static void see_more(struct ship *ship)
{
    run_over(ship, ship->convoy->inputs, ship->rank == BAD ? 2 : 1);
}

/* Rank 1 alone finds the same files in another order, as when one is renamed while ranks start. */
static void see_another_order(struct ship *ship)
{
    const char *const *inputs = ship->convoy->inputs;
    const char *const swapped[] = {inputs[1], inputs[0]};
    run_over(ship, ship->rank == BAD ? swapped : inputs, 2);
}

static void ranks_that_see_other_inputs_are_told(void **state)
{
    static const struct {
        void (*depart)(struct ship *ship);
        const char *words;
    } cases[] = {{see_more, "sees 2 files of 200001 bytes"},
                 {see_another_order, "2 files of 200001 bytes each, but of different names or sizes"}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .depart = cases[c].depart};
        prepare(voyage_named("files"), &convoy, &job);
        convoy_sail(&convoy);
        assert_all_failed(&convoy, MR_BAD_INPUT, cases[c].words, 0);
        convoy_scrap(&convoy);
    }
}

/* ---- ranks whose plans read different bytes ---------------------------------------------------------------------- */

static char side_file[2][4300];

static mr_status read_side_file(struct ship *ship, mr_plan *plan)
{
    mr_slice content;
    return mr_plan_read_file(plan, side_file[ship->rank == BAD], &content);
}

static mr_status append_side_file(struct ship *ship, mr_plan *plan)
{
    mr_slice content;
    return mr_plan_append_file(plan, side_file[ship->rank == BAD], 8, &content);
}

static mr_status read_other_rows(struct ship *ship, mr_plan *plan)
{
    struct row row;
    return mr_plan_read_rows(plan, ship->rank == BAD, 1, &row);
}

static mr_status read_one_file(struct ship *ship, mr_plan *plan)
{
    mr_slice content;
    return mr_plan_read_file(plan, side_file[0], &content);
}

static void ranks_whose_plans_read_other_bytes_are_told(void **state)
{
    static mr_status (*const reads[])(struct ship *ship, mr_plan *plan) = {read_side_file, append_side_file,
                                                                           read_other_rows, read_one_file};
    for (int f = 0; f < 2; f++) {
        snprintf(side_file[f], sizeof side_file[f], "%s/side-%d", fixture_folder, f);
        FILE *to = fopen(side_file[f], "w");
        assert_non_null(to);
        assert_true(fprintf(to, "pattern %d\n", f) > 0 && fclose(to) == 0);
    }
    for (size_t r = 0; r < MR__COUNT(reads); r++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .on_plan = reads[r]};
        prepare(voyage_named("count"), &convoy, &job);
        convoy_sail(&convoy);
        if (reads[r] != read_one_file) {
            assert_all_failed(&convoy, MR_BAD_INPUT, "read different bytes in the plan of app convoy_count", 0);
        } else {
            convoy_assert_arrived(&convoy);
            fixture_remove(output);
        }
        convoy_scrap(&convoy);
    }
    for (int f = 0; f < 2; f++)
        unlink(side_file[f]);
}

/* ---- a rank that fails ------------------------------------------------------------------------------------------- */

static _Atomic bool came;

/* The others wait until the bad one has something to map. */
static bool is_bad(const struct ship *ship)
{
    if (ship->rank == BAD)
        atomic_store(&came, true);
    while (!atomic_load(&came))
        usleep(200);
    return ship->rank == BAD;
}

static mr_status fail_in_map(struct ship *ship, const mr_block *block)
{
    return is_bad(ship) ? MR_BAD_INPUT : MR_OK;
}

static mr_status fail_late_in_map(struct ship *ship, const mr_block *block)
{
    return ship->rank == BAD && block->first_row > 9000 ? MR_BAD_INPUT : MR_OK;
}

static mr_status fail_in_reduce(struct ship *ship, mr_slice key)
{
    return ship->rank == BAD ? MR_BAD_INPUT : MR_OK;
}

static void an_app_that_fails_on_one_rank_fails_on_all(void **state)
{
    static const struct {
        const char *voyage;
        mr_status (*on_map)(struct ship *ship, const mr_block *block);
        mr_status (*on_reduce)(struct ship *ship, mr_slice key);
    } cases[] = {{"count", fail_in_map, NULL}, {"centres", fail_in_map, NULL}, {"list", NULL, fail_in_reduce}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .on_map = cases[c].on_map, .on_reduce = cases[c].on_reduce};
        atomic_store(&came, false);
        prepare(voyage_named(cases[c].voyage), &convoy, &job);
        convoy_sail(&convoy);
        assert_all_failed(&convoy, MR_BAD_INPUT, cases[c].on_map != NULL ? "map" : "reduce", BAD);
        convoy_scrap(&convoy);
    }
}

/* Whoever maps the last rows fails; if that is not rank 1, the job is right. */
static void an_app_that_fails_late_leaves_nothing(void **state)
{
    for (int i = 0; i < 5; i++) {
        mr_job job;
        struct convoy convoy = {.ranks = RANKS, .on_map = fail_late_in_map};
        prepare(voyage_named("count"), &convoy, &job);
        convoy_sail(&convoy);
        if (convoy.ships[BAD].status != MR_OK) {
            assert_all_failed(&convoy, MR_BAD_INPUT, "map", BAD);
        } else {
            convoy_assert_arrived(&convoy);
            fixture_remove(output);
        }
        convoy_scrap(&convoy);
    }
}

static mr_status cancel_in_map(struct ship *ship, const mr_block *block)
{
    if (is_bad(ship))
        mr_session_cancel(ship->session);
    return MR_OK;
}

static void a_job_that_is_cancelled_on_one_rank_is_on_all(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS, .on_map = cancel_in_map};
    atomic_store(&came, false);
    prepare(voyage_named("list"), &convoy, &job);
    convoy_sail(&convoy);
    assert_all_failed(&convoy, MR_CANCELLED, "cancelled", BAD);
    convoy_scrap(&convoy);
}

/* Rank 1 finds no input, and ends without having come to the job. */
static void find_nothing(struct ship *ship)
{
    static const char *const missing = "/nowhere/at/all";
    mr_dataset *dataset;
    if (ship->rank != BAD)
        convoy_run(ship, ship->convoy->jobs);
    else
        convoy_note(ship, mr_dataset_open(ship->session, &missing, 1, &dataset));
}

static void a_rank_that_never_comes_says_why(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS, .depart = find_nothing};
    prepare(voyage_named("count"), &convoy, &job);
    convoy_sail(&convoy);
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(convoy.ships[r].status, MR_BAD_INPUT);
        assert_non_null(strstr(convoy.ships[r].error, "/nowhere/at/all"));
    }
    assert_non_null(strstr(convoy.ships[0].error, "rank 1 on "));
    fixture_assert_empty(place);
    convoy_scrap(&convoy);
}

/* It ends well, and the others do the job without it. */
static void do_nothing(struct ship *ship)
{
    if (ship->rank != BAD)
        convoy_run(ship, ship->convoy->jobs);
}

static void a_rank_that_leaves_before_the_job_is_not_missed(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS, .depart = do_nothing};
    prepare(voyage_named("count"), &convoy, &job);
    convoy_sail(&convoy);
    assert_int_equal(convoy.ships[0].status, MR_OK);
    assert_int_equal(convoy.ships[2].status, MR_OK);
    char *got = voyage_output(output);
    voyage_assert(voyage_named("count"), got);
    free(got);
    fixture_remove(output);
    fixture_assert_empty(place);
    convoy_scrap(&convoy);
}

/* ---- what the machine refuses ------------------------------------------------------------------------------------ */

static pthread_barrier_t start;
static enum mr__fault_point point;
static uint32_t nth;

/* Armed when all ranks have joined: before, nobody knows of the others. */
static void run_with_a_fault(struct ship *ship)
{
    pthread_barrier_wait(&start);
    if (ship->rank == 0)
        mr__fault_arm(point, nth);
    pthread_barrier_wait(&start);
    convoy_run(ship, ship->convoy->jobs);
}

/* false: the job has no nth such call. */
static bool survive_a_fault(const struct voyage *voyage)
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS, .depart = run_with_a_fault, .unchecked = true};    /* checks allocate */
    prepare(voyage, &convoy, &job);
    pthread_barrier_init(&start, NULL, RANKS);
    convoy_sail(&convoy);
    pthread_barrier_destroy(&start);
    const bool fired = mr__fault_fired();
    mr__fault_disarm();
    for (uint32_t r = 0; r < RANKS; r++)
        if (convoy.ships[r].status != convoy.ships[0].status ||
            (convoy.ships[r].status != MR_OK && convoy.ships[r].error[0] == '\0'))
            fail_msg("%s, fault %d:%u: rank 0 ended with %d: %s; rank %u with %d: %s", voyage->name, (int)point, nth,
                     (int)convoy.ships[0].status, convoy.ships[0].error, r, (int)convoy.ships[r].status,
                     convoy.ships[r].error);
    if (convoy.ships[0].status == MR_OK) {
        char *got = voyage_output(output);
        voyage_assert(voyage, got);
        free(got);
        fixture_remove(output);
    } else {
        assert_true(fired);
    }
    fixture_assert_empty(place);
    convoy_scrap(&convoy);
    return fired;
}

static void fail_every(const char *name, enum mr__fault_point which, uint32_t step)
{
    const struct voyage *voyage = voyage_named(name);
    point = which;
    nth = 1;
    while (survive_a_fault(voyage))
        nth += step;
}

static bool no_memory;

mr_status __real_mr__joint_spares_init(mr__joint *joint, mr__error *error);

mr_status __wrap_mr__joint_spares_init(mr__joint *joint, mr__error *error)
{
    if (no_memory && joint->rank == BAD)
        return mr__fail(error, MR_NO_MEMORY, "no memory, as the test wants it");
    return __real_mr__joint_spares_init(joint, error);
}

static void a_rank_without_memory_to_begin_says_so(void **state)
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS};
    prepare(voyage_named("count"), &convoy, &job);
    no_memory = true;
    convoy_sail(&convoy);
    no_memory = false;
    assert_all_failed(&convoy, MR_NO_MEMORY, "no memory, as the test wants it", BAD);
    convoy_scrap(&convoy);
}

static void every_allocation_may_fail(void **state)
{
    static const char *const names[] = {"list", "count", "centres", "count by value"};
    const char *text = getenv("MILLRACE_JOINT_FAULTS");
    const uint32_t step = text != NULL && atoi(text) > 0 ? (uint32_t)atoi(text) : 83;
    for (size_t n = 0; n < MR__COUNT(names); n++)
        fail_every(names[n], MR__FAULT_ALLOC, step);
}

static void every_call_to_the_file_system_may_fail(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_PAGES, MR__FAULT_OPEN, MR__FAULT_READ, MR__FAULT_WRITE,
                                                  MR__FAULT_MAP, MR__FAULT_RENAME, MR__FAULT_MKDIR, MR__FAULT_STAT,
                                                  MR__FAULT_CLOSE};
    const char *text = getenv("MILLRACE_JOINT_FAULTS");
    for (size_t p = 0; p < MR__COUNT(points); p++)
        fail_every(p % 2 == 0 ? "count by value" : "list", points[p], text != NULL ? 1 : 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_that_do_another_job_are_told),
        cmocka_unit_test(ranks_that_see_other_inputs_are_told),
        cmocka_unit_test(ranks_whose_plans_read_other_bytes_are_told),
        cmocka_unit_test(an_app_that_fails_on_one_rank_fails_on_all),
        cmocka_unit_test(an_app_that_fails_late_leaves_nothing),
        cmocka_unit_test(a_job_that_is_cancelled_on_one_rank_is_on_all),
        cmocka_unit_test(a_rank_that_never_comes_says_why),
        cmocka_unit_test(a_rank_that_leaves_before_the_job_is_not_missed),
        cmocka_unit_test(a_rank_without_memory_to_begin_says_so),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_call_to_the_file_system_may_fail),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
