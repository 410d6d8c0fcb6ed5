/* topology.h: which cores this process may use, in what order, what memory is free, and one rank's share of a machine.
 * Promise   Physical cores first, their hyperthreads after; only what the cpuset allows; no more workers than the
 *           cgroup's CPU quota (rounded up). HWLOC_SYNTHETIC topologies are honoured (binding is then skipped).
 *           Shares are disjoint and leave out nothing; none divides a core as long as there is one for each rank.
 * Failure   Without a readable topology: one worker per online CPU, unbound. */
#ifndef MR__TOPOLOGY_H
#define MR__TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

#define MR__NO_CPU UINT32_MAX
#define MR__NO_NODE UINT32_MAX

typedef struct mr__core {
    uint32_t cpu;           /* OS index to bind to; MR__NO_CPU: none */
    uint32_t node;          /* NUMA node, logical index */
    uint32_t os_node;       /* the same as the system numbers it */
    uint32_t core;          /* physical core, logical index */
    uint32_t sibling;       /* 0: first hardware thread of its core */
} mr__core;

typedef struct mr__topology {
    mr__core *cores;        /* in the order in which workers take them */
    uint32_t count;
    uint32_t physical;      /* physical cores among them */
    uint32_t nodes;
    uint32_t suggested;     /* workers: cores allowed, capped by the cgroup's quota */
    uint64_t l2_bytes;      /* per core; 1 MiB if unknown */
    uint64_t memory_total;  /* of the machine, or the cgroup's limit if lower */
    uint64_t memory_free;   /* MemAvailable, or what the cgroup's limit leaves if lower */
    bool synthetic;
    bool narrowed;          /* the affinity leaves out processors that the cpuset allows */
    bool divided;           /* it is one rank's share */
    char note[256];         /* what limits the workers, for `explain`: "cgroup quota 1.5 CPUs", ... */
} mr__topology;

mr_status mr__topology_read(mr__topology *topology, mr__error *error);
void mr__topology_fini(mr__topology *topology);
/* Leaves of the cores what belongs to rank `rank` of `ranks` that may all use these, and of a CPU quota its part; one
 * worker at least. Neighbouring ranks get neighbouring cores, so that a rank lies on one NUMA node where that can be.
 * With more ranks than processors all keep all. The note says what came of it. Once for a topology. */
void mr__topology_divide(mr__topology *topology, uint32_t rank, uint32_t ranks);
/* Binds the calling thread; false if the system refused (the job goes on unbound). */
bool mr__topology_bind(const mr__topology *topology, uint32_t index);
/* The same, to all cores from `index` on. */
bool mr__topology_bind_from(const mr__topology *topology, uint32_t index);
/* The node where the memory of a worker on core `index` belongs, as the system numbers it; MR__NO_NODE where any will
 * do. */
uint32_t mr__topology_home(const mr__topology *topology, uint32_t index);
/* Pages that the calling thread touches first come from that node from now on, as long as it has any. false, and
 * nothing has changed: there is no such node, or the thread has a memory policy of its user's (numactl). */
bool mr__topology_place(const mr__topology *topology, uint32_t index);
/* After a place() that returned true, on the same thread. */
void mr__topology_unplace(void);

#endif
