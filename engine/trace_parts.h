/* trace_parts.h: what the files of a trace share: trace.c (recording, the file) and trace_pack.c (as bytes, to another
 * rank). Nobody else includes it. */
#ifndef MR__TRACE_PARTS_H
#define MR__TRACE_PARTS_H

#include <stdatomic.h>

#include "trace.h"

enum { MR__TRACE_BLOCK = 1024, MR__TRACE_BLOCKS = MR__TRACE_EVENTS / MR__TRACE_BLOCK, MR__TRACE_LANE_NAME = 48 };

typedef struct mr__trace_event {
    const char *name;
    const char *category;       /* NULL: a counter */
    const char *arg_name;
    uint64_t start_ns, end_ns;
    uint64_t value;
} mr__trace_event;

typedef struct mr__trace_lane {
    _Alignas(64) _Atomic uint64_t count;    /* stored by the lane's writer only */
    _Atomic uint64_t dropped;               /* so is this */
    mr__trace_event *blocks[MR__TRACE_BLOCKS];
    char name[MR__TRACE_LANE_NAME];
} mr__trace_lane;

struct mr__trace {
    uint64_t origin_ns;
    uint32_t lane_count;
    mr__trace_lane *lanes;      /* whole pages: aligned, and untouched lanes cost nothing */
};

void mr__trace_append(mr__trace *trace, uint32_t lane, const mr__trace_event *event);

/* Events [0, count) are there, whoever writes more of them now. */
static inline uint64_t mr__trace_count(const mr__trace_lane *lane)
{
    return atomic_load_explicit(&lane->count, memory_order_acquire);
}

static inline const mr__trace_event *mr__trace_event_at(const mr__trace_lane *lane, uint64_t index)
{
    return &lane->blocks[index / MR__TRACE_BLOCK][index % MR__TRACE_BLOCK];
}

#endif
