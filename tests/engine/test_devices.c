/* test_devices.c: whatever a device does, the answer is that of the CPU, and the job ends.
 * Oracle: the same job without devices, and for the counts a loop of the test's own. The device process is
 * fake_device.c, which fails as told. */
#include "cmocka_all.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "budget.h"
#include "check.h"
#include "clock.h"
#include "job_fixture.h"

enum { KEYS = 16, ROWS = 3000000, WORDS = 400000, DISTINCT = 5000 };

/* ---- apps -------------------------------------------------------------------------------------------------------- */

static void tally_rows(const mr_block *block, mr_emitter *out, const void *params)
{
    const uint32_t *column = block->columns[0];
    for (size_t row = 0; row < block->rows; row++)
        mr_add_dense_u64(out, column[row] % KEYS, 1);
}

static void weigh_rows(const mr_block *block, mr_emitter *out, const void *params)
{
    const float *column = block->columns[0];
    for (size_t row = 0; row < block->rows; row++)
        mr_add_dense_f64(out, 0, 0, column[row]);
}

static const mr_row_kernel tally_kernel = {.name = "tally", .scalar = tally_rows, .source = "tally"};
static const mr_row_kernel weigh_kernel = {.name = "weigh", .scalar = weigh_rows, .source = "weigh"};
static const mr_column u32_column[] = {{MR_COLUMN_U32, 0}}, f32_column[] = {{MR_COLUMN_F32, 0}};

MR_APP(tally) {
    .summary = "Count numbers modulo 16", .input = MR_INPUT_RECORDS, .columns = u32_column, .column_count = 1,
    .record_size = 4, .key = MR_DENSE, .dense_keys = KEYS, .value = MR_U64, .combine = MR_COUNT, .row = &tally_kernel,
};
MR_APP(weigh) {
    .summary = "Add up numbers", .input = MR_INPUT_RECORDS, .columns = f32_column, .column_count = 1, .record_size = 4,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64, .combine = MR_SUM, .row = &weigh_kernel,
};

static mr_status words_map(const mr_block *block, mr_emitter *out, const void *params)
{
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(words) {
    .summary = "Count words", .input = MR_INPUT_TEXT, .unit = MR_WORDS, .key = MR_BYTES, .value = MR_U64,
    .combine = MR_COUNT, .map = words_map, .kernel = "words",
};

MR_APP(least) {
    .summary = "The smallest of the values of a word", .input = MR_INPUT_TEXT, .unit = MR_WORDS, .key = MR_BYTES,
    .value = MR_U64, .combine = MR_MIN, .map = words_map, .kernel = "least",
};

/* ---- one job ----------------------------------------------------------------------------------------------------- */

static struct {
    char rows[4200], text[4200], once[4200], tokens[4200], cache[4200];
} place;

static struct answer {
    uint64_t hash, keys;
    mr_stats stats;
    mr_status status;
    char error[1024];
    double seconds;
} last;

static uint64_t memory_limit;       /* 0: the preset */

/* Runs an app over the test's data with a specification of workers; a hash of the sorted result. */
static struct answer *run(const mr_app_handle *app, const char *workers)
{
    const mr_session_options options = {.worker_spec = workers, .burst = fixture_folder, .records = "",
                                        .memory = memory_limit};
    const char *path = app == &mr_app_words ? place.text : place.rows;
    const uint64_t started = mr__now_ns();
    mr_session *session;
    mr_dataset *dataset;
    mr_result *result = NULL;
    memset(&last, 0, sizeof last);
    if (mr_session_open(&options, &session) != MR_OK)
        fail_msg("%s", mr_error(NULL));
    if (mr_dataset_open(session, &path, 1, &dataset) != MR_OK)
        fail_msg("%s", mr_error(session));
    const mr_sort sort = app == &mr_app_words ? MR_SORT_KEY : MR_SORT_NONE;
    last.status = mr_run(session, &(mr_job){.app = app, .dataset = dataset, .sort = sort}, &result);
    snprintf(last.error, sizeof last.error, "%s", mr_error(session));
    if (last.status == MR_OK) {
        last.stats = *mr_result_stats(result);
        last.stats.record = last.stats.run = NULL;
        last.hash = 1469598103934665603u;
        for (mr_slice key, value; mr_result_next(result, &key, &value); last.keys++) {
            for (size_t i = 0; i < key.size; i++)
                last.hash = (last.hash ^ key.data[i]) * 1099511628211u;
            for (size_t i = 0; i < value.size; i++)
                last.hash = (last.hash ^ value.data[i]) * 1099511628211u;
        }
        mr_result_close(result);
    }
    mr_dataset_close(dataset);
    mr_session_close(session);
    last.seconds = (double)(mr__now_ns() - started) * 1e-9;
    return &last;
}

static void plan_fault(const char *fault, bool once)
{
    unlink(place.once);
    if (fault != NULL)
        setenv("FAKE_FAULT", fault, 1);
    else
        unsetenv("FAKE_FAULT");
    if (once)
        setenv("FAKE_ONCE", place.once, 1);
    else
        unsetenv("FAKE_ONCE");
}

static int each_set_up(void **state)
{
    fixture_remove(place.tokens);
    fixture_remove(place.cache);
    mkdir(place.tokens, 0700);
    mkdir(place.cache, 0700);
    setenv("MILLRACE_TOKENS", place.tokens, 1);
    setenv("XDG_CACHE_HOME", place.cache, 1);
    setenv("MILLRACE_READ", "pread", 1);    /* else each test measures the disk, which may be busy */
    setenv("MILLRACE_DEVICE_PROGRAM", FAKE_DEVICE, 1);
    setenv("MILLRACE_DEVICE_BACKOFF_MS", "20", 1);
    setenv("MILLRACE_DEVICE_TIMEOUT_MS", "60000", 1);
    unsetenv("FAKE_DEVICES");
    unsetenv("FAKE_TYPE");
    unsetenv("FAKE_WHO");
    unsetenv("FAKE_SLOW_MS");
    plan_fault(NULL, false);
    return 0;
}

static const mr_app_handle *const apps[] = {&mr_app_tally, &mr_app_weigh, &mr_app_words};

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_every_mix_of_workers_gives_the_same_answer(void **state)
{
    static const char *const mixes[] = {"cpu=0,device=all", "cpu=1,device=all", "cpu=2,device=fake-1",
                                        "cpu=0,device=fake-0:1,fake-2:4", "3"};
    setenv("FAKE_DEVICES", "3", 1);
    for (size_t a = 0; a < MR__COUNT(apps); a++) {
        const uint64_t expected = run(apps[a], "cpu=1,device=none")->hash;
        assert_int_equal(last.stats.devices, 0);
        for (size_t m = 0; m < MR__COUNT(mixes); m++) {
            if (run(apps[a], mixes[m])->status != MR_OK)
                fail_msg("%s with %s: %s", apps[a]->name, mixes[m], last.error);
            assert_int_equal(last.hash, expected);
            assert_int_equal(last.stats.device_failures, 0);
            if (strncmp(mixes[m], "cpu=0", 5) == 0)
                assert_true(last.stats.device_tasks > 0);
        }
    }
}

static void test_counts_are_right_at_all(void **state)
{
    static uint32_t numbers[ROWS];
    uint64_t expected[KEYS] = {0};
    FILE *from = fopen(place.rows, "r");
    assert_int_equal(fread(numbers, sizeof *numbers, ROWS, from), ROWS);
    fclose(from);
    for (size_t i = 0; i < ROWS; i++)
        expected[numbers[i] % KEYS]++;
    const mr_session_options options = {.worker_spec = "cpu=0,device=all", .burst = fixture_folder, .records = ""};
    const char *path = place.rows;
    mr_session *session;
    mr_dataset *dataset;
    mr_slice key, value;
    assert_int_equal(mr_session_open(&options, &session), MR_OK);
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    mr_result *result = fixture_run(session, &(mr_job){.app = &mr_app_tally, .dataset = dataset});
    for (size_t k = 0; k < KEYS; k++) {
        assert_true(mr_result_next(result, &key, &value));
        assert_int_equal(fixture_u64(value), expected[fixture_u64(key)]);
    }
    assert_true(mr_result_stats(result)->device_tasks > 0);
    assert_int_equal(mr_result_stats(result)->rows, ROWS);
    mr_result_close(result);
    mr_dataset_close(dataset);
    mr_session_close(session);
}

/* What goes wrong, and whether the device counts as failed by it. */
static const struct {
    const char *fault;
    bool rows, text, failure;
} faults[] = {
    {"die:1", true, true, true},   {"die:3", true, true, true},      {"hang:2", true, true, true},
    {"broken:2", true, true, true}, {"wrong:1", true, true, true},   {"size:2", true, false, true},
    {"rows:2", true, false, true}, {"slot:2", true, true, true},     {"id:2", true, true, true},
    {"pair:2", false, true, true}, {"short:2", true, true, true},    {"twice:2", true, true, true},
    {"unfit:2", true, true, false}, {"baddata:2", true, true, false}, {"failstart", true, true, true},
    {"nostart", true, true, true},
};

static void check_fault(size_t f, const char *workers, bool device_must_work)
{
    for (size_t a = 0; a < MR__COUNT(apps); a++) {
        const bool text = apps[a] == &mr_app_words;
        if (!(text ? faults[f].text : faults[f].rows))
            continue;
        each_set_up(NULL);
        const uint64_t expected = run(apps[a], "cpu=1")->hash;
        plan_fault(faults[f].fault, true);
        if (strncmp(faults[f].fault, "hang", 4) == 0)       /* a busy machine is no hanging device */
            setenv("MILLRACE_DEVICE_TIMEOUT_MS", "1500", 1);
        if (device_must_work)
            setenv("FAKE_SLOW_MS", "1", 1);
        if (run(apps[a], workers)->status != MR_OK)
            fail_msg("%s with %s and %s: %s", apps[a]->name, workers, faults[f].fault, last.error);
        assert_int_equal(last.hash, expected);
        if (device_must_work) {
            if (faults[f].failure && last.stats.device_failures == 0)
                fail_msg("%s with %s: %s went unnoticed", apps[a]->name, workers, faults[f].fault);
            if (!faults[f].failure)
                assert_int_equal(last.stats.device_failures, 0);
        }
    }
}

static void test_a_device_that_fails_once_costs_no_answer(void **state)
{
    for (size_t f = 0; f < MR__COUNT(faults); f++)
        check_fault(f, "cpu=0,device=fake-0", true);
}

static void test_the_cpu_finishes_what_a_device_leaves(void **state)
{
    for (size_t f = 0; f < MR__COUNT(faults); f++)
        check_fault(f, "cpu=2,device=fake-0", false);
}

static void test_a_device_that_always_fails_is_drained_and_the_cpu_does_all(void **state)
{
    static const char *const always[] = {"die:1", "broken:1", "wrong:1", "failstart", "nostart"};
    for (size_t i = 0; i < MR__COUNT(always); i++) {
        each_set_up(NULL);
        const uint64_t expected = run(&mr_app_words, "cpu=1")->hash;
        plan_fault(always[i], false);
        if (run(&mr_app_words, "cpu=1,device=fake-0")->status != MR_OK)
            fail_msg("%s: %s", always[i], last.error);
        assert_int_equal(last.hash, expected);
        assert_int_equal(last.stats.device_tasks, 0);
    }
}

static void test_without_a_worker_left_the_job_says_why_each_device_was_lost(void **state)
{
    setenv("FAKE_DEVICES", "2", 1);
    plan_fault("broken:1", false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=all")->status, MR_DEVICE_LOST);
    assert_non_null(strstr(last.error, "fake-0: the fake device says broken"));
    assert_non_null(strstr(last.error, "fake-1: the fake device says broken"));
    assert_non_null(strstr(last.error, "hint:"));
    assert_int_equal(mr_status_exit(last.status), 5);
}

static void test_a_device_that_gives_every_task_back_harms_nothing(void **state)
{
    setenv("FAKE_DEVICES", "2", 1);
    for (size_t a = 0; a < MR__COUNT(apps); a++) {
        plan_fault(NULL, false);
        const uint64_t expected = run(apps[a], "cpu=1")->hash;
        plan_fault("unfit:0", false);
        if (run(apps[a], "cpu=1,device=all")->status != MR_OK)
            fail_msg("%s: %s", apps[a]->name, last.error);
        assert_int_equal(last.hash, expected);
        assert_int_equal(last.stats.device_tasks, 0);
        assert_int_equal(last.stats.device_failures, 0);
    }
}

/* What a drained device did on earlier runs must not keep the other from the work. */
static void test_a_slow_device_does_all_while_a_fast_one_is_drained(void **state)
{
    setenv("FAKE_DEVICES", "2", 1);
    const uint64_t expected = run(&mr_app_tally, "cpu=1,device=none")->hash;
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_OK);
    setenv("FAKE_SLOW_MS", "100", 1);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-1")->status, MR_OK);
    unsetenv("FAKE_SLOW_MS");
    plan_fault("die:1", false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_DEVICE_LOST);
    plan_fault(NULL, false);
    if (run(&mr_app_tally, "cpu=0,device=all")->status != MR_OK)
        fail_msg("%s", last.error);
    assert_int_equal(last.hash, expected);
}

static void test_results_of_devices_leave_memory_for_the_rest(void **state)
{
    setenv("FAKE_DEVICES", "3", 1);
    for (size_t a = 0; a < MR__COUNT(apps); a++) {
        const uint64_t expected = run(apps[a], "cpu=1,device=none")->hash;
        memory_limit = mr__rss_bytes() + (96 << 20);
        run(apps[a], "cpu=1,device=all");
        memory_limit = 0;
        if (last.status != MR_OK)
            fail_msg("%s: %s", apps[a]->name, last.error);
        assert_int_equal(last.hash, expected);
        assert_int_equal(last.stats.devices, 3);
    }
}

static void test_a_setting_that_is_no_number_is_refused(void **state)
{
    mr_session *session;
    setenv("MILLRACE_DEVICE_LANES", "four", 1);
    assert_int_equal(mr_session_open(NULL, &session), MR_BAD_USAGE);
    assert_non_null(strstr(mr_error(NULL), "MILLRACE_DEVICE_LANES is 'four'"));
    unsetenv("MILLRACE_DEVICE_LANES");
    setenv("MILLRACE_DEVICE_TIMEOUT_MS", "soon", 1);
    assert_int_equal(run(&mr_app_tally, "cpu=1,device=fake-0")->status, MR_BAD_USAGE);
    assert_non_null(strstr(last.error, "MILLRACE_DEVICE_TIMEOUT_MS is 'soon'"));
}

static void test_one_of_two_devices_is_enough(void **state)
{
    setenv("FAKE_DEVICES", "2", 1);
    const uint64_t expected = run(&mr_app_tally, "cpu=1")->hash;
    setenv("FAKE_WHO", "fake-1", 1);
    plan_fault("die:2", false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=all")->status, MR_OK);
    assert_int_equal(last.hash, expected);
    assert_true(last.stats.device_tasks > 0);
}

static void test_a_kernel_that_does_not_compile_ends_the_job_that_asked_for_it(void **state)
{
    plan_fault("badkernel", false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_DEVICE_LOST);
    assert_non_null(strstr(last.error, "app.cl:3: error: expected ';'"));
    setenv("FAKE_SLOW_MS", "1", 1);
    run(&mr_app_words, "cpu=1,device=fake-0");      /* the CPU may be done before the compiler is */
    if (last.status != MR_OK) {
        assert_int_equal(last.status, MR_DEVICE_LOST);
        assert_non_null(strstr(last.error, "app.cl:3"));
    }
    plan_fault(NULL, false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_OK);     /* it was not the device's fault */
}

static void test_a_drained_device_is_not_used(void **state)
{
    plan_fault("die:1", false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_DEVICE_LOST);
    plan_fault(NULL, false);
    assert_int_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_NO_WORKER);
    assert_non_null(strstr(last.error, "drained"));
    assert_non_null(strstr(last.error, "millrace devices restore fake-0"));
    assert_int_equal(run(&mr_app_tally, "cpu=1,device=fake-0")->status, MR_OK);
    assert_int_equal(last.stats.device_tasks, 0);
}

static void test_gpus_take_part_unasked_and_never_spoil_a_job(void **state)
{
    const uint64_t expected = run(&mr_app_tally, "cpu=2,device=none")->hash;
    run(&mr_app_tally, NULL);
    assert_int_equal(last.stats.devices, 0);        /* they say that they are CPUs */
    each_set_up(NULL);
    setenv("FAKE_TYPE", "gpu", 1);
    assert_int_equal(run(&mr_app_tally, NULL)->status, MR_OK);
    assert_int_equal(last.stats.devices, 1);
    assert_int_equal(last.hash, expected);
    chmod(place.tokens, 0777);                      /* others could block us: not used */
    assert_int_equal(run(&mr_app_tally, NULL)->status, MR_OK);
    assert_int_equal(last.stats.devices, 0);
    assert_int_equal(last.hash, expected);
    /* cpu=0: whatever speed it was found to have, it is tried */
    assert_int_not_equal(run(&mr_app_tally, "cpu=0,device=fake-0")->status, MR_OK);
    assert_string_not_equal(last.error, "");
    chmod(place.tokens, 0700);
    plan_fault("badkernel", false);                 /* nobody asked for it */
    assert_int_equal(run(&mr_app_tally, NULL)->status, MR_OK);
    assert_int_equal(last.hash, expected);
    unsetenv("FAKE_TYPE");
}

static void test_an_app_without_a_kernel_runs_on_cpus_only(void **state)
{
    assert_int_equal(run(&mr_app_fixture_mean, "cpu=1,device=all")->status, MR_OK);
    assert_int_equal(last.stats.devices, 0);
    assert_int_equal(run(&mr_app_fixture_mean, "cpu=0,device=all")->status, MR_NO_WORKER);
    assert_non_null(strstr(last.error, "no kernel"));
}

static void test_what_does_not_add_up_runs_on_cpus_only(void **state)
{
    assert_int_equal(run(&mr_app_least, "cpu=0,device=all")->status, MR_NO_WORKER);
    assert_non_null(strstr(last.error, "text kernels add values up"));
}

static void cancel_later(const mr_progress *progress, void *session)
{
    if (progress->seconds > 0.5)
        mr_session_cancel(session);
}

static void test_a_device_that_hangs_does_not_hold_a_cancelled_job(void **state)
{
    plan_fault("hang:1", false);
    const mr_session_options options = {.worker_spec = "cpu=0,device=fake-0", .burst = fixture_folder, .records = ""};
    const char *path = place.rows;
    mr_session *session;
    mr_dataset *dataset;
    assert_int_equal(mr_session_open(&options, &session), MR_OK);
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_OK);
    const mr_job job = {.app = &mr_app_tally, .dataset = dataset, .progress = cancel_later,
                        .progress_context = session};
    const uint64_t started = mr__now_ns();
    assert_int_equal(mr_run(session, &job, NULL), MR_CANCELLED);
    assert_true(mr__now_ns() - started < 20000000000u);
    mr_dataset_close(dataset);
    mr_session_close(session);
}

/* Was this process started with the test's folder of tokens in its environment? */
static bool is_ours(const char *process)
{
    char path[300], variable[4300];
    char *environment = NULL;
    size_t room = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%s/environ", process);
    snprintf(variable, sizeof variable, "MILLRACE_TOKENS=%s", place.tokens);
    FILE *from = fopen(path, "r");
    while (from != NULL && !found && getdelim(&environment, &room, '\0', from) > 0)
        found = strcmp(environment, variable) == 0;
    if (from != NULL)
        fclose(from);
    free(environment);
    return found;
}

static void test_no_process_and_no_file_is_left(void **state)
{
    setenv("FAKE_DEVICES", "3", 1);
    plan_fault("die:2", false);
    run(&mr_app_tally, "cpu=1,device=all");
    DIR *processes = opendir("/proc");
    assert_non_null(processes);
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        char path[300], target[4096];
        snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
        const ssize_t size = readlink(path, target, sizeof target - 1);
        if (size <= 0)
            continue;
        target[size] = '\0';
        assert_false(strcmp(target, FAKE_DEVICE) == 0 && is_ours(entry->d_name));
    }
    closedir(processes);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    static float numbers[ROWS];
    static uint64_t counts[DISTINCT];
    if (fixture_set_up(state) != 0)
        return -1;
    static char data[4100];
    snprintf(data, sizeof data, "%s-devices", fixture_folder);
    mkdir(data, 0700);
    snprintf(place.rows, sizeof place.rows, "%s/rows", data);
    snprintf(place.once, sizeof place.once, "%s/once", data);
    snprintf(place.tokens, sizeof place.tokens, "%s/tokens", data);
    snprintf(place.cache, sizeof place.cache, "%s/cache", data);
    uint32_t seed = 7;
    for (size_t i = 0; i < ROWS; i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(seed >> 8) / 1000;
    }
    FILE *to = fopen(place.rows, "w");
    if (to == NULL || fwrite(numbers, sizeof *numbers, ROWS, to) != ROWS || fclose(to) != 0)
        return -1;
    snprintf(place.text, sizeof place.text, "%s", fixture_words(data, "text", WORDS, DISTINCT, 3, counts));
    *state = data;
    return 0;
}

static int tear_down(void **state)
{
    char data[4200];
    snprintf(data, sizeof data, "%s-devices", fixture_folder);
    fixture_remove(data);
    return fixture_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_every_mix_of_workers_gives_the_same_answer, each_set_up),
        cmocka_unit_test_setup(test_counts_are_right_at_all, each_set_up),
        cmocka_unit_test_setup(test_a_device_that_fails_once_costs_no_answer, each_set_up),
        cmocka_unit_test_setup(test_the_cpu_finishes_what_a_device_leaves, each_set_up),
        cmocka_unit_test_setup(test_a_device_that_always_fails_is_drained_and_the_cpu_does_all, each_set_up),
        cmocka_unit_test_setup(test_without_a_worker_left_the_job_says_why_each_device_was_lost, each_set_up),
        cmocka_unit_test_setup(test_a_device_that_gives_every_task_back_harms_nothing, each_set_up),
        cmocka_unit_test_setup(test_a_slow_device_does_all_while_a_fast_one_is_drained, each_set_up),
        cmocka_unit_test_setup(test_results_of_devices_leave_memory_for_the_rest, each_set_up),
        cmocka_unit_test_setup(test_a_setting_that_is_no_number_is_refused, each_set_up),
        cmocka_unit_test_setup(test_one_of_two_devices_is_enough, each_set_up),
        cmocka_unit_test_setup(test_a_kernel_that_does_not_compile_ends_the_job_that_asked_for_it, each_set_up),
        cmocka_unit_test_setup(test_a_drained_device_is_not_used, each_set_up),
        cmocka_unit_test_setup(test_gpus_take_part_unasked_and_never_spoil_a_job, each_set_up),
        cmocka_unit_test_setup(test_an_app_without_a_kernel_runs_on_cpus_only, each_set_up),
        cmocka_unit_test_setup(test_what_does_not_add_up_runs_on_cpus_only, each_set_up),
        cmocka_unit_test_setup(test_a_device_that_hangs_does_not_hold_a_cancelled_job, each_set_up),
        cmocka_unit_test_setup(test_no_process_and_no_file_is_left, each_set_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
