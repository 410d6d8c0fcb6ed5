/* token.c: tokens of a device, given out under one mutex, held as locks of bytes.
 *
 *   token   FREE --acquire--> LEASED --release, or death of all holders--> FREE
 *           LEASED --device failed--> revoked: still LEASED, but its epoch is over
 *   device  WELL --failed--> FAILED --probe_begin--> PROBING --passed--> WELL           (token_health.c)
 *           PROBING --failed--> FAILED       PROBING --not probed, death of the prober--> FAILED
 *           any --third strike, drain--> DRAINED --restore--> WELL
 *
 * While nobody has the mutex:
 * T1  A token whose byte is locked is LEASED. (One that is LEASED without a lock was given back by a death, or by a
 *     device process that closed it last: the next look makes it FREE.)
 * T2  Leases, tickets and generations are below the next ones, and no two tokens have the same lease.
 * T3  A byte at or above limit_most is not locked; limit <= limit_most.
 * T4  A job slot in use has a locked byte, or its job is dead; no two claims have the same ticket.
 * T5  PROBING: the prober's byte is locked, or it is dead. FAILED: probe_ns is set; in other states it is 0. DRAINED
 *     and FAILED have a reason.
 * T6  No token is acquired unless the device is WELL and fewer bytes than `limit` are locked.
 *
 * Who is next. A job that finds no token leaves a claim: a ticket, good for MR__TOKEN_CLAIM_NS and renewed whenever it
 * looks again. Jobs that hold less than their share go before those that do not, and in both groups the older ticket
 * goes first. So a job that gives back its only token and asks at once for the next comes behind who waited meanwhile,
 * and nobody starves: a job below its share has finitely many tickets before it, and a job at its share holds tokens. A
 * job that loses interest, or dies, holds up the others for one claim.
 *
 * Who waits sleeps on the bell. Deaths ring no bell, so everybody looks again after LOOK_NS. */
#include "token.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"
#include "token_shared.h"

enum { LOOK_NS = 20000000, GLANCE_NS = 1000000 };

/* What one look at the pool shows. */
typedef struct view {
    uint32_t in_use;                        /* tokens that are out */
    uint32_t held[MR__TOKEN_JOBS];          /* of them, by job */
    uint32_t share;                         /* of each job that holds or wants tokens */
} view;

mr_status mr__token_pool_open(const char *device, const char *bus, mr__token_pool **out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = mr__alloc(sizeof *pool);
    MR_CHECK(pool != NULL, MR_NO_MEMORY, "no memory for the tokens of %.60s", device);
    MR_TRY(mr__token_attach(pool, device, bus, error));
    *out = pool;
    pool = NULL;
done:
    mr__free(pool);
    return status;
}

void mr__token_pool_close(mr__token_pool *pool)
{
    if (pool == NULL)
        return;
    if (mr__token_lock(pool, NULL) == MR_OK) {
        if (pool->job != MR__NO_JOB && pool->shared->job[pool->job].generation == pool->generation)
            pool->shared->job[pool->job] = (mr__token_job){.generation = 0};
        if (pool->probe_fd >= 0) {
            close(pool->probe_fd);
            pool->probe_fd = -1;
            mr__token_settle(pool);
        }
        mr__token_ring(pool);
        mr__token_unlock(pool);
    }
    mr__token_detach(pool);
    mr__free(pool);
}

/* ---- acquire ----------------------------------------------------------------------------------------------------- */

/* Gives this end a job's slot, unless it has one. */
static mr_status take_slot(mr__token_pool *pool, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_shared *shared = pool->shared;
    if (pool->job != MR__NO_JOB && shared->job[pool->job].generation == pool->generation)
        return MR_OK;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS && pool->job == MR__NO_JOB; j++) {
        if (shared->job[j].generation == 0 && mr__token_byte_own(pool, MR__BYTE_JOB + j))
            pool->job = j;
    }
    MR_CHECK(pool->job != MR__NO_JOB, MR_NO_WORKER, "%d jobs use the device %s already", MR__TOKEN_JOBS, pool->device);
    pool->generation = shared->next_generation++;
    shared->job[pool->job] = (mr__token_job){.generation = pool->generation, .pid = getpid()};
done:
    return status;
}

static bool wants(const mr__token_job *job, uint64_t now)
{
    return job->generation != 0 && job->ticket != 0 && job->claim_ns > now;
}

static view look(const mr__token_pool *pool, uint64_t now)
{
    const mr__token_shared *shared = pool->shared;
    view seen = {.in_use = 0};
    for (uint32_t i = 0; i < shared->limit_most; i++) {
        const mr__token_record *record = &shared->token[i];
        if (record->lease == 0)
            continue;
        seen.in_use++;
        if (record->job < MR__TOKEN_JOBS && shared->job[record->job].generation == record->generation)
            seen.held[record->job]++;
    }
    uint32_t jobs = 0;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS; j++)
        jobs += j == pool->job || seen.held[j] > 0 || wants(&shared->job[j], now);
    seen.share = jobs > 0 ? (shared->limit + jobs - 1) / jobs : shared->limit;
    return seen;
}

/* May this job take a token now, with its ticket? */
static bool is_next(const mr__token_pool *pool, const view *seen, uint64_t ticket, uint64_t now)
{
    const mr__token_shared *shared = pool->shared;
    const bool below = seen->held[pool->job] < seen->share;
    uint32_t ahead = 0;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS; j++) {
        if (j == pool->job || !wants(&shared->job[j], now))
            continue;
        const bool other_below = seen->held[j] < seen->share;
        if (other_below && !below)
            return false;
        ahead += other_below == below && shared->job[j].ticket < ticket;
    }
    return seen->in_use + ahead < shared->limit;
}

static mr_status refuse(const mr__token_pool *pool, mr__error *error)
{
    const mr__token_shared *shared = pool->shared;
    if (shared->state == MR__STATE_DRAINED)
        return mr__fail(error, MR_DEVICE_LOST, "the device %s is drained: %s\n  hint: millrace devices restore %s",
                        pool->device, shared->why, pool->device);
    return mr__fail(error, MR_DEVICE_LOST, "the device %s has failed: %s", pool->device, shared->why);
}

/* The lowest token that nobody holds; the caller knows that there is one. */
static mr_status lease(mr__token_pool *pool, mr__token *out, uint64_t now, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_shared *shared = pool->shared;
    int fd = -1;
    uint32_t i = 0;
    for (; i < shared->limit; i++) {
        if (shared->token[i].lease != 0)
            continue;
        fd = mr__token_byte_take(pool, MR__BYTE_TOKEN + i);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    MR_CHECK(fd >= 0, mr__status_of_errno(errno, MR_IO_FAILED), "could not take a token of %s: %s", pool->device,
             strerror(errno));
    shared->token[i] = (mr__token_record){.lease = shared->next_lease++, .since_ns = now, .job = pool->job,
                                          .generation = pool->generation, .pid = getpid()};
    /* relaxed: it is written under the mutex, which we have */
    *out = (mr__token){.fd = fd, .number = i, .lease = shared->token[i].lease,
                       .epoch = atomic_load_explicit(&shared->epoch, memory_order_relaxed)};
done:
    return status;
}

/* MR_TIMEOUT: not now; a claim is left. */
static mr_status attempt(mr__token_pool *pool, mr__token *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_shared *shared = pool->shared;
    const uint64_t now = mr__now_ns();
    MR_TRY(take_slot(pool, error));
    mr__token_settle(pool);
    if (shared->state != MR__STATE_WELL)
        return refuse(pool, error);
    mr__token_job *mine = &shared->job[pool->job];
    if (!wants(mine, now))
        mine->ticket = shared->next_ticket++;
    const view seen = look(pool, now);
    if (!is_next(pool, &seen, mine->ticket, now)) {
        mine->claim_ns = now + MR__TOKEN_CLAIM_NS;
        return MR_TIMEOUT;
    }
    MR_TRY(lease(pool, out, now, error));
    mine->ticket = 0;
done:
    return status;
}

mr_status mr__token_acquire(mr__token_pool *pool, uint64_t timeout_ns, mr__token *out, mr__error *error)
{
    const uint64_t begin = mr__now_ns();
    for (;;) {
        /* who has it may be stopped; who only asks does not wait for that */
        mr_status status = timeout_ns > 0 ? mr__token_lock(pool, error) : mr__token_lock_for(pool, GLANCE_NS, error);
        if (status != MR_OK)
            return status;
        status = attempt(pool, out, error);
        /* read under the mutex: whoever makes a token free later also changes it, and the wait below does not begin */
        const uint32_t bell = atomic_load_explicit(&pool->shared->bell, memory_order_relaxed);
        mr__token_unlock(pool);
        if (status != MR_TIMEOUT)
            return status;
        const uint64_t spent = mr__now_ns() - begin;
        if (spent >= timeout_ns)
            return mr__fail(error, MR_TIMEOUT, "no token of %s came free in time", pool->device);
        const uint64_t left = timeout_ns - spent < LOOK_NS ? timeout_ns - spent : LOOK_NS;
        const struct timespec wait = {.tv_nsec = (long)left};
        syscall(SYS_futex, &pool->shared->bell, FUTEX_WAIT, bell, &wait, NULL, 0);
    }
}

void mr__token_release(mr__token_pool *pool, mr__token token)
{
    if (mr__token_lock(pool, NULL) != MR_OK) {
        close(token.fd);        /* the lock is what counts */
        return;
    }
    mr__token_record *record = &pool->shared->token[token.number];
    close(token.fd);
    if (record->lease == token.lease && !mr__token_byte_held(pool, MR__BYTE_TOKEN + token.number))
        *record = (mr__token_record){.lease = 0};
    mr__token_ring(pool);
    mr__token_unlock(pool);
}

bool mr__token_revoked(const mr__token_pool *pool, mr__token token)
{
    /* relaxed: nothing but the number is read; a failure that is reported this very moment may come before or after */
    return atomic_load_explicit(&pool->shared->epoch, memory_order_relaxed) != token.epoch;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

mr_status mr__token_limit(mr__token_pool *pool, uint32_t limit, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(limit >= 1 && limit <= MR__TOKENS_MOST, MR_BAD_USAGE,
             "a device cannot have %u tokens\n  hint: 1 .. %d; to give it no work, millrace devices drain %s", limit,
             MR__TOKENS_MOST, pool->device);
    MR_TRY(mr__token_lock(pool, error));
    pool->shared->limit = limit;
    if (pool->shared->limit_most < limit)
        pool->shared->limit_most = limit;
    mr__token_ring(pool);
    mr__token_unlock(pool);
done:
    return status;
}

uint32_t mr__token_holders(mr__token_pool *pool, mr__token_holder *holders, uint32_t most)
{
    uint32_t count = 0;
    if (mr__token_lock(pool, NULL) != MR_OK)
        return 0;
    mr__token_settle(pool);
    const mr__token_shared *shared = pool->shared;
    for (uint32_t i = 0; i < shared->limit_most; i++) {
        const mr__token_record *record = &shared->token[i];
        if (record->lease == 0)
            continue;
        const bool orphan = record->job >= MR__TOKEN_JOBS || shared->job[record->job].generation != record->generation;
        if (count < most)
            holders[count] = (mr__token_holder){.number = i, .pid = record->pid, .orphan = orphan,
                                                .since_ns = record->since_ns};
        count++;
    }
    mr__token_unlock(pool);
    return count;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

static mr_status check_tokens(const mr__token_pool *pool, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__token_shared *shared = pool->shared;
    for (uint32_t i = 0; i < MR__TOKENS_MOST; i++) {
        const mr__token_record *record = &shared->token[i];
        const bool held = mr__token_byte_held(pool, MR__BYTE_TOKEN + i);
        MR_CHECK(!held || record->lease != 0, MR_INTERNAL, "T1 broken: token %u is locked and FREE", i);
        MR_CHECK(record->lease < shared->next_lease, MR_INTERNAL, "T2 broken: token %u has a lease of the future", i);
        MR_CHECK(!held || i < shared->limit_most, MR_INTERNAL, "T3 broken: token %u is out", i);
        for (uint32_t k = 0; k < i; k++)
            MR_CHECK(record->lease == 0 || record->lease != shared->token[k].lease, MR_INTERNAL,
                     "T2 broken: tokens %u and %u have the same lease", k, i);
    }
    MR_CHECK(shared->limit <= shared->limit_most, MR_INTERNAL, "T3 broken: the limit is above the highest");
done:
    return status;
}

static mr_status check_jobs(const mr__token_pool *pool, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__token_shared *shared = pool->shared;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS; j++) {
        const mr__token_job *job = &shared->job[j];
        MR_CHECK(job->generation < shared->next_generation && job->ticket < shared->next_ticket, MR_INTERNAL,
                 "T2 broken: job slot %u has a number of the future", j);
        for (uint32_t k = 0; k < j; k++)
            MR_CHECK(job->ticket == 0 || job->ticket != shared->job[k].ticket, MR_INTERNAL,
                     "T4 broken: job slots %u and %u have the same ticket", k, j);
    }
done:
    return status;
}

mr_status mr__token_pool_check(mr__token_pool *pool, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    const mr__token_shared *shared = pool->shared;
    const bool failed = shared->state == MR__STATE_FAILED;
    MR_TRY(check_tokens(pool, error));
    MR_TRY(check_jobs(pool, error));
    MR_CHECK(failed == (shared->probe_ns != 0), MR_INTERNAL, "T5 broken: state %u, probe at %llu", shared->state,
             (unsigned long long)shared->probe_ns);
    MR_CHECK(shared->why[0] != '\0' || (!failed && shared->state != MR__STATE_DRAINED), MR_INTERNAL,
             "T5 broken: no reason for state %u", shared->state);
done:
    mr__token_unlock(pool);
    return status;
}
