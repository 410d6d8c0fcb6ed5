/* block.h: what a map sees, and the vectorised ways to walk through it.
 *
 * A block is the unit of vectorisation inside a split: a run of whole records (lines, words, fixed-size records, one
 * file) sized to the L2 cache. It is read-only, lives until map returns, and at least MR_BLOCK_PADDING bytes behind its
 * last byte may be read (their content is undefined), so a vector load near the end needs no special case.
 * Thread safety: a block belongs to the worker that runs map. */
#ifndef MILLRACE_BLOCK_H
#define MILLRACE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <millrace/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MR_BLOCK_PADDING = 64,  /* bytes readable behind a block's data */
    MR_ROW_PADDING = 64,    /* columns are padded with zeros to a multiple of so many rows */
    MR_COLUMN_ALIGNMENT = 64
};

typedef struct mr_slice {
    const uint8_t *data;
    size_t size;
} mr_slice;

/* Columns a tile at a time, for row kernels: the library turns the records of a block into columns in tiles that stay
 * in the L1 cache, between one tile's rows and the next. Private. */
typedef struct mr_tiles {
    size_t rows;            /* of a tile; a multiple of MR_ROW_PADDING */
    const void *const *columns; /* of the tile that was filled last */
    const uint8_t *records; /* the block's */
    size_t record_size;
    const struct mr_column *layout; /* of a record of 8 bytes, each column at a multiple of its width; else NULL */
    void (*fill)(const struct mr_tiles *tiles, size_t first, size_t rows);
} mr_tiles;

typedef struct mr_block {
    /* text, files, and records in row layout: the bytes */
    const uint8_t *data;
    size_t size;
    uint64_t offset;        /* of data[0] in its source, in bytes */
    uint32_t source;        /* index of the file in the dataset; order of the dataset, the same in every run */
    const char *source_name;
    /* records, and index ranges: the rows */
    uint64_t first_row;     /* index of row 0 of this block in the dataset */
    size_t rows;
    const void *const *columns; /* columns[c][row]: aligned to MR_COLUMN_ALIGNMENT, padded to MR_ROW_PADDING rows */
    uint32_t column_count;
    const mr_tiles *tiles;  /* instead of columns, for row kernels only: see row_emit.h; else NULL */
} mr_block;

/* ---- walking through text ---------------------------------------------------------------------------------------- */

/* What separates words. */
typedef enum mr_split_on {
    MR_SPLIT_BLANKS = 0,    /* words are runs of anything but space, \t, \n, \v, \f, \r (C's isspace in the C locale) */
    MR_SPLIT_LETTERS = 1    /* words are runs of A-Z and a-z; everything else separates */
} mr_split_on;

enum {
    MR__SPAN_BATCH = 512,
    MR__SPAN_SLACK = 64     /* the finders write whole vectors: so many elements behind the last span may change */
};

/* A cursor over the words (or lines) of a block. Its fields are private. */
typedef struct mr_spans {
    const uint8_t *base;    /* the spans of this batch count from here */
    const uint8_t *cursor;
    const uint8_t *end;
    uint32_t next, count, mode;
    uint32_t start[MR__SPAN_BATCH + MR__SPAN_SLACK], stop[MR__SPAN_BATCH + MR__SPAN_SLACK];
} mr_spans;

/* Finds the next batch of spans; false at the end of the block. SIMD level chosen at run time. */
MR_API bool mr__spans_refill(mr_spans *spans);

enum { MR__MODE_LINES = 2 };

static inline void mr_words_begin(mr_spans *spans, const mr_block *block, mr_split_on split)
{
    spans->base = spans->cursor = block->data;
    spans->end = block->data + block->size;
    spans->next = spans->count = 0;
    spans->mode = (uint32_t)split;
}

/* Lines end with \n or \r\n, which are not part of them; the last may lack its end. An empty line is a span of
 * size 0. */
static inline void mr_lines_begin(mr_spans *spans, const mr_block *block)
{
    mr_words_begin(spans, block, MR_SPLIT_BLANKS);
    spans->mode = MR__MODE_LINES;
}

static inline bool mr_spans_next(mr_spans *spans, mr_slice *span)
{
    if (spans->next == spans->count && !mr__spans_refill(spans))
        return false;
    const uint32_t i = spans->next++;
    span->data = spans->base + spans->start[i];
    span->size = spans->stop[i] - spans->start[i];
    return true;
}

/* for each word of the block: mr_text_words(block, word) { ... word.data, word.size ... } */
#define mr_text_words_split(block, word, split)                                                                        \
    mr_spans word##_spans;                                                                                             \
    mr_words_begin(&word##_spans, (block), (split));                                                                   \
    for (mr_slice word; mr_spans_next(&word##_spans, &word);)
#define mr_text_words(block, word) mr_text_words_split(block, word, MR_SPLIT_BLANKS)
#define mr_text_lines(block, line)                                                                                     \
    mr_spans line##_spans;                                                                                             \
    mr_lines_begin(&line##_spans, (block));                                                                            \
    for (mr_slice line; mr_spans_next(&line##_spans, &line);)

/* ---- many patterns at once --------------------------------------------------------------------------------------- */

/* A compiled set of literal byte patterns is one relocatable blob (no pointers inside): it can be kept in an app's
 * params and sent to ranks and devices as it is. */

/* Bytes that mr_patterns_compile() needs for these patterns; 0 if there are none, or if one is empty. */
MR_API size_t mr_patterns_size(const mr_slice *patterns, size_t count);
/* Compiles into `blob` (aligned to 64 bytes, mr_patterns_size() bytes). Cost: linear in the patterns' bytes. */
MR_API void mr_patterns_compile(const mr_slice *patterns, size_t count, void *blob);
/* Where a pattern occurs. */
typedef struct mr_match {
    uint32_t pattern;       /* index in the order of compilation */
    uint32_t offset;        /* of its first byte */
} mr_match;
/* Finds the occurrences that start in data[*position .. size); overlapping ones too; in order of offset, then pattern.
 * At most `max` (>= the number of patterns) go to `matches`; *position moves on; returns how many. 0 means: no more.
 * data needs MR_BLOCK_PADDING readable bytes behind it; size below 2^32. */
MR_API size_t mr_patterns_find(const void *blob, const uint8_t *data, size_t size, size_t *position,
                               mr_match *matches, size_t max);

#ifdef __cplusplus
}
#endif
#endif
