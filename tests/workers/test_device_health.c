/* test_device_health.c: failures, back-off, probes, drain and restore.
 * Oracle: the diagram at the head of token.c. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "token_fixture.h"
#include "token_shared.h"

static const uint64_t ms = 1000000;

static void test_a_failed_device_gives_no_tokens_until_a_probe_has_passed(void **state)
{
    mr__token_pool *a = open_pool("fails"), *b = open_pool("fails");
    mr__token token, mine = acquire(a), theirs = acquire(b);
    mr__error error = {.code = MR_OK};
    uint64_t probe_ns = 0;
    assert_false(mr__token_revoked(a, mine));
    assert_int_equal(mr__device_failed(a, "clFinish: -36", &probe_ns, NULL), MR_OK);
    assert_true(mr__token_revoked(a, mine));
    assert_true(mr__token_revoked(b, theirs));
    assert_int_equal(mr__token_acquire(b, 0, &token, &error), MR_DEVICE_LOST);
    assert_non_null(strstr(error.text, "clFinish: -36"));
    assert_rules(a);
    const mr__device_health health = health_of(b);
    assert_int_equal(health.state, MR__STATE_FAILED);
    assert_int_equal(health.failures, 1);
    assert_int_equal(health.failed_pid, getpid());
    assert_true(llabs(health.failed_at - (int64_t)time(NULL)) < 60);
    assert_string_equal(health.why, "clFinish: -36");
    assert_int_equal(health.probe_ns, probe_ns);
    begin_probe(a);
    assert_true(mr__now_ns() >= probe_ns);
    assert_int_equal(mr__device_probe_begin(b, NULL), MR__PROBE_LATER);
    assert_int_equal(try_acquire(a, &token), MR_DEVICE_LOST);
    assert_int_equal(health_of(b).state, MR__STATE_PROBING);
    assert_rules(a);
    assert_int_equal(mr__device_passed(a, NULL), MR_OK);
    assert_int_equal(mr__device_probe_begin(b, NULL), MR__PROBE_NOT_NEEDED);
    mr__token_release(b, theirs);
    theirs = acquire(b);
    assert_false(mr__token_revoked(b, theirs));
    assert_true(mr__token_revoked(a, mine));        /* for good */
    mr__token_release(a, mine);
    mr__token_release(b, theirs);
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static void test_several_reports_of_one_failure_are_one_strike(void **state)
{
    mr__token_pool *a = open_pool("reports"), *b = open_pool("reports");
    uint64_t first, second;
    assert_int_equal(mr__device_failed(a, "once", &first, NULL), MR_OK);
    assert_int_equal(mr__device_failed(b, "twice", &second, NULL), MR_OK);
    assert_int_equal(first, second);
    assert_int_equal(health_of(a).strikes, 1);
    assert_string_equal(health_of(a).why, "once");
    begin_probe(b);
    assert_int_equal(mr__device_failed(a, "from before", NULL, NULL), MR_OK);
    assert_int_equal(health_of(a).state, MR__STATE_PROBING);
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static void test_the_back_off_grows_and_the_third_failure_drains(void **state)
{
    mr__token_pool *pool = open_pool("thrice");
    mr__error error = {.code = MR_OK};
    mr__token token;
    uint64_t begin = mr__now_ns(), probe_ns;
    assert_int_equal(mr__device_failed(pool, "one", &probe_ns, NULL), MR_OK);
    assert_in_range(probe_ns, begin + 20 * ms, mr__now_ns() + 20 * ms);
    begin_probe(pool);
    begin = mr__now_ns();
    assert_int_equal(mr__device_failed(pool, "two", &probe_ns, NULL), MR_OK);
    assert_in_range(probe_ns, begin + 80 * ms, mr__now_ns() + 80 * ms);
    begin_probe(pool);
    assert_int_equal(mr__device_passed(pool, NULL), MR_OK);     /* takes no strike away */
    mr__token_release(pool, acquire(pool));
    assert_int_equal(mr__device_failed(pool, "three", &probe_ns, NULL), MR_OK);
    assert_true(probe_ns == UINT64_MAX);
    assert_int_equal(health_of(pool).state, MR__STATE_DRAINED);
    assert_int_equal(mr__device_probe_begin(pool, NULL), MR__PROBE_DRAINED);
    assert_int_equal(mr__token_acquire(pool, 0, &token, &error), MR_DEVICE_LOST);
    assert_non_null(strstr(error.text, "three"));
    assert_non_null(strstr(error.text, "millrace devices restore thrice"));
    assert_rules(pool);
    mr__token_pool_close(pool);
    pool = open_pool("thrice");                                 /* outlives the process */
    assert_int_equal(health_of(pool).state, MR__STATE_DRAINED);
    assert_int_equal(mr__device_restore(pool, NULL), MR_OK);
    assert_int_equal(health_of(pool).strikes, 0);
    assert_int_equal(health_of(pool).failures, 3);
    mr__token_release(pool, acquire(pool));
    assert_rules(pool);
    mr__token_pool_close(pool);
}

static void test_strikes_are_forgotten_when_a_device_stays_well(void **state)
{
    mr__token_pool *pool = open_pool("forgets");
    setenv("MILLRACE_DEVICE_FORGET_MS", "30", 1);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(mr__device_failed(pool, "again", NULL, NULL), MR_OK);
        assert_int_equal(health_of(pool).strikes, 1);
        begin_probe(pool);
        assert_int_equal(mr__device_passed(pool, NULL), MR_OK);
        sleep_ns(40 * ms);
    }
    unsetenv("MILLRACE_DEVICE_FORGET_MS");
    assert_int_equal(health_of(pool).failures, 4);
    mr__token_pool_close(pool);
}

static void test_a_back_off_of_another_clock_ends_with_the_next_user(void **state)
{
    mr__token_pool *pool = open_pool("clock");
    mr__token token;
    uint64_t probe_ns = 0;
    assert_int_equal(mr__device_failed(pool, "before the restart", &probe_ns, NULL), MR_OK);
    mr__token_pool_close(pool);
    pool = open_pool("clock");                                  /* a back-off that can be is kept */
    assert_int_equal(health_of(pool).probe_ns, probe_ns);
    pool->shared->probe_ns = mr__now_ns() + 86400000 * ms;      /* the machine had run for so long */
    mr__token_pool *other = open_pool("clock");
    assert_true(health_of(other).probe_ns > mr__now_ns() + 80000000 * ms);      /* in use: the clock is this one */
    mr__token_pool_close(other);
    mr__token_pool_close(pool);
    pool = open_pool("clock");
    assert_true(health_of(pool).probe_ns <= mr__now_ns());
    assert_rules(pool);
    assert_int_equal(try_acquire(pool, &token), MR_DEVICE_LOST);        /* it is to be probed yet */
    assert_int_equal(mr__device_probe_begin(pool, NULL), MR__PROBE_GO);
    assert_int_equal(mr__device_passed(pool, NULL), MR_OK);
    mr__token_release(pool, acquire(pool));
    mr__token_pool_close(pool);
}

static void test_a_prober_that_dies_lets_the_next_one_in(void **state)
{
    int how = 0;
    mr__token_pool *pool = open_pool("prober");
    assert_int_equal(mr__device_failed(pool, "it", NULL, NULL), MR_OK);
    const pid_t pid = fork();
    if (pid == 0) {
        mr__token_pool *other = NULL;
        uint64_t wait;
        if (mr__token_pool_open("prober", "", &other, NULL) != MR_OK)
            _exit(1);
        while (mr__device_probe_begin(other, &wait) != MR__PROBE_GO)
            sleep_ns(wait);
        _exit(0);
    }
    waitpid(pid, &how, 0);
    assert_int_equal(how, 0);
    assert_int_equal(health_of(pool).state, MR__STATE_FAILED);
    assert_int_equal(mr__device_probe_begin(pool, NULL), MR__PROBE_GO);
    mr__token_pool_close(pool);                                 /* gives the right back as well */
    pool = open_pool("prober");
    assert_int_equal(health_of(pool).state, MR__STATE_FAILED);
    assert_int_equal(mr__device_probe_begin(pool, NULL), MR__PROBE_GO);
    assert_int_equal(mr__device_passed(pool, NULL), MR_OK);
    assert_int_equal(health_of(pool).state, MR__STATE_WELL);
    mr__token_pool_close(pool);
}

static void test_a_probe_that_could_not_be_run_is_no_strike_and_lets_the_next_one_in(void **state)
{
    mr__token_pool *a = open_pool("unable"), *b = open_pool("unable");
    assert_int_equal(mr__device_failed(a, "it", NULL, NULL), MR_OK);
    begin_probe(a);
    const uint64_t begin = mr__now_ns();
    mr__device_not_probed(a);
    mr__device_health health = health_of(b);
    assert_int_equal(health.state, MR__STATE_FAILED);
    assert_int_equal(health.strikes, 1);
    assert_string_equal(health.why, "it");
    assert_in_range(health.probe_ns, begin + 20 * ms, mr__now_ns() + 20 * ms);
    assert_rules(b);
    begin_probe(b);
    mr__device_not_probed(a);                                   /* it is not a's any more */
    assert_int_equal(health_of(b).state, MR__STATE_PROBING);
    assert_int_equal(mr__device_passed(b, NULL), MR_OK);
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static void test_a_device_drained_by_hand_finishes_what_it_has(void **state)
{
    mr__token_pool *pool = open_pool("drains");
    mr__error error = {.code = MR_OK};
    mr__token token = acquire(pool), never;
    assert_int_equal(mr__device_drain(pool, "new driver tonight", NULL), MR_OK);
    assert_false(mr__token_revoked(pool, token));
    assert_int_equal(mr__token_acquire(pool, 0, &never, &error), MR_DEVICE_LOST);
    assert_non_null(strstr(error.text, "is drained: new driver tonight"));
    assert_int_equal(health_of(pool).failures, 0);
    mr__token_release(pool, token);
    assert_int_equal(mr__device_failed(pool, "ignored", NULL, NULL), MR_OK);
    assert_string_equal(health_of(pool).why, "new driver tonight");
    assert_int_equal(mr__device_drain(pool, NULL, NULL), MR_OK);
    assert_string_equal(health_of(pool).why, "drained by hand");
    assert_rules(pool);
    assert_int_equal(mr__device_restore(pool, NULL), MR_OK);
    mr__token_release(pool, acquire(pool));
    mr__token_pool_close(pool);
}

static void test_a_drain_during_a_probe_stays(void **state)
{
    mr__token_pool *a = open_pool("during"), *b = open_pool("during");
    assert_int_equal(mr__device_failed(a, "it", NULL, NULL), MR_OK);
    begin_probe(a);
    assert_int_equal(mr__device_drain(b, "enough", NULL), MR_OK);
    assert_int_equal(mr__device_passed(a, NULL), MR_DEVICE_LOST);
    assert_int_equal(health_of(a).state, MR__STATE_DRAINED);
    assert_rules(b);
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static void test_a_long_reason_is_cut(void **state)
{
    char why[2 * MR__DEVICE_WHY];
    memset(why, 'x', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    mr__token_pool *pool = open_pool("long");
    assert_int_equal(mr__device_drain(pool, why, NULL), MR_OK);
    assert_int_equal(strlen(health_of(pool).why), MR__DEVICE_WHY - 1);
    mr__token_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_device_gives_no_tokens_until_a_probe_has_passed),
        cmocka_unit_test(test_several_reports_of_one_failure_are_one_strike),
        cmocka_unit_test(test_the_back_off_grows_and_the_third_failure_drains),
        cmocka_unit_test(test_strikes_are_forgotten_when_a_device_stays_well),
        cmocka_unit_test(test_a_back_off_of_another_clock_ends_with_the_next_user),
        cmocka_unit_test(test_a_prober_that_dies_lets_the_next_one_in),
        cmocka_unit_test(test_a_probe_that_could_not_be_run_is_no_strike_and_lets_the_next_one_in),
        cmocka_unit_test(test_a_device_drained_by_hand_finishes_what_it_has),
        cmocka_unit_test(test_a_drain_during_a_probe_stays),
        cmocka_unit_test(test_a_long_reason_is_cut),
    };
    setenv("MILLRACE_DEVICE_BACKOFF_MS", "20", 1);
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
