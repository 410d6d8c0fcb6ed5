/* limit_write.c: writing a new file from memory, once through the page cache and once past it.
 *
 *     limit_write cached|synced|direct FILE BYTES THREADS
 *
 * cached ends when the last byte is in the page cache, which is what a program that only writes waits for; synced adds
 * fdatasync(); direct writes with O_DIRECT. The file stays, so that limit_read can read it; the caller removes it. */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

struct file {
    const char *path;
    int fd;
    uint64_t size;
    _Atomic uint64_t next;
};

static void work(void *state, uint32_t thread)
{
    struct file *file = state;
    uint8_t *buffer = limit_memory(BUFFER);
    uint64_t at, noise = thread + 1;
    for (size_t i = 0; i < BUFFER; i += sizeof noise) { /* xorshift: a disk that compresses gains nothing */
        noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
        memcpy(buffer + i, &noise, sizeof noise);
    }
    while ((at = atomic_fetch_add(&file->next, BUFFER)) < file->size)
        for (size_t done = 0; done < BUFFER;) {
            const ssize_t put = pwrite(file->fd, buffer + done, BUFFER - done, (off_t)(at + done));
            if (put <= 0)
                limit_fail("could not write %s: %s", file->path, strerror(errno));
            done += (size_t)put;
        }
}

static void work_and_sync(void *state, uint32_t thread)
{
    struct file *file = state;
    work(state, thread);
    if (fdatasync(file->fd) != 0)
        limit_fail("could not sync %s: %s", file->path, strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc != 5)
        limit_fail("usage: limit_write cached|synced|direct FILE BYTES THREADS");
    const int direct = strcmp(argv[1], "direct") == 0;
    const int synced = strcmp(argv[1], "synced") == 0;
    if (!direct && !synced && strcmp(argv[1], "cached") != 0)
        limit_fail("%s is none of cached, synced, direct", argv[1]);
    struct file file = {.path = argv[2], .size = limit_number(argv[3]) / BUFFER * BUFFER};
    file.fd = open(file.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);
    if (file.fd < 0)
        limit_fail("could not create %s: %s", file.path, strerror(errno));
    const double seconds =
        limit_time((uint32_t)limit_number(argv[4]), synced ? work_and_sync : work, &file);
    limit_report(argv[1], file.size, seconds, 0);
    return close(file.fd) == 0 ? 0 : 3;
}
