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

/* The numbers of one of many ranks, under the names that they have in the record. docs/cli.md says what they mean. */
#define MR__RANK_NUMBERS(X)                                                                                            \
    X(pid) X(workers) X(devices) X(works) X(map_tasks) X(device_tasks) X(input_bytes) X(rows) X(pairs) X(keys)         \
    X(output_bytes) X(sent_bytes) X(received_bytes) X(saved_bytes) X(spilled_bytes) X(peak_rss_bytes)

typedef struct mr__record_rank {
    const char *host;           /* NULL: it told nothing, and the numbers are 0 */
    bool lost, spare, took_place;       /* took_place: a spare that worked in place of one that was lost */
#define MR__RANK_FIELD(name) uint64_t name;
    MR__RANK_NUMBERS(MR__RANK_FIELD)
#undef MR__RANK_FIELD
    uint64_t map_ns;            /* of all its workers together */
    const uint8_t *trace;       /* packed (trace.h); NULL: none */
    size_t trace_size;
} mr__record_rank;

typedef struct mr__record_loss {
    uint32_t rank;
    int64_t when_ns;            /* since 1970 */
    const char *why;
} mr__record_loss;

typedef struct mr__record {
    const char *run;            /* mr__record_make_run() */
    int64_t started_ns;         /* since 1970, CLOCK_REALTIME; the same that make_run got */
    uint32_t typed;             /* the process whose command line was typed; 0: this one */
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
    /* of many ranks; rank_count 0: there is one */
    const mr__record_rank *ranks;
    uint32_t rank_count;
    uint32_t rank;              /* whose trace is written with the record: it has none in `ranks` */
    const mr__record_loss *losses;
    uint32_t loss_count;
} mr__record;

/* record_rank.c. rank: `lost`, `spare`, `took_place` and `trace` are not packed. trace: NULL for none; at most
 * trace_most bytes of events (trace.h). */
void mr__record_rank_pack(const mr__record_rank *rank, const mr__trace *trace, size_t trace_most, mr__writing *to);
/* host and trace are pointers into `packed`. false: it cannot be read, and *rank is as it was. */
bool mr__record_rank_unpack(const uint8_t *packed, size_t size, mr__record_rank *rank);

/* Sorts by time: "20261121-161725-123456-4711-9f3c": UTC time, microseconds, process, random. */
void mr__record_make_run(int64_t now_ns, char run[MR__RUN_ID_SIZE]);
/* directory: from mr__places_records(); "" writes nothing and leaves path "". trace: NULL for none.
 * path: what was written. */
mr_status mr__record_write(const char *directory, const mr__record *record, const mr__trace *trace,
                           char path[MR__PATH_MAX], mr__error *error);

#endif
