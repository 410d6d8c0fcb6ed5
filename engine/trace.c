/* trace.c: what each worker did when.
 *   lane -> blocks[0 .. 63] -> 1024 events each, allocated when the first event falls into them
 * A lane has one writer and no reader until the workers have been joined, so it needs neither lock nor atomic; lanes
 * start on cache lines of their own. A full lane drops what comes later instead of wrapping around: the beginning of a
 * job (who started when, which read was slow) explains more than its last seconds, and the count of what is missing is
 * in the file.
 *
 * The file is in the "Trace Event Format" of Chrome: an object with an array traceEvents of {"ph": "X" (complete
 * span), "C" (counter) or "M" (name of a lane)}. Times are microseconds, pid is the rank, tid the lane, both counted
 * from 1 because Perfetto takes thread 0 for the idle thread. */
#include "trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "memory.h"
#include "newfile.h"

enum { BLOCK_EVENTS = 1024, BLOCKS = MR__TRACE_EVENTS / BLOCK_EVENTS, LANE_NAME = 48, STRING_MAX = 256 };

typedef struct event {
    const char *name;
    const char *category;       /* NULL: a counter */
    const char *arg_name;
    uint64_t start_ns, end_ns;
    uint64_t value;
} event;

typedef struct lane {
    _Alignas(64) uint64_t count;
    uint64_t dropped;
    event *blocks[BLOCKS];
    char name[LANE_NAME];
} lane;

struct mr__trace {
    uint64_t origin_ns;
    uint32_t lane_count;
    lane *lanes;                /* whole pages: aligned, and untouched lanes cost nothing */
};

mr__trace *mr__trace_create(uint32_t lanes)
{
    mr__trace *trace = mr__alloc_zero(1, sizeof *trace);
    lane *memory = mr__pages_alloc(lanes * sizeof *memory);
    if (trace == NULL || memory == NULL) {
        mr__pages_free(memory, lanes * sizeof *memory);
        mr__free(trace);
        return NULL;
    }
    *trace = (mr__trace){.origin_ns = mr__now_ns(), .lane_count = lanes, .lanes = memory};
    return trace;
}

void mr__trace_destroy(mr__trace *trace)
{
    if (trace == NULL)
        return;
    for (uint32_t i = 0; i < trace->lane_count; i++) {
        for (uint32_t b = 0; b < BLOCKS; b++)
            mr__free(trace->lanes[i].blocks[b]);
    }
    mr__pages_free(trace->lanes, trace->lane_count * sizeof *trace->lanes);
    mr__free(trace);
}

void mr__trace_name_lane(mr__trace *trace, uint32_t index, const char *format, ...)
{
    if (trace == NULL || index >= trace->lane_count)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trace->lanes[index].name, LANE_NAME, format, arguments);
    va_end(arguments);
}

static void append(mr__trace *trace, uint32_t index, const event *item)
{
    if (trace == NULL || index >= trace->lane_count)
        return;
    lane *at = &trace->lanes[index];
    if (at->count == MR__TRACE_EVENTS) {
        at->dropped++;
        return;
    }
    event **block = &at->blocks[at->count / BLOCK_EVENTS];
    if (*block == NULL && (*block = mr__alloc(BLOCK_EVENTS * sizeof **block)) == NULL) {
        at->dropped++;
        return;
    }
    (*block)[at->count++ % BLOCK_EVENTS] = *item;
}

void mr__trace_span(mr__trace *trace, uint32_t index, const char *name, const char *category, uint64_t start_ns,
                    uint64_t end_ns, const char *arg_name, uint64_t arg_value)
{
    append(trace, index, &(event){name, category, arg_name, start_ns, end_ns, arg_value});
}

void mr__trace_counter(mr__trace *trace, uint32_t index, const char *name, uint64_t when_ns, uint64_t value)
{
    append(trace, index, &(event){.name = name, .start_ns = when_ns, .end_ns = when_ns, .value = value});
}

uint64_t mr__trace_dropped(const mr__trace *trace)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; trace != NULL && i < trace->lane_count; i++)
        dropped += trace->lanes[i].dropped;
    return dropped;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* A JSON string of printable ASCII; anything else becomes '?'. Names come from literals, so that is no loss. */
static const char *quoted(const char *text, char buffer[STRING_MAX])
{
    size_t n = 0;
    buffer[n++] = '"';
    for (; *text != '\0' && n < STRING_MAX - 4; text++) {
        if (*text == '"' || *text == '\\')
            buffer[n++] = '\\';
        buffer[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
    }
    memcpy(buffer + n, "\"", 2);
    return buffer;
}

typedef struct micros {
    uint64_t whole;
    unsigned rest;              /* nanoseconds */
} micros;

static micros micros_of(uint64_t ns)
{
    return (micros){ns / 1000, (unsigned)(ns % 1000)};
}

static void write_event(mr__newfile *file, const mr__trace *trace, uint32_t pid, uint32_t tid, const event *item)
{
    char name[STRING_MAX], category[STRING_MAX], arg[STRING_MAX];
    const uint64_t start = item->start_ns > trace->origin_ns ? item->start_ns - trace->origin_ns : 0;
    const uint64_t end = item->end_ns > trace->origin_ns ? item->end_ns - trace->origin_ns : 0;
    const micros at = micros_of(start), length = micros_of(end > start ? end - start : 0);
    mr__newfile_writef(file, ",\n{\"ph\":\"%c\",\"name\":%s,\"pid\":%u,\"tid\":%u,\"ts\":%" PRIu64 ".%03u",
                       item->category != NULL ? 'X' : 'C', quoted(item->name, name), pid, tid, at.whole, at.rest);
    if (item->category == NULL) {
        mr__newfile_writef(file, ",\"args\":{\"value\":%" PRIu64 "}}", item->value);
        return;
    }
    mr__newfile_writef(file, ",\"cat\":%s,\"dur\":%" PRIu64 ".%03u", quoted(item->category, category), length.whole,
                       length.rest);
    if (item->arg_name != NULL)
        mr__newfile_writef(file, ",\"args\":{%s:%" PRIu64 "}", quoted(item->arg_name, arg), item->value);
    mr__newfile_write(file, "}", 1);
}

static void write_lane(mr__newfile *file, const mr__trace *trace, uint32_t pid, uint32_t index)
{
    const lane *at = &trace->lanes[index];
    char text[STRING_MAX], fallback[LANE_NAME];
    snprintf(fallback, sizeof fallback, "worker %u", index);
    const uint32_t tid = index + 1;
    mr__newfile_writef(file, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":%s}}",
                       pid, tid, quoted(at->name[0] != '\0' ? at->name : fallback, text));
    mr__newfile_writef(file, ",\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%u,\"tid\":%u,"
                             "\"args\":{\"sort_index\":%u}}", pid, tid, tid);
    for (uint64_t i = 0; i < at->count; i++)
        write_event(file, trace, pid, tid, &at->blocks[i / BLOCK_EVENTS][i % BLOCK_EVENTS]);
}

mr_status mr__trace_write(const mr__trace *trace, const char *path, uint32_t rank, const char *process_name,
                          mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    char text[STRING_MAX];
    const uint32_t pid = rank + 1;
    MR_TRY(mr__newfile_create(path, 0600, &file, error));
    mr__newfile_writef(file, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"dropped\":%" PRIu64 "},\"traceEvents\":[\n",
                       mr__trace_dropped(trace));
    mr__newfile_writef(file, "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"tid\":0,\"args\":{\"name\":%s}}",
                       pid, quoted(process_name, text));
    for (uint32_t i = 0; trace != NULL && i < trace->lane_count; i++)
        write_lane(file, trace, pid, i);
    mr__newfile_writef(file, "\n]}\n");
    status = mr__newfile_commit(file, error);
    file = NULL;
done:
    mr__newfile_drop(file);
    return status;
}
