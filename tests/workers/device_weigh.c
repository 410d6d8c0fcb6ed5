/* device_weigh.c: the job, its data and its oracle. */
#include "device_weigh.h"

#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

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

static struct weigh_record records[ROWS];
static const mr__device_column columns[] = {{6, 0}, {6, 4}, {2, 8}};    /* f32, f32, i32 */

const char *weigh_file(void)
{
    static char path[128];
    if (path[0] == '\0') {
        for (int i = 0; i < ROWS; i++)
            records[i] = (struct weigh_record){(float)i * 0.37f, (float)(i % 17) / 3.0f, i * 7 % KEYS};
        snprintf(path, sizeof path, "%s", device_file("rows", records, sizeof records));
    }
    return path;
}

/* The table of rows [first, first + count). */
static void expect(const struct weigh_params *params, size_t first, size_t count, double table[KEYS][WIDTH])
{
    memset(table, 0, TABLE);
    for (size_t i = first; i < first + count; i++) {
        volatile const float product = records[i].x * params->factor;   /* volatile: each step is rounded by itself */
        volatile const float sum = product + records[i].y;
        table[records[i].key + params->more][0] += (double)sum;
        table[records[i].key + params->more][1] += 1.0;
    }
}

void weigh_check(const uint8_t *memory, const struct weigh_params *params, size_t first, size_t rows)
{
    for (size_t at = 0, b = 0; at < rows; at += BLOCK, b++) {
        double table[KEYS][WIDTH];
        expect(params, first + at, rows - at < BLOCK ? rows - at : BLOCK, table);
        assert_memory_equal(memory + b * TABLE, table, TABLE);
    }
}

struct device_job weigh_job(const char *const *files, uint32_t count, const struct weigh_params *params)
{
    return (struct device_job){
        .job = {.form = MR__DEVICE_ROWS, .slots = 2, .slot_bytes = 1 << 20, .zero_copy = 1, .lanes = 4,
                .record_size = sizeof(struct weigh_record), .column_count = 3, .width = WIDTH, .dense_f64 = 1,
                .dense_keys = KEYS, .block_rows = BLOCK, .largest_segment = 4 * BLOCK * sizeof(struct weigh_record)},
        .name = "weigh", .kernel = kernel, .cache = device_directory(), .params = params, .params_size = sizeof *params,
        .columns = columns, .files = files, .file_count = count};
}

mr__device_segment weigh_segment(uint32_t file, uint64_t first, uint64_t rows)
{
    return (mr__device_segment){.file = file, .offset = first * sizeof(struct weigh_record),
                                .size = rows * sizeof(struct weigh_record), .first_row = first, .rows = rows,
                                .blocks = (uint32_t)((rows + BLOCK - 1) / BLOCK)};
}

void weigh_open(struct device *device, const struct device_job *job, const char *const *environment)
{
    const struct device_answer ready = device_open(device, "pocl-0", job, environment);
    assert_string_equal(ready.ready.text, "");
    assert_int_equal(ready.kind, MR__DEVICE_READY);
}

void skip_without_device(void)
{
    static int exists = -1;
    static const char *why;
    if (exists < 0)
        exists = device_exists(&why);
    if (!exists) {
        print_message("skipped: %s\n", why);
        skip();
    }
}
