/* batch_script.c: the text of a batch script, in three parts:
 *
 *   #SBATCH lines       what the job needs. Slurm reads them in its own way, without a shell, so a value there may have
 *                       plain characters only. Nodes of several kinds (--and) are the components of a heterogeneous
 *                       job: a block of lines for each, with `#SBATCH hetjob` between them.
 *   the ranks           one srun. Every word that came from the user stands in single quotes.
 *   the truth           srun's exit status is not the job's (rank.h). The script waits for srun, or from the verdict on
 *                       for GRACE: srun itself would wait for a rank that is stopped, and for a lost node until Slurm
 *                       takes it for down, which are minutes. When the script ends Slurm ends what is left.
 *
 * Why these words for srun (tried with Slurm 22.05): -K0 and --no-kill let a job go on without a rank or a node;
 * --mpi=pmi2 is how MPICH's ranks find each other; --cpu-bind=none because ranks bind their own workers, and Slurm
 * would bind a task for which no number of CPUs is given to a single one. With --het-group=0,1,... one srun starts all
 * components as one step, and pmi2 numbers its ranks through: one MPI job (tried with MPICH, with different numbers of
 * tasks on a node, and with the loss of a node of each component). A component has its own step, too, so what must run
 * once on each node is started component by component: --ntasks holds for each of them.
 * The verdict lies beside the output, which all nodes can write to. It is made before the ranks start, and opened anew
 * at each look: a network file system remembers for a while that a file was not there, but not what was in it. */
#include "batch_script.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "launch_ranks.h"
#include "memory.h"
#include "parse.h"
#include "places.h"
#include "rank.h"
#include "share.h"
#include "words.h"

#define NO_WORDS "--and: a kind of nodes has no words\n  hint: --and 'nodes=4 partition=gpu devices=gpu:1'"
#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const uint64_t MIB = 1 << 20;

static const char truth[] =
    "# The verdict of the ranks is what counts. srun may wait for a lost node until Slurm takes it for down.\n"
    "verdict() { sort -n -- \"$" CLI_RANK_VERDICT "\" 2>/dev/null | head -n 1; }\n"
    "while kill -0 \"$launcher\" 2>/dev/null && [ -z \"$(verdict)\" ]; do sleep 1; done\n"
    "for ((i = 0; i < 30; i++)); do kill -0 \"$launcher\" 2>/dev/null || break; sleep 1; done\n"
    "status=$(verdict)\n"
    "if [ -z \"$status\" ]; then\n"
    "    wait \"$launcher\"\n"
    "    echo \"millrace: no rank was left to say how the job ended; srun ended with status $?\" >&2\n"
    "    status=6\n"
    "fi\n"
    "exit $((status))\n";

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* 'word', with each ' inside as '\'' */
static void put_quoted(FILE *out, const char *word)
{
    fputc('\'', out);
    for (const char *at = word; *at != '\0'; at++) {
        if (*at == '\'')
            fputs("'\\''", out);
        else
            fputc(*at, out);
    }
    fputc('\'', out);
}

/* Quotes only where they are needed: people read these scripts. */
static void put_word(FILE *out, const char *word)
{
    static const char plain[] = LETTERS_AND_DIGITS "_./:,=+@%-";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0')
        fputs(word, out);
    else
        put_quoted(out, word);
}

static mr_status put_directive(FILE *out, const char *option, const char *name, const char *value, mr__error *error)
{
    static const char plain[] = LETTERS_AND_DIGITS "_./:,=+@%()*|&[]-";
    mr_status status = MR_OK;
    if (value == NULL)
        return MR_OK;
    MR_CHECK(value[0] != '\0' && value[strspn(value, plain)] == '\0', MR_BAD_USAGE,
             "--%s cannot be '%.60s': sbatch would not understand it\n  hint: use letters, digits and signs, no spaces",
             option, value);
    fprintf(out, "#SBATCH --%s=%s\n", name, value);
done:
    return status;
}

/* ---- kinds of nodes ---------------------------------------------------------------------------------------------- */

/* A component of the job. */
typedef struct kind {
    uint64_t nodes, cpus_per_node, memory_per_node;
    const char *devices, *partition;
} kind;

enum { KINDS_MOST = 16 };

typedef struct kinds {
    kind list[KINDS_MOST];
    size_t count;
    char *words;                /* what texts of the list lie in */
} kinds;

static mr_status read_number(const char *name, const char *value, mr__parsed (*parse)(const char *, uint64_t *),
                             uint64_t least, uint64_t most, uint64_t *field, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t number = 0;
    MR_CHECK(parse(value, &number) == MR__PARSED && number >= least && number <= most, MR_BAD_USAGE,
             "--and: %s cannot be '%.60s'\n  hint: it takes what --%s takes; words are apart by spaces", name, value,
             name);
    *field = number;
done:
    return status;
}

static mr_status read_word(char *word, kind *into, mr__error *error)
{
    mr_status status = MR_OK;
    char *value = strchr(word, '=');
    MR_CHECK(value != NULL && value > word && value[1] != '\0', MR_BAD_USAGE,
             "--and: '%.60s' is not a word like nodes=4", word);
    *value++ = '\0';
    if (strcmp(word, "nodes") == 0)
        MR_TRY(read_number(word, value, mr__parse_u64, 1, CLI_BATCH_NODES_MOST, &into->nodes, error));
    else if (strcmp(word, "cpus-per-node") == 0)
        MR_TRY(read_number(word, value, mr__parse_u64, 1, CLI_BATCH_CPUS_MOST, &into->cpus_per_node, error));
    else if (strcmp(word, "memory-per-node") == 0)
        MR_TRY(read_number(word, value, mr__parse_size, MIB, UINT64_MAX, &into->memory_per_node, error));
    else if (strcmp(word, "devices") == 0)
        into->devices = value;
    else if (strcmp(word, "partition") == 0)
        into->partition = value;
    else
        status = mr__fail(error, MR_BAD_USAGE, "--and has no word %.60s\n  hint: it has nodes, devices, partition, "
                                               "cpus-per-node and memory-per-node", word);
done:
    return status;
}

/* Slurm chooses the nodes of one component after the other: a first one that does not mind would be given the nodes
 * with devices, and the job would wait for ever. */
static void put_scarce_first(kinds *of)
{
    size_t front = 0;
    for (size_t i = 0; i < of->count; i++) {
        if (of->list[i].devices == NULL)
            continue;
        const kind moved = of->list[i];
        memmove(of->list + front + 1, of->list + front, (i - front) * sizeof moved);
        of->list[front++] = moved;
    }
}

/* The first kind is that of the options. What a later one does not name is as there, but for nodes and devices. */
static mr_status read_kinds(const cli_batch *batch, kinds *found, mr__error *error)
{
    mr_status status = MR_OK;
    const kind first = {batch->nodes, batch->cpus_per_node, batch->memory_per_node, batch->devices, batch->partition};
    char *rest = NULL;
    bool begins = true;
    found->list[found->count++] = first;
    if (batch->more == NULL)
        return MR_OK;
    found->words = mr__strdup(batch->more);
    MR_CHECK(found->words != NULL, MR_NO_MEMORY, "no memory for a batch script");
    for (char *word = strtok_r(found->words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, ":") == 0) {
            MR_CHECK(!begins, MR_BAD_USAGE, NO_WORDS);
            begins = true;
            continue;
        }
        if (begins) {
            MR_CHECK(found->count < KINDS_MOST, MR_BAD_USAGE, "--and: more than %d kinds of nodes", KINDS_MOST - 1);
            found->list[found->count] = first;
            found->list[found->count].nodes = 1;
            found->list[found->count++].devices = NULL;
            begins = false;
        }
        MR_TRY(read_word(word, &found->list[found->count - 1], error));
    }
    MR_CHECK(!begins, MR_BAD_USAGE, NO_WORDS);
    put_scarce_first(found);
done:
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void put_job_name(FILE *out, const char *app)
{
    static const char plain[] = LETTERS_AND_DIGITS "_.-";
    const char *slash = strrchr(app, '/');
    fputs("#SBATCH --job-name=", out);
    for (const char *at = slash != NULL ? slash + 1 : app; *at != '\0'; at++)
        fputc(strchr(plain, *at) != NULL ? *at : '_', out);
    fputc('\n', out);
}

/* Spares have nodes of their own: who would take the place of a rank is not to be lost with it. As many as these have
 * room for, so that all nodes are alike; of several kinds, those of the last: spares are the highest ranks. */
static uint64_t spare_nodes(const cli_batch *batch)
{
    return (batch->job.spares + batch->ranks_per_node - 1) / batch->ranks_per_node;
}

static mr_status put_kind(FILE *out, const cli_batch *batch, const kind *nodes, uint64_t spares, mr__error *error)
{
    mr_status status = MR_OK;
    fprintf(out, "#SBATCH --nodes=%" PRIu64 "\n#SBATCH --ntasks-per-node=%" PRIu64 "\n", nodes->nodes + spares,
            batch->ranks_per_node);
    MR_CHECK(nodes->cpus_per_node == 0 || nodes->cpus_per_node >= batch->ranks_per_node, MR_BAD_USAGE,
             "%" PRIu64 " CPUs of each node are less than one for each of %" PRIu64 " ranks\n"
             "  hint: see --cpus-per-node and --ranks-per-node", nodes->cpus_per_node, batch->ranks_per_node);
    if (nodes->cpus_per_node > 0)
        fprintf(out, "#SBATCH --cpus-per-task=%" PRIu64 "\n", nodes->cpus_per_node / batch->ranks_per_node);
    else
        fputs("#SBATCH --exclusive\n", out);
    if (nodes->memory_per_node > 0)
        fprintf(out, "#SBATCH --mem=%" PRIu64 "M\n", nodes->memory_per_node / MIB);
    else if (nodes->cpus_per_node == 0)
        fputs("#SBATCH --mem=0\n", out);        /* all that the nodes have */
    MR_TRY(put_directive(out, "time", "time", batch->time, error));
    MR_TRY(put_directive(out, "devices", "gres", nodes->devices, error));
    MR_TRY(put_directive(out, "partition", "partition", nodes->partition, error));
    MR_TRY(put_directive(out, "account", "account", batch->account, error));
    fprintf(out, "#SBATCH --no-kill\n#SBATCH --%s\n", batch->requeue ? "requeue" : "no-requeue");
done:
    return status;
}

static mr_status put_directives(FILE *out, const cli_batch *batch, const kinds *of, const char *app, mr__error *error)
{
    mr_status status = MR_OK;
    if (batch->name == NULL)
        put_job_name(out, app);
    MR_TRY(put_directive(out, "name", "job-name", batch->name, error));
    for (size_t i = 0; i < of->count; i++) {
        if (i > 0)
            fputs("#SBATCH hetjob\n", out);
        MR_TRY(put_kind(out, batch, &of->list[i], i + 1 == of->count ? spare_nodes(batch) : 0, error));
    }
done:
    return status;
}

/* Beside the output; where that is a mount of the session, which a shell knows nothing of, in the folder of the job. */
static void put_verdict(FILE *out, const char *output)
{
    const char *last = output + strlen(output);
    while (last > output + 1 && last[-1] == '/')
        last--;
    while (last > output && last[-1] != '/')
        last--;
    fputs("export " CLI_RANK_VERDICT "=", out);
    if (!mr__places_is_mounted(MR__MOUNT_BURST, output) && last > output) {
        char folder[MR__PATH_MAX];
        snprintf(folder, sizeof folder, "%.*s", (int)(last - output), output);
        put_word(out, folder);
    }
    fputs(".millrace-verdict-\"$SLURM_JOB_ID\"\n"
          ": >\"$" CLI_RANK_VERDICT "\" || exit 2\n"
          "trap 'rm -f -- \"$" CLI_RANK_VERDICT "\"' EXIT\n", out);
}

static void put_burst(FILE *out, const char *burst, bool mixed)
{
    if (burst == NULL)
        return;
    const char *margin = mixed ? "    " : "";
    fputs("export MILLRACE_BURST=", out);
    put_word(out, burst);
    fputs("\n", out);
    if (mixed)
        fputs("for ((group = 0; group < SLURM_HET_SIZE; group++)); do\n"
              "    nodes=SLURM_JOB_NUM_NODES_HET_GROUP_$group\n"
              "    srun --het-group=\"$group\" --ntasks-per-node=1 --ntasks=\"${!nodes}\"", out);
    else
        fputs("srun --ntasks-per-node=1 --ntasks=\"$SLURM_NNODES\"", out);
    fprintf(out, " mkdir -p -- \"$MILLRACE_BURST\" || {\n"
                 "%s    echo \"millrace: a node cannot make the burst directory $MILLRACE_BURST\" >&2\n"
                 "%s    exit 4\n"
                 "%s}\n%s", margin, margin, margin, mixed ? "done\n" : "");
}

static mr_status compose_ranks(const cli_batch *batch, const cli_operands *operands, cli_words *words,
                               mr__error *error)
{
    mr_status status = MR_OK;
    char guard[MR__PATH_MAX], own[MR__PATH_MAX];
    cli_job_settings part = batch->job;
    cli_share share;
    MR_TRY(cli_guard_path(guard, error));
    const ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    MR_CHECK(size > 0, MR_IO_FAILED, "could not tell where this program lies: %s", strerror(errno));
    own[size] = '\0';
    MR_TRY(cli_share_of(&batch->job, (uint32_t)batch->ranks_per_node, &share, error));
    part.memory = share.memory;
    part.workers = share.workers[0] != '\0' ? share.workers : NULL;
    part.burst = NULL;
    part.spares = 0;
    cli_words_add(words, "%s", guard);
    cli_words_add(words, "%s", own);
    cli_words_add(words, "%s", cli_run.name);
    cli_words_add_options(words, &cli_run, &part);
    cli_words_add(words, "--");
    for (size_t i = 0; i < operands->count; i++)
        cli_words_add(words, "%s", operands->text[i]);
    MR_CHECK(!words->failed, MR_NO_MEMORY, "no memory for a batch script");
done:
    return status;
}

static void put_ranks(FILE *out, const cli_batch *batch, size_t kind_count, const cli_words *words)
{
    if (batch->ranks_per_node > 1)
        fprintf(out, "export " MR__LAUNCH_SHARING "=%" PRIu64 "\n", batch->ranks_per_node);
    if (batch->job.spares > 0)
        fprintf(out, "export " CLI_RANK_SPARES "=%" PRIu64 "\n", spare_nodes(batch) * batch->ranks_per_node);
    fputs("srun", out);
    for (size_t i = 0; i < kind_count && kind_count > 1; i++)
        fprintf(out, i == 0 ? " --het-group=%zu" : ",%zu", i);
    fprintf(out, " -K0 --no-kill --mpi=pmi2 --cpu-bind=none --ntasks-per-node=%" PRIu64 " \\\n   ",
            batch->ranks_per_node);
    for (size_t i = 0; i < words->count; i++) {
        fputc(' ', out);
        put_word(out, words->text[i]);
    }
    fputs(" &\nlauncher=$!\ntrap 'kill -TERM \"$launcher\" 2>/dev/null' TERM INT\n\n", out);
}

mr_status cli_batch_script(const cli_batch *batch, const cli_operands *operands, char **text, mr__error *error)
{
    mr_status status = MR_OK;
    char *made = NULL, *given = NULL;
    size_t size = 0;
    cli_words words = {.count = 0};
    kinds of = {.count = 0};
    FILE *out = open_memstream(&made, &size);
    MR_CHECK(out != NULL, MR_NO_MEMORY, "no memory for a batch script");
    MR_TRY(read_kinds(batch, &of, error));
    MR_TRY(compose_ranks(batch, operands, &words, error));
    fprintf(out, "#!/bin/bash\n# Made by millrace sbatch, version %s. It may be changed, and submitted with sbatch.\n",
            mr_version());
    MR_TRY(put_directives(out, batch, &of, operands->text[0], error));
    fputs("\n", out);
    put_verdict(out, batch->job.output);
    put_burst(out, batch->job.burst, of.count > 1);
    put_ranks(out, batch, of.count, &words);
    fputs(truth, out);
    const bool whole = fflush(out) == 0 && !ferror(out);
    MR_CHECK(whole && (given = mr__strdup(made)) != NULL, MR_NO_MEMORY, "no memory for a batch script");
    *text = given;
done:
    if (out != NULL)
        fclose(out);
    free(made);
    mr__free(of.words);
    cli_words_free(&words);
    return status;
}
