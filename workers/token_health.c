/* token_health.c: may the device be used? The states are drawn at the head of token.c.
 *
 *   failure 1   1 s   probe   failure 2   4 s   probe   failure 3 -> DRAINED
 *
 * A failed probe is a failure like any other. A probe that passes gives the tokens back but takes no strike away: a
 * device whose known answers are right and whose tasks are wrong would else go round for ever. Being well for a minute
 * does.
 * Several jobs notice one failure: only the first report of it counts, the others find the device FAILED.
 * The right to probe is a locked byte, as a token is, so a prober that dies lets the next one in. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "parse.h"
#include "token_shared.h"

enum { BACKOFF_MS = 1000, BACKOFF_FACTOR = 4, FORGET_MS = 60000 };

static const uint64_t ms = 1000000;

static uint64_t setting_ns(const char *variable, uint64_t preset_ms)
{
    uint64_t value;
    const char *text = getenv(variable);
    if (text == NULL || mr__parse_u64(text, &value) != MR__PARSED || value > UINT32_MAX)
        value = preset_ms;
    return value * ms;
}

const char *mr__device_state_name(enum mr__device_state state)
{
    static const char *const names[] = {"well", "failed", "probing", "drained"};
    return (uint32_t)state < MR__COUNT(names) ? names[state] : "unknown";
}

uint64_t mr__device_backoff_ns(uint32_t strikes_before)
{
    uint64_t backoff = setting_ns("MILLRACE_DEVICE_BACKOFF_MS", BACKOFF_MS);
    for (uint32_t i = 0; i < strikes_before && i < MR__DEVICE_STRIKES; i++)
        backoff *= BACKOFF_FACTOR;
    return backoff;
}

uint64_t mr__device_forget_ns(void)
{
    return setting_ns("MILLRACE_DEVICE_FORGET_MS", FORGET_MS);
}

static void give_up_probe(mr__token_pool *pool)
{
    if (pool->probe_fd >= 0)
        close(pool->probe_fd);
    pool->probe_fd = -1;
}

static void become(mr__token_shared *shared, enum mr__device_state state, uint64_t probe_ns)
{
    shared->state = state;
    shared->probe_ns = probe_ns;
    shared->well_ns = state == MR__STATE_WELL ? mr__now_ns() : 0;
}

static void note(mr__token_shared *shared, const char *why)
{
    const size_t size = strnlen(why, sizeof shared->why - 1);
    memcpy(shared->why, why, size);
    shared->why[size] = '\0';
    shared->failed_at = (int64_t)time(NULL);
    shared->failed_pid = getpid();
}

mr_status mr__device_health_get(mr__token_pool *pool, mr__device_health *health, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    mr__token_settle(pool);
    const mr__token_shared *shared = pool->shared;
    *health = (mr__device_health){.state = (enum mr__device_state)shared->state, .limit = shared->limit,
                                  .strikes = shared->strikes, .failures = shared->failures,
                                  .probe_ns = shared->probe_ns, .failed_at = shared->failed_at,
                                  .failed_pid = shared->failed_pid};
    memcpy(health->why, shared->why, sizeof health->why);
    for (uint32_t i = 0; i < shared->limit_most; i++)
        health->in_use += shared->token[i].lease != 0;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS; j++)
        health->jobs += shared->job[j].generation != 0;
    mr__token_unlock(pool);
    return MR_OK;
}

static void strike(mr__token_pool *pool, const char *why)
{
    mr__token_shared *shared = pool->shared;
    const uint64_t now = mr__now_ns();
    if (shared->state == MR__STATE_WELL && now - shared->well_ns > mr__device_forget_ns())
        shared->strikes = 0;
    const uint64_t backoff = mr__device_backoff_ns(shared->strikes);
    /* first: should this process die here, tokens are revoked for nothing, and no wrong result counts */
    atomic_fetch_add_explicit(&shared->epoch, 1, memory_order_relaxed);
    shared->strikes++;
    shared->failures++;
    note(shared, why[0] != '\0' ? why : "it failed");
    if (shared->strikes >= MR__DEVICE_STRIKES)
        become(shared, MR__STATE_DRAINED, 0);
    else
        become(shared, MR__STATE_FAILED, now + backoff);
    give_up_probe(pool);
    mr__token_ring(pool);
}

mr_status mr__device_failed(mr__token_pool *pool, const char *why, uint64_t *probe_ns, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    mr__token_settle(pool);
    const mr__token_shared *shared = pool->shared;
    if (shared->state == MR__STATE_WELL || (shared->state == MR__STATE_PROBING && pool->probe_fd >= 0))
        strike(pool, why);
    if (probe_ns != NULL)
        *probe_ns = shared->state == MR__STATE_DRAINED ? UINT64_MAX
                    : shared->state == MR__STATE_FAILED ? shared->probe_ns : mr__now_ns();
    mr__token_unlock(pool);
    return MR_OK;
}

enum mr__probe mr__device_probe_begin(mr__token_pool *pool, uint64_t *wait_ns)
{
    enum mr__probe answer = MR__PROBE_LATER;
    uint64_t wait = setting_ns("MILLRACE_DEVICE_BACKOFF_MS", BACKOFF_MS) / BACKOFF_FACTOR;
    if (mr__token_lock(pool, NULL) != MR_OK)
        return MR__PROBE_DRAINED;
    mr__token_settle(pool);
    mr__token_shared *shared = pool->shared;
    const uint64_t now = mr__now_ns();
    if (shared->state == MR__STATE_WELL) {
        answer = MR__PROBE_NOT_NEEDED;
    } else if (shared->state == MR__STATE_DRAINED) {
        answer = MR__PROBE_DRAINED;
    } else if (shared->state == MR__STATE_FAILED && shared->probe_ns > now) {
        wait = shared->probe_ns - now;
    } else if (shared->state == MR__STATE_FAILED) {
        give_up_probe(pool);
        pool->probe_fd = mr__token_byte_take(pool, MR__BYTE_PROBE);
        if (pool->probe_fd >= 0) {
            become(shared, MR__STATE_PROBING, 0);
            answer = MR__PROBE_GO;
        }
    }
    mr__token_unlock(pool);
    if (wait_ns != NULL)
        *wait_ns = answer == MR__PROBE_LATER ? wait : 0;
    return answer;
}

mr_status mr__device_passed(mr__token_pool *pool, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    mr__token_shared *shared = pool->shared;
    const bool ours = shared->state == MR__STATE_PROBING && pool->probe_fd >= 0;
    if (ours)
        become(shared, MR__STATE_WELL, 0);
    give_up_probe(pool);
    if (!ours && shared->state != MR__STATE_WELL)
        status = mr__fail(error, MR_DEVICE_LOST, "the device %s was %s while it was probed: %s", pool->device,
                          mr__device_state_name((enum mr__device_state)shared->state), shared->why);
    mr__token_ring(pool);
    mr__token_unlock(pool);
    return status;
}

void mr__device_not_probed(mr__token_pool *pool)
{
    if (mr__token_lock(pool, NULL) != MR_OK)
        return;
    mr__token_shared *shared = pool->shared;
    const uint32_t before = shared->strikes > 0 ? shared->strikes - 1 : 0;
    if (shared->state == MR__STATE_PROBING && pool->probe_fd >= 0)
        become(shared, MR__STATE_FAILED, mr__now_ns() + mr__device_backoff_ns(before));
    give_up_probe(pool);
    mr__token_ring(pool);
    mr__token_unlock(pool);
}

mr_status mr__device_drain(mr__token_pool *pool, const char *reason, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    note(pool->shared, reason != NULL && reason[0] != '\0' ? reason : "drained by hand");
    become(pool->shared, MR__STATE_DRAINED, 0);
    mr__token_ring(pool);
    mr__token_unlock(pool);
    return MR_OK;
}

mr_status mr__device_restore(mr__token_pool *pool, mr__error *error)
{
    mr_status status = mr__token_lock(pool, error);
    if (status != MR_OK)
        return status;
    become(pool->shared, MR__STATE_WELL, 0);
    pool->shared->strikes = 0;
    mr__token_ring(pool);
    mr__token_unlock(pool);
    return MR_OK;
}
