/* tier_fd.c: reading and writing for tiers whose files have descriptors. */
#include "tier_fd.h"

#include <errno.h>
#include <unistd.h>

#include "fault.h"

/* For one system call: no read or write of Linux moves more than 2^31 bytes less a page. */
enum { LARGEST_CALL = 1 << 30 };

int mr__fd_close(mr__file *file)
{
    const int result = close(file->fd) == 0 || errno == EINTR ? 0 : -errno;     /* Linux has closed it in any case */
    *file = (mr__file){.fd = -1};
    return result;
}

ssize_t mr__fd_read_at(const mr__file *file, void *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;
    if (mr__fault(MR__FAULT_READ))
        return -EIO;
    while (done < size) {
        const size_t piece = size - done < LARGEST_CALL ? size - done : LARGEST_CALL;
        const ssize_t got = pread(file->fd, (uint8_t *)buffer + done, piece, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int mr__fd_write_at(const mr__file *file, const void *bytes, size_t size, uint64_t offset)
{
    size_t done = 0;
    if (mr__fault(MR__FAULT_WRITE))
        return -EIO;
    if (!mr__tier_charge(file->tier, size))
        return -ENOSPC;
    while (done < size) {
        const size_t piece = size - done < LARGEST_CALL ? size - done : LARGEST_CALL;
        const ssize_t put = pwrite(file->fd, (const uint8_t *)bytes + done, piece, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            mr__tier_refund(file->tier, size - done);
            return put < 0 ? -errno : -EIO;
        }
        done += (size_t)put;
    }
    return 0;
}
