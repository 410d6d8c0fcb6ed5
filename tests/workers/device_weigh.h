/* device_weigh.h: a small job for device tests: rows with a weight and a key, added up by key in each block.
 * The oracle is plain C, in the order of summation that millrace/row_emit.h documents. */
#ifndef MR__DEVICE_WEIGH_H
#define MR__DEVICE_WEIGH_H

#include "device_harness.h"

enum { ROWS = 10000, BLOCK = 1024, KEYS = 5, WIDTH = 2, TABLE = KEYS * WIDTH * 8 };

struct weigh_record {
    float x, y;
    int32_t key;
};

struct weigh_params {
    float factor;
    int32_t more;               /* added to each key */
};

/* The file of the ROWS records; made at the first call. */
const char *weigh_file(void);
struct device_job weigh_job(const char *const *files, uint32_t count, const struct weigh_params *params);
/* Of the ROWS records of one file. */
mr__device_segment weigh_segment(uint32_t file, uint64_t first, uint64_t rows);
/* Fails the test unless memory holds the tables of the rows [first, first + rows). */
void weigh_check(const uint8_t *memory, const struct weigh_params *params, size_t first, size_t rows);
/* Opens a device that must be ready. */
void weigh_open(struct device *device, const struct device_job *job, const char *const *environment);
/* Skips the test where there is no device. */
void skip_without_device(void);

#endif
