/* spill_reader.c: a list of extents, read ahead of the caller.
 *
 *   list:     e0 e1 e2 | e3 | e4 e5 ...         side by side in a file: one read, up to a piece
 *   buffers:  [ in use ][ in flight ][ in flight ][ in flight ]      used in turn
 *
 * A caller gets extents one by one out of the first buffer; when it asks for one of the next batch, the first buffer is
 * read into again. Reads begin and end at pages (O_DIRECT), so a read is a little larger than its extents.
 *
 * Every byte is checked here, when the caller asks for it: it is in the cache then, and a failure has file and
 * offset. */
#include <errno.h>
#include <string.h>

#include "appender.h"
#include "extent.h"
#include "fault.h"
#include "memory.h"
#include "spill_parts.h"
#include "uring.h"

enum { BATCHES = 4, LEAST_PIECE = 64 << 10, GAP = 16 << 10 };

typedef struct batch {
    uint8_t *bytes;             /* the piece that was read, and a page of padding */
    size_t first, stop;         /* indices into the list */
    mr__file file;
    uint64_t offset;            /* in the file */
    size_t size, got;
    bool flying;
    int result;                 /* of the read: bytes or -errno */
} batch;

struct mr__spill_reader {
    mr__spill *spill;
    mr__budget *budget;
    mr__ring *ring;             /* NULL: a batch is read when it is asked for */
    const mr__extent *extents;
    size_t count, next;         /* next: the one that is handed out next */
    size_t planned;             /* extents before it are in a batch */
    size_t piece;               /* largest read */
    uint8_t *memory;
    size_t reserved;
    uint8_t *unpacked;          /* NULL unless the spill has a codec */
    uint32_t batches;           /* 1 .. BATCHES */
    uint32_t current;
    batch ring_of[BATCHES];
};

static uint64_t begin_of(const mr__extent *extent)
{
    return extent->offset / MR__APPENDER_PAGE * MR__APPENDER_PAGE;
}

static uint64_t end_of(const mr__extent *extent)
{
    const uint64_t end = extent->offset + mr__extent_footprint(extent->stored);
    return (end + MR__APPENDER_PAGE - 1) / MR__APPENDER_PAGE * MR__APPENDER_PAGE;
}

static void start_reading(mr__spill_reader *reader, uint32_t index)
{
    batch *one = &reader->ring_of[index];
    one->flying = reader->ring != NULL && one->file.fd >= 0 && one->size <= INT32_MAX &&
                  mr__ring_read(reader->ring, one->file.fd, one->bytes, (uint32_t)one->size, one->offset, index) == 0;
    one->got = 0;
    one->result = 0;
}

/* Fills the batch with the next extents of the list and starts to read them. */
static void plan(mr__spill_reader *reader, uint32_t index)
{
    batch *one = &reader->ring_of[index];
    one->first = one->stop = reader->planned;
    one->size = 0;
    if (reader->planned == reader->count)
        return;
    const mr__extent *extent = &reader->extents[one->first];
    one->file = mr__spill_file(reader->spill, extent->file);
    one->offset = begin_of(extent);
    uint64_t end = end_of(extent);
    for (one->stop++; one->stop < reader->count; one->stop++) {
        const mr__extent *next = &reader->extents[one->stop];
        if (next->file != extent->file || next->offset + MR__APPENDER_PAGE < end || next->offset > end + GAP ||
            end_of(next) - one->offset > reader->piece)
            break;
        end = end_of(next) > end ? end_of(next) : end;
    }
    one->size = (size_t)(end - one->offset);
    reader->planned = one->stop;
    start_reading(reader, index);
}

static void wait_for(mr__spill_reader *reader, const batch *wanted)
{
    while (wanted->flying) {
        uint64_t tag;
        int result;
        mr__ring_wait(reader->ring, &tag, &result);
        if (tag >= BATCHES)
            continue;
        reader->ring_of[tag].flying = false;
        reader->ring_of[tag].result = result;
    }
}

/* Makes sure that the batch was read as far as its file goes. */
static mr_status finish_reading(mr__spill_reader *reader, batch *one, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__extent *extent = &reader->extents[one->first];
    if (one->got > 0)
        return MR_OK;
    wait_for(reader, one);
    ssize_t got = mr__fault(MR__FAULT_READ) ? -EIO : one->result;
    MR_CHECK(one->file.tier != NULL, MR_INTERNAL, "an extent names spill file %u, which does not exist", extent->file);
    if (got >= 0 && (size_t)got < one->size) {          /* short, or not begun: page by page, as O_DIRECT wants it */
        const size_t whole = (size_t)got / MR__APPENDER_PAGE * MR__APPENDER_PAGE;
        const ssize_t rest = one->file.tier->ops->read_at(&one->file, one->bytes + whole, one->size - whole,
                                                          one->offset + whole);
        got = rest < 0 ? rest : (ssize_t)whole + rest;
    }
    MR_CHECK(got >= 0, mr__status_of_errno((int)-got, MR_IO_FAILED), "could not read spill file %s at offset %llu: %s",
             mr__spill_file_path(reader->spill, extent->file), (unsigned long long)one->offset, strerror((int)-got));
    one->got = (size_t)got;
    MR_CHECK(got > 0, MR_IO_FAILED,
             "spill file %s is damaged at offset %llu: the file ends before it\n  hint: something "
             "else wrote to it, or the disk fails; run the job again",
             mr__spill_file_path(reader->spill, extent->file), (unsigned long long)one->offset);
done:
    return status;
}

mr_status mr__spill_reader_next(mr__spill_reader *reader, const uint8_t **bytes, mr__extent *extent, mr__error *error)
{
    mr_status status = MR_OK;
    if (reader->next == reader->count) {
        *bytes = NULL;
        return MR_OK;
    }
    batch *one = &reader->ring_of[reader->current];
    if (reader->next == one->stop) {
        plan(reader, reader->current);
        reader->current = (reader->current + 1) % reader->batches;
        one = &reader->ring_of[reader->current];
    }
    MR_TRY(finish_reading(reader, one, error));
    const mr__extent *wanted = &reader->extents[reader->next];
    const size_t at = (size_t)(wanted->offset - one->offset);
    const uint8_t *content = NULL;
    const char *wrong = at > one->got
                            ? "the file ends before it"
                            : mr__extent_open(one->bytes + at, one->got - at, wanted, reader->unpacked, &content);
    MR_CHECK(
        wrong == NULL, MR_IO_FAILED,
        "spill file %s is damaged at offset %llu: %s\n  hint: something else wrote to it, or the disk or the memory "
        "of this machine fails; run the job again",
        mr__spill_file_path(reader->spill, wanted->file), (unsigned long long)wanted->offset, wrong);
    *bytes = content;
    *extent = *wanted;
    reader->next++;
done:
    return status;
}

mr_status mr__spill_reader_create(mr__spill *spill, const mr__extent *extents, size_t count, size_t ahead,
                                  mr__budget *budget, mr__spill_reader **reader, mr__error *error)
{
    mr_status status = MR_OK;
    size_t largest = MR__APPENDER_PAGE, content = 0, total = 0;
    mr__spill_reader *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to read spilled data back");
    made->spill = spill;
    made->budget = budget;
    made->extents = extents;
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        const size_t span = (size_t)(end_of(&extents[i]) - begin_of(&extents[i]));
        largest = span > largest ? span : largest;
        content = extents[i].size > content ? extents[i].size : content;
        total += span;
    }
    const size_t least = largest > LEAST_PIECE ? largest : LEAST_PIECE;
    const size_t fit = ahead / (least + MR__APPENDER_PAGE);
    const bool packed = mr__spill_codec(spill) != MR__CODEC_NONE;
    made->batches = fit < 1 ? 1 : fit > BATCHES ? BATCHES : (uint32_t)fit;
    made->piece = ahead / made->batches / MR__APPENDER_PAGE * MR__APPENDER_PAGE;
    made->piece = made->piece > MR__APPENDER_PAGE ? made->piece - MR__APPENDER_PAGE : 0;
    if (made->piece > total)
        made->piece = total;                            /* a short list needs no more */
    if (made->piece < largest)
        made->piece = largest;
    const size_t stride = made->piece + MR__APPENDER_PAGE;
    const size_t unpacking = packed ? content + MR__EXTENT_PADDING : 0;
    made->memory = mr__pages_alloc(made->batches * stride + unpacking);
    MR_CHECK(made->memory != NULL, MR_NO_MEMORY, "no memory to read spilled data back");
    made->reserved = made->batches * stride + unpacking;
    mr__budget_force(budget, made->reserved);
    made->unpacked = packed ? made->memory + made->batches * stride : NULL;
    made->ring = made->batches > 1 ? mr__ring_create(BATCHES) : NULL;
    for (uint32_t i = 0; i < made->batches; i++) {
        made->ring_of[i].bytes = made->memory + i * stride;
        plan(made, i);
    }
    *reader = made;
    made = NULL;
done:
    mr__spill_reader_destroy(made);
    return status;
}

void mr__spill_reader_destroy(mr__spill_reader *reader)
{
    if (reader == NULL)
        return;
    mr__ring_destroy(reader->ring);                     /* waits for what is under way */
    if (reader->memory != NULL) {
        mr__pages_free(reader->memory, reader->reserved);
        mr__budget_release(reader->budget, reader->reserved);
    }
    mr__free(reader);
}
