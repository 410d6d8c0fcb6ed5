/* plan_files.h: what an app's plan() may read beside its input, and where the plan keeps it.
 * Owner     mr__plan_files_drop() after plan() has returned; the params belong to the plan.
 * Threads   One; appending starts threads of its own and ends them. */
#ifndef MR__PLAN_FILES_H
#define MR__PLAN_FILES_H

#include "internal.h"

/* A file that plan() read. */
struct side_input {
    struct side_input *next;
    const uint8_t *bytes;
};

struct mr__plan_private {
    mr__job *job;
    struct side_input *files;           /* until plan() returns */
    size_t params_room;
    uint64_t read_hash;                 /* of all that plan() read; a job of one rank has no use for it */
    mr__error *error;
};

void mr__plan_files_drop(struct mr__plan_private *internal);
/* plan() read these bytes: all ranks of a job must. */
void mr__plan_note_read(struct mr__plan_private *internal, const void *bytes, size_t size);

#endif
