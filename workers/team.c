/* team.c: one thread per worker, and the loop that each of them runs.
 *
 *          +--> room? --TAKES--> pull --PULLED--> submit --+--> poll --> done --+
 *          |      | FULL          | WAIT                   |                    |
 *          |      +---------------+------------------------+                    |
 *          +--------------------------------------------------------------------+
 *
 * The loop polls after every submit, without waiting as long as the worker might take more: a CPU worker runs its task
 * in that call and has nothing in flight when the next task is pulled, so it never sits on a task that another worker
 * could run. A device takes tasks until it is full; then poll waits. No worker ever holds a task that it cannot take.
 *
 * Why nobody waits for ever: pull may block only if this worker has nothing in flight. If it has, some poll returns it,
 * because a worker gives back every task, done or lost. A lost worker's tasks go back to the source before its thread
 * ends; the source then has tasks, so the others' pull returns. If none is left, the call fails. A worker that is full
 * with nothing in flight (a device that is being restarted) asks the source whether all is over. One that cannot start
 * asks as well, so that no source keeps work for it.
 *
 * The threads are an OpenMP team, so that Millrace and an app that uses OpenMP or OpenBLAS share one pool of threads.
 * Two things OpenMP does not do for us:
 * - Its run-time ends the process when the system refuses a thread. So before a team grows, that many plain threads
 *   are tried; if the system gives fewer, the team is smaller: workers pull, so the work still gets done.
 * - Its barriers are not instrumented, and ThreadSanitizer sees races where there are none. Under it the team is made
 *   of plain threads. The loop is the same.
 * Nor does every compiler have it (clang's is a package of its own): without it there are plain threads as well. */
#include "worker.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#if defined(__SANITIZE_THREAD__) || !defined(_OPENMP)
#define PLAIN_THREADS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLAIN_THREADS 1
#endif
#endif
#ifndef PLAIN_THREADS
#define PLAIN_THREADS 0
#include <omp.h>
#endif

#include "memory.h"

enum { DONE_MAX = 4, POLL_NS = 10000000, THREADS_MAX = 4096 };

struct team {
    mr__worker *workers;
    uint32_t count;
    const mr__task_source *source;
    mr_status (*begin)(mr__worker *worker, mr__error *error);
    void (*end)(mr__worker *worker);
    pthread_mutex_t mutex;
    /* guarded by mutex */
    mr__error first;            /* why the first worker that could not start did not */
    uint32_t started, finished; /* workers that began; that heard FINISHED */
};

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

struct loop {
    const mr__task_source *source;
    mr__worker *worker;
    uint32_t in_flight;
    bool finished, lost;
};

static void hand_back(struct loop *loop, uint64_t timeout_ns)
{
    mr__done done[DONE_MAX];
    const uint32_t count = loop->worker->ops->poll(loop->worker, timeout_ns, done, DONE_MAX);
    loop->in_flight -= count;
    for (uint32_t i = 0; i < count; i++)
        loop->source->done(loop->source->context, loop->worker, &done[i]);
}

/* Returns true if the worker might take one more task. */
static bool pull_and_submit(struct loop *loop)
{
    mr__task task;
    switch (loop->source->pull(loop->source->context, loop->worker, loop->in_flight, &task)) {
    case MR__PULLED:
        loop->worker->ops->submit(loop->worker, &task);
        loop->in_flight++;
        return true;
    case MR__WAIT:
        return false;
    case MR__FINISHED:
        loop->finished = true;
        return false;
    }
    return false;
}

/* Returns true when the source said that all is done, false when the worker was lost before. */
static bool run_loop(const mr__task_source *source, mr__worker *worker)
{
    struct loop loop = {.source = source, .worker = worker};
    while (!loop.finished && !loop.lost) {
        bool more = false;
        switch (worker->ops->room(worker)) {
        case MR__TAKES:
            more = pull_and_submit(&loop);
            break;
        case MR__FULL:
            loop.finished = loop.in_flight == 0 && source->over(source->context, worker);
            break;
        case MR__GONE:
            loop.lost = true;
            break;
        }
        if (!loop.finished && !loop.lost)
            hand_back(&loop, more ? 0 : POLL_NS);
    }
    while (loop.in_flight > 0)
        hand_back(&loop, POLL_NS);
    if (loop.lost)
        source->over(source->context, worker);
    return loop.finished;
}

static void note_failure(struct team *team, mr__worker *worker, const mr__error *why)
{
    pthread_mutex_lock(&team->mutex);
    mr__fail(&team->first, why->code, "%s", why->text);
    pthread_mutex_unlock(&team->mutex);
    team->source->over(team->source->context, worker);
}

/* The workers from `first` on have no thread. */
static void leave_out(struct team *team, uint32_t first)
{
    for (uint32_t w = first; w < team->count; w++)
        team->source->over(team->source->context, &team->workers[w]);
}

static void note_end(struct team *team, bool finished)
{
    pthread_mutex_lock(&team->mutex);
    team->started++;
    team->finished += finished;
    pthread_mutex_unlock(&team->mutex);
}

static bool bind_thread(const mr__worker *worker)
{
    if (worker->core != MR__NO_CORE)
        return mr__topology_bind(worker->topology, worker->core);
    return worker->topology->divided && mr__topology_bind_from(worker->topology, 0);
}

static void run_worker(struct team *team, mr__worker *worker)
{
    cpu_set_t before;
    mr__error error = {.code = MR_OK};
    const bool known = pthread_getaffinity_np(pthread_self(), sizeof before, &before) == 0;
    /* without knowing what to restore, the caller's thread would stay bound */
    const bool bound = known && bind_thread(worker);
    const bool placed = mr__topology_place(worker->topology, worker->core);
    if (worker->ops->start(worker, &error) != MR_OK) {
        note_failure(team, worker, &error);
    } else {
        if (team->begin != NULL && team->begin(worker, &error) != MR_OK) {
            note_failure(team, worker, &error);
        } else {
            note_end(team, run_loop(team->source, worker));
            if (team->end != NULL)
                team->end(worker);
        }
        worker->ops->stop(worker);
    }
    if (placed)
        mr__topology_unplace();
    if (bound)
        pthread_setaffinity_np(pthread_self(), sizeof before, &before);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#if PLAIN_THREADS

struct seat {
    struct team *team;
    mr__worker *worker;
    pthread_t thread;
};

static void *sit(void *argument)
{
    struct seat *seat = argument;
    run_worker(seat->team, seat->worker);
    return NULL;
}

static mr_status run_threads(struct team *team, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t made = 1;
    struct seat *seats = mr__alloc_zero(team->count, sizeof *seats);
    MR_CHECK(seats != NULL, MR_NO_MEMORY, "no memory for a team of %u workers; raise --memory", team->count);
    for (; made < team->count; made++) {
        seats[made] = (struct seat){.team = team, .worker = &team->workers[made]};
        if (pthread_create(&seats[made].thread, NULL, sit, &seats[made]) != 0)
            break;
    }
    leave_out(team, made);
    run_worker(team, &team->workers[0]);
    while (made > 1)
        pthread_join(seats[--made].thread, NULL);
done:
    mr__free(seats);
    return status;
}

#else

static void *wait_for_gate(void *argument)
{
    pthread_mutex_t *gate = argument;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* How many of `wanted` threads the system grants at the same time. */
static uint32_t try_threads(uint32_t wanted)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    uint32_t made = 0;
    pthread_t *threads = mr__alloc(wanted * sizeof *threads);
    if (threads == NULL)
        return 0;
    pthread_mutex_lock(&gate);
    while (made < wanted && pthread_create(&threads[made], NULL, wait_for_gate, &gate) == 0)
        made++;
    pthread_mutex_unlock(&gate);
    for (uint32_t i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    mr__free(threads);
    return made;
}

/* The size of the team that can be had, the calling thread included. Each thread that starts teams keeps the threads of
 * its last one; a team of one leaves them as they are. */
static uint32_t threads_to_ask_for(uint32_t count)
{
    static _Thread_local uint32_t kept = 1;
    if (count == 1)
        return 1;
    if (count > kept)
        count = kept + try_threads(count - kept);
    kept = count;
    return count;
}

static mr_status run_threads(struct team *team, mr__error *error)
{
    const int threads = (int)threads_to_ask_for(team->count);
    /* OpenMP may give fewer still (OMP_THREAD_LIMIT, a caller's own parallel region): the others do without */
#pragma omp parallel num_threads(threads)
    {
#pragma omp master
        leave_out(team, (uint32_t)omp_get_num_threads());
        run_worker(team, &team->workers[omp_get_thread_num()]);
    }
    return MR_OK;
}

#endif

mr_status mr__team_run(mr__worker *workers, uint32_t count, const mr__task_source *source,
                       mr_status (*begin)(mr__worker *worker, mr__error *error), void (*end)(mr__worker *worker),
                       mr__error *error)
{
    mr_status status = MR_OK;
    struct team team = {.workers = workers, .count = count, .source = source, .begin = begin, .end = end,
                        .mutex = PTHREAD_MUTEX_INITIALIZER};
    MR_CHECK(count > 0 && count <= THREADS_MAX, MR_NO_WORKER, "a team has 1 to %d workers, not %u", THREADS_MAX, count);
    MR_TRY(run_threads(&team, error));
    MR_CHECK(team.started > 0, MR_NO_WORKER, "no worker could start: %s", team.first.text);
    MR_CHECK(team.finished > 0, MR_DEVICE_LOST, "all %u workers were lost before the work was done", team.started);
done:
    return status;
}
