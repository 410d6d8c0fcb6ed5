/* convoy.c: see convoy.h. */
#include "convoy.h"

#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "job_fixture.h"
#include "joint_parts.h"

enum { PATIENCE_S = 60, AWAY_S = 3600, TICK_NS = 10000000 };

static const uint64_t FREEZE_NS = 3 * (uint64_t)CONVOY_DEADLINE;

static _Thread_local struct ship *self;

struct ship *convoy_self(void)
{
    return self;
}

/* ---- a comm that counts, and dies -------------------------------------------------------------------------------- */

struct tap {
    mr__comm comm;
    mr__comm *inner;                    /* NULL: dead */
    struct ship *ship;
    const mr__comm_events *events;      /* of the progress() that runs */
};

static uint64_t ship_clock(void *context)
{
    struct ship *ship = context;
    return mesh_clock(ship->convoy->mesh) + (atomic_load(&ship->struck) ? (uint64_t)AWAY_S * 1000000000 : 0);
}

static void strike(struct tap *tap, convoy_death how)
{
    struct ship *ship = tap->ship;
    struct mesh *mesh = ship->convoy->mesh;
    atomic_store(&ship->struck, true);
    if (how == CONVOY_FREEZE) {
        mesh_freeze(mesh, ship->rank, FREEZE_NS);
        return;
    }
    if (how != CONVOY_CRASH)
        mesh_kill(mesh, ship->rank, how == CONVOY_CUT ? MESH_UNREACHABLE : MESH_SILENT);
    tap->inner->ops->close(tap->inner);
    tap->inner = NULL;
    convoy_wait_for_others(ship);
}

static void note(struct tap *tap, uint32_t kind)
{
    struct ship *ship = tap->ship;
    if (ship->sent < CONVOY_LOG)
        ship->log[ship->sent] = (uint8_t)kind;
    ship->sent++;
    ship->sent_of[kind]++;
    if (ship->convoy->on_message != NULL)
        ship->convoy->on_message(ship, kind);
    for (uint32_t s = 0; s < CONVOY_DEATHS; s++) {
        const struct convoy_strike *due = &ship->convoy->strikes[s];
        if (due->rank != ship->rank || due->nth == 0 || atomic_load(&ship->struck))
            continue;
        if (due->kind == CONVOY_ANY_KIND ? due->nth == ship->sent
                                         : due->kind == (int)kind && due->nth == ship->sent_of[kind])
            strike(tap, due->how);
    }
}

static uint32_t tap_rank(const mr__comm *comm)
{
    return ((const struct tap *)comm)->ship->rank;
}

static uint32_t tap_size(const mr__comm *comm)
{
    return ((const struct tap *)comm)->ship->convoy->ranks;
}

static mr_status tap_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                          mr__error *error)
{
    struct tap *tap = (struct tap *)comm;
    if (tag >= MR__TAG_FIRST && tap->inner != NULL)
        note(tap, (tag - MR__TAG_FIRST) % MR__KINDS);
    return tap->inner == NULL ? MR_OK : tap->inner->ops->send(tap->inner, path, to, tag, bytes, size, error);
}

static size_t tap_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    const struct tap *tap = (const struct tap *)comm;
    return tap->inner != NULL ? tap->inner->ops->unsent(tap->inner, path, to) : 0;
}

/* On the courier's thread, between two events. */
static void check(struct ship *ship)
{
    mr__error error = {.text = ""};
    mr__ranks *ranks = atomic_load(&ship->ranks);
    if (ranks == NULL || ship->convoy->unchecked || mr__ranks_check(ranks, &error) == MR_OK)
        return;
    fprintf(stderr, "rank %u after %u messages: %s\n", ship->rank, ship->sent, error.text);
    abort();
}

static void tap_received(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct tap *tap = context;
    tap->events->received(tap->events->context, path, from, tag, bytes, size);
    if (tag >= MR__TAG_FIRST)
        check(tap->ship);
}

static void tap_unreachable(void *context, uint32_t rank, const char *why)
{
    struct tap *tap = context;
    tap->events->unreachable(tap->events->context, rank, why);
}

static bool tap_progress(mr__comm *comm, const mr__comm_events *events)
{
    struct tap *tap = (struct tap *)comm;
    const mr__comm_events mine = {tap, tap_received, tap_unreachable};
    tap->events = events;
    return tap->inner != NULL && tap->inner->ops->progress(tap->inner, &mine);
}

static void tap_forget(mr__comm *comm, uint32_t rank)
{
    struct tap *tap = (struct tap *)comm;
    if (tap->inner != NULL)
        tap->inner->ops->forget(tap->inner, rank);
}

static void tap_close(mr__comm *comm)
{
    struct tap *tap = (struct tap *)comm;
    if (tap->inner != NULL)
        tap->inner->ops->close(tap->inner);
    free(tap);
}

static const mr__comm_ops tap_ops = {
    .name = "tap",
    .rank = tap_rank,
    .size = tap_size,
    .send = tap_send,
    .unsent = tap_unsent,
    .progress = tap_progress,
    .forget = tap_forget,
    .close = tap_close,
};

static mr_status tap_open(void *how, mr__comm **comm, mr__error *error)
{
    struct ship *ship = how;
    mr__comm *inner = NULL;
    const mr_status status = mesh_open(&ship->seat, &inner, error);
    if (status != MR_OK)
        return status;
    struct tap *tap = calloc(1, sizeof *tap);
    if (tap == NULL)
        abort();
    *tap = (struct tap){.comm = {&tap_ops}, .inner = inner, .ship = ship};
    *comm = &tap->comm;
    return MR_OK;
}

/* ---- a rank ------------------------------------------------------------------------------------------------------ */

static void write_slice(FILE *to, mr_slice slice, mr_type type)
{
    if (type == MR_U64 || type == MR_I64) {
        uint64_t number = 0;
        memcpy(&number, slice.data, sizeof number);
        fprintf(to, "%llu", (unsigned long long)number);
    } else {
        fwrite(slice.data, 1, slice.size, to);
    }
}

/* As the output would hold it. */
static void write_result(struct ship *ship, mr_result *result, const mr_app *app)
{
    FILE *to = open_memstream(&ship->text, &ship->text_size);
    for (mr_slice key, value; mr_result_next(result, &key, &value);) {
        write_slice(to, key, app->key == MR_DENSE ? MR_U64 : app->key);
        fputc('\t', to);
        write_slice(to, value, app->reduce != NULL ? MR_BYTES : app->value);
        fputc('\n', to);
    }
    fclose(to);
}

void convoy_note(struct ship *ship, mr_status status)
{
    ship->status = status;
    snprintf(ship->error, sizeof ship->error, "%s", status != MR_OK ? mr_error(ship->session) : "");
}

mr_status convoy_run(struct ship *ship, const mr_job *asked)
{
    struct convoy *convoy = ship->convoy;
    mr_job job = *asked;
    mr_dataset *dataset = NULL;
    mr_result *result = NULL;
    mr_status status = MR_OK;
    if (convoy->inputs != NULL && job.app->app->input != MR_INPUT_RANGE)
        status = mr_dataset_open(ship->session, convoy->inputs, convoy->input_count, &dataset);
    job.dataset = dataset;
    if (status == MR_OK && convoy->alter != NULL)
        convoy->alter(ship, &job);
    if (status == MR_OK)
        status = mr_run(ship->session, &job, &result);
    convoy_note(ship, status);
    if (result != NULL) {
        ship->stats = *mr_result_stats(result);
        if (job.output == NULL && ship->text == NULL)
            write_result(ship, result, job.app->app);
    }
    mr_result_close(result);
    mr_dataset_close(dataset);
    ship->jobs_done += status == MR_OK;
    return status;
}

static mr_status join(struct ship *ship)
{
    mr__error error = {.text = ""};
    const mr__courier_options options = {.deadline_ns = CONVOY_DEADLINE, .heartbeat_ns = CONVOY_HEARTBEAT,
                                         .tick_ns = TICK_NS, .clock = ship_clock, .clock_context = ship};
    ship->session->spares = ship->convoy->spares;
    const mr_status status = mr__session_join(ship->session, tap_open, ship, &options, &error);
    if (status != MR_OK)
        snprintf(ship->error, sizeof ship->error, "%s", error.text);
    else
        atomic_store(&ship->ranks, ship->session->ranks);
    return status;
}

static void *sail(void *argument)
{
    struct ship *ship = argument;
    struct convoy *convoy = ship->convoy;
    const mr_session_options options = {.workers = convoy->workers != 0 ? convoy->workers : 1, .burst = fixture_folder,
                                        .records = convoy->records != NULL ? convoy->records : "",
                                        .worker_spec = "device=none"};
    self = ship;
    ship->status = mr_session_open(&options, &ship->session);
    if (ship->status != MR_OK)
        snprintf(ship->error, sizeof ship->error, "%s", mr_error(NULL));
    else
        ship->status = join(ship);
    if (ship->status == MR_OK && convoy->depart != NULL)
        convoy->depart(ship);
    for (uint32_t j = 0; j < convoy->job_count && ship->status == MR_OK && convoy->depart == NULL; j++) {
        convoy_run(ship, &convoy->jobs[j]);
    }
    mr_session_close(ship->session);
    atomic_store(&ship->ranks, NULL);
    pthread_mutex_lock(&convoy->mutex);
    ship->finished = true;
    convoy->at_sea--;
    pthread_cond_broadcast(&convoy->changed);
    pthread_mutex_unlock(&convoy->mutex);
    return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static unsigned patience(void)
{
    const char *text = getenv("MILLRACE_TEST_PATIENCE");
    return PATIENCE_S * (text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : 1);
}

/* Without a lock: whoever has it may be what stands still. */
static void say_where(const struct ship *ship)
{
    mr__ranks *ranks = atomic_load(&ship->ranks);
    const mr__joint *joint = ranks != NULL ? mr__ranks_joint(ranks) : NULL;
    fprintf(stderr, "rank %u: %s%s, %u jobs, status %d %s; %u messages, the last", ship->rank,
            ship->finished ? "finished" : "at sea", atomic_load(&ship->struck) ? ", struck" : "", ship->jobs_done,
            (int)ship->status, ship->error, ship->sent);
    for (uint32_t i = ship->sent > 12 ? ship->sent - 12 : 0; i < ship->sent && i < CONVOY_LOG; i++)
        fprintf(stderr, " %u", ship->log[i]);
    fprintf(stderr, "\n");
    if (joint == NULL)
        return;
    fprintf(stderr, "  view %llx%s, coordinator %u, pass %d, next %d, asked %d dry %d idle %d reduces %d, round %u%s, "
            "%zu works, %zu wait, agreed %d ready %d final %d\n", (unsigned long long)mr__members_view(joint->members),
            mr__members_changing(joint->members) ? " (changing)" : "", mr__courier_lowest(joint->courier),
            (int)joint->pass, (int)joint->next, joint->asked, joint->dry, joint->idle, joint->reduces, joint->round,
            joint->behind ? " (behind)" : "", joint->own.work_count, joint->waiting.count, joint->agreed, joint->ready,
            joint->final);
    fprintf(stderr, "  drained %d, clear %d, failed %d %s\n",
            joint->runs ? mr__schedule_is_drained(&joint->job->schedule) : -1,
            joint->outbox != NULL ? mr__outbox_is_clear(joint->outbox) : -1, (int)joint->status, joint->error.text);
}

static bool others_finished(const struct convoy *convoy)
{
    for (uint32_t r = 0; r < convoy->ranks; r++)
        if (!convoy->ships[r].finished && !atomic_load(&convoy->ships[r].struck))
            return false;
    return true;
}

/* With the mutex held: until something changes; ends the program when there is no patience left. */
static void wait_for_change(struct convoy *convoy, const struct timespec *end)
{
    if (pthread_cond_timedwait(&convoy->changed, &convoy->mutex, end) != ETIMEDOUT)
        return;
    alarm(5);           /* should this stand still, too */
    fprintf(stderr, "the convoy of %u ranks (%u spares) does not arrive; the mesh's clock: %llu ms\n", convoy->ranks,
            convoy->spares, (unsigned long long)mesh_clock(convoy->mesh) / 1000000);
    for (uint32_t s = 0; s < CONVOY_DEATHS; s++)
        if (convoy->strikes[s].nth != 0)
            fprintf(stderr, "strike: rank %u, how %d, kind %d, nth %u\n", convoy->strikes[s].rank,
                    (int)convoy->strikes[s].how, convoy->strikes[s].kind, convoy->strikes[s].nth);
    for (uint32_t r = 0; r < convoy->ranks; r++)
        say_where(&convoy->ships[r]);
    abort();
}

static struct timespec end_of_patience(void)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += patience();
    return end;
}

void convoy_wait_for_others(struct ship *ship)
{
    struct convoy *convoy = ship->convoy;
    const struct timespec end = end_of_patience();
    pthread_mutex_lock(&convoy->mutex);
    pthread_cond_broadcast(&convoy->changed);       /* one more was struck */
    while (!others_finished(convoy))
        wait_for_change(convoy, &end);
    pthread_mutex_unlock(&convoy->mutex);
}

void convoy_sail(struct convoy *convoy)
{
    const struct timespec end = end_of_patience();
    convoy->mesh = mesh_create(convoy->ranks);
    assert_non_null(convoy->mesh);
    pthread_mutex_init(&convoy->mutex, NULL);
    pthread_cond_init(&convoy->changed, NULL);
    convoy->at_sea = convoy->ranks;
    for (uint32_t r = 0; r < convoy->ranks; r++) {
        struct ship *ship = &convoy->ships[r];
        ship->convoy = convoy;
        ship->rank = r;
        ship->seat = (struct mesh_seat){convoy->mesh, r};
    }
    for (uint32_t r = 0; r < convoy->ranks; r++)
        assert_int_equal(pthread_create(&convoy->ships[r].thread, NULL, sail, &convoy->ships[r]), 0);
    pthread_mutex_lock(&convoy->mutex);
    while (!others_finished(convoy))
        wait_for_change(convoy, &end);
    for (uint32_t r = 0; r < convoy->ranks; r++)        /* the clock stands still when nobody is left but the frozen */
        mesh_thaw(convoy->mesh, r);
    while (convoy->at_sea > 0)
        wait_for_change(convoy, &end);
    pthread_mutex_unlock(&convoy->mutex);
    for (uint32_t r = 0; r < convoy->ranks; r++)
        pthread_join(convoy->ships[r].thread, NULL);
    mesh_destroy(convoy->mesh);
    pthread_cond_destroy(&convoy->changed);
    pthread_mutex_destroy(&convoy->mutex);
}

void convoy_scrap(struct convoy *convoy)
{
    for (uint32_t r = 0; r < convoy->ranks; r++) {
        free(convoy->ships[r].text);
        convoy->ships[r].text = NULL;
    }
}

void convoy_assert_arrived(const struct convoy *convoy)
{
    for (uint32_t r = 0; r < convoy->ranks; r++) {
        const struct ship *ship = &convoy->ships[r];
        if (ship->status == MR_OK ? ship->jobs_done == convoy->job_count
                                  : ship->status == MR_NETWORK_FAILED && atomic_load(&ship->struck))
            continue;
        for (uint32_t s = 0; s < CONVOY_DEATHS; s++)
            if (convoy->strikes[s].nth != 0)
                print_error("strike: rank %u, how %d, kind %d, nth %u\n", convoy->strikes[s].rank,
                            (int)convoy->strikes[s].how, convoy->strikes[s].kind, convoy->strikes[s].nth);
        fail_msg("rank %u of %u ended with %d after %u jobs: %s", r, convoy->ranks, (int)ship->status, ship->jobs_done,
                 ship->error);
    }
}

char *convoy_results(const struct convoy *convoy)
{
    char *all = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&all, &size);
    for (uint32_t r = 0; r < convoy->ranks; r++)
        if (convoy->ships[r].text != NULL)
            fwrite(convoy->ships[r].text, 1, convoy->ships[r].text_size, to);
    fclose(to);
    return all;
}
