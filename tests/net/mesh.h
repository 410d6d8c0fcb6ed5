/* mesh.h: a backend for tests: all ranks in one process, with a clock of its own, that can be broken on purpose.
 * Promise   Messages arrive as comm.h says, while nothing is broken: in the order of their path, whole, once.
 *           The clock goes on by MESH_STEP when every rank has made progress since it last did, so nobody misses a
 *           deadline because the machine is busy. It starts when all ranks are open; it does not wait for ranks that
 *           are closed, killed or frozen.
 * Threads   Any. A comm belongs to its courier, as always. */
#ifndef MR__MESH_H
#define MR__MESH_H

#include "comm.h"

enum { MESH_STEP = 4000000 };               /* ns */

typedef enum mesh_death {
    MESH_SILENT,                            /* sends to it stay under way for ever */
    MESH_UNREACHABLE,                       /* they are reported, a little later */
    MESH_REFUSES,                           /* they fail at once */
} mesh_death;

struct mesh;

struct mesh_seat {                  /* `how` of mesh_open() */
    struct mesh *mesh;
    uint32_t rank;
};

struct mesh *mesh_create(uint32_t ranks);
void mesh_destroy(struct mesh *mesh);              /* after every comm was closed */
mr_status mesh_open(void *seat, mr__comm **comm, mr__error *error);

uint64_t mesh_clock(void *mesh);            /* for mr__courier_options.clock */
void mesh_hold_clock(struct mesh *mesh, bool hold);

/* What it sends from now on vanishes, and what is under way from and to it; it receives nothing more. */
void mesh_kill(struct mesh *mesh, uint32_t rank, mesh_death death);
/* Its thread stands still in its next call, as after SIGSTOP, for `ns` of the mesh's clock, or until it is thawed. */
void mesh_freeze(struct mesh *mesh, uint32_t rank, uint64_t ns);
void mesh_thaw(struct mesh *mesh, uint32_t rank);
/* What is sent on this path waits until the cut is mended. */
void mesh_cut(struct mesh *mesh, mr__path path, uint32_t from, uint32_t to, bool cut);
void mesh_delay(struct mesh *mesh, uint32_t from, uint32_t to, uint64_t ns);

size_t mesh_unsent(struct mesh *mesh, mr__path path, uint32_t from, uint32_t to);
uint64_t mesh_sent(struct mesh *mesh, uint32_t from, uint32_t to);     /* messages, ever */

#endif
