/* internal.h: the things of the engine and how they hang together.
 *
 *   mr_session            topology, memory limit, burst directory, loaded apps; lives for many jobs
 *     mr_dataset          sources, and blocks pinned in memory
 *     mr__job             one run: plan -> map (+ merge) -> reduce -> sort -> commit
 *       mr__lane          what one worker has to itself: emitter, buffers, reader, spill writer
 *       mr__partition     what one partition has: spilled extents, and what is merged or sorted while maps run
 *       mr__schedule      who may pull what (schedule.c draws the states) */
#ifndef MR__INTERNAL_H
#define MR__INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <millrace/job.h>

#include "array_buffer.h"
#include "budget.h"
#include "check.h"
#include "clock.h"
#include "combine_buffer.h"
#include "devices.h"
#include "exchange.h"
#include "joint.h"
#include "kernels.h"
#include "launch.h"
#include "output.h"
#include "pair_sort.h"
#include "reader.h"
#include "record.h"
#include "run.h"
#include "schedule.h"
#include "spill.h"
#include "trace.h"
#include "worker.h"
#include "worker_spec.h"

enum { MR__COLUMNS_MAX = 1024, MR__DENSE_ALIGNMENT = 64 };

typedef struct mr__loaded_app {
    struct mr__loaded_app *next;
    void *library;
    char *name;
    const mr_app_handle *handle;
} mr__loaded_app;

struct mr_session {
    mr__error error;
    mr__topology topology;
    uint64_t memory_limit;
    uint32_t workers;
    bool workers_given;         /* the user said how many */
    char *burst_parent;         /* NULL: the default */
    char *records;              /* directory; "": none */
    mr__burst *burst;           /* opened when first needed */
    mr__namespace *names;       /* plain paths, and what is mounted: */
    mr__tier *memory;           /* /memory, within half of the memory limit; NULL: the host has something there */
    mr__tier *local;            /* /burst, the directory that the private burst directory is made in; or NULL */
    pthread_mutex_t burst_mutex;
    mr__loaded_app *apps;
    mr__launch launch;
    mr__ranks *ranks;           /* NULL: this process is alone */
    uint32_t spares;            /* the highest of them */
    _Atomic bool cancelled;
    bool error_set;
    bool spec_given;            /* the user said which workers */
    mr__worker_spec spec;
    uint32_t device_buffer;     /* mr__device_buffer: forced by MILLRACE_DEVICE_BUFFER */
    bool device_zero_copy;      /* unless MILLRACE_DEVICE_COPY=1 */
    const struct mr__near_stub *near_stub;      /* of a test; NULL: what lies in memory is measured (near.h) */
    uint32_t device_lanes;      /* forced by MILLRACE_DEVICE_LANES=1|4|8|16; 0: measured */
};

/* From now on the session's jobs are those of many ranks. open, how: of the comm (courier.h). */
mr_status mr__session_join(mr_session *session, mr__comm_open *open, void *how, const mr__courier_options *options,
                           mr__error *error);
bool mr__session_is_spare(const mr_session *session);
/* Of a handle whose magic is right: was it built for this version, and is there an app? name: for the sentence. */
mr_status mr__session_check_app(const char *name, const mr_app_handle *handle, mr__error *error);
/* Opens the session's burst directory at the first call. */
mr_status mr__session_burst(mr_session *session, mr__burst **burst, mr__error *error);

/* The blocks of a record dataset in memory: columns, transposed once. */
typedef struct mr__pinned {
    uint32_t record_size, column_count;
    uint64_t columns_hash;
    size_t block_rows;
    uint64_t blocks;
    uint8_t **data;             /* [blocks], into memory; NULL: not in memory (yet) */
    uint8_t *memory;            /* blocks * stride bytes of address space; a page costs nothing before it is touched */
    size_t stride;
    _Atomic uint64_t bytes;     /* of the blocks that are in memory */
} mr__pinned;

struct mr_dataset {
    mr_session *session;
    mr__sources *sources;
    char **inputs;              /* as given */
    uint32_t input_count;
    bool pin;
    mr__pinned pinned;
};

typedef struct mr__partition {
    pthread_mutex_t mutex;      /* extents; claimed */
    mr__extent *extents;
    size_t extent_count, extent_room;
    bool claimed;               /* a worker merges into the table now */
    bool queued;                /* in the schedule's list of merges (guarded by its mutex) */
    mr__combine_buffer table;   /* pipelined reduce: what is combined so far; */
    mr__runs sorted;            /* ... without a combine: what is sorted so far */
    mr__run result;             /* sorted, or kept in memory */
} mr__partition;

typedef struct mr__lane {
    mr_emitter emitter;         /* first: mr__emit_flush() gets its address */
    struct mr__job *job;
    uint32_t index;
    mr__error error;            /* of a failed emit, until map returns */
    mr__combine_buffer combine; /* while it maps; reduce tasks of all lanes read it then */
    mr__combine_buffer table;   /* of the partition that it reduces; kept from one to the next */
    mr__array_buffer array;
    mr__reader *reader;
    mr__spill_writer *spill_writer;
    uint64_t *hashes;           /* [MR_BATCH] */
    uint8_t *scratch;
    size_t scratch_size;
    uint8_t *columns;           /* of the block being mapped */
    size_t columns_size;
    struct mr__reserved {       /* by mr_emit_reserve(), not committed; chunk NULL: nothing */
        mr__chunk *chunk;
        uint64_t first_key;
    } reserved;
    mr__arena dense_blocks;     /* f64 results of single blocks, until they are folded in order */
    struct mr__lane_epoch {     /* one of many ranks: the tasks whose pairs left the lane since its last whole flush */
        bool open;
        uint32_t number;
        uint32_t first, last;   /* partitions whose pairs are wanted; all on one rank */
        mr__cover input;
        uint64_t bytes;         /* of chunks that left */
        uint64_t ns, began_ns;  /* processor time of its tasks; of the thread when this one began */
        bool kept;              /* the combine buffer has pairs that were flushed, and stay */
        _Atomic bool *in_place; /* [partitions]: a reduce task reads the combine buffer's pairs of it; NULL: of none */
        bool copies;            /* a flush of pairs that stay is under way: */
        mr__cell_cursor chunk_from, next;   /* the first pair of the open chunk, and the one that is to be copied */
    } epoch;
    uint64_t pairs, rows;
    bool ready, sampling;
    bool compares;              /* the sums of a block stay in emitter.dense (device_verify.c) */
    uint64_t *fingerprint;      /* pairs are not kept but added to it (device_verify.c); NULL: as usual */
    mr__arena sample_arena;
    mr__pair *samples;
    size_t sample_count, sample_room;
    size_t sample_bytes;        /* of the probe under way */
    uint64_t sample_reserved;   /* from the budget, for samples that alone are large */
    struct mr__refs_memory {    /* for sorting, kept between partitions */
        mr__ref *refs;          /* 2 * room: the references, and scratch space behind them */
        size_t room, bytes;
        uint64_t reserved;      /* of the budget */
    } sort, resort;             /* of a sorter, and of one that takes what another gives out */
} mr__lane;

/* Tables of blocks that memory has no room for (dense.c). */
typedef struct mr__dense_spill {
    pthread_mutex_t mutex;      /* for the writer */
    mr__spill *spill;           /* of this round; NULL: nothing was spilled */
    mr__spill_writer *writer;
    mr__extent *extents;        /* of each block, [blocks * pieces of a table]; pages are touched as they are used */
    _Atomic uint64_t bytes;     /* in all rounds */
} mr__dense_spill;

typedef struct mr__job {
    mr_session *session;
    const mr_job *request;
    const mr_app *app;
    const char *app_name;
    mr_dataset *dataset;
    mr_plan plan;
    struct mr__plan_private *plan_private;
    uint64_t columns_hash;
    /* what the plan came to */
    bool dense, dense_f64, combines, reduces, by_range;
    bool ordered;                   /* no combine, and reduce or the output wants pairs in an order: they can be
                                     * sorted early */
    bool collect;                   /* results go to runs (to be sorted, or kept in memory), not straight to parts */
    bool sorts;                     /* ... and from there, merged in order, to parts */
    uint32_t dense_width;
    mr__pair_layout layout;         /* of shuffled pairs */
    mr__pair_layout result_layout;  /* of results: text after a reduce */
    mr__order order;                /* by key, for grouping */
    bool keeps_keys;                /* pairs of one key meet again, to be combined or reduced */
    mr__order range_order;          /* of range partitions; a key that is kept lies in one: values and suffix are cut */
    mr__order result_order;         /* of the sorted output */
    mr__combine_rule rule;
    uint32_t partitions, partition_bits, parts, reduce_tasks;
    const uint32_t *reduce_list;    /* [reduce_tasks]: the parts (or partitions) to be reduced; NULL: all, in order */
    size_t window;
    mr_sort sort;
    uint64_t limit;
    bool pipelined;
    _Atomic bool tables_full;       /* a partition's table was at its cap: what comes now waits or is spilled */
    _Atomic uint64_t sorted_bytes;  /* of runs that were made in memory while maps ran */
    /* memory */
    mr__budget budget;
    uint64_t lane_cap, table_cap, reduce_cap;
    uint64_t headroom;              /* kept from the shuffle, so that tables can grow when the reduce begins */
    uint64_t refs_share;            /* bytes of references to sort by that each sorting lane is sure of */
    mr__chunk_pool pool;
    /* input */
    mr__read_choice read;
    uint64_t *block_starts;         /* records: first block of each source; [sources + 1] */
    uint64_t *row_starts;           /* records: first row of each source; [sources + 1] */
    uint64_t blocks;
    size_t block_rows;
    uint64_t schedule_total, smallest_task, largest_task;   /* bytes, or blocks */
    mr_row_fn row_function;         /* of the current vector level, or NULL */
    double **dense_results;         /* [blocks], f64: sums that wait, in memory or in the spill (dense.c) */
    bool folds_early;               /* in the order of blocks, while others are mapped: one rank */
    pthread_mutex_t fold_mutex;     /* for dense_results and the next five, while workers run */
    bool folding;                   /* a worker adds to the folded result now, and looks for more */
    uint64_t next_fold;             /* blocks before it are in the folded result */
    double *spare_tables;           /* that no block has, linked by their first eight bytes */
    uint64_t tables_kept;           /* of blocks, in memory; */
    uint64_t tables_reserved;       /* ... the budget has so many, with one for each worker */
    mr__dense_spill dense_spill;
    uint64_t sums_window;           /* bytes of other ranks' sums that may wait here to be folded */
    /* running */
    uint32_t worker_count;          /* CPU workers first, then devices */
    uint32_t cpu_workers;
    char worker_note[384];          /* what limits CPU workers: the topology's note, and the memory limit */
    mr__devices devices;
    mr__worker *workers;
    mr__lane *lanes;
    mr__exchange *exchange;
    uint32_t ranks, working;        /* that do this job together; ranks from `working` on are spares */
    mr__joint *joint;               /* NULL: this rank does it alone */
    mr__partition *partition;
    mr__spill *spill;               /* made when first needed */
    pthread_mutex_t spill_mutex;
    mr__schedule schedule;
    mr__pair *splitters;            /* by_range: [partitions - 1]; later of the sorted output: [parts - 1] */
    uint64_t *splitter_prefixes;
    uint32_t splitter_count;
    mr__arena arena;
    void *dense_table;              /* folded result */
    mr__output *output;
    _Atomic uint64_t keys, output_bytes, mapped;
    _Atomic uint32_t round;
    mr__trace *trace;
    mr_stats stats;
    char run[MR__RUN_ID_SIZE];
    char record_path[MR__PATH_MAX];
    uint64_t started_ns;
    mr__error *error;
} mr__job;

/* Lanes that sort: those of devices leave it to CPU workers, if there are any. */
static inline uint32_t mr__job_sorters(const mr__job *job)
{
    return job->cpu_workers > 0 ? job->cpu_workers : job->worker_count;
}

/* In a table of sums over dense keys; 8 bytes each. */
static inline size_t mr__dense_values(const mr__job *job)
{
    return (size_t)job->plan.dense_keys * job->dense_width;
}

/* Such a table as it lies in memory. */
static inline uint64_t mr__dense_table_bytes(const mr__job *job)
{
    const uint64_t bytes = mr__dense_values(job) * 8, last = MR__DENSE_ALIGNMENT - 1;
    return (bytes + last) & ~last;
}

/* While no thread of the job makes its spill, or with spill_mutex held. */
static inline uint64_t mr__job_spilled(const mr__job *job)
{
    return (job->spill != NULL ? mr__spill_bytes(job->spill) : 0) +
           atomic_load_explicit(&job->dense_spill.bytes, memory_order_relaxed);
}

static inline bool mr__cancelled(const mr__job *job)
{
    return atomic_load_explicit(&job->session->cancelled, memory_order_relaxed);
}

/* For a task: nobody wants what it does any more. With which words it ends matters only if the job was cancelled, as
 * the schedule keeps the first failure. */
static inline bool mr__stopped(const mr__job *job)
{
    return mr__cancelled(job) || mr__schedule_failed(&job->schedule);
}

/* dataset.c: do the blocks that lie in memory stay there? Not if this job wants them in another layout. */
bool mr__pinned_stays(const mr__job *job);
/* Drops those that do not stay, and makes room for the job's if it pins. Without address space for all of them (ulimit
 * -v, vm.overcommit_memory=2) none is pinned. */
void mr__pinned_prepare(mr__job *job);
/* Who works, as far as the session and the devices say. */
mr_status mr__job_choose_workers(mr__job *job, mr__error *error);
/* plan.c. Changes nothing but the job: mr_explain() plans too. CPU workers whose number nobody gave yield to the memory
 * limit. */
mr_status mr__job_plan(mr__job *job, mr__error *error);
void mr__job_plan_fini(mr__job *job);
/* plan_memory.c. Budget, partitions and parts, once pairs and rows are laid out. */
mr_status mr__job_share_memory(mr__job *job, mr__error *error);
/* What follows from the job's partitions and parts; before anything is made of them. */
void mr__job_divide(mr__job *job);
/* emitter.c */
mr_status mr__lane_begin(mr__worker *worker, mr__error *error);
void mr__lane_fini(mr__lane *lane);
/* Gives back what mr_emit_reserve() handed out, if it was not committed. */
void mr__emit_unreserve(mr__lane *lane);
mr_status mr__lane_flush_combine(mr__lane *lane, mr__error *error);
/* epoch.c: around each map task whose pairs the lane takes. begin: may close the epoch that is open. */
mr_status mr__epoch_begin_task(mr__lane *lane, const mr__task *task, mr__error *error);
mr_status mr__epoch_end_task(mr__lane *lane, const mr__task *task, mr__error *error);
/* What the lane mapped so far is an epoch: its buffers are emptied, but for what may stay in place unless it maps
 * on. */
mr_status mr__epoch_close(mr__lane *lane, bool maps_on, mr__error *error);
/* Takes the first `count` pairs of the emitter's staging batch into the lane's buffers. values: NULL: each counts 1. */
mr_status mr__lane_take(mr__lane *lane, const uint8_t *values, uint32_t value_size, uint32_t count, mr__error *error);
/* map.c, map_rows.c */
mr_status mr__map_task(mr__task *task, mr__worker *worker, mr__error *error);
size_t mr__pinned_stride(const mr__job *job);
/* The bytes of a source, which begins before the task's end, that are the task's. false: none. */
bool mr__task_in_source(const mr__task *task, const mr__source *source, uint64_t *begin, uint64_t *end);
/* The file that a block of rows lies in; how many rows the blocks before it have. */
uint32_t mr__source_of_block(const mr__job *job, uint64_t block);
uint64_t mr__rows_before(const mr__job *job, uint64_t block);
mr_status mr__map_rows(mr__job *job, mr__lane *lane, const mr__task *task, mr__error *error);
mr_status mr__map_block(mr__job *job, mr__lane *lane, const mr_block *block, mr__error *error);
/* sample.c */
/* Takes a staged batch as a sample, while the lane is sampling. */
mr_status mr__sample_keep(mr__lane *lane, uint32_t count, mr__error *error);
mr_status mr__sample_splitters(mr__job *job, mr__error *error);
uint32_t mr__range_partition(const mr__job *job, const mr__pair *pair);
/* Chooses up to ranges - 1 splitters from samples (which it sorts) into job->splitters. */
mr_status mr__splitters_from(mr__job *job, const mr__order *order, mr__pair *samples, size_t count, uint32_t ranges,
                             mr__error *error);
/* shuffle.c */
mr_status mr__shuffle_full(void *lane, mr__chunk *chunk, mr__error *error);
mr_status mr__shuffle_need_room(void *lane, mr__error *error);
mr_status mr__merge_task(mr__task *task, mr__worker *worker, mr__error *error);
mr_status mr__flush_task(mr__task *task, mr__worker *worker, mr__error *error);
/* So much waits for a partition now: is it worth a merge while maps still run? */
void mr__shuffle_waits(mr__job *job, uint32_t partition, uint64_t waiting);
mr_status mr__lane_spill_writer(mr__lane *lane, mr__spill_writer **writer, mr__error *error);
/* Pairs of the partition that lie in the spill; its writer was flushed, or will be before the partition is reduced. Any
 * thread. */
mr_status mr__partition_note_extent(mr__partition *partition, const mr__extent *extent, mr__error *error);
/* Adds the pairs in [at, end) to a table; *stopped: the first that it did not accept, or end. */
void mr__partition_table_init(mr__job *job, mr__combine_buffer *table, uint64_t cap);
mr_status mr__table_add(mr__combine_buffer *table, const uint8_t *at, const uint8_t *end, const uint8_t **stopped,
                        mr__error *error);
/* reduce.c */
mr_status mr__reduce_task(mr__task *task, mr__worker *worker, mr__error *error);
/* sort.c */
mr_status mr__sort_begin(mr__job *job, mr__error *error);
mr_status mr__sort_task(mr__task *task, mr__worker *worker, mr__error *error);
/* dense.c */
/* The table of the result, job->dense_table, is there from then on. */
mr_status mr__dense_make_table(mr__job *job, mr__error *error);
/* Before the maps of each round of one rank. */
mr_status mr__dense_begin(mr__job *job, mr__error *error);
/* No block has sums any more: a round is over. */
void mr__dense_forget(mr__job *job);
void mr__dense_fini(mr__job *job);
/* The memory for a block's sums, cleared; to be handed over by mr__dense_give(), which may spill them, or fold what is
 * ready. Any worker, with its own lane. */
mr_status mr__dense_take(mr__job *job, mr__lane *lane, double **table, mr__error *error);
mr_status mr__dense_give(mr__job *job, uint64_t block, double *table, mr__error *error);
/* A block's sums, a stretch after the other: values [first, first + count). */
typedef mr_status mr__dense_look(void *context, const double *values, size_t first, size_t count, mr__error *error);
mr_status mr__dense_look_at(mr__job *job, uint64_t block, mr__dense_look *look, void *context, mr__error *error);
/* sum[i] += values[i]: floating or integers, as the job's are. */
void mr__dense_add(const mr__job *job, void *sum, const void *values, size_t count);
/* The workers' own sums are added to `sum`, which may be one of theirs, and the others cleared. */
void mr__dense_add_lanes(mr__job *job, void *sum);
mr_status mr__dense_fold(mr__job *job, mr__error *error);
mr_status mr__dense_round(mr__job *job, uint32_t index, bool *again, mr__error *error);
mr_status mr__dense_result(mr__job *job, mr__lane *lane, mr__error *error);
/* job.c */
mr_status mr__job_spill(mr__job *job, mr__error *error);
/* Runs the stages of the schedule, until it ends. */
mr_status mr__job_run_team(mr__job *job, mr__error *error);
/* Of a job that has session, request and ranks. Then mr__job_fini(), after a failure too. */
mr_status mr__job_init(mr__job *job, mr__error *error);
void mr__job_fini(mr__job *job);
/* result.c: room for the result of a job, before anything of it is visible; then take() cannot fail. It takes what the
 * job holds of results. */
mr_status mr__result_create(mr__job *job, mr_result **result, mr__error *error);
void mr__result_take(mr_result *result, mr__job *job);

#endif
