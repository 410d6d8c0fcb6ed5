/* The record of a run: written whole or not at all, private, and what went in comes out.
 * Oracle: jansson reads it back; the fields are compared with what was put in. */
#include "cmocka_all.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "fault.h"
#include "places.h"
#include "record.h"

/* the engine's; this test stands without it */
const char *mr_version(void)
{
    return "1.2.3";
}

typedef struct settings {
    uint64_t k;
    double rate;
    uint32_t split;
} settings;

static const mr_param params[] = {
    MR_PARAM_U64_FIELD(settings, k, "100", 1, 1e6, "number of centres"),
    MR_PARAM_F64_FIELD(settings, rate, "0.5", 0, 1, "rate"),
    MR_PARAM_CHOICE_FIELD(settings, split, "letters", "space|letters", "what separates words"),
};
static const mr_app app = {.params = params, .param_count = MR__COUNT(params), .params_size = sizeof(settings)};
static const settings values = {.k = 7, .rate = 0.25, .split = 1};
static const mr_stats stats = {
    .seconds = 1.5, .input_bytes = UINT64_C(1) << 33, .rows = 3, .pairs = 169000000, .keys = 3800000,
    .output_bytes = 42, .peak_rss_bytes = 900 << 20, .spilled_bytes = 17, .workers = 2, .rounds = 1, .partitions = 64,
    .parts = 4, .simd = "avx512", .read_path = "mmap", .stage_count = 2,
    .stages = {{"map", 1.25, 256, 1 << 30}, {"reduce", 0.25, 64, 0}},
};
static const char *const setting_texts[] = {"k=7", "split=letters"};
static const char *const inputs[] = {"/data/a.txt", "/data/caf\xe9.txt", "/data/\xc3\xa9\xed\xa0\x80"};
static const mr__record sample = {
    .run = "20261121-161725-123456-4711-9f3c", .started_ns = INT64_C(1795277845123456789), .app_name = "wordcount",
    .app = &app, .params = &values, .settings = setting_texts, .setting_count = 2, .inputs = inputs, .input_count = 3,
    .sources = 12, .output = "out", .sort = MR_SORT_VALUE, .status = MR_OK, .stats = &stats,
    .worker_note = "cgroup quota 1.5 CPUs", .memory_limit = UINT64_C(1) << 32, .memory_peak = 1000,
};

static char parent[64] = "/tmp/mr-test-record-XXXXXX";
static char directory[128];

static int clear(void)
{
    DIR *list = opendir(directory);
    int removed = 0;
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        removed += unlink(path) == 0;
    }
    if (list != NULL)
        closedir(list);
    rmdir(directory);
    return removed;
}

static const char *text_of(json_t *root, const char *key)
{
    return json_string_value(json_object_get(root, key));
}

static json_int_t number_of(json_t *root, const char *key)
{
    return json_integer_value(json_object_get(root, key));
}

static void test_a_record_comes_back_as_it_was(void **state)
{
    char path[MR__PATH_MAX];
    mr__trace *trace = mr__trace_create(2);
    assert_int_equal(mr__record_write(directory, &sample, trace, path, NULL), MR_OK);
    mr__trace_destroy(trace);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    assert_int_equal(number_of(root, "format"), MR__RECORD_FORMAT);
    assert_string_equal(text_of(root, "run"), sample.run);
    assert_string_equal(text_of(root, "started"), "2026-11-21T16:17:25.123456Z");
    assert_string_equal(text_of(root, "version"), "1.2.3");
    assert_string_equal(text_of(root, "app"), "wordcount");
    assert_string_equal(text_of(root, "status"), "MR_OK");
    assert_true(json_is_null(json_object_get(root, "error")));
    assert_string_equal(text_of(root, "sort"), "value");
    assert_string_equal(text_of(root, "simd"), "avx512");
    assert_string_equal(text_of(root, "worker_note"), "cgroup quota 1.5 CPUs");
    assert_true(json_is_null(json_object_get(root, "read_reason")));
    assert_true(number_of(root, "input_bytes") == INT64_C(1) << 33);
    assert_int_equal(number_of(root, "pairs"), 169000000);
    assert_int_equal(number_of(root, "sources"), 12);
    assert_true(json_real_value(json_object_get(root, "seconds")) == 1.5);
    json_t *stage = json_array_get(json_object_get(root, "stages"), 0);
    assert_string_equal(text_of(stage, "name"), "map");
    assert_int_equal(number_of(stage, "tasks"), 256);
    json_t *given = json_object_get(root, "params");
    assert_int_equal(number_of(given, "k"), 7);
    assert_string_equal(text_of(given, "split"), "letters");
    assert_true(json_array_size(json_object_get(root, "command")) > 0);
    /* names that are no UTF-8 */
    json_t *names = json_object_get(root, "inputs");
    assert_string_equal(json_string_value(json_array_get(names, 1)), "/data/caf\xef\xbf\xbd.txt");
    assert_string_equal(json_string_value(json_array_get(names, 2)),
                        "/data/\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    /* the trace that it names is there */
    assert_int_equal(access(text_of(root, "trace"), R_OK), 0);
    json_decref(root);
    assert_int_equal(clear(), 2);
}

static void test_a_failed_run_leaves_its_sentence(void **state)
{
    char path[MR__PATH_MAX];
    const mr__record failed = {.run = "r", .app_name = "wordcount", .status = MR_BAD_INPUT,
                               .error = "could not read /a: permission denied"};
    assert_int_equal(mr__record_write(directory, &failed, NULL, path, NULL), MR_OK);
    json_t *root = json_load_file(path, 0, NULL);
    assert_string_equal(text_of(root, "status"), "MR_BAD_INPUT");
    assert_int_equal(number_of(root, "exit"), 3);
    assert_string_equal(text_of(root, "error"), failed.error);
    assert_true(json_is_null(json_object_get(root, "trace")));
    assert_int_equal(json_array_size(json_object_get(root, "stages")), 0);
    json_decref(root);
    assert_int_equal(clear(), 1);
}

static void test_nobody_else_may_read_it(void **state)
{
    char path[MR__PATH_MAX];
    struct stat info;
    const mode_t old = umask(0);
    assert_int_equal(mr__record_write(directory, &sample, NULL, path, NULL), MR_OK);
    umask(old);
    assert_int_equal(stat(directory, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    clear();
}

static void test_an_empty_directory_name_keeps_none(void **state)
{
    char path[MR__PATH_MAX] = "before";
    assert_int_equal(mr__record_write("", &sample, NULL, path, NULL), MR_OK);
    assert_string_equal(path, "");
}

static void test_each_fault_leaves_nothing_and_says_why(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    uint32_t failures = 0;
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            char path[MR__PATH_MAX] = "before";
            mr__error error = {.code = MR_OK};
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = mr__record_write(directory, &sample, trace, path, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            const int left = clear();
            if (!fired) {
                assert_int_equal(status, MR_OK);
                assert_int_equal(left, 2);
                break;
            }
            if (status == MR_OK) {      /* only the note of the command line may be lost */
                assert_int_equal(mr__fault_points[p], MR__FAULT_ALLOC);
                continue;
            }
            failures++;
            assert_string_not_equal(error.text, "");
            assert_string_equal(path, "");
            assert_int_equal(left, 0);
        }
    }
    assert_true(failures >= 10);
    mr__trace_destroy(trace);
}

static void test_runs_are_sorted_by_time_and_never_equal(void **state)
{
    char early[MR__RUN_ID_SIZE], late[MR__RUN_ID_SIZE], again[MR__RUN_ID_SIZE];
    mr__record_make_run(INT64_C(1795277845000001000), early);
    mr__record_make_run(INT64_C(1795277845000002000), late);
    assert_true(strcmp(early, late) < 0);
    assert_memory_equal(early, "20261121-161725-000001-", 23);
    uint32_t equal = 0;
    for (int i = 0; i < 8; i++) {
        mr__record_make_run(INT64_C(1795277845000001000), again);
        equal += strcmp(early, again) == 0;
    }
    assert_true(equal < 8);
}

static void test_the_rule_where_records_lie(void **state)
{
    char path[MR__PATH_MAX];
    setenv("HOME", "/h", 1);
    unsetenv("MILLRACE_RECORDS");
    unsetenv("XDG_STATE_HOME");
    mr__places_records(NULL, path, NULL);
    assert_string_equal(path, "/h/.local/state/millrace");
    setenv("XDG_STATE_HOME", "relative", 1);
    mr__places_records(NULL, path, NULL);
    assert_string_equal(path, "/h/.local/state/millrace");
    setenv("XDG_STATE_HOME", "/x", 1);
    mr__places_records(NULL, path, NULL);
    assert_string_equal(path, "/x/millrace");
    setenv("MILLRACE_RECORDS", "/m", 1);
    mr__places_records(NULL, path, NULL);
    assert_string_equal(path, "/m");
    mr__places_records("", path, NULL);
    assert_string_equal(path, "");
    unsetenv("MILLRACE_RECORDS");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_int_equal(mr__places_records(NULL, path, NULL), MR_BAD_USAGE);
}

static int make_parent(void **state)
{
    if (mkdtemp(parent) == NULL)
        return -1;
    snprintf(directory, sizeof directory, "%s/deep/er", parent);
    return 0;
}

static int remove_parent(void **state)
{
    char deep[128];
    snprintf(deep, sizeof deep, "%s/deep", parent);
    clear();
    rmdir(deep);
    return rmdir(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_comes_back_as_it_was),
        cmocka_unit_test(test_a_failed_run_leaves_its_sentence),
        cmocka_unit_test(test_nobody_else_may_read_it),
        cmocka_unit_test(test_an_empty_directory_name_keeps_none),
        cmocka_unit_test(test_each_fault_leaves_nothing_and_says_why),
        cmocka_unit_test(test_runs_are_sorted_by_time_and_never_equal),
        cmocka_unit_test(test_the_rule_where_records_lie),
    };
    return cmocka_run_group_tests_name("engine.record", tests, make_parent, remove_parent);
}
