/* trace.c: what each worker did when.
 *   lane -> blocks[0 .. 63] -> 1024 events each, allocated when the first event falls into them
 * A lane has one writer, who stores `count` after the event. Who reads takes the events below it, so neither needs a
 * lock, and a rank packs its trace while its ticker goes on. Lanes start on cache lines of their own. A full lane drops
 * what comes later instead of wrapping around: the beginning of a job (who started when, which read was slow) explains
 * more than its last seconds, and the count of what is missing is in the file.
 *
 * The file is in the "Trace Event Format" of Chrome: an object with an array traceEvents of {"ph": "X" (complete
 * span), "C" (counter) or "M" (name of a lane)}. Times are microseconds, pid is the rank, tid the lane, both counted
 * from 1 because Perfetto takes thread 0 for the idle thread. Other ranks' traces come packed, and are unpacked one at
 * a time. */
#include "trace_parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "memory.h"
#include "newfile.h"

enum { STRING_MAX = 256 };

mr__trace *mr__trace_create(uint32_t lanes)
{
    mr__trace *trace = mr__alloc_zero(1, sizeof *trace);
    mr__trace_lane *memory = mr__pages_alloc(lanes * sizeof *memory);
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
        for (uint32_t b = 0; b < MR__TRACE_BLOCKS; b++)
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
    vsnprintf(trace->lanes[index].name, MR__TRACE_LANE_NAME, format, arguments);
    va_end(arguments);
}

static void drop(mr__trace_lane *lane)
{
    atomic_fetch_add_explicit(&lane->dropped, 1, memory_order_relaxed);
}

void mr__trace_append(mr__trace *trace, uint32_t index, const mr__trace_event *event)
{
    if (trace == NULL || index >= trace->lane_count)
        return;
    mr__trace_lane *lane = &trace->lanes[index];
    const uint64_t count = atomic_load_explicit(&lane->count, memory_order_relaxed);
    if (count == MR__TRACE_EVENTS) {
        drop(lane);
        return;
    }
    mr__trace_event **block = &lane->blocks[count / MR__TRACE_BLOCK];
    if (*block == NULL && (*block = mr__alloc(MR__TRACE_BLOCK * sizeof **block)) == NULL) {
        drop(lane);
        return;
    }
    (*block)[count % MR__TRACE_BLOCK] = *event;
    /* release: who sees the new count also sees the event, and the block that it is in */
    atomic_store_explicit(&lane->count, count + 1, memory_order_release);
}

void mr__trace_span(mr__trace *trace, uint32_t index, const char *name, const char *category, uint64_t start_ns,
                    uint64_t end_ns, const char *arg_name, uint64_t arg_value)
{
    mr__trace_append(trace, index, &(mr__trace_event){name, category, arg_name, start_ns, end_ns, arg_value});
}

void mr__trace_counter(mr__trace *trace, uint32_t index, const char *name, uint64_t when_ns, uint64_t value)
{
    mr__trace_append(trace, index,
                     &(mr__trace_event){.name = name, .start_ns = when_ns, .end_ns = when_ns, .value = value});
}

uint64_t mr__trace_dropped(const mr__trace *trace)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; trace != NULL && i < trace->lane_count; i++)
        dropped += atomic_load_explicit(&trace->lanes[i].dropped, memory_order_relaxed);
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

static void write_event(mr__newfile *file, uint64_t origin_ns, uint32_t pid, uint32_t tid,
                        const mr__trace_event *event)
{
    char name[STRING_MAX], category[STRING_MAX], arg[STRING_MAX];
    const uint64_t start = event->start_ns > origin_ns ? event->start_ns - origin_ns : 0;
    const uint64_t end = event->end_ns > origin_ns ? event->end_ns - origin_ns : 0;
    const micros at = micros_of(start), length = micros_of(end > start ? end - start : 0);
    mr__newfile_writef(file, ",\n{\"ph\":\"%c\",\"name\":%s,\"pid\":%u,\"tid\":%u,\"ts\":%" PRIu64 ".%03u",
                       event->category != NULL ? 'X' : 'C', quoted(event->name, name), pid, tid, at.whole, at.rest);
    if (event->category == NULL) {
        mr__newfile_writef(file, ",\"args\":{\"value\":%" PRIu64 "}}", event->value);
        return;
    }
    mr__newfile_writef(file, ",\"cat\":%s,\"dur\":%" PRIu64 ".%03u", quoted(event->category, category), length.whole,
                       length.rest);
    if (event->arg_name != NULL)
        mr__newfile_writef(file, ",\"args\":{%s:%" PRIu64 "}", quoted(event->arg_name, arg), event->value);
    mr__newfile_write(file, "}", 1);
}

static void write_lane(mr__newfile *file, uint64_t origin_ns, uint32_t pid, uint32_t index, const mr__trace_lane *lane)
{
    char text[STRING_MAX], fallback[MR__TRACE_LANE_NAME];
    const uint32_t tid = index + 1;
    const uint64_t count = mr__trace_count(lane);
    snprintf(fallback, sizeof fallback, "worker %u", index);
    mr__newfile_writef(file, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":%s}}",
                       pid, tid, quoted(lane->name[0] != '\0' ? lane->name : fallback, text));
    mr__newfile_writef(file, ",\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%u,\"tid\":%u,"
                             "\"args\":{\"sort_index\":%u}}", pid, tid, tid);
    for (uint64_t i = 0; i < count; i++)
        write_event(file, origin_ns, pid, tid, mr__trace_event_at(lane, i));
}

static void write_process(mr__newfile *file, uint64_t origin_ns, uint32_t rank, const char *title,
                          const mr__trace *trace)
{
    char text[STRING_MAX];
    const uint32_t pid = rank + 1;
    mr__newfile_writef(file, "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"tid\":0,\"args\":{\"name\":%s}}",
                       pid, quoted(title, text));
    for (uint32_t i = 0; trace != NULL && i < trace->lane_count; i++)
        write_lane(file, origin_ns, pid, i, &trace->lanes[i]);
}

mr_status mr__trace_write(const mr__trace *trace, const char *path, uint32_t rank, const char *title,
                          const mr__trace_part *others, uint32_t other_count, mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    const int64_t here_ns = mr__trace_clock();
    uint64_t began_ns, origin_ns = trace != NULL ? trace->origin_ns : mr__now_ns();
    uint64_t dropped = mr__trace_dropped(trace);
    MR_TRY(mr__newfile_create(path, 0600, &file, error));
    for (uint32_t i = 0; i < other_count; i++)
        if (mr__trace_packed_origin(others[i].packed, others[i].size, here_ns, &began_ns) && began_ns < origin_ns)
            origin_ns = began_ns;
    mr__newfile_writef(file, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    write_process(file, origin_ns, rank, title, trace);
    for (uint32_t i = 0; i < other_count; i++) {
        mr__trace *other = NULL;
        if (mr__trace_unpack(others[i].packed, others[i].size, here_ns, &other, NULL) != MR_OK)
            continue;
        mr__newfile_write(file, ",\n", 2);
        write_process(file, origin_ns, others[i].rank, others[i].title, other);
        dropped += mr__trace_dropped(other);
        mr__trace_destroy(other);
    }
    mr__newfile_writef(file, "\n],\"otherData\":{\"dropped\":%" PRIu64 "}}\n", dropped);
    status = mr__newfile_commit(file, error);
    file = NULL;
done:
    mr__newfile_drop(file);
    return status;
}
