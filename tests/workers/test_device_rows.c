/* test_device_rows.c: row kernels through a real device process. The oracle is plain C in this file, in the order of
 * summation that millrace/row_emit.h documents. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_harness.h"

enum { ROWS = 10000, BLOCK = 1024, KEYS = 5, WIDTH = 2 };

struct record {
    float x, y;
    int32_t key;
};

struct params {
    float factor;
    int32_t more;
};

static const char kernel[] =
    "#define MR_ROW_BITS 32\n"
    "#include <millrace/row.h>\n"
    "#define MR__ENTRY_weigh mr_rows\n"
    "struct weigh_params { float factor; int32_t more; };\n"
    "MR_ROW_KERNEL(weigh, struct weigh_params)\n"
    "{\n"
    "    mr_f32 x = mr_column_f32(row, 0), y = mr_column_f32(row, 1);\n"
    "    mr_i32 key = mr_column_i32(row, 2) + params->more;\n"
    "    mr_add_f32(out, key, 0, x * params->factor + y);\n"
    "    mr_add_one(out, key, 1);\n"
    "}\n";

static struct record records[ROWS];
static const mr__device_column columns[] = {{6, 0}, {6, 4}, {2, 8}};    /* f32, f32, i32 */

static void make_records(void)
{
    for (int i = 0; i < ROWS; i++)
        records[i] = (struct record){(float)i * 0.37f, (float)(i % 17) / 3.0f, i * 7 % KEYS};
}

/* The table of rows [first, first + count). */
static void expect(const struct params *params, size_t first, size_t count, double table[KEYS][WIDTH])
{
    memset(table, 0, sizeof(double[KEYS][WIDTH]));
    for (size_t i = first; i < first + count; i++) {
        volatile const float product = records[i].x * params->factor;
        volatile const float sum = product + records[i].y;
        table[records[i].key + params->more][0] += (double)sum;
        table[records[i].key + params->more][1] += 1.0;
    }
}

static struct device_job job_of(const char *const *files, uint32_t count, const struct params *params)
{
    return (struct device_job){
        .job = {.form = MR__DEVICE_ROWS, .slots = 2, .slot_bytes = 1 << 20, .zero_copy = 1,
                .record_size = sizeof(struct record), .column_count = 3, .width = WIDTH, .dense_f64 = 1,
                .dense_keys = KEYS, .block_rows = BLOCK, .largest_segment = 4 * BLOCK * sizeof(struct record)},
        .name = "weigh", .kernel = kernel, .cache = device_directory(), .params = params, .params_size = sizeof *params, .columns = columns,
        .files = files, .file_count = count};
}

static mr__device_segment segment_of(uint32_t file, uint64_t first, uint64_t rows)
{
    return (mr__device_segment){.file = file, .offset = first * sizeof(struct record),
                                .size = rows * sizeof(struct record), .first_row = first, .rows = rows,
                                .blocks = (uint32_t)((rows + BLOCK - 1) / BLOCK)};
}

static void check_tables(const uint8_t *memory, const struct params *params, size_t first, size_t rows)
{
    for (size_t at = 0, b = 0; at < rows; at += BLOCK, b++) {
        double table[KEYS][WIDTH];
        expect(params, first + at, rows - at < BLOCK ? rows - at : BLOCK, table);
        assert_memory_equal(memory + b * sizeof table, table, sizeof table);
    }
}

static void skip_without_device(void)
{
    const char *why;
    if (!device_exists(&why)) {
        print_message("skipped: %s\n", why);
        skip();
    }
}

static void every_block_has_its_table(void **state)
{
    skip_without_device();
    const struct params params = {1.5f, 0};
    const char *const files[] = {device_file("rows", records, sizeof records)};
    for (uint32_t zero_copy = 0; zero_copy < 2; zero_copy++)
        for (uint32_t lanes = 1; lanes <= 16; lanes *= 4) {
            struct device device;
            struct device_job job = job_of(files, 1, &params);
            job.job.lanes = lanes;
            job.job.zero_copy = zero_copy;
            const struct device_answer ready = device_open(&device, "pocl-0", &job, NULL);
            assert_string_equal(ready.ready.text, "");
            assert_int_equal(ready.kind, MR__DEVICE_READY);
            assert_int_equal(ready.ready.lanes, lanes);
            assert_int_equal(ready.ready.zero_copy, zero_copy);
            const mr__device_segment segment = segment_of(0, 0, ROWS);
            const mr__device_done done = device_do(&device, &segment, 1);
            assert_string_equal(done.text, "");
            assert_int_equal(done.outcome, MR__DEVICE_OK);
            assert_int_equal(done.rows, ROWS);
            assert_int_equal(done.bytes, (ROWS + BLOCK - 1) / BLOCK * KEYS * WIDTH * 8);
            check_tables(device.memory, &params, 0, ROWS);
            assert_true(done.run_ns[1] > done.run_ns[0] && done.read_ns[1] > done.read_ns[0]);
            assert_int_equal(device_stop(&device), 0);
        }
}

int main(void)
{
    make_records();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_has_its_table),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
