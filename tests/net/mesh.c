/* mesh.c: a queue for each pair of ranks and path; everything under one mutex. */
#include "mesh.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { EVENTS_MOST = 32, MOMENT = 3 };      /* of one progress(); calls until a failed send is told */

struct message {
    struct message *next;
    uint32_t from, tag;
    mr__path path;
    uint64_t due;
    size_t size;
    uint8_t bytes[];
};

struct queue {
    struct message *head, **tail;
    size_t bytes;
    uint64_t last_due;
    bool cut;
};

struct link {                               /* from one rank to another */
    struct queue queue[MR__PATHS];
    uint64_t delay, sent;
    uint32_t to_tell;                       /* calls of progress() until the sender hears that the other is gone */
    bool told, forgotten;                   /* by the sender */
};

struct seat {
    bool open, closed, dead, frozen;
    mesh_death death;
    uint64_t thaw_at, marked;               /* marked: it made progress in this step of the clock */
};

struct mesh {
    uint32_t ranks, opened;
    pthread_mutex_t mutex;
    pthread_cond_t thaw;
    _Atomic uint64_t time;                  /* written under the mutex */
    uint64_t step;
    bool held;
    struct seat *seats;
    struct link *links;                     /* [from][to] */
};

struct mesh_comm {
    mr__comm comm;
    struct mesh *mesh;
    uint32_t rank;
};

static struct link *link_of(struct mesh *mesh, uint32_t from, uint32_t to)
{
    return &mesh->links[(size_t)from * mesh->ranks + to];
}

static bool gone(const struct seat *seat)
{
    return seat->dead || seat->closed;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static struct message *take(struct queue *queue)
{
    struct message *message = queue->head;
    if (message == NULL)
        return NULL;
    queue->head = message->next;
    if (queue->head == NULL)
        queue->tail = &queue->head;
    queue->bytes -= message->size;
    return message;
}

static bool purge(struct link *link)
{
    bool any = false;
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        for (struct message *message; (message = take(&link->queue[path])) != NULL; any = true)
            mr__free(message);
    }
    return any;
}

/* ---- the clock --------------------------------------------------------------------------------------------------- */

static void thaw(struct mesh *mesh, uint32_t rank)
{
    mesh->seats[rank].frozen = false;
    pthread_cond_broadcast(&mesh->thaw);
}

static void mark(struct mesh *mesh, uint32_t rank)
{
    mesh->seats[rank].marked = mesh->step;
    if (mesh->held || mesh->opened < mesh->ranks)
        return;
    for (uint32_t r = 0; r < mesh->ranks; r++) {
        const struct seat *seat = &mesh->seats[r];
        if (!gone(seat) && !seat->frozen && seat->marked != mesh->step)
            return;
    }
    mesh->step++;
    const uint64_t now = atomic_load(&mesh->time) + MESH_STEP;
    atomic_store(&mesh->time, now);
    for (uint32_t r = 0; r < mesh->ranks; r++) {
        if (mesh->seats[r].frozen && mesh->seats[r].thaw_at <= now)
            thaw(mesh, r);
    }
}

uint64_t mesh_clock(void *context)
{
    return atomic_load(&((struct mesh *)context)->time);
}

void mesh_hold_clock(struct mesh *mesh, bool hold)
{
    pthread_mutex_lock(&mesh->mutex);
    mesh->held = hold;
    pthread_mutex_unlock(&mesh->mutex);
}

/* ---- a rank's comm ----------------------------------------------------------------------------------------------- */

static void lock_as(struct mesh_comm *comm)
{
    struct mesh *mesh = comm->mesh;
    pthread_mutex_lock(&mesh->mutex);
    while (mesh->seats[comm->rank].frozen)
        pthread_cond_wait(&mesh->thaw, &mesh->mutex);
}

static uint32_t comm_rank(const mr__comm *comm)
{
    return ((const struct mesh_comm *)comm)->rank;
}

static uint32_t comm_size(const mr__comm *comm)
{
    return ((const struct mesh_comm *)comm)->mesh->ranks;
}

static void append(struct link *link, struct message *message, uint64_t now)
{
    struct queue *queue = &link->queue[message->path];
    message->due = now + link->delay > queue->last_due ? now + link->delay : queue->last_due;
    queue->last_due = message->due;
    *queue->tail = message;
    queue->tail = &message->next;
    queue->bytes += message->size;
}

static mr_status comm_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                           mr__error *error)
{
    mr_status status = MR_OK;
    struct mesh_comm *own = (struct mesh_comm *)comm;
    struct mesh *mesh = own->mesh;
    struct message *message = mr__alloc(sizeof *message + size);
    MR_CHECK(message != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes", size);
    *message = (struct message){.from = own->rank, .tag = tag, .path = path, .size = size};
    if (size > 0)
        memcpy(message->bytes, bytes, size);
    lock_as(own);
    struct link *link = link_of(mesh, own->rank, to);
    const struct seat *other = &mesh->seats[to];
    const bool vanishes = mesh->seats[own->rank].dead || link->forgotten || link_of(mesh, to, own->rank)->forgotten;
    const bool refused = !vanishes && other->dead && other->death == MESH_REFUSES;
    if (!vanishes && !refused) {
        link->sent++;
        if (gone(other) && !(other->dead && other->death == MESH_SILENT)) {
            if (link->to_tell == 0 && !link->told)
                link->to_tell = MOMENT;
        } else {
            append(link, message, atomic_load(&mesh->time));
            message = NULL;
        }
    }
    pthread_mutex_unlock(&mesh->mutex);
    MR_CHECK(!refused, MR_NETWORK_FAILED, "rank %u refuses", to);
done:
    mr__free(message);
    return status;
}

static size_t comm_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    const struct mesh_comm *own = (const struct mesh_comm *)comm;
    return mesh_unsent(own->mesh, path, own->rank, to);
}

/* The messages that this progress() hands over, first to last. */
static struct message *collect(struct mesh *mesh, uint32_t to)
{
    struct message *list = NULL, **tail = &list;
    const uint64_t now = atomic_load(&mesh->time);
    uint32_t count = 0;
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        for (uint32_t i = 0; i < mesh->ranks; i++) {
            struct queue *queue = &link_of(mesh, (uint32_t)((i + mesh->step) % mesh->ranks), to)->queue[path];
            while (count < EVENTS_MOST && !queue->cut && queue->head != NULL && queue->head->due <= now) {
                struct message *message = take(queue);
                message->next = NULL;
                *tail = message;
                tail = &message->next;
                count++;
            }
        }
    }
    return list;
}

static uint32_t to_tell(struct mesh *mesh, uint32_t from)
{
    for (uint32_t to = 0; to < mesh->ranks; to++) {
        struct link *link = link_of(mesh, from, to);
        if (link->to_tell > 0 && --link->to_tell == 0 && !link->told && !link->forgotten) {
            link->told = true;
            return to;
        }
    }
    return UINT32_MAX;
}

static bool comm_progress(mr__comm *comm, const mr__comm_events *events)
{
    struct mesh_comm *own = (struct mesh_comm *)comm;
    struct mesh *mesh = own->mesh;
    lock_as(own);
    mark(mesh, own->rank);
    const bool dead = mesh->seats[own->rank].dead;
    struct message *list = dead ? NULL : collect(mesh, own->rank);
    const uint32_t unreachable = dead ? UINT32_MAX : to_tell(mesh, own->rank);
    const bool moved = list != NULL || unreachable != UINT32_MAX;
    pthread_mutex_unlock(&mesh->mutex);
    for (struct message *message = list, *next; message != NULL; message = next) {
        next = message->next;
        events->received(events->context, message->path, message->from, message->tag, message->bytes, message->size);
        mr__free(message);
    }
    if (unreachable != UINT32_MAX)
        events->unreachable(events->context, unreachable, "connection reset");
    return moved;
}

static void comm_forget(mr__comm *comm, uint32_t rank)
{
    struct mesh_comm *own = (struct mesh_comm *)comm;
    lock_as(own);
    struct link *link = link_of(own->mesh, own->rank, rank);
    link->forgotten = true;
    purge(link);
    purge(link_of(own->mesh, rank, own->rank));
    pthread_mutex_unlock(&own->mesh->mutex);
}

/* The others hear that what they have under way to it failed. */
static void vanish(struct mesh *mesh, uint32_t rank, bool told)
{
    for (uint32_t r = 0; r < mesh->ranks; r++) {
        struct link *link = link_of(mesh, r, rank);
        if (told && purge(link) && link->to_tell == 0 && !link->told)
            link->to_tell = MOMENT;
    }
}

static void comm_close(mr__comm *comm)
{
    struct mesh_comm *own = (struct mesh_comm *)comm;
    lock_as(own);
    own->mesh->seats[own->rank].closed = true;
    vanish(own->mesh, own->rank, true);
    pthread_mutex_unlock(&own->mesh->mutex);
    mr__free(own);
}

static const mr__comm_ops mesh_ops = {
    .name = "mesh",
    .rank = comm_rank,
    .size = comm_size,
    .send = comm_send,
    .unsent = comm_unsent,
    .progress = comm_progress,
    .forget = comm_forget,
    .close = comm_close,
};

mr_status mesh_open(void *how, mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    const struct mesh_seat *seat = how;
    struct mesh_comm *own = mr__alloc_zero(1, sizeof *own);
    MR_CHECK(own != NULL, MR_NO_MEMORY, "no memory for rank %u of the mesh", seat->rank);
    *own = (struct mesh_comm){.comm = {&mesh_ops}, .mesh = seat->mesh, .rank = seat->rank};
    pthread_mutex_lock(&seat->mesh->mutex);
    seat->mesh->seats[seat->rank].open = true;
    seat->mesh->opened++;
    pthread_mutex_unlock(&seat->mesh->mutex);
    *comm = &own->comm;
done:
    return status;
}

/* ---- the test's hand --------------------------------------------------------------------------------------------- */

/* Not through base/memory.h: a sweep fails what is under test. */
struct mesh *mesh_create(uint32_t ranks)
{
    struct mesh *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->ranks = ranks;
    made->step = 1;
    made->seats = calloc(ranks, sizeof *made->seats);
    made->links = calloc((size_t)ranks * ranks, sizeof *made->links);
    if (made->seats == NULL || made->links == NULL) {
        free(made->seats);
        free(made->links);
        free(made);
        return NULL;
    }
    atomic_store(&made->time, 1000000000);
    for (size_t i = 0; i < (size_t)ranks * ranks * MR__PATHS; i++) {
        struct queue *queue = &made->links[i / MR__PATHS].queue[i % MR__PATHS];
        queue->tail = &queue->head;
    }
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->thaw, NULL);
    return made;
}

void mesh_destroy(struct mesh *mesh)
{
    if (mesh == NULL)
        return;
    for (size_t i = 0; i < (size_t)mesh->ranks * mesh->ranks; i++)
        purge(&mesh->links[i]);
    pthread_cond_destroy(&mesh->thaw);
    pthread_mutex_destroy(&mesh->mutex);
    free(mesh->links);
    free(mesh->seats);
    free(mesh);
}

void mesh_kill(struct mesh *mesh, uint32_t rank, mesh_death death)
{
    pthread_mutex_lock(&mesh->mutex);
    mesh->seats[rank].dead = true;
    mesh->seats[rank].death = death;
    for (uint32_t r = 0; r < mesh->ranks; r++)
        purge(link_of(mesh, rank, r));
    vanish(mesh, rank, death != MESH_SILENT);
    pthread_mutex_unlock(&mesh->mutex);
}

void mesh_freeze(struct mesh *mesh, uint32_t rank, uint64_t ns)
{
    pthread_mutex_lock(&mesh->mutex);
    mesh->seats[rank].frozen = true;
    mesh->seats[rank].thaw_at = atomic_load(&mesh->time) + ns;
    pthread_mutex_unlock(&mesh->mutex);
}

void mesh_thaw(struct mesh *mesh, uint32_t rank)
{
    pthread_mutex_lock(&mesh->mutex);
    thaw(mesh, rank);
    pthread_mutex_unlock(&mesh->mutex);
}

void mesh_cut(struct mesh *mesh, mr__path path, uint32_t from, uint32_t to, bool cut)
{
    pthread_mutex_lock(&mesh->mutex);
    link_of(mesh, from, to)->queue[path].cut = cut;
    pthread_mutex_unlock(&mesh->mutex);
}

void mesh_delay(struct mesh *mesh, uint32_t from, uint32_t to, uint64_t ns)
{
    pthread_mutex_lock(&mesh->mutex);
    link_of(mesh, from, to)->delay = ns;
    pthread_mutex_unlock(&mesh->mutex);
}

size_t mesh_unsent(struct mesh *mesh, mr__path path, uint32_t from, uint32_t to)
{
    pthread_mutex_lock(&mesh->mutex);
    const size_t bytes = link_of(mesh, from, to)->queue[path].bytes;
    pthread_mutex_unlock(&mesh->mutex);
    return bytes;
}

uint64_t mesh_sent(struct mesh *mesh, uint32_t from, uint32_t to)
{
    pthread_mutex_lock(&mesh->mutex);
    const uint64_t sent = link_of(mesh, from, to)->sent;
    pthread_mutex_unlock(&mesh->mutex);
    return sent;
}
