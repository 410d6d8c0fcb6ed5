/* test_device_link.c: a link whose device process does not do what it should. Who waits can be woken; what is no fault
 * of the device does not count against it. The process is `sleep`, which never becomes ready, or this program again
 * (serve() below: the device's name says what happens to it), or cannot be run. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "link_fixture.h"
#include "token_fixture.h"

static const uint64_t LONG_NS = 60000000000, SHORT_NS = 20000000000;

static int job;                 /* a descriptor that nobody looks at */
static bool is_stopping;

static bool stopping(mr__worker *worker)
{
    return is_stopping;
}

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

/* A link whose device process is this program. */
static void create_link_to(const char *device, mr__device_config *config, mr__worker *worker)
{
    char program[256] = "";
    assert_true(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    setenv("MILLRACE_DEVICE_PROGRAM", program, 1);
    *config = link_config(device);
    config->job = job;
    config->stopping = stopping;
    create_link(config, worker);
}

/* Until the link has given the device up, or a process is ready. */
static void poll_link(mr__worker *worker)
{
    const uint64_t deadline = mr__now_ns() + SHORT_NS;
    mr__done done[1];
    while (worker->ops->room(worker) == MR__FULL && mr__now_ns() < deadline)
        worker->ops->poll(worker, SHORT_NS, done, 1);
    assert_int_not_equal(worker->ops->room(worker), MR__FULL);
}

static void test_a_poll_that_waits_for_a_device_is_woken(void **state)
{
    mr__error error = {.text = ""};
    mr__worker worker;
    mr__done done[1];
    pthread_t thread;
    make_sleeper();
    mr__device_config config = link_config("slow-0");
    config.job = job;
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
    mr__device_config config = link_config("probed-0");
    mr__token_pool *pool = open_pool("probed-0");
    mr__worker worker;
    setenv("MILLRACE_DEVICE_PROGRAM", "/nowhere/millrace-device", 1);
    assert_int_equal(mr__device_failed(pool, "in another job", NULL, NULL), MR_OK);
    config.job = job;
    create_link(&config, &worker);
    poll_link(&worker);
    assert_int_equal(worker.ops->room(&worker), MR__GONE);
    begin_probe(pool);                  /* the link is there yet */
    assert_int_equal(health_of(pool).strikes, 1);
    assert_int_equal(mr__device_passed(pool, NULL), MR_OK);
    mr__device_link_destroy(worker.config);
    mr__token_pool_close(pool);
}

static void test_an_end_that_lies_in_the_job_is_no_failure_of_the_device(void **state)
{
    static const struct {
        const char *device, *says;
        bool local;
    } cases[] = {{"killed-0", "died of signal 9", true},
                 {"starved-0", "no memory", true},
                 {"crashed-0", "died of signal 6", false},
                 {"wrong-0", "wrong", false}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__token_pool *pool = open_pool(cases[c].device);
        mr__token others = acquire(pool);
        mr__device_config config;
        mr__worker worker;
        create_link_to(cases[c].device, &config, &worker);
        poll_link(&worker);
        assert_int_equal(worker.ops->room(&worker), MR__GONE);
        const mr__device_story *story = mr__device_link_story(worker.config);
        assert_non_null(strstr(story->why, cases[c].says));
        assert_int_equal(story->failures, 3);
        assert_int_equal(story->drained, !cases[c].local);
        assert_int_equal(health_of(pool).failures, cases[c].local ? 0 : 3);
        assert_int_equal(health_of(pool).state, cases[c].local ? MR__STATE_WELL : MR__STATE_DRAINED);
        assert_int_equal(mr__token_revoked(pool, others), !cases[c].local);
        mr__device_link_destroy(worker.config);
        mr__token_release(pool, others);
        mr__token_pool_close(pool);
    }
}

static void test_a_process_that_was_killed_once_comes_back(void **state)
{
    mr__device_config config;
    mr__worker worker;
    create_link_to("once-0", &config, &worker);
    poll_link(&worker);
    assert_int_equal(worker.ops->room(&worker), MR__TAKES);
    assert_int_equal(mr__device_link_story(worker.config)->failures, 1);
    worker.ops->stop(&worker);
    mr__device_link_destroy(worker.config);
}

static void test_a_process_that_ends_while_the_job_is_stopped_tells_nothing(void **state)
{
    mr__token_pool *pool = open_pool("crashed-1");
    mr__device_config config;
    mr__worker worker;
    is_stopping = true;
    create_link_to("crashed-1", &config, &worker);
    poll_link(&worker);
    is_stopping = false;
    assert_int_equal(worker.ops->room(&worker), MR__GONE);
    assert_int_equal(mr__device_link_story(worker.config)->failures, 0);
    assert_int_equal(health_of(pool).failures, 0);
    mr__device_link_destroy(worker.config);
    mr__token_pool_close(pool);
}

/* Until a process is ready, whether there is a token for it or not. */
static void poll_until_ready(mr__worker *worker)
{
    const uint64_t deadline = mr__now_ns() + SHORT_NS;
    mr__done done[1];
    while (mr__device_link_story(worker->config)->starts == 0 && mr__now_ns() < deadline)
        worker->ops->poll(worker, SHORT_NS, done, 1);
}

static void test_a_job_that_finds_no_place_keeps_its_process_and_waits(void **state)
{
    mr__token_pool *other[MR__TOKEN_JOBS];
    mr__device_config config;
    mr__worker worker;
    mr__done done[1];
    for (uint32_t i = 0; i < MR__TOKEN_JOBS; i++) {
        other[i] = open_pool("crowded-0");
        mr__token_release(other[i], acquire(other[i]));
    }
    create_link_to("crowded-0", &config, &worker);
    poll_until_ready(&worker);
    const uint64_t end = mr__now_ns() + 300000000;
    while (mr__now_ns() < end) {
        assert_int_equal(worker.ops->room(&worker), MR__FULL);
        worker.ops->poll(&worker, 1000000, done, 1);
    }
    mr__token_pool_close(other[0]);
    poll_link(&worker);
    assert_int_equal(worker.ops->room(&worker), MR__TAKES);
    assert_int_equal(mr__device_link_story(worker.config)->starts, 1);
    worker.ops->stop(&worker);
    mr__device_link_destroy(worker.config);
    for (uint32_t i = 1; i < MR__TOKEN_JOBS; i++)
        mr__token_pool_close(other[i]);
}

static void test_a_job_that_cannot_take_a_token_does_without_the_device(void **state)
{
    mr__token_pool *pool = open_pool("unusable-0");
    mr__device_config config;
    mr__worker worker;
    create_link_to("unusable-0", &config, &worker);
    poll_until_ready(&worker);
    mr__fault_arm(MR__FAULT_OPEN, 1);
    assert_int_equal(worker.ops->room(&worker), MR__FULL);
    assert_true(mr__fault_fired());
    mr__fault_disarm();
    assert_int_equal(worker.ops->room(&worker), MR__GONE);
    const mr__device_story *story = mr__device_link_story(worker.config);
    assert_non_null(strstr(story->why, "could not take a token of unusable-0"));
    assert_int_equal(story->starts, 1);
    assert_int_equal(health_of(pool).failures, 0);
    mr__device_link_destroy(worker.config);
    mr__token_pool_close(pool);
}

static void remove_pool(const char *device)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", token_folder, device);
    assert_int_equal(unlink(path), 0);
}

static void test_a_pool_that_is_removed_is_made_anew(void **state)
{
    const mr__task task = {.begin = 0, .end = 1};
    mr__device_config config;
    mr__worker worker;
    mr__done done[2];
    mr__error error = {.text = ""};
    create_link_to("removed-0", &config, &worker);
    remove_pool("removed-0");                           /* before there is a process */
    poll_link(&worker);
    assert_int_equal(worker.ops->room(&worker), MR__TAKES);
    worker.ops->submit(&worker, &task);
    remove_pool("removed-0");                           /* with a task in flight */
    assert_int_equal(worker.ops->room(&worker), MR__FULL);
    uint32_t count = 0;
    for (const uint64_t deadline = mr__now_ns() + SHORT_NS; count == 0 && mr__now_ns() < deadline;)
        count = worker.ops->poll(&worker, SHORT_NS, done, 2);
    assert_int_equal(count, 1);
    assert_int_equal(done[0].status, MR_OK);
    assert_int_equal(worker.ops->room(&worker), MR__FULL);
    assert_int_equal(worker.ops->room(&worker), MR__TAKES);
    assert_int_equal(mr__device_link_check(worker.config, &error), MR_OK);
    mr__token_pool *pool = open_pool("removed-0");      /* as a job that begins now */
    assert_int_equal(health_of(pool).in_use, 1);
    const mr__device_story *story = mr__device_link_story(worker.config);
    assert_int_equal(story->starts, 1);
    assert_int_equal(story->tasks, 1);
    assert_int_equal(story->failures, 0);
    worker.ops->stop(&worker);
    mr__device_link_destroy(worker.config);
    mr__token_pool_close(pool);
}

/* ---- the device process ------------------------------------------------------------------------------------------ */

static void say(enum mr__device_kind kind, bool starved, const char *text)
{
    mr__device_ready ready = {.head = {kind, sizeof ready}, .starved = starved};
    strcpy(ready.text, text);
    send(MR__DEVICE_SOCKET, &ready, sizeof ready, MSG_NOSIGNAL);
}

static int serve(const char *device)
{
    _Alignas(8) char message[64];
    char once[128];
    const struct rlimit no_core = {0};
    setrlimit(RLIMIT_CORE, &no_core);
    snprintf(once, sizeof once, "%s/once", getenv("MILLRACE_TOKENS"));
    recv(MR__DEVICE_SOCKET, message, sizeof message, 0);
    recv(MR__DEVICE_SOCKET, message, sizeof message, 0);        /* the job, and that the device is to be probed */
    if (strcmp(device, "killed-0") == 0 || (strcmp(device, "once-0") == 0 && mkdir(once, 0700) == 0))
        raise(SIGKILL);
    if (strncmp(device, "crashed", strlen("crashed")) == 0)
        abort();
    if (strcmp(device, "starved-0") == 0 || strcmp(device, "wrong-0") == 0) {
        say(MR__DEVICE_FAILED, device[0] == 's', device[0] == 's' ? "no memory" : "wrong");
        return 5;
    }
    say(MR__DEVICE_READY, false, "");
    say(MR__DEVICE_PROBED, false, "");
    while (recv(MR__DEVICE_SOCKET, message, sizeof message, 0) > 0) {
        const mr__device_task *task = (const mr__device_task *)message;
        const mr__device_done done = {.head = {MR__DEVICE_DONE, sizeof done}, .id = task->id, .slot = task->slot};
        send(MR__DEVICE_SOCKET, &done, sizeof done, MSG_NOSIGNAL);
    }
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "--serve") == 0)
        return serve(arguments[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_poll_that_waits_for_a_device_is_woken),
        cmocka_unit_test(test_a_job_that_cannot_start_the_process_leaves_the_probe_to_others),
        cmocka_unit_test(test_an_end_that_lies_in_the_job_is_no_failure_of_the_device),
        cmocka_unit_test(test_a_process_that_was_killed_once_comes_back),
        cmocka_unit_test(test_a_process_that_ends_while_the_job_is_stopped_tells_nothing),
        cmocka_unit_test(test_a_job_that_finds_no_place_keeps_its_process_and_waits),
        cmocka_unit_test(test_a_job_that_cannot_take_a_token_does_without_the_device),
        cmocka_unit_test(test_a_pool_that_is_removed_is_made_anew),
    };
    job = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setenv("MILLRACE_DEVICE_BACKOFF_MS", "20", 1);
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
