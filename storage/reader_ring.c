/* reader_ring.c: a range of a file that is not in the page cache, a few chunks ahead of the map.
 *
 *   chunk:  [ head: kept bytes |fresh bytes ........|padding ]      four of them, used in turn
 *
 *   in use by the map -> queued again when the next window is asked for -> in flight -> done -> in use
 *
 * The fresh bytes of a chunk are a window as they lie: only the kept bytes are copied, in front of them. Chunks are
 * aligned in the file and in memory, so that they can be read with O_DIRECT: the disk writes into the chunk itself, and
 * half the memory traffic is saved. A record that is longer than the head goes through the reader's buffer.
 *
 * Whatever goes wrong here (no ring, no O_DIRECT, a short read) ends the reading ahead of this range, and pread goes on
 * in its place: it reads the same bytes and has the sentences. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fault.h"
#include "memory.h"
#include "reader_parts.h"
#include "uring.h"

enum { PAGE = 4096, CHUNKS = 4, LEAST_CHUNK = 512 << 10 };

typedef struct chunk {
    uint8_t *fresh;             /* the head lies in front of it */
    uint64_t offset;            /* in the file */
    uint32_t size;
    int result;
    bool done;
} chunk;

struct mr__ahead {
    mr__ring *ring;
    uint8_t *memory;
    size_t bytes;               /* of memory */
    uint32_t chunk_size;
    mr__file direct;            /* the source, opened for O_DIRECT */
    const mr__source *direct_source;
    int fd;                     /* direct.fd, or the reader's own */
    uint64_t next;              /* offset of the next chunk to queue */
    uint64_t stop;
    uint32_t first, count;      /* chunks[first ...] in flight or done, in the order of the file */
    bool lent;                  /* chunks[first - 1] is the map's window */
    chunk chunks[CHUNKS];
};

mr__ahead *mr__ahead_create(size_t window, mr__budget *budget)
{
    const size_t size = window > LEAST_CHUNK ? (window + PAGE - 1) / PAGE * PAGE : LEAST_CHUNK;
    const size_t stride = MR__READER_HEAD + size + PAGE;
    mr__ahead *ahead = mr__alloc_zero(1, sizeof *ahead);
    if (ahead == NULL)
        return NULL;
    if (size <= 64 << 20 && mr__budget_reserve(budget, CHUNKS * stride))
        ahead->bytes = CHUNKS * stride;
    ahead->memory = ahead->bytes > 0 ? mr__pages_alloc(ahead->bytes) : NULL;
    ahead->ring = ahead->memory != NULL ? mr__ring_create(CHUNKS) : NULL;
    if (ahead->ring == NULL) {
        mr__ahead_destroy(ahead, budget);
        return NULL;
    }
    ahead->chunk_size = (uint32_t)size;
    for (size_t i = 0; i < CHUNKS; i++)
        ahead->chunks[i].fresh = ahead->memory + i * stride + MR__READER_HEAD;
    return ahead;
}

static void close_direct(mr__ahead *ahead)
{
    if (ahead->direct.tier != NULL)
        ahead->direct.tier->ops->close(&ahead->direct);
    ahead->direct_source = NULL;
}

void mr__ahead_destroy(mr__ahead *ahead, mr__budget *budget)
{
    if (ahead == NULL)
        return;
    mr__ring_destroy(ahead->ring);
    close_direct(ahead);
    mr__pages_free(ahead->memory, ahead->bytes);
    mr__budget_release(budget, ahead->bytes);
    mr__free(ahead);
}

static void wait_for_one(mr__ahead *ahead)
{
    uint64_t tag;
    int result;
    mr__ring_wait(ahead->ring, &tag, &result);
    if (tag < CHUNKS) {
        ahead->chunks[tag].done = true;
        ahead->chunks[tag].result = mr__fault(MR__FAULT_READ) ? -EIO : result;
    }
}

void mr__ahead_end(mr__ahead *ahead)
{
    while (mr__ring_in_flight(ahead->ring) > 0)
        wait_for_one(ahead);
    ahead->count = 0;
    ahead->lent = false;
}

static void queue_next(mr__ahead *ahead)
{
    while (ahead->next < ahead->stop && ahead->count + ahead->lent < CHUNKS) {
        const uint32_t index = (ahead->first + ahead->count) % CHUNKS;
        chunk *one = &ahead->chunks[index];
        const uint64_t left = (ahead->stop - ahead->next + PAGE - 1) / PAGE * PAGE;
        one->offset = ahead->next;
        one->size = left < ahead->chunk_size ? (uint32_t)left : ahead->chunk_size;
        one->done = false;
        if (mr__ring_read(ahead->ring, ahead->fd, one->fresh, one->size, one->offset, index) != 0) {
            ahead->stop = ahead->next;
            return;
        }
        ahead->count++;
        ahead->next += one->size;
    }
}

void mr__ahead_start(mr__reader *reader)
{
    mr__ahead *ahead = reader->ahead;
    const mr__source *source = reader->source;
    if (ahead->direct_source != source) {
        close_direct(ahead);
        if (source->tier->ops->open(source->tier, source->inside, &ahead->direct) == 0)
            ahead->direct_source = source;
    }
    const bool direct = ahead->direct.tier != NULL && fcntl(ahead->direct.fd, F_SETFL, O_DIRECT) == 0;
    ahead->fd = direct ? ahead->direct.fd : reader->ranged.file.fd;
    ahead->next = reader->position / PAGE * PAGE;
    ahead->stop = reader->soft_end;
    ahead->first = 0;
    queue_next(ahead);
}

/* Waits for the chunk at the reader's position. NULL: there is none, or it did not come whole. */
static chunk *ready(mr__reader *reader)
{
    mr__ahead *ahead = reader->ahead;
    if (ahead->count == 0)
        return NULL;
    chunk *one = &ahead->chunks[ahead->first];
    while (!one->done)
        wait_for_one(ahead);
    const uint64_t left = reader->source->size - one->offset;
    if (one->result < 0 || (uint64_t)one->result < (one->size < left ? one->size : left)) {
        mr__ahead_end(ahead);
        ahead->stop = 0;
        return NULL;
    }
    return one;
}

static size_t usable(const mr__reader *reader, const chunk *one)
{
    const uint64_t end = one->offset + one->size < reader->soft_end ? one->offset + one->size : reader->soft_end;
    return (size_t)(end - reader->position);
}

/* The first chunk leaves the queue. lend: it is the map's until the next window. */
static void leave(mr__ahead *ahead, bool lend)
{
    ahead->first = (ahead->first + 1) % CHUNKS;
    ahead->count--;
    ahead->lent = lend;
    queue_next(ahead);
}

static mr_status fill_buffer(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t position = reader->position;
    size_t done = 0;
    MR_TRY(mr__reader_make_room(reader, keep, want, error));
    for (chunk *one; done < want && (one = ready(reader)) != NULL;) {
        size_t size = usable(reader, one);
        const bool all = size <= want - done;
        size = all ? size : want - done;
        memcpy(reader->data + keep + done, one->fresh + (reader->position - one->offset), size);
        done += size;
        reader->position += size;
        if (all)
            leave(reader->ahead, false);
    }
    *got = done;
done:
    reader->position = position;
    return status;
}

mr_status mr__ahead_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error)
{
    mr__ahead *ahead = reader->ahead;
    chunk *one = ready(reader);
    if (one == NULL)
        return mr__pread_fill(reader, keep, want, got, error);
    /* a chunk that was in flight while the file was cut may be whole and hold zeros */
    const mr_status status = mr__reader_check_size(reader, error);
    if (status != MR_OK)
        return status;
    const size_t before = (size_t)(reader->position - one->offset);
    const size_t size = usable(reader, one);
    if (keep > MR__READER_HEAD + before || want > reader->window) {
        ahead->lent = false;
        return fill_buffer(reader, keep, want, got, error);
    }
    uint8_t *fresh = one->fresh + before;
    if (keep > 0)
        memmove(fresh - keep, reader->data + (reader->have - keep), keep);
    reader->data = fresh - keep;
    *got = size < want ? size : want;
    if (size <= want) {
        leave(ahead, true);
    } else {                                    /* the rest of this chunk is the next window */
        ahead->lent = false;
        queue_next(ahead);
    }
    return MR_OK;
}
