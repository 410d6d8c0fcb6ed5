/* uring.c: liburing behind five calls.
 *
 * Nothing is submitted in batches: a piece is hundreds of kilobytes, so the system call that submits it costs nothing
 * beside the transfer, and a piece that waits in the queue is a disk that idles. */
#include "uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "memory.h"

struct mr__ring {
    struct io_uring ring;
    uint32_t entries, in_flight;
};

mr__ring *mr__ring_create(uint32_t entries)
{
    const char *wanted = getenv("MILLRACE_IO_URING");
    if ((wanted != NULL && strcmp(wanted, "0") == 0) || mr__fault(MR__FAULT_OPEN))
        return NULL;
    mr__ring *made = mr__alloc_zero(1, sizeof *made);
    if (made == NULL)
        return NULL;
    if (io_uring_queue_init(entries, &made->ring, 0) != 0) {
        mr__free(made);
        return NULL;
    }
    made->entries = entries;
    return made;
}

void mr__ring_destroy(mr__ring *ring)
{
    if (ring == NULL)
        return;
    while (ring->in_flight > 0) {
        uint64_t tag;
        int result;
        mr__ring_wait(ring, &tag, &result);
    }
    io_uring_queue_exit(&ring->ring);
    mr__free(ring);
}

static int submit(mr__ring *ring, struct io_uring_sqe *entry, uint64_t tag)
{
    int result;
    io_uring_sqe_set_data64(entry, tag);
    do
        result = io_uring_submit(&ring->ring);
    while (result == -EINTR || result == -EAGAIN || result == -EBUSY);
    if (result < 0) {
        ring->entries = 0;      /* for the next submission would send this entry, too: it stays in the queue */
        return result;
    }
    ring->in_flight++;
    return 0;
}

int mr__ring_read(mr__ring *ring, int fd, void *buffer, uint32_t size, uint64_t offset, uint64_t tag)
{
    struct io_uring_sqe *entry = ring->in_flight < ring->entries ? io_uring_get_sqe(&ring->ring) : NULL;
    if (entry == NULL)
        return -EBUSY;
    io_uring_prep_read(entry, fd, buffer, size, offset);
    return submit(ring, entry, tag);
}

int mr__ring_write(mr__ring *ring, int fd, const void *bytes, uint32_t size, uint64_t offset, uint64_t tag)
{
    struct io_uring_sqe *entry = ring->in_flight < ring->entries ? io_uring_get_sqe(&ring->ring) : NULL;
    if (entry == NULL)
        return -EBUSY;
    io_uring_prep_write(entry, fd, bytes, size, offset);
    return submit(ring, entry, tag);
}

uint32_t mr__ring_in_flight(const mr__ring *ring)
{
    return ring->in_flight;
}

void mr__ring_wait(mr__ring *ring, uint64_t *tag, int *result)
{
    struct io_uring_cqe *done = NULL;
    int waited;
    do
        waited = io_uring_wait_cqe(&ring->ring, &done);
    while (waited == -EINTR || waited == -EAGAIN);
    ring->in_flight--;
    if (waited != 0) {
        *tag = UINT64_MAX;
        *result = waited;
        return;
    }
    *tag = io_uring_cqe_get_data64(done);
    *result = done->res;
    io_uring_cqe_seen(&ring->ring, done);
}
