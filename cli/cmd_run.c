/* cmd_run.c: millrace run: one job, its progress, and what it came to.
 * Several ranks are as many processes of this command, started by launch_ranks.c (--ranks) or by a launcher that
 * somebody typed. Each runs the whole of run(); they differ in who prints (rank.h).
 * A first SIGINT, SIGTERM or SIGHUP asks the job to stop, which then removes what is half-made; a second one, unless it
 * is an echo of the first (stop_signals.h), exits at once, and the next run removes what is left in the burst
 * directory. */
#include <millrace/millrace.h>

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "exit_watch.h"
#include "job_options.h"
#include "launch_ranks.h"
#include "progress_bar.h"
#include "rank.h"
#include "share.h"
#include "show.h"
#include "stop_signals.h"

enum { CANCELLED_EXIT = 130 };

static mr_session *_Atomic running;     /* for the signal handler, which has no other way to know it */
static _Atomic uint64_t first_signal_ns;    /* 0: none has come */

static void on_signal(int number)
{
    uint64_t first_ns = 0;
    /* one step: the next one may come meanwhile, to another thread */
    if (!atomic_compare_exchange_strong(&first_signal_ns, &first_ns, mr__now_ns()) && !cli_stop_is_echo(first_ns))
        _exit(CANCELLED_EXIT);
    mr_session *session = atomic_load(&running);
    if (session != NULL)
        mr_session_cancel(session);
}

static void catch_signals(void)
{
    int numbers[CLI_STOP_SIGNALS];
    const size_t count = cli_stop_signals(numbers);
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < count; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);           /* a reader of the progress that goes away must not kill the job */
    signal(SIGXFSZ, SIG_IGN);           /* what is written beyond `ulimit -f` fails, and the job cleans up */
}

/* ---- what it came to --------------------------------------------------------------------------------------------- */

static void print_json(const cli_job *job, const mr_stats *stats)
{
    json_t *root = json_object(), *stages = json_array();
    json_object_set_new(root, "app", cli_json_text(job->job.app->name));
    json_object_set_new(root, "run", cli_json_text(stats->run));
    json_object_set_new(root, "seconds", json_real(stats->seconds));
    json_object_set_new(root, "input_bytes", cli_json_count(stats->input_bytes));
    json_object_set_new(root, "rows", cli_json_count(stats->rows));
    json_object_set_new(root, "pairs", cli_json_count(stats->pairs));
    json_object_set_new(root, "keys", cli_json_count(stats->keys));
    json_object_set_new(root, "output", cli_json_text(job->job.output));
    json_object_set_new(root, "output_bytes", cli_json_count(stats->output_bytes));
    json_object_set_new(root, "peak_rss_bytes", cli_json_count(stats->peak_rss_bytes));
    json_object_set_new(root, "spilled_bytes", cli_json_count(stats->spilled_bytes));
    json_object_set_new(root, "simd", cli_json_text(stats->simd));
    json_object_set_new(root, "read_path", cli_json_text(stats->read_path));
    json_object_set_new(root, "workers", json_integer(stats->workers));
    json_object_set_new(root, "devices", json_integer(stats->devices));
    json_object_set_new(root, "device_tasks", cli_json_count(stats->device_tasks));
    json_object_set_new(root, "device_failures", json_integer(stats->device_failures));
    json_object_set_new(root, "ranks", json_integer(stats->ranks));
    json_object_set_new(root, "ranks_lost", json_integer(stats->ranks_lost));
    json_object_set_new(root, "spares", json_integer(stats->spares));
    json_object_set_new(root, "spares_used", json_integer(stats->spares_used));
    json_object_set_new(root, "rounds", json_integer(stats->rounds));
    json_object_set_new(root, "partitions", json_integer(stats->partitions));
    json_object_set_new(root, "parts", json_integer(stats->parts));
    for (uint32_t i = 0; i < stats->stage_count; i++) {
        json_t *stage = json_object();
        json_object_set_new(stage, "name", cli_json_text(stats->stages[i].name));
        json_object_set_new(stage, "seconds", json_real(stats->stages[i].seconds));
        json_object_set_new(stage, "tasks", cli_json_count(stats->stages[i].tasks));
        json_object_set_new(stage, "bytes", cli_json_count(stats->stages[i].bytes));
        json_array_append_new(stages, stage);
    }
    json_object_set_new(root, "stages", stages);
    json_object_set_new(root, "record", cli_json_text(stats->record));
    json_dumpf(root, stdout, 0);
    putchar('\n');
    json_decref(root);
}

static void print_ranks(const mr_stats *stats)
{
    printf("  ranks   %" PRIu32, stats->ranks - stats->spares);
    if (stats->spares > 0)
        printf(" and %" PRIu32 " spare%s (%" PRIu32 " used)", stats->spares, stats->spares == 1 ? "" : "s",
               stats->spares_used);
    printf(", %" PRIu32 " lost\n", stats->ranks_lost);
}

static void print_summary(const cli_job *job, const mr_stats *stats)
{
    char a[CLI_SHOW_SIZE], b[CLI_SHOW_SIZE], c[CLI_SHOW_SIZE], d[CLI_SHOW_SIZE];
    const bool range = job->dataset == NULL;
    const double eaten = (double)(range ? stats->rows : stats->input_bytes);
    printf("%s: %s%s in %s (%s), %s key%s\n", job->job.app->name,
           range ? cli_show_count(stats->rows, a) : cli_show_bytes(stats->input_bytes, a), range ? " rows" : "",
           cli_show_seconds(stats->seconds, b),
           cli_show_rate(stats->seconds > 0 ? eaten / stats->seconds : 0, range ? "rows" : "B", c),
           cli_show_count(stats->keys, d), stats->keys == 1 ? "" : "s");
    printf("  stages  ");
    for (uint32_t i = 0; i < stats->stage_count; i++)
        printf("%s%s %s", i > 0 ? ", " : "", stats->stages[i].name, cli_show_seconds(stats->stages[i].seconds, a));
    printf("\n  workers %" PRIu32 ", %s, %s\n", stats->workers, stats->simd, stats->read_path);
    if (stats->ranks > 1)
        print_ranks(stats);
    if (stats->devices > 0)
        printf("  devices %" PRIu32 ", %s task%s%s\n", stats->devices, cli_show_count(stats->device_tasks, a),
               stats->device_tasks == 1 ? "" : "s",
               stats->device_failures > 0 ? ", with failures (see the record)" : "");
    printf("  memory  %s at most, %s spilled\n", cli_show_bytes(stats->peak_rss_bytes, a),
           stats->spilled_bytes > 0 ? cli_show_bytes(stats->spilled_bytes, b) : "nothing");
    printf("  output  %s (%" PRIu32 " part%s, %s)\n", job->job.output, stats->parts, stats->parts == 1 ? "" : "s",
           cli_show_bytes(stats->output_bytes, a));
    if (stats->record != NULL && stats->record[0] != '\0')
        printf("  record  %s\n", stats->record);
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

static mr_status check_ranks(const cli_job_settings *settings, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t ranks = cli_rank_count() > 1 ? cli_rank_count() : settings->ranks;
    MR_TRY(cli_job_check_spares(settings, error));
    MR_CHECK(settings->ranks == 0 || settings->ranks == ranks, MR_BAD_USAGE,
             "--ranks is %" PRIu64 ", but a launcher started %" PRIu64 "\n  hint: leave --ranks out where mpiexec or "
             "srun starts the ranks",
             settings->ranks, ranks);
    const char *pipe = ranks + settings->spares > 1 ? cli_job_find_pipe(settings, operands) : NULL;
    MR_CHECK(pipe == NULL, MR_BAD_USAGE,
             "%" PRIu64 " ranks cannot read the same %s\n  hint: put it into a file, which each of them can read",
             ranks + settings->spares, pipe);
done:
    return status;
}

/* Each rank gets its share, and otherwise what was typed. */
static mr_status start_ranks(const cli_job_settings *settings, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t ranks = (uint32_t)settings->ranks;
    cli_job_settings part = *settings;
    cli_share share;
    cli_words words = {.count = 0};
    int exit_status = 0;
    MR_TRY(cli_share_of(settings, ranks, &share, error));
    part.ranks = part.spares = 0;
    part.memory = share.memory;
    part.workers = share.workers[0] != '\0' ? share.workers : NULL;
    cli_words_add(&words, "%s", cli_run.name);
    cli_words_add_options(&words, &cli_run, &part);
    cli_words_add(&words, "--");
    for (size_t i = 0; i < operands->count; i++)
        cli_words_add(&words, "%s", operands->text[i]);
    MR_TRY(cli_launch_ranks(ranks, (uint32_t)settings->spares, &words, &exit_status, error));
    cli_end_with(exit_status);
done:
    cli_words_free(&words);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* A signal that came just as the job began: mr_run() forgets who was cancelled before. */
static void show_progress(const mr_progress *progress, void *bar)
{
    const mr_session *session = atomic_load(&running);
    if (atomic_load(&first_signal_ns) != 0)
        mr_session_cancel(atomic_load(&running));
    cli_rank_ask(session);              /* who spoke may have been lost */
    if (cli_rank_speaks())
        cli_progress_show(progress, bar);
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    const cli_job_settings *settings = given;
    mr_status status = MR_OK;
    mr_result *result = NULL;
    cli_progress bar;
    cli_job job = {.app_name = ""};
    MR_CHECK(settings->output != NULL || operands->count == 0, MR_BAD_USAGE,
             "no output is named\n  hint: add -o DIR, a directory to be made");
    MR_TRY(check_ranks(settings, operands, error));
    if (settings->ranks + settings->spares > 1 && cli_rank_count() == 1)
        return start_ranks(settings, operands, error);
    catch_signals();
    MR_TRY(cli_job_open(&job, settings, operands, error));
    atomic_store(&running, job.session);
    MR_CHECK(atomic_load(&first_signal_ns) == 0, MR_CANCELLED, "cancelled before the job began");
    MR_TRY(cli_job_open_input(&job, error));
    cli_progress_begin(&bar, settings->quiet, job.dataset == NULL ? "rows" : "B");
    job.job.progress = show_progress;
    job.job.progress_context = &bar;
    cli_exit_watch_bar(&bar);
    status = mr_run(job.session, &job.job, &result);
    cli_exit_watch_bar(NULL);
    cli_progress_end(&bar);
    cli_rank_ask(job.session);
    if (status != MR_OK)
        cli_job_fail(&job, status, error);
    else if (settings->json && cli_rank_speaks())
        print_json(&job, mr_result_stats(result));
    else if (!settings->quiet && !settings->json && cli_rank_speaks())
        print_summary(&job, mr_result_stats(result));
done:
    atomic_store(&running, NULL);
    if (result != NULL)
        mr_result_close(result);
    cli_job_close(&job);
    return status;
}

static const cli_option options[] = {CLI_OUTPUT_OPTIONS, CLI_JOB_OPTIONS, CLI_RANKS_OPTIONS, CLI_PRINT_OPTIONS};

const cli_command cli_run = {
    .name = "run", .summary = "Run an app over inputs",
    .usage = "APP [INPUT...] -o DIR [OPTION...] [NAME=VALUE...]",
    .details = "APP is a name that `millrace apps` lists, or the path of a shared object, with a '/'.\n"
               "INPUT is a file, a directory, a quoted pattern, a named pipe, or - for standard input.\n"
               "NAME=VALUE sets a parameter of the app; a file that is called so is written ./NAME=VALUE.\n"
               "SIZE and VALUE understand K, M, G, T (1024, ...) and forms such as 1e9.\n"
               "\n"
               "  millrace run wordcount /data/books -o counts --sort value split=letters fold=1\n"
               "  millrace run kmeans points.f32 -o centres k=100 rounds=10 dim=3\n"
               "\n"
               "Ctrl-C ends the job and leaves nothing behind. Exit status: 0 success, 2 usage, 3 input,\n"
               "4 resource, 5 device, 6 network, 7 internal, 130 cancelled.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(cli_job_settings), .run = run,
};
