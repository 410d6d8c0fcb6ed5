/* worker_device.c: one device of one job, from the first start to the last failure.
 *
 *   WAITING --the device may be used--> STARTING --ready, and the probe passed--> WELL --submit, done--> WELL
 *     ^  |                                 |                                       |
 *     |  +--drained--> GONE                |                                       +--reading stalls--> GONE
 *     +-------- failed, after a back-off --+---------------------------------------+
 *                                          |     (process died, OpenCL error, wrong result, too late)
 *                                          +--the app's kernel does not compile--> GONE
 *
 * A device is probed with a known answer before its first task of a job, and after each failure. What fails loses its
 * process; the tasks in flight go back as if they had never been given: nothing of a task is taken in before its result
 * is whole and looks right. token.c counts the failures of all jobs and says when to try again.
 *
 * Not every process that ends is a device that failed. One that was killed from outside, had no memory or did not see
 * the device (a memory cgroup, another device's view of the machine) tells of this job alone: it starts again after
 * the same back-off, three times are too many for this job, and nobody else hears of it. One that ends while the job
 * is being stopped tells nothing: who stops a job may end all its processes.
 *
 * Nobody waits for a device: while it starts or is away it takes no task and holds none; a task's time is limited by
 * what its size should take, twenty times over, and a fixed time besides, before any was measured a longer one
 * ($MILLRACE_DEVICE_TIMEOUT_MS sets both).
 *
 * The process reads the input, and a file system that does not answer is no fault of the device. So the process says
 * when it waits for a file (mr__device_reading), and the time begins anew when that is over. While any task waits for a
 * file ten times the longer limit holds, for all: others may wait for that one (device_serve.c). Then the job goes on
 * without the device, which has not failed.
 *
 * The pool's file may be removed under a long job. As soon as nothing is in flight the link joins the pool that jobs
 * which began later have made anew; what is in flight meanwhile counts in the old one.
 *
 * D1  There is a process in STARTING and WELL, and only there.
 * D2  A flight has a token, and its number is its slot.
 * D3  There are tasks in flight in WELL only.
 * D4  A token without a flight is kept for the next submit only, and not by an idle worker.
 *
 * Here is what the team asks of a worker; worker_device_life.c has the process, from its start to its end, and
 * worker_device_flights.c the tasks. */
#include "worker_device_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "memory.h"
#include "parse.h"

static const uint64_t FIRST_NS = 30000 * MR__MILLISECOND, TASK_NS = 2000 * MR__MILLISECOND,
                      PLACE_NS = 100 * MR__MILLISECOND;

mr_status mr__device_link_create(const mr__device_config *config, mr__device_link **out, mr__error *error)
{
    mr_status status = MR_OK;
    const char *text = getenv("MILLRACE_DEVICE_TIMEOUT_MS");
    uint64_t limit_ms = 0;
    mr__device_link *link = mr__alloc_zero(1, sizeof *link);
    MR_CHECK(link != NULL, MR_NO_MEMORY, "no memory for device %s", config->device.id);
    link->config = config;
    link->channel = (mr__device_channel){.socket = -1, .memory = -1};
    link->bell = mr__fault(MR__FAULT_OPEN) ? (errno = EMFILE, -1) : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MR_CHECK(link->bell >= 0, MR_NO_WORKER, "no bell for the worker of device %s: %s", config->device.id,
             strerror(errno));
    MR_CHECK(text == NULL || (mr__parse_u64(text, &limit_ms) == MR__PARSED && limit_ms >= 1 && limit_ms <= UINT32_MAX),
             MR_BAD_USAGE, "MILLRACE_DEVICE_TIMEOUT_MS is '%.40s'; it can be a number of milliseconds, 1 or more",
             text);
    link->first_ns = text != NULL ? limit_ms * MR__MILLISECOND : FIRST_NS;
    link->task_ns = text != NULL ? link->first_ns : TASK_NS;
    MR_TRY(mr__token_pool_open(config->device.id, config->device.bus, &link->pool, error));
    *out = link;
    link = NULL;
done:
    mr__device_link_destroy(link);
    return status;
}

void mr__device_link_destroy(mr__device_link *link)
{
    if (link == NULL)
        return;
    mr__link_land(link);
    mr__token_pool_close(link->pool);
    if (link->bell >= 0)
        close(link->bell);
    mr__free(link);
}

const mr__device_story *mr__device_link_story(const mr__device_link *link)
{
    return &link->story;
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

static mr_status device_probe(const mr__topology *topology, uint32_t *count, mr__error *error)
{
    mr__device_list list = {0};
    const mr_status status = mr__device_find(false, &list, error);
    *count = list.count;
    mr__device_list_free(&list);
    return status;
}

static mr_status device_start(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_link *link = mr__link_of(worker);
    mr__device_health health;
    if (link->state != MR__LINK_WAITING || link->story.started)
        return MR_OK;
    MR_TRY(mr__link_renew_pool(link, error));
    MR_TRY(mr__device_health_get(link->pool, &health, error));
    if (health.state == MR__STATE_DRAINED) {
        link->story.drained = true;
        mr__link_go(link, health.why);
    }
    MR_CHECK(link->state != MR__LINK_GONE, MR_DEVICE_LOST,
             "device %s is drained: %s\n  hint: millrace devices restore %s",
             link->config->device.id, health.why, link->config->device.id);
done:
    return status;
}

/* The pool gave none. Only a device that failed elsewhere loses its process for that; what is in flight comes back
 * first. */
static void go_without_token(mr__device_link *link, mr_status status, const char *why)
{
    mr__error ignored = {.text = ""};
    if (status == MR_TIMEOUT)
        link->wants_token = true;
    else if (status == MR_DEVICE_LOST)
        mr__link_wait_for_others(link);
    else if (status == MR_NO_WORKER)        /* a place gets free when one of the other jobs ends */
        link->token_ns = mr__now_ns() + PLACE_NS;
    else if (link->in_flight == 0 &&
             !(mr__token_pool_removed(link->pool) && mr__link_renew_pool(link, &ignored) == MR_OK))
        mr__link_go(link, why);
}

static enum mr__room device_room(mr__worker *worker)
{
    mr__device_link *link = mr__link_of(worker);
    mr__error why = {.text = ""};
    mr_status status = MR_OK;
    if (link->state == MR__LINK_GONE)
        return MR__GONE;
    if (link->state != MR__LINK_WELL || link->in_flight >= link->config->depth || link->has_here ||
        link->back_count > 0)
        return MR__FULL;
    if (!link->has_token) {
        if (mr__now_ns() < link->token_ns)
            return MR__FULL;
        link->token_ns = 0;
        if ((status = mr__token_acquire(link->pool, 0, &link->token, &why)) != MR_OK) {
            go_without_token(link, status, why.text);
            return MR__FULL;
        }
        link->has_token = true;
    }
    link->wants_token = false;
    return MR__TAKES;
}

void mr__device_link_wake(mr__device_link *link)
{
    const uint64_t once = 1;
    const ssize_t rung = write(link->bell, &once, sizeof once);
    (void)rung;         /* it fails only when the bell has been rung 2^64 - 2 times and not been heard */
}

/* Until the process says something, the bell rings, or the time is over. */
static void rest(mr__device_link *link, uint64_t timeout_ns)
{
    struct pollfd ends[] = {{.fd = link->bell, .events = POLLIN}, {.fd = link->channel.socket, .events = POLLIN}};
    const struct timespec timeout = mr__timespec(timeout_ns);
    uint64_t rings;
    if (timeout_ns > 0 && ppoll(ends, MR__COUNT(ends), &timeout, NULL) > 0 && ends[0].revents != 0) {
        const ssize_t heard = read(link->bell, &rings, sizeof rings);
        (void)heard;    /* how often does not matter */
    }
}

static void rest_until(mr__device_link *link, uint64_t wake_ns, uint64_t timeout_ns)
{
    const uint64_t now = mr__now_ns();
    const uint64_t wait = wake_ns > now ? wake_ns - now : 0;
    rest(link, wait < timeout_ns ? wait : timeout_ns);
}

static uint32_t poll_well(mr__device_link *link, mr__worker *worker, uint64_t timeout_ns, mr__done *done)
{
    mr__error why = {.text = ""};
    mr_status status;
    bool got, reads;
    if (link->in_flight == 0 && link->wants_token) {
        if (mr__token_acquire(link->pool, timeout_ns, &link->token, &why) == MR_OK)
            link->has_token = true;
        link->wants_token = false;
        return 0;
    }
    if (link->in_flight == 0)
        mr__link_drop_token(link);
    if (link->token_ns > 0)
        rest_until(link, link->token_ns, timeout_ns);
    else
        rest(link, timeout_ns);
    if ((status = mr__device_receive(&link->channel, &link->answer, &got, &why)) != MR_OK) {
        mr__link_lose_process(link, worker, status, why.text);
        return 0;
    }
    if (!got) {
        if (link->in_flight > 0 && link->config->stopping(worker)) {
            mr__link_land(link);
            link->state = MR__LINK_GONE;
        } else if (mr__link_is_late(link, &reads)) {
            if (reads)
                mr__link_go(link, "reading the input took far too long: its file system does not answer");
            else
                mr__link_lose(link, "a task took far too long: its kernel hangs, or the device does");
        }
        return 0;
    }
    if (link->answer.head.kind != MR__DEVICE_DONE) {
        const mr__device_ready *ready = &link->answer.ready;
        mr__link_give_up(link, ready, ready->text[0] != '\0' ? ready->text : "the device process gave up");
        return 0;
    }
    return mr__link_take_done(link, worker, done);
}

static uint32_t device_poll(mr__worker *worker, uint64_t timeout_ns, mr__done *done, uint32_t max)
{
    mr__device_link *link = mr__link_of(worker);
    mr__error why = {.text = ""};
    mr_status status;
    bool got;
    if (max == 0)
        return 0;
    if (link->has_here)
        return mr__link_run_here(link, worker, done);
    if (link->back_count > 0)
        return mr__link_give_back(link, done, max);
    switch (link->state) {
    case MR__LINK_WAITING:
        rest_until(link, link->wake_ns, timeout_ns);
        if (mr__now_ns() >= link->wake_ns)
            mr__link_ask_again(link);
        break;
    case MR__LINK_STARTING:
        rest(link, timeout_ns);
        if ((status = mr__device_receive(&link->channel, &link->answer, &got, &why)) != MR_OK)
            mr__link_lose_process(link, worker, status, why.text);
        else if (got)
            mr__link_take_start(link);
        else if (mr__now_ns() > link->wake_ns)
            mr__link_lose(link, "the device process did not become ready in time");
        break;
    case MR__LINK_WELL: {
        const uint32_t count = poll_well(link, worker, timeout_ns, done);
        if (count > 0)
            return count;
        break;
    }
    case MR__LINK_GONE:
        break;
    }
    return mr__link_give_back(link, done, max);
}

/* The process stays for the next round. */
static void device_stop(mr__worker *worker)
{
    mr__link_drop_token(mr__link_of(worker));
}

const mr__worker_ops mr__worker_device_ops = {
    .kind = "device",
    .probe = device_probe,
    .start = device_start,
    .room = device_room,
    .submit = mr__link_submit,
    .poll = device_poll,
    .stop = device_stop,
};

mr_status mr__device_link_check(const mr__device_link *link, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t used = 0;
    for (uint32_t slot = 0; slot < MR__DEVICE_SLOTS; slot++) {
        used += link->flight[slot].used;
        MR_CHECK(!link->flight[slot].used || (slot < link->config->depth && link->flight[slot].token.fd >= 0),
                 MR_INTERNAL, "D2 broken: flight %u has no token or no slot", slot);
    }
    MR_CHECK(link->channel.process == 0 || link->state == MR__LINK_STARTING || link->state == MR__LINK_WELL,
             MR_INTERNAL, "D1 broken: a process in state %d", (int)link->state);
    MR_CHECK(used == link->in_flight && (used == 0 || link->state == MR__LINK_WELL), MR_INTERNAL,
             "D3 broken: %u in flight of %u in state %d", used, link->in_flight, (int)link->state);
    MR_CHECK(!link->has_token || link->state == MR__LINK_WELL, MR_INTERNAL, "D4 broken: a token in state %d",
             (int)link->state);
done:
    return status;
}
