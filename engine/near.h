/* near.h: which of the input lies in the memory of a rank's node, and so where each range of the input is at home.
 * Promise   A rank is at home in what its node holds and some other node does not; the ranks of a node share that
 *           evenly. What no node holds, or all do, stays where the ledger put it. It is advice: a home that is wrong
 *           costs a read from the disk, and nothing else.
 * Owner     homes->list: mr__free(). Texts and lists of mr__nearby: lent for the call.
 * Units     Those of the schedule: bytes of the input, or blocks of rows.
 * Threads   Any; one at a time on one object.
 * Cost      measure: less than 1 ms for each GiB, and never more than NEAR_NS. homes: see near.c. An account grows by
 *           16 bytes for each range.
 * Failure   measure: none, nothing is near then. homes: MR_NO_MEMORY. read: false, and the message is broken. */
#ifndef MR__NEAR_H
#define MR__NEAR_H

#include <stdbool.h>

#include "ledger.h"
#include "packet.h"

struct mr__job;

enum { MR__NEAR_RANGES = 64, MR__NEAR_HOST = 64 };

/* In order of the input, apart. */
typedef struct mr__near {
    char host[MR__NEAR_HOST];
    uint32_t count;
    mr__range range[MR__NEAR_RANGES];
} mr__near;

/* For tests: what a rank says in place of what it finds. */
typedef struct mr__near_stub {
    const char *host;
    uint64_t step;              /* units that are looked at as one */
    bool (*holds)(const struct mr__near_stub *stub, uint64_t begin, uint64_t end);
    uint64_t begin, end;        /* for holds() */
} mr__near_stub;

/* What this rank's node holds. Nothing, unless ranks may lie on several nodes; MILLRACE_NEAR=0: nothing. */
void mr__near_measure(const struct mr__job *job, mr__near *near);

void mr__near_write(const mr__near *near, mr__writing *to);
/* total: units of the job. */
bool mr__near_read(mr__reading *from, uint64_t total, mr__near *near);

typedef struct mr__nearby {
    uint32_t rank;
    const mr__near *near;
} mr__nearby;

typedef struct mr__near_home {
    uint64_t begin, end;
    uint32_t rank;
} mr__near_home;

/* In order of the input, apart. */
typedef struct mr__homes {
    mr__near_home *list;
    size_t count, room;
} mr__homes;

/* ranks: those that live. smallest: units, below which a range is not divided. *homes is replaced. */
mr_status mr__homes_find(const mr__nearby *ranks, uint32_t count, uint64_t total, uint64_t smallest, mr__homes *homes,
                         mr__error *error);
mr_status mr__homes_set(const mr__homes *homes, mr__ledger *ledger, mr__error *error);

#endif
