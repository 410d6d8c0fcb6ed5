/* job.c: one run, from request to result.
 *
 *   plan -> open output, lanes, partitions -> [sample] -> team: map, reduce, sort -> [fold, next round] -> commit
 *     -> record
 *
 * Whatever fails, mr__job_fini() takes back all of it: what was not committed is removed, spilled runs are gone. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "memory.h"
#include "ticker.h"

mr_status mr__job_spill(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__burst *burst;
    pthread_mutex_lock(&job->spill_mutex);
    if (job->spill == NULL) {
        MR_TRY(mr__session_burst(job->session, &burst, error));
        MR_TRY(mr__spill_create(burst, MR__CODEC_NONE, &job->spill, error));
    }
done:
    pthread_mutex_unlock(&job->spill_mutex);
    return status;
}

static mr_status make_partitions(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__exchange_create(job->partitions, &job->exchange, error));
    job->partition = mr__alloc_zero(job->partitions, sizeof *job->partition);
    MR_CHECK(job->partition != NULL, MR_NO_MEMORY, "no memory for %u partitions", job->partitions);
    for (uint32_t p = 0; p < job->partitions; p++)
        pthread_mutex_init(&job->partition[p].mutex, NULL);
done:
    return status;
}

/* A team that fills its cores is bound, one worker to each. A smaller one is not: every process would take the same
 * first cores while others are idle (two jobs of one worker on two cores: 2.2 s each, unbound 1.2; alone 1.0 either
 * way). Beside devices it is, as what takes their results runs on the cores that are left. A spare is not: it does not
 * know whose place it will take, and which cores are free then. */
static uint32_t core_of(const mr__job *job, uint32_t worker)
{
    const uint32_t cores = job->session->topology.count;
    const bool small = job->cpu_workers < cores && job->devices.count == 0;
    return small || mr__session_is_spare(job->session) ? MR__NO_CORE : worker % cores;
}

static mr_status make_workers(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__topology *topology = &job->session->topology;
    job->lanes = mr__alloc_zero(job->worker_count, sizeof *job->lanes);
    job->workers = mr__alloc_zero(job->worker_count, sizeof *job->workers);
    MR_CHECK(job->lanes != NULL && job->workers != NULL, MR_NO_MEMORY, "no memory for %u workers", job->worker_count);
    for (uint32_t w = 0; w < job->worker_count; w++) {
        mr__lane *lane = &job->lanes[w];
        lane->job = job;
        lane->index = w;
        lane->epoch.last = job->partitions;
        lane->sort.reserved = w < mr__job_sorters(job) ? job->refs_share : 0;
        /* here and not in lane_begin: reduce looks into it even if this worker's thread comes late and maps nothing */
        mr__combine_rule rule = job->rule;
        if (w >= job->cpu_workers && rule.combine == MR_COUNT)
            rule.combine = MR_SUM;      /* a device counts by itself: its pairs come with amounts */
        if (job->combines)
            mr__combine_buffer_init(&lane->combine, &job->layout, &rule, &job->budget, job->lane_cap, false,
                                    job->layout.key_suffix != 0 ? MR__PARTITION_BITS : 0);
        if (w < job->cpu_workers)
            job->workers[w] = (mr__worker){.ops = &mr__worker_cpu_ops, .topology = topology, .index = w,
                                           .core = core_of(job, w), .engine = lane};
        else
            job->workers[w] = (mr__worker){.ops = &mr__worker_device_ops, .topology = topology, .index = w,
                                           .core = MR__NO_CORE, .engine = lane,
                                           .config = job->devices.item[w - job->cpu_workers].link};
    }
done:
    return status;
}

mr_status mr__job_init(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_app_handle *app = job->request->app;
    job->working = job->ranks - job->session->spares;
    mr__arena_init(&job->arena);
    pthread_mutex_init(&job->spill_mutex, NULL);
    pthread_mutex_init(&job->fold_mutex, NULL);
    pthread_mutex_init(&job->dense_spill.mutex, NULL);
    MR_CHECK(app != NULL && app->magic == MR_APP_MAGIC, MR_BAD_APP, "the job names no app");
    MR_TRY(mr__session_check_app(app->name != NULL ? app->name : "(without a name)", app, error));
    job->app = app->app;
    job->app_name = app->name;
done:
    return status;
}

void mr__job_fini(mr__job *job)
{
    mr__devices_fini(job);
    for (uint32_t w = 0; job->lanes != NULL && w < job->worker_count; w++)
        mr__lane_fini(&job->lanes[w]);
    if (job->exchange != NULL)
        mr__exchange_destroy(job->exchange, &job->pool);
    for (uint32_t p = 0; job->partition != NULL && p < job->partitions; p++) {
        mr__partition *partition = &job->partition[p];
        mr__combine_buffer_fini(&partition->table);
        mr__runs_fini(&partition->sorted);
        mr__run_fini(&partition->result);
        mr__free(partition->extents);
        pthread_mutex_destroy(&partition->mutex);
    }
    mr__free(job->partition);
    mr__schedule_fini(&job->schedule);
    if (job->pool.budget != NULL)
        mr__chunk_pool_fini(&job->pool);
    mr__spill_destroy(job->spill);
    mr__dense_fini(job);
    mr__output_close(job->output);
    mr__free(job->lanes);
    mr__free(job->workers);
    mr__trace_destroy(job->trace);
    mr__job_plan_fini(job);
    mr__arena_fini(&job->arena);
    pthread_mutex_destroy(&job->spill_mutex);
    pthread_mutex_destroy(&job->fold_mutex);
    pthread_mutex_destroy(&job->dense_spill.mutex);
}

mr_status mr__job_choose_workers(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    job->cpu_workers = job->session->workers;
    snprintf(job->worker_note, sizeof job->worker_note, "%s", job->session->topology.note);
    MR_TRY(mr__devices_choose(job, error));
    job->worker_count = job->cpu_workers + job->devices.count;
done:
    return status;
}

static mr_status prepare(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__job_choose_workers(job, error));
    MR_TRY(mr__job_plan(job, error));
    /* Here, for the courier's thread opens the output, and must not wait. By one rank: if it is lost meanwhile, the
     * next job does the rest. */
    if (job->session->ranks != NULL && job->request->output != NULL && mr_session_speaks(job->session))
        mr__output_sweep(job->session->names, job->request->output);
    if (job->session->ranks != NULL)
        MR_TRY(mr__joint_open(job, error));
    MR_TRY(mr__devices_fit(job, error));
    MR_TRY(mr__devices_prepare(job, error));
    if (job->dataset != NULL) {
        mr__pinned_prepare(job);
        MR_TRY(mr__read_choose(job->dataset->sources, &job->read, error));
    }
    if (job->request->output != NULL && job->joint == NULL)
        MR_TRY(mr__output_open(job->session->names, job->request->output, job->request->force, &job->output, error));
    MR_TRY(make_partitions(job, error));
    if (job->joint != NULL)
        MR_TRY(mr__joint_prepare(job, error));
    MR_TRY(make_workers(job, error));
    MR_TRY(mr__schedule_init(&job->schedule, job, job->worker_count, job->cpu_workers, job->devices.depth, error));
    job->schedule.device_largest = job->devices.largest_task;
    job->schedule.barrier = !job->pipelined;
    job->trace = mr__trace_create(mr__device_trace_lane(job, job->devices.count, 0));
    mr__trace_name_lane(job->trace, job->worker_count, "job");
    mr__trace_name_lane(job->trace, job->worker_count + 1, "ticker");
    for (uint32_t w = 0; w < job->cpu_workers; w++)
        mr__trace_name_lane(job->trace, w, "cpu worker %u", w);
    for (uint32_t d = 0; d < job->devices.count; d++) {
        const char *id = job->devices.item[d].config.device.id;
        mr__trace_name_lane(job->trace, job->cpu_workers + d, "%s", id);
        for (uint32_t slot = 0; slot < job->devices.depth; slot++)
            mr__trace_name_lane(job->trace, mr__device_trace_lane(job, d, slot), "%s: task in flight %u", id, slot + 1);
        mr__schedule_expect(&job->schedule, job->cpu_workers + d, mr__devices_expected(job, d));
    }
done:
    return status;
}

/* When nobody is left the team says so, and this adds why. */
mr_status mr__job_run_team(mr__job *job, mr__error *error)
{
    const mr__task_source source = {&job->schedule, mr__schedule_pull, mr__schedule_done, mr__schedule_over};
    mr__error lost = {.text = ""};
    char why[512];
    const mr_status status = mr__team_run(job->workers, job->worker_count, &source, mr__lane_begin, NULL, &lost);
    const mr_status outcome = mr__schedule_outcome(&job->schedule, error);      /* others may fail it even now */
    if (outcome != MR_OK)
        return outcome;
    if (mr__cancelled(job))
        return mr__fail(error, MR_CANCELLED, "the job was cancelled; nothing was written");
    if (status == MR_OK || job->devices.count == 0)
        return mr__fail(error, status, "%s", lost.text);
    mr__devices_say_losses(job, why, sizeof why);
    return mr__fail(error, status, "%s (%s)\n  hint: see millrace devices, or give the job CPU workers", lost.text,
                    why);
}

static mr_status run_rounds(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    bool added;
    for (bool again = true; again;) {
        atomic_store(&job->mapped, 0);
        for (uint32_t w = 0; w < job->worker_count; w++)
            job->lanes[w].rows = 0;
        if (job->dense)
            MR_TRY(mr__dense_begin(job, error));
        mr__schedule_begin(&job->schedule, job->smallest_task, job->largest_task);
        MR_TRY(mr__schedule_add(&job->schedule, 0, job->schedule_total, 0, job->partitions, &added, error));
        mr__schedule_close(&job->schedule);
        MR_TRY(mr__job_run_team(job, error));
        MR_TRY(mr__schedule_check(&job->schedule, error));
        const uint64_t mapped = atomic_load(&job->mapped);
        MR_CHECK(mapped == job->schedule_total, MR_INTERNAL, "%llu of %llu units of the input were mapped",
                 (unsigned long long)mapped, (unsigned long long)job->schedule_total);
        job->stats.rounds++;
        atomic_store(&job->round, job->stats.rounds);
        again = false;
        if (job->dense) {
            MR_TRY(mr__dense_fold(job, error));
            MR_TRY(mr__dense_round(job, job->stats.rounds - 1, &again, error));
            mr__devices_next_round(job);
        }
    }
    if (job->dense)
        MR_TRY(mr__dense_result(job, &job->lanes[0], error));
done:
    return status;
}

static void fill_stats(mr__job *job)
{
    mr_stats *stats = &job->stats;
    const mr__schedule *schedule = &job->schedule;
    stats->seconds = (double)(mr__now_ns() - job->started_ns) * 1e-9;
    stats->input_bytes = job->plan.input_bytes;
    for (uint32_t w = 0; job->lanes != NULL && w < job->worker_count; w++) {
        stats->pairs += job->lanes[w].pairs;
        stats->rows += job->lanes[w].rows;
    }
    stats->keys = atomic_load(&job->keys);
    if (job->sorts && job->limit > 0 && stats->keys > job->limit)
        stats->keys = job->limit;
    stats->output_bytes = atomic_load(&job->output_bytes);
    stats->peak_rss_bytes = mr__peak_rss_bytes();
    stats->spilled_bytes = mr__job_spilled(job);
    stats->workers = job->cpu_workers;
    stats->devices = job->devices.count;
    for (uint32_t d = 0; d < job->devices.count; d++) {
        if (job->devices.item[d].link == NULL)      /* the job failed before */
            continue;
        const mr__device_story *story = mr__device_link_story(job->devices.item[d].link);
        stats->device_tasks += story->tasks;
        stats->device_failures += story->failures;
    }
    stats->partitions = job->partitions;
    stats->parts = job->output != NULL ? job->parts : 0;
    stats->ranks = job->ranks;
    if (job->joint != NULL)
        mr__joint_fill_stats(job->joint, stats);
    stats->simd = mr__level_name(mr__level_current());
    stats->read_path = job->dataset != NULL ? mr__read_path_name(job->read.path) : "memory";
    for (enum mr__stage s = MR__STAGE_MAP; s < MR__STAGE_END; s++) {
        if (schedule->started_ns[s] == 0)
            continue;
        const uint64_t finished = schedule->finished_ns[s] != 0 ? schedule->finished_ns[s] : mr__now_ns();
        stats->stages[stats->stage_count++] = (mr_stage_stats){
            .name = mr__stage_name(s), .seconds = (double)(finished - schedule->started_ns[s]) * 1e-9,
            .tasks = schedule->tasks[s],
            .bytes = s == MR__STAGE_MAP ? job->plan.input_bytes : 0};
    }
}

static mr_status commit(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t start = mr__now_ns();
    if (job->joint != NULL && mr__joint_commit_seconds(job->joint) > 0)
        job->stats.stages[job->stats.stage_count++] =
            (mr_stage_stats){.name = "commit", .seconds = mr__joint_commit_seconds(job->joint), .tasks = 1};
    if (job->output == NULL || job->joint != NULL)      /* one of its ranks has done that */
        return MR_OK;
    MR_CHECK(!mr__cancelled(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    MR_TRY(mr__output_commit(job->output, error));
    const uint64_t end = mr__now_ns();
    mr__trace_span(job->trace, job->worker_count, "commit", "stage", start, end, NULL, 0);
    job->stats.stages[job->stats.stage_count++] =
        (mr_stage_stats){.name = "commit", .seconds = (double)(end - start) * 1e-9, .tasks = 1};
done:
    return status;
}

/* A record that cannot be written fails no job: stats->record stays "". */
static void keep_record(mr__job *job, mr_status status, int64_t started, const mr__error *error)
{
    mr__error ignored = {0};
    mr__record_device devices[MR__DEVICES_MOST];
    mr__devices_tell(job, devices);
    mr__record record = {
        .run = job->run, .started_ns = started, .typed = job->session->launch.typed, .app_name = job->app_name,
        .app = job->app,
        .params = status == MR_OK ? job->plan.params : NULL, .settings = job->request->params,
        .setting_count = job->request->param_count,
        .inputs = job->dataset != NULL ? (const char *const *)job->dataset->inputs : NULL,
        .input_count = job->dataset != NULL ? job->dataset->input_count : 0,
        .sources = job->dataset != NULL ? job->dataset->sources->count : 0, .output = job->request->output,
        .sort = job->sort, .status = status, .error = error->text, .stats = &job->stats,
        .worker_note = job->worker_note, .read_reason = job->read.why,
        .memory_limit = job->session->memory_limit, .memory_peak = atomic_load(&job->budget.peak),
        .devices = devices, .device_count = job->devices.count, .device_note = job->devices.note};
    if (job->joint != NULL && job->session->records[0] != '\0')
        mr__joint_fill_record(job->joint, &record);
    if (mr__record_write(job->session->records, &record, job->trace, job->record_path, &ignored) != MR_OK)
        job->record_path[0] = '\0';
}

mr_status mr_run(mr_session *session, const mr_job *request, mr_result **result)
{
    mr_status status = MR_OK;
    mr__error *error = &session->error;
    struct timespec now;
    mr__ticker *ticker = NULL;
    mr_result *made = NULL;
    bool began = false;
    mr__job job = {.session = session, .request = request, .dataset = request->dataset, .started_ns = mr__now_ns(),
                   .devices = {.blob = -1},
                   .ranks = session->ranks != NULL ? mr__ranks_count(session->ranks) : 1};
    mr__error_clear(error);
    atomic_store(&session->cancelled, false);
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t started = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    mr__record_make_run(started, job.run);
    MR_TRY(mr__job_init(&job, error));
    MR_TRY(prepare(&job, error));
    began = true;
    MR_TRY(mr__ticker_start(&job, &ticker, error));
    if (job.by_range)
        MR_TRY(mr__sample_splitters(&job, error));
    if (result != NULL)             /* before many ranks commit */
        MR_TRY(mr__result_create(&job, &made, error));
    MR_TRY(job.joint != NULL ? mr__joint_run(&job, error) : run_rounds(&job, error));
    mr__devices_say_burdens(&job);
    mr__devices_keep_speeds(&job);
    fill_stats(&job);
    MR_TRY(commit(&job, error));
done:
    mr__ticker_stop(ticker);
    if (status != MR_OK && job.app != NULL && job.stats.seconds == 0)
        fill_stats(&job);
    job.stats.seconds = (double)(mr__now_ns() - job.started_ns) * 1e-9;
    /* a request that was refused as wrong is no run */
    if (!mr_session_speaks(session))        /* one record of a job of many ranks */
        job.record_path[0] = '\0';
    else if (began || (job.app != NULL && mr_status_exit(status) != mr_status_exit(MR_BAD_USAGE)))
        keep_record(&job, status, started, error);
    mr__joint_close(job.joint, status, error);      /* its chunks go back to the job's pool */
    job.joint = NULL;
    if (status == MR_OK && made != NULL) {
        mr__result_take(made, &job);
        *result = made;
        made = NULL;
    }
    mr_result_close(made);
    mr__job_fini(&job);
    atomic_store(&session->cancelled, false);       /* the dataset that is opened next was not meant */
    return status;
}
