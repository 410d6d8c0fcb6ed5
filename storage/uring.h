/* uring.h: reads and writes in the background. uring.c is the only file that knows liburing.
 * Promise   What is queued is done at some time; the buffer stays the kernel's until its completion was waited for.
 * Threads   A ring belongs to one thread.
 * Failure   create: NULL where io_uring is not to be had (an old kernel, a container's filter, MILLRACE_IO_URING=0);
 *           the caller reads and writes in the foreground then. queue: -errno, nothing was queued; if the
 *           system refused it, all that comes later is refused as well. */
#ifndef MR__URING_H
#define MR__URING_H

#include <stddef.h>
#include <stdint.h>

typedef struct mr__ring mr__ring;

/* entries: the most that are in flight at a time; more are refused with -EBUSY. */
mr__ring *mr__ring_create(uint32_t entries);
/* Waits for what is in flight. Takes NULL. */
void mr__ring_destroy(mr__ring *ring);
int mr__ring_read(mr__ring *ring, int fd, void *buffer, uint32_t size, uint64_t offset, uint64_t tag);
int mr__ring_write(mr__ring *ring, int fd, const void *bytes, uint32_t size, uint64_t offset, uint64_t tag);
uint32_t mr__ring_in_flight(const mr__ring *ring);
/* Waits until one is done: its tag, and the bytes moved or -errno. Something must be in flight. */
void mr__ring_wait(mr__ring *ring, uint64_t *tag, int *result);

#endif
