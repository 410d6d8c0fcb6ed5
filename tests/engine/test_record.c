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
    const mr__record_rank ranks[] = {{.host = "here"}, {.lost = true}};
    const mr__record_loss loss = {.rank = 1, .why = "gone"};
    uint32_t failures = 0;
    mr__record full = sample;
    full.ranks = ranks;
    full.rank_count = 2;
    full.losses = &loss;
    full.loss_count = 1;
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            char path[MR__PATH_MAX] = "before";
            mr__error error = {.code = MR_OK};
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = mr__record_write(directory, &full, trace, path, &error);
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

/* ---- many ranks -------------------------------------------------------------------------------------------------- */

static const mr__record_rank told = {.host = "n\xe9 1", .pid = 4711, .workers = 2, .works = 7, .map_tasks = 8,
                                     .input_bytes = UINT64_C(1) << 40, .rows = 1, .pairs = 2, .keys = 3,
                                     .output_bytes = 4, .sent_bytes = 5, .received_bytes = 6, .saved_bytes = 9,
                                     .spilled_bytes = 7, .peak_rss_bytes = 8, .map_ns = 1500000000};

static void test_what_a_rank_told_comes_back(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    mr__writing bare = {.size = 0}, traced = {.size = 0};
    mr__record_rank got = {.works = 99};
    mr__trace_span(trace, 0, "map", "task", 1, 2, NULL, 0);
    mr__record_rank_pack(&told, NULL, 1 << 20, &bare);
    mr__record_rank_pack(&told, trace, 1 << 20, &traced);
    for (size_t size = 0; size < bare.size; size++) {
        assert_false(mr__record_rank_unpack(bare.bytes, size, &got));
        assert_int_equal(got.works, 99);
    }
    assert_true(mr__record_rank_unpack(bare.bytes, bare.size, &got));
    assert_string_equal(got.host, told.host);
#define SAME_NUMBER(name) assert_true(got.name == told.name);
    MR__RANK_NUMBERS(SAME_NUMBER)
#undef SAME_NUMBER
    assert_true(got.map_ns == told.map_ns && !got.lost && got.trace == NULL);
    assert_true(mr__record_rank_unpack(traced.bytes, traced.size, &got));
    assert_true(got.trace == traced.bytes + bare.size && got.trace_size == traced.size - bare.size);
    mr__trace_destroy(trace);
    mr__free(bare.bytes);
    mr__free(traced.bytes);
}

static json_t *write_ranks(uint32_t count, mr__trace *trace)
{
    char path[MR__PATH_MAX];
    static const uint8_t broken[] = {1, 2, 3};
    mr__writing packed = {.size = 0};
    mr__trace_pack(trace, 1 << 20, &packed);
    mr__record_rank ranks[] = {{.lost = true}, {.host = "here", .pid = 1}, told, told};
    ranks[2].trace = packed.bytes;
    ranks[2].trace_size = packed.size;
    ranks[3].trace = broken;
    ranks[3].trace_size = sizeof broken;
    ranks[3].lost = true;
    const mr__record_loss losses[] = {{3, INT64_C(1795277846000000000), "it was silent"},
                                      {0, INT64_C(1795277847500000000), "gone \xff"}};
    mr__record many = sample;
    many.ranks = ranks;
    many.rank_count = count;
    many.rank = 1;
    many.losses = losses;
    many.loss_count = count > 0 ? 2 : 0;
    assert_int_equal(mr__record_write(directory, &many, trace, path, NULL), MR_OK);
    mr__free(packed.bytes);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

static void test_each_rank_has_its_numbers_and_its_process(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    mr__trace_span(trace, 0, "map", "task", 1, 2, NULL, 0);
    json_t *root = write_ranks(4, trace);
    json_t *ranks = json_object_get(root, "ranks"), *losses = json_object_get(root, "losses");
    assert_int_equal(json_array_size(ranks), 4);
    assert_true(json_is_null(json_object_get(json_array_get(ranks, 0), "host")));
    assert_null(json_object_get(json_array_get(ranks, 0), "pairs"));
    assert_true(json_is_true(json_object_get(json_array_get(ranks, 0), "lost")));
    json_t *rank = json_array_get(ranks, 2);
    assert_string_equal(text_of(rank, "host"), "n\xef\xbf\xbd 1");
    assert_true(json_is_false(json_object_get(rank, "lost")));
    assert_int_equal(number_of(rank, "rank"), 2);
    assert_int_equal(number_of(rank, "pid"), 4711);
    assert_true(number_of(rank, "input_bytes") == INT64_C(1) << 40);
    assert_int_equal(number_of(rank, "received_bytes"), 6);
    assert_int_equal(number_of(rank, "saved_bytes"), 9);
    assert_true(json_real_value(json_object_get(rank, "map_seconds")) == 1.5);
    assert_int_equal(json_array_size(losses), 2);
    assert_int_equal(number_of(json_array_get(losses, 0), "rank"), 3);
    assert_string_equal(text_of(json_array_get(losses, 0), "when"), "2026-11-21T16:17:26.000000Z");
    assert_string_equal(text_of(json_array_get(losses, 1), "why"), "gone \xef\xbf\xbd");
    json_t *traced = json_load_file(text_of(root, "trace"), 0, NULL), *event;
    size_t i, processes = 0;
    json_array_foreach(json_object_get(traced, "traceEvents"), i, event) {
        static const char *const titles[] = {"rank 1 on here", "rank 2 on n? 1"};    /* of 3 it cannot be read */
        if (strcmp(text_of(event, "name"), "process_name") != 0)
            continue;
        assert_true(processes < 2);
        assert_int_equal(number_of(event, "pid"), processes + 2);
        assert_string_equal(text_of(json_object_get(event, "args"), "name"), titles[processes++]);
    }
    assert_int_equal(processes, 2);
    json_decref(traced);
    json_decref(root);
    assert_int_equal(clear(), 2);
    mr__trace_destroy(trace);
}

static void test_one_rank_leaves_no_list_of_ranks(void **state)
{
    mr__trace *trace = mr__trace_create(1);
    json_t *root = write_ranks(0, trace);
    assert_null(json_object_get(root, "ranks"));
    assert_null(json_object_get(root, "losses"));
    json_t *traced = json_load_file(text_of(root, "trace"), 0, NULL);
    json_t *process = json_array_get(json_object_get(traced, "traceEvents"), 0);
    assert_string_equal(text_of(json_object_get(process, "args"), "name"), "wordcount");
    json_decref(traced);
    json_decref(root);
    assert_int_equal(clear(), 2);
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
        cmocka_unit_test(test_what_a_rank_told_comes_back),
        cmocka_unit_test(test_each_rank_has_its_numbers_and_its_process),
        cmocka_unit_test(test_one_rank_leaves_no_list_of_ranks),
        cmocka_unit_test(test_runs_are_sorted_by_time_and_never_equal),
        cmocka_unit_test(test_the_rule_where_records_lie),
    };
    return cmocka_run_group_tests_name("engine.record", tests, make_parent, remove_parent);
}
