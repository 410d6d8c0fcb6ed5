/* test_courier_naps.c: a courier that a descriptor wakes sleeps long and hears at once; one whose descriptor tells of
 * nothing, or always of something, hears all the same and does not spin.
 * Oracle: the calls that a backend made for this counts. No call of the courier is timed: a busy machine may be slow.
 * Instead the monotonic clock jumps ahead, so that a nap that should not be ends long after the test's patience. */
#include "cmocka_all.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "courier.h"

enum { QUIET_US = 700000, POLLED_MOST = 3000 };     /* each 2 ms, and more often at first; not all the time */
static const uint64_t ms = 1000000, second = 1000000000, PATIENCE_S = 100;

/* Rank 0 of 2. Rank 1 says only what the test has it say. */
static struct wire {
    mr__comm comm;
    int descriptor;
    _Atomic uint32_t said, calls;           /* calls of progress() */
    uint32_t told;
    sem_t heard;
} wire;

static uint32_t wire_rank(const mr__comm *comm)
{
    return 0;
}

static uint32_t wire_size(const mr__comm *comm)
{
    return 2;
}

static mr_status wire_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                           mr__error *error)
{
    return MR_OK;
}

static size_t wire_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    return 0;
}

static bool wire_progress(mr__comm *comm, const mr__comm_events *events)
{
    eventfd_t signals;
    atomic_fetch_add(&wire.calls, 1);
    if (wire.told == atomic_load(&wire.said))
        return false;
    wire.told++;
    eventfd_read(wire.descriptor, &signals);
    events->received(events->context, MR__CONTROL, 1, MR__TAG_FIRST, "", 0);
    return true;
}

static void wire_forget(mr__comm *comm, uint32_t rank)
{
}

static void wire_close(mr__comm *comm)
{
}

static int wire_descriptor(const mr__comm *comm)
{
    return wire.descriptor;
}

static const mr__comm_ops listening = {
    .name = "wire",
    .rank = wire_rank,
    .size = wire_size,
    .send = wire_send,
    .unsent = wire_unsent,
    .progress = wire_progress,
    .descriptor = wire_descriptor,
    .forget = wire_forget,
    .close = wire_close,
};

static mr_status open_wire(void *how, mr__comm **comm, mr__error *error)
{
    *comm = &wire.comm;
    return MR_OK;
}

static void hear(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    sem_post(&wire.heard);
}

static void lost(void *context, uint32_t rank, const char *why)
{
}

static void expelled(void *context, const char *why)
{
}

static _Atomic uint64_t ahead_ns;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    const int result = __real_clock_gettime(clock, now);
    if (clock == CLOCK_MONOTONIC)
        *now = mr__timespec((uint64_t)now->tv_sec * second + (uint64_t)now->tv_nsec + atomic_load(&ahead_ns));
    return result;
}

/* It has been quiet for so long that the next nap, of four times as long, outlasts all patience. */
static void jump_ahead(void)
{
    atomic_fetch_add(&ahead_ns, PATIENCE_S * second);
}

/* A beat so often, and a deadline that no test lives to see. */
static mr__courier *start(const mr__comm_ops *ops, uint64_t heartbeat_ns)
{
    const mr__courier_options options = {
        .deadline_ns = 1000000 * second, .heartbeat_ns = heartbeat_ns, .tick_ns = 1000000 * second};
    const mr__courier_events events = {NULL, hear, lost, expelled, NULL};
    mr__courier *courier;
    memset(&wire, 0, sizeof wire);
    wire.comm.ops = ops;
    wire.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(wire.descriptor >= 0);
    sem_init(&wire.heard, 0, 0);
    assert_int_equal(mr__courier_start(open_wire, NULL, &options, &events, &courier, NULL), MR_OK);
    return courier;
}

static void end(mr__courier *courier)
{
    mr__courier_stop(courier, 0);
    close(wire.descriptor);
    sem_destroy(&wire.heard);
}

/* What rank 1 says is heard. */
static void say(bool signal)
{
    struct timespec until;
    atomic_fetch_add(&wire.said, 1);
    if (signal)
        eventfd_write(wire.descriptor, 1);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)PATIENCE_S;
    assert_int_equal(sem_timedwait(&wire.heard, &until), 0);
}

/* In QUIET_US, on the average until `least` were made. */
static uint64_t calls_while_quiet(uint32_t least)
{
    const uint32_t before = atomic_load(&wire.calls);
    const uint64_t begin = mr__now_ns();
    do {
        usleep(QUIET_US);
        assert_true(mr__now_ns() - begin < PATIENCE_S * second);
    } while (atomic_load(&wire.calls) - before < least);
    return (atomic_load(&wire.calls) - before) * (uint64_t)QUIET_US * 1000 / (mr__now_ns() - begin);
}

static void test_who_is_woken_sleeps_long_and_hears_at_once(void **state)
{
    mr__courier *courier = start(&listening, 100 * PATIENCE_S * second);
    for (uint32_t i = 0; i < 2; i++) {
        assert_in_range(calls_while_quiet(0), 0, 100);
        jump_ahead();
        assert_in_range(calls_while_quiet(0), 0, 100);
        say(true);
    }
    end(courier);
}

static void test_who_is_not_told_hears_at_half_a_beat(void **state)
{
    mr__courier *courier = start(&listening, 100 * ms);
    assert_in_range(calls_while_quiet(QUIET_US / 50000), 0, 400);
    for (uint32_t i = 0; i < 5; i++) {
        jump_ahead();
        usleep(QUIET_US / 5);
        say(false);
    }
    end(courier);
}

static void test_a_descriptor_that_is_always_ready_is_ignored(void **state)
{
    mr__courier *courier = start(&listening, 100 * PATIENCE_S * second);
    eventfd_write(wire.descriptor, 1);
    assert_in_range(calls_while_quiet(50), 0, POLLED_MOST);
    jump_ahead();
    assert_in_range(calls_while_quiet(50), 0, POLLED_MOST);
    say(false);
    end(courier);
}

static void test_without_a_descriptor_it_polls(void **state)
{
    mr__comm_ops deaf = listening;
    deaf.descriptor = NULL;
    mr__courier *courier = start(&deaf, 100 * PATIENCE_S * second);
    assert_in_range(calls_while_quiet(50), 0, POLLED_MOST);
    jump_ahead();
    assert_in_range(calls_while_quiet(50), 0, POLLED_MOST);
    say(false);
    end(courier);
}

static void test_without_a_descriptor_for_its_alarm_nothing_is_started(void **state)
{
    struct rlimit usual, none;
    const mr__courier_events events = {NULL, hear, lost, expelled, NULL};
    mr__courier *courier = NULL;
    mr__error error = {.code = MR_OK};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const mr_status status = mr__courier_start(open_wire, NULL, NULL, &events, &courier, &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(status, MR_NO_MEMORY);
    assert_null(courier);
    assert_non_null(strstr(error.text, "ulimit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_woken_sleeps_long_and_hears_at_once),
        cmocka_unit_test(test_who_is_not_told_hears_at_half_a_beat),
        cmocka_unit_test(test_a_descriptor_that_is_always_ready_is_ignored),
        cmocka_unit_test(test_without_a_descriptor_it_polls),
        cmocka_unit_test(test_without_a_descriptor_for_its_alarm_nothing_is_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
