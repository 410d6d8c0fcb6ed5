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

static json_t *read_back(void)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    assert_non_null(root);
    return root;
}

/* The index-th event of phase `ph` on lane `tid`; borrowed. */
static json_t *find(json_t *root, const char *ph, json_int_t tid, size_t index)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(root, "traceEvents"), i, item) {
        if (strcmp(json_string_value(json_object_get(item, "ph")), ph) == 0 &&
            json_integer_value(json_object_get(item, "tid")) == tid && index-- == 0)
            return item;
    }
    return NULL;
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
    assert_int_equal(mr__trace_write(trace, path, 3, "wordcount", NULL), MR_OK);
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
    assert_int_equal(mr__trace_write(trace, path, 0, "x", NULL), MR_OK);
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
    assert_int_equal(mr__trace_write(trace, path, 0, "x", NULL), MR_OK);
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
            const mr_status status = mr__trace_write(trace, path, 0, "x", &error);
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
    const mr_status status = mr__trace_write(trace, to, 0, "sample \xff", NULL);
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
    };
    return cmocka_run_group_tests_name("engine.trace", tests, make_directory, remove_directory);
}
