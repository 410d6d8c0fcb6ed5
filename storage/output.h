/* output.h: a result directory that appears as a whole or not at all.
 * Promise   Parts are written below a temporary name beside the target; commit adds _SUCCESS and renames. Before
 *           commit, and after a failure or a crash, nothing has the target's name (or, with force, the old result still
 *           has it). What a killed process left beside the same target is removed by the next open.
 * Threads   A part belongs to one thread at a time; parts of one output may be written by many threads.
 * Failure   MR_EXISTS (the target exists and force is off, or what exists is no result; checked at open and again at
 *           commit), MR_NO_SPACE, MR_IO_FAILED, MR_BAD_USAGE (the parent does not exist), with the path and what to do.
 * Crash     What a process crash leaves is never taken for a result. A power failure right after commit may lose the
 *           last bytes of parts, unless MILLRACE_SYNC=1 asks for fsync before the rename (docs/storage.md). */
#ifndef MR__OUTPUT_H
#define MR__OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "namespace.h"

typedef struct mr__output mr__output;
typedef struct mr__part mr__part;

enum { MR__PART_RESERVE = 64 << 10 };

mr_status mr__output_open(const mr__namespace *names, const char *path, bool force, mr__output **output,
                          mr__error *error);
/* part-NNNNN. Its buffers (2 MiB together) are written in the background; they are used again by the next part. */
mr_status mr__output_part(mr__output *output, uint32_t index, mr__part **part, mr__error *error);
mr_status mr__part_write(mr__part *part, const void *bytes, size_t size, mr__error *error);
/* `size` writable bytes inside the buffer (size <= MR__PART_RESERVE), for formatting in place; commit what was used
 * with mr__part_advance(). NULL: writing failed. */
uint8_t *mr__part_reserve(mr__part *part, size_t size, mr__error *error);
void mr__part_advance(mr__part *part, size_t size);
/* Ends the part, whether it succeeds or not. *bytes: its size; may be NULL. */
mr_status mr__part_close(mr__part *part, uint64_t *bytes, mr__error *error);
/* Ends the part and removes it. Takes NULL. */
void mr__part_abort(mr__part *part);
/* All parts are closed by then. */
mr_status mr__output_commit(mr__output *output, mr__error *error);
/* Removes what is not committed. Takes NULL; after commit only frees. */
void mr__output_close(mr__output *output);

#endif
