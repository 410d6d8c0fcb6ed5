/* job.h: sessions, datasets, jobs and results.
 *
 *     mr_session *session;
 *     mr_dataset *text;
 *     mr_result *counts;
 *     if (mr_session_open(NULL, &session) != MR_OK) ...
 *     mr_dataset_open(session, (const char *[]){"/data/books"}, 1, &text);
 *     mr_status status = mr_run(session, &(mr_job){.app = &mr_app_wordcount, .dataset = text, .output = "out"},
 *                               &counts);
 *     if (status != MR_OK) fprintf(stderr, "%s\n", mr_error(session));
 *
 * Thread safety: one thread at a time per session, but mr_session_cancel() from any thread or signal handler. */
#ifndef MILLRACE_JOB_H
#define MILLRACE_JOB_H

#include <millrace/app.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mr_session mr_session;
typedef struct mr_dataset mr_dataset;
typedef struct mr_result mr_result;

typedef struct mr_session_options {
    uint64_t memory;        /* bytes that the process may use (its resident set); 0: 70 % of what is free, cgroup
                             * kept */
    uint32_t workers;       /* CPU workers; 0: one per core that the cpuset and the cgroup quota allow, fewer where the
                             * memory limit does not carry so many (10 MiB each) */
    const char *worker_spec;    /* "cpu=2,device=all", "cpu=0,device=pocl-0:2", "device=none"; docs/devices.md. NULL:
                             * $MILLRACE_WORKERS, else `workers` and every GPU and accelerator. What it says of CPU
                             * workers goes before `workers`. */
    const char *burst;      /* directory for spilled runs; NULL: $MILLRACE_BURST, else $TMPDIR, else /var/tmp */
    const char *records;    /* directory for run records; NULL: $MILLRACE_RECORDS, else $XDG_STATE_HOME/millrace,
                             * else ~/.local/state/millrace; "": keep none */
} mr_session_options;

/* Opens a session. options: NULL for all defaults; copied. *session: yours, mr_session_close() takes it back.
 * In a process that a launcher started it waits for the other ranks. Cost: reads the machine's topology (about 10 ms).
 * Errors: MR_NO_MEMORY, MR_BAD_USAGE (an option, or MILLRACE_SIMD names a level that this machine lacks, or the
 * launcher does not fit), MR_NO_WORKER, MR_NETWORK_FAILED. On failure *session is NULL and mr_error(NULL) has the
 * sentence (per thread). */
MR_API mr_status mr_session_open(const mr_session_options *options, mr_session **session);
/* Ends it: removes what it left in the burst directory. Takes NULL. Results and datasets must be closed before. */
MR_API void mr_session_close(mr_session *session);
/* The sentence of the session's last failed call; "" if none failed. May hold a second line "hint: ...". Valid until
 * the next call on the session. NULL: of this thread's last failed mr_session_open(). */
MR_API const char *mr_error(const mr_session *session);
/* Asks the running job to stop, or mr_dataset_open() to stop reading a pipe; the call then returns MR_CANCELLED and
 * leaves nothing. Before mr_run() it is forgotten, before mr_dataset_open() it holds. Async-signal-safe. */
MR_API void mr_session_cancel(mr_session *session);
/* Which of the job's ranks this process is, and how many there are: 0 of 1, unless a launcher (mpiexec.mpich, srun
 * --mpi=pmi2) started several. Each rank runs the same program: the same jobs in the same order. Spares are ranks, too:
 * with $MILLRACE_SPARES the highest ones own nothing until another rank is lost. */
MR_API uint32_t mr_session_rank(const mr_session *session);
MR_API uint32_t mr_session_ranks(const mr_session *session);
/* Is this the rank that talks to the user? It is the lowest one that was not lost, so at any time one of them. All
 * ranks get the same status from mr_run(), and the others may stay silent. Any thread may ask, also while mr_run()
 * runs. */
MR_API bool mr_session_speaks(const mr_session *session);
/* The version of the library, "0.1.0". */
MR_API const char *mr_version(void);

/* Opens input: files, directories (walked, in byte order of the paths; entries that begin with '.' too; links to files
 * are followed, links to directories are not), glob patterns, named pipes, or "-" for standard input. Pipes, and
 * files below /proc that are named themselves, are copied into the burst directory. A path below /memory or /burst is
 * one of the session's (docs/storage.md) unless the host has a directory of that name. A file found twice is read
 * twice. Cost: one stat per file. Errors: MR_BAD_INPUT (missing, no permission, empty match), MR_NO_MEMORY; of a pipe
 * MR_NO_SPACE, MR_IO_FAILED, MR_CANCELLED. */
MR_API mr_status mr_dataset_open(mr_session *session, const char *const *paths, size_t count, mr_dataset **dataset);
MR_API void mr_dataset_close(mr_dataset *dataset);
/* From the next job on keep the blocks of this dataset of records in memory (as columns, where the app wants columns),
 * so that later jobs with the same layout do not read it again. Jobs with round() do so by themselves. Blocks for which
 * the memory limit has no room are read again each time, and so are all where the address space (ulimit -v) does not
 * hold the dataset. Text and files are left to the page cache. */
MR_API void mr_dataset_pin(mr_dataset *dataset);
MR_API uint64_t mr_dataset_bytes(const mr_dataset *dataset);
MR_API uint32_t mr_dataset_sources(const mr_dataset *dataset);
MR_API const char *mr_dataset_source_name(const mr_dataset *dataset, uint32_t index);

/* Loads an app: a name ("wordcount": $MILLRACE_APPS, then the installation's apps folder) or the path of a shared
 * object (with a '/'). The handle stays valid until the session is closed. Errors: MR_BAD_APP. */
MR_API mr_status mr_app_load(mr_session *session, const char *name, const mr_app_handle **app);

typedef struct mr_progress {
    const char *stage;      /* "map", "reduce", "sort", "commit" */
    uint32_t round;
    uint64_t done, total;   /* bytes of input (map), partitions (later stages), rows (ranges) */
    double seconds;         /* since the job began */
    double rate;            /* bytes (rows) per second, smoothed */
    double eta_seconds;     /* of this stage; negative: unknown */
    uint64_t memory_bytes, spilled_bytes;
} mr_progress;

typedef struct mr_job {
    const mr_app_handle *app;
    mr_dataset *dataset;            /* NULL for MR_INPUT_RANGE */
    const char *const *params;      /* "name=value", param_count of them */
    uint32_t param_count;
    const char *output;             /* directory to be made; NULL: the result stays in memory, for mr_result_next() */
    mr_sort sort;                   /* MR_SORT_NONE: the app's own order */
    bool force;                     /* replace an output that exists, when the job has succeeded */
    uint32_t parts;                 /* output parts; 0: the engine chooses */
    void (*progress)(const mr_progress *progress, void *context);  /* NULL, or called about 10 times a second */
    void *progress_context;
    uint32_t ranks;                 /* only for mr_explain(): the job of so many on this machine; 0: of the session's */
} mr_job;

typedef struct mr_stage_stats {
    const char *name;
    double seconds;
    uint64_t tasks;
    uint64_t bytes;
} mr_stage_stats;

enum { MR_STAGES_MAX = 8 };

typedef struct mr_stats {
    double seconds;
    uint64_t input_bytes, rows;
    uint64_t pairs;             /* emitted */
    uint64_t keys;              /* distinct, or records in the result */
    uint64_t output_bytes;
    uint64_t peak_rss_bytes;    /* of the rank that needed most */
    uint64_t spilled_bytes;
    uint32_t workers, rounds, partitions, parts;    /* workers: CPU workers of this rank */
    uint32_t ranks, ranks_lost; /* that began the job, and those of them that did not see its end */
    uint32_t spares, spares_used;   /* of `ranks`: those that stood by ($MILLRACE_SPARES), and those of them that took
                                 * the place of a rank that was lost */
    uint32_t devices;           /* that took part */
    uint64_t device_tasks;      /* map tasks that devices did */
    uint32_t device_failures;   /* their tasks ran elsewhere */
    const char *simd;           /* "scalar", "sse2", "avx2", "avx512", "neon" */
    const char *read_path;      /* "pread", "mmap", "io_uring", "memory" */
    const char *record;         /* path of the run's record, "" if none is kept */
    const char *run;            /* its identifier */
    uint32_t stage_count;
    mr_stage_stats stages[MR_STAGES_MAX];
} mr_stats;

/* Runs a job to its end. *result: yours (mr_result_close); NULL may be passed when only the output matters.
 * Output: job->output/part-NNNNN and _SUCCESS; nothing with that name exists unless the whole job succeeded.
 * Errors: those of MR_STATUS_MAP; a failed call leaves no output, and the old one in place with `force`. */
MR_API mr_status mr_run(mr_session *session, const mr_job *job, mr_result **result);
/* What mr_run would do and why, as text for a person; *text: free() it. Of the input it reads what the app's plan()
 * reads; as mr_run does, it looks for devices and measures how fast files are read, and keeps both in the cache. */
MR_API mr_status mr_explain(mr_session *session, const mr_job *job, char **text);

/* What the run did and how long it took. Valid until the result is closed. */
MR_API const mr_stats *mr_result_stats(const mr_result *result);
/* Walks a result that stayed in memory, in its order. value: the bytes of the value; for a job with reduce the text
 * that reduce wrote. Valid until the next call. false at the end, and when spilled pairs could not be read back:
 * mr_error() of the session, which is "" after a job that succeeded, then has the sentence. */
MR_API bool mr_result_next(mr_result *result, mr_slice *key, mr_slice *value);
MR_API void mr_result_rewind(mr_result *result);
MR_API void mr_result_close(mr_result *result);

#ifdef __cplusplus
}
#endif
#endif
