/* newfile.c: written under PATH.PID.tmp, renamed at the end. For small files (records, traces) through a buffer, and
 * for generated data in large pieces around it. No fsync: what a crash of the machine loses can be made again.
 * A rename replaces whatever has the name, be it /dev/null. So only a regular file is replaced, and of a link that
 * leads to one the file. Rejected: writing to a device or a pipe at once; it would not appear whole, and opening a pipe
 * waits for a reader. */
#include "newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "memory.h"
#include "number.h"

struct mr__newfile {
    char *path, *temporary;
    int fd;
    int failed;                 /* errno of the first write that failed */
    size_t used;
    char buffer[MR__NEWFILE_BUFFER];
};

static void write_all(mr__newfile *file, const char *bytes, size_t size)
{
    while (size > 0 && file->failed == 0) {
        const ssize_t n = mr__fault(MR__FAULT_WRITE) ? (errno = EIO, -1) : write(file->fd, bytes, size);
        if (n >= 0) {
            bytes += n;
            size -= (size_t)n;
        } else if (errno != EINTR) {
            file->failed = errno;
        }
    }
}

static void flush(mr__newfile *file)
{
    write_all(file, file->buffer, file->used);
    file->used = 0;
}

/* *place: memory of its own. */
static mr_status find_place(const char *path, char **place, mr__error *error)
{
    mr_status status = MR_OK;
    char resolved[PATH_MAX];
    struct stat old;
    const bool exists = lstat(path, &old) == 0, link = exists && S_ISLNK(old.st_mode);
    MR_CHECK(!link || stat(path, &old) == 0, MR_BAD_USAGE,
             "could not write %s: it is a link that cannot be followed: %s\n  hint: name the file itself", path,
             strerror(errno));
    MR_CHECK(!exists || !S_ISDIR(old.st_mode), MR_BAD_USAGE,
             "could not write %s: it is a directory\n  hint: name a file", path);
    MR_CHECK(!exists || S_ISREG(old.st_mode), MR_BAD_USAGE,
             "could not write %s: it is no regular file\n  hint: name a file", path);
    MR_CHECK(!link || realpath(path, resolved) != NULL, MR_IO_FAILED, "could not write %s: %s", path, strerror(errno));
    *place = mr__strdup(link ? resolved : path);
    MR_CHECK(*place != NULL, MR_NO_MEMORY, "no memory to write %s", path);
done:
    return status;
}

mr_status mr__newfile_create(const char *path, uint32_t mode, mr__newfile **out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = mr__alloc(sizeof *file);
    MR_CHECK(file != NULL, MR_NO_MEMORY, "no memory to write %s", path);
    *file = (mr__newfile){.fd = -1};
    MR_TRY(find_place(path, &file->path, error));
    const size_t size = strlen(file->path) + 32;
    file->temporary = mr__alloc(size);
    MR_CHECK(file->temporary != NULL, MR_NO_MEMORY, "no memory to write %s", path);
    snprintf(file->temporary, size, "%s.%ld.tmp", file->path, (long)getpid());
    file->fd = mr__fault(MR__FAULT_OPEN)
                   ? (errno = EIO, -1)
                   : open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
    MR_CHECK(file->fd >= 0, mr__status_of_errno(errno, errno == ENOENT ? MR_BAD_USAGE : MR_IO_FAILED),
             "could not write %s: %s", path, strerror(errno));
    *out = file;
    file = NULL;
done:
    mr__newfile_drop(file);
    return status;
}

mr_status mr__newfile_write(mr__newfile *file, const void *bytes, size_t size)
{
    if (size > sizeof file->buffer - file->used)
        flush(file);
    if (size > sizeof file->buffer) {
        write_all(file, bytes, size);
    } else {
        memcpy(file->buffer + file->used, bytes, size);
        file->used += size;
    }
    return file->failed == 0 ? MR_OK : mr__status_of_errno(file->failed, MR_IO_FAILED);
}

mr_status mr__newfile_writef(mr__newfile *file, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    const locale_t before = mr__numbers_begin();
    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mr__numbers_end(before);
    if (size < 0 || (size_t)size >= sizeof text) {
        file->failed = file->failed != 0 ? file->failed : EOVERFLOW;
        return MR_IO_FAILED;
    }
    return mr__newfile_write(file, text, (size_t)size);
}

mr_status mr__newfile_commit(mr__newfile *file, mr__error *error)
{
    mr_status status = MR_OK;
    if (file == NULL)
        return MR_OK;
    flush(file);
    int closed = close(file->fd);       /* NFS reports a full disk here */
    if (mr__fault(MR__FAULT_CLOSE)) {
        closed = -1;
        errno = EIO;
    }
    file->fd = -1;
    file->failed = file->failed == 0 && closed != 0 ? errno : file->failed;
    MR_CHECK(file->failed == 0, mr__status_of_errno(file->failed, MR_IO_FAILED), "could not write %s: %s%s", file->path,
             strerror(file->failed), mr__errno_hint(file->failed));
    const int renamed = mr__fault(MR__FAULT_RENAME) ? (errno = EIO, -1) : rename(file->temporary, file->path);
    MR_CHECK(renamed == 0, mr__status_of_errno(errno, MR_IO_FAILED), "could not rename %s to %s: %s", file->temporary,
             file->path, strerror(errno));
    file->temporary[0] = '\0';
done:
    mr__newfile_drop(file);
    return status;
}

void mr__newfile_drop(mr__newfile *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->temporary != NULL && file->temporary[0] != '\0')
        unlink(file->temporary);
    mr__free(file->temporary);
    mr__free(file->path);
    mr__free(file);
}
