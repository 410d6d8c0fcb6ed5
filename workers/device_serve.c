/* device_serve.c: one job on one device.
 *
 *   main thread      JOB: build, choose, probe, READY; then hands each TASK to the thread of its slot
 *   slot threads     one for each task in flight: read, copy in, run, copy back, DONE
 *   watching thread  waits for the channel to close and ends the process at once
 *
 * A slot's thread does all steps of its task, one after the other, and waits where the device makes it wait. The
 * overlap comes from there being several: while one waits for its kernel another reads. Rejected: one thread to read
 * and one to finish, with tasks handed between them; text kernels go to and fro (count, then write), and would
 * have held up others.
 *
 * Why nobody waits for ever: the engine sends a task only to a slot that is its own, so a slot's thread is idle then;
 * DONE is sent by the slot's thread whatever happened. A kernel that never ends holds up its slot until the engine's
 * watchdog kills the process. */
#include "device_serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "device_choose.h"
#include "device_platforms.h"
#include "device_probe.h"
#include "device_scratch.h"
#include "memory.h"

enum { EXIT_DEVICE = 5, EXIT_PROTOCOL = 7, FDS_MAX = 4 };
enum { MESSAGE_MAX = sizeof(mr__device_task) + MR__DEVICE_SEGMENTS * sizeof(mr__device_segment) };

struct lane {                       /* a slot and its thread */
    struct server *server;
    mr__device_slot slot;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* guarded by mutex; from busy on the thread's, until it is not busy */
    bool busy;
    mr__device_task task;
    mr__device_segment segments[MR__DEVICE_SEGMENTS];
    int token;                      /* its descriptor, or -1 */
};

struct server {
    mr__cl *cl;
    mr__device_cache cache;
    mr__device_run run;
    mr__device_chosen chosen;
    atomic_bool keeps;              /* the program is still to be kept: who first ends a task does */
    pthread_rwlock_t running;       /* read: by tasks; written: to take the program out, with no kernel at work (pocl
                                     * aborts) */
    mr__probe *probe;
    struct lane *lanes;
    uint32_t lane_count;            /* that have a thread */
    uint32_t probes;
};

struct message {
    _Alignas(8) uint8_t bytes[MESSAGE_MAX];
    size_t size;                    /* 0: the channel is closed */
    int fds[FDS_MAX];
    uint32_t fd_count;
};

/* ---- the channel ------------------------------------------------------------------------------------------------- */

/* The exit status once the engine was told of a failure; the channel may close before the process has ended. */
static _Atomic int final_status;

static _Noreturn void end_process(int status)
{
    mr__device_scratch_close();
    _exit(status);
}

static void *watch(void *context)
{
    struct pollfd channel = {.fd = MR__DEVICE_SOCKET, .events = 0};
    (void)context;
    for (;;)
        if (poll(&channel, 1, -1) > 0 && channel.revents & (POLLHUP | POLLERR | POLLNVAL))
            end_process(atomic_load(&final_status));
}

static void send_message(const void *message, size_t size)
{
    while (send(MR__DEVICE_SOCKET, message, size, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            end_process(0);         /* the engine is gone */
}

static void close_all(int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void receive(struct message *message)
{
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec place = {message->bytes, sizeof message->bytes};
    struct msghdr header = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control,
                            .msg_controllen = sizeof control};
    ssize_t got;
    while ((got = recvmsg(MR__DEVICE_SOCKET, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    message->size = got > 0 ? (size_t)got : 0;
    message->fd_count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); got > 0 && c != NULL; c = CMSG_NXTHDR(&header, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(message->fds, CMSG_DATA(c), count * sizeof(int));
            message->fd_count = (uint32_t)count;
        }
}

/* READY, PROBED, FAILED. */
static void answer(const struct server *server, uint32_t kind, mr__device_ready *ready, const char *text)
{
    ready->head = (mr__device_message){kind, sizeof *ready};
    snprintf(ready->text, sizeof ready->text, "%s", text);
    if (server != NULL) {
        ready->lanes = server->run.lanes;
        ready->group = server->run.group;
        ready->zero_copy = server->run.shared;
    }
    send_message(ready, sizeof *ready);
}

/* A job that is short of memory, or does not see the device, says nothing of the device. */
static bool starved(mr_status status)
{
    return status == MR_NO_MEMORY || status == MR_NO_WORKER;
}

static void broken_protocol(const char *what)
{
    mr__device_ready ready = {.bad_kernel = 0};
    atomic_store(&final_status, EXIT_PROTOCOL);
    answer(NULL, MR__DEVICE_FAILED, &ready, what);
    end_process(EXIT_PROTOCOL);
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

static enum mr__device_outcome outcome_of(mr_status status)
{
    switch (status) {
    case MR_OK: return MR__DEVICE_OK;
    case MR_BAD_INPUT: return MR__DEVICE_BAD_DATA;
    case MR_DEVICE_LOST: case MR_INTERNAL: return MR__DEVICE_BROKEN;
    default: return MR__DEVICE_UNFIT;
    }
}

static void keep_program(struct server *server)
{
    pthread_rwlock_wrlock(&server->running);
    mr__device_keep(server->cl, &server->cache, &server->chosen.kept, server->run.program);
    pthread_rwlock_unlock(&server->running);
}

static void run_task(struct lane *lane)
{
    mr__error error = {.text = ""};
    mr__device_done done = {.head = {MR__DEVICE_DONE, sizeof done}, .id = lane->task.id, .slot = lane->task.slot};
    struct server *server = lane->server;
    pthread_rwlock_rdlock(&server->running);
    const mr_status status =
        lane->slot.run->work->task(&lane->slot, lane->segments, lane->task.segments, &done, &error);
    pthread_rwlock_unlock(&server->running);
    if (status == MR_OK && atomic_exchange(&server->keeps, false))
        keep_program(server);       /* before DONE: the engine may need no more, and end the process */
    done.outcome = outcome_of(status);
    if (status != MR_OK) {
        done.bytes = done.pairs = done.rows = 0;
        snprintf(done.text, sizeof done.text, "%s", error.text);
    }
    close_all(&lane->token, 1);
    lane->token = -1;
    pthread_mutex_lock(&lane->mutex);
    lane->busy = false;             /* before DONE: the next task may come at once */
    pthread_mutex_unlock(&lane->mutex);
    send_message(&done, sizeof done);
}

static void *run_tasks(void *context)
{
    struct lane *lane = context;
    for (;;) {
        pthread_mutex_lock(&lane->mutex);
        while (!lane->busy)
            pthread_cond_wait(&lane->changed, &lane->mutex);
        pthread_mutex_unlock(&lane->mutex);
        run_task(lane);
    }
    return NULL;
}

static const char *take_task(struct server *server, struct message *message)
{
    const mr__device_task *task = (const mr__device_task *)message->bytes;
    if (message->size < sizeof *task || task->segments > MR__DEVICE_SEGMENTS ||
        message->size != sizeof *task + task->segments * sizeof(mr__device_segment) || message->fd_count > 1)
        return "a task of the wrong size";
    if (task->slot >= server->lane_count)
        return "a task for a slot that does not exist";
    struct lane *lane = &server->lanes[task->slot];
    pthread_mutex_lock(&lane->mutex);
    const bool busy = lane->busy;
    if (!busy) {
        lane->task = *task;
        memcpy(lane->segments, message->bytes + sizeof *task, task->segments * sizeof(mr__device_segment));
        lane->token = message->fd_count > 0 ? message->fds[0] : -1;
        message->fd_count = 0;
        lane->busy = true;
        pthread_cond_signal(&lane->changed);
    }
    pthread_mutex_unlock(&lane->mutex);
    return busy ? "a task for a slot that has one" : NULL;
}

/* ---- the job ----------------------------------------------------------------------------------------------------- */

static mr_status start_lanes(struct server *server, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t count = server->run.view->job.slots;
    server->lanes = mr__alloc_zero(count, sizeof *server->lanes);
    MR_CHECK(server->lanes != NULL, MR_NO_MEMORY, "no memory for %u tasks in flight", count);
    for (uint32_t i = 0; i < count; i++) {
        struct lane *lane = &server->lanes[i];
        lane->server = server;
        MR_TRY(mr__device_slot_open(&lane->slot, &server->run, i, error));
        pthread_mutex_init(&lane->mutex, NULL);
        pthread_cond_init(&lane->changed, NULL);
        lane->token = -1;
        const int started = pthread_create(&lane->thread, NULL, run_tasks, lane);
        MR_CHECK(started == 0, MR_NO_MEMORY, "could not start a thread for a task: %s", strerror(started));
        server->lane_count++;
    }
done:
    return status;
}

/* Each round has a buffer of its own, filled as it is made. Written through the first slot's queue into one buffer, and
 * waited for, the params of an earlier round were used by a task of another slot now and then (Intel's runtime 2026.2,
 * a loaded machine, one run of k-means in a hundred). */
static mr_status make_params(struct server *server, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = server->run.view;
    const size_t size = (size_t)view->job.params.size;
    cl_mem params;
    MR_TRY(mr__cl_buffer(server->cl, CL_MEM_READ_ONLY | (size > 0 ? CL_MEM_COPY_HOST_PTR : 0), size,
                         size > 0 ? (void *)mr__device_job_params(view) : NULL, &params, error));
    mr__cl_release(&server->run.params);
    server->run.params = params;
done:
    return status;
}

static mr_status open_job(struct server *server, const char *id, const struct message *message, char *log,
                          mr__error *error)
{
    static const mr__device_work *const works[] = {&mr__device_rows, &mr__device_texts, &mr__device_records};
    mr_status status = MR_OK;
    mr__device_job_view *view = NULL;
    mr__cl_device device;
    MR_CHECK(message->fd_count == 2, MR_INTERNAL, "the job came with %u descriptors instead of 2", message->fd_count);
    MR_TRY(mr__device_job_open(message->fds[0], message->fds[1], &view, error));
    mr__device_cache_open(&server->cache, view->cache);
    mr__device_scratch_open(server->cache.directory[0] != '\0' ? server->cache.directory : NULL);
    MR_TRY(mr__platforms_find(id, &device, error));
    MR_TRY(mr__cl_open(&device, &server->cl, error));
    MR_TRY(mr__probe_open(server->cl, &server->cache, &server->probe, error));
    MR_TRY(mr__probe_run(server->probe, (uint32_t)mr__now_ns(), error));
    server->run = (mr__device_run){.cl = server->cl, .view = view, .work = works[view->job.form],
                                   .shared = device.unified && view->job.zero_copy};
    server->run.direct = server->run.shared && view->job.form != MR__DEVICE_TEXTS &&
                         strcmp(device.type, "cpu") == 0 &&
                         mr__probe_direct(server->probe, (uint32_t)mr__now_ns());
    MR_TRY(make_params(server, error));
    MR_TRY(mr__device_choose(&server->run, &server->cache, log, &server->chosen, error));
    atomic_store(&server->keeps, !server->chosen.kept.there);
    MR_TRY(start_lanes(server, error));
done:
    return status;     /* after a failure the process ends; what was opened goes with it */
}

static void take_job(struct server *server, const char *id, struct message *message)
{
    mr__device_ready ready = {.bad_kernel = 0};
    mr__error error = {.text = ""};
    char *log = mr__alloc_zero(1, MR__CL_LOG_BYTES);
    mr_status status = log != NULL ? MR_OK : mr__fail(&error, MR_NO_MEMORY, "no memory for a compiler's log");
    if (status == MR_OK)
        status = open_job(server, id, message, log, &error);
    if (status != MR_OK) {
        ready.bad_kernel = status == MR_BAD_APP;
        ready.starved = starved(status);
        atomic_store(&final_status, status == MR_INTERNAL ? EXIT_PROTOCOL : EXIT_DEVICE);
        answer(NULL, MR__DEVICE_FAILED, &ready, status == MR_BAD_APP && log[0] != '\0' ? log : error.text);
        end_process(atomic_load(&final_status));
    }
    ready.cached = server->chosen.cached;
    ready.build_ns = server->chosen.build_ns;
    answer(server, MR__DEVICE_READY, &ready, server->cache.note);
    mr__free(log);
}

static void take_probe(struct server *server)
{
    mr__device_ready ready = {.bad_kernel = 0};
    mr__error error = {.text = ""};
    const mr_status status = mr__probe_run(server->probe, ++server->probes * 7919 + (uint32_t)mr__now_ns(), &error);
    ready.starved = starved(status);
    answer(server, status == MR_OK ? MR__DEVICE_PROBED : MR__DEVICE_FAILED, &ready, error.text);
}

static void take_round(struct server *server)
{
    mr__device_ready ready = {.bad_kernel = 0};
    mr__error error = {.text = ""};
    const mr_status status = server->run.view->job.params.size > 0 ? make_params(server, &error) : MR_OK;
    if (status != MR_OK) {
        ready.starved = starved(status);
        atomic_store(&final_status, EXIT_DEVICE);
        answer(server, MR__DEVICE_FAILED, &ready, error.text);
        end_process(EXIT_DEVICE);
    }
}

int mr__device_serve(const char *id)
{
    static struct server server = {.running = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP};
    static struct message message;
    pthread_t watcher;
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(MR__DEVICE_SOCKET, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "millrace-device: descriptor %d is no channel to an engine; --serve is not for people\n",
                MR__DEVICE_SOCKET);
        return 2;
    }
    if (pthread_create(&watcher, NULL, watch, NULL) != 0) {
        fprintf(stderr, "millrace-device: could not start a thread\n");
        return EXIT_DEVICE;
    }
    for (;;) {
        receive(&message);
        if (message.size == 0)
            pthread_join(watcher, NULL);        /* which ends the process */
        const mr__device_message *head = (const mr__device_message *)message.bytes;
        const char *wrong = message.size < sizeof *head || head->size != message.size ? "a message of the wrong size"
                                                                                      : NULL;
        if (wrong == NULL && (head->kind == MR__DEVICE_JOB) != (server.cl == NULL))
            wrong = "a job at the wrong time";
        if (wrong == NULL && head->kind == MR__DEVICE_JOB)
            take_job(&server, id, &message);
        else if (wrong == NULL && head->kind == MR__DEVICE_TASK)
            wrong = take_task(&server, &message);
        else if (wrong == NULL && head->kind == MR__DEVICE_ROUND)
            take_round(&server);
        else if (wrong == NULL && head->kind == MR__DEVICE_PROBE)
            take_probe(&server);
        else if (wrong == NULL)
            wrong = "a message of an unknown kind";
        close_all(message.fds, message.fd_count);
        if (wrong != NULL)
            broken_protocol(wrong);
    }
}
