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
 * D4  A token without a flight is kept for the next submit only, and not by an idle worker. */
#include "worker_device.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "device_channel.h"
#include "fault.h"
#include "memory.h"
#include "parse.h"
#include "token.h"

enum state { WAITING, STARTING, WELL, GONE };

#define MILLISECOND 1000000ull
static const uint64_t START_NS = 60000 * MILLISECOND, FIRST_NS = 30000 * MILLISECOND, TASK_NS = 2000 * MILLISECOND,
                      PLACE_NS = 100 * MILLISECOND;
enum { PATIENCE = 20, READ_PATIENCE = 10 };
static const double PACE_KEPT = 0.75;

struct flight {
    bool used;
    mr__task task;
    mr__token token;
    uint64_t id, sent_ns;
};

struct mr__device_link {
    const mr__device_config *config;
    mr__token_pool *pool;
    enum state state;
    bool probing;               /* the right to probe is ours: say how it went */
    bool ready, probed;
    mr__device_channel channel;
    int bell;                   /* eventfd: poll() need not wait any longer */
    struct flight flight[MR__DEVICE_SLOTS];
    uint32_t in_flight;
    bool has_token;             /* for the next submit */
    mr__token token;
    bool wants_token;           /* there was none */
    uint64_t token_ns;          /* there was no place for one more job: when to ask again; 0: ask */
    mr__task back[MR__DEVICE_SLOTS + 1];    /* given back: to be returned by poll() */
    uint32_t back_count;
    mr__task here;              /* the worker's thread runs it in poll() */
    bool has_here;
    uint32_t ends;              /* of its process, for reasons that lie in this job */
    uint64_t ended_ns;          /* the last of them */
    uint64_t wake_ns;           /* WAITING: when to ask again; STARTING: when it is too late */
    uint64_t next_id, opened_ns, last_done_ns;
    uint32_t round_sent;
    double pace_units, pace_ns; /* measured: of the last few tasks, older ones count less; 0: not yet */
    uint64_t first_ns, task_ns; /* limits */
    mr__device_segment segments[MR__DEVICE_SEGMENTS];
    uint8_t message[sizeof(mr__device_task) + MR__DEVICE_SEGMENTS * sizeof(mr__device_segment)];
    mr__device_answer answer;
    mr__device_story story;
};

static mr__device_link *link_of(mr__worker *worker)
{
    return worker->config;
}

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
    link->first_ns = text != NULL ? limit_ms * MILLISECOND : FIRST_NS;
    link->task_ns = text != NULL ? link->first_ns : TASK_NS;
    MR_TRY(mr__token_pool_open(config->device.id, &link->pool, error));
    *out = link;
    link = NULL;
done:
    mr__device_link_destroy(link);
    return status;
}

static void drop_token(mr__device_link *link)
{
    if (link->has_token)
        mr__token_release(link->pool, link->token);
    link->has_token = link->wants_token = false;
}

/* Ends the process; what was in flight goes back. */
static void land(mr__device_link *link)
{
    mr__device_channel_close(&link->channel);
    for (uint32_t slot = 0; slot < MR__DEVICE_SLOTS; slot++) {
        struct flight *flight = &link->flight[slot];
        if (!flight->used)
            continue;
        mr__token_release(link->pool, flight->token);
        link->back[link->back_count++] = flight->task;
        link->story.given_back++;
        flight->used = false;
    }
    link->in_flight = 0;
    link->ready = link->probed = false;
    drop_token(link);
}

void mr__device_link_destroy(mr__device_link *link)
{
    if (link == NULL)
        return;
    land(link);
    mr__token_pool_close(link->pool);
    if (link->bell >= 0)
        close(link->bell);
    mr__free(link);
}

const mr__device_story *mr__device_link_story(const mr__device_link *link)
{
    return &link->story;
}

static void leave(mr__device_link *link)
{
    land(link);
    link->state = GONE;
    if (link->probing)          /* whoever needs it next need not wait for the end of this job */
        mr__device_not_probed(link->pool);
    link->probing = false;
}

static void go(mr__device_link *link, const char *why)
{
    leave(link);
    mr__error sentence = {.text = ""};
    mr__fail(&sentence, MR_DEVICE_LOST, "%s", why);
    memcpy(link->story.why, sentence.text, sizeof link->story.why);
}

/* When the pool's file was removed: another, once nothing is in flight. */
static mr_status renew_pool(mr__device_link *link, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    if (link->in_flight > 0 || !mr__token_pool_removed(link->pool))
        return MR_OK;
    MR_TRY(mr__token_pool_open(link->config->device.id, &pool, error));
    mr__token_pool_close(link->pool);
    link->pool = pool;
done:
    return status;
}

/* The device has failed: it may come back after a while. */
static void lose(mr__device_link *link, const char *why)
{
    mr__error ignored = {.text = ""};
    uint64_t probe_ns = UINT64_MAX;
    link->probing = false;      /* the report below ends the probe */
    go(link, why);
    link->story.failures++;
    renew_pool(link, &ignored);
    if (mr__device_failed(link->pool, link->story.why, &probe_ns, &ignored) != MR_OK || probe_ns == UINT64_MAX) {
        link->story.drained = true;
        return;
    }
    link->state = WAITING;
    link->wake_ns = probe_ns;
}

/* The process has ended, or gave up, for a reason that lies in this job. */
static void restart(mr__device_link *link, const char *why)
{
    const uint64_t now = mr__now_ns();
    go(link, why);
    link->story.failures++;
    if (now - link->ended_ns > mr__device_forget_ns())
        link->ends = 0;
    link->ended_ns = now;
    if (++link->ends >= MR__DEVICE_STRIKES)
        return;
    link->state = WAITING;
    link->wake_ns = now + mr__device_backoff_ns(link->ends - 1);
}

static void give_up(mr__device_link *link, const mr__device_ready *failed, const char *why)
{
    if (failed->starved)
        restart(link, why);
    else
        lose(link, why);
}

/* The channel says so. */
static void lose_process(mr__device_link *link, mr__worker *worker, mr_status status, const char *why)
{
    if (link->config->stopping(worker))
        leave(link);
    else if (status == MR_NO_WORKER)
        restart(link, why);
    else
        lose(link, why);
}

/* It failed in another job, which has said so, or somebody drained it: asking again will tell. */
static void wait_for_others(mr__device_link *link)
{
    land(link);
    link->state = WAITING;
    link->wake_ns = 0;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static mr_status send_plain(mr__device_link *link, enum mr__device_kind kind, int job, int memory, mr__error *error)
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
        go(link, problem.text);
        return;
    }
    MR_TRY(send_plain(link, MR__DEVICE_JOB, link->config->job, link->channel.memory, error));
    MR_TRY(send_plain(link, MR__DEVICE_PROBE, -1, -1, error));
    link->round_sent = atomic_load(link->config->round);
    link->state = STARTING;
    link->wake_ns = link->opened_ns + START_NS;
done:
    if (status == MR_NO_WORKER)
        restart(link, problem.text);
    else if (status != MR_OK)
        lose(link, problem.text);
}

static void ask_again(mr__device_link *link)
{
    uint64_t wait = 0;
    mr__device_health health;
    mr__error ignored = {.text = ""}, why = {.text = ""};
    if (renew_pool(link, &why) != MR_OK) {
        go(link, why.text);
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
        go(link, mr__device_health_get(link->pool, &health, &ignored) == MR_OK ? health.why : "the device is drained");
        break;
    }
}

static void take_start(mr__device_link *link)
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
            go(link, ready->text);
        } else {
            give_up(link, ready, ready->text);
        }
        return;
    default:
        lose(link, "the device process answered what it was not asked");
        return;
    }
    if (!link->ready || !link->probed)
        return;
    if (link->probing)
        mr__device_passed(link->pool, &ignored);
    link->probing = false;
    link->state = WELL;
    link->last_done_ns = 0;
    if (!link->story.started)
        link->story.ready_ns = mr__now_ns() - link->opened_ns;
    link->story.started = true;
    link->story.starts++;
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
    mr__device_link *link = link_of(worker);
    mr__device_health health;
    if (link->state != WAITING || link->story.started)
        return MR_OK;
    MR_TRY(renew_pool(link, error));
    MR_TRY(mr__device_health_get(link->pool, &health, error));
    if (health.state == MR__STATE_DRAINED) {
        link->story.drained = true;
        go(link, health.why);
    }
    MR_CHECK(link->state != GONE, MR_DEVICE_LOST, "device %s is drained: %s\n  hint: millrace devices restore %s",
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
        wait_for_others(link);
    else if (status == MR_NO_WORKER)        /* a place gets free when one of the other jobs ends */
        link->token_ns = mr__now_ns() + PLACE_NS;
    else if (link->in_flight == 0 && !(mr__token_pool_removed(link->pool) && renew_pool(link, &ignored) == MR_OK))
        go(link, why);
}

static enum mr__room device_room(mr__worker *worker)
{
    mr__device_link *link = link_of(worker);
    mr__error why = {.text = ""};
    mr_status status = MR_OK;
    if (link->state == GONE)
        return MR__GONE;
    if (link->state != WELL || link->in_flight >= link->config->depth || link->has_here || link->back_count > 0)
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

static mr_status send_task(mr__device_link *link, uint32_t slot, uint32_t segments, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t round = atomic_load(link->config->round);
    const size_t bytes = segments * sizeof(mr__device_segment);
    const mr__device_task task = {.head = {MR__DEVICE_TASK, (uint32_t)(sizeof task + bytes)},
                                  .id = link->flight[slot].id, .slot = slot, .segments = segments};
    if (round != link->round_sent)
        MR_TRY(send_plain(link, MR__DEVICE_ROUND, -1, -1, error));
    link->round_sent = round;
    memcpy(link->message, &task, sizeof task);
    memcpy(link->message + sizeof task, link->segments, bytes);
    MR_TRY(mr__device_send(&link->channel, (const mr__device_message *)link->message, link->flight[slot].token.fd, -1,
                           error));
done:
    return status;
}

static void device_submit(mr__worker *worker, const mr__task *task)
{
    mr__device_link *link = link_of(worker);
    mr__error why = {.text = ""};
    mr_status status;
    uint32_t segments = 0, slot = 0;
    switch (task->cpu_only ? MR__PACK_HERE : link->config->pack(task, worker, link->segments, &segments)) {
    case MR__PACKED:
        while (link->flight[slot].used)
            slot++;
        link->flight[slot] = (struct flight){.used = true, .task = *task, .token = link->token, .id = ++link->next_id,
                                             .sent_ns = mr__now_ns()};
        link->has_token = false;
        link->in_flight++;
        if ((status = send_task(link, slot, segments, &why)) != MR_OK)
            lose_process(link, worker, status, why.text);
        break;
    case MR__PACK_HERE:
        link->here = *task;
        link->has_here = true;
        drop_token(link);
        break;
    case MR__PACK_ELSEWHERE:
        link->back[link->back_count] = *task;
        link->back[link->back_count++].cpu_only = true;
        link->story.given_back++;
        break;
    }
}

static uint32_t give_back(mr__device_link *link, mr__done *done, uint32_t max)
{
    uint32_t count = 0;
    while (count < max && link->back_count > 0) {
        done[count] = (mr__done){.task = link->back[--link->back_count]};
        mr__fail(&done[count].error, MR_DEVICE_LOST, "%s",
                 link->story.why[0] != '\0' ? link->story.why : "the task does not fit the device");
        done[count].status = MR_DEVICE_LOST;
        done[count].started_ns = done[count].finished_ns = mr__now_ns();
        count++;
    }
    return count;
}

static uint32_t run_here(mr__device_link *link, mr__worker *worker, mr__done *done)
{
    link->has_here = false;
    mr__task_run(&link->here, worker, done);
    return 1;
}

/* Flights that end together come one after a long time and one after none: so units and times are added up. */
static void note_pace(mr__device_link *link, const mr__done *done)
{
    const uint64_t begin = link->last_done_ns > done->started_ns ? link->last_done_ns : done->started_ns;
    const uint64_t units = done->task.end - done->task.begin;
    if (units == 0)
        return;
    link->pace_units = link->pace_units * PACE_KEPT + (double)units;
    link->pace_ns = link->pace_ns * PACE_KEPT + (double)(done->finished_ns - begin);
}

/* A task came back: takes its result, or finds who may run it. Returns how many of `done` that makes. */
static uint32_t take_done(mr__device_link *link, mr__worker *worker, mr__done *done)
{
    const mr__device_done *answer = &link->answer.done;
    struct flight *flight = answer->slot < MR__DEVICE_SLOTS ? &link->flight[answer->slot] : NULL;
    if (flight == NULL || !flight->used || flight->id != answer->id || answer->bytes > link->config->slot_bytes) {
        lose(link, "the device process answered a task that it was not given");
        return 0;
    }
    if (mr__token_revoked(link->pool, flight->token)) {
        wait_for_others(link);
        return 0;
    }
    if (answer->outcome == MR__DEVICE_BROKEN) {
        lose(link, answer->text);
        return 0;
    }
    *done = (mr__done){.task = flight->task, .started_ns = flight->sent_ns, .apart = true};
    link->story.again += answer->again;
    link->story.buffer = answer->buffer;
    if (answer->outcome == MR__DEVICE_OK) {
        const uint8_t *result = link->channel.slots + answer->slot * link->config->slot_bytes;
        done->status = link->config->unpack(&done->task, worker, answer, result, &done->error);
        if (done->status == MR_DEVICE_LOST) {
            lose(link, done->error.text);
            return 0;
        }
    }
    done->finished_ns = mr__now_ns();
    mr__token_release(link->pool, flight->token);
    flight->used = false;
    link->in_flight--;
    if (answer->outcome == MR__DEVICE_OK) {
        note_pace(link, done);
        link->last_done_ns = done->finished_ns;
        link->story.tasks++;
        link->story.units += done->task.end - done->task.begin;
        link->config->traced(worker, answer);
        return 1;
    }
    link->last_done_ns = done->finished_ns;
    if (link->config->alone) {
        mr__task_run(&flight->task, worker, done);
        return 1;
    }
    done->task.cpu_only = true;
    link->story.given_back++;
    done->status = mr__fail(&done->error, MR_DEVICE_LOST, "%s", answer->text);
    return 1;
}

/* Has a flight taken far longer than its size says? *reads: one of them waits for a file. */
static bool is_late(const mr__device_link *link, bool *reads)
{
    mr__device_reading *const readings = mr__device_readings(link->channel.slots, link->channel.bytes);
    double units = 0;
    uint64_t since = UINT64_MAX, sign = link->last_done_ns;     /* sign: of life */
    *reads = false;
    for (uint32_t slot = 0; slot < MR__DEVICE_SLOTS; slot++)
        if (link->flight[slot].used) {
            const uint64_t told = atomic_load_explicit(&readings[slot], memory_order_relaxed);
            units += (double)(link->flight[slot].task.end - link->flight[slot].task.begin);
            since = link->flight[slot].sent_ns < since ? link->flight[slot].sent_ns : since;
            *reads |= told % 2 == 1;
            if (told > sign && told <= mr__now_ns())    /* a driver that scribbles gains no time */
                sign = told;
        }
    if (since < sign)
        since = sign;
    const uint64_t now = mr__now_ns();
    double limit = (double)link->first_ns;
    if (*reads)
        limit *= READ_PATIENCE;
    else if (link->pace_units > 0)
        limit = (double)link->task_ns + PATIENCE * units * link->pace_ns / link->pace_units;
    return link->in_flight > 0 && now > since && (double)(now - since) > limit;
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
        drop_token(link);
    if (link->token_ns > 0)
        rest_until(link, link->token_ns, timeout_ns);
    else
        rest(link, timeout_ns);
    if ((status = mr__device_receive(&link->channel, &link->answer, &got, &why)) != MR_OK) {
        lose_process(link, worker, status, why.text);
        return 0;
    }
    if (!got) {
        if (link->in_flight > 0 && link->config->stopping(worker)) {
            land(link);
            link->state = GONE;
        } else if (is_late(link, &reads)) {
            if (reads)
                go(link, "reading the input took far too long: its file system does not answer");
            else
                lose(link, "a task took far too long: its kernel hangs, or the device does");
        }
        return 0;
    }
    if (link->answer.head.kind != MR__DEVICE_DONE) {
        const mr__device_ready *ready = &link->answer.ready;
        give_up(link, ready, ready->text[0] != '\0' ? ready->text : "the device process gave up");
        return 0;
    }
    return take_done(link, worker, done);
}

static uint32_t device_poll(mr__worker *worker, uint64_t timeout_ns, mr__done *done, uint32_t max)
{
    mr__device_link *link = link_of(worker);
    mr__error why = {.text = ""};
    mr_status status;
    bool got;
    if (max == 0)
        return 0;
    if (link->has_here)
        return run_here(link, worker, done);
    if (link->back_count > 0)
        return give_back(link, done, max);
    switch (link->state) {
    case WAITING:
        rest_until(link, link->wake_ns, timeout_ns);
        if (mr__now_ns() >= link->wake_ns)
            ask_again(link);
        break;
    case STARTING:
        rest(link, timeout_ns);
        if ((status = mr__device_receive(&link->channel, &link->answer, &got, &why)) != MR_OK)
            lose_process(link, worker, status, why.text);
        else if (got)
            take_start(link);
        else if (mr__now_ns() > link->wake_ns)
            lose(link, "the device process did not become ready in time");
        break;
    case WELL: {
        const uint32_t count = poll_well(link, worker, timeout_ns, done);
        if (count > 0)
            return count;
        break;
    }
    case GONE:
        break;
    }
    return give_back(link, done, max);
}

/* The process stays for the next round. */
static void device_stop(mr__worker *worker)
{
    drop_token(link_of(worker));
}

const mr__worker_ops mr__worker_device_ops = {
    .kind = "device",
    .probe = device_probe,
    .start = device_start,
    .room = device_room,
    .submit = device_submit,
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
    MR_CHECK(link->channel.process == 0 || link->state == STARTING || link->state == WELL, MR_INTERNAL,
             "D1 broken: a process in state %d", (int)link->state);
    MR_CHECK(used == link->in_flight && (used == 0 || link->state == WELL), MR_INTERNAL,
             "D3 broken: %u in flight of %u in state %d", used, link->in_flight, (int)link->state);
    MR_CHECK(!link->has_token || link->state == WELL, MR_INTERNAL, "D4 broken: a token in state %d", (int)link->state);
done:
    return status;
}
