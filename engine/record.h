/* record.h: what a run leaves for people and programs: DIRECTORY/RUN.json and DIRECTORY/RUN.trace.json. A job that
 * began and failed leaves a record too; a request that was refused (a wrong parameter, an output that exists) does not.
 * Promise   A record appears whole or not at all. The directory is made with mode 0700, the files with 0600: inputs and
 *           parameters may be nobody else's business.
 * Owner     The caller; everything in mr__record is borrowed for the call. Texts need not be UTF-8: bytes that are not
 *           become U+FFFD.
 * Threads   Any; two runs never share an identifier.
 * Failure   A sentence. The caller must not fail its job for it: note it, leave stats->record "" and go on. */
#ifndef MR__RECORD_H
#define MR__RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <millrace/job.h>

#include "check.h"
#include "places.h"
#include "trace.h"

enum { MR__RUN_ID_SIZE = 48, MR__RECORD_FORMAT = 1 };

/* What became of one device. */
typedef struct mr__record_device {
    const char *id, *name;
    const char *buffer;         /* "array", "combine", "dense" */
    const char *why;            /* of its last failure, or why it did not start; "" */
    uint64_t tasks, given_back, failures, again;
    uint64_t ready_ns;          /* from its start until it took tasks; 0: it never did */
    uint32_t lanes, group;
    bool drained, cached, zero_copy;
} mr__record_device;

typedef struct mr__record {
    const char *run;            /* mr__record_make_run() */
    int64_t started_ns;         /* since 1970, CLOCK_REALTIME; the same that make_run got */
    /* what was asked */
    const char *app_name;
    const mr_app *app;          /* NULL: unknown */
    const void *params;         /* parsed; NULL: only `settings` are recorded */
    const char *const *settings;    /* "name=value" as given */
    uint32_t setting_count;
    const char *const *inputs;  /* paths as given to mr_dataset_open */
    uint32_t input_count;
    uint32_t sources;           /* files they stand for */
    const char *output;         /* NULL: stayed in memory */
    mr_sort sort;
    /* what came of it */
    mr_status status;
    const char *error;          /* NULL or "" when status is MR_OK */
    const mr_stats *stats;      /* NULL: the job failed before it began */
    /* why it ran as it did */
    const char *worker_note;    /* topology's note, or NULL */
    const char *read_reason;    /* why this read path was chosen, or NULL */
    uint64_t memory_limit, memory_peak;     /* of the budget, bytes */
    const mr__record_device *devices;
    uint32_t device_count;
    const char *device_note;    /* why some device, or none, took part; NULL or "" */
} mr__record;

/* Sorts by time: "20261121-161725-123456-4711-9f3c": UTC time, microseconds, process, random. */
void mr__record_make_run(int64_t now_ns, char run[MR__RUN_ID_SIZE]);
/* directory: from mr__places_records(); "" writes nothing and leaves path "". trace: NULL for none.
 * path: what was written. */
mr_status mr__record_write(const char *directory, const mr__record *record, const mr__trace *trace,
                           char path[MR__PATH_MAX], mr__error *error);

#endif
