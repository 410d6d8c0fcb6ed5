/* worker_device_life.c: the process of a device: how it starts, and what its end means. (The whole picture is in
 * worker_device.c.)
 *
 *             what happened                                the job                  all jobs of the user
 *   lose      the device failed                            comes back when it may   a strike (token_health.c)
 *   restart   the process ended for the job's own reason   comes back, three times  nothing
 *   go        it cannot be used in this job                goes on without it       nothing
 *   leave     the job is being stopped                     ends                     nothing */
#include "worker_device_parts.h"

#include <string.h>

#include "clock.h"

static const uint64_t START_NS = 60000 * MR__MILLISECOND;

void mr__link_drop_token(mr__device_link *link)
{
    if (link->has_token)
        mr__token_release(link->pool, link->token);
    link->has_token = link->wants_token = false;
}

void mr__link_land(mr__device_link *link)
{
    mr__device_channel_close(&link->channel);
    for (uint32_t slot = 0; slot < MR__DEVICE_SLOTS; slot++) {
        mr__flight *flight = &link->flight[slot];
        if (!flight->used)
            continue;
        mr__token_release(link->pool, flight->token);
        link->back[link->back_count++] = flight->task;
        link->story.given_back++;
        flight->used = false;
    }
    link->in_flight = 0;
    link->ready = link->probed = false;
    mr__link_drop_token(link);
}

void mr__link_leave(mr__device_link *link)
{
    mr__link_land(link);
    link->state = MR__LINK_GONE;
    if (link->probing)          /* whoever needs it next need not wait for the end of this job */
        mr__device_not_probed(link->pool);
    link->probing = false;
}

void mr__link_go(mr__device_link *link, const char *why)
{
    mr__link_leave(link);
    mr__error sentence = {.text = ""};
    mr__fail(&sentence, MR_DEVICE_LOST, "%s", why);
    memcpy(link->story.why, sentence.text, sizeof link->story.why);
}

mr_status mr__link_renew_pool(mr__device_link *link, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    if (link->in_flight > 0 || !mr__token_pool_removed(link->pool))
        return MR_OK;
    MR_TRY(mr__token_pool_open(link->config->device.id, link->config->device.bus, &pool, error));
    mr__token_pool_close(link->pool);
    link->pool = pool;
done:
    return status;
}

void mr__link_lose(mr__device_link *link, const char *why)
{
    mr__error ignored = {.text = ""};
    uint64_t probe_ns = UINT64_MAX;
    link->probing = false;      /* the report below ends the probe */
    mr__link_go(link, why);
    link->story.failures++;
    mr__link_renew_pool(link, &ignored);
    if (mr__device_failed(link->pool, link->story.why, &probe_ns, &ignored) != MR_OK || probe_ns == UINT64_MAX) {
        link->story.drained = true;
        return;
    }
    link->state = MR__LINK_WAITING;
    link->wake_ns = probe_ns;
}

/* The process has ended, or gave up, for a reason that lies in this job. */
static void restart(mr__device_link *link, const char *why)
{
    const uint64_t now = mr__now_ns();
    mr__link_go(link, why);
    link->story.failures++;
    if (now - link->ended_ns > mr__device_forget_ns())
        link->ends = 0;
    link->ended_ns = now;
    if (++link->ends >= MR__DEVICE_STRIKES)
        return;
    link->state = MR__LINK_WAITING;
    link->wake_ns = now + mr__device_backoff_ns(link->ends - 1);
}

void mr__link_give_up(mr__device_link *link, const mr__device_ready *failed, const char *why)
{
    if (failed->starved)
        restart(link, why);
    else
        mr__link_lose(link, why);
}

void mr__link_lose_process(mr__device_link *link, mr__worker *worker, mr_status status, const char *why)
{
    if (link->config->stopping(worker))
        mr__link_leave(link);
    else if (status == MR_NO_WORKER)
        restart(link, why);
    else
        mr__link_lose(link, why);
}

void mr__link_wait_for_others(mr__device_link *link)
{
    mr__link_land(link);
    link->state = MR__LINK_WAITING;
    link->wake_ns = 0;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

mr_status mr__link_send(mr__device_link *link, enum mr__device_kind kind, int job, int memory, mr__error *error)
{
    const mr__device_message message = {kind, sizeof message};
    return mr__device_send(&link->channel, &message, job, memory, error);
}

static void open_process(mr__device_link *link)
{
    mr_status status = MR_OK;
    mr__error problem = {.text = ""}, *error = &problem;
    link->opened_ns = mr__now_ns();
    if (mr__device_channel_open(&link->channel, link->config->device.id,
                                link->config->slot_bytes * link->config->depth + MR__DEVICE_READING_BYTES,
                                error) != MR_OK) {
        mr__link_go(link, problem.text);
        return;
    }
    MR_TRY(mr__link_send(link, MR__DEVICE_JOB, link->config->job, link->channel.memory, error));
    MR_TRY(mr__link_send(link, MR__DEVICE_PROBE, -1, -1, error));
    link->round_sent = atomic_load(link->config->round);
    link->state = MR__LINK_STARTING;
    link->wake_ns = link->opened_ns + START_NS;
done:
    if (status == MR_NO_WORKER)
        restart(link, problem.text);
    else if (status != MR_OK)
        mr__link_lose(link, problem.text);
}

void mr__link_ask_again(mr__device_link *link)
{
    uint64_t wait = 0;
    mr__device_health health;
    mr__error ignored = {.text = ""}, why = {.text = ""};
    if (mr__link_renew_pool(link, &why) != MR_OK) {
        mr__link_go(link, why.text);
        return;
    }
    switch (mr__device_probe_begin(link->pool, &wait)) {
    case MR__PROBE_GO:
        link->probing = true;
        open_process(link);
        break;
    case MR__PROBE_NOT_NEEDED:
        open_process(link);
        break;
    case MR__PROBE_LATER:
        link->wake_ns = mr__now_ns() + wait;
        break;
    case MR__PROBE_DRAINED:
        link->story.drained = true;
        mr__link_go(link, mr__device_health_get(link->pool, &health, &ignored) == MR_OK ? health.why
                                                                                        : "the device is drained");
        break;
    }
}

void mr__link_take_start(mr__device_link *link)
{
    const mr__device_ready *ready = &link->answer.ready;
    mr__error ignored = {.text = ""};
    switch (link->answer.head.kind) {
    case MR__DEVICE_READY:
        link->ready = true;
        link->story.lanes = ready->lanes;
        link->story.group = ready->group;
        link->story.cached = ready->cached;
        link->story.zero_copy = ready->zero_copy;
        break;
    case MR__DEVICE_PROBED:
        link->probed = true;
        break;
    case MR__DEVICE_FAILED:
        if (ready->bad_kernel) {
            link->story.bad_kernel = true;
            if (link->probing)      /* the device did well */
                mr__device_passed(link->pool, &ignored);
            link->probing = false;
            mr__link_go(link, ready->text);
        } else {
            mr__link_give_up(link, ready, ready->text);
        }
        return;
    default:
        mr__link_lose(link, "the device process answered what it was not asked");
        return;
    }
    if (!link->ready || !link->probed)
        return;
    if (link->probing)
        mr__device_passed(link->pool, &ignored);
    link->probing = false;
    link->state = MR__LINK_WELL;
    link->last_done_ns = 0;
    if (!link->story.started)
        link->story.ready_ns = mr__now_ns() - link->opened_ns;
    link->story.started = true;
    link->story.starts++;
}
