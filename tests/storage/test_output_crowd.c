/* One output that many ranks write, each in a process or a thread of its own: killed at each call of a commit, gone
 * while others stay, or all at once. Oracle: shared_ranks.h. */
#include "shared_ranks.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

/* ---- processes --------------------------------------------------------------------------------------------------- */

static uint32_t kill_at;

static void kill_myself(void)
{
    if (--kill_at == 0)
        kill(getpid(), SIGKILL);
}

/* A child joins and commits, and is killed before its call number `at`. Returns whether it came as far as that. */
static bool commit_and_be_killed(const char *place, bool force, uint32_t at)
{
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mr__output *output = NULL;
        bool before;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (mr__output_join(names, TARGET, force, place, 1, &output, NULL) != MR_OK)
            _exit(1);
        kill_at = at;
        step = kill_myself;
        const mr_status committed = commit(output, 1, 2, &before, NULL);
        step = NULL;
        mr__output_close(output);
        _exit(committed != MR_OK || before);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void wherever_a_process_is_killed_another_finishes(void **state)
{
    for (int force = 0; force < 2; force++) {
        bool killed = true;
        for (uint32_t at = 1; killed; at += 1 + (uint32_t)force) {
            mr__output *ranks[2];
            bool before;
            if (force)
                make_old();
            open_ranks(ranks, 2, force);
            mr__output_close(ranks[1]);
            killed = commit_and_be_killed(mr__output_place(ranks[0]), force, at);
            assert_int_equal(mr__output_check(ranks[0], NULL), MR_OK);
            const bool done = mr__output_is_committed(ranks[0]);
            assert_int_equal(find(), done ? NEW : force ? OLD : NOTHING);
            assert_int_equal(commit(ranks[0], 0, 2, &before, NULL), MR_OK);
            assert_int_equal(before, done);
            assert_whole(2);
            close_ranks(ranks, 1);
            remove_target();
        }
    }
}

static pid_t start_rank(const char *place, int ready)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mr__output *output = NULL;
        prctl(PR_SET_PDEATHSIG, SIGKILL);       /* a test that fails leaves nobody behind */
        const mr_status status = place != NULL
                                     ? mr__output_join(names, TARGET, false, place, 1, &output, NULL)
                                     : mr__output_open_shared(names, TARGET, false, 0, &output, NULL);
        const char *text = status == MR_OK ? mr__output_place(output) : "";
        if (write(ready, text, strlen(text) + 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    return child;
}

static void kill_rank(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_place_stays_while_one_rank_lives_and_goes_with_the_next_sweep(void **state)
{
    int ready[2];
    char place[PATH_MAX], text[PATH_MAX];
    mr__output *joined = NULL, *other = NULL;
    assert_int_equal(pipe(ready), 0);
    const pid_t opener = start_rank(NULL, ready[1]);
    assert_true(read(ready[0], place, sizeof place) > 1);
    const pid_t joiner = start_rank(place, ready[1]);
    assert_true(read(ready[0], text, sizeof text) > 1);
    assert_string_equal(text, place);

    kill_rank(opener);
    assert_int_equal(mr__output_join(names, TARGET, false, place, 2, &joined, NULL), MR_OK);
    assert_int_equal(mr__output_open(names, TARGET, false, &other, NULL), MR_OK);      /* sweeps, but not this one */
    mr__output_close(other);
    assert_int_equal(names_beside(), 1);
    mr__output_close(joined);
    assert_int_equal(names_beside(), 1);
    kill_rank(joiner);
    assert_int_equal(names_beside(), 1);
    assert_int_equal(mr__output_open_shared(names, TARGET, false, 3, &other, NULL), MR_OK);
    assert_int_equal(names_beside(), 2);                        /* it does not sweep: that may take long */
    mr__output_sweep(names, TARGET);
    assert_int_equal(names_beside(), 1);
    assert_int_equal(mr__output_join(names, TARGET, false, place, 2, &joined, NULL), MR_BAD_INPUT);
    mr__output_close(other);
    assert_int_equal(names_beside(), 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static struct race {
    mr__output *ranks[RANKS];
    pthread_barrier_t start;
    bool commits;
    _Atomic uint32_t failures, committed, hidden;
} race;

static _Thread_local uint64_t dice;

static void dawdle(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    if (dice >> 60 == 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)(dice >> 40 & 0x3ffff)}, NULL);
}

static void *run_rank(void *context)
{
    const uint32_t rank = (uint32_t)(uintptr_t)context % RANKS;
    bool before = false;
    dice = (uint64_t)(uintptr_t)context * 977;
    pthread_barrier_wait(&race.start);
    if (race.commits) {
        mr__error error = {.code = MR_OK};
        if (commit(race.ranks[rank], rank, RANKS, &before, &error) != MR_OK) {
            print_error("ability %d, rank %u: %s\n", ability, rank, error.text);
            atomic_fetch_add(&race.failures, 1);
        } else if (!mr__output_is_committed(race.ranks[rank]))
            atomic_fetch_add(&race.hidden, 1);
        else if (!before)
            atomic_fetch_add(&race.committed, 1);
    }
    mr__output_close(race.ranks[rank]);
    return NULL;
}

static void run_race(bool force, bool commits, uint32_t round)
{
    pthread_t threads[RANKS];
    memset(&race, 0, sizeof race);
    race.commits = commits;
    pthread_barrier_init(&race.start, NULL, RANKS);
    if (force)
        make_old();
    open_ranks(race.ranks, RANKS, force);
    step = dawdle;
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_create(&threads[r], NULL, run_rank, (void *)(uintptr_t)(round * RANKS + r)), 0);
    for (uint32_t r = 0; r < RANKS; r++)
        pthread_join(threads[r], NULL);
    step = NULL;
    pthread_barrier_destroy(&race.start);
    assert_int_equal(race.failures, 0);
    assert_int_equal(race.hidden, 0);
    assert_int_equal(race.committed, commits);
    assert_int_equal(names_beside(), 0);
    if (commits)
        assert_whole(RANKS);
    else
        assert_int_equal(find(), force ? OLD : NOTHING);
    remove_target();
}

static void of_ranks_that_commit_at_once_one_does(void **state)
{
    for (uint32_t round = 0; round < 200; round++) {
        ability = round / 2 % ABILITIES;
        run_race(round % 2, true, round);
    }
}

static void of_ranks_that_leave_at_once_one_cleans_up(void **state)
{
    for (uint32_t round = 0; round < 200; round++)
        run_race(round % 2, false, round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wherever_a_process_is_killed_another_finishes, start_afresh),
        cmocka_unit_test_setup(a_place_stays_while_one_rank_lives_and_goes_with_the_next_sweep, start_afresh),
        cmocka_unit_test_setup(of_ranks_that_commit_at_once_one_does, start_afresh),
        cmocka_unit_test_setup(of_ranks_that_leave_at_once_one_cleans_up, start_afresh),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
