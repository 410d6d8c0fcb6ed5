/* newfile.h: a file that appears whole or not at all.
 * Promise   Until commit() nothing exists under the path; a file that was there before stays until then. Of a link to a
 *           file, what it leads to is replaced. A directory, a device or a pipe is refused (MR_BAD_USAGE).
 * Owner     create/commit or create/drop; both take NULL and end the handle. A process that dies leaves `path.PID.tmp`.
 * Threads   One at a time.
 * Cost      One buffer of MR__NEWFILE_BUFFER bytes.
 * Failure   A sentence that names the path. Write errors are sticky: commit() reports the first one, so that the caller
 *           may ignore what write() returns. */
#ifndef MR__NEWFILE_H
#define MR__NEWFILE_H

#include <stdint.h>

#include "check.h"

enum { MR__NEWFILE_BUFFER = 1 << 16 };

typedef struct mr__newfile mr__newfile;

mr_status mr__newfile_create(const char *path, uint32_t mode, mr__newfile **file, mr__error *error);
mr_status mr__newfile_write(mr__newfile *file, const void *bytes, size_t size);
/* Numbers as in the C locale. */
mr_status mr__newfile_writef(mr__newfile *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
mr_status mr__newfile_commit(mr__newfile *file, mr__error *error);
void mr__newfile_drop(mr__newfile *file);

#endif
