/* output.h: a result directory that appears as a whole or not at all.
 * Promise   Parts are written below a temporary name beside the target; commit adds _SUCCESS and renames. Before
 *           commit, and after a failure or a crash, nothing has the target's name (or, with force, the old result still
 *           has it). What a killed process left beside the same target is removed by the next open or sweep.
 *           A shared output is written by many ranks of one job, each with an output of its own on the same place; any
 *           of them may commit, whatever happened to the others. The result is what one commit named, as a whole.
 * Threads   A part belongs to one thread at a time; parts of one output may be written by many threads.
 * Failure   MR_EXISTS (the target exists and force is off, or what exists is no result; checked at open and again at
 *           commit), MR_NO_SPACE, MR_IO_FAILED, MR_BAD_USAGE (the parent does not exist; a shared output on a tier that
 *           only one process sees), MR_BAD_INPUT (join: this rank does not see the place), with path and what to do.
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
/* Removes what is not committed; of a shared output only when no other rank has it open. Takes NULL; after commit only
 * frees. */
void mr__output_close(mr__output *output);

/* ---- one output of many ranks ------------------------------------------------------------------------------------ */

/* Which rank's writing of a part counts. */
typedef struct mr__attempt {
    uint32_t part, rank;
} mr__attempt;

/* Removes what killed processes left beside the target, as far as it can. It takes as long as there are files. */
void mr__output_sweep(const mr__namespace *names, const char *path);
/* As open(), but other ranks may join. Parts are written under names that carry `rank`, so each rank may write each
 * part: once, or again after mr__part_abort(). Nothing is swept: one of the ranks does so before, where it may wait. */
mr_status mr__output_open_shared(const mr__namespace *names, const char *path, bool force, uint32_t rank,
                                 mr__output **output, mr__error *error);
/* What join() needs of it: a path inside the tier, valid until commit or close. */
const char *mr__output_place(const mr__output *output);
/* On another rank: the same path, and the opener's place. The opener may be gone by then, but not everybody. A commit
 * may be under way; once it has taken effect the place is gone (MR_BAD_INPUT). */
mr_status mr__output_join(const mr__namespace *names, const char *path, bool force, const char *place, uint32_t rank,
                          mr__output **output, mr__error *error);
/* Opens what a rank wrote, for reading; the caller closes it through its tier. Before commit. MR_IO_FAILED. */
mr_status mr__output_read_attempt(const mr__output *output, mr__attempt attempt, mr__file *file, mr__error *error);
/* attempts: each part once, all of them closed. Whoever opened or joined may call, at the same time as others, and
 * again after a failure or another rank's death. The attempts of the first call that came far enough to write its list
 * down are the result, also if a later call names others. *before: it was committed already, or another rank did so
 * meanwhile. */
mr_status mr__output_commit_shared(mr__output *output, const mr__attempt *attempts, size_t count, bool *before,
                                   mr__error *error);
/* Has some rank committed it? One stat; a network file system may know it late. Only for shared outputs. */
bool mr__output_is_committed(const mr__output *output);
/* The rules S1 and S3 (output_shared.c), by what lies in the place now. Not while another rank commits. */
mr_status mr__output_check(const mr__output *output, mr__error *error);

#endif
