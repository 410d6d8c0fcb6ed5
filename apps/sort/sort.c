/* sort.c: sorts 100-byte records by their first 10 bytes, the order of the TeraSort benchmark. Records with equal keys
 * are ordered by the other 90 bytes, so the result is the same for any number of workers. The parts, one after the
 * other, are the sorted records. */
#include <millrace/millrace.h>

enum { RECORD = 100, KEY = 10 };

static mr_status sort_map(const mr_block *block, mr_emitter *out, const void *params)
{
    for (size_t row = 0; row < block->rows; row++) {
        const uint8_t *record = block->data + row * RECORD;
        mr_emit(out, record, KEY, record + KEY);
    }
    return MR_OK;
}

MR_APP(sort) {
    .summary = "Sort 100-byte records by their first 10 bytes",
    .input = MR_INPUT_RECORDS, .layout = MR_ROWS, .record_size = RECORD,
    .key = MR_FIXED, .key_size = KEY, .value = MR_STRUCT, .value_size = RECORD - KEY, .combine = MR_COMBINE_NONE,
    .map = sort_map,
    .sort = MR_SORT_KEY, .output = MR_OUTPUT_BINARY,
};
