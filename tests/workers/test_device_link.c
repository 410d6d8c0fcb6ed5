/* test_device_link.c: a link whose device process does not do what it should. Who waits can be woken; what is no fault
 * of the device does not count against it. The process is `sleep`, which never becomes ready, or cannot be run. */
#include "cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "token_fixture.h"
#include "worker_device.h"

static const uint64_t LONG_NS = 60000000000, SHORT_NS = 20000000000;

static _Atomic uint32_t first_round;

static void *ring(void *link)
{
    usleep(50000);
    mr__device_link_wake(link);
    return NULL;
}

static void make_sleeper(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/sleeper", token_folder);
    FILE *script = fopen(path, "w");
    assert_non_null(script);
    fputs("#!/bin/sh\nexec sleep 100 <&3\n", script);
    assert_int_equal(fclose(script), 0);
    assert_int_equal(chmod(path, 0700), 0);
    setenv("MILLRACE_DEVICE_PROGRAM", path, 1);
}

static void create_link(const mr__device_config *config, mr__worker *worker)
{
    mr__error error = {.text = ""};
    mr__device_link *link = NULL;
    assert_int_equal(mr__device_link_create(config, &link, &error), MR_OK);
    *worker = (mr__worker){.ops = &mr__worker_device_ops, .config = link};
    assert_int_equal(worker->ops->start(worker, &error), MR_OK);
}

static void test_a_poll_that_waits_for_a_device_is_woken(void **state)
{
    mr__error error = {.text = ""};
    mr__worker worker;
    mr__done done[1];
    pthread_t thread;
    make_sleeper();
    const mr__device_config config = {.device = {.id = "slow-0"}, .depth = 1, .slot_bytes = 4096, .job = -1,
                                      .round = &first_round};
    create_link(&config, &worker);
    mr__device_link *const link = worker.config;
    assert_int_equal(worker.ops->poll(&worker, 0, done, 1), 0);         /* starts the process */
    assert_int_equal(worker.ops->room(&worker), MR__FULL);
    assert_int_equal(mr__device_link_check(link, &error), MR_OK);
    uint64_t begin = mr__now_ns();
    assert_int_equal(pthread_create(&thread, NULL, ring, link), 0);
    assert_int_equal(worker.ops->poll(&worker, LONG_NS, done, 1), 0);
    assert_true(mr__now_ns() - begin < SHORT_NS);
    pthread_join(thread, NULL);
    mr__device_link_wake(link);         /* nobody waits: the next poll does not */
    begin = mr__now_ns();
    assert_int_equal(worker.ops->poll(&worker, LONG_NS, done, 1), 0);
    assert_true(mr__now_ns() - begin < SHORT_NS);
    begin = mr__now_ns();               /* and the one after it does */
    assert_int_equal(worker.ops->poll(&worker, 30000000, done, 1), 0);
    assert_true(mr__now_ns() - begin >= 30000000);
    worker.ops->stop(&worker);
    mr__device_link_destroy(link);
}

static void test_a_job_that_cannot_start_the_process_leaves_the_probe_to_others(void **state)
{
    const mr__device_config config = {.device = {.id = "probed-0"}, .depth = 1, .slot_bytes = 4096, .job = -1,
                                      .round = &first_round};
    mr__token_pool *pool = open_pool("probed-0");
    mr__worker worker;
    mr__done done[1];
    setenv("MILLRACE_DEVICE_PROGRAM", "/nowhere/millrace-device", 1);
    assert_int_equal(mr__device_failed(pool, "in another job", NULL, NULL), MR_OK);
    create_link(&config, &worker);
    const uint64_t deadline = mr__now_ns() + SHORT_NS;
    while (worker.ops->room(&worker) != MR__GONE && mr__now_ns() < deadline)
        worker.ops->poll(&worker, SHORT_NS, done, 1);
    assert_int_equal(worker.ops->room(&worker), MR__GONE);
    begin_probe(pool);                  /* the link is there yet */
    assert_int_equal(health_of(pool).strikes, 1);
    assert_int_equal(mr__device_passed(pool, NULL), MR_OK);
    mr__device_link_destroy(worker.config);
    mr__token_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_poll_that_waits_for_a_device_is_woken),
        cmocka_unit_test(test_a_job_that_cannot_start_the_process_leaves_the_probe_to_others),
    };
    setenv("MILLRACE_DEVICE_BACKOFF_MS", "20", 1);
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
