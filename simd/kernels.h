/* kernels.h: one constant table per vector level; the scalar row is the definition, the others must equal it.
 * Threads: pure functions. Inputs need MR_BLOCK_PADDING readable bytes behind them where it is said. */
#ifndef MR__KERNELS_H
#define MR__KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <millrace/app.h>

#include "level.h"

enum { MR__TILE_COLUMNS = 16, MR__TILE_WINDOWS = 16 };

/* The records of a block, and how they become columns. Valid as long as the records and the list of columns are. */
typedef struct mr__transposition {
    const uint8_t *records;
    size_t rows;
    uint32_t record_size, column_count;
    const mr_column *columns;
    struct mr__permutation {    /* for transpose_avx512.c */
        uint8_t index[MR__TILE_WINDOWS][64] __attribute__((aligned(64)));
        uint64_t mask[MR__TILE_WINDOWS];
        size_t windows;         /* 0: element by element */
    } permutation[MR__TILE_COLUMNS];
} mr__transposition;

typedef struct mr__kernels {
    const char *name;
    /* Spans of words or lines (mr_spans.mode) in data[0 .. size): start[i], stop[i] relative to data. Returns how many
     * (<= max, which is >= 1). *consumed: size when fewer than max were found, else the offset behind the last of them
     * and its line end. A span that reaches data + size is complete. size <= 2^32 - 64. Padded input; start and stop
     * have room for max + MR__SPAN_SLACK elements. */
    size_t (*spans)(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop, size_t max,
                    size_t *consumed);
    /* Offset behind the first / last boundary byte (\n for MR_LINES, any blank for MR_WORDS); SIZE_MAX if none. */
    size_t (*first_boundary)(const uint8_t *data, size_t size, mr_unit unit);
    size_t (*last_boundary)(const uint8_t *data, size_t size, mr_unit unit);
    /* A-Z to a-z; to may equal from. */
    void (*fold)(uint8_t *to, const uint8_t *from, size_t size);
    /* counts[byte] += how often it occurs. size < 2^32. ahead: an address to prefetch from, any. */
    void (*count_bytes)(const uint8_t *data, size_t size, const uint8_t *ahead, uint64_t counts[256]);
    /* Rows to columns; columns[c] is aligned and has room for rows rounded up to MR_ROW_PADDING, which are zeroed. */
    void (*transpose)(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                      uint32_t column_count, void *const *out);
    /* The same in tiles: after plan_tiles(), transpose_tile() makes columns of the rows first .. first + rows - 1
     * (first a multiple of MR_ROW_PADDING), from out[c] on. Up to MR__TILE_COLUMNS columns. */
    void (*plan_tiles)(mr__transposition *plan, const uint8_t *records, size_t rows, uint32_t record_size,
                       const mr_column *columns, uint32_t column_count);
    void (*transpose_tile)(const mr__transposition *plan, size_t first, size_t rows, void *const *out);
    /* mr_patterns_find(); see patterns.h. */
    size_t (*patterns)(const void *blob, const uint8_t *data, size_t size, size_t *position, mr_match *matches,
                       size_t max);
} mr__kernels;

/* Rows of levels that this build lacks are NULL. */
extern const mr__kernels *const mr__kernel_rows[MR__LEVELS];
/* The row of the current level. */
const mr__kernels *mr__kernels_current(void);
/* Bytes per element of a column type. */
size_t mr__column_width(mr_column_type type);

#endif
