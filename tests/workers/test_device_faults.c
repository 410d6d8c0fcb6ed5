/* test_device_faults.c: every OpenCL call of a job fails once in turn; some crash, hang, or lie. The answer is always
 * the right tables, or a sentence: never wrong tables, never silence. */
#include "cmocka_all.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device_cl.h"
#include "device_weigh.h"

static const struct weigh_params params = {1.5f, 0};

enum { PROBE_KERNELS = 5, PROBE_WAITS = 2 * PROBE_KERNELS };

/* Calls of a task, and how many of them a job makes before its first one, most of them in the probe. */
static const struct { uint32_t point, before; } points[] = {
    {MR__CL_BUFFER, 4}, {MR__CL_PART, 0}, {MR__CL_WRITE, 0}, {MR__CL_READ, PROBE_KERNELS},
    {MR__CL_FILL, PROBE_KERNELS}, {MR__CL_LAUNCH, PROBE_KERNELS}, {MR__CL_WAIT, PROBE_WAITS}};

enum what { REFUSED, WRONG, RIGHT, DIED };      /* WRONG: said so */

/* One job of one task under `fault`; `copy`: data are copied to the device; the task's rows lie in so many segments. */
static enum what run_segments(const char *fault, bool copy, uint32_t segments, char *text, size_t room)
{
    enum { MOST = 5, BLOCKS = (ROWS + BLOCK - 1) / BLOCK };
    mr__device_segment segment[MOST];
    char variable[512];
    const char *const environment[] = {variable, NULL};
    const char *const files[] = {weigh_file()};
    struct device device;
    struct device_job job = weigh_job(files, 1, &params);
    enum what what = RIGHT;
    job.job.zero_copy = !copy;
    job.job.slots = 1;
    snprintf(variable, sizeof variable, "MILLRACE_CL_FAULT=%s", fault);
    struct device_answer answer = device_open(&device, "pocl-0", &job, environment);
    snprintf(text, room, "%s", answer.ready.text);
    if (answer.kind != MR__DEVICE_READY)
        what = answer.kind == 0 ? DIED : REFUSED;
    if (what == RIGHT) {
        assert_true(segments <= MOST);
        for (uint32_t s = 0; s < segments; s++) {
            const uint64_t first = s * BLOCKS / segments * BLOCK, end = (s + 1) * BLOCKS / segments * BLOCK;
            segment[s] = weigh_segment(0, first, (end < ROWS ? end : ROWS) - first);
        }
        memset(device.memory, 0x77, BLOCKS * TABLE);
        device_send_task(&device, 1, 0, segment, segments);
        answer = device_receive(&device, 60000);
        if (answer.kind == 0) {
            what = DIED;
        } else if (answer.done.outcome != MR__DEVICE_OK) {
            what = WRONG;
            snprintf(text, room, "%s", answer.done.text);
        } else {
            weigh_check(device.memory, &params, 0, ROWS);
        }
    }
    device_stop(&device);
    return what;
}

static enum what run_job(const char *fault, bool copy, char *text, size_t room)
{
    return run_segments(fault, copy, 1, text, room);
}

static void every_call_may_fail_once(void **state)
{
    char fault[256], text[MR__DEVICE_TEXT];
    uint32_t seen[DIED + 1] = {0};
    skip_without_device();
    assert_int_equal(run_job("", false, text, sizeof text), RIGHT);      /* the cache is warm from here on */
    for (uint32_t call = 1;; call++) {
        const char *const mark = device_file("mark", "", 0);
        /* what is only asked about a device takes many calls that fail in the same way */
        if (call > 8 && call < 18)
            continue;
        snprintf(fault, sizeof fault, "pocl-0:%u@%s", call, mark);
        const enum what what = run_job(fault, call % 2 == 0, text, sizeof text);
        if (access(mark, F_OK) == 0) {          /* past the last call */
            assert_int_equal(what, RIGHT);
            break;
        }
        seen[what]++;
        assert_int_not_equal(what, DIED);
        if (what != RIGHT && (text[0] == '\0' || strstr(text, "pocl-0") == NULL) && call > 4)
            fail_msg("call %u: no sentence that names the device: \"%s\"", call, text);
    }
    assert_true(seen[REFUSED] > 10 && seen[WRONG] > 10 && seen[RIGHT] > 0);
    print_message("%u calls refused the job, %u spoilt a task, %u did not matter\n", seen[REFUSED], seen[WRONG],
                  seen[RIGHT]);
}

/* The same for a text: 2000 times one of three words. */
static enum what run_text(const char *fault, uint32_t buffer, char *text, size_t room)
{
    static const char kernel[] = "#include <millrace/text_opencl.h>\n"
                                 "MR_TEXT_KERNEL(words, uchar)\n"
                                 "{\n"
                                 "    mr_each_word(text, word, MR_SPLIT_BLANKS)\n"
                                 "        mr_emit(out, word, 1);\n"
                                 "}\n";
    enum { WORDS = 2000 };
    char variable[256], words[WORDS * 2];
    const char *const environment[] = {variable, NULL};
    uint64_t counts[3] = {0}, want[3] = {0};
    struct device device;
    enum what what = RIGHT;
    for (int i = 0; i < WORDS; i++) {
        words[2 * i] = (char)('a' + i * i % 3);
        words[2 * i + 1] = ' ';
        want[i * i % 3]++;
    }
    const char *const files[] = {device_file("words", words, sizeof words)};
    const struct device_job job = {
        .job = {.form = MR__DEVICE_TEXTS, .slots = 1, .slot_bytes = 1 << 20, .unit = 1, .buffer = buffer,
                .largest_segment = sizeof words},
        .name = "words", .kernel = kernel, .cache = device_directory(), .files = files, .file_count = 1};
    snprintf(variable, sizeof variable, "MILLRACE_CL_FAULT=%s", fault);
    struct device_answer answer = device_open(&device, "pocl-0", &job, environment);
    snprintf(text, room, "%s", answer.ready.text);
    if (answer.kind != MR__DEVICE_READY)
        what = answer.kind == 0 ? DIED : REFUSED;
    if (what == RIGHT) {
        const mr__device_segment segment = {.size = sizeof words};
        device_send_task(&device, 1, 0, &segment, 1);
        answer = device_receive(&device, 60000);
        what = answer.kind == 0 ? DIED : answer.done.outcome != MR__DEVICE_OK ? WRONG : RIGHT;
        snprintf(text, room, "%s", answer.done.text);
    }
    for (uint64_t at = 0; what == RIGHT && at < answer.done.bytes; at += sizeof(mr__device_pair) + 8) {
        const mr__device_pair *pair = (const mr__device_pair *)(device.memory + at);
        assert_int_equal(pair->size, 1);
        counts[*(const char *)(pair + 1) - 'a'] += pair->value;
    }
    if (what == RIGHT)
        assert_memory_equal(counts, want, sizeof want);
    device_stop(&device);
    return what;
}

/* What a task is made of: a text with a buffer, or rows in so many segments that are copied. */
struct trial {
    bool text;
    uint32_t buffer, segments;
};

static enum what run_trial(const struct trial *trial, const char *fault, char *text, size_t room)
{
    return trial->text ? run_text(fault, trial->buffer, text, room)
                       : run_segments(fault, true, trial->segments, text, room);
}

/* Each call of the task at this point fails once; the first `before` are of the job's start. */
static void fail_in_turn(const struct trial *trial, uint32_t point, uint32_t before, uint32_t seen[DIED + 1])
{
    char fault[256], text[MR__DEVICE_TEXT];
    for (uint32_t nth = before + 1;; nth++) {
        const char *const mark = device_file("mark", "", 0);
        snprintf(fault, sizeof fault, "pocl-0:%u:%u@%s", point, nth, mark);
        const enum what what = run_trial(trial, fault, text, sizeof text);
        if (access(mark, F_OK) == 0) {
            assert_int_equal(what, RIGHT);
            return;
        }
        seen[what]++;
        assert_int_not_equal(what, DIED);
        if (what != RIGHT && strstr(text, "pocl-0") == NULL)
            fail_msg("%s: \"%s\"", fault, text);
    }
}

static void every_call_of_a_text_task_may_fail_once(void **state)
{
    static const uint32_t buffers[] = {MR__DEVICE_ARRAY, MR__DEVICE_COMBINE};
    char text[MR__DEVICE_TEXT];
    uint32_t seen[DIED + 1] = {0};
    skip_without_device();
    for (size_t b = 0; b < 2; b++) {
        const struct trial trial = {.text = true, .buffer = buffers[b]};
        assert_int_equal(run_trial(&trial, "", text, sizeof text), RIGHT);
        for (size_t p = 0; p < sizeof points / sizeof points[0]; p++)
            fail_in_turn(&trial, points[p].point, points[p].before, seen);
    }
    assert_true(seen[WRONG] > 10);
    print_message("%u calls refused the job, %u spoilt the task, %u did not matter\n", seen[REFUSED], seen[WRONG],
                  seen[RIGHT]);
}

/* The runs of a part lie in parts of buffers. */
static void every_call_of_a_task_of_many_runs_may_fail_once(void **state)
{
    skip_without_device();
    for (size_t p = 0; p < sizeof points / sizeof points[0]; p++) {
        const bool makes = points[p].point == MR__CL_BUFFER || points[p].point == MR__CL_PART;  /* smaller, again */
        uint32_t seen[DIED + 1] = {0};
        fail_in_turn(&(struct trial){.segments = 5}, points[p].point, points[p].before, seen);
        assert_true(makes ? seen[WRONG] == 0 : seen[WRONG] >= 5);
    }
}

/* Else two slots would fall into step (device_blocks.c). 10 blocks are three parts, of four blocks at most. */
static void a_part_of_one_run_is_waited_for_once(void **state)
{
    uint32_t seen[DIED + 1] = {0};
    skip_without_device();
    fail_in_turn(&(struct trial){.segments = 1}, MR__CL_WAIT, PROBE_WAITS, seen);
    assert_int_equal(seen[WRONG], 3);
}

static void memory_that_runs_out_makes_smaller_parts(void **state)
{
    /* of the first slot: its input, its results; then parts, and commands. Without copies a buffer and two kernels come
     * before, which try the host's memory */
    static const struct { const char *fault; bool copy; uint32_t segments; } tries[] = {
        {"315:4=memory", true, 1}, {"315:6=memory", false, 1}, {"316:1=memory", true, 5}, {"316:2=memory", false, 5},
        {"322:6=memory", true, 1}, {"324:13=memory", false, 1}};
    char fault[256], text[MR__DEVICE_TEXT];
    skip_without_device();
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        const char *const mark = device_file("mark", "", 0);
        snprintf(fault, sizeof fault, "%s@%s", tries[i].fault, mark);
        const enum what what = run_segments(fault, tries[i].copy, tries[i].segments, text, sizeof text);
        assert_int_not_equal(access(mark, F_OK), 0);
        if (what != RIGHT)
            fail_msg("%s: %s", fault, text);
    }
}

static void memory_that_never_suffices_is_said(void **state)
{
    char text[MR__DEVICE_TEXT];
    skip_without_device();
    assert_int_equal(run_job("315:3+=memory", true, text, sizeof text), REFUSED);
    assert_non_null(strstr(text, "memory is full"));
    assert_int_equal(run_job("322:6+=memory", true, text, sizeof text), WRONG);
    assert_non_null(strstr(text, "memory"));
}

static void a_driver_that_crashes_takes_only_its_process(void **state)
{
    char text[MR__DEVICE_TEXT];
    skip_without_device();
    assert_int_equal(run_job("303:1=segv", false, text, sizeof text), DIED);
    assert_int_equal(run_job("322:8=segv", false, text, sizeof text), DIED);
}

static void a_driver_that_lies_is_found_out(void **state)
{
    char text[MR__DEVICE_TEXT];
    skip_without_device();
    assert_int_equal(run_job("320:1=garbage", false, text, sizeof text), REFUSED);
    assert_non_null(strstr(text, "computes wrongly"));
    assert_int_equal(run_job("322:3=garbage", false, text, sizeof text), REFUSED);
    assert_non_null(strstr(text, "computes wrongly"));
    assert_int_equal(run_job("320:6+=garbage", true, text, sizeof text), WRONG);
    assert_non_null(strstr(text, "not to be trusted"));
    /* a launch that does nothing: with copies, and in the host's memory */
    assert_int_equal(run_job("322:6+=garbage", true, text, sizeof text), WRONG);
    assert_non_null(strstr(text, "ran 0 of"));
    assert_int_equal(run_job("322:8+=garbage", false, text, sizeof text), WRONG);
    assert_non_null(strstr(text, "ran 0 of"));
}

static void a_driver_that_hangs_ends_with_the_channel(void **state)
{
    static const char *const faults[] = {"MILLRACE_CL_FAULT=301:1=hang", "MILLRACE_CL_FAULT=322:8=hang"};
    skip_without_device();
    const char *const files[] = {weigh_file()};
    const struct device_job job = weigh_job(files, 1, &params);
    for (int i = 0; i < 2; i++) {
        const char *const environment[] = {faults[i], NULL};
        struct device device;
        device_start(&device, "pocl-0", environment);
        device_send_job(&device, &job);
        if (i == 1) {
            assert_int_equal(device_receive(&device, 60000).kind, MR__DEVICE_READY);
            const mr__device_segment segment = weigh_segment(0, 0, ROWS);
            device_send_task(&device, 1, 0, &segment, 1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        assert_int_equal(waitpid(device.pid, NULL, WNOHANG), 0);
        assert_int_equal(device_stop(&device), 0);
    }
}

static void only_the_named_device_is_spoilt(void **state)
{
    char text[MR__DEVICE_TEXT];
    skip_without_device();
    assert_int_equal(run_job("pocl-1:1+", false, text, sizeof text), RIGHT);
    assert_int_equal(run_job("pocl-0:1+", false, text, sizeof text), REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail_once),
        cmocka_unit_test(every_call_of_a_text_task_may_fail_once),
        cmocka_unit_test(every_call_of_a_task_of_many_runs_may_fail_once),
        cmocka_unit_test(a_part_of_one_run_is_waited_for_once),
        cmocka_unit_test(memory_that_runs_out_makes_smaller_parts),
        cmocka_unit_test(memory_that_never_suffices_is_said),
        cmocka_unit_test(a_driver_that_crashes_takes_only_its_process),
        cmocka_unit_test(a_driver_that_lies_is_found_out),
        cmocka_unit_test(a_driver_that_hangs_ends_with_the_channel),
        cmocka_unit_test(only_the_named_device_is_spoilt),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
