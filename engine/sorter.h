/* sorter.h: takes pairs in any order and gives them back sorted, however many there are.
 * Promise   Every pair added comes back once, in `order`. At most about `cap` bytes of memory, and no more references
 *           than the budget has: what does not fit is sorted and spilled as a run, and the runs are merged.
 * Owner     init/fini in the caller's memory. add_chunks: the sorter owns the chunks.
 * Threads   One: the lane's.
 * Failure   Memory or spill; after a failure only fini. */
#ifndef MR__SORTER_H
#define MR__SORTER_H

#include "internal.h"

typedef struct mr__sorter {
    mr__job *job;
    mr__lane *lane;
    const mr__order *order;
    struct mr__refs_memory *memory;     /* of the lane; one sorter at a time */
    uint64_t cap;
    mr__chunk *slabs;           /* pairs in memory; the newest is written to */
    mr__chunk *open;            /* the slab that mr__sorter_add fills, also in the list */
    uint64_t slab_bytes;
    size_t pairs;               /* in the slabs */
    mr__runs runs;
    mr__run_cursor *cursors;
    mr__merge merge;
    uint64_t lent;              /* of the references' share, to the cursors */
    mr__ref *refs;              /* sorted, of the pairs in the slabs */
    size_t next;
    bool merging;
} mr__sorter;

/* The order that the pairs of a job without a combine are sorted in, early or in the reduce task. */
static inline const mr__order *mr__shuffle_order(const mr__job *job)
{
    return job->reduces || job->by_range ? &job->order : &job->result_order;
}

/* Gives references back to the system and the budget, the lane's share too. */
void mr__refs_free(mr__budget *budget, struct mr__refs_memory *memory);

void mr__sorter_init(mr__sorter *sorter, mr__lane *lane, const mr__order *order, uint64_t cap);
void mr__sorter_fini(mr__sorter *sorter);
mr_status mr__sorter_add(mr__sorter *sorter, const mr__pair *pair, mr__error *error);
mr_status mr__sorter_add_chunks(mr__sorter *sorter, mr__chunk *chunks, mr__error *error);
mr_status mr__sorter_add_extents(mr__sorter *sorter, const mr__extent *extents, size_t count, mr__error *error);
/* Runs that lie sorted already, in memory or spilled; *runs is empty afterwards. */
void mr__sorter_adopt(mr__sorter *sorter, mr__runs *runs);
/* Everything as runs, few of them, for who goes on later: in memory as long as the pool has chunks, unless spill. The
 * sorter is empty afterwards. *runs must be empty. */
mr_status mr__sorter_give(mr__sorter *sorter, bool spill, mr__runs *runs, mr__error *error);
mr_status mr__sorter_finish(mr__sorter *sorter, mr__error *error);
/* The next pair as it lies in memory, *at = NULL at the end; valid until the next call. */
mr_status mr__sorter_next(mr__sorter *sorter, const uint8_t **at, mr__error *error);

#endif
