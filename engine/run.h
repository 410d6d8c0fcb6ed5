/* run.h: pairs in an order, in memory or spilled, and merging many of them.
 * Promise   A run gives its pairs back in the order in which they were appended. It stays in memory while the pool has
 *           chunks; then all of it goes to the spill, and what follows too.
 * Owner     The caller, in its memory: init/fini. Cursors borrow the run.
 * Threads   One writer; after mr__run_finish any number of cursors in any threads.
 * Failure   MR_NO_MEMORY, MR_NO_SPACE, MR_IO_FAILED from the spill. */
#ifndef MR__RUN_H
#define MR__RUN_H

#include "check.h"
#include "chunk.h"
#include "pair_sort.h"
#include "spill.h"

struct mr__lane;

enum { MR__SAMPLE_EVERY = 256 };

typedef struct mr__segment {
    mr__chunk *chunk;           /* in memory; NULL: spilled */
    const uint8_t *first;       /* a copy of its first pair or an earlier one (spilled), or its own data;
                                 * NULL: unknown */
} mr__segment;

typedef struct mr__run {
    mr__pair_layout layout;
    mr__chunk_pool *pool;
    mr__chunk *open;
    mr__segment *segments;
    mr__extent *extents;        /* [count], meaningful when spilled */
    size_t count, room;
    uint64_t pairs, bytes;
    bool spilled;
    bool sampled;               /* keep samples: who wants them says so, after init */
    const uint8_t **samples;    /* every MR__SAMPLE_EVERYth pair, unless it is large: copies */
    size_t sample_count, sample_room;
    mr__arena copies;
} mr__run;

void mr__run_init(mr__run *run, const mr__pair_layout *layout, mr__chunk_pool *pool);
void mr__run_fini(mr__run *run);
/* lane: whose spill writer is used. */
mr_status mr__run_append(mr__run *run, struct mr__lane *lane, const mr__pair *pair, mr__error *error);
/* No more pairs. spill: even if it fits memory. */
mr_status mr__run_finish(mr__run *run, struct mr__lane *lane, bool spill, mr__error *error);

/* A list of runs; zeroed it is empty. */
typedef struct mr__runs {
    mr__run *items;
    uint32_t count, room;
} mr__runs;

/* *run: initialised, the list's until fini; moves when the next one is added. */
mr_status mr__runs_add(mr__runs *runs, const mr__pair_layout *layout, mr__chunk_pool *pool, mr__run **run,
                       mr__error *error);
void mr__runs_fini(mr__runs *runs);

typedef struct mr__run_cursor {
    const mr__run *run;
    size_t segment;
    const uint8_t *at, *end;
    mr__spill_reader *reader;
    const mr__ref *ref, *refs_end;      /* instead of a run: sorted references */
} mr__run_cursor;

/* Begins at the segment that may hold the first pair not below `from` (NULL: at the beginning). ahead: bytes. */
mr_status mr__run_cursor_open(mr__run_cursor *cursor, const mr__run *run, const mr__order *order, const mr__pair *from,
                              mr__spill *spill, size_t ahead, mr__budget *budget, mr__error *error);
void mr__run_cursor_open_refs(mr__run_cursor *cursor, const mr__ref *refs, size_t count);
void mr__run_cursor_close(mr__run_cursor *cursor);
/* The next pair as it lies in memory; *at = NULL at the end. Valid until the next call. */
mr_status mr__run_cursor_next(mr__run_cursor *cursor, const uint8_t **at, mr__error *error);

typedef struct mr__merge_head {
    unsigned __int128 first;    /* mr__order_prefix(), mr__order_second(); all ones at the end */
    uint64_t third;             /* mr__order_third() */
    uint32_t key_size;
    const uint8_t *pair;        /* NULL: the cursor is at its end */
} mr__merge_head;

/* Merges cursors into one stream in `order`. */
typedef struct mr__merge {
    const mr__order *order;
    mr__run_cursor *cursors;
    mr__merge_head *heads;      /* of each cursor */
    uint32_t *losers;           /* [0]: the cursor with the smallest head; [n]: who lost at node n */
    uint32_t count;
    bool started;
} mr__merge;

/* cursors: opened, `count` of them; closed by mr__merge_close. */
mr_status mr__merge_open(mr__merge *merge, const mr__order *order, mr__run_cursor *cursors, uint32_t count,
                         mr__error *error);
void mr__merge_close(mr__merge *merge);
mr_status mr__merge_next(mr__merge *merge, const uint8_t **at, mr__error *error);

#endif
