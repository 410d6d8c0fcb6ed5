/* device_texts.c: text kernels. What they emit takes one of three ways:
 *
 *   ARRAY     launch: count --counts--> host: running sums --places--> launch: write --entries--> pairs
 *             each work-item has a region of its own, exactly as large as it needs; no atomics
 *   COMBINE   launch: combine in a table of the device --slots--> pairs
 *             a full table is no error: the text runs again with one four times as large
 *   DENSE     launch: add to a dense table; it is read once, at the end of the task
 *
 * AUTO combines as long as that pays: while the tables hold less than half as many keys as there were pairs; on a CPU,
 * whose work-items wait for each probe of the table, an eighth (Intel's runtime, words of Zipf text with 18 % of the
 * keys new: 100 MB/s by arrays, 69 by tables; with 4,000 words in all: 105 and 191). A table pays for its reading back,
 * an array for a second launch and for every pair; 16 bytes a pair, as 16 bytes a slot.
 * Keys with a suffix (the number of their file) combine only in a text of one file, since the table does not know
 * files.
 *
 * After a failure for want of memory the task begins again with buffers half as large: nothing was sent yet. */
#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "device_pairs.h"
#include "memory.h"

enum mode { COUNT, ARRAY, COMBINE, DENSE };

enum {
    PAYS_CPU = 8, PAYS_GPU = 2,
    TABLE_FIRST = 1 << 14, TABLE_MOST = 1 << 24,
    CPU_PIECE_MIN = 4 << 10, CPU_PIECE_MAX = 256 << 10, GPU_PIECE = 512,
    ROOM_MIN = 256 << 10
};

/* Beside the text: buffers of the device, and what is read back from them. */
struct mr__device_text_buffers {
    cl_mem counts, entries, refs, values, dense, none;
    uint32_t items;                 /* that `counts` has room for */
    size_t entry_room;
    uint32_t slots;                 /* of the table */
    uint32_t *host_counts;
    mr__device_entry *host_entries;
    uint64_t *host_refs, *host_values;
    struct launch *launch;
};

/* One text on the device. */
struct launch {
    mr__device_slot *slot;
    mr__device_text text;
    mr__device_done *done;
    mr__device_pairs *pairs;
    uint32_t piece, items;          /* bytes of the text for each item; how many items */
    uint64_t emitted;
};

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

static void close_table(struct mr__device_text_buffers *b)
{
    mr__cl_release(&b->refs);
    mr__cl_release(&b->values);
    mr__pages_free(b->host_refs, b->slots * sizeof *b->host_refs);
    mr__pages_free(b->host_values, b->slots * sizeof *b->host_values);
    b->host_refs = b->host_values = NULL;
    b->slots = 0;
}

static mr_status open_table(mr__device_slot *slot, uint32_t slots, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__device_text_buffers *b = slot->texts;
    const size_t bytes = slots * sizeof *b->host_refs;
    if (b->slots == slots)
        return MR_OK;
    close_table(b);
    b->slots = slots;
    b->host_refs = mr__pages_alloc(bytes);
    b->host_values = mr__pages_alloc(bytes);
    MR_CHECK(b->host_refs != NULL && b->host_values != NULL, MR_NO_MEMORY, "no memory for a table of %u keys", slots);
    MR_TRY(mr__cl_buffer(slot->run->cl, CL_MEM_READ_WRITE, bytes, NULL, &b->refs, error));
    MR_TRY(mr__cl_buffer(slot->run->cl, CL_MEM_READ_WRITE, bytes, NULL, &b->values, error));
done:
    if (status != MR_OK)
        close_table(b);
    return status;
}

static void close_entries(struct mr__device_text_buffers *b)
{
    mr__cl_release(&b->entries);
    mr__pages_free(b->host_entries, b->entry_room * sizeof *b->host_entries);
    b->host_entries = NULL;
    b->entry_room = 0;
}

static mr_status open_entries(mr__device_slot *slot, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__device_text_buffers *b = slot->texts;
    if (count <= b->entry_room)
        return MR_OK;
    close_entries(b);
    b->entry_room = count + count / 4;
    b->host_entries = mr__pages_alloc(b->entry_room * sizeof *b->host_entries);
    MR_CHECK(b->host_entries != NULL, MR_NO_MEMORY, "no memory for %zu pairs", count);
    MR_TRY(mr__cl_buffer(slot->run->cl, CL_MEM_READ_WRITE, b->entry_room * sizeof *b->host_entries, NULL, &b->entries,
                         error));
done:
    if (status != MR_OK)
        close_entries(b);
    return status;
}

static mr_status open_counts(mr__device_slot *slot, uint32_t items, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__device_text_buffers *b = slot->texts;
    if (items <= b->items)
        return MR_OK;
    mr__cl_release(&b->counts);
    mr__free(b->host_counts);
    b->items = 0;
    const size_t bytes = ((size_t)items + 2) * sizeof *b->host_counts;
    b->host_counts = mr__alloc(bytes);
    MR_CHECK(b->host_counts != NULL, MR_NO_MEMORY, "no memory for the counts of %u work-items", items);
    MR_TRY(mr__cl_buffer(slot->run->cl, CL_MEM_READ_WRITE, bytes, NULL, &b->counts, error));
    b->items = items;
done:
    return status;
}

static void close_slot(mr__device_slot *slot)
{
    struct mr__device_text_buffers *b = slot->texts;
    if (b == NULL)
        return;
    close_table(b);
    close_entries(b);
    mr__cl_release(&b->counts);
    mr__cl_release(&b->dense);
    mr__cl_release(&b->none);
    mr__free(b->host_counts);
    mr__free(b->launch);
    mr__free(b);
    slot->texts = NULL;
}

static mr_status open_input(mr__device_slot *slot, size_t room, mr__error *error)
{
    for (;;) {
        mr__error trouble = {.text = ""};
        const mr_status status =
            mr__device_input_open(&slot->input, slot->run->cl, slot->queue, room, slot->run->shared,
                                  mr__device_job_reading(slot->run->view, slot->number), &trouble);
        if (status == MR_OK)
            return status;
        if (status != MR_NO_MEMORY || room <= ROOM_MIN)
            return mr__fail(error, status, "%s", trouble.text);
        room /= 2;
    }
}

static mr_status open_slot(mr__device_slot *slot, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cl *cl = slot->run->cl;
    slot->texts = mr__alloc_zero(1, sizeof *slot->texts);
    MR_CHECK(slot->texts != NULL, MR_NO_MEMORY, "no memory for a slot");
    slot->texts->launch = mr__alloc_zero(1, sizeof *slot->texts->launch);
    MR_CHECK(slot->texts->launch != NULL, MR_NO_MEMORY, "no memory for a slot");
    MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_WRITE, sizeof(uint64_t), NULL, &slot->texts->none, error));
    if (slot->run->view->job.dense_keys > 0)
        MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_WRITE, mr__device_job_table(slot->run->view), NULL, &slot->texts->dense,
                             error));
    MR_TRY(open_input(slot, mr__device_text_room(&slot->run->view->job), error));
done:
    return status;
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static void cut_pieces(struct launch *l)
{
    const mr__device_run *run = l->slot->run;
    const uint32_t bytes = l->text.end - l->text.begin;
    if (run->group == 1) {
        l->piece = bytes / (run->cl->device.units * 8) + 1;
        l->piece = l->piece < CPU_PIECE_MIN ? CPU_PIECE_MIN : l->piece > CPU_PIECE_MAX ? CPU_PIECE_MAX : l->piece;
    } else {
        l->piece = GPU_PIECE;
    }
    l->items = (bytes + l->piece - 1) / l->piece;
    l->items = (l->items + run->group - 1) / run->group * run->group;
}

static mr_status set_arguments(struct launch *l, enum mode mode, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_slot *slot = l->slot;
    const struct mr__device_text_buffers *b = slot->texts;
    const cl_mem *const none = &b->none;
    const cl_uint mode_number = mode, room = (cl_uint)b->entry_room, slots = b->slots;
    const cl_uint source = l->text.file[0].file;
    const cl_ulong offset = l->text.offset;
    const struct { size_t size; const void *value; } arguments[] = {
        {sizeof(cl_mem), &l->text.buffer},
        {sizeof l->text.size, &l->text.size},
        {sizeof l->text.begin, &l->text.begin},
        {sizeof l->text.end, &l->text.end},
        {sizeof l->piece, &l->piece},
        {sizeof offset, &offset},
        {sizeof source, &source},
        {sizeof(cl_mem), &slot->run->params},
        {sizeof mode_number, &mode_number},
        {sizeof(cl_mem), &b->counts},
        {sizeof(cl_mem), b->entries != NULL ? &b->entries : none},
        {sizeof room, &room},
        {sizeof(cl_mem), b->refs != NULL ? &b->refs : none},
        {sizeof(cl_mem), b->values != NULL ? &b->values : none},
        {sizeof slots, &slots},
        {sizeof(cl_mem), b->dense != NULL ? &b->dense : none},
        {sizeof(cl_mem), &slot->fault},
    };
    for (uint32_t i = 0; i < MR__COUNT(arguments); i++)
        MR_TRY(mr__cl_argument(slot->run->cl, slot->kernel, i, arguments[i].size, arguments[i].value, error));
done:
    return status;
}

/* What a kernel finds in a buffer, and what is read of it afterwards. */
struct exchange {
    cl_mem buffer;
    size_t size;
    const void *send;               /* NULL: nothing */
    bool clear;
    void *back;                     /* NULL: nothing */
};

enum { EXCHANGES_MOST = 3 };

/* Gives the device all commands in one go (device_blocks.c says why), and waits. */
static mr_status run_kernel(struct launch *l, enum mode mode, const struct exchange *exchange, uint32_t count,
                            mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_slot *slot = l->slot;
    const mr__cl *cl = slot->run->cl;
    cl_event events[2 * EXCHANGES_MOST + 2] = {NULL};
    uint32_t used = 0;
    const size_t local = slot->run->group, global = l->items;
    for (uint32_t i = 0; i < count; i++) {
        const struct exchange *e = &exchange[i];
        if (e->clear)
            MR_TRY(mr__cl_clear(cl, slot->queue, e->buffer, e->size, &events[used++], error));
        if (e->send != NULL)
            MR_TRY(mr__cl_write(cl, slot->queue, e->buffer, 0, e->size, e->send, &events[used++], error));
    }
    MR_TRY(mr__device_fault_clear(slot, error));
    MR_TRY(set_arguments(l, mode, error));
    const uint32_t launched = used++;
    MR_TRY(mr__cl_launch(cl, slot->queue, slot->kernel, 1, &global, &local, &events[launched], error));
    for (uint32_t i = 0; i < count; i++)
        if (exchange[i].back != NULL)
            MR_TRY(mr__cl_read(cl, slot->queue, exchange[i].buffer, 0, exchange[i].size, exchange[i].back,
                               &events[used++], error));
    MR_TRY(mr__device_fault_read(slot, &events[used++], error));
    MR_TRY(mr__cl_flush(cl, slot->queue, error));
    MR_TRY(mr__cl_wait(cl, used, events, error));
    mr__device_clock(slot, events[used - 1]);
    mr__device_event_span(slot, l->text.copied, l->done->copy_ns);
    mr__device_event_span(slot, events[launched], l->done->run_ns);
    for (uint32_t i = launched + 1; i < used; i++)
        mr__device_event_span(slot, events[i], l->done->back_ns);
    MR_TRY(mr__device_fault_check(slot, error));
    MR_CHECK(slot->fault_words[0] != MR__FAULT_KEY, MR_BAD_INPUT, "the kernel of %s made the key %" PRId64
             ", and keys are 0 to %" PRIu64, slot->run->view->name,
             (int64_t)(slot->fault_words[1] | (uint64_t)slot->fault_words[2] << 32),
             slot->run->view->job.dense_keys - 1);
    MR_CHECK(slot->fault_words[0] != MR__FAULT_LONG_KEY, MR_NO_WORKER, "a key of %u bytes is too long for a table on a "
             "device", slot->fault_words[1]);
    l->pairs->folded = slot->fault_words[3] != 0;
done:
    if (status != MR_OK)
        mr__cl_finish(slot->queue);
    for (uint32_t i = 0; i < MR__COUNT(events); i++)
        mr__cl_event_release(&events[i]);
    return status;
}

/* counts[] becomes the number of pairs before each item; the total goes to *total. */
static mr_status sum_counts(struct launch *l, uint64_t *total, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t *const counts = l->slot->texts->host_counts;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < l->items; i++) {
        const uint32_t count = counts[i];
        /* a pair has at least one byte of the text, and one between it and the next */
        MR_CHECK(count <= l->text.size, MR_DEVICE_LOST, "device %s counted %u pairs in %u bytes: its answers are not "
                 "to be trusted\n  hint: `millrace devices test %s`", l->slot->run->cl->device.id, count, l->piece,
                 l->slot->run->cl->device.id);
        counts[i] = (uint32_t)sum;
        sum += count;
    }
    MR_CHECK(sum <= UINT32_MAX / 2, MR_NO_WORKER, "%" PRIu64 " pairs of one text are too many for a device", sum);
    counts[l->items] = counts[l->items + 1] = (uint32_t)sum;
    *total = sum;
done:
    return status;
}

static mr_status run_array(struct launch *l, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_slot *slot = l->slot;
    struct mr__device_text_buffers *b = slot->texts;
    const size_t counts = ((size_t)l->items + 2) * sizeof *b->host_counts;
    uint64_t total = 0;
    const struct exchange count = {.buffer = b->counts, .size = counts, .back = b->host_counts};
    MR_TRY(run_kernel(l, COUNT, &count, 1, error));
    MR_TRY(sum_counts(l, &total, error));
    l->emitted = total;
    if (total == 0)
        goto done;
    MR_TRY(open_entries(slot, (size_t)total, error));
    const struct exchange write[] = {
        {.buffer = b->counts, .size = counts, .send = b->host_counts},
        {.buffer = b->entries, .size = (size_t)total * sizeof *b->host_entries, .back = b->host_entries}};
    MR_TRY(run_kernel(l, ARRAY, write, MR__COUNT(write), error));
    MR_CHECK(slot->fault_words[0] == 0, MR_DEVICE_LOST, "device %s emits more pairs than it counted: " MR__DISTRUST,
             slot->run->cl->device.id, slot->run->cl->device.id);
    MR_TRY(mr__device_pairs_entries(l->pairs, &l->text, b->host_entries, (size_t)total, error));
done:
    return status;
}

/* What the kernel emitted, for the statistics and for the engine's check of the first task. */
static void sum_emitted(struct launch *l)
{
    l->emitted = 0;
    for (uint32_t i = 0; i < l->items; i++)
        l->emitted += l->slot->texts->host_counts[i];
}

/* *full: the largest table is too small. */
static mr_status run_combine(struct launch *l, bool *full, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_slot *slot = l->slot;
    mr__device_run *run = slot->run;
    struct mr__device_text_buffers *b = slot->texts;
    const size_t counts = ((size_t)l->items + 2) * sizeof *b->host_counts;
    uint32_t slots = atomic_load(&run->table_slots);
    uint64_t keys = 0;
    *full = false;
    for (slots = slots > 0 ? slots : TABLE_FIRST;; slots *= 4) {
        MR_TRY(open_table(slot, slots, error));
        const size_t bytes = slots * sizeof *b->host_refs;
        const struct exchange table[EXCHANGES_MOST] = {
            {.buffer = b->refs, .size = bytes, .clear = true, .back = b->host_refs},
            {.buffer = b->values, .size = bytes, .clear = true, .back = b->host_values},
            {.buffer = b->counts, .size = counts, .clear = true, .back = b->host_counts}};
        MR_TRY(run_kernel(l, COMBINE, table, EXCHANGES_MOST, error));
        if (slot->fault_words[0] == 0)
            break;
        l->done->again++;
        if (slots >= TABLE_MOST || (uint64_t)slots * 16 > run->cl->device.max_alloc_bytes / 4) {
            *full = true;
            goto done;
        }
    }
    atomic_store(&run->table_slots, slots);
    sum_emitted(l);
    MR_TRY(mr__device_pairs_table(l->pairs, &l->text, b->host_refs, b->host_values, slots, &keys, error));
    atomic_fetch_add(&run->pairs, l->emitted);
    atomic_fetch_add(&run->keys, keys);
done:
    return status;
}

static mr_status run_dense(struct launch *l, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__device_text_buffers *b = l->slot->texts;
    const size_t counts = ((size_t)l->items + 2) * sizeof *b->host_counts;
    const struct exchange count = {.buffer = b->counts, .size = counts, .clear = true, .back = b->host_counts};
    MR_TRY(run_kernel(l, DENSE, &count, 1, error));
    sum_emitted(l);
done:
    return status;
}

/* ---- a task ------------------------------------------------------------------------------------------------------ */

static enum mr__device_buffer buffer_for(const struct launch *l)
{
    mr__device_run *run = l->slot->run;
    const mr__device_job *job = &run->view->job;
    const uint64_t pairs = atomic_load(&run->pairs), keys = atomic_load(&run->keys);
    const bool can_combine = run->cl->device.int64_atomics && (job->suffix_size == 0 || l->text.count == 1);
    if (job->dense_keys > 0)
        return MR__DEVICE_DENSE;
    if (job->buffer == MR__DEVICE_ARRAY || !can_combine)
        return MR__DEVICE_ARRAY;
    const uint64_t pays = run->group == 1 ? PAYS_CPU : PAYS_GPU;
    return job->buffer == MR__DEVICE_COMBINE || keys <= pairs / pays ? MR__DEVICE_COMBINE : MR__DEVICE_ARRAY;
}

static mr_status run_text(struct launch *l, mr__error *error)
{
    mr_status status = MR_OK;
    bool full = false;
    cut_pieces(l);
    MR_TRY(open_counts(l->slot, l->items, error));
    enum mr__device_buffer buffer = buffer_for(l);
    if (buffer == MR__DEVICE_DENSE)
        MR_TRY(run_dense(l, error));
    if (buffer == MR__DEVICE_COMBINE) {
        MR_TRY(run_combine(l, &full, error));
        buffer = full ? MR__DEVICE_ARRAY : buffer;
    }
    if (buffer == MR__DEVICE_ARRAY)
        MR_TRY(run_array(l, error));
    l->done->buffer = buffer;
    l->done->pairs += l->emitted;
done:
    return status;
}

static mr_status run_all(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                         mr__device_pairs *pairs, mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    mr__text_cursor cursor = {.segments = segments, .count = count};
    struct launch *l = slot->texts->launch;
    const size_t table = mr__device_job_table(slot->run->view);
    pairs->used = 0;
    done->pairs = 0;
    if (slot->texts->dense != NULL)
        MR_TRY(mr__cl_clear(slot->run->cl, slot->queue, slot->texts->dense, table, NULL, error));
    for (;;) {
        *l = (struct launch){.slot = slot, .done = done, .pairs = pairs};
        status = mr__device_text_next(slot, &cursor, &l->text, done, error);
        const bool end = status == MR_OK && l->text.size == 0;
        if (status == MR_OK && !end)
            status = run_text(l, error);
        const mr_status whole = mr__device_text_done(slot, &l->text, status == MR_OK ? error : NULL);
        status = status == MR_OK ? whole : status;
        if (status != MR_OK || end)
            break;
    }
    if (status == MR_OK && slot->texts->dense != NULL) {
        MR_TRY(mr__cl_read(slot->run->cl, slot->queue, slot->texts->dense, 0, table, pairs->memory, NULL, error));
        pairs->used = table;
    }
done:
    return status;
}

static mr_status run_task(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                          mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = slot->run->view;
    mr__device_pairs pairs = {.view = view, .device = slot->run->cl->device.id, .room = view->job.slot_bytes,
                              .memory = mr__device_job_slot(view, slot->number)};
    for (uint32_t s = 0; s < count; s++)
        MR_CHECK(segments[s].file < view->file_count, MR_INTERNAL, "segment %u of the task has no file", s);
    for (;;) {
        mr__error trouble = {.text = ""};
        const size_t room = slot->input.room;
        if (slot->input.cl == NULL)     /* memory was short, and may be no longer */
            MR_TRY(open_input(slot, mr__device_text_room(&view->job), error));
        status = run_all(slot, segments, count, &pairs, done, &trouble);
        if (status == MR_NO_MEMORY && (room > ROOM_MIN || !slot->reads)) {
            done->again++;
            slot->reads = true;
            close_table(slot->texts);
            close_entries(slot->texts);
            mr__device_input_close(&slot->input);
            MR_TRY(open_input(slot, room > 2 * ROOM_MIN ? room / 2 : ROOM_MIN, error));
            continue;
        }
        MR_CHECK(status == MR_OK, status == MR_NO_SPACE ? MR_NO_WORKER : status, "%s", trouble.text);
        break;
    }
    done->bytes = pairs.used;
done:
    return status;
}

const mr__device_work mr__device_texts = {"mr_text", open_slot, close_slot, run_task};
