/* job_options.c: APP, INPUT... and name=value, told apart.
 * An operand is a parameter when what stands before its first '=' is a name and no file is called so: `k=100` is one,
 * and so is `pattern=a/b`; a file that is really called k=100 is written ./k=100. */
#include "job_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exit_watch.h"
#include "parse.h"
#include "places.h"
#include "rank.h"

static bool is_param(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals != NULL && mr__parse_is_name(text, (size_t)(equals - text)) && access(text, F_OK) != 0;
}

static bool is_pipe(const char *path, const char *burst)
{
    char plain[MR__PATH_MAX];
    struct stat found;
    if (mr__places_is_mounted(MR__MOUNT_BURST, path)) {
        snprintf(plain, sizeof plain, "%s%s", mr__places_burst(burst), path + strlen(MR__MOUNT_BURST));
        path = plain;
    }
    return stat(path, &found) == 0 && S_ISFIFO(found.st_mode);
}

const char *cli_job_find_pipe(const cli_job_settings *settings, const cli_operands *operands)
{
    for (size_t i = 1; i < operands->count; i++) {
        if (strcmp(operands->text[i], "-") == 0)
            return "standard input";
        if (is_pipe(operands->text[i], settings->burst))
            return operands->text[i];
    }
    return NULL;
}

mr_status cli_job_fail(const cli_job *job, mr_status status, mr__error *error)
{
    const char *sentence = mr_error(job->session);
    return mr__fail(error, status, "%s", sentence[0] != '\0' ? sentence : mr_status_meaning(status));
}

/* A command is a session: what lies below /memory begins and ends with it. */
static mr_status check_place(const char *path, const char *what, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(!mr__places_is_mounted(MR__MOUNT_MEMORY, path), MR_BAD_USAGE,
             "%s %s cannot lie in memory: that ends with the command\n  hint: " MR__MOUNT_MEMORY
             " is for programs that run several jobs in one session; " MR__MOUNT_BURST " stays", what, path);
done:
    return status;
}

mr_status cli_job_check_spares(const cli_job_settings *settings, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(settings->spares == 0 || (settings->ranks > 0 && cli_rank_count() == 1), MR_BAD_USAGE,
             "--spares is for ranks that --ranks starts\n  hint: add --ranks, the number of those that work; where "
             "mpiexec or srun starts the ranks set MILLRACE_SPARES");
    MR_CHECK(settings->ranks + settings->spares <= CLI_RANKS_MOST, MR_BAD_USAGE,
             "%" PRIu64 " ranks and %" PRIu64 " spares are too many: up to %d together are possible", settings->ranks,
             settings->spares, CLI_RANKS_MOST);
done:
    return status;
}

static mr_status open_app(cli_job *job, mr__error *error)
{
    /* For apps that use OpenBLAS: its threads would stand beside the workers, and spin from the moment it is loaded. */
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    mr_status status = mr_app_load(job->session, job->app_name, &job->job.app);
    if (status != MR_OK)
        return cli_job_fail(job, status, error);
    const bool takes_input = job->job.app->app->input != MR_INPUT_RANGE;
    MR_CHECK(takes_input || job->input_count == 0, MR_BAD_USAGE,
             "app %s takes no input\n  hint: leave the file names out; parameters are name=value", job->job.app->name);
    MR_CHECK(!takes_input || job->input_count > 0, MR_BAD_USAGE,
             "app %s needs an input\n  hint: name files, directories or patterns, or - for standard input",
             job->job.app->name);
done:
    return status;
}

mr_status cli_job_open(cli_job *job, const cli_job_settings *settings, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    *job = (cli_job){.app_name = ""};
    MR_CHECK(operands->count > 0, MR_BAD_USAGE, "no app is named\n  hint: millrace apps lists them");
    job->inputs = calloc(operands->count, sizeof *job->inputs);
    job->params = calloc(operands->count, sizeof *job->params);
    MR_CHECK(job->inputs != NULL && job->params != NULL, MR_NO_MEMORY, "no memory for %zu arguments", operands->count);
    job->app_name = operands->text[0];
    if (settings->output != NULL)
        MR_TRY(check_place(settings->output, "output", error));
    for (size_t i = 1; i < operands->count; i++) {
        const char *text = operands->text[i];
        MR_CHECK(text[0] != '\0', MR_BAD_USAGE, "an argument is empty\n  hint: is a shell variable unset?");
        if (is_param(text)) {
            job->params[job->job.param_count++] = text;
            continue;
        }
        MR_TRY(check_place(text, "input", error));
        job->inputs[job->input_count++] = text;
    }
    const mr_session_options options = {.memory = settings->memory, .worker_spec = settings->workers,
                                        .burst = settings->burst};
    if ((status = mr_session_open(&options, &job->session)) != MR_OK) {
        char where[CLI_WHERE_SIZE] = "";
        if (status != MR_BAD_USAGE)     /* of which all ranks are guilty */
            cli_rank_raise_voice(where);
        if (status == MR_NETWORK_FAILED)
            cli_rank_met_nobody();
        mr__fail(error, status, "%s%s", where, mr_error(NULL));
        goto done;
    }
    cli_rank_met();
    cli_exit_watch_begin(job->app_name, settings->json);
    MR_TRY(open_app(job, error));
    cli_exit_watch_loaded();
    job->job.params = job->params;
    job->job.output = settings->output;
    job->job.sort = (mr_sort)settings->sort;
    job->job.force = settings->force;
    job->job.parts = (uint32_t)settings->parts;
done:
    return status;
}

mr_status cli_job_open_input(cli_job *job, mr__error *error)
{
    if (job->input_count == 0)
        return MR_OK;
    const mr_status status = mr_dataset_open(job->session, job->inputs, job->input_count, &job->dataset);
    if (status != MR_OK)
        return cli_job_fail(job, status, error);
    job->job.dataset = job->dataset;
    return MR_OK;
}

void cli_job_close(cli_job *job)
{
    cli_exit_watch_end();
    if (job->dataset != NULL)
        mr_dataset_close(job->dataset);
    mr_session_close(job->session);
    free(job->inputs);
    free(job->params);
    *job = (cli_job){.app_name = ""};
}
