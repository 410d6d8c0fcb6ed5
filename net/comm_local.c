/* comm_local.c: the backend of a single process: rank 0 of 1, which can only talk to itself.
 *
 *   send -> path[p]: tail [message] ... [message] head -> received
 *
 * A message to oneself is copied, as the contract promises the sender, and waits in the order of its path; the next
 * progress() hands it over, control first. What has not been handed over has not left: unsent() counts it. */
#include "comm.h"

#include <string.h>

#include "memory.h"

enum { EVENTS_MOST = 32 };                  /* of one progress() */

struct message {
    struct message *next;
    uint32_t tag;
    size_t size;
    uint8_t bytes[];
};

struct lane {
    struct message *head, **tail;
    size_t bytes;
};

struct local_comm {
    mr__comm comm;                          /* first: what callers hold */
    struct lane lanes[MR__PATHS];
    bool forgotten;
};

static uint32_t local_rank(const mr__comm *comm)
{
    return 0;
}

static uint32_t local_size(const mr__comm *comm)
{
    return 1;
}

static mr_status local_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                            mr__error *error)
{
    mr_status status = MR_OK;
    struct local_comm *local = (struct local_comm *)comm;
    struct lane *lane = &local->lanes[path];
    struct message *message;
    MR_CHECK(to == 0, MR_NETWORK_FAILED, "could not send to rank %u: this job has one rank", to);
    MR_CHECK(size <= MR__MESSAGE_MOST, MR_NETWORK_FAILED, "could not send %zu bytes at once; the limit is %d", size,
             MR__MESSAGE_MOST);
    if (local->forgotten)
        return MR_OK;
    message = mr__alloc(sizeof *message + size);
    MR_CHECK(message != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes; raise --memory", size);
    message->next = NULL;
    message->tag = tag;
    message->size = size;
    if (size > 0)
        memcpy(message->bytes, bytes, size);
    *lane->tail = message;
    lane->tail = &message->next;
    lane->bytes += size;
done:
    return status;
}

static size_t local_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    return ((const struct local_comm *)comm)->lanes[path].bytes;
}

static struct message *take(struct lane *lane)
{
    struct message *message = lane->head;
    if (message == NULL)
        return NULL;
    lane->head = message->next;
    if (lane->head == NULL)
        lane->tail = &lane->head;
    lane->bytes -= message->size;
    return message;
}

static bool local_progress(mr__comm *comm, const mr__comm_events *events)
{
    struct local_comm *local = (struct local_comm *)comm;
    uint32_t count = 0;
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        for (struct message *message; count < EVENTS_MOST && (message = take(&local->lanes[path])) != NULL; count++) {
            events->received(events->context, (mr__path)path, 0, message->tag, message->bytes, message->size);
            mr__free(message);
        }
    }
    return count > 0;
}

static void drop(struct local_comm *local)
{
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        for (struct message *message; (message = take(&local->lanes[path])) != NULL;)
            mr__free(message);
    }
}

static void local_forget(mr__comm *comm, uint32_t rank)
{
    struct local_comm *local = (struct local_comm *)comm;
    local->forgotten = true;
    drop(local);
}

static void local_close(mr__comm *comm)
{
    struct local_comm *local = (struct local_comm *)comm;
    drop(local);
    mr__free(local);
}

static const mr__comm_ops local_ops = {
    .name = "local",
    .rank = local_rank,
    .size = local_size,
    .send = local_send,
    .unsent = local_unsent,
    .progress = local_progress,
    .forget = local_forget,
    .close = local_close,
};

mr_status mr__comm_open_local(mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    struct local_comm *local = mr__alloc_zero(1, sizeof *local);
    MR_CHECK(local != NULL, MR_NO_MEMORY, "no memory to set up the communication of one rank; raise --memory");
    local->comm.ops = &local_ops;
    for (uint32_t path = 0; path < MR__PATHS; path++)
        local->lanes[path].tail = &local->lanes[path].head;
    *comm = &local->comm;
done:
    return status;
}
