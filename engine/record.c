/* record.c: what a run leaves.
 *   DIRECTORY/RUN.trace.json, then DIRECTORY/RUN.json: who finds a record finds the trace that it names.
 * The record is for programs and for `millrace history`: flat where it can be, the names those of mr_stats, sizes in
 * bytes, times in seconds. New fields may be added; a changed meaning needs a new MR__RECORD_FORMAT. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "memory.h"
#include "newfile.h"
#include "params.h"
#include "utf8.h"

enum { LISTED_MAX = 256, COMMAND_BYTES = 1 << 16, SECOND_NS = 1000000000, RANK_TITLE = 96 };

/* ---- values that jansson takes ----------------------------------------------------------------------------------- */

/* NULL gives null. */
static json_t *string_of(const char *text)
{
    if (text == NULL)
        return json_null();
    char *clean = mr__utf8_clean(text);
    json_t *string = clean != NULL ? json_string(clean) : NULL;
    mr__free(clean);
    return string;
}

static json_t *count_of(uint64_t value)
{
    return value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value);
}

static json_t *seconds_of(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

/* jansson's setters take NULL for a value that could not be made, and say so: one flag is enough for a whole object. */
typedef struct object {
    json_t *json;
    bool failed;
} object;

static void put(object *into, const char *key, json_t *value)
{
    into->failed |= json_object_set_new(into->json, key, value) != 0;
}

static void put_list(object *into, const char *key, const char *const *texts, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count && i < LISTED_MAX; i++)
        into->failed |= json_array_append_new(list, string_of(texts[i])) != 0;
    put(into, key, list);
}

/* ---- the parts of a record --------------------------------------------------------------------------------------- */

static void put_time(object *into, const char *key, int64_t when_ns)
{
    char text[64];
    struct tm utc;
    const time_t seconds = (time_t)(when_ns / SECOND_NS);
    gmtime_r(&seconds, &utc);
    const size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, sizeof text - used, ".%06dZ", (int)(when_ns % SECOND_NS / 1000));
    put(into, key, json_string(text));
}

/* What a person would type to do it again. */
static void put_command(object *into, uint32_t typed)
{
    json_t *list = json_array();
    char *text = mr__alloc(COMMAND_BYTES), path[32];
    snprintf(path, sizeof path, "/proc/%u/cmdline", typed != 0 ? typed : (uint32_t)getpid());
    const int fd = text != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const ssize_t size = fd >= 0 ? read(fd, text, COMMAND_BYTES - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (size > 0) {
        text[size] = '\0';
        for (const char *at = text; at < text + size; at += strlen(at) + 1)
            into->failed |= json_array_append_new(list, string_of(at)) != 0;
    }
    mr__free(text);
    put(into, "command", list);
}

static json_t *param_value(const mr_param *param, const void *params)
{
    char text[4096];
    uint64_t u64;
    int64_t i64;
    double f64;
    const char *field = (const char *)params + param->offset;
    switch (param->type) {
    case MR_PARAM_U64:
        memcpy(&u64, field, sizeof u64);
        return count_of(u64);
    case MR_PARAM_I64:
        memcpy(&i64, field, sizeof i64);
        return json_integer(i64);
    case MR_PARAM_F64:
        memcpy(&f64, field, sizeof f64);
        return json_real(f64);
    default:
        return string_of(mr__params_format(param, params, text, sizeof text));
    }
}

static void put_params(object *into, const mr__record *record)
{
    object params = {.json = json_object()};
    for (uint32_t i = 0; record->app != NULL && record->params != NULL && i < record->app->param_count; i++)
        put(&params, record->app->params[i].name, param_value(&record->app->params[i], record->params));
    into->failed |= params.failed;
    put(into, "params", params.json);
    put_list(into, "settings", record->settings, record->setting_count);
}

static void put_stats(object *into, const mr_stats *stats)
{
    put(into, "seconds", seconds_of(stats->seconds));
    put(into, "input_bytes", count_of(stats->input_bytes));
    put(into, "rows", count_of(stats->rows));
    put(into, "pairs", count_of(stats->pairs));
    put(into, "keys", count_of(stats->keys));
    put(into, "output_bytes", count_of(stats->output_bytes));
    put(into, "peak_rss_bytes", count_of(stats->peak_rss_bytes));
    put(into, "spilled_bytes", count_of(stats->spilled_bytes));
    put(into, "workers", count_of(stats->workers));
    put(into, "rounds", count_of(stats->rounds));
    put(into, "partitions", count_of(stats->partitions));
    put(into, "parts", count_of(stats->parts));
    put(into, "simd", string_of(stats->simd));
    put(into, "read_path", string_of(stats->read_path));
    json_t *stages = json_array();
    for (uint32_t i = 0; i < stats->stage_count && i < MR_STAGES_MAX; i++) {
        const mr_stage_stats *from = &stats->stages[i];
        object stage = {.json = json_object()};
        put(&stage, "name", string_of(from->name));
        put(&stage, "seconds", seconds_of(from->seconds));
        put(&stage, "tasks", count_of(from->tasks));
        put(&stage, "bytes", count_of(from->bytes));
        into->failed |= stage.failed | (json_array_append_new(stages, stage.json) != 0);
    }
    put(into, "stages", stages);
}

static void put_devices(object *into, const mr__record *record)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < record->device_count; i++) {
        const mr__record_device *from = &record->devices[i];
        object device = {.json = json_object()};
        put(&device, "id", string_of(from->id));
        put(&device, "name", string_of(from->name));
        put(&device, "tasks", count_of(from->tasks));
        put(&device, "given_back", count_of(from->given_back));
        put(&device, "failures", count_of(from->failures));
        put(&device, "why", from->why[0] != '\0' ? string_of(from->why) : json_null());
        put(&device, "drained", json_boolean(from->drained));
        put(&device, "ready_seconds", from->ready_ns > 0 ? seconds_of((double)from->ready_ns * 1e-9) : json_null());
        put(&device, "lanes", count_of(from->lanes));
        put(&device, "group", count_of(from->group));
        put(&device, "buffer", string_of(from->buffer));
        put(&device, "ran_again", count_of(from->again));
        put(&device, "kernel_cached", json_boolean(from->cached));
        put(&device, "zero_copy", json_boolean(from->zero_copy));
        into->failed |= device.failed | (json_array_append_new(list, device.json) != 0);
    }
    put(into, "devices", list);
    put(into, "device_note", record->device_note != NULL && record->device_note[0] != '\0'
                                 ? string_of(record->device_note) : json_null());
}

static void put_ranks(object *into, const mr__record *record)
{
    json_t *list = json_array();
    uint64_t spares = 0, used = 0;
    for (uint32_t i = 0; i < record->rank_count; i++) {
        const mr__record_rank *from = &record->ranks[i];
        spares += from->spare;
        used += from->took_place;
        object rank = {.json = json_object()};
        put(&rank, "rank", count_of(i));
        put(&rank, "host", string_of(from->host));
        put(&rank, "lost", json_boolean(from->lost));
        put(&rank, "spare", json_boolean(from->spare));
        put(&rank, "took_place", json_boolean(from->took_place));
        if (from->host != NULL) {
#define PUT_NUMBER(name) put(&rank, #name, count_of(from->name));
            MR__RANK_NUMBERS(PUT_NUMBER)
#undef PUT_NUMBER
            put(&rank, "map_seconds", seconds_of((double)from->map_ns * 1e-9));
        }
        into->failed |= rank.failed | (json_array_append_new(list, rank.json) != 0);
    }
    put(into, "ranks", list);
    put(into, "spares", count_of(spares));
    put(into, "spares_used", count_of(used));
}

static void put_losses(object *into, const mr__record *record)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < record->loss_count; i++) {
        object loss = {.json = json_object()};
        put(&loss, "rank", count_of(record->losses[i].rank));
        put_time(&loss, "when", record->losses[i].when_ns);
        put(&loss, "why", string_of(record->losses[i].why));
        into->failed |= loss.failed | (json_array_append_new(list, loss.json) != 0);
    }
    put(into, "losses", list);
}

static json_t *json_of(const mr__record *record, const char *trace_path)
{
    static const char *const orders[] = {"none", "key", "value"};
    static const mr_stats nothing = {.simd = "", .read_path = ""};
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    object root = {.json = json_object()};
    put(&root, "format", json_integer(MR__RECORD_FORMAT));
    put(&root, "run", string_of(record->run));
    put_time(&root, "started", record->started_ns);
    put(&root, "host", string_of(host));
    put(&root, "pid", json_integer(getpid()));
    put(&root, "version", string_of(mr_version()));
    put_command(&root, record->typed);
    put(&root, "app", string_of(record->app_name));
    put_params(&root, record);
    put_list(&root, "inputs", record->inputs, record->input_count);
    put(&root, "input_count", count_of(record->input_count));
    put(&root, "sources", count_of(record->sources));
    put(&root, "output", string_of(record->output));
    put(&root, "sort", string_of((uint32_t)record->sort < MR__COUNT(orders) ? orders[record->sort] : NULL));
    put(&root, "status", string_of(mr_status_name(record->status)));
    put(&root, "exit", json_integer(mr_status_exit(record->status)));
    put(&root, "error", record->status != MR_OK ? string_of(record->error) : json_null());
    put_stats(&root, record->stats != NULL ? record->stats : &nothing);
    put_devices(&root, record);
    if (record->rank_count > 0) {
        put_ranks(&root, record);
        put_losses(&root, record);
    }
    put(&root, "worker_note", string_of(record->worker_note));
    put(&root, "read_reason", string_of(record->read_reason));
    put(&root, "memory_limit", count_of(record->memory_limit));
    put(&root, "memory_peak", count_of(record->memory_peak));
    put(&root, "trace", string_of(trace_path));
    if (!root.failed)
        return root.json;
    json_decref(root.json);
    return NULL;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

void mr__record_make_run(int64_t now_ns, char run[MR__RUN_ID_SIZE])
{
    struct tm utc;
    const time_t seconds = (time_t)(now_ns / SECOND_NS);
    uint32_t noise;
    if (getrandom(&noise, sizeof noise, GRND_NONBLOCK) != (ssize_t)sizeof noise)
        noise = (uint32_t)mr__now_ns();
    gmtime_r(&seconds, &utc);
    char day[24];
    strftime(day, sizeof day, "%Y%m%d-%H%M%S", &utc);
    snprintf(run, MR__RUN_ID_SIZE, "%s-%06d-%d-%04x", day, (int)(now_ns % SECOND_NS / 1000), (int)getpid(),
             noise & 0xffff);
}

/* mkdir -p with mode 0700, as the XDG rules ask; what exists keeps its mode. */
static mr_status make_directory(const char *directory, mr__error *error)
{
    mr_status status = MR_OK;
    char path[MR__PATH_MAX];
    const int size = snprintf(path, sizeof path, "%s", directory);
    MR_CHECK(size > 0 && size < MR__PATH_MAX, MR_BAD_USAGE, "the directory for run records has too long a name");
    for (char *slash = path + 1;; slash++) {
        slash += strcspn(slash, "/");
        const char end = *slash;
        *slash = '\0';
        const int made = mr__fault(MR__FAULT_MKDIR) ? (errno = EACCES, -1) : mkdir(path, 0700);
        MR_CHECK(made == 0 || errno == EEXIST, mr__status_of_errno(errno, MR_IO_FAILED),
                 "could not make the directory %s for run records: %s\n"
                 "  hint: set MILLRACE_RECORDS to another one, or to nothing for no records", path, strerror(errno));
        if (end == '\0')
            break;
        *slash = end;
    }
done:
    return status;
}

static mr_status write_trace(const mr__record *record, const mr__trace *trace, const char *path, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t count = record->rank_count;
    mr__trace_part *parts = NULL;
    char (*titles)[RANK_TITLE] = NULL;
    uint32_t used = 0;
    if (count == 0)
        return mr__trace_write(trace, path, 0, record->app_name, NULL, 0, error);
    parts = mr__alloc(count * sizeof *parts);
    titles = mr__alloc(count * sizeof *titles);
    MR_CHECK(parts != NULL && titles != NULL, MR_NO_MEMORY, "no memory to write the trace %s", path);
    for (uint32_t r = 0; r < count; r++) {
        const mr__record_rank *rank = &record->ranks[r];
        snprintf(titles[r], RANK_TITLE, "rank %u on %s%s%s", r, rank->host != NULL ? rank->host : "?",
                 rank->spare ? " (spare)" : "", rank->lost ? " (lost)" : "");
        if (r != record->rank && rank->trace != NULL)
            parts[used++] = (mr__trace_part){r, titles[r], rank->trace, rank->trace_size};
    }
    status = mr__trace_write(trace, path, record->rank, titles[record->rank], parts, used, error);
done:
    mr__free(titles);
    mr__free(parts);
    return status;
}

static int write_to_file(const char *bytes, size_t size, void *file)
{
    return mr__newfile_write(file, bytes, size) == MR_OK ? 0 : -1;
}

mr_status mr__record_write(const char *directory, const mr__record *record, const mr__trace *trace,
                           char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    json_t *root = NULL;
    bool traced = false;
    char record_path[MR__PATH_MAX], trace_path[MR__PATH_MAX];
    path[0] = '\0';
    if (directory[0] == '\0')
        return MR_OK;
    MR_TRY(make_directory(directory, error));
    MR_CHECK(snprintf(record_path, sizeof record_path, "%s/%s.json", directory, record->run) < MR__PATH_MAX &&
                 snprintf(trace_path, sizeof trace_path, "%s/%s.trace.json", directory, record->run) < MR__PATH_MAX,
             MR_BAD_USAGE, "the directory for run records has too long a name");
    if (trace != NULL)
        MR_TRY(write_trace(record, trace, trace_path, error));
    traced = trace != NULL;
    root = json_of(record, trace != NULL ? trace_path : NULL);
    MR_CHECK(root != NULL, MR_NO_MEMORY, "no memory to write the run record %s", record_path);
    MR_TRY(mr__newfile_create(record_path, 0600, &file, error));
    const int dumped = json_dump_callback(root, write_to_file, file, JSON_INDENT(2));
    /* a write that failed is sticky and commit() words it; what is left is jansson's own memory */
    MR_CHECK(mr__newfile_write(file, "\n", 1) != MR_OK || dumped == 0, MR_NO_MEMORY,
             "no memory to write the run record %s", record_path);
    status = mr__newfile_commit(file, error);
    file = NULL;
    if (status == MR_OK)
        memcpy(path, record_path, sizeof record_path);
done:
    mr__newfile_drop(file);
    if (status != MR_OK && traced)
        unlink(trace_path);
    json_decref(root);
    return status;
}
