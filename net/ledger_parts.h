/* ledger_parts.h: what ledger.c and ledger_rebuild.c share. The rules are at the head of ledger.c. */
#ifndef MR__LEDGER_PARTS_H
#define MR__LEDGER_PARTS_H

#include "ledger.h"

/* Sums over partitions: they may be larger than 2^64. */
typedef unsigned __int128 mr__area;

/* The input from `begin` to the next segment's begin can be read best by this rank. */
typedef struct mr__segment {
    uint64_t begin;
    uint32_t rank;
} mr__segment;

typedef struct mr__piece {
    mr__work work;                      /* to do */
    uint32_t home;
} mr__piece;

typedef struct mr__home {
    uint32_t rank;
    size_t next, end;                   /* its pieces; those before `next` are given away, `end` comes down */
    mr__area left;                      /* units of input in them */
    size_t place;                       /* in the heap */
} mr__home;

/* Pieces by home, then in order of the input. */
typedef struct mr__shelf {
    mr__piece *pieces;
    mr__home *homes;                    /* by rank */
    size_t *heap;                       /* of indexes of homes: the one with the most left comes first */
    size_t home_count;
    mr__area left;                      /* units of input */
    mr__area area;                      /* units times partitions */
} mr__shelf;

enum { MR__WHOLE, MR__PARTIAL, MR__SHELVES };

struct mr__ledger {
    uint64_t total, smallest;
    uint32_t partitions, places;        /* places: ranks that work; those above are spares */
    size_t living;                      /* ranks that are no spares, or took a place */
    mr__segment *segments;
    size_t segment_count, segment_room;
    mr__group *groups;                  /* `covered` is empty: what a group covers its owner knows */
    size_t group_count;
    mr__shelf shelf[MR__SHELVES];
    bool homes_moved;                   /* since the shelves were filled */
};

static inline bool mr__work_fits(const mr__ledger *ledger, const mr__work *work)
{
    return work->begin < work->end && work->end <= ledger->total && work->first < work->last &&
           work->last <= ledger->partitions;
}

static inline bool mr__work_is_whole(const mr__ledger *ledger, const mr__work *work)
{
    return work->first == 0 && work->last == ledger->partitions;
}

/* For qsort, and for sentences. */
#define MR__ORDER(a, b) ((a) < (b) ? -1 : (a) > (b))
#define MR__LLU(number) ((unsigned long long)(number))

/* What is to do, in any order, no point of it twice, cut at the ledger's homes and put on shelves. Sorts `todo`. */
mr_status mr__shelves_fill(const mr__ledger *ledger, mr__works *todo, mr__shelf made[MR__SHELVES], mr__error *error);
void mr__shelves_fini(mr__shelf shelf[MR__SHELVES]);

#endif
