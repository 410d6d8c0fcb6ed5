/* token.h: the right to have one task in flight on one device, and whether the device may be used at all.
 * Promise   No more tokens of a device are out than its limit, over all processes of this user on this node. A process
 *           gives its tokens back by dying: the kernel frees them, not a clean-up pass. While other jobs wait, a job
 *           gets no more than its share, ceil(limit / jobs that hold or want tokens); within their shares jobs are
 *           served in the order in which they began to wait. Another user can neither take nor block tokens.
 * Owner     A pool is one job's end of one device: open and close. Who acquires releases. A token's fd may be sent to
 *           the device process: the token is free when both ends have closed it. The pool keeps no pointer of yours.
 * Units     timeout, times: nanoseconds of the monotonic clock; a timeout of 0 only tries. A try that failed counts as
 *           waiting for MR__TOKEN_CLAIM_NS: keep trying, and your turn comes.
 * Threads   Any thread may use a pool; one token is used by one thread at a time.
 * Cost      Opening a file and locking a byte of it: microseconds. Who waits sleeps. No allocation but in open().
 * Failure   MR_TIMEOUT: no token in time. MR_DEVICE_LOST: the device has failed or is drained, and the sentence says
 *           why; MR_NO_WORKER: MR__TOKEN_JOBS jobs use it; MR_IO_FAILED, MR_NO_SPACE: the shared memory cannot be used.
 *           *out is untouched. release() cannot fail.
 *
 * The directory is $MILLRACE_TOKENS, else /dev/shm/millrace-UID; where that cannot be used (no /dev/shm, read-only,
 * full, the name is somebody else's), tokens-HOST in the cache folder (device_find.h). The promise holds among those
 * that use the same file: a job that found /dev/shm full and one that did not have pools of their own. A file that was
 * removed (systemd's RemoveIPC=yes does that when the user logs out) gives no more tokens. */
#ifndef MR__TOKEN_H
#define MR__TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

enum {
    MR__TOKENS_MOST = 64,           /* of a device */
    MR__TOKENS_PRESET = 4,
    MR__TOKEN_JOBS = 64,            /* that use a device at once */
    MR__TOKEN_CLAIM_NS = 50000000,
    MR__DEVICE_ID = 32,             /* bytes of a device's id, NUL included: letters, digits, '.', '_', '-' */
    MR__DEVICE_WHY = 512,
    MR__DEVICE_STRIKES = 3          /* so many failures, and it is drained */
};

typedef struct mr__token_pool mr__token_pool;

typedef struct mr__token {
    int fd;                         /* an open file description of its own, close-on-exec */
    uint32_t number;                /* below MR__TOKENS_MOST */
    uint64_t lease;                 /* never given twice */
    uint64_t epoch;                 /* of the device: how often it had failed */
} mr__token;

/* May it name a device (room: MR__DEVICE_ID) or be part of a file's name: letters, digits and '_', also '.' and '-' but
 * not first, at most room - 1 bytes? */
bool mr__name_is_plain(const char *text, size_t room);
/* device: its id, such as "pocl-0"; it need not exist. bus: where it sits (mr__device_info), or "". A batch system
 * shows each task a GPU of its own, and each calls it the first: the pool is that of the place, where it is known. */
mr_status mr__token_pool_open(const char *device, const char *bus, mr__token_pool **out, mr__error *error);
void mr__token_pool_close(mr__token_pool *pool);        /* takes NULL; the caller has released its tokens */
/* The file is gone: who holds no token opens the pool again. */
bool mr__token_pool_removed(const mr__token_pool *pool);
mr_status mr__token_acquire(mr__token_pool *pool, uint64_t timeout_ns, mr__token *out, mr__error *error);
void mr__token_release(mr__token_pool *pool, mr__token token);
/* The device has failed since this token was given out: what comes back under it must be dropped. */
bool mr__token_revoked(const mr__token_pool *pool, mr__token token);

/* Tokens above a lowered limit stay out until they are released. limit: 1 .. MR__TOKENS_MOST. */
mr_status mr__token_limit(mr__token_pool *pool, uint32_t limit, mr__error *error);

typedef struct mr__token_holder {
    uint32_t number;
    int32_t pid;                    /* of the job that acquired it; 0: not known */
    bool orphan;                    /* that job is gone; its device process has not ended yet */
    uint64_t since_ns;
} mr__token_holder;

/* Who holds tokens now; at most `most`. Returns how many there are. */
uint32_t mr__token_holders(mr__token_pool *pool, mr__token_holder *holders, uint32_t most);
/* The rules at the head of token.c, for tests. MR_INTERNAL: one is broken. */
mr_status mr__token_pool_check(mr__token_pool *pool, mr__error *error);

/* ---- health ------------------------------------------------------------------------------------------------------ */

enum mr__device_state {
    MR__STATE_WELL,
    MR__STATE_FAILED,               /* no tokens before a probe has passed */
    MR__STATE_PROBING,              /* one process runs the probe */
    MR__STATE_DRAINED               /* no tokens until somebody restores it */
};

typedef struct mr__device_health {
    enum mr__device_state state;
    uint32_t limit, in_use, jobs;   /* jobs: with this device in use */
    uint32_t strikes;               /* failures that count; the third drains the device */
    uint64_t failures;              /* since the pool was made */
    uint64_t probe_ns;              /* FAILED: when the next probe may run; else 0 */
    int64_t failed_at;              /* seconds since 1970 of the last failure, or drain by hand; 0: none */
    int32_t failed_pid;             /* who reported it */
    char why[MR__DEVICE_WHY];       /* and its sentence; "" if none. Stays when the device is well again */
} mr__device_health;

mr_status mr__device_health_get(mr__token_pool *pool, mr__device_health *health, mr__error *error);
const char *mr__device_state_name(enum mr__device_state state);     /* "well", "failed", "probing", "drained" */

/* Revokes every token; none can be acquired before a probe has passed. While the device is failed already, and not
 * probed by this pool, another report is the same failure and changes nothing. Back-off: 1 s, 4 s, 16 s, ...; the third
 * strike drains; strikes are forgotten when the device has been well for a minute ($MILLRACE_DEVICE_BACKOFF_MS sets the
 * first back-off, $MILLRACE_DEVICE_FORGET_MS that minute). probe_ns, may be NULL: when the next probe may run;
 * UINT64_MAX: the device is drained. */
mr_status mr__device_failed(mr__token_pool *pool, const char *why, uint64_t *probe_ns, mr__error *error);

/* The back-off after a failure that so many others came before, and the time after which they are forgotten. */
uint64_t mr__device_backoff_ns(uint32_t strikes_before);
uint64_t mr__device_forget_ns(void);

enum mr__probe {
    MR__PROBE_GO,                   /* the caller probes, then says passed, failed or not_probed (or dies) */
    MR__PROBE_LATER,                /* not yet, or somebody else probes: *wait_ns from now, ask again */
    MR__PROBE_NOT_NEEDED,           /* the device is well */
    MR__PROBE_DRAINED
};

/* wait_ns may be NULL. When the shared memory cannot be used: MR__PROBE_DRAINED. */
enum mr__probe mr__device_probe_begin(mr__token_pool *pool, uint64_t *wait_ns);
mr_status mr__device_passed(mr__token_pool *pool, mr__error *error);
/* The probe could not be run: no strike. Another may try after the back-off. */
void mr__device_not_probed(mr__token_pool *pool);

/* By hand. What is in flight may end: nothing is revoked. reason: NULL or "": "drained by hand". */
mr_status mr__device_drain(mr__token_pool *pool, const char *reason, mr__error *error);
mr_status mr__device_restore(mr__token_pool *pool, mr__error *error);

#endif
