/* appender.c: two staging buffers, io_uring, O_DIRECT.
 *
 *   append -> copy into the buffer -> full? it flies, the other one is filled meanwhile (after it has landed)
 *
 * Why O_DIRECT. What goes through here is large and is not read soon: spilled runs, results. Through the page cache
 * each byte would be copied once more into a page that pushes out the input, and beyond the kernel's dirty limit the
 * writer is stopped for whole seconds. On the reference machine (docs/storage.md): O_DIRECT 1.4 GB/s at 0.1 s of CPU
 * time per GiB; the page cache 0.1 to 1.0 GB/s at up to 4 s, because fresh pages are dear in a virtual machine. A file
 * of less than one buffer, and the last bytes that do not fill a page, do go through the cache: they are one short
 * call. Where O_DIRECT is not known (tmpfs, memfd), the same code writes through the cache.
 *
 * A write that fails in the background cannot fail the call that caused it. It is kept, and the caller asks. */
#include "appender.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fault.h"
#include "memory.h"

enum { PAGE = MR__APPENDER_PAGE };

bool mr__appender_init(mr__appender *appender, size_t size)
{
    *appender = (mr__appender){.size = size, .buffers = mr__pages_alloc(2 * size)};
    if (appender->buffers == NULL)
        return false;
    appender->ring = mr__ring_create(2);
    return true;
}

void mr__appender_fini(mr__appender *appender)
{
    mr__ring_destroy(appender->ring);
    mr__pages_free(appender->buffers, 2 * appender->size);
    *appender = (mr__appender){0};
}

static void keep_failure(mr__appender *appender, int number, uint64_t offset)
{
    if (appender->failure == 0) {
        appender->failure = number;
        appender->failure_offset = offset;
    }
}

static void write_now(mr__appender *appender, const uint8_t *bytes, size_t size, uint64_t offset)
{
    const mr__tier_ops *ops = appender->file.tier->ops;
    int result = ops->write_at(&appender->file, bytes, size, offset);
    if (result == -EINVAL && appender->direct && fcntl(appender->file.fd, F_SETFL, 0) == 0)
        result = ops->write_at(&appender->file, bytes, size, offset);   /* a disk with larger blocks than a page */
    if (result != 0)
        keep_failure(appender, -result, offset);
}

/* What of a failed write is in the file after all is given back by remove, the rest here. */
static void refund_flight(const mr__appender *appender)
{
    struct stat found = {0};
    const uint64_t begin = appender->flying.offset, end = begin + appender->flying.size;
    fstat(appender->file.fd, &found);
    const uint64_t reached = (uint64_t)found.st_size < begin ? begin : (uint64_t)found.st_size;
    if (reached < end)
        mr__tier_refund(appender->file.tier, end - reached);
}

/* The kernel did not try: the offset does not suit the disk, or it may start no thread for it (RLIMIT_NPROC, a cgroup's
 * limit) or has no memory. */
static bool was_refused(int result)
{
    return result == -EINVAL || result == -ECANCELED || result == -EAGAIN || result == -EINTR || result == -ENOMEM;
}

static void land(mr__appender *appender)
{
    uint64_t tag;
    int result;
    if (appender->flying.bytes == NULL)
        return;
    mr__ring_wait(appender->ring, &tag, &result);
    if (mr__fault(MR__FAULT_WRITE))
        result = -EIO;
    const size_t size = appender->flying.size, put = result > 0 ? (size_t)result : 0;
    if (result < 0 && !was_refused(result)) {
        keep_failure(appender, -result, appender->flying.offset);
        refund_flight(appender);
    } else if (put < size) {
        mr__tier_refund(appender->file.tier, size - put);       /* write_now charges for itself */
        write_now(appender, appender->flying.bytes + put, size - put, appender->flying.offset + put);
    }
    appender->flying.bytes = NULL;
}

void mr__appender_begin(mr__appender *appender, mr__file file)
{
    land(appender);
    appender->file = file;
    appender->fill = 0;
    appender->base = 0;
    appender->direct = false;
    appender->failure = 0;
}

static uint8_t *buffer_of(const mr__appender *appender, uint32_t index)
{
    return appender->buffers + (size_t)index * appender->size;
}

/* Sends the first `size` bytes of the buffer off, whole pages, and begins with the other buffer. */
static void take_off(mr__appender *appender, size_t size)
{
    const uint8_t *bytes = buffer_of(appender, appender->filling);
    mr__tier *tier = appender->file.tier;
    land(appender);
    if (appender->file.fd >= 0 && !appender->direct)
        appender->direct = fcntl(appender->file.fd, F_SETFL, O_DIRECT) == 0;
    if (appender->failure == 0 && appender->ring != NULL && appender->file.fd >= 0 && mr__tier_charge(tier, size)) {
        if (mr__ring_write(appender->ring, appender->file.fd, bytes, (uint32_t)size, appender->base, 0) == 0) {
            appender->flying.bytes = bytes;
            appender->flying.size = size;
            appender->flying.offset = appender->base;
        } else {
            mr__tier_refund(tier, size);
        }
    }
    if (appender->failure == 0 && appender->flying.bytes == NULL)
        write_now(appender, bytes, size, appender->base);
    appender->filling = !appender->filling;
    appender->base += size;
    appender->fill = 0;
}

void mr__appender_write(mr__appender *appender, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size && appender->failure == 0;) {
        const size_t room = appender->size - appender->fill;
        const size_t piece = size - done < room ? size - done : room;
        memcpy(buffer_of(appender, appender->filling) + appender->fill, (const uint8_t *)bytes + done, piece);
        done += piece;
        mr__appender_advance(appender, piece);
    }
}

uint8_t *mr__appender_reserve(mr__appender *appender, size_t size)
{
    if (appender->size - appender->fill < size) {
        /* the part of a page at the end moves to the front of the other buffer */
        const size_t whole = appender->fill / PAGE * PAGE, rest = appender->fill - whole;
        const uint8_t *from = buffer_of(appender, appender->filling) + whole;
        take_off(appender, whole);
        memcpy(buffer_of(appender, appender->filling), from, rest);
        appender->fill = rest;
    }
    return buffer_of(appender, appender->filling) + appender->fill;
}

void mr__appender_advance(mr__appender *appender, size_t size)
{
    appender->fill += size;
    if (appender->fill == appender->size)
        take_off(appender, appender->size);
}

uint64_t mr__appender_offset(const mr__appender *appender)
{
    return appender->base + appender->fill;
}

void mr__appender_pad(mr__appender *appender)
{
    const size_t size = (appender->fill + PAGE - 1) / PAGE * PAGE;
    if (size > 0) {
        memset(buffer_of(appender, appender->filling) + appender->fill, 0, size - appender->fill);
        take_off(appender, size);
    }
    land(appender);
}

void mr__appender_finish(mr__appender *appender)
{
    land(appender);
    if (appender->direct)
        fcntl(appender->file.fd, F_SETFL, 0);
    if (appender->fill > 0 && appender->failure == 0)
        write_now(appender, buffer_of(appender, appender->filling), appender->fill, appender->base);
    appender->base += appender->fill;
    appender->fill = 0;
}
