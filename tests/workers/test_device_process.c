/* test_device_process.c: what a device process does when things go wrong around it: bad kernels, bad data, kernels that
 * crash or never end, an engine that dies, a channel that says nonsense. */
#include "cmocka_all.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device_weigh.h"

static const struct weigh_params plain = {1.5f, 0};

static struct device_job job_with(const char *kernel)
{
    static const char *files[1];
    files[0] = weigh_file();
    struct device_job job = weigh_job(files, 1, &plain);
    if (kernel != NULL)
        job.kernel = kernel;
    return job;
}

/* A kernel of the right form with this body. */
static struct device_job job_of_body(const char *body)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "#include <millrace/device_opencl.h>\n"
             "__kernel void mr_rows(__global const uchar *records, __global const uchar *params, ulong first_row,\n"
             "                      ulong rows, __global ulong *tables, __global uint *fault)\n"
             "{\n%s\n}\n", body);
    return job_with(text);
}

static void nap(uint32_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static void a_kernel_that_does_not_compile_is_named_with_its_line(void **state)
{
    skip_without_device();
    struct device device;
    struct device_job job = job_with("#define MR_ROW_BITS 32\n"
                                     "#include <millrace/row.h>\n"
                                     "#define MR__ENTRY_weigh mr_rows\n"
                                     "MR_ROW_KERNEL(weigh, int)\n"
                                     "{\n"
                                     "    mr_f32 x = mr_colum_f32(row, 0);\n"
                                     "}\n");
    const struct device_answer answer = device_open(&device, "pocl-0", &job, NULL);
    assert_int_equal(answer.kind, MR__DEVICE_FAILED);
    assert_int_equal(answer.ready.bad_kernel, 1);
    assert_non_null(strstr(answer.ready.text, "weigh.cl:6"));
    assert_non_null(strstr(answer.ready.text, "mr_colum_f32"));
    assert_int_equal(WEXITSTATUS(device_stop(&device)), 5);
}

static void a_program_without_its_kernel_is_a_bad_kernel(void **state)
{
    skip_without_device();
    struct device device;
    struct device_job job = job_with("__kernel void something(__global int *x) { *x = 1; }\n");
    const struct device_answer answer = device_open(&device, "pocl-0", &job, NULL);
    assert_int_equal(answer.kind, MR__DEVICE_FAILED);
    assert_int_equal(answer.ready.bad_kernel, 1);
    if (strstr(answer.ready.text, "no kernel mr_rows") == NULL)
        fail_msg("%s", answer.ready.text);
    assert_int_equal(WEXITSTATUS(device_stop(&device)), 5);
}

static void a_device_that_does_not_exist_is_named(void **state)
{
    skip_without_device();
    struct device device;
    struct device_job job = job_with(NULL);
    const struct device_answer answer = device_open(&device, "pocl-77", &job, NULL);
    assert_int_equal(answer.kind, MR__DEVICE_FAILED);
    assert_int_equal(answer.ready.bad_kernel, 0);
    assert_non_null(strstr(answer.ready.text, "there is no device pocl-77"));
    assert_int_equal(WEXITSTATUS(device_stop(&device)), 5);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static void bad_data_is_told_from_a_bad_device(void **state)
{
    static const char *const names[] = {"short", "gone"};
    skip_without_device();
    const char *files[3] = {weigh_file()};
    char paths[2][128];
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s", device_file(names[i], "0123456789ab", 12));
        files[i + 1] = paths[i];
    }
    unlink(paths[1]);
    const struct weigh_params params = {1.0f, 0};
    for (uint32_t zero_copy = 0; zero_copy < 2; zero_copy++) {
        struct device device;
        struct device_job job = weigh_job(files, 3, &params);
        job.job.zero_copy = zero_copy;
        job.job.block_rows = 1 << 17;                   /* large enough to be mapped */
        weigh_open(&device, &job, NULL);
        const mr__device_segment missing = weigh_segment(2, 0, 1), cut = weigh_segment(1, 0, 2 * ROWS),
                                 large_cut = weigh_segment(0, 0, 10 * ROWS), good = weigh_segment(0, 0, BLOCK);
        mr__device_done done = device_do(&device, &missing, 1);
        assert_int_equal(done.outcome, MR__DEVICE_BAD_DATA);
        assert_non_null(strstr(done.text, "could not open"));
        done = device_do(&device, &cut, 1);
        assert_int_equal(done.outcome, MR__DEVICE_BAD_DATA);
        assert_non_null(strstr(done.text, "shorter than when the job began"));
        done = device_do(&device, &large_cut, 1);
        assert_int_equal(done.outcome, MR__DEVICE_BAD_DATA);
        done = device_do(&device, &good, 1);            /* and it is well */
        assert_int_equal(done.outcome, MR__DEVICE_OK);
        weigh_check(device.memory, &params, 0, BLOCK);
        assert_int_equal(device_stop(&device), 0);
    }
}

/* Row i weighs i and has the key i % KEYS: the sums are exact, and zeros would all have key 0. */
static void write_numbers(const char *path, uint32_t rows)
{
    FILE *file = fopen(path, "r+");     /* the same file: who has it open sees it */
    assert_non_null(file);
    for (uint32_t i = 0; i < rows; i++) {
        const struct weigh_record record = {(float)i, 0, (int32_t)(i % KEYS)};
        assert_int_equal(fwrite(&record, sizeof record, 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);
}

static void check_numbers(const uint8_t *memory, uint32_t rows)
{
    const double *table = (const double *)memory;
    const double count = rows / KEYS;
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_true(table[key * WIDTH] == count * key + KEYS * (count * (count - 1) / 2));
        assert_true(table[key * WIDTH + 1] == count);
    }
}

static void a_file_that_is_whole_again_is_read_again(void **state)
{
    enum { MANY = 6000 * KEYS };        /* more than 256 KiB: mapped */
    static const off_t cuts[] = {0, (MANY - 1) * sizeof(struct weigh_record)};  /* all pages gone; none */
    skip_without_device();
    const char *const path = device_file("numbers", "", 0), *const files[] = {path};
    const struct weigh_params params = {1.0f, 0};
    struct device device;
    struct device_job job = weigh_job(files, 1, &params);
    job.job.block_rows = MANY;
    const mr__device_segment all = weigh_segment(0, 0, MANY);
    write_numbers(path, MANY);
    weigh_open(&device, &job, NULL);
    assert_int_equal(device_do(&device, &all, 1).outcome, MR__DEVICE_OK);
    check_numbers(device.memory, MANY);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_int_equal(truncate(path, cuts[i]), 0);
        const mr__device_done done = device_do(&device, &all, 1);
        assert_int_equal(done.outcome, MR__DEVICE_BAD_DATA);
        assert_non_null(strstr(done.text, "was cut short while it was read"));
        write_numbers(path, MANY);
        assert_int_equal(device_do(&device, &all, 1).outcome, MR__DEVICE_OK);
        check_numbers(device.memory, MANY);
    }
    assert_int_equal(device_stop(&device), 0);
}

/* Opening a FIFO takes until somebody writes to it, as opening a file does where the file system does not answer. */
static void waiting_for_a_file_is_told(void **state)
{
    skip_without_device();
    char path[128];
    snprintf(path, sizeof path, "%s/fifo", device_directory());
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const files[] = {weigh_file(), path};
    struct device device;
    const struct device_job job = weigh_job(files, 2, &plain);
    const mr__device_segment good = weigh_segment(0, 0, BLOCK), stalled = weigh_segment(1, 0, BLOCK);
    weigh_open(&device, &job, NULL);
    assert_int_equal(device.readings[0], 0);
    assert_int_equal(device_do(&device, &good, 1).outcome, MR__DEVICE_OK);
    assert_true(device.readings[0] > 0 && device.readings[0] % 2 == 0);
    device_send_task(&device, 2, 1, &stalled, 1);
    for (int i = 0; i < 20000 && device.readings[1] % 2 == 0; i++)
        nap(1);
    const uint64_t began = device.readings[1];
    assert_int_equal(began % 2, 1);
    FILE *const writer = fopen(path, "w");
    assert_non_null(writer);
    assert_int_equal(device_receive(&device, 60000).done.outcome, MR__DEVICE_BAD_DATA);
    assert_true(device.readings[1] >= began && device.readings[1] % 2 == 0);
    fclose(writer);
    assert_int_equal(device_stop(&device), 0);
}

static void a_key_out_of_range_is_bad_data(void **state)
{
    skip_without_device();
    const struct weigh_params params = {1.0f, 3};
    const char *const files[] = {weigh_file()};
    struct device device;
    const struct device_job job = weigh_job(files, 1, &params);
    weigh_open(&device, &job, NULL);
    const mr__device_segment segment = weigh_segment(0, 0, ROWS);
    const mr__device_done done = device_do(&device, &segment, 1);
    assert_int_equal(done.outcome, MR__DEVICE_BAD_DATA);
    assert_non_null(strstr(done.text, "keys are 0 to 4"));
    assert_int_equal(device_stop(&device), 0);
}

static void a_result_larger_than_its_slot_is_left_to_a_cpu(void **state)
{
    skip_without_device();
    const char *const files[] = {weigh_file()};
    struct device device;
    struct device_job job = weigh_job(files, 1, &plain);
    job.job.slot_bytes = 3 * TABLE;
    weigh_open(&device, &job, NULL);
    const mr__device_segment fits = weigh_segment(0, 0, 3 * BLOCK), does_not = weigh_segment(0, 0, 4 * BLOCK);
    assert_int_equal(device_do(&device, &does_not, 1).outcome, MR__DEVICE_UNFIT);
    assert_int_equal(device_do(&device, &fits, 1).outcome, MR__DEVICE_OK);
    weigh_check(device.memory, &plain, 0, 3 * BLOCK);
    assert_int_equal(device_stop(&device), 0);
}

/* ---- kernels that misbehave -------------------------------------------------------------------------------------- */

static void a_kernel_that_crashes_takes_only_its_process(void **state)
{
    skip_without_device();
    struct device device;
    const struct device_job job = job_of_body("    *(volatile __global int *)first_row = 1;");
    weigh_open(&device, &job, NULL);
    const mr__device_segment segment = weigh_segment(0, 0, BLOCK);
    device_send_task(&device, 1, 0, &segment, 1);
    assert_int_equal(device_receive(&device, 60000).kind, 0);
    const int status = device_stop(&device);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void a_kernel_that_scribbles_is_not_believed(void **state)
{
    skip_without_device();
    struct device device;
    const struct device_job job = job_of_body("    for (int i = 0; i < 16; i++) fault[i] = 0x55555555u;");
    weigh_open(&device, &job, NULL);
    const mr__device_segment segment = weigh_segment(0, 0, BLOCK);
    const mr__device_done done = device_do(&device, &segment, 1);
    assert_int_equal(done.outcome, MR__DEVICE_BROKEN);
    assert_non_null(strstr(done.text, "not to be trusted"));
    assert_int_equal(device_stop(&device), 0);
}

/* Gone, or a zombie that its new parent has not collected yet. */
static bool is_gone(pid_t pid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return true;
    const bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *state = strrchr(line, ')');
    return !read || (state != NULL && state[1] == ' ' && (state[2] == 'Z' || state[2] == 'X'));
}

static void an_endless_kernel_dies_with_its_engine(void **state)
{
    enum { PATIENCE_MS = 100000 };       /* the kernel keeps the processors busy */
    skip_without_device();
    static const char *const kinds[] = {NULL, "POCL_DEVICES=basic"};    /* basic runs kernels inside the enqueue */
    for (int k = 0; k < 2; k++) {
        const char *const environment[] = {kinds[k], NULL};
        struct device_job job = job_of_body("    volatile __global ulong *t = tables;\n"
                                            "    do t[0]++; while (t[0] + 1 != 0);");
        job.kernel = strdup(job.kernel);
        int ends[2];
        pid_t device_pid = 0;
        assert_int_equal(pipe(ends), 0);
        const pid_t engine = fork();
        assert_true(engine >= 0);
        if (engine == 0) {
            struct device device;
            device_start(&device, "pocl-0", environment);
            device_send_job(&device, &job);
            if (device_receive(&device, 120000).kind != MR__DEVICE_READY)
                _exit(1);
            const mr__device_segment segment = weigh_segment(0, 0, BLOCK);
            device_send_task(&device, 1, 0, &segment, 1);
            nap(100);
            if (write(ends[1], &device.pid, sizeof device.pid) != sizeof device.pid)
                _exit(1);
            for (;;)
                pause();
        }
        close(ends[1]);
        assert_int_equal(read(ends[0], &device_pid, sizeof device_pid), sizeof device_pid);
        assert_false(is_gone(device_pid));
        kill(engine, SIGKILL);
        waitpid(engine, NULL, 0);
        uint32_t ms = 0;
        for (; ms < PATIENCE_MS && !is_gone(device_pid); ms++)
            nap(1);
        assert_true(is_gone(device_pid));
        close(ends[0]);
        free((char *)job.kernel);
    }
}

/* ---- nonsense ---------------------------------------------------------------------------------------------------- */

static void a_broken_protocol_ends_the_process_with_a_sentence(void **state)
{
    static const struct {
        const char *what, *says;
        uint32_t message[8];
        size_t size;
        bool before_job;
    } cases[] = {
        {"unknown kind", "unknown kind", {99, 8}, 8, false},
        {"size that is not its own", "wrong size", {MR__DEVICE_PROBE, 12}, 8, false},
        {"too short", "wrong size", {MR__DEVICE_PROBE}, 4, false},
        {"task without its segments", "wrong size", {MR__DEVICE_TASK, 32, 0, 0, 0, 3}, 32, false},
        {"task for slot 7", "does not exist", {MR__DEVICE_TASK, 24, 0, 0, 7, 0}, 24, false},
        {"second job", "wrong time", {MR__DEVICE_JOB, 8}, 8, false},
        {"task before the job", "wrong time", {MR__DEVICE_TASK, 24}, 24, true},
        {"job without descriptors", "descriptors", {MR__DEVICE_JOB, 8}, 8, true},
    };
    skip_without_device();
    const struct device_job job = job_with(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device device;
        if (cases[i].before_job)
            device_start(&device, "pocl-0", NULL);
        else
            weigh_open(&device, &job, NULL);
        assert_int_equal(send(device.channel, cases[i].message, cases[i].size, MSG_NOSIGNAL), cases[i].size);
        const struct device_answer answer = device_receive(&device, 60000);
        assert_int_equal(answer.kind, MR__DEVICE_FAILED);
        if (strstr(answer.ready.text, cases[i].says) == NULL)
            fail_msg("%s: \"%s\"", cases[i].what, answer.ready.text);
        const int status = device_stop(&device);
        assert_true(WIFEXITED(status));
    }
}

static void the_modes_are_for_machines_and_say_so(void **state)
{
    static char text[65536];
    skip_without_device();
    assert_int_equal(device_run((const char *const[]){"millrace-device", NULL}, text, sizeof text), 2);
    assert_int_equal(device_run((const char *const[]){"millrace-device", "--serve", "pocl-0", NULL}, text, sizeof text),
                     2);
    assert_int_equal(device_run((const char *const[]){"millrace-device", "--test", "nix-3", NULL}, text, sizeof text),
                     2);
    assert_int_equal(device_run((const char *const[]){"millrace-device", "--test", "pocl-0", NULL}, text, sizeof text),
                     0);
    assert_non_null(strstr(text, "\"passed\": true"));
}

/* All build at once, into one cache. */
static void three_devices_work_at_the_same_time(void **state)
{
    static const char *const environment[] = {"POCL_DEVICES=pthread pthread basic", NULL};
    static const char *const ids[] = {"pocl-0", "pocl-1", "pocl-2"};
    skip_without_device();
    struct device device[3];
    struct device_job job = job_with(NULL);
    const struct weigh_params params = {2.75f, 0};
    char cache[128];
    snprintf(cache, sizeof cache, "%s/three", device_directory());
    assert_int_equal(mkdir(cache, 0700), 0);
    job.cache = cache;
    job.params = &params;
    for (int d = 0; d < 3; d++) {
        device_start(&device[d], ids[d], environment);
        device_send_job(&device[d], &job);
    }
    for (int d = 0; d < 3; d++) {
        const struct device_answer answer = device_receive(&device[d], 120000);
        assert_string_equal(answer.ready.text, "");
        assert_int_equal(answer.kind, MR__DEVICE_READY);
    }
    for (int d = 0; d < 3; d++) {
        const mr__device_segment segment = weigh_segment(0, d * 3 * BLOCK, 3 * BLOCK);
        device_send_task(&device[d], 1, 0, &segment, 1);
    }
    for (int d = 0; d < 3; d++) {
        assert_int_equal(device_receive(&device[d], 60000).done.outcome, MR__DEVICE_OK);
        weigh_check(device[d].memory, &params, (size_t)d * 3 * BLOCK, 3 * BLOCK);
        assert_int_equal(device_stop(&device[d]), 0);
    }
}

/* What the drivers put on disk goes with the process; what a killed one left goes with the next. */
static void nothing_is_left_in_the_cache_but_kernels(void **state)
{
    char command[256], line[64] = "";
    skip_without_device();
    const struct device_job job = job_with(NULL);
    struct device device;
    weigh_open(&device, &job, NULL);
    kill(device.pid, SIGKILL);
    assert_true(WIFSIGNALED(device_stop(&device)));
    weigh_open(&device, &job, NULL);
    assert_int_equal(device_stop(&device), 0);
    snprintf(command, sizeof command, "ls '%s/kernels' | grep -cv '[.]bin$'", device_directory());
    FILE *file = popen(command, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    pclose(file);
    assert_string_equal(line, "0\n");
}

/* Hosts with one home do not see each other's locks: the name says whose it is. */
static void what_drivers_put_on_disk_bears_the_hosts_name(void **state)
{
    char command[512], host[HOST_NAME_MAX + 1] = "";
    skip_without_device();
    const struct device_job job = job_with(NULL);
    struct device device;
    weigh_open(&device, &job, NULL);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    snprintf(command, sizeof command, "ls -d '%s/kernels/millrace-pocl-%ld-%s-%ld-'* > /dev/null", device_directory(),
             (long)geteuid(), host, (long)device.pid);
    assert_int_equal(system(command), 0);
    assert_int_equal(device_stop(&device), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_that_does_not_compile_is_named_with_its_line),
        cmocka_unit_test(a_program_without_its_kernel_is_a_bad_kernel),
        cmocka_unit_test(a_device_that_does_not_exist_is_named),
        cmocka_unit_test(bad_data_is_told_from_a_bad_device),
        cmocka_unit_test(a_file_that_is_whole_again_is_read_again),
        cmocka_unit_test(waiting_for_a_file_is_told),
        cmocka_unit_test(a_key_out_of_range_is_bad_data),
        cmocka_unit_test(a_result_larger_than_its_slot_is_left_to_a_cpu),
        cmocka_unit_test(a_kernel_that_crashes_takes_only_its_process),
        cmocka_unit_test(a_kernel_that_scribbles_is_not_believed),
        cmocka_unit_test(an_endless_kernel_dies_with_its_engine),
        cmocka_unit_test(a_broken_protocol_ends_the_process_with_a_sentence),
        cmocka_unit_test(the_modes_are_for_machines_and_say_so),
        cmocka_unit_test(three_devices_work_at_the_same_time),
        cmocka_unit_test(nothing_is_left_in_the_cache_but_kernels),
        cmocka_unit_test(what_drivers_put_on_disk_bears_the_hosts_name),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
