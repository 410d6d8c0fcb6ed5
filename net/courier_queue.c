/* courier_queue.c: posts on their way from any thread to the comm.
 *
 *   post() --copy--> inbox --sort--> queue[rank][control] --feed, while less than ROOM is under way--> comm
 *                    (mutex)         queue[rank][bulk]
 *
 * A post is a parcel (comm.h), copied once, by who posts it; a backend that can sends it from where it lies.
 *
 * Posts wait here and not in the comm, which gets at most ROOM bytes (and the message that exceeds it) for a rank and
 * path: so a control message is never far behind, and what a lost rank was to get is dropped at once. Posts to this
 * rank itself do not go through the comm: they are handed over as they are, as much in a round as the comm would get.
 *
 * A rank is on the list of the busy while it has posts in a queue or bytes under way, so a round costs nothing for
 * those that have none. A post that the comm has no memory for stays where it is until the next round.
 *
 * pending() may be asked at any time, and never tells less than there is: bytes are added to `under_way` before they
 * are taken from `waiting`, and it looks at `waiting` first. */
#include "courier_parts.h"

#include <string.h>

#include "memory.h"

enum { ROOM = 1 << 20 };            /* bytes under way for a rank and path */

static void append(mr__post_list *list, mr__post *post)
{
    post->next = NULL;
    *list->tail = post;
    list->tail = &post->next;
}

static mr__post *take_first(mr__post_list *list)
{
    mr__post *post = list->head;
    if (post == NULL)
        return NULL;
    list->head = post->next;
    if (list->head == NULL)
        list->tail = &list->head;
    return post;
}

static void put_back(mr__post_list *list, mr__post *post)
{
    if (list->head == NULL)
        list->tail = &post->next;
    post->next = list->head;
    list->head = post;
}

static void waits_no_more(mr__peer *peer, mr__path path, size_t size)
{
    /* release: who sees it gone from here sees that it is under way */
    atomic_fetch_sub_explicit(&peer->waiting[path], size, memory_order_release);
}

/* The post has left, or never will. */
static void done_with(mr__courier *courier, mr__post *post)
{
    waits_no_more(&courier->peers[post->to], post->path, post->size);
    mr__free(post);
}

void mr__queue_drop_list(mr__courier *courier, mr__post_list *list)
{
    for (mr__post *post; (post = take_first(list)) != NULL;)
        done_with(courier, post);
}

void mr__queue_drop(mr__courier *courier, uint32_t rank)
{
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        mr__queue_drop_list(courier, &courier->peers[rank].queue[path]);
        atomic_store_explicit(&courier->peers[rank].under_way[path], 0, memory_order_relaxed);
    }
}

void mr__queue_drop_all(mr__courier *courier)
{
    for (uint32_t r = 0; r < courier->size; r++)
        mr__queue_drop(courier, r);
}

void mr__queue_busy(mr__courier *courier, uint32_t rank)
{
    if (courier->peers[rank].busy)
        return;
    courier->peers[rank].busy = true;
    courier->busy[courier->busy_count++] = rank;
}

void mr__queue_take_inbox(mr__courier *courier, mr__post_list *list)
{
    *list = (mr__post_list){courier->inbox.head, &list->head};
    if (list->head != NULL)
        list->tail = courier->inbox.tail;
    courier->inbox = (mr__post_list){NULL, &courier->inbox.head};
}

void mr__queue_sort(mr__courier *courier, mr__post_list *list)
{
    for (mr__post *post; (post = take_first(list)) != NULL;) {
        mr__peer *peer = &courier->peers[post->to];
        if (!mr__is_alive(peer)) {
            done_with(courier, post);
            continue;
        }
        append(&peer->queue[post->path], post);
        mr__queue_busy(courier, post->to);
        courier->lively = true;
    }
}

/* ---- feeding the comm -------------------------------------------------------------------------------------------- */

static void hand_over_to_self(mr__courier *courier, mr__path path)
{
    mr__post_list *queue = &courier->peers[courier->rank].queue[path];
    size_t bytes = 0;
    for (mr__post *post; bytes < ROOM && (post = take_first(queue)) != NULL;) {
        bytes += post->size;
        courier->events.message(courier->events.context, courier->rank, post->tag, post->bytes, post->size);
        done_with(courier, post);
        courier->lively = true;
    }
}

/* The post is the comm's if this succeeds. */
static mr_status hand_over(mr__comm *comm, mr__post *post, mr__error *error)
{
    mr_status status = MR_OK;
    if (comm->ops->give != NULL)
        return comm->ops->give(comm, post, error);
    MR_TRY(comm->ops->send(comm, post->path, post->to, post->tag, post->bytes, post->size, error));
    mr__free(post);
done:
    return status;
}

static void feed(mr__courier *courier, uint32_t rank, mr__path path)
{
    mr__peer *peer = &courier->peers[rank];
    mr__post_list *queue = &peer->queue[path];
    mr__error error;
    while (queue->head != NULL && !peer->failed) {
        const size_t under_way = atomic_load_explicit(&peer->under_way[path], memory_order_relaxed);
        if (under_way >= ROOM)
            return;
        mr__post *post = take_first(queue);
        const size_t size = post->size;
        mr__error_clear(&error);
        const mr_status status = hand_over(courier->comm, post, &error);
        if (status != MR_OK)
            put_back(queue, post);
        if (status == MR_NO_MEMORY)
            return;                         /* in the next round there may be some */
        if (status != MR_OK) {
            mr__ring_failed(courier, rank, error.text);
            return;
        }
        /* first this: nobody is to see fewer bytes than there are */
        atomic_store_explicit(&peer->under_way[path], under_way + size, memory_order_relaxed);
        waits_no_more(peer, path, size);
        courier->lively = true;
    }
}

void mr__queue_feed(mr__courier *courier)
{
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        for (uint32_t i = 0; i < courier->busy_count; i++) {
            if (courier->busy[i] == courier->rank)
                hand_over_to_self(courier, (mr__path)path);
            else
                feed(courier, courier->busy[i], (mr__path)path);
        }
    }
}

void mr__queue_look_after(mr__courier *courier)
{
    const mr__comm *comm = courier->comm;
    for (uint32_t i = 0; i < courier->busy_count;) {
        const uint32_t rank = courier->busy[i];
        mr__peer *peer = &courier->peers[rank];
        const bool lost = mr__peer_is(peer, MR__PEER_LOST);
        bool more = false;
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            const size_t unsent = lost || peer->forgotten || rank == courier->rank
                                      ? 0
                                      : comm->ops->unsent(comm, (mr__path)path, rank);
            atomic_store_explicit(&peer->under_way[path], unsent, memory_order_relaxed);
            more |= unsent > 0 || peer->queue[path].head != NULL;
        }
        if (more) {
            i++;
            continue;
        }
        peer->busy = false;
        courier->busy[i] = courier->busy[--courier->busy_count];
    }
}

mr_status mr__courier_post(mr__courier *courier, mr__path path, uint32_t to, uint32_t tag, const void *head,
                           size_t head_size, const void *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__post *post = NULL;
    MR_CHECK(to < courier->size, MR_INTERNAL, "could not send to rank %u: this job has %u", to, courier->size);
    MR_CHECK(tag >= MR__TAG_FIRST && path < MR__PATHS, MR_INTERNAL, "a message cannot have the tag %u on path %d", tag,
             (int)path);
    MR_CHECK(size <= MR__MESSAGE_MOST && head_size <= MR__MESSAGE_MOST - size, MR_INTERNAL,
             "could not send %zu bytes at once; the limit is %d", head_size + size, MR__MESSAGE_MOST);
    post = mr__alloc(sizeof *post + head_size + size);
    MR_CHECK(post != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes to rank %u; raise --memory",
             head_size + size, to);
    *post = (mr__post){.path = path, .to = to, .tag = tag, .size = head_size + size};
    if (head_size > 0)
        memcpy(post->bytes, head, head_size);
    if (size > 0)
        memcpy(post->bytes + head_size, bytes, size);
    mr__peer *peer = &courier->peers[to];
    pthread_mutex_lock(&courier->mutex);
    const bool closed = courier->closed, alive = mr__is_alive(peer), wake = courier->asleep;
    if (closed) {
        mr__fail(error, MR_NETWORK_FAILED, "could not send to rank %u: %s", to, courier->closed_why);
    } else if (alive) {
        atomic_fetch_add_explicit(&peer->waiting[path], post->size, memory_order_relaxed);
        append(&courier->inbox, post);
        post = NULL;
        courier->asleep = false;            /* one call is enough to wake it */
        if (wake)
            mr__courier_wake(courier);
    }
    pthread_mutex_unlock(&courier->mutex);
    status = closed ? MR_NETWORK_FAILED : MR_OK;
done:
    mr__free(post);
    return status;
}

size_t mr__courier_pending(const mr__courier *courier, mr__path path, uint32_t to)
{
    const mr__peer *peer = &courier->peers[to];
    const size_t waiting = atomic_load_explicit(&peer->waiting[path], memory_order_acquire);
    return waiting + atomic_load_explicit(&peer->under_way[path], memory_order_relaxed);
}

mr_status mr__queue_check(const mr__courier *courier, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t busy = 0;
    for (uint32_t r = 0; r < courier->size; r++) {
        const mr__peer *peer = &courier->peers[r];
        busy += peer->busy;
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            size_t bytes = 0;
            for (const mr__post *post = peer->queue[path].head; post != NULL; post = post->next) {
                bytes += post->size;
                MR_CHECK(post->to == r && post->path == path && peer->busy, MR_INTERNAL,
                         "C6 broken: a post to rank %u lies in queue %u/%u", post->to, r, path);
            }
            MR_CHECK(atomic_load_explicit(&peer->waiting[path], memory_order_relaxed) >= bytes, MR_INTERNAL,
                     "C7 broken: %zu bytes lie in queue %u/%u", bytes, r, path);
        }
    }
    MR_CHECK(busy == courier->busy_count, MR_INTERNAL, "C6 broken: %u ranks are busy and not %u", busy,
             courier->busy_count);
done:
    return status;
}
