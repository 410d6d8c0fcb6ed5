/* cgroup.h: what the control groups of this process leave it, version 1 and version 2.
 * Promise   The tightest limit on the way from this process's group up to the root of the hierarchy.
 * Units     Processors; bytes.
 * Threads   Any. No allocation.
 * Failure   None: a file that is missing or unreadable sets no limit. */
#ifndef MR__CGROUP_H
#define MR__CGROUP_H

#include <stdint.h>

typedef struct mr__cgroup_limits {
    double cpus;                /* quota / period; 0: no quota */
    uint64_t memory_limit;      /* UINT64_MAX: none */
    uint64_t memory_free;       /* the limit less what the group holds, page cache apart; UINT64_MAX: no limit */
} mr__cgroup_limits;

/* root: "" for this machine; a directory with recorded proc/ and sys/ trees for tests. */
mr__cgroup_limits mr__cgroup_read(const char *root);

#endif
