/* fault.h: places where a test can make a call fail, by number.
 * Promise   mr__fault(point) is true exactly once after mr__fault_arm(point, nth): at its nth hit.
 *           MILLRACE_FAULT=point:nth in the environment arms the same for a whole process (mr__fault_arm_from_env).
 * Threads   Any thread may hit a point; the hits are counted atomically.
 * Cost      One relaxed load when nothing is armed. Not for inner loops.
 * Numbers   Never reused: an old log still names the place. 1xx memory, 2xx storage, 3xx OpenCL, 4xx MPI. */
#ifndef MR__FAULT_H
#define MR__FAULT_H

#include <stdbool.h>
#include <stdint.h>

#define MR__FAULT_MAP(X)                                                                                               \
    X(101, ALLOC, "malloc, calloc, realloc through base/memory.h")                                                     \
    X(102, PAGES, "anonymous pages")                                                                                   \
    X(201, OPEN, "opening a file")                                                                                     \
    X(202, READ, "reading")                                                                                            \
    X(203, WRITE, "writing")                                                                                           \
    X(204, MAP, "mapping a file")                                                                                      \
    X(205, RENAME, "renaming or linking")                                                                              \
    X(206, MKDIR, "making a directory")                                                                                \
    X(207, SYNC, "fsync")                                                                                              \
    X(208, STAT, "stat, directory listing")                                                                            \
    X(209, CLOSE, "closing a file that was written")                                                                   \
    X(401, MPI_INIT, "starting MPI")                                                                                   \
    X(402, MPI_SEND, "MPI_Isend")                                                                                      \
    X(403, MPI_RECEIVE, "MPI_Imrecv")                                                                                  \
    X(404, MPI_PROBE, "MPI_Improbe")

enum mr__fault_point {
#define MR__FAULT_CODE(number, name, what) MR__FAULT_##name = number,
    MR__FAULT_MAP(MR__FAULT_CODE)
#undef MR__FAULT_CODE
};

bool mr__fault(enum mr__fault_point point);
void mr__fault_arm(enum mr__fault_point point, uint32_t nth);
void mr__fault_disarm(void);
bool mr__fault_fired(void);
/* Reads MILLRACE_FAULT; false if it is set and malformed. */
bool mr__fault_arm_from_env(void);
/* The points, for sweeps. */
extern const enum mr__fault_point mr__fault_points[];
extern const uint32_t mr__fault_point_count;

#endif
