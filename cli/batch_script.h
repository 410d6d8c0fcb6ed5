/* batch_script.h: a job of many ranks as a script for Slurm's sbatch.
 * Promise   The script runs as it is on any site with Slurm, MPICH, bash and this installation on every node. What the
 *           user gave reaches the ranks byte for byte.
 * Owner     *text: the caller's, mr__free().
 * Failure   MR_BAD_USAGE: a value cannot stand in a line for sbatch. MR_NO_MEMORY, MR_NO_WORKER (no millrace-guard). */
#ifndef MR__BATCH_SCRIPT_H
#define MR__BATCH_SCRIPT_H

#include "job_options.h"

enum { CLI_BATCH_NODES_MOST = 65536, CLI_BATCH_CPUS_MOST = 65536 };

typedef struct cli_batch {
    cli_job_settings job;           /* memory and workers: of a node */
    uint64_t nodes, ranks_per_node, cpus_per_node, memory_per_node;
    const char *time, *devices, *partition, *account, *name;
    const char *more;               /* further kinds of nodes, as --and has them; NULL: none */
    bool requeue, dry_run;
} cli_batch;

mr_status cli_batch_script(const cli_batch *batch, const cli_operands *operands, char **text, mr__error *error);

#endif
