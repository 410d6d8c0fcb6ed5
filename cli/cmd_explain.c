/* cmd_explain.c: millrace explain: what `run` would do with the same arguments, and why.
 * Not over a pipe: to know its size it would have to take what is in it from the run. */
#include <millrace/millrace.h>

#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "job_options.h"
#include "share.h"

/* Makes this process what rank 0 would be. */
static mr_status take_share(cli_job_settings *settings, cli_share *share, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t ranks = (uint32_t)settings->ranks;
    MR_TRY(cli_share_of(settings, ranks, share, error));
    settings->memory = share->memory != 0 ? share->memory : cli_share_of_free_memory(ranks);
    settings->workers = share->workers[0] != '\0' ? share->workers : NULL;
    cli_share_be_first_of(ranks);
done:
    return status;
}

static void print_plan(const cli_job_settings *settings, const char *text)
{
    if (settings->spares > 0)
        printf("spares     %u, each of which takes the place of a rank that is lost\n", (unsigned)settings->spares);
    if (settings->ranks > 1)
        printf("ranks      %u on this machine, each with its share of cores and memory; of the first:\n",
               (unsigned)settings->ranks);
    fputs(text, stdout);
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    char *text = NULL;
    cli_job_settings settings = *(const cli_job_settings *)given;
    cli_share share;
    cli_job job = {.app_name = ""};
    const char *pipe = cli_job_find_pipe(&settings, operands);
    MR_TRY(cli_job_check_spares(&settings, error));
    MR_CHECK(pipe == NULL, MR_BAD_USAGE,
             "explain does not read %s: nothing would be left for the run\n  hint: name a file of about the same size",
             pipe);
    if (settings.ranks > 1)
        MR_TRY(take_share(&settings, &share, error));
    MR_TRY(cli_job_open(&job, &settings, operands, error));
    MR_TRY(cli_job_open_input(&job, error));
    job.job.ranks = (uint32_t)settings.ranks;
    if ((status = mr_explain(job.session, &job.job, &text)) != MR_OK)
        cli_job_fail(&job, status, error);
    else
        print_plan(&settings, text);
done:
    free(text);
    cli_job_close(&job);
    return status;
}

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, offsetof(cli_job_settings, output), "DIR", "as for run; it is not made", 0, 0},
    CLI_JOB_OPTIONS, CLI_RANKS_OPTIONS,
};

const cli_command cli_explain = {
    .name = "explain", .summary = "Say what a run would do, and why, without reading the data",
    .usage = "APP [INPUT...] [OPTION...] [NAME=VALUE...]",
    .details = "APP, INPUT and NAME=VALUE are those of `millrace run`.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(cli_job_settings), .run = run,
};
