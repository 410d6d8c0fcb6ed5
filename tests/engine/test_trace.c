/* The trace: what a worker noted is in the file, in the form that Perfetto takes, and memory stays bounded.
 * Oracle: jansson reads the file back; tests/engine/check_trace.py judges the format from the format's own rules. */
#include "cmocka_all.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "fault.h"
#include "trace.h"

static char directory[64] = "/tmp/mr-test-trace-XXXXXX";
static char path[128];

static const uint64_t LATER_NS = 100000000000;

static uint64_t aside_ns;       /* for so long the thread is put aside, once, after it has read CLOCK_REALTIME */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    const int result = __real_clock_gettime(clock, now);
    if (clock == CLOCK_REALTIME && aside_ns > 0) {
        const struct timespec time = mr__timespec(aside_ns);
        aside_ns = 0;
        nanosleep(&time, NULL);
    }
    return result;
}

static json_t *read_back(void)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    assert_non_null(root);
    return root;
}

/* The index-th event of phase `ph` on lane `tid` of process `pid` (0: any); borrowed. */
static json_t *find_of(json_t *root, json_int_t pid, const char *ph, json_int_t tid, size_t index)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(root, "traceEvents"), i, item) {
        if (strcmp(json_string_value(json_object_get(item, "ph")), ph) == 0 &&
            (pid == 0 || json_integer_value(json_object_get(item, "pid")) == pid) &&
            json_integer_value(json_object_get(item, "tid")) == tid && index-- == 0)
            return item;
    }
    return NULL;
}

static json_t *find(json_t *root, const char *ph, json_int_t tid, size_t index)
{
    return find_of(root, 0, ph, tid, index);
}

static const char *name_of(json_t *named)
{
    return json_string_value(json_object_get(json_object_get(named, "args"), "name"));
}

static double number_of(json_t *event, const char *key)
{
    return json_number_value(json_object_get(event, key));
}

static void test_spans_and_counters_come_back(void **state)
{
    mr__trace *trace = mr__trace_create(2);
    assert_non_null(trace);
    const uint64_t start = mr__now_ns();
    mr__trace_name_lane(trace, 1, "spill \"%d\"", 7);
    mr__trace_span(trace, 0, "task", "map", start, start + 1234567, "bytes", 4096);
    mr__trace_span(trace, 1, "merge", "reduce", start + 1000, start + 2000, NULL, 0);
    mr__trace_counter(trace, 1, "memory", start, UINT64_MAX / 2);
    assert_int_equal(mr__trace_write(trace, path, 3, "wordcount", NULL, 0, NULL), MR_OK);
    mr__trace_destroy(trace);
    json_t *root = read_back();
    json_t *task = find(root, "X", 1, 0), *lane = find(root, "M", 2, 0), *counter = find(root, "C", 2, 0);
    assert_string_equal(json_string_value(json_object_get(task, "name")), "task");
    assert_string_equal(json_string_value(json_object_get(task, "cat")), "map");
    assert_int_equal(json_integer_value(json_object_get(task, "pid")), 4);
    assert_float_equal(json_real_value(json_object_get(task, "dur")), 1234.567, 1e-6);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(task, "args"), "bytes")), 4096);
    assert_string_equal(json_string_value(json_object_get(json_object_get(lane, "args"), "name")), "spill \"7\"");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(counter, "args"), "value")), UINT64_MAX / 2);
    assert_null(find(root, "X", 1, 1));
    json_decref(root);
}

static void test_a_full_lane_drops_and_counts(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    const uint64_t now = mr__now_ns();
    for (uint64_t i = 0; i < MR__TRACE_EVENTS + 10; i++)
        mr__trace_span(trace, 0, "task", "map", now + i, now + i + 1, NULL, 0);
    assert_int_equal(mr__trace_dropped(trace), 10);
    assert_int_equal(mr__trace_write(trace, path, 0, "x", NULL, 0, NULL), MR_OK);
    mr__trace_destroy(trace);
    json_t *root = read_back();
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "otherData"), "dropped")), 10);
    assert_non_null(find(root, "X", 1, MR__TRACE_EVENTS - 1));
    assert_null(find(root, "X", 1, MR__TRACE_EVENTS));
    json_decref(root);
}

static void test_no_trace_and_no_such_lane_are_no_ops(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    mr__trace_span(NULL, 0, "task", "map", 1, 2, NULL, 0);
    mr__trace_counter(NULL, 0, "memory", 1, 2);
    mr__trace_name_lane(NULL, 0, "none");
    mr__trace_span(trace, 1, "task", "map", 1, 2, NULL, 0);
    assert_int_equal(mr__trace_dropped(trace), 0);
    mr__trace_destroy(trace);
    mr__trace_destroy(NULL);
}

static void test_times_before_the_trace_do_not_wrap(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    const uint64_t now = mr__now_ns();
    mr__trace_span(trace, 0, "early", "map", 1, 2, NULL, 0);
    mr__trace_span(trace, 0, "backward", "map", now + 50, now, NULL, 0);
    assert_int_equal(mr__trace_write(trace, path, 0, "x", NULL, 0, NULL), MR_OK);
    mr__trace_destroy(trace);
    json_t *root = read_back();
    for (size_t i = 0; i < 2; i++)
        assert_true(json_real_value(json_object_get(find(root, "X", 1, i), "dur")) < 1);
    assert_true(json_real_value(json_object_get(find(root, "X", 1, 0), "ts")) == 0);
    json_decref(root);
}

static void test_a_failed_call_leaves_no_file_and_says_why(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_ALLOC, MR__FAULT_OPEN, MR__FAULT_WRITE, MR__FAULT_RENAME};
    mr__trace *trace = mr__trace_create(1);
    mr__trace_span(trace, 0, "task", "map", 1, 2, NULL, 0);
    uint32_t failures = 0;
    for (size_t p = 0; p < MR__COUNT(points); p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__error error = {.code = MR_OK};
            unlink(path);
            mr__fault_arm(points[p], nth);
            const mr_status status = mr__trace_write(trace, path, 0, "x", NULL, 0, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            if (!fired) {
                assert_int_equal(status, MR_OK);
                break;
            }
            failures++;
            assert_int_not_equal(status, MR_OK);
            assert_non_null(strstr(error.text, path));
            assert_int_not_equal(access(path, F_OK), 0);
            assert_int_equal(rmdir(directory), 0);      /* nothing half-made either */
            assert_int_equal(mkdir(directory, 0700), 0);
        }
    }
    assert_true(failures >= 6);
    mr__trace_destroy(trace);
}

static void test_without_memory_events_are_dropped(void **state)
{
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_null(mr__trace_create(1));
    mr__fault_arm(MR__FAULT_PAGES, 1);
    assert_null(mr__trace_create(1));
    mr__trace *trace = mr__trace_create(1);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    mr__trace_span(trace, 0, "task", "map", 1, 2, NULL, 0);
    mr__fault_disarm();
    assert_int_equal(mr__trace_dropped(trace), 1);
    mr__trace_span(trace, 0, "task", "map", 1, 2, NULL, 0);
    assert_int_equal(mr__trace_dropped(trace), 1);
    mr__trace_destroy(trace);
}

/* ---- traces of many ranks ---------------------------------------------------------------------------------------- */

static const uint64_t MOST = 1 << 20;

/* Two lanes: one with two kinds of spans and a name, one with a counter. */
static mr__trace *make_sample(uint64_t now)
{
    mr__trace *trace = mr__trace_create(2);
    assert_non_null(trace);
    mr__trace_name_lane(trace, 0, "cpu worker %d", 0);
    mr__trace_span(trace, 0, "map", "task", now + 1000, now + 3000, "bytes", 77);
    mr__trace_span(trace, 0, "spill", "spill", now + 3000, now + 4000, NULL, 0);
    mr__trace_counter(trace, 1, "memory", now + 2000, 5);
    return trace;
}

static mr__writing pack(const mr__trace *trace, size_t most)
{
    mr__writing packed = {.size = 0};
    mr__trace_pack(trace, most, &packed);
    assert_false(packed.broken);
    return packed;
}

static void test_a_clock_is_read_well_by_a_thread_that_is_put_aside(void **state)
{
    const int64_t ahead = mr__trace_clock();
    aside_ns = 100000000;
    const int64_t again = mr__trace_clock();
    assert_int_equal(aside_ns, 0);
    assert_true(llabs(again - ahead) < 5000000);
}

static void test_ranks_become_processes_on_one_clock(void **state)
{
    const uint64_t now = mr__now_ns() + LATER_NS;       /* after all of them were created */
    mr__trace *own = make_sample(now);
    mr__trace *early = make_sample(now - 500000000), *late = make_sample(now + 250000000);
    mr__writing packed[] = {pack(early, MOST), pack(late, MOST)};
    const mr__trace_part parts[] = {{7, "rank 7 on b", packed[0].bytes, packed[0].size},
                                    {9, "rank 9 on c", packed[1].bytes, packed[1].size},
                                    {11, "broken", packed[1].bytes, packed[1].size - 1}};
    assert_int_equal(mr__trace_write(own, path, 3, "rank 3 on a", parts, MR__COUNT(parts), NULL), MR_OK);
    json_t *root = read_back();
    const json_int_t pids[] = {4, 8, 10};
    const char *const titles[] = {"rank 3 on a", "rank 7 on b", "rank 9 on c"};
    for (size_t i = 0; i < MR__COUNT(pids); i++) {
        json_t *map = find_of(root, pids[i], "X", 1, 0), *spill = find_of(root, pids[i], "X", 1, 1);
        json_t *memory = find_of(root, pids[i], "C", 2, 0);
        assert_string_equal(name_of(find_of(root, pids[i], "M", 0, 0)), titles[i]);
        assert_string_equal(name_of(find_of(root, pids[i], "M", 1, 0)), "cpu worker 0");
        assert_string_equal(name_of(find_of(root, pids[i], "M", 2, 0)), "worker 1");
        assert_string_equal(json_string_value(json_object_get(map, "name")), "map");
        assert_string_equal(json_string_value(json_object_get(map, "cat")), "task");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(map, "args"), "bytes")), 77);
        assert_float_equal(number_of(map, "dur"), 2, 1e-6);
        assert_string_equal(json_string_value(json_object_get(spill, "name")), "spill");
        assert_null(json_object_get(spill, "args"));
        assert_int_equal(json_integer_value(json_object_get(json_object_get(memory, "args"), "value")), 5);
        assert_null(find_of(root, pids[i], "X", 1, 2));
    }
    assert_null(find_of(root, 12, "M", 0, 0));
    /* all were packed by this very clock, read twice */
    const double own_at = number_of(find_of(root, 4, "X", 1, 0), "ts");
    assert_float_equal(number_of(find_of(root, 8, "X", 1, 0), "ts") - own_at, -500000, 5000);
    assert_float_equal(number_of(find_of(root, 10, "X", 1, 0), "ts") - own_at, 250000, 5000);
    json_decref(root);
    for (size_t i = 0; i < MR__COUNT(packed); i++)
        mr__free(packed[i].bytes);
    mr__trace_destroy(late);
    mr__trace_destroy(early);
    mr__trace_destroy(own);
}

/* A host that was started an hour before this one: its monotonic clock is an hour ahead. */
static void test_times_of_another_host_are_put_right(void **state)
{
    static const uint64_t HOUR = UINT64_C(3600000000000);
    const uint64_t now = mr__now_ns();
    mr__trace *own = make_sample(now + LATER_NS), *other = make_sample(now + LATER_NS + HOUR);
    mr__writing packed = pack(other, MOST);
    const uint64_t clock = htole64((uint64_t)mr__trace_clock() - HOUR), origin = htole64(now + HOUR);
    uint64_t began;
    memcpy(packed.bytes, &origin, sizeof origin);
    memcpy(packed.bytes + 8, &clock, sizeof clock);
    assert_true(mr__trace_packed_origin(packed.bytes, packed.size, mr__trace_clock(), &began));
    assert_true(began > now - 5000000 && began < now + 5000000);
    assert_false(mr__trace_packed_origin(packed.bytes, 15, 0, &began));
    const mr__trace_part part = {1, "other", packed.bytes, packed.size};
    assert_int_equal(mr__trace_write(own, path, 0, "x", &part, 1, NULL), MR_OK);
    json_t *root = read_back();
    json_t *here = find_of(root, 1, "X", 1, 0), *there = find_of(root, 2, "X", 1, 0);
    assert_float_equal(number_of(there, "ts") - number_of(here, "ts"), 0, 5000);
    assert_float_equal(number_of(there, "dur"), 2, 1e-6);
    json_decref(root);
    mr__trace_destroy(other);
    mr__trace_destroy(own);
    mr__free(packed.bytes);
}

static void test_what_is_too_much_is_dropped_and_counted(void **state)
{
    enum { EVENT = 28 };
    static const struct { uint32_t events[3]; size_t most; uint32_t kept[3]; } cases[] = {
        {{10, 10, 10}, MOST, {10, 10, 10}},
        {{10, 10, 10}, 9 * EVENT, {3, 3, 3}},
        {{1, 10, 10}, 9 * EVENT, {1, 4, 4}},        /* what the first does not need is the others' */
        {{10, 10, 10}, EVENT, {0, 0, 1}},
        {{10, 0, 10}, 0, {0, 0, 0}},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__trace *trace = mr__trace_create(3), *back = NULL;
        const uint64_t now = mr__now_ns();
        uint64_t dropped = 0;
        for (uint32_t l = 0; l < 3; l++)
            for (uint32_t i = 0; i < cases[c].events[l]; i++)
                mr__trace_span(trace, l, "task", "map", now + i * 1000, now + i * 1000 + 1, "number", i);
        mr__writing packed = pack(trace, cases[c].most);
        assert_int_equal(mr__trace_unpack(packed.bytes, packed.size, 0, &back, NULL), MR_OK);
        assert_int_equal(mr__trace_write(back, path, 0, "x", NULL, 0, NULL), MR_OK);
        json_t *root = read_back();
        for (uint32_t l = 0; l < 3; l++) {
            for (uint32_t i = 0; i < cases[c].kept[l]; i++)
                assert_int_equal(json_integer_value(json_object_get(
                                     json_object_get(find(root, "X", l + 1, i), "args"), "number")), i);
            assert_null(find(root, "X", l + 1, cases[c].kept[l]));
            dropped += cases[c].events[l] - cases[c].kept[l];
        }
        assert_int_equal(mr__trace_dropped(back), dropped);
        json_decref(root);
        mr__trace_destroy(back);
        mr__trace_destroy(trace);
        mr__free(packed.bytes);
    }
}

/* Whatever comes is refused, or is a trace that can be written; ASan sees reads beyond the message. */
static void test_broken_bytes_are_refused_or_harmless(void **state)
{
    mr__trace *trace = make_sample(mr__now_ns());
    mr__writing packed = pack(trace, MOST);
    uint32_t refused = 0, taken = 0;
    for (size_t size = 0; size < packed.size; size++) {
        mr__trace *back = NULL;
        mr__error error = {.code = MR_OK};
        uint8_t *cut = malloc(size + 1);        /* its end is the heap's */
        memcpy(cut, packed.bytes, size);
        cut = realloc(cut, size > 0 ? size : 1);
        assert_int_equal(mr__trace_unpack(cut, size, 0, &back, &error), MR_NETWORK_FAILED);
        assert_null(back);
        assert_string_not_equal(error.text, "");
        free(cut);
    }
    for (size_t at = 0; at < packed.size; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            mr__trace *back = NULL;
            packed.bytes[at] ^= (uint8_t)(1 << bit);
            const mr_status status = mr__trace_unpack(packed.bytes, packed.size, 0, &back, NULL);
            if (status == MR_OK && bit == 0)
                assert_int_equal(mr__trace_write(back, path, 0, "x", NULL, 0, NULL), MR_OK);
            refused += status != MR_OK;
            taken += status == MR_OK;
            mr__trace_destroy(back);
            packed.bytes[at] ^= (uint8_t)(1 << bit);
        }
    }
    assert_true(refused > 100 && taken > 100);
    mr__trace_destroy(trace);
    mr__free(packed.bytes);
}

static void test_without_memory_no_trace_is_packed_or_unpacked(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_ALLOC, MR__FAULT_PAGES};
    mr__trace *trace = make_sample(mr__now_ns());
    mr__writing whole = pack(trace, MOST), nothing = {.size = 0};
    uint32_t failures = 0;
    for (uint32_t nth = 1;; nth++) {
        mr__writing packed = {.size = 0};
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        mr__trace_pack(trace, MOST, &packed);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        assert_int_equal(packed.broken, fired);
        mr__free(packed.bytes);
        if (!fired)
            break;
        failures++;
    }
    for (size_t p = 0; p < MR__COUNT(points); p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__trace *back = NULL;
            mr__fault_arm(points[p], nth);
            const mr_status status = mr__trace_unpack(whole.bytes, whole.size, 0, &back, NULL);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            assert_true(status == MR_OK || (fired && status == MR_NO_MEMORY && back == NULL));
            failures += status != MR_OK || mr__trace_dropped(back) > 0;
            mr__trace_destroy(back);
            if (!fired)
                break;
        }
    }
    assert_true(failures >= 6);
    mr__trace_pack(NULL, MOST, &nothing);
    assert_true(nothing.size == 0 && !nothing.broken);
    mr__trace_destroy(trace);
    mr__free(whole.bytes);
}

static int make_directory(void **state)
{
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/trace.json", directory);
    return 0;
}

static int remove_directory(void **state)
{
    unlink(path);
    return rmdir(directory);
}

/* test_engine_trace FILE writes a sample for check_trace.py instead. */
static int write_sample(const char *to)
{
    mr__trace *trace = mr__trace_create(3);
    const uint64_t now = mr__now_ns();
    for (uint32_t lane = 0; lane < 2; lane++) {
        for (uint64_t i = 0; i < 3000; i++)
            mr__trace_span(trace, lane, i % 10 == 9 ? "spill" : "task", "map", now + i * 1000, now + i * 1000 + 900,
                           "bytes", i);
    }
    mr__trace_name_lane(trace, 2, "engine");
    for (uint64_t i = 0; i < 100; i++)
        mr__trace_counter(trace, 2, "memory", now + i * 30000, i << 20);
    const mr_status status = mr__trace_write(trace, to, 0, "sample \xff", NULL, 0, NULL);
    mr__trace_destroy(trace);
    return mr_status_exit(status);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return write_sample(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_and_counters_come_back),
        cmocka_unit_test(test_a_full_lane_drops_and_counts),
        cmocka_unit_test(test_no_trace_and_no_such_lane_are_no_ops),
        cmocka_unit_test(test_times_before_the_trace_do_not_wrap),
        cmocka_unit_test(test_a_failed_call_leaves_no_file_and_says_why),
        cmocka_unit_test(test_without_memory_events_are_dropped),
        cmocka_unit_test(test_a_clock_is_read_well_by_a_thread_that_is_put_aside),
        cmocka_unit_test(test_ranks_become_processes_on_one_clock),
        cmocka_unit_test(test_times_of_another_host_are_put_right),
        cmocka_unit_test(test_what_is_too_much_is_dropped_and_counted),
        cmocka_unit_test(test_broken_bytes_are_refused_or_harmless),
        cmocka_unit_test(test_without_memory_no_trace_is_packed_or_unpacked),
    };
    return cmocka_run_group_tests_name("engine.trace", tests, make_directory, remove_directory);
}
