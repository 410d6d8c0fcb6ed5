/* cmd_sbatch.c: millrace sbatch: `run` with the same arguments, later, on the nodes of a cluster.
 * The script goes to sbatch through its standard input, so nothing is left in the user's folder. */
#include <millrace/millrace.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch_script.h"
#include "cli.h"
#include "launch_ranks.h"
#include "memory.h"
#include "show.h"

enum { ANSWER_SIZE = 256, NOT_RUN = 127 };

__attribute__((noreturn)) static void become_sbatch(int script, int answer)
{
    dup2(script, STDIN_FILENO);
    dup2(answer, STDOUT_FILENO);
    execlp("sbatch", "sbatch", "--parsable", (char *)NULL);
    _exit(NOT_RUN);
}

/* answer: what sbatch printed, "JOB" or "JOB;CLUSTER". */
static mr_status submit(const char *text, char answer[ANSWER_SIZE], mr__error *error)
{
    mr_status status = MR_OK;
    int pipes[2] = {-1, -1}, how = 0;
    size_t used = 0;
    const size_t size = strlen(text);
    const int script = memfd_create("millrace-sbatch", MFD_CLOEXEC);
    MR_CHECK(script >= 0 && pipe2(pipes, O_CLOEXEC) == 0, MR_NO_MEMORY, "could not start sbatch: %s", strerror(errno));
    for (size_t done = 0; done < size;) {
        const ssize_t written = write(script, text + done, size - done);
        MR_CHECK(written > 0, MR_NO_MEMORY, "could not hand the script to sbatch: %s", strerror(errno));
        done += (size_t)written;
    }
    lseek(script, 0, SEEK_SET);
    const pid_t child = fork();
    MR_CHECK(child >= 0, MR_NO_MEMORY, "could not start sbatch: %s", strerror(errno));
    if (child == 0)
        become_sbatch(script, pipes[1]);
    close(pipes[1]);
    pipes[1] = -1;
    for (ssize_t got; (got = read(pipes[0], answer + used, ANSWER_SIZE - 1 - used)) > 0;)
        used += (size_t)got;
    answer[used] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        continue;
    MR_CHECK(!WIFEXITED(how) || WEXITSTATUS(how) != NOT_RUN, MR_NO_WORKER,
             "sbatch is not installed here\n  hint: run this on a cluster's login node, or see the script with "
             "--dry-run");
    MR_CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0, MR_BAD_USAGE,
             "sbatch did not take the job; its reason stands above\n  hint: --dry-run shows the script");
done:
    for (int i = 0; i < 2; i++) {
        if (pipes[i] >= 0)
            close(pipes[i]);
    }
    if (script >= 0)
        close(script);
    return status;
}

static void print_job(const cli_batch *batch, const char *answer)
{
    const int length = (int)strcspn(answer, ";");
    if (batch->job.json) {
        json_t *root = json_object();
        json_object_set_new(root, "job", json_stringn(answer, (size_t)length));
        json_object_set_new(root, "output", cli_json_text(batch->job.output));
        json_dumpf(root, stdout, 0);
        putchar('\n');
        json_decref(root);
    } else {
        printf("%.*s\n", length, answer);
    }
}

static mr_status check(const cli_batch *batch, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(operands->count > 0, MR_BAD_USAGE, "no app is named\n  hint: `millrace apps` lists them");
    MR_CHECK(batch->job.output != NULL, MR_BAD_USAGE, "no output is named\n  hint: add -o DIR, a directory to be made");
    for (size_t i = 1; i < operands->count; i++)
        MR_CHECK(strcmp(operands->text[i], "-") != 0, MR_BAD_USAGE,
                 "a batch job has no standard input\n  hint: put it into a file, which all nodes can read");
done:
    return status;
}

static mr_status run(const void *settings, const cli_operands *operands, mr__error *error)
{
    const cli_batch *batch = settings;
    mr_status status = MR_OK;
    char *text = NULL, answer[ANSWER_SIZE];
    MR_TRY(check(batch, operands, error));
    MR_TRY(cli_batch_script(batch, operands, &text, error));
    if (batch->dry_run) {
        fputs(text, stdout);
    } else {
        MR_TRY(submit(text, answer, error));
        print_job(batch, answer);
    }
done:
    mr__free(text);
    return status;
}

static const cli_option options[] = {
    {"nodes", 'N', CLI_COUNT, offsetof(cli_batch, nodes), "N", "how many nodes (default: 1)", 1, CLI_BATCH_NODES_MOST},
    {"ranks-per-node", 0, CLI_COUNT, offsetof(cli_batch, ranks_per_node), "N",
     "ranks that share a node (default: 1)", 1, CLI_RANKS_MOST},
    {"spares", 0, CLI_COUNT, offsetof(cli_batch, job.spares), "N",
     "ranks beside those of --nodes, on nodes of their\nown, each of which takes the place of one that\nis lost "
     "(default: 0)", 0, CLI_RANKS_MOST},
    {"cpus-per-node", 0, CLI_COUNT, offsetof(cli_batch, cpus_per_node), "N",
     "CPUs of each node (default: whole nodes)", 1,
     CLI_BATCH_CPUS_MOST},
    {"memory-per-node", 0, CLI_SIZE, offsetof(cli_batch, memory_per_node), "SIZE",
     "memory of each node (default: all of whole\nnodes, else what the site gives)", 1 << 20, 1e18},
    {"devices", 0, CLI_TEXT, offsetof(cli_batch, devices), "GRES", "what each node must have, such as gpu:2", 0, 0},
    {"and", 0, CLI_TEXT, offsetof(cli_batch, more), "NODES",
     "and nodes of another kind, such as\n'nodes=4 partition=gpu devices=gpu:1'", 0, 0},
    {"time", 't', CLI_TEXT, offsetof(cli_batch, time), "TIME", "limit, such as 90, 1:30:00 or 2-0", 0, 0},
    {"partition", 0, CLI_TEXT, offsetof(cli_batch, partition), "NAME", "the partition", 0, 0},
    {"account", 'A', CLI_TEXT, offsetof(cli_batch, account), "NAME", "who is charged", 0, 0},
    {"name", 'J', CLI_TEXT, offsetof(cli_batch, name), "NAME", "of the job (default: the app's)", 0, 0},
    {"requeue", 0, CLI_SWITCH, offsetof(cli_batch, requeue), NULL,
     "submit it again if Slurm has to end it, for\nits first node is lost", 0, 0},
    {"dry-run", 'n', CLI_SWITCH, offsetof(cli_batch, dry_run), NULL, "print the script, and submit nothing", 0, 0},
    CLI_OUTPUT_OPTIONS, CLI_JOB_OPTIONS, CLI_PRINT_OPTIONS,
};
static const cli_batch presets = {.nodes = 1, .ranks_per_node = 1};

const cli_command cli_sbatch = {
    .name = "sbatch", .summary = "Run an app on the nodes of a cluster, by Slurm",
    .usage = "APP [INPUT...] -o DIR [OPTION...] [NAME=VALUE...]",
    .details = "APP, INPUT, NAME=VALUE and the options from --output on are those of `millrace run`; --memory and\n"
               "--workers are of a node, and --burst is made on each node. Prints the number of the job.\n"
               "\n"
               "  millrace sbatch wordcount /data/books -o counts --nodes 16 --time 30 --burst /local/scratch\n"
               "\n"
               "--and takes words with the names of options (nodes, devices, partition, cpus-per-node,\n"
               "memory-per-node); a word ':' begins one more kind. All nodes do one job together.\n"
               "\n"
               "docs/cluster.md tells more: what is needed, where output goes, what happens when a node is lost.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(cli_batch), .presets = &presets,
    .run = run,
};
