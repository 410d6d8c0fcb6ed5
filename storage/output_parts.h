/* output_parts.h: what output.c and output_shared.c share. */
#ifndef MR__OUTPUT_PARTS_H
#define MR__OUTPUT_PARTS_H

#include <pthread.h>

#include "output.h"
#include "tier.h"

struct mr__output {
    mr__tier *tier;
    bool force, sync;
    char *name;                 /* as the user wrote it */
    char *target, *parent, *result;     /* paths inside the tier */
    mr__claim claim;
    pthread_mutex_t mutex;
    struct mr__desk *idle;      /* guarded by mutex */
    char *attempts;             /* directory of the parts that ranks write; NULL: the output is not shared */
    uint32_t rank;
    uint64_t id;                /* of the directory that becomes the result, whatever it is called */
    uint32_t rung;              /* where this rank saw it last (output_shared.c) */
};

/* Everything of an open output but its claim. */
mr_status mr__output_create(const mr__namespace *names, const char *path, bool force, mr__output **output,
                            mr__error *error);
/* Claims a place beside the target and makes `result` in it. */
mr_status mr__output_claim(mr__output *output, mr__error *error);

/* May the target be made, or replaced? (O1 and O3, as far as they can be said now.) */
mr_status mr__output_check_target(const mr__output *output, mr__error *error);
/* Makes _SUCCESS in `directory`, where it may be already; 0 or -errno. */
int mr__output_mark(mr__output *output, const char *directory);
/* fsync of the names in a directory of the host; other tiers keep theirs as they keep bytes. 0 or -errno. */
int mr__output_sync_names(mr__output *output, const char *path);
/* The sentence for what a commit came to: 0 or -errno. */
mr_status mr__output_say(const mr__output *output, int result, mr__error *error);

/* A path in memory of its own, or NULL. */
char *mr__output_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
