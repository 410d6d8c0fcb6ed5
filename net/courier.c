/* courier.c: the one thread that talks to the network, and its rounds.
 *
 *   post() --> inbox --> queues (courier_queue.c) --> comm                RUNNING
 *   (any thread)                                       |                     | stop(): sends what was posted
 *                                                  progress()             DRAINING
 *                                                      |                     | all has left, or out of patience
 *   message() <------------- a message of the owners --+                  LEAVING
 *   lost(), expelled() <---- courier_ring.c <-- ours --'                     | all have answered, or out of patience
 *                                                                          over
 *   Any of the three --this rank is lost--> EXPELLED: the comm is closed at once, and the thread waits for stop().
 *
 * A round: take the inbox; look at the clock; feed the comm, control first, then bulk; let it progress; judge who is
 * lost; beat; tell; tick; sleep. A failed send is judged after progress() has told all that it had: the rank may have
 * taken its leave before.
 *
 * Sleep. Each round of a rank that waits is taken from its workers. Where the comm has a descriptor, it wakes the
 * courier. Not always: a message may have been taken from its socket in the course of the last round. So after t of
 * nothing the courier sleeps for 4t, at most half of the time between two beats, and that is how long such a message
 * waits. A wake for nothing begins t anew: something has come in part. While something of its own is under way it
 * sleeps for IDLE_MOST at most. FALSE_WAKES_MOST wakes in a row for nothing, and the descriptor is ignored until
 * something comes.
 * Without a descriptor it sleeps for t/2, at most IDLE_MOST: what arrives waits for at most half of the time that has
 * passed anyway. Below NAP_LEAST it polls on. Beats are no reason to stay awake. With nobody to hear from it sleeps
 * until the next tick.
 *
 * No post is overslept: post() appends to the inbox, and the courier looks into it and says that it sleeps, under one
 * mutex. Either it sees the post, or post() sees that it sleeps and sets the alarm, which stays set until it wakes.
 *
 * Measured on the 2-core reference machine (Intel), CPU of an idle rank over 10 s by getrusage: one rank with the local
 * backend 0.03 % of a core, 10 rounds (ticks) a second; 2 ranks on the mesh of tests/net, which has no descriptor,
 * 1.2 % each, 465 rounds a second. Ranks that map pi's terms over MPI, by /proc/PID/task/TID/schedstat over 5 s: of 2
 * 0.15-0.29 % each (0.8-1.1 without the descriptor), of 4 0.19-0.26 % (0.42-0.52).
 *
 * Whenever an event is called:
 * C1  `living` counts the ALIVE ranks, this one is among them, and none is below `lowest`.
 * C2  The losses are the LOST ranks, each once, each with a reason: lost() is called when one is added, and only then.
 *     A rank that is LOST stays so: message() is called for others only.
 * C3  Nothing is queued for a rank that is not ALIVE, and no answer of it is awaited; `awaiting` counts the answers.
 *     The comm forgets every LOST rank; `partings` counts those that it has not forgotten yet.
 * C4  next and prev are the nearest living ranks in the ring.
 * C5  While nothing is unsettled: next knows of every loss, and nobody is owed anything, except that notices wait
 *     while answers are awaited.
 * C6  A rank with posts in a queue is on the list of the busy, which has no rank twice; posts lie in the queue of their
 *     rank and path.
 * C7  waiting >= the bytes in the queue: the rest is in the inbox.
 * C8  An expelled courier has no comm: nothing is sent and nothing is called any more. */
#include "courier_parts.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"

enum {
    PROGRESS_MOST = 8,              /* in one round */
    FALSE_WAKES_MOST = 16,
    LISTENING_PART = 2,             /* of the time between two beats */
    NAP_LEAST = 20000,              /* ns; shorter ones cost more than they save */
    IDLE_MOST = 2000000,
    TIMER_SLACK = 1000,             /* the kernel's default would make each nap 50 us longer */
    LEAVING_ROUNDS = 2,             /* one to send, one to let it go */
};

static const uint64_t preset_deadline = 5000000000, preset_heartbeat = 100000000, preset_tick = 250000000,
                      preset_start = 120000000000;
static const uint64_t for_ever = UINT64_MAX / 4;

uint64_t mr__courier_clock(const mr__courier *courier)
{
    /* unlike the monotonic clock it goes on while the machine is suspended, as it does for the other ranks */
    return courier->options.clock != NULL ? courier->options.clock(courier->options.clock_context)
                                          : mr__clock_ns(CLOCK_BOOTTIME);
}

/* ---- what the comm tells ----------------------------------------------------------------------------------------- */

static void received(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    mr__courier *courier = context;
    if (courier->phase == MR__EXPELLED || from >= courier->size)
        return;
    mr__peer *peer = &courier->peers[from];
    peer->heard = true;
    courier->lively |= tag != MR__TAG_BEAT;
    if (tag < MR__TAG_FIRST)
        mr__ring_received(courier, from, tag, bytes, size);
    else if (!mr__peer_is(peer, MR__PEER_LOST))
        courier->events.message(courier->events.context, from, tag, bytes, size);
}

static void unreachable(void *context, uint32_t rank, const char *why)
{
    mr__courier *courier = context;
    if (courier->phase != MR__EXPELLED && rank < courier->size && rank != courier->rank)
        mr__ring_failed(courier, rank, why);
}

static bool progress(mr__courier *courier)
{
    const mr__comm_events events = {courier, received, unreachable};
    bool moved = false;
    for (uint32_t i = 0; i < PROGRESS_MOST && courier->phase != MR__EXPELLED; i++) {
        if (!courier->comm->ops->progress(courier->comm, &events))
            break;
        moved = true;
    }
    return moved;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

/* Under the mutex. */
static void refuse_posts(mr__courier *courier, const char *why)
{
    courier->closed = true;
    snprintf(courier->closed_why, sizeof courier->closed_why, "%s", why);
}

void mr__courier_expel(mr__courier *courier, const char *why)
{
    if (courier->phase == MR__EXPELLED)
        return;
    courier->phase = MR__EXPELLED;
    atomic_store_explicit(&courier->expelled, true, memory_order_relaxed);
    pthread_mutex_lock(&courier->mutex);
    refuse_posts(courier, why);
    pthread_mutex_unlock(&courier->mutex);
    courier->events.expelled(courier->events.context, why);
}

void mr__courier_wake(mr__courier *courier)
{
    eventfd_write(courier->alarm, 1);
}

static bool listens(const mr__courier *courier)
{
    return courier->descriptor >= 0 && courier->false_wakes < FALSE_WAKES_MOST;
}

static void sleep_for(mr__courier *courier, uint64_t ns)
{
    const struct timespec time = mr__timespec(ns);
    struct pollfd wakers[] = {{.fd = courier->alarm, .events = POLLIN},
                              {.fd = listens(courier) ? courier->descriptor : -1, .events = POLLIN}};
    eventfd_t calls;
    pthread_mutex_lock(&courier->mutex);
    const bool sleeps =
        courier->inbox.head == NULL && !courier->accusations && (!courier->stop || courier->phase != MR__RUNNING);
    courier->asleep = sleeps;
    pthread_mutex_unlock(&courier->mutex);
    if (!sleeps)
        return;
    const bool woken = ppoll(wakers, sizeof wakers / sizeof *wakers, &time, NULL) > 0;
    courier->woken = woken && wakers[1].revents != 0;
    pthread_mutex_lock(&courier->mutex);
    courier->asleep = false;
    pthread_mutex_unlock(&courier->mutex);
    if (woken && wakers[0].revents != 0)
        eventfd_read(courier->alarm, &calls);
}

static uint64_t nap_length(const mr__courier *courier, uint64_t now)
{
    const uint64_t quiet = now - courier->lively_ns, until_tick = courier->tick_due > now ? courier->tick_due - now : 0;
    const bool idle = courier->busy_count == 0 && courier->partings == 0 && courier->phase == MR__RUNNING;
    const bool nobody = courier->loss_count == courier->size - 1 && idle;
    uint64_t nap = listens(courier) ? 4 * quiet : quiet / 2, most = IDLE_MOST;
    if (listens(courier) && idle && !courier->unsettled)
        most = courier->options.heartbeat_ns / LISTENING_PART;
    if (nap > most)
        nap = most;
    return nobody || nap > until_tick ? until_tick : nap;
}

static void rest(mr__courier *courier, bool moved)
{
    const uint64_t now = mr__now_ns();
    if (courier->lively || (courier->woken && !moved) || (moved && courier->busy_count > 0))
        courier->lively_ns = now;
    courier->false_wakes = moved ? 0 : courier->false_wakes + courier->woken;
    courier->woken = false;
    if (!courier->lively && !moved) {
        const uint64_t nap = nap_length(courier, now);
        if (nap >= NAP_LEAST)
            sleep_for(courier, nap);
        else
            sched_yield();
    }
}

/* Refuses posts from here on, unless one has just come. */
static bool close_inbox(mr__courier *courier, bool patient)
{
    mr__post_list late;
    pthread_mutex_lock(&courier->mutex);
    const bool closes = courier->inbox.head == NULL || !patient;
    mr__queue_take_inbox(courier, &late);
    if (closes)
        refuse_posts(courier, "this rank leaves");
    pthread_mutex_unlock(&courier->mutex);
    if (closes)
        mr__queue_drop_list(courier, &late);
    else
        mr__queue_sort(courier, &late);
    return closes;
}

/* The steps from stop() to the end; true: this was the last. */
static bool leave(mr__courier *courier, bool stop, uint64_t patience_ns)
{
    const uint64_t now = mr__now_ns();
    if (courier->phase == MR__RUNNING) {
        if (!stop)
            return false;
        courier->phase = MR__DRAINING;
        courier->patience_end = now + (patience_ns < for_ever ? patience_ns : for_ever);
    }
    const bool patient = now < courier->patience_end;
    if (courier->phase == MR__DRAINING) {
        if ((patient && (courier->busy_count > 0 || courier->unsettled)) || !close_inbox(courier, patient))
            return false;
        mr__queue_drop_all(courier);
        courier->phase = MR__LEAVING;
        mr__ring_leave(courier);
        return false;
    }
    courier->leaving_rounds++;
    return (mr__ring_left(courier) && courier->busy_count == 0) ||
           (!patient && courier->leaving_rounds >= LEAVING_ROUNDS);
}

static void tick(mr__courier *courier)
{
    const uint64_t now = mr__now_ns();
    if (now < courier->tick_due)
        return;
    courier->tick_due = now + courier->options.tick_ns;
    if (courier->events.tick != NULL)
        courier->events.tick(courier->events.context, now);
}

/* false: it was the last round. */
static bool go_round(mr__courier *courier)
{
    mr__post_list posts;
    courier->lively = false;
    pthread_mutex_lock(&courier->mutex);
    mr__queue_take_inbox(courier, &posts);
    const bool accusations = courier->accusations, stop = courier->stop;
    const uint64_t patience_ns = courier->patience_ns;
    courier->accusations = false;
    pthread_mutex_unlock(&courier->mutex);
    mr__queue_sort(courier, &posts);
    mr__ring_look_at_clock(courier, mr__courier_clock(courier));
    if (courier->phase == MR__EXPELLED)
        return false;
    mr__queue_feed(courier);
    const bool moved = progress(courier);
    if (courier->phase == MR__EXPELLED)
        return false;
    mr__ring_judge(courier, accusations);
    mr__ring_pulse(courier, mr__courier_clock(courier));
    if (courier->phase == MR__EXPELLED)
        return false;
    mr__ring_settle(courier);
    mr__queue_look_after(courier);
    tick(courier);
    if (leave(courier, stop, patience_ns))
        return false;
    rest(courier, moved);
    return true;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

struct opening {
    mr__courier *courier;
    mr__comm_open *open;
    void *how;
};

static mr_status open_comm(const struct opening *opening)
{
    mr_status status = MR_OK;
    mr__courier *courier = opening->courier;
    mr__error *error = &courier->open_error;
    MR_TRY(opening->open(opening->how, &courier->comm, error));
    courier->rank = courier->comm->ops->rank(courier->comm);
    courier->size = courier->comm->ops->size(courier->comm);
    courier->descriptor = courier->comm->ops->descriptor != NULL ? courier->comm->ops->descriptor(courier->comm) : -1;
    MR_CHECK(courier->rank < courier->size, MR_INTERNAL, "rank %u of %u cannot be", courier->rank, courier->size);
    courier->peers = mr__alloc_zero(courier->size, sizeof *courier->peers);
    courier->losses = mr__alloc_zero(courier->size, sizeof *courier->losses);
    courier->busy = mr__alloc_zero(courier->size, sizeof *courier->busy);
    MR_CHECK(courier->peers != NULL && courier->losses != NULL && courier->busy != NULL, MR_NO_MEMORY,
             "no memory for the messages of %u ranks; raise --memory", courier->size);
    for (uint32_t r = 0; r < courier->size; r++) {
        for (uint32_t path = 0; path < MR__PATHS; path++)
            courier->peers[r].queue[path].tail = &courier->peers[r].queue[path].head;
    }
done:
    return status;
}

static void close_comm(mr__courier *courier)
{
    if (courier->comm != NULL)
        courier->comm->ops->close(courier->comm);
    courier->comm = NULL;
}

/* Tells start() how it went, and waits until that has told its caller. false: it went wrong, or start() is gone. */
static bool report(mr__courier *courier, mr_status status, bool *abandoned)
{
    pthread_mutex_lock(&courier->mutex);
    *abandoned = courier->abandoned;
    courier->opened = status == MR_OK;
    courier->open_failed = status != MR_OK;
    pthread_cond_broadcast(&courier->wake);
    while (!courier->go && !courier->abandoned && status == MR_OK)
        pthread_cond_wait(&courier->wake, &courier->mutex);
    pthread_mutex_unlock(&courier->mutex);
    return status == MR_OK && !*abandoned;
}

static void wait_for_stop(mr__courier *courier)
{
    pthread_mutex_lock(&courier->mutex);
    while (!courier->stop)
        pthread_cond_wait(&courier->wake, &courier->mutex);
    pthread_mutex_unlock(&courier->mutex);
}

static void destroy(mr__courier *courier)
{
    if (courier == NULL)
        return;
    if (courier->peers != NULL)
        mr__queue_drop_list(courier, &courier->inbox);
    if (courier->alarm >= 0)
        close(courier->alarm);
    pthread_cond_destroy(&courier->wake);
    pthread_mutex_destroy(&courier->mutex);
    mr__free(courier->peers);
    mr__free(courier->losses);
    mr__free(courier->busy);
    mr__free(courier);
}

static void *run(void *argument)
{
    const struct opening opening = *(struct opening *)argument;
    mr__courier *courier = opening.courier;
    bool abandoned = false;
    mr__free(argument);
    prctl(PR_SET_NAME, "mr-courier");
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK);
    const mr_status status = open_comm(&opening);
    if (status != MR_OK)
        close_comm(courier);
    if (!report(courier, status, &abandoned)) {
        if (abandoned) {
            close_comm(courier);
            destroy(courier);
        }
        return NULL;
    }
    courier->lively_ns = mr__now_ns();
    courier->tick_due = courier->lively_ns + courier->options.tick_ns;
    mr__ring_begin(courier);
    while (go_round(courier))
        ;
    close_comm(courier);
    mr__queue_drop_all(courier);
    if (courier->phase == MR__EXPELLED)
        wait_for_stop(courier);
    return NULL;
}

static mr__courier *make(const mr__courier_options *options, const mr__courier_events *events)
{
    pthread_condattr_t attributes;
    mr__courier *courier = mr__alloc_zero(1, sizeof *courier);
    if (courier == NULL)
        return NULL;
    courier->events = *events;
    if (options != NULL)
        courier->options = *options;
    mr__courier_options *chosen = &courier->options;
    chosen->deadline_ns = chosen->deadline_ns != 0 ? chosen->deadline_ns : preset_deadline;
    chosen->heartbeat_ns = chosen->heartbeat_ns != 0 ? chosen->heartbeat_ns : preset_heartbeat;
    chosen->start_ns = chosen->start_ns != 0 ? chosen->start_ns : preset_start;
    chosen->tick_ns = chosen->tick_ns != 0 ? chosen->tick_ns : preset_tick;
    if (chosen->heartbeat_ns > chosen->deadline_ns / 4)
        chosen->heartbeat_ns = chosen->deadline_ns / 4;
    courier->inbox.tail = &courier->inbox.head;
    courier->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&courier->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&courier->mutex, NULL);
    return courier;
}

/* With the mutex held: until the comm is open, or could not be opened, or there was time enough for it. */
static void wait_for_comm(mr__courier *courier)
{
    const uint64_t end = mr__now_ns() + courier->options.start_ns;
    while (!courier->opened && !courier->open_failed && mr__now_ns() < end) {
        const struct timespec until = {(time_t)(end / 1000000000), (long)(end % 1000000000)};
        pthread_cond_timedwait(&courier->wake, &courier->mutex, &until);
    }
}

mr_status mr__courier_start(mr__comm_open *open, void *how, const mr__courier_options *options,
                            const mr__courier_events *events, mr__courier **out, mr__error *error)
{
    mr_status status = MR_OK;
    struct opening *opening = mr__alloc(sizeof *opening);
    mr__courier *courier = make(options, events);
    MR_CHECK(courier != NULL && opening != NULL, MR_NO_MEMORY, "no memory for the messages of a rank; raise --memory");
    MR_CHECK(courier->alarm >= 0, MR_NO_MEMORY, "no file descriptor for the thread that sends messages; raise "
             "ulimit -n");
    *opening = (struct opening){courier, open, how};
    const int result = pthread_create(&courier->thread, NULL, run, opening);
    MR_CHECK(result == 0, MR_NO_MEMORY, "could not start the thread that sends messages: %s", strerror(result));
    opening = NULL;                         /* the thread's */
    pthread_mutex_lock(&courier->mutex);
    wait_for_comm(courier);
    const bool opened = courier->opened, failed = courier->open_failed;
    const double seconds = (double)courier->options.start_ns * 1e-9;
    if (opened) {
        *out = courier;                     /* before the first event */
        courier->go = true;
        pthread_cond_broadcast(&courier->wake);
    } else if (!failed) {
        courier->abandoned = true;          /* it cannot be ended: it takes itself back, should it ever return */
        pthread_detach(courier->thread);
    }
    pthread_mutex_unlock(&courier->mutex);
    if (failed)
        pthread_join(courier->thread, NULL);
    else
        courier = NULL;
    MR_CHECK(!failed, courier->open_error.code, "%s", courier->open_error.text);
    MR_CHECK(opened, MR_NETWORK_FAILED, "not all ranks came within %.0f seconds\n  hint: was one of them killed, or is "
             "a node slow? MILLRACE_START sets how long they are waited for", seconds);
done:
    mr__free(opening);
    destroy(courier);
    return status;
}

void mr__courier_stop(mr__courier *courier, uint64_t patience_ns)
{
    if (courier == NULL)
        return;
    pthread_mutex_lock(&courier->mutex);
    courier->stop = true;
    courier->patience_ns = patience_ns;
    pthread_cond_signal(&courier->wake);
    mr__courier_wake(courier);
    pthread_mutex_unlock(&courier->mutex);
    pthread_join(courier->thread, NULL);
    destroy(courier);
}

/* ---- calls from any thread --------------------------------------------------------------------------------------- */

uint32_t mr__courier_rank(const mr__courier *courier)
{
    return courier->rank;
}

uint32_t mr__courier_size(const mr__courier *courier)
{
    return courier->size;
}

bool mr__courier_alive(const mr__courier *courier, uint32_t rank)
{
    if (rank == courier->rank && atomic_load_explicit(&courier->expelled, memory_order_relaxed))
        return false;
    return mr__is_alive(&courier->peers[rank]);
}

bool mr__courier_is_lost(const mr__courier *courier, uint32_t rank)
{
    return mr__peer_is(&courier->peers[rank], MR__PEER_LOST);
}

uint32_t mr__courier_lowest(const mr__courier *courier)
{
    return atomic_load_explicit(&courier->lowest, memory_order_relaxed);
}

void mr__courier_declare_lost(mr__courier *courier, uint32_t rank, const char *why)
{
    if (rank >= courier->size || rank == courier->rank)
        return;
    mr__peer *peer = &courier->peers[rank];
    pthread_mutex_lock(&courier->mutex);
    if (mr__is_alive(peer)) {
        if (peer->why[0] == '\0')
            snprintf(peer->why, sizeof peer->why, "%s", why);
        peer->accused = true;
        courier->accusations = true;
        if (courier->asleep)
            mr__courier_wake(courier);
    }
    pthread_mutex_unlock(&courier->mutex);
}

mr_status mr__courier_check(const mr__courier *courier, mr__error *error)
{
    mr_status status = MR_OK;
    if (courier->phase == MR__EXPELLED)
        return MR_OK;
    MR_CHECK(courier->comm != NULL, MR_INTERNAL, "C8 broken: no comm, and not expelled");
    MR_TRY(mr__ring_check(courier, error));
    MR_TRY(mr__queue_check(courier, error));
done:
    return status;
}
