/* token_shared.h: what token.c, token_health.c and token_shared.c share: the memory of a pool, and its lock.
 * Promise   Between lock and unlock the rules at the head of token.c hold at both ends, whoever died in between.
 * Owner     attach/detach in the caller's memory.
 * Threads   What lies behind `mutex` belongs to who holds it; epoch and bell are atomics.
 * Failure   MR_IO_FAILED, MR_NO_SPACE with a sentence. */
#ifndef MR__TOKEN_SHARED_H
#define MR__TOKEN_SHARED_H

#include <pthread.h>
#include <stdatomic.h>

#include "places.h"
#include "token.h"

/* Bytes of the file that are locked, never written: a lock says who lives. Token i is byte i. */
enum mr__token_byte {
    MR__BYTE_TOKEN = 0,
    MR__BYTE_JOB = 1000,            /* + slot: the job lives */
    MR__BYTE_PROBE = 2000,          /* somebody probes */
    MR__BYTE_BUILD = 2001,          /* somebody opens the file, and builds it if need be */
    MR__BYTE_USERS = 2002           /* read lock: the file is in use */
};

typedef struct mr__token_record {
    uint64_t lease;                 /* 0: FREE */
    uint64_t since_ns;
    uint64_t generation;            /* of the job that acquired it */
    uint32_t job;
    int32_t pid;
} mr__token_record;

typedef struct mr__token_job {
    uint64_t generation;            /* 0: the slot is free; never given twice */
    uint64_t ticket;                /* place in the queue; 0: wants nothing */
    uint64_t claim_ns;              /* until when it wants something */
    int32_t pid;
    uint32_t reserved;
} mr__token_job;

typedef struct mr__token_shared {
    uint64_t magic;
    uint64_t size;
    pthread_mutex_t mutex;          /* robust, shared by processes */
    _Atomic uint32_t bell;          /* a futex: changes when a waiting job should look again */
    _Atomic uint64_t epoch;         /* how often the device failed; written under the mutex, read without: only newer
                                     * matters, and a result that comes back a moment before a failure is a good one */
    /* behind mutex */
    uint32_t limit, limit_most;     /* limit_most: the highest there was; no token at or above it is out */
    uint64_t next_lease, next_ticket, next_generation;
    uint32_t state;                 /* mr__device_state */
    uint32_t strikes;
    uint64_t failures;
    uint64_t probe_ns, well_ns;     /* FAILED: when a probe may run; WELL: since when */
    int64_t failed_at;
    int32_t failed_pid;
    char why[MR__DEVICE_WHY];
    mr__token_record token[MR__TOKENS_MOST];
    mr__token_job job[MR__TOKEN_JOBS];
    uint64_t magic_end;
} mr__token_shared;

enum { MR__NO_JOB = UINT32_MAX };

struct mr__token_pool {
    char device[MR__DEVICE_ID], file[MR__DEVICE_ID];
    char path[MR__PATH_MAX];        /* for sentences */
    int fd;                         /* holds the locks of users and of the job's slot */
    mr__token_shared *shared;
    /* behind the mutex, too */
    uint32_t job;                   /* slot; MR__NO_JOB before the first acquire */
    uint64_t generation;            /* of this job in its slot */
    int probe_fd;                   /* holds the right to probe; -1: has none */
};

mr_status mr__token_attach(mr__token_pool *pool, const char *device, const char *bus, mr__error *error);
void mr__token_detach(mr__token_pool *pool);

mr_status mr__token_lock(mr__token_pool *pool, mr__error *error);
/* The same with less patience: MR_TIMEOUT when somebody else had it all the time. */
mr_status mr__token_lock_for(mr__token_pool *pool, uint64_t patience_ns, mr__error *error);
void mr__token_unlock(mr__token_pool *pool);
/* Wakes who waits for the bell; the mutex is held. */
void mr__token_ring(mr__token_pool *pool);

/* Is the byte locked by another open file description than pool->fd? */
bool mr__token_byte_held(const mr__token_pool *pool, uint32_t byte);
/* Locks a byte through pool->fd itself. */
bool mr__token_byte_own(const mr__token_pool *pool, uint32_t byte);
/* A new open file description of the pool's file with this byte locked; -1: somebody holds it (EAGAIN), or errno. */
int mr__token_byte_take(const mr__token_pool *pool, uint32_t byte);

/* Brings records in line with locks and lets a probe end whose process died; the mutex is held. */
void mr__token_settle(mr__token_pool *pool);

#endif
