/* test_device_watchdog.c: for how long a link waits for its device. Oracle: how long fake_device.c takes, as told. For
 * both of them time passes when the test says so: a busy machine is no hanging device. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "fake_device.h"
#include "link_fixture.h"
#include "token_fixture.h"
#include "worker_device_parts.h"

enum { DEPTH = 2, UNITS = 100 };
static const uint64_t TICK_NS = 5000000, ms = 1000000;

/* ---- time -------------------------------------------------------------------------------------------------------- */

static struct fake_time *shown;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_MONOTONIC || shown == NULL)
        return __real_clock_gettime(clock, now);
    *now = mr__timespec(atomic_load(&shown->now_ns));
    return 0;
}

static void stop_time(void)
{
    char path[128];
    const uint64_t now = mr__now_ns();
    snprintf(path, sizeof path, "%s/time", token_folder);
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(file, sizeof *shown), 0);
    struct fake_time *const map = mmap(NULL, sizeof *map, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    close(file);
    atomic_store(&map->now_ns, now);
    shown = map;
    setenv("FAKE_TIME", path, 1);
}

static void pass(uint64_t ns)
{
    atomic_fetch_add(&shown->now_ns, ns);
}

/* Until it comes true; ctest has the patience. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            usleep(100);                                                                                               \
    } while (0)

/* ---- one link ---------------------------------------------------------------------------------------------------- */

static mr__device_config config;
static mr__device_link *watched;
static mr__worker worker;

static void plan(const char *fault, const char *limit_ms, const char *slow_ms)
{
    setenv("FAKE_FAULT", fault, 1);
    setenv("FAKE_SLOW_MS", slow_ms, 1);
    setenv("MILLRACE_DEVICE_TIMEOUT_MS", limit_ms, 1);
}

static uint32_t poll_once(mr__done *done)
{
    mr__error error = {.text = ""};
    const uint32_t count = worker.ops->poll(&worker, TICK_NS, done, 1);
    assert_int_equal(mr__device_link_check(watched, &error), MR_OK);
    return count;
}

/* A link whose device is ready. */
static void open_link(void)
{
    config = link_config("fake-0");
    config.depth = DEPTH;
    const mr__device_job job = {.version = MR__DEVICE_VERSION, .form = MR__DEVICE_TEXTS, .slots = DEPTH,
                                .slot_bytes = config.slot_bytes};
    mr__done done;
    setenv("MILLRACE_DEVICE_PROGRAM", FAKE_DEVICE, 1);
    config.job = memfd_create("job", MFD_CLOEXEC);
    assert_int_equal(write(config.job, &job, sizeof job), sizeof job);
    if (shown == NULL)
        stop_time();
    atomic_store(&shown->begun, 0);
    create_link(&config, &worker);
    watched = worker.config;
    while (worker.ops->room(&worker) != MR__TAKES) {
        assert_int_equal(poll_once(&done), 0);
        pass(TICK_NS);
    }
}

static void close_link(void)
{
    worker.ops->stop(&worker);
    mr__device_link_destroy(watched);
    close(config.job);
}

static void submit(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(worker.ops->room(&worker), MR__TAKES);
        worker.ops->submit(&worker, &(mr__task){.begin = 0, .end = UNITS});
    }
}

/* How many bytes the device process has sent that were not read. */
static int unread(void)
{
    int bytes = 0;
    assert_int_equal(ioctl(watched->channel.socket, FIONREAD, &bytes), 0);
    return bytes;
}

static bool reads(void)
{
    const mr__device_reading *readings = mr__device_readings(watched->channel.slots, watched->channel.bytes);
    bool any = false;
    for (uint32_t slot = 0; slot < DEPTH; slot++)
        any |= atomic_load(&readings[slot]) % 2 == 1;
    return any;
}

/* After so much more time the link waits on. */
static void assert_waits(uint64_t ns)
{
    mr__done done;
    pass(ns);
    assert_int_equal(poll_once(&done), 0);
    assert_int_equal(watched->state, MR__LINK_WELL);
}

/* Until so many have come back: all with this status. */
static void take_back(uint32_t count, mr_status status)
{
    mr__done done;
    while (count > 0) {
        if (poll_once(&done) == 0)
            continue;
        assert_int_equal(done.status, status);
        count--;
    }
}

/* In the job's own story, and against the device in what all jobs know of it. */
static void assert_failures(uint64_t here, uint32_t strikes)
{
    mr__token_pool *pool = open_pool("fake-0");
    assert_int_equal(mr__device_link_story(watched)->failures, here);
    assert_int_equal(health_of(pool).strikes, strikes);
    mr__token_pool_close(pool);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Two results wait: the time of the second is only its unpacking. It says nothing of how long tasks take. */
static void test_results_that_waited_do_not_shorten_the_limit(void **state)
{
    plan("", "200", "250");
    open_link();
    submit(DEPTH);
    for (uint32_t i = 1; i <= DEPTH; i++) {
        AWAIT(atomic_load(&shown->begun) == i);
        pass(250 * ms);
        AWAIT(unread() == (int)(i * sizeof(mr__device_done)));
    }
    take_back(DEPTH, MR_OK);
    submit(DEPTH);
    for (uint32_t i = 1; i <= DEPTH; i++) {
        AWAIT(atomic_load(&shown->begun) == DEPTH + i);
        assert_waits(249 * ms);
        pass(1 * ms);
        take_back(1, MR_OK);
    }
    assert_failures(0, 0);
    close_link();
}

static void test_reading_is_not_the_devices_time(void **state)
{
    plan("read:0", "200", "500");
    open_link();
    submit(DEPTH);
    for (uint32_t i = 1; i <= DEPTH; i++) {
        AWAIT(atomic_load(&shown->begun) == i);
        assert_waits(499 * ms);
        pass(1 * ms);
        take_back(1, MR_OK);
    }
    assert_failures(0, 0);
    close_link();
}

static void test_a_file_system_that_does_not_answer_costs_the_job_its_device_and_no_more(void **state)
{
    plan("stall:0", "150", "0");
    open_link();
    submit(DEPTH);
    AWAIT(reads());
    assert_waits(1499 * ms);
    pass(2 * ms);
    take_back(DEPTH, MR_DEVICE_LOST);
    assert_int_equal(worker.ops->room(&worker), MR__GONE);
    assert_non_null(strstr(mr__device_link_story(watched)->why, "its file system does not answer"));
    assert_failures(0, 0);
    close_link();
}

static void test_a_device_that_hangs_once_it_has_read_has_failed(void **state)
{
    plan("readhang:0", "200", "100");
    open_link();
    submit(1);
    AWAIT(atomic_load(&shown->begun) == 1);
    pass(100 * ms);
    AWAIT(!reads());
    assert_waits(199 * ms);
    pass(2 * ms);
    take_back(1, MR_DEVICE_LOST);
    assert_failures(1, 1);
    close_link();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_that_waited_do_not_shorten_the_limit),
        cmocka_unit_test(test_reading_is_not_the_devices_time),
        cmocka_unit_test(test_a_file_system_that_does_not_answer_costs_the_job_its_device_and_no_more),
        cmocka_unit_test(test_a_device_that_hangs_once_it_has_read_has_failed),
    };
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
