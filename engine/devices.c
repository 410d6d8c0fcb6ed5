/* devices.c: from a specification of workers to device links.
 *
 *   --workers cpu=1,device=all -> specification -> which exist -> which the app has a kernel for -> which are worth it
 *
 * Without a word from the user GPUs and accelerators take part, and CPU devices do not: they would run on the same
 * cores as the CPU workers. A device whose measured speed is below 1/50 of the CPU workers' together costs more (a
 * process, its tasks' results) than it brings: it gets nothing, unless it was asked for alone.
 *
 * A slot holds the result of one task, so the largest task follows from the slots: dense tables per block, rows of
 * fixed size, or pairs. A text of words of one letter makes twelve bytes of pairs of each byte: slots are that large,
 * and mostly never touched. */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device_find.h"
#include "fault.h"
#include "memory.h"

enum {
    USUAL_DEPTH = 2,
    TEXT_TASK = 2 << 20,        /* bytes of text in a task, at most */
    TEXT_TASK_LEAST = 256 << 10,    /* where memory is short; below it a launch costs too much */
    TEXT_SLOT = 26 << 20,
    ROW_TASK = 16 << 20,        /* bytes of records in a task, at most, unless one block is larger */
    SLOT_MOST = 64 << 20,
    WORTH = 50
};

/* ---- which ------------------------------------------------------------------------------------------------------- */

static void note(mr__devices *devices, const char *format, ...)
{
    const size_t used = strlen(devices->note);
    va_list arguments;
    if (used + 2 >= sizeof devices->note)
        return;
    if (used > 0)
        memcpy(devices->note + used, "; ", 3);
    va_start(arguments, format);
    vsnprintf(devices->note + used + (used > 0 ? 2 : 0), sizeof devices->note - used - (used > 0 ? 2 : 0), format,
              arguments);
    va_end(arguments);
}

/* Why devices cannot run this app; NULL if they can. */
static const char *misfit(const mr_app *app)
{
    const bool number = app->value == MR_U64 || app->value == MR_I64;
    if (app->row != NULL)
        return app->row->source != NULL ? NULL : "its row kernel has no source";
    if (app->kernel == NULL)
        return "it has no kernel in OpenCL C";
    if (app->input == MR_INPUT_TEXT) {
        if (app->combine != MR_SUM && app->combine != MR_COUNT)
            return "text kernels add values up";
        return (app->key == MR_DENSE || app->key == MR_BYTES) && number
                   ? NULL
                   : "text kernels emit dense or byte keys with integer values";
    }
    if (app->input == MR_INPUT_RECORDS)
        return app->layout == MR_ROWS && app->key == MR_U64 && app->value == MR_STRUCT &&
                       app->combine == MR_COMBINE_NONE
                   ? NULL
                   : "record kernels give one struct for each row";
    return "kernels take text, records or ranges";
}

static uint32_t form_of(const mr_app *app)
{
    return app->row != NULL ? MR__DEVICE_ROWS : app->input == MR_INPUT_TEXT ? MR__DEVICE_TEXTS : MR__DEVICE_RECORDS;
}

/* Bytes or rows a second, as the job counts; rows come in blocks, which are units only after the plan. */
static double *speed_of(const mr__devices *devices, mr__device_speed *speed)
{
    return devices->form == MR__DEVICE_TEXTS ? &speed->bytes_per_s : &speed->rows_per_s;
}

static double kept_speed(const mr__job *job, const char *device)
{
    mr__device_speed speed;
    return mr__device_speed_get(job->app_name, device, &speed) ? *speed_of(&job->devices, &speed) : 0;
}

static bool is_worth_it(mr__job *job, const mr__device_info *device, double *speed)
{
    const double cpu = kept_speed(job, "cpu") * job->cpu_workers;
    *speed = kept_speed(job, device->id);
    if (*speed <= 0 || cpu <= 0 || *speed * WORTH >= cpu)
        return true;
    note(&job->devices, "%s gets nothing: it runs this app at %.1f %% of the CPU workers' speed", device->id,
         100 * *speed / cpu);
    return false;
}

static mr_status match(mr__job *job, mr__worker_device *found, uint32_t *count, mr__error *error)
{
    mr_status status = MR_OK;
    mr__devices *devices = &job->devices;
    const mr__worker_spec *spec = &job->session->spec;
    MR_TRY(mr__device_find(false, &devices->list, error));
    if (job->session->spec_given && job->ranks > 1) {
        devices->missing = mr__worker_spec_missing(spec, &devices->list);
        *count = mr__worker_spec_pick(spec, &devices->list, found);
        if (devices->missing != NULL)
            note(devices, "there is no device %s here", devices->missing);
    } else if (job->session->spec_given) {
        MR_TRY(mr__worker_spec_match(spec, &devices->list, found, count, error));
    } else {
        for (uint32_t i = 0; i < devices->list.count && *count < MR__DEVICES_MOST; i++)
            if (devices->list.device[i].type != MR__DEVICE_CPU)
                found[(*count)++] = (mr__worker_device){.device = &devices->list.device[i]};
    }
    devices->found = *count > 0;
    if (*count == 0 && devices->list.note[0] != '\0')
        note(devices, "%s", devices->list.note);
done:
    return status;
}

mr_status mr__devices_choose(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__devices *devices = &job->devices;
    mr__worker_device found[MR__DEVICES_MOST];
    uint32_t count = 0;
    devices->blob = -1;
    devices->depth = 1;
    devices->asked = job->session->spec_given && job->session->spec.device_count > 0;
    if (job->session->spec_given && !devices->asked)
        return MR_OK;
    const char *why = misfit(job->app);
    if (why != NULL) {
        note(devices, "app %s runs on CPUs only: %s", job->app_name, why);
        goto done;
    }
    devices->form = form_of(job->app);
    MR_TRY(match(job, found, &count, error));
    if (count == 0)
        goto done;
    devices->item = mr__alloc_zero(count, sizeof *devices->item);
    MR_CHECK(devices->item != NULL, MR_NO_MEMORY, "no memory for %u devices", count);
    for (uint32_t i = 0; i < count; i++) {
        double speed;
        if (!is_worth_it(job, found[i].device, &speed))
            continue;
        mr__job_device *device = &devices->item[devices->count++];
        uint32_t depth = found[i].depth != 0 ? found[i].depth : USUAL_DEPTH;
        depth = depth < MR__DEVICE_SLOTS ? depth : MR__DEVICE_SLOTS;
        *device = (mr__job_device){.expected = speed, .config = {.device = *found[i].device, .depth = depth,
                                   .round = &devices->round, .pack = mr__device_pack_task, .unpack = mr__device_unpack,
                                   .traced = mr__device_trace, .alone = job->cpu_workers == 0}};
        if (depth > devices->depth)
            devices->depth = depth;
    }
done:
    if (status == MR_OK && job->cpu_workers + devices->count == 0)
        status = mr__fail(error, MR_NO_WORKER, "there is no worker for app %s: no CPU workers were asked for, and %s\n"
                          "  hint: --workers cpu=1, or see millrace devices", job->app_name,
                          devices->note[0] != '\0' ? devices->note : "there is no device");
    return status;
}

/* ---- what they are told ------------------------------------------------------------------------------------------ */

static uint32_t slots_of_all(const mr__devices *devices)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < devices->count; i++)
        slots += devices->item[i].config.depth;
    return slots;
}

/* The size of a slot and of the largest task, for a quarter of the job's memory. false: a result would not fit. */
static bool size_slots(mr__job *job)
{
    mr__devices *devices = &job->devices;
    const uint64_t room = job->budget.limit / 4 / slots_of_all(devices);
    const uint64_t table = job->dense ? mr__dense_values(job) * 8 : 0;
    const uint64_t block_bytes = job->block_rows * job->plan.record_size;
    uint64_t most = 64;
    switch (devices->form) {
    case MR__DEVICE_TEXTS:
        devices->slot_bytes = job->dense ? table : TEXT_SLOT;
        devices->largest_task = TEXT_TASK;
        for (; !job->dense && devices->slot_bytes > room && devices->largest_task > TEXT_TASK_LEAST;
             devices->largest_task /= 2)
            devices->slot_bytes /= 2;
        break;
    case MR__DEVICE_ROWS:
    case MR__DEVICE_RECORDS:
        if (block_bytes > 0 && most * block_bytes > ROW_TASK)
            most = ROW_TASK / block_bytes;
        devices->slot_bytes = devices->form == MR__DEVICE_ROWS ? table : job->block_rows * job->plan.value_size;
        const uint64_t slot_most = room < SLOT_MOST ? room : SLOT_MOST;
        if (devices->slot_bytes > 0 && most * devices->slot_bytes > slot_most)
            most = slot_most / devices->slot_bytes;
        devices->largest_task = most > 0 ? most : 1;
        devices->slot_bytes *= devices->largest_task;
        break;
    }
    devices->slot_bytes = (devices->slot_bytes + 2 * MR_BLOCK_PADDING + 4095) & ~(size_t)4095;
    return devices->slot_bytes <= 2 * SLOT_MOST;
}

static const char *unreachable_source(const mr__job *job)
{
    for (uint32_t s = 0; job->dataset != NULL && s < job->dataset->sources->count; s++)
        if (job->dataset->sources->items[s].tier != mr__tier_global())
            return job->dataset->sources->items[s].path;
    return NULL;
}

static mr__device_range put(mr__devices *devices, uint64_t *at, const void *bytes, size_t size)
{
    const mr__device_range range = {*at, size};
    if (devices->memory != NULL && size > 0)
        memcpy(devices->memory + *at, bytes, size);
    *at = (*at + size + 63) & ~(uint64_t)63;
    return range;
}

/* Lays the blob out; with memory, fills it. Returns its size. */
static uint64_t lay_out(mr__job *job, const char *cache)
{
    mr__devices *devices = &job->devices;
    const char *kernel = job->app->row != NULL ? job->app->row->source : job->app->kernel;
    uint64_t at = sizeof(mr__device_job);
    mr__device_job told = {
        .version = MR__DEVICE_VERSION, .form = devices->form, .buffer = job->session->device_buffer,
        .slots = devices->depth, .lanes = job->session->device_lanes, .slot_bytes = devices->slot_bytes,
        .zero_copy = job->session->device_zero_copy,
        .record_size = job->plan.record_size, .column_count = job->plan.column_count, .unit = job->app->unit,
        .suffix_size = job->app->key_suffix, .value_size = job->plan.value_size, .width = job->dense_width,
        .dense_f64 = job->dense && job->dense_f64, .dense_keys = job->dense ? job->plan.dense_keys : 0,
        .block_rows = job->block_rows,
        .largest_segment = devices->form == MR__DEVICE_TEXTS
                               ? devices->largest_task
                               : devices->largest_task * job->block_rows * job->plan.record_size};
    at = (at + 63) & ~(uint64_t)63;
    told.name = put(devices, &at, job->app_name, strlen(job->app_name));
    told.kernel = put(devices, &at, kernel, strlen(kernel));
    told.params = put(devices, &at, job->plan.params, job->plan.params_size);
    devices->params_at = told.params.at;
    told.cache = put(devices, &at, cache, cache[0] != '\0' ? strlen(cache) + 1 : 0);
    told.columns = (mr__device_range){at, job->plan.column_count * sizeof(mr__device_column)};
    for (uint32_t c = 0; devices->memory != NULL && c < job->plan.column_count; c++)
        ((mr__device_column *)(devices->memory + at))[c] =
            (mr__device_column){job->plan.columns[c].type, job->plan.columns[c].offset};
    at = (at + told.columns.size + 63) & ~(uint64_t)63;
    const uint32_t files = job->dataset != NULL ? job->dataset->sources->count : 0;
    told.files = (mr__device_range){at, files * sizeof(mr__device_range)};
    at = (at + told.files.size + 63) & ~(uint64_t)63;
    for (uint32_t f = 0; f < files; f++) {
        const char *path = job->dataset->sources->items[f].path;
        const mr__device_range range = put(devices, &at, path, strlen(path) + 1);
        if (devices->memory != NULL)
            ((mr__device_range *)(devices->memory + told.files.at))[f] = range;
    }
    if (devices->memory != NULL)
        memcpy(devices->memory, &told, sizeof told);
    return at;
}

static mr_status write_blob(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__devices *devices = &job->devices;
    char cache[MR__PATH_MAX];
    mr__error ignored = {.text = ""};
    if (mr__device_cache_folder(cache, &ignored) != MR_OK)
        cache[0] = '\0';
    devices->size = lay_out(job, cache);
    devices->blob = mr__fault(MR__FAULT_OPEN) ? -1 : memfd_create("millrace-job", MFD_CLOEXEC);
    MR_CHECK(devices->blob >= 0 && ftruncate(devices->blob, (off_t)devices->size) == 0, MR_NO_MEMORY,
             "no shared memory of %zu bytes to tell devices about the job: %s", devices->size, strerror(errno));
    void *memory = mr__fault(MR__FAULT_MAP) ? MAP_FAILED
                                            : mmap(NULL, devices->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                                                   devices->blob, 0);
    MR_CHECK(memory != MAP_FAILED, MR_NO_MEMORY, "could not map %zu bytes for devices", devices->size);
    devices->memory = memory;
    lay_out(job, cache);
done:
    return status;
}

mr_status mr__devices_fit(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__devices *devices = &job->devices;
    const char *why = NULL;
    if (devices->count == 0)
        return MR_OK;
    const char *source = unreachable_source(job);
    if (source != NULL)
        why = "its input does not lie in plain files";
    else if (job->app->key_suffix != 0 && job->app->key_suffix != 4)
        why = "its key suffix is not 4 bytes long";
    else if (!size_slots(job))
        why = "the result of one block is too large for a device's slot";
    else if (devices->slot_bytes * slots_of_all(devices) > job->budget.limit / 2)
        why = "the memory limit leaves no room for their results (--memory)";
    if (why == NULL)
        goto done;
    note(devices, "no device takes part: %s", why);
    MR_CHECK(job->cpu_workers > 0, MR_NO_WORKER, "devices cannot run app %s on this input, and there are no CPU "
             "workers: %s%s%s\n  hint: --workers cpu=1", job->app_name, why, source != NULL ? ": " : "",
             source != NULL ? source : "");
    job->worker_count -= devices->count;
    devices->count = 0;
done:
    return status;
}

mr_status mr__devices_prepare(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__devices *devices = &job->devices;
    if (devices->count == 0)
        return MR_OK;
    MR_TRY(write_blob(job, error));
    for (uint32_t i = 0; i < devices->count; i++) {
        mr__job_device *device = &devices->item[i];
        device->config.job = devices->blob;
        device->config.slot_bytes = devices->slot_bytes;
        device->config.stopping = mr__devices_stopping;
        mr__error trouble = {.text = ""};
        status = mr__device_link_create(&device->config, &device->link, &trouble);
        if (status != MR_OK && !devices->asked && job->cpu_workers > 0) {
            note(devices, "%s takes no part: %s", device->config.device.id, trouble.text);
            job->worker_count -= devices->count - i;
            devices->count = i;
            status = MR_OK;
            break;
        }
        MR_CHECK(status == MR_OK, status, "%s", trouble.text);
        devices->reserved += devices->slot_bytes * device->config.depth;
    }
    mr__budget_force(&job->budget, devices->reserved);
done:
    return status;
}

void mr__devices_next_round(mr__job *job)
{
    mr__devices *devices = &job->devices;
    if (devices->memory == NULL)
        return;
    memcpy(devices->memory + devices->params_at, job->plan.params, job->plan.params_size);
    atomic_fetch_add(&devices->round, 1);
}

void mr__devices_wake(const mr__job *job)
{
    for (uint32_t i = 0; i < job->devices.count; i++)
        mr__device_link_wake(job->devices.item[i].link);
}

bool mr__devices_stopping(mr__worker *worker)
{
    return mr__stopped(((mr__lane *)worker->engine)->job);
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

static double units_to_rows(const mr__job *job)
{
    return job->devices.form == MR__DEVICE_TEXTS ? 1 : (double)job->block_rows;
}

double mr__devices_expected(const mr__job *job, uint32_t device)
{
    return job->devices.item[device].expected / units_to_rows(job);
}

double mr__devices_take_in(const mr__job *job, uint32_t device)
{
    const mr__job_device *item = &job->devices.item[device];
    return item->taken > 0 ? (double)item->taken_ns * 1e-9 / (double)item->taken : 0;
}

void mr__devices_say_burdens(mr__job *job)
{
    mr__devices *devices = &job->devices;
    for (uint32_t i = 0; i < devices->count; i++) {
        const double burden = mr__schedule_burden(&job->schedule, job->cpu_workers + i);
        if (burden >= 1)
            note(devices, "%s got no more tasks: to take its results in costs a CPU worker %.1f times what mapping "
                 "itself does, and every core has one", devices->item[i].config.device.id, burden);
    }
}

void mr__devices_keep_speeds(const mr__job *job)
{
    const mr__devices *devices = &job->devices;
    mr__error ignored = {.text = ""};
    double cpu = 0;
    uint32_t known = 0;
    if (devices->count == 0)
        return;
    for (uint32_t w = 0; w < job->worker_count; w++) {
        const double rate = job->schedule.rate[w] * units_to_rows(job);
        mr__device_speed speed = {0};
        *speed_of(devices, &speed) = rate;
        if (w < job->cpu_workers) {
            cpu += rate;
            known += rate > 0;
            continue;
        }
        const mr__job_device *device = &devices->item[w - job->cpu_workers];
        const mr__device_story *story = mr__device_link_story(device->link);
        speed.lanes = story->lanes;
        speed.group = story->group;
        if (rate > 0 && story->tasks > 0)
            mr__device_speed_put(job->app_name, device->config.device.id, &speed, &ignored);
    }
    if (known > 0) {
        mr__device_speed speed = {0};
        *speed_of(devices, &speed) = cpu / known;
        mr__device_speed_put(job->app_name, "cpu", &speed, &ignored);
    }
}

mr_status mr__devices_give_up(const mr__job *job, const mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    if (!job->devices.asked || worker->index < job->cpu_workers)
        return MR_OK;
    const mr__job_device *device = &job->devices.item[worker->index - job->cpu_workers];
    const mr__device_story *story = mr__device_link_story(device->link);
    MR_CHECK(!story->bad_kernel, MR_DEVICE_LOST, "the kernel of app %s does not compile for device %s: %s\n"
             "  hint: correct it, or leave the device out", job->app_name, device->config.device.id, story->why);
done:
    return status;
}

void mr__devices_say_losses(const mr__job *job, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < job->devices.count && used + 1 < size; i++) {
        const mr__job_device *device = &job->devices.item[i];
        const mr__device_story *story = mr__device_link_story(device->link);
        if (story->why[0] != '\0') {
            const int more = snprintf(text + used, size - used, "%s%s: %s", used > 0 ? "; " : "",
                                      device->config.device.id, story->why);
            used += more > 0 ? (size_t)more : 0;
        }
    }
}

void mr__devices_tell(const mr__job *job, mr__record_device *told)
{
    static const char *const buffers[] = {"auto", "array", "combine", "dense"};
    for (uint32_t i = 0; i < job->devices.count; i++) {
        const mr__job_device *device = &job->devices.item[i];
        if (device->link == NULL) {
            told[i] = (mr__record_device){.id = device->config.device.id, .name = device->config.device.name,
                                          .buffer = buffers[0], .why = "the job failed before it was needed"};
            continue;
        }
        const mr__device_story *story = mr__device_link_story(device->link);
        told[i] = (mr__record_device){
            .id = device->config.device.id, .name = device->config.device.name,
            .buffer = buffers[story->buffer < MR__COUNT(buffers) ? story->buffer : 0], .why = story->why,
            .tasks = story->tasks, .given_back = story->given_back, .failures = story->failures, .again = story->again,
            .ready_ns = story->ready_ns, .lanes = story->lanes, .group = story->group, .drained = story->drained,
            .cached = story->cached, .zero_copy = story->zero_copy};
    }
}

void mr__devices_fini(mr__job *job)
{
    mr__devices *devices = &job->devices;
    for (uint32_t i = 0; i < devices->count; i++)
        mr__device_link_destroy(devices->item[i].link);
    mr__free(devices->item);
    mr__device_list_free(&devices->list);
    if (devices->memory != NULL)
        munmap(devices->memory, devices->size);
    if (devices->blob >= 0)
        close(devices->blob);
    *devices = (mr__devices){.blob = -1};
}
