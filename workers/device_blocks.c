/* device_blocks.c: a task is cut into parts that fit the slot's buffers, a part into runs of consecutive rows; each run
 * is one launch.
 *
 *   task     | segment 0: blocks 0 1 2 3 | segment 1: 4 | segment 2: 5 6 |
 *   parts    [ run: 0 1 2 ] [ run: 3 ][ run: 4 ][ run: 5 6 ]
 *
 * On a CPU's runtime every command waits for a thread of the runtime, so behind the kernel of another slot: with clear,
 * kernel and copy as commands slots run in pairs, and both cores rest between two pairs. There results lie in the
 * host's memory (mr__device_run.direct), and a task is one command, its kernel: k-means 3 % faster on Intel's runtime
 * and 7 % on pocl, Black-Scholes 3 %.
 *
 * Where bytes are copied, a part's copy in, clear, kernel and copy back are given to the device in one go, so that two
 * slots take turns: one reads its next part while the device works for the other. When each command was waited for
 * they fell into step, both reading and then both waiting (linear regression, pocl with one of two cores, two tasks in
 * flight against one: 1.10x, and in one go 1.32x).
 *
 * Where the device may read the file's pages, a large run is a part of its own and is not bounded by the transfer
 * buffer. Runs of one part lie in one buffer, each at an offset that the device allows for a part of a buffer; a single
 * run has the buffer for itself, since drivers do not keep commands on a buffer and on its parts in order (device_cl.h,
 * mr__cl_clear), and with parts each command is waited for. */
#include "device_blocks.h"

#include <inttypes.h>
#include <string.h>

#include "clock.h"

enum { MAP_BYTES = 256 << 10,           /* shorter runs are read: a mapping of its own costs more */
       MARK_BYTES = 2 * sizeof(uint32_t) };

struct run {
    const mr__device_segment *segment;
    uint64_t first, rows;               /* first: row in the segment */
    size_t bytes, at;                   /* of the records; at: in the transfer buffer */
    size_t out_bytes, out_at;
    size_t result_at;                   /* in the slot's result memory */
    cl_mem records, out;
    cl_event cleared, launched, back;
};

/* Where a task has got to. */
struct cursor {
    const mr__device_segment *segments;
    uint32_t count, segment;
    uint64_t row;                       /* in the segment */
    size_t result_at;
};

struct part {
    struct run runs[MR__DEVICE_RUNS];
    uint32_t count;
    size_t bytes;                       /* of the transfer buffer */
    bool mapped;
    cl_event copied, checked;
};

static size_t out_bytes_of(const mr__device_job_view *view, uint64_t rows)
{
    if (view->job.form == MR__DEVICE_RECORDS)
        return (size_t)(rows * view->job.value_size);
    return (size_t)((rows + view->job.block_rows - 1) / view->job.block_rows) * mr__device_job_table(view);
}

static size_t aligned(const mr__device_slot *slot, size_t at)
{
    const size_t align = slot->run->cl->device.align > 64 ? slot->run->cl->device.align : 64;
    return (at + align - 1) / align * align;
}

static mr_status open_buffers(mr__device_slot *slot, uint64_t rows, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_run *run = slot->run;
    const size_t slack = aligned(slot, 1) * MR__DEVICE_RUNS;
    const size_t room = run->view->job.record_size > 0 ? (size_t)rows * run->view->job.record_size + slack : 0;
    slot->out_room = out_bytes_of(run->view, rows) + slack;
    MR_TRY(mr__device_input_open(&slot->input, run->cl, slot->queue, room, run->shared,
                                 mr__device_job_reading(run->view, slot->number), error));
    MR_TRY(mr__device_buffer_open(run, slot->out_room, &slot->out, &slot->out_memory, error));
    slot->block_rows = rows;
done:
    if (status != MR_OK)
        mr__device_input_close(&slot->input);
    return status;
}

/* Opens buffers for `rows` rows or, when memory is short, for half of it, and so on down to one block. */
static mr_status open_smaller(mr__device_slot *slot, uint64_t rows, mr__error *error)
{
    const uint64_t block = slot->run->view->job.block_rows;
    for (;;) {
        mr__error trouble = {.text = ""};
        const mr_status status = open_buffers(slot, rows, &trouble);
        if (status == MR_OK)
            return status;
        if (status != MR_NO_MEMORY || rows <= block)
            return mr__fail(error, status, "%s", trouble.text);
        rows = (rows / block + 1) / 2 * block;
    }
}

mr_status mr__device_blocks_open(mr__device_slot *slot, mr__error *error)
{
    const mr__device_job *job = &slot->run->view->job;
    const size_t result = out_bytes_of(slot->run->view, job->block_rows);
    uint64_t blocks = job->slot_bytes / (result > 0 ? result : 1);
    if (job->record_size > 0) {
        const uint64_t block_bytes = job->block_rows * job->record_size;
        const uint64_t largest = (job->largest_segment + block_bytes - 1) / block_bytes;
        blocks = largest < blocks ? largest : blocks;
    }
    return open_smaller(slot, (blocks > 0 ? blocks : 1) * job->block_rows, error);
}

static mr_status shrink(mr__device_slot *slot)
{
    mr__error ignored = {.text = ""};
    const uint64_t block = slot->run->view->job.block_rows, blocks = slot->block_rows / block;
    if (blocks <= 1)
        return MR_NO_MEMORY;
    mr__device_input_close(&slot->input);
    mr__device_buffer_close(&slot->out, &slot->out_memory, slot->out_room);
    return open_smaller(slot, blocks / 2 * block, &ignored);
}

/* ---- one part ---------------------------------------------------------------------------------------------------- */

static bool may_map(const mr__device_slot *slot, const mr__device_segment *segment, uint64_t rows)
{
    return slot->run->shared && !slot->reads && segment->file != UINT32_MAX &&
           rows * slot->run->view->job.record_size >= MAP_BYTES;
}

/* The next part from the cursor on, which it moves. */
static void cut(const mr__device_slot *slot, struct cursor *cursor, struct part *part)
{
    const mr__device_job *job = &slot->run->view->job;
    size_t out_at = 0;
    *part = (struct part){.count = 0};
    while (cursor->segment < cursor->count && part->count < MR__DEVICE_RUNS && !part->mapped) {
        const mr__device_segment *segment = &cursor->segments[cursor->segment];
        uint64_t rows = segment->rows - cursor->row;
        if (rows == 0) {
            cursor->segment++;
            cursor->row = 0;
            continue;
        }
        const bool map = may_map(slot, segment, rows);
        if (map && part->count > 0)
            break;
        const uint64_t out_rows = (slot->out_room - out_at) / out_bytes_of(slot->run->view, job->block_rows);
        uint64_t room = out_rows * job->block_rows;
        if (!map && job->record_size > 0 && segment->file != UINT32_MAX) {
            const uint64_t fit = (slot->input.room - part->bytes) / job->record_size;
            room = fit < room ? fit : room;
        }
        if (rows > room)
            rows = room / job->block_rows * job->block_rows;
        if (rows == 0)
            break;
        struct run *run = &part->runs[part->count++];
        *run = (struct run){.segment = segment, .first = cursor->row, .rows = rows, .at = part->bytes,
                            .bytes = segment->file != UINT32_MAX ? (size_t)rows * job->record_size : 0,
                            .out_bytes = out_bytes_of(slot->run->view, rows), .out_at = out_at,
                            .result_at = cursor->result_at};
        part->mapped = map;
        part->bytes = aligned(slot, part->bytes + run->bytes);
        if (part->bytes > slot->input.room)
            part->bytes = slot->input.room;
        out_at = aligned(slot, out_at + run->out_bytes);
        if (out_at > slot->out_room)
            out_at = slot->out_room;
        cursor->result_at += run->out_bytes;
        cursor->row += rows;
    }
}

static mr_status stage(mr__device_slot *slot, struct part *part, mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = slot->run->view;
    const uint64_t begin = mr__now_ns();
    if (part->mapped) {
        struct run *run = &part->runs[0];
        MR_TRY(mr__device_map(&slot->input, view, run->segment->file,
                              run->segment->offset + run->first * view->job.record_size, run->bytes, &run->records,
                              error));
        if (run->records != NULL) {
            mr__device_span(done->read_ns, begin, mr__now_ns());
            goto done;
        }
        slot->reads = true;
        MR_CHECK(run->bytes <= slot->input.room, MR_NO_MEMORY, "a file could not be mapped; its blocks are read");
        part->mapped = false;
    }
    MR_TRY(mr__device_input_begin(&slot->input, error));
    for (uint32_t r = 0; r < part->count; r++) {
        const struct run *run = &part->runs[r];
        if (run->bytes > 0)
            MR_TRY(mr__device_read(&slot->input, view, run->segment->file,
                                   run->segment->offset + run->first * view->job.record_size, run->bytes,
                                   slot->input.memory + run->at, error));
    }
    mr__device_span(done->read_ns, begin, mr__now_ns());
    MR_TRY(mr__device_input_send(&slot->input, part->bytes, &part->copied, error));
    if (part->count == 1)
        goto done;
    if (part->copied != NULL)
        MR_TRY(mr__cl_wait(slot->run->cl, 1, &part->copied, error));
    for (uint32_t r = 0; r < part->count; r++)
        if (part->runs[r].bytes > 0)
            MR_TRY(mr__cl_part(slot->run->cl, slot->input.buffer, part->runs[r].at, part->runs[r].bytes,
                               &part->runs[r].records, error));
done:
    return status;
}

static uint8_t *result_of(const mr__device_slot *slot, const struct run *run)
{
    return mr__device_job_slot(slot->run->view, slot->number) + run->result_at;
}

/* Where what was read back ends the nonce stands before: it is gone once the copy is there. */
static void mark(const mr__device_slot *slot, const struct run *run)
{
    if (run->out_bytes >= MARK_BYTES)
        memcpy(result_of(slot, run) + run->out_bytes - MARK_BYTES, slot->nonce + MR__FAULT_NONCE, MARK_BYTES);
}

static bool is_marked(const mr__device_slot *slot, const struct run *run)
{
    return run->out_bytes >= MARK_BYTES && memcmp(result_of(slot, run) + run->out_bytes - MARK_BYTES,
                                                  slot->nonce + MR__FAULT_NONCE, MARK_BYTES) == 0;
}

static mr_status launch_run(mr__device_slot *slot, struct run *run, bool alone, mr__device_launch launch,
                            mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cl *cl = slot->run->cl;
    const cl_mem records = run->records != NULL ? run->records : slot->input.buffer;
    const cl_ulong first = run->segment->first_row + run->first, rows = run->rows;
    if (!alone)
        MR_TRY(mr__cl_part(cl, slot->out, run->out_at, run->out_bytes, &run->out, error));
    const cl_mem out = alone ? slot->out : run->out;
    if (slot->out_memory != NULL)
        memset(slot->out_memory + run->out_at, 0, run->out_bytes);
    else if (slot->run->view->job.form == MR__DEVICE_ROWS)
        MR_TRY(mr__cl_clear(cl, slot->queue, out, run->out_bytes, alone ? &run->cleared : NULL, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 0, sizeof records, &records, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 1, sizeof(cl_mem), &slot->run->params, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 2, sizeof first, &first, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 3, sizeof rows, &rows, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 4, sizeof out, &out, error));
    MR_TRY(mr__cl_argument(cl, slot->kernel, 5, sizeof slot->fault, &slot->fault, error));
    MR_TRY(launch(slot, run->rows, &run->launched, error));
    if (slot->out_memory != NULL)
        goto done;
    if (!alone)
        MR_TRY(mr__cl_wait(cl, 1, &run->launched, error));
    mark(slot, run);
    MR_TRY(mr__cl_read(cl, slot->queue, out, 0, run->out_bytes, result_of(slot, run), &run->back, error));
done:
    return status;
}

static void add_event(cl_event *events, uint32_t *count, cl_event event)
{
    if (event != NULL)
        events[(*count)++] = event;
}

static mr_status wait_for(mr__device_slot *slot, struct part *part, mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    cl_event events[3 * MR__DEVICE_RUNS + 2];
    uint32_t count = 0;
    add_event(events, &count, part->copied);
    for (uint32_t r = 0; r < part->count; r++) {
        add_event(events, &count, part->runs[r].cleared);
        add_event(events, &count, part->runs[r].launched);
        add_event(events, &count, part->runs[r].back);
    }
    add_event(events, &count, part->checked);
    MR_TRY(mr__cl_wait(slot->run->cl, count, events, error));
    mr__device_clock(slot, events[count - 1]);
    mr__device_event_span(slot, part->copied, done->copy_ns);
    for (uint32_t r = 0; r < part->count; r++) {
        mr__device_event_span(slot, part->runs[r].launched, done->run_ns);
        mr__device_event_span(slot, part->runs[r].back, done->back_ns);
    }
done:
    return status;
}

static void release(mr__device_slot *slot, struct part *part, mr_status status)
{
    if (status != MR_OK)
        mr__cl_finish(slot->queue);
    for (uint32_t r = 0; r < part->count; r++) {
        mr__cl_event_release(&part->runs[r].cleared);
        mr__cl_event_release(&part->runs[r].launched);
        mr__cl_event_release(&part->runs[r].back);
        mr__cl_release(&part->runs[r].records);
        mr__cl_release(&part->runs[r].out);
    }
    mr__cl_event_release(&part->copied);
    mr__cl_event_release(&part->checked);
}

static mr_status take_result(mr__device_slot *slot, const struct run *run, mr__error *error)
{
    mr_status status = MR_OK;
    if (slot->out_memory != NULL)
        memcpy(result_of(slot, run), slot->out_memory + run->out_at, run->out_bytes);
    else
        MR_CHECK(!is_marked(slot, run), MR_DEVICE_LOST, "device %s says that a result was copied back, and it was not: "
                 MR__DISTRUST, slot->run->cl->device.id, slot->run->cl->device.id);
done:
    return status;
}

/* Did the kernel run, for each block? */
static mr_status check_groups(const mr__device_slot *slot, const struct part *part, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job *job = &slot->run->view->job;
    uint64_t groups = 0;
    if (job->form != MR__DEVICE_ROWS)
        return MR_OK;
    for (uint32_t r = 0; r < part->count; r++)
        groups += (part->runs[r].rows + job->block_rows - 1) / job->block_rows;
    MR_CHECK(slot->fault_words[MR__FAULT_GROUPS] == groups, MR_DEVICE_LOST, "device %s ran %u of %" PRIu64
             " work-groups: " MR__DISTRUST, slot->run->cl->device.id, slot->fault_words[MR__FAULT_GROUPS], groups,
             slot->run->cl->device.id);
done:
    return status;
}

static mr_status run_part(mr__device_slot *slot, struct part *part, mr__device_launch launch, mr__device_done *done,
                          mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job *job = &slot->run->view->job;
    MR_TRY(stage(slot, part, done, error));
    MR_TRY(mr__device_fault_clear(slot, error));
    for (uint32_t r = 0; r < part->count; r++)
        MR_TRY(launch_run(slot, &part->runs[r], part->count == 1, launch, error));
    MR_TRY(mr__device_fault_read(slot, &part->checked, error));
    MR_TRY(mr__cl_flush(slot->run->cl, slot->queue, error));
    MR_TRY(wait_for(slot, part, done, error));
    MR_TRY(mr__device_fault_check(slot, error));
    for (uint32_t r = 0; r < part->count; r++)
        MR_TRY(take_result(slot, &part->runs[r], error));
    MR_TRY(check_groups(slot, part, error));
    if (part->mapped)
        MR_TRY(mr__device_unmapped(&slot->input, slot->run->view, error));
    MR_CHECK(slot->fault_words[0] == 0, MR_BAD_INPUT, "the kernel of %s made the key %" PRId64 ", and keys are 0 to %"
             PRIu64, slot->run->view->name, (int64_t)(slot->fault_words[1] | (uint64_t)slot->fault_words[2] << 32),
             job->dense_keys - 1);
done:
    release(slot, part, status);
    return status;
}

mr_status mr__device_blocks_task(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                                 mr__device_launch launch, mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    struct cursor cursor = {.segments = segments, .count = count};
    const mr__device_job *job = &slot->run->view->job;
    size_t bytes = 0;
    for (uint32_t s = 0; s < count; s++) {
        MR_CHECK(segments[s].file == UINT32_MAX || segments[s].rows * job->record_size == segments[s].size, MR_INTERNAL,
                 "segment %u of the task is not whole records", s);
        bytes += out_bytes_of(slot->run->view, segments[s].rows);
        done->rows += segments[s].rows;
    }
    MR_CHECK(bytes <= job->slot_bytes, MR_NO_WORKER, "the result of this task, %zu bytes, does not fit its slot",
             bytes);
    if (slot->out == NULL)              /* memory was short, and may be no longer */
        MR_TRY(mr__device_blocks_open(slot, error));
    for (;;) {
        struct cursor next = cursor;
        struct part part;
        mr__error trouble = {.text = ""};
        cut(slot, &next, &part);
        if (part.count == 0)
            break;
        status = run_part(slot, &part, launch, done, &trouble);
        slot->reads |= status == MR_NO_MEMORY && part.mapped;
        if (status == MR_NO_MEMORY && (part.mapped || shrink(slot) == MR_OK)) {
            done->again++;
            continue;
        }
        MR_CHECK(status == MR_OK, status, "%s", trouble.text);
        cursor = next;
    }
    MR_CHECK(cursor.segment == count || segments[cursor.segment].rows == cursor.row, MR_NO_MEMORY,
             "a block of %" PRIu64 " rows does not fit the memory of device %s", job->block_rows,
             slot->run->cl->device.id);
    done->bytes = bytes;
    done->buffer = MR__DEVICE_DENSE;
done:
    return status;
}
