/* comm_local.c: the backend of a single process: rank 0 of 1, which can only talk to itself.
 *
 *   send -> tail [message] ... [message] head -> receive
 *
 * A message to oneself is copied, as the contract promises the sender, and waits in arrival order. So code that talks
 * to the owner of a partition through mr__comm needs no branch for the laptop. */
#include "comm.h"

#include <pthread.h>
#include <string.h>

#include "memory.h"

struct message {
    struct message *next;
    uint32_t tag;
    size_t size;
    uint8_t bytes[];
};

struct local_comm {
    mr__comm comm;              /* first: what callers hold */
    pthread_mutex_t mutex;      /* guards the list */
    struct message *head, **tail;
};

static uint32_t local_rank(const mr__comm *comm)
{
    return 0;
}

static uint32_t local_size(const mr__comm *comm)
{
    return 1;
}

static mr_status local_send(mr__comm *comm, uint32_t to, uint32_t tag, const void *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    struct local_comm *local = (struct local_comm *)comm;
    struct message *message = NULL;
    MR_CHECK(to == 0, MR_NETWORK_FAILED, "could not send to rank %u: this job has one rank", to);
    MR_CHECK(size <= INT32_MAX, MR_NETWORK_FAILED, "could not send %zu bytes at once; the limit is 2^31 - 1", size);
    message = mr__alloc(sizeof *message + size);
    MR_CHECK(message != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes; raise --memory", size);
    message->next = NULL;
    message->tag = tag;
    message->size = size;
    if (size > 0)
        memcpy(message->bytes, bytes, size);
    pthread_mutex_lock(&local->mutex);
    *local->tail = message;
    local->tail = &message->next;
    pthread_mutex_unlock(&local->mutex);
done:
    return status;
}

static mr_status local_receive(mr__comm *comm, uint32_t *from, uint32_t *tag, void *bytes, size_t capacity,
                               size_t *size, mr__error *error)
{
    mr_status status = MR_OK;
    struct local_comm *local = (struct local_comm *)comm;
    pthread_mutex_lock(&local->mutex);
    struct message *message = local->head;
    if (message == NULL) {
        *size = SIZE_MAX;
        goto done;
    }
    MR_CHECK(message->size <= capacity, MR_NETWORK_FAILED, "a message of %zu bytes does not fit a buffer of %zu bytes",
             message->size, capacity);
    local->head = message->next;
    if (local->head == NULL)
        local->tail = &local->head;
    *from = 0;
    *tag = message->tag;
    *size = message->size;
    if (message->size > 0)
        memcpy(bytes, message->bytes, message->size);
    mr__free(message);
done:
    pthread_mutex_unlock(&local->mutex);
    return status;
}

static mr_status local_barrier(mr__comm *comm, mr__error *error)
{
    return MR_OK;
}

static void local_close(mr__comm *comm)
{
    struct local_comm *local = (struct local_comm *)comm;
    for (struct message *message = local->head, *next; message != NULL; message = next) {
        next = message->next;
        mr__free(message);
    }
    pthread_mutex_destroy(&local->mutex);
    mr__free(local);
}

static const mr__comm_ops local_ops = {
    .name = "local",
    .rank = local_rank,
    .size = local_size,
    .send = local_send,
    .receive = local_receive,
    .barrier = local_barrier,
    .close = local_close,
};

mr_status mr__comm_open_local(mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    struct local_comm *local = mr__alloc_zero(1, sizeof *local);
    MR_CHECK(local != NULL, MR_NO_MEMORY, "no memory to set up the communication of one rank; raise --memory");
    local->comm.ops = &local_ops;
    local->tail = &local->head;
    pthread_mutex_init(&local->mutex, NULL);
    *comm = &local->comm;
done:
    return status;
}
