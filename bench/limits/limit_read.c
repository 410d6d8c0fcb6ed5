/* limit_read.c: reading a file and summing it, the least that any scan of it must do.
 *
 *     limit_read mmap|populate|pread|direct FILE THREADS
 *
 * Threads pull pieces from one counter, as workers pull splits, so that a slow core holds nobody up. The ways:
 *   mmap      one mapping, page faults as the sum walks (fault-around brings 16 pages each)
 *   populate  the same, but each piece is faulted in by one call first
 *   pread     1 MiB at a time into a buffer of the thread that stays in its L2
 *   direct    the same past the page cache (O_DIRECT): the disk's limit
 * Which one wins differs by machine and kernel; the better of mmap and pread is the limit to compare with. */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, PIECE = 8 << 20 };

struct scan {
    enum way { MMAP, POPULATE, PREAD, DIRECT } way;
    const char *path;
    const uint8_t *map;
    int fd;
    uint64_t size;
    _Atomic uint64_t next, sum;
};

static uint64_t sum_pread(const struct scan *scan, uint8_t *buffer, uint64_t at, uint64_t end)
{
    uint64_t sum = 0;
    while (at < end) {
        const size_t want = end - at < BUFFER && scan->way != DIRECT ? end - at : BUFFER;
        const ssize_t got = pread(scan->fd, buffer, want, (off_t)at);
        if (got <= 0)
            limit_fail("could not read %s at %lu: %s", scan->path, at, got < 0 ? strerror(errno) : "it became shorter");
        sum += limit_sum(buffer, (size_t)got);
        at += (uint64_t)got;
    }
    return sum;
}

static void work(void *state, uint32_t thread)
{
    struct scan *scan = state;
    uint8_t *buffer = limit_memory(BUFFER);
    uint64_t sum = 0, at;
    (void)thread;
    while ((at = atomic_fetch_add(&scan->next, PIECE)) < scan->size) {
        const uint64_t size = scan->size - at < PIECE ? scan->size - at : PIECE;
        if (scan->way == POPULATE)
            madvise((void *)(scan->map + at), size, MADV_POPULATE_READ);
        sum += scan->map ? limit_sum(scan->map + at, size) : sum_pread(scan, buffer, at, at + size);
    }
    atomic_fetch_add(&scan->sum, sum);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"mmap", "populate", "pread", "direct"};
    struct scan scan = {.path = argc == 4 ? argv[2] : ""};
    struct stat st;
    if (argc != 4)
        limit_fail("usage: limit_read mmap|populate|pread|direct FILE THREADS");
    while (strcmp(names[scan.way], argv[1]) != 0)
        if (++scan.way > DIRECT)
            limit_fail("%s is none of mmap, populate, pread, direct", argv[1]);
    scan.fd = open(scan.path, O_RDONLY | O_CLOEXEC | (scan.way == DIRECT ? O_DIRECT : 0));
    if (scan.fd < 0 || fstat(scan.fd, &st) != 0)
        limit_fail("could not open %s: %s", scan.path, strerror(errno));
    scan.size = (uint64_t)st.st_size;
    if (scan.way <= POPULATE && scan.size > 0) {
        scan.map = mmap(NULL, scan.size, PROT_READ, MAP_SHARED, scan.fd, 0);
        if (scan.map == MAP_FAILED)
            limit_fail("could not map %s: %s", scan.path, strerror(errno));
    }
    const double seconds = limit_time((uint32_t)limit_number(argv[3]), work, &scan);
    limit_report(argv[1], scan.size, seconds, scan.sum);
    return 0;
}
