/* cmd_explain.c: millrace explain: what `run` would do with the same arguments, and why. */
#include <millrace/millrace.h>

#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "job_options.h"

static mr_status run(const void *settings, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    char *text = NULL;
    cli_job job = {.app_name = ""};
    MR_TRY(cli_job_open(&job, settings, operands, error));
    if ((status = mr_explain(job.session, &job.job, &text)) != MR_OK)
        cli_job_fail(&job, status, error);
    else
        fputs(text, stdout);
done:
    free(text);
    cli_job_close(&job);
    return status;
}

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, offsetof(cli_job_settings, output), "DIR", "as for run; it is not made", 0, 0},
    CLI_JOB_OPTIONS,
};

const cli_command cli_explain = {
    .name = "explain", .summary = "Say what a run would do, and why; read nothing but names and sizes",
    .usage = "APP [INPUT...] [OPTION...] [NAME=VALUE...]",
    .details = "APP, INPUT and NAME=VALUE are those of `millrace run`.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(cli_job_settings), .run = run,
};
