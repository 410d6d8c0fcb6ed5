/* device_text.c: cuts a text task into texts for the device.
 *
 *       begin - 1   begin                             end        stop
 *   file ... | b |  r e c o r d s  t h a t  s t a r t | . . . e d |
 *
 * `stop` is behind the first boundary at or after end - 1: the last record that starts in the range ends there (map.c
 * says the same of tasks on CPUs). It is looked for with small reads before the text is read or mapped as a whole.
 *
 * 80,000 small files are not 80,000 launches: files that a task has whole are laid one behind the other, with a line
 * break after each that does not end with a boundary of its own. */
#include "device_text.h"

#include <inttypes.h>
#include <string.h>

#include <millrace/app.h>

#include "clock.h"
#include "memory.h"

enum { STOP_STEP = 4096, MAP_BYTES = 256 << 10, SLACK = 64 << 10, LARGEST = 1 << 30 };

static bool is_boundary(uint32_t unit, uint8_t byte)
{
    return byte == '\n' || (unit == MR_WORDS && (byte == ' ' || (byte >= '\t' && byte <= '\r')));
}

size_t mr__device_text_room(const mr__device_job *job)
{
    const uint64_t room = job->largest_segment + SLACK;
    return (size_t)(room < LARGEST ? room : LARGEST);
}

/* Behind the last byte of the last record that starts before `end`. */
static mr_status find_stop(mr__device_slot *slot, uint32_t file, uint64_t end, uint64_t limit, uint64_t *stop,
                           mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = slot->run->view;
    uint8_t bytes[STOP_STEP];
    uint64_t file_bytes = 0;
    MR_TRY(mr__device_file_bytes(&slot->input, view, file, &file_bytes, error));
    MR_CHECK(end <= file_bytes, MR_BAD_INPUT, "%s has %" PRIu64 " bytes: it is shorter than when the job began",
             mr__device_job_file(view, file), file_bytes);
    for (uint64_t at = end - 1; at < file_bytes && at < limit;) {
        const size_t size = file_bytes - at < sizeof bytes ? (size_t)(file_bytes - at) : sizeof bytes;
        MR_TRY(mr__device_read(&slot->input, view, file, at, size, bytes, error));
        for (size_t i = 0; i < size; i++)
            if (is_boundary(view->job.unit, bytes[i])) {
                *stop = at + i + 1;
                goto done;
            }
        at += size;
    }
    *stop = file_bytes;
done:
    return status;
}

/* ---- one file, or a range of it ---------------------------------------------------------------------------------- */

static mr_status next_range(mr__device_slot *slot, mr__text_cursor *cursor, mr__device_text *text, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = slot->run->view;
    const mr__device_segment *segment = &cursor->segments[cursor->segment];
    const uint64_t begin = segment->offset + cursor->at, left = segment->size - cursor->at;
    /* from where the device allows a part of the file's pages to begin */
    const uint64_t front = begin > 0 ? 1 + (begin - 1) % slot->run->cl->device.align : 0;
    const bool map = slot->run->shared && !slot->reads && left >= MAP_BYTES;
    const uint64_t room = map ? LARGEST : slot->input.room, slack = room > 2 * SLACK ? SLACK : room / 2;
    const uint64_t most = room - slack - front;
    const uint64_t end = begin + (left < most ? left : most);
    uint64_t stop = 0;
    MR_TRY(find_stop(slot, segment->file, end, begin - front + room, &stop, error));
    MR_CHECK(stop - (begin - front) <= room, MR_NO_WORKER,
             "%s: the record at offset %" PRIu64 " is longer than the device's transfer buffer of %" PRIu64 " bytes",
             mr__device_job_file(view, segment->file), end - 1, room);
    text->offset = begin - front;
    text->size = (uint32_t)(stop - text->offset);
    text->begin = (uint32_t)front;
    text->end = (uint32_t)(end - text->offset);
    text->count = 1;
    text->file[0].file = segment->file;
    if (map) {
        MR_TRY(mr__device_map(&slot->input, view, segment->file, text->offset, text->size, &text->buffer, error));
        slot->reads = text->buffer == NULL;
        if (slot->reads)
            return next_range(slot, cursor, text, error);
        text->mapped = true;
        text->bytes = slot->input.map + text->offset;
    } else {
        MR_TRY(mr__device_input_begin(&slot->input, error));
        MR_TRY(mr__device_read(&slot->input, view, segment->file, text->offset, text->size, slot->input.memory, error));
    }
    cursor->at += end - begin;
done:
    return status;
}

/* ---- several whole files ----------------------------------------------------------------------------------------- */

/* Is the segment all of a small file? */
static mr_status is_whole(mr__device_slot *slot, const mr__device_segment *segment, bool *whole, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t bytes = 0;
    *whole = false;
    if (segment->offset == 0 && segment->size < MAP_BYTES && segment->size < slot->input.room) {
        MR_TRY(mr__device_file_bytes(&slot->input, slot->run->view, segment->file, &bytes, error));
        *whole = bytes == segment->size;
    }
done:
    return status;
}

static mr_status next_files(mr__device_slot *slot, mr__text_cursor *cursor, mr__device_text *text, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job_view *view = slot->run->view;
    MR_TRY(mr__device_input_begin(&slot->input, error));
    while (cursor->segment < cursor->count && text->count < MR__TEXT_FILES) {
        const mr__device_segment *segment = &cursor->segments[cursor->segment];
        bool whole;
        if (segment->size + 1 > slot->input.room - text->size)
            break;
        MR_TRY(is_whole(slot, segment, &whole, error));
        if (!whole)
            break;
        uint8_t *const to = slot->input.memory + text->size;
        MR_TRY(mr__device_read(&slot->input, view, segment->file, 0, (size_t)segment->size, to, error));
        text->file[text->count].at = text->size;
        text->file[text->count++].file = segment->file;
        text->size += (uint32_t)segment->size;
        if (segment->size > 0 && !is_boundary(view->job.unit, to[segment->size - 1]))
            slot->input.memory[text->size++] = '\n';
        cursor->segment++;
    }
    text->end = text->size;
done:
    return status;
}

mr_status mr__device_text_next(mr__device_slot *slot, mr__text_cursor *cursor, mr__device_text *text,
                               mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    bool whole;
    const uint64_t begin = mr__now_ns();
    *text = (mr__device_text){.size = 0};
    while (cursor->segment < cursor->count && cursor->at == cursor->segments[cursor->segment].size) {
        cursor->segment++;
        cursor->at = 0;
    }
    if (cursor->segment == cursor->count)
        return MR_OK;
    MR_TRY(is_whole(slot, &cursor->segments[cursor->segment], &whole, error));
    if (whole && cursor->at == 0)
        MR_TRY(next_files(slot, cursor, text, error));
    else
        MR_TRY(next_range(slot, cursor, text, error));
    mr__device_span(done->read_ns, begin, mr__now_ns());
    if (!text->mapped) {
        text->bytes = slot->input.memory;
        text->buffer = slot->input.buffer;
        MR_TRY(mr__device_input_send(&slot->input, text->size, &text->copied, error));
    }
done:
    return status;
}

mr_status mr__device_text_done(mr__device_slot *slot, mr__device_text *text, mr__error *error)
{
    mr_status status = MR_OK;
    if (text->copied != NULL)
        status = mr__cl_wait(slot->run->cl, 1, &text->copied, error);
    mr__cl_event_release(&text->copied);
    if (text->mapped) {
        mr__cl_release(&text->buffer);
        status = mr__device_unmapped(&slot->input, slot->run->view, error);
    }
    return status;
}

uint32_t mr__device_text_file(const mr__device_text *text, uint32_t at)
{
    uint32_t low = 0, high = text->count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (text->file[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return text->file[low].file;
}
