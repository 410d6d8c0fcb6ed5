/* trace.h: what each worker did when, for people: a file in Chrome's trace event format, which Perfetto opens.
 * Promise   One lane per worker (and as many more as the creator asks for: the engine's own thread, a spill thread). A
 *           lane keeps its first MR__TRACE_EVENTS events and counts the rest as dropped: memory is bounded. Traces of
 *           many ranks become one file, on one clock.
 * Owner     The caller. Names, categories and argument names must outlive the trace: string literals. Lane names are
 *           copied.
 * Units     Times: mr__now_ns(). The file counts from the creation of the trace, in microseconds; of many ranks from
 *           the first that was created.
 * Threads   A lane belongs to one thread at a time and needs no lock. pack, write, dropped: any, also while lanes go
 *           on; they take what is there. create, name_lane and destroy run alone.
 * Cost      A span: six stores; every 1024th allocates the lane's next 48 KiB. NULL as trace is a no-op everywhere.
 * Failure   span and counter cannot fail: without memory the event is dropped and counted. */
#ifndef MR__TRACE_H
#define MR__TRACE_H

#include <stdint.h>

#include "check.h"
#include "packet.h"

enum { MR__TRACE_EVENTS = 1 << 16 };    /* per lane */

typedef struct mr__trace mr__trace;

/* NULL without memory: the job goes on untraced. */
mr__trace *mr__trace_create(uint32_t lanes);
void mr__trace_destroy(mr__trace *trace);
/* "worker 0"; unnamed lanes are called so. At most 47 bytes are kept. */
void mr__trace_name_lane(mr__trace *trace, uint32_t lane, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* lane did `name` from start_ns to end_ns. arg_name: NULL, or what arg_value counts ("bytes"). */
void mr__trace_span(mr__trace *trace, uint32_t lane, const char *name, const char *category, uint64_t start_ns,
                    uint64_t end_ns, const char *arg_name, uint64_t arg_value);
/* A value over time, drawn as a curve: "memory", "spilled". */
void mr__trace_counter(mr__trace *trace, uint32_t lane, const char *name, uint64_t when_ns, uint64_t value);
uint64_t mr__trace_dropped(const mr__trace *trace);

/* The trace of another rank, as it packed it. */
typedef struct mr__trace_part {
    uint32_t rank;
    const char *title;
    const uint8_t *packed;
    size_t size;
} mr__trace_part;

/* Writes `path` (temporary name, then rename). rank and title: the number and the name of the process that the lanes
 * belong to. others: one more process each; a part that cannot be read, or that there is no memory for, is left out. */
mr_status mr__trace_write(const mr__trace *trace, const char *path, uint32_t rank, const char *title,
                          const mr__trace_part *others, uint32_t other_count, mr__error *error);

/* trace_pack.c. Appends the trace: the first events of each lane, at most `most` bytes of them; the rest is packed as
 * dropped. NULL appends nothing. */
void mr__trace_pack(const mr__trace *trace, size_t most, mr__writing *to);
/* What CLOCK_REALTIME is ahead of mr__now_ns(): by this the clocks of two hosts are compared. */
int64_t mr__trace_clock(void);
/* When a packed trace was created, by this process's clock. here_ns: mr__trace_clock(). false: it cannot be read. */
bool mr__trace_packed_origin(const uint8_t *packed, size_t size, int64_t here_ns, uint64_t *origin_ns);
/* The trace, its times by this process's clock; names are pointers into `packed`. MR_NETWORK_FAILED: it cannot be
 * read; MR_NO_MEMORY. Events that there is no memory for are dropped. */
mr_status mr__trace_unpack(const uint8_t *packed, size_t size, int64_t here_ns, mr__trace **trace, mr__error *error);

#endif
