/* test_device_rows.c: row kernels through a real device process: every block's table, to the bit. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_weigh.h"

static void every_block_has_its_table(void **state)
{
    skip_without_device();
    const struct weigh_params params = {1.5f, 0};
    const char *const files[] = {weigh_file()};
    for (uint32_t zero_copy = 0; zero_copy < 2; zero_copy++)
        for (uint32_t lanes = 1; lanes <= 16; lanes *= 4) {
            struct device device;
            struct device_job job = weigh_job(files, 1, &params);
            job.job.lanes = lanes;
            job.job.zero_copy = zero_copy;
            const struct device_answer ready = device_open(&device, "pocl-0", &job, NULL);
            assert_string_equal(ready.ready.text, "");
            assert_int_equal(ready.kind, MR__DEVICE_READY);
            assert_int_equal(ready.ready.lanes, lanes);
            assert_int_equal(ready.ready.zero_copy, zero_copy);
            const mr__device_segment segment = weigh_segment(0, 0, ROWS);
            const mr__device_done done = device_do(&device, &segment, 1);
            assert_string_equal(done.text, "");
            assert_int_equal(done.outcome, MR__DEVICE_OK);
            assert_int_equal(done.rows, ROWS);
            assert_int_equal(done.bytes, (ROWS + BLOCK - 1) / BLOCK * TABLE);
            weigh_check(device.memory, &params, 0, ROWS);
            assert_true(done.run_ns[1] > done.run_ns[0] && done.read_ns[1] > done.read_ns[0]);
            assert_int_equal(device_stop(&device), 0);
        }
}

static void the_lanes_are_measured_once_and_kept(void **state)
{
    skip_without_device();
    const struct weigh_params params = {1.5f, 0};
    const char *const files[] = {weigh_file()};
    uint32_t lanes = 0;
    for (int round = 0; round < 2; round++) {
        struct device device;
        struct device_job job = weigh_job(files, 1, &params);
        job.job.lanes = 0;
        const struct device_answer ready = device_open(&device, "pocl-0", &job, NULL);
        assert_int_equal(ready.kind, MR__DEVICE_READY);
        assert_int_equal(ready.ready.cached, round);
        assert_int_equal(ready.ready.group, 1);
        assert_true(ready.ready.lanes == 1 || ready.ready.lanes == 4 || ready.ready.lanes == 8 ||
                    ready.ready.lanes == 16);
        assert_true(round == 0 || ready.ready.lanes == lanes);
        lanes = ready.ready.lanes;
        const mr__device_segment segment = weigh_segment(0, 0, ROWS);
        assert_int_equal(device_do(&device, &segment, 1).outcome, MR__DEVICE_OK);
        weigh_check(device.memory, &params, 0, ROWS);
        assert_int_equal(device_stop(&device), 0);
    }
}

/* Segments of several files and sizes, in one task: results lie in the order of the blocks. */
static void a_task_may_have_many_segments(void **state)
{
    skip_without_device();
    const struct weigh_params params = {0.25f, 0};
    const char *const files[] = {weigh_file(), weigh_file()};
    static const struct { uint32_t file; uint64_t first, rows; } parts[] = {
        {0, 0, 3 * BLOCK}, {1, BLOCK, BLOCK}, {0, 9 * BLOCK, ROWS - 9 * BLOCK}, {1, 0, 8 * BLOCK}, {0, 5 * BLOCK, 1}};
    mr__device_segment segments[5];
    for (uint32_t zero_copy = 0; zero_copy < 2; zero_copy++) {
        struct device device;
        struct device_job job = weigh_job(files, 2, &params);
        job.job.zero_copy = zero_copy;
        job.job.largest_segment = 2 * BLOCK * sizeof(struct weigh_record);     /* less than some: several parts */
        weigh_open(&device, &job, NULL);
        for (int i = 0; i < 5; i++)
            segments[i] = weigh_segment(parts[i].file, parts[i].first, parts[i].rows);
        const mr__device_done done = device_do(&device, segments, 5);
        assert_string_equal(done.text, "");
        size_t at = 0;
        for (int i = 0; i < 5; i++) {
            weigh_check(device.memory + at, &params, parts[i].first, parts[i].rows);
            at += segments[i].blocks * (size_t)TABLE;
        }
        assert_int_equal(done.bytes, at);
        assert_int_equal(device_stop(&device), 0);
    }
}

static void slots_work_side_by_side(void **state)
{
    enum { TASKS = 40 };
    skip_without_device();
    const struct weigh_params params = {3.0f, 0};
    const char *const files[] = {weigh_file()};
    struct device device;
    const struct device_job job = weigh_job(files, 1, &params);
    uint64_t first_of[2] = {0, 0};
    uint32_t sent = 0, got = 0;
    weigh_open(&device, &job, NULL);
    for (; sent < 2; sent++) {
        const mr__device_segment segment = weigh_segment(0, sent % 5 * BLOCK, 3 * BLOCK);
        first_of[sent] = sent % 5 * BLOCK;
        device_send_task(&device, sent, sent, &segment, 1);
    }
    for (; got < TASKS; got++) {
        const struct device_answer answer = device_receive(&device, 60000);
        assert_int_equal(answer.kind, MR__DEVICE_DONE);
        assert_int_equal(answer.done.outcome, MR__DEVICE_OK);
        const uint32_t slot = answer.done.slot;
        weigh_check(device.memory + slot * job.job.slot_bytes, &params, first_of[slot], 3 * BLOCK);
        if (sent < TASKS) {
            const mr__device_segment segment = weigh_segment(0, sent % 5 * BLOCK, 3 * BLOCK);
            first_of[slot] = sent % 5 * BLOCK;
            device_send_task(&device, sent++, slot, &segment, 1);
        }
    }
    assert_int_equal(device_stop(&device), 0);
}

static void a_round_sees_the_new_params(void **state)
{
    skip_without_device();
    struct weigh_params params = {1.5f, 0};
    const char *const files[] = {weigh_file()};
    struct device device;
    const struct device_job job = weigh_job(files, 1, &params);
    const mr__device_segment segment = weigh_segment(0, 0, ROWS);
    weigh_open(&device, &job, NULL);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(device_do(&device, &segment, 1).outcome, MR__DEVICE_OK);
        weigh_check(device.memory, &params, 0, ROWS);
        params.factor += 1.25f;
        memcpy(device.params, &params, sizeof params);
        device_send(&device, MR__DEVICE_ROUND);
    }
    device_send(&device, MR__DEVICE_PROBE);
    assert_int_equal(device_receive(&device, 60000).kind, MR__DEVICE_PROBED);
    assert_int_equal(device_stop(&device), 0);
}

/* Each record's value is its first field and its number. */
static void records_give_a_value_each(void **state)
{
    static const char kernel[] =
        "#define MR_TILE_ROWS 8\n"
        "#define MR_TILE_COLUMNS 1\n"
        "#define MR_TILE_ITEMS_0 8\n"
        "#define MR_TILE_ITEMS_1 1\n"
        "#include <millrace/device_opencl.h>\n"
        "MR_RECORDS_KERNEL(number, uchar)\n"
        "{\n"
        "    const ulong i = get_global_id(0);\n"
        "    __global float *out = (__global float *)(values + i * 8);\n"
        "    if (i < rows && get_global_id(1) == 0) {\n"
        "        out[0] = *(__global const float *)(records + i * 12);\n"
        "        out[1] = (float)(first_row + i);\n"
        "    }\n"
        "}\n";
    skip_without_device();
    const struct weigh_params params = {0};
    const char *const files[] = {weigh_file()};
    struct device device;
    struct device_job job = weigh_job(files, 1, &params);
    job.kernel = kernel;
    job.name = "number";
    job.job.form = MR__DEVICE_RECORDS;
    job.job.value_size = 8;
    job.job.dense_keys = job.job.width = 0;
    weigh_open(&device, &job, NULL);
    const mr__device_segment segments[] = {weigh_segment(0, BLOCK, 2 * BLOCK), weigh_segment(0, 9 * BLOCK, 100)};
    const mr__device_done done = device_do(&device, segments, 2);
    assert_string_equal(done.text, "");
    assert_int_equal(done.bytes, (2 * BLOCK + 100) * 8);
    for (uint32_t i = 0; i < 2 * BLOCK + 100; i++) {
        const uint32_t row = i < 2 * BLOCK ? BLOCK + i : 9 * BLOCK + i - 2 * BLOCK;
        const float want[] = {(float)row * 0.37f, (float)row};
        assert_memory_equal(device.memory + i * 8, want, sizeof want);
    }
    assert_int_equal(device_stop(&device), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_has_its_table),
        cmocka_unit_test(the_lanes_are_measured_once_and_kept),
        cmocka_unit_test(a_task_may_have_many_segments),
        cmocka_unit_test(slots_work_side_by_side),
        cmocka_unit_test(a_round_sees_the_new_params),
        cmocka_unit_test(records_give_a_value_each),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
