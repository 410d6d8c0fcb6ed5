/* reader.c: ranges, windows and files of a reader; and the plain path, pread into one buffer.
 *
 *   [ head: kept bytes ...|fresh bytes ..................|padding ]
 *                         ^ pread always lands here, on a page
 *
 * The kept bytes (a partial line) move in front of where the next read lands, so the copy is as small as they are, and
 * the read stays aligned. The buffer is small on purpose: at 256 KiB the kernel's copy lands in L2 and is read from
 * there. Sums over 1 GiB in the page cache, two threads, Intel: windows of 256-512 KiB 7.5 GB/s, 1 MiB 5.9, 4 MiB 4.7.
 *
 * A record that fills the window (keep == all of it) doubles the window, so a line of n bytes costs O(n). The room is
 * given back at the start of the next range. */
#include "reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "memory.h"
#include "reader_parts.h"

enum { PAGE = 4096, FIRST_PIECE = 4096 };

const char *mr__read_path_name(mr__read_path path)
{
    static const char *const names[] = {"pread", "mmap", "io_uring"};
    return (size_t)path < MR__COUNT(names) ? names[path] : "?";
}

mr_status mr__reader_truncated(const mr__source *source, uint64_t now, mr__error *error)
{
    return mr__fail(
        error, MR_BAD_INPUT,
        "%s was truncated while it was read: it had %llu bytes when it was listed and ends at offset %llu now"
        "\n  hint: run the job again when nothing writes to the file",
        source->path, (unsigned long long)source->size, (unsigned long long)now);
}

mr_status mr__reader_failed(const mr__source *source, uint64_t offset, int number, mr__error *error)
{
    return mr__fail(error, mr__status_of_errno(number, MR_BAD_INPUT), "could not read %s at offset %llu: %s",
                    source->path, (unsigned long long)offset, strerror(number));
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void close_slot(mr__slot *slot)
{
    if (slot->file.tier != NULL)
        slot->file.tier->ops->close(&slot->file);
}

static mr_status open_source(mr__reader *reader, uint32_t index, mr__file *file, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__source *source = &reader->sources->items[index];
    const int result = source->tier->ops->open(source->tier, source->inside, file);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_BAD_INPUT), "could not open %s: %s%s", source->path,
             strerror(-result), mr__errno_hint(result));
done:
    return status;
}

static mr_status use_source(mr__reader *reader, uint32_t index, mr__slot *slot, mr__error *error)
{
    mr_status status = MR_OK;
    if (slot->file.tier != NULL && slot->source == index)
        return MR_OK;
    close_slot(slot);
    MR_TRY(open_source(reader, index, &slot->file, error));
    slot->source = index;
done:
    return status;
}

/* It was cut short, or it never had what the system says, as below /sys. */
static mr_status ends_early(const mr__source *source, const mr__file *file, uint64_t now, mr__error *error)
{
    struct stat found;
    if (file->fd < 0 || fstat(file->fd, &found) != 0 || (uint64_t)found.st_size < source->size)
        return mr__reader_truncated(source, now, error);
    return mr__fail(error, MR_BAD_INPUT,
                    "could not read %s: it ends at offset %llu, and the system says that it has %llu bytes"
                    "\n  hint: give it to the job through a pipe: cat %s | millrace run APP -",
                    source->path, (unsigned long long)now, (unsigned long long)source->size, source->path);
}

static mr_status read_exactly(const mr__source *source, const mr__file *file, void *bytes, size_t size,
                              uint64_t offset, mr__error *error)
{
    const ssize_t got = file->tier->ops->read_at(file, bytes, size, offset);
    if (got < 0)
        return mr__reader_failed(source, offset, (int)-got, error);
    if ((size_t)got < size)
        return ends_early(source, file, offset + (uint64_t)got, error);
    return MR_OK;
}

mr_status mr__reader_check_size(const mr__reader *reader, mr__error *error)
{
    struct stat found;
    if (reader->ranged.file.fd >= 0 && fstat(reader->ranged.file.fd, &found) == 0 &&
        (uint64_t)found.st_size < reader->source->size)
        return mr__reader_truncated(reader->source, (uint64_t)found.st_size, error);
    return MR_OK;
}

/* ---- the buffer -------------------------------------------------------------------------------------------------- */

static size_t rounded(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static size_t usual_capacity(const mr__reader *reader)
{
    return MR__READER_HEAD + rounded(reader->window + MR_BLOCK_PADDING, PAGE);
}

static void drop_buffer(mr__reader *reader)
{
    mr__pages_free(reader->buffer, reader->capacity);
    mr__budget_release(reader->budget, reader->capacity);
    reader->buffer = NULL;
    reader->capacity = 0;
}

/* After a record or a file that was far larger than usual. */
static void drop_large_buffer(mr__reader *reader)
{
    if (reader->capacity > 4 * usual_capacity(reader))
        drop_buffer(reader);
}

/* The usual buffer is forced out of the budget, and so is one a little larger, as what is kept of a block may need it:
 * without it nothing can be read, however ordinary the input is. A much larger one has to fit. */
static uint8_t *new_buffer(mr__reader *reader, size_t capacity)
{
    if (capacity <= 2 * usual_capacity(reader))
        mr__budget_force(reader->budget, capacity);
    else if (!mr__budget_reserve(reader->budget, capacity))
        return NULL;
    uint8_t *buffer = mr__pages_alloc(capacity);
    if (buffer == NULL)
        mr__budget_release(reader->budget, capacity);
    return buffer;
}

mr_status mr__reader_make_room(mr__reader *reader, size_t keep, size_t want, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t front = keep <= MR__READER_HEAD ? MR__READER_HEAD : rounded(keep, PAGE);
    const uint8_t *kept = keep > 0 ? reader->data + (reader->have - keep) : NULL;
    const size_t need = front + rounded(want + MR_BLOCK_PADDING, PAGE);
    if (need <= reader->capacity) {
        if (keep > 0)
            memmove(reader->buffer + front - keep, kept, keep);
    } else {
        const size_t capacity = need > usual_capacity(reader) ? need : usual_capacity(reader);
        uint8_t *buffer = new_buffer(reader, capacity);
        MR_CHECK(buffer != NULL, MR_NO_MEMORY,
                 "no memory for a record of more than %zu bytes in %s at offset %llu\n  hint: raise --memory, or check "
                 "that the file has the record ends that the job expects",
                 keep, reader->source->path, (unsigned long long)(reader->position - keep));
        if (keep > 0)
            memcpy(buffer + front - keep, kept, keep);
        drop_buffer(reader);
        reader->buffer = buffer;
        reader->capacity = capacity;
    }
    reader->data = reader->buffer + front - keep;
    reader->have = keep;
done:
    return status;
}

mr_status mr__pread_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__reader_make_room(reader, keep, want, error));
    MR_TRY(read_exactly(reader->source, &reader->ranged.file, reader->data + keep, want, reader->position, error));
    *got = want;
done:
    return status;
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

mr_status mr__reader_end(mr__reader *reader, mr__error *error)
{
    mr_status status = MR_OK;
    if (reader->source == NULL)
        return MR_OK;
    status = reader->path == MR__READ_MMAP ? mr__map_check(reader, error) : mr__reader_check_size(reader, error);
    if (reader->map != NULL)
        mr__map_end(reader->map);
    if (reader->ahead != NULL)
        mr__ahead_end(reader->ahead);
    reader->source = NULL;
    reader->have = 0;
    return status;
}

mr_status mr__reader_start(mr__reader *reader, uint32_t source, uint64_t offset, uint64_t soft_end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__reader_end(reader, error));
    drop_large_buffer(reader);
    MR_TRY(use_source(reader, source, &reader->ranged, error));
    reader->source = &reader->sources->items[source];
    reader->position = offset;
    reader->soft_end = soft_end;
    reader->piece = FIRST_PIECE;
    MR_TRY(mr__reader_make_room(reader, 0, 0, error));
    reader->path = MR__READ_PREAD;
    if (reader->ranged.file.fd >= 0 && reader->map != NULL)
        reader->path = MR__READ_MMAP;
    else if (reader->ranged.file.fd >= 0 && reader->ahead != NULL) {
        reader->path = MR__READ_URING;
        mr__ahead_start(reader);
    }
done:
    return status;
}

/* How many fresh bytes the next window is to have. */
static size_t wanted(mr__reader *reader, size_t keep)
{
    const bool stuck = keep > 0 && keep == reader->have;
    uint64_t want, left = reader->source->size - reader->position;
    if (reader->position < reader->soft_end) {
        want = stuck && keep > reader->window ? keep : reader->window;
        if (want > reader->soft_end - reader->position)
            want = reader->soft_end - reader->position;
    } else {
        want = stuck && keep > reader->piece ? keep : reader->piece;
        if (reader->piece < reader->window)
            reader->piece *= 2;
    }
    return (size_t)(want < left ? want : left);
}

mr_status mr__reader_next(mr__reader *reader, size_t keep, mr_slice *window, uint64_t *offset, bool *at_end,
                          mr__error *error)
{
    mr_status status = MR_OK;
    size_t got = 0;
    MR_CHECK(reader->source != NULL && keep <= reader->have, MR_INTERNAL,
             "a window was asked for outside of a range, or with more kept bytes than there are");
    const size_t want = wanted(reader, keep);
    if (want == 0) {                            /* the end of the source */
        reader->data += reader->have - keep;
        reader->have = keep;
        if (reader->path == MR__READ_MMAP)
            MR_TRY(mr__map_check(reader, error));
    } else if (reader->path == MR__READ_MMAP) {
        MR_TRY(mr__map_fill(reader, keep, want, &got, error));
    } else if (reader->path == MR__READ_URING && reader->position < reader->soft_end) {
        MR_TRY(mr__ahead_fill(reader, keep, want, &got, error));
    } else {
        MR_TRY(mr__pread_fill(reader, keep, want, &got, error));
    }
    reader->have = keep + got;
    *offset = reader->position - keep;
    reader->position += got;
    *window = (mr_slice){.data = reader->data, .size = reader->have};
    *at_end = reader->position >= reader->source->size;
done:
    return status;
}

/* ---- files as a whole, bytes at a place -------------------------------------------------------------------------- */

mr_status mr__reader_whole(mr__reader *reader, uint32_t source, mr_slice *content, mr__error *error)
{
    mr_status status = MR_OK;
    mr__file file = {.fd = -1};
    MR_TRY(mr__reader_end(reader, error));
    const mr__source *item = reader->source = &reader->sources->items[source];
    reader->position = 0;
    MR_CHECK(item->size <= SIZE_MAX / 2, MR_NO_MEMORY, "%s does not fit the memory", item->path);
    if (item->size <= reader->window)
        drop_large_buffer(reader);
    MR_TRY(mr__reader_make_room(reader, 0, (size_t)item->size, error));
    if (item->size > 0) {
        MR_TRY(open_source(reader, source, &file, error));
        MR_TRY(read_exactly(item, &file, reader->data, (size_t)item->size, 0, error));
    }
    *content = (mr_slice){.data = reader->data, .size = (size_t)item->size};
done:
    reader->source = NULL;
    reader->have = 0;
    if (file.tier != NULL)
        file.tier->ops->close(&file);
    return status;
}

mr_status mr__reader_at(mr__reader *reader, uint32_t source, uint64_t offset, void *buffer, size_t size,
                        mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(use_source(reader, source, &reader->aside, error));
    MR_TRY(read_exactly(&reader->sources->items[source], &reader->aside.file, buffer, size, offset, error));
done:
    return status;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

mr_status mr__reader_create(const mr__sources *sources, mr__read_path path, size_t window, mr__budget *budget,
                            mr__reader **reader, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reader *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for a reader");
    made->sources = sources;
    made->budget = budget;
    made->window = window > 0 ? window : MR__READ_WINDOW;
    /* The buffer comes first, and is forced, as other readers may have taken what is left for stretches and chunks. */
    const size_t capacity = usual_capacity(made);
    made->buffer = capacity <= budget->limit ? new_buffer(made, capacity) : NULL;
    MR_CHECK(made->buffer != NULL, MR_NO_MEMORY,
             "no memory to read the input: %zu bytes a worker are needed\n  hint: raise --memory, or use fewer workers",
             capacity);
    made->capacity = capacity;
    if (path == MR__READ_MMAP)
        made->map = mr__map_create(budget);
    if (path == MR__READ_URING)
        made->ahead = mr__ahead_create(made->window, budget);
    *reader = made;
    made = NULL;
done:
    mr__reader_destroy(made);
    return status;
}

void mr__reader_destroy(mr__reader *reader)
{
    if (reader == NULL)
        return;
    mr__map_destroy(reader->map, reader->budget);
    mr__ahead_destroy(reader->ahead, reader->budget);
    close_slot(&reader->ranged);
    close_slot(&reader->aside);
    drop_buffer(reader);
    mr__free(reader);
}
