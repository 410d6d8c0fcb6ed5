/* job_options.h: what `run` and `explain` have in common: their options, their operands, and the job made of them.
 * Owner     cli_job_open() fills `job`; cli_job_close() takes it back, also after a failure. Texts are argv's.
 * Order     Between cli_job_open() and cli_job_open_input(), which may wait for who writes a pipe, the caller can make
 *           the session known to those who cancel it. */
#ifndef MR__JOB_OPTIONS_H
#define MR__JOB_OPTIONS_H

#include <millrace/millrace.h>

#include "cli.h"

enum { CLI_RANKS_MOST = 1024 };

typedef struct cli_job_settings {
    uint64_t memory, parts, ranks, spares;
    const char *workers, *burst, *output;
    uint32_t sort;              /* mr_sort */
    bool force, json, quiet;
} cli_job_settings;

#define CLI_JOB_OPTIONS                                                                                                \
    {"memory", 'm', CLI_SIZE, offsetof(cli_job_settings, memory), "SIZE",                                              \
     "the resident memory to stay below\n(default: 70 % of what is free)", 1 << 20, 1e18},                             \
    {"workers", 'w', CLI_TEXT, offsetof(cli_job_settings, workers), "SPEC",                                            \
     "N CPU workers, or cpu=N,device=all|none|ID[:M],...\n(default: one a core, and every GPU)", 0, 0},                \
    {"sort", 's', CLI_CHOICE, offsetof(cli_job_settings, sort), "none|key|value",                                      \
     "order of the result (none: the app's own)", 0, 0},                                                               \
    {"parts", 'p', CLI_COUNT, offsetof(cli_job_settings, parts), "N",                                                  \
     "files in the output (default: as many as pay)", 1, 99999},                                                       \
    {"burst", 0, CLI_TEXT, offsetof(cli_job_settings, burst), "DIR",                                                   \
     "where to spill (default: $MILLRACE_BURST,\n$TMPDIR, /var/tmp)", 0, 0}
/* Of `run` and `sbatch`. */
#define CLI_OUTPUT_OPTIONS                                                                                             \
    {"output", 'o', CLI_TEXT, offsetof(cli_job_settings, output), "DIR",                                               \
     "the result: DIR/part-NNNNN and DIR/_SUCCESS;\nmust not exist", 0, 0},                                            \
    {"force", 'f', CLI_SWITCH, offsetof(cli_job_settings, force), NULL,                                                \
     "replace an output that exists, once the job\nhas succeeded", 0, 0}
#define CLI_PRINT_OPTIONS                                                                                              \
    {"json", 'j', CLI_SWITCH, offsetof(cli_job_settings, json), NULL, "one JSON object on standard output", 0, 0},     \
    {"quiet", 'q', CLI_SWITCH, offsetof(cli_job_settings, quiet), NULL, "no progress, no summary", 0, 0}
/* Of `run` and `explain`. */
#define CLI_RANKS_OPTIONS                                                                                              \
    {"ranks", 'r', CLI_COUNT, offsetof(cli_job_settings, ranks), "N",                                                  \
     "processes that share this machine and survive\neach other (default: 1); see docs/cluster.md", 1,                 \
     CLI_RANKS_MOST},                                                                                                  \
    {"spares", 0, CLI_COUNT, offsetof(cli_job_settings, spares), "N",                                                  \
     "processes beside those of --ranks, each of which\ntakes the place of one that is lost (default: 0)", 0,          \
     CLI_RANKS_MOST}

typedef struct cli_job {
    mr_session *session;
    mr_dataset *dataset;
    const char **inputs, **params;      /* the operands: files and such, and those that are name=value */
    mr_job job;
    const char *app_name;
    size_t input_count;
} cli_job;

/* The first operand that can be read only once: "standard input" (-), or a named pipe, also as /dev/stdin or /dev/fd/N.
 * NULL: there is none. */
const char *cli_job_find_pipe(const cli_job_settings *settings, const cli_operands *operands);
/* --ranks and --spares, where this process is to start them. */
mr_status cli_job_check_spares(const cli_job_settings *settings, mr__error *error);
mr_status cli_job_open(cli_job *job, const cli_job_settings *settings, const cli_operands *operands, mr__error *error);
mr_status cli_job_open_input(cli_job *job, mr__error *error);
void cli_job_close(cli_job *job);
/* The session's sentence becomes the command's. */
mr_status cli_job_fail(const cli_job *job, mr_status status, mr__error *error);

#endif
