/* device_reap.h: the end of a process that a driver may hold.
 * Promise   Nothing waits longer than MR__END_MS + MR__REAP_MS for a process, not even for one that a driver holds in
 *           the kernel.
 * Owner     The process leads a group of its own and is a child of this one.
 * Threads   Any; one for a process. */
#ifndef MR__DEVICE_REAP_H
#define MR__DEVICE_REAP_H

#include <stdbool.h>
#include <sys/types.h>

enum { MR__REAP_MS = 2000, MR__END_MS = 200 };

/* Has it ended? how: its wait status; 0 when somebody else has waited for it: its number may be another's already. */
bool mr__device_reap(pid_t process, int *how);
/* The same, for so long at most. */
bool mr__device_wait(pid_t process, int most_ms, int *how);
/* Kills it and its group. false: it has not ended in time, and is left behind. */
bool mr__device_kill(pid_t process, int *how);
/* The process has been told to end and has MR__END_MS to tidy up; then it is killed. */
bool mr__device_end(pid_t process, int *how);

#endif
