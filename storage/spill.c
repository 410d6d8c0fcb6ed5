/* spill.c: the files of a spill, and writing to them.
 *
 *   write: [pack] -> checksum -> copy into the staging buffer -> full? it flies, the other one is filled meanwhile
 *   flush: the rest flies, padded with zeros to a page; the next extent begins on a new page
 *
 * Why O_DIRECT. A spill is written once and read once, at a time when memory is what is short. Through the page cache each
 * byte would be copied twice more, its pages would push out the input that is read at the same time, and beyond the
 * kernel's dirty limit writers are stopped for whole seconds. Measured on the reference machine (docs/storage.md has the
 * table): O_DIRECT writes 1.4 GB/s with next to no CPU time, buffered writes 0.15 to 1.0 GB/s. A tier that does not know
 * O_DIRECT (tmpfs) is written through its cache by the same code.
 *
 * Why no compression by default: lz4 packs text at about 0.6 GB/s a core, so packing takes longer than the disk does.
 * On a slower disk MILLRACE_SPILL=lz4 pays.
 *
 * A write that fails in the background cannot fail the call that caused it. It is kept, and every later call reports it;
 * flush waits for everything, so nothing is ever read that was not written. */
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extent.h"
#include "fault.h"
#include "memory.h"
#include "spill_parts.h"
#include "uring.h"

enum { STAGING = 1 << 20, NAME = 32 };

typedef struct spill_file {
    mr__file file;
    char name[NAME];            /* inside the burst tier */
    char *path;
} spill_file;

struct mr__spill {
    mr__burst *burst;
    mr__codec codec;
    _Atomic uint64_t bytes;
    pthread_mutex_t mutex;      /* guards what follows; an entry, once there, does not change */
    spill_file **files;
    uint32_t count;
};

struct mr__spill_writer {
    mr__spill *spill;
    mr__budget *budget;
    mr__ring *ring;             /* NULL: writes are made in the foreground */
    mr__file file;              /* file.tier == NULL: nothing was written yet */
    uint32_t index;
    uint8_t *staging;           /* two buffers */
    uint32_t filling;           /* 0 or 1: the one that is filled */
    size_t fill;                /* bytes in it */
    uint64_t base;              /* where it will lie in the file */
    struct {
        const uint8_t *bytes;   /* NULL: nothing is under way */
        size_t size;
        uint64_t offset;
    } flying;
    uint8_t *packed;            /* for the codec */
    size_t packed_capacity;
    int failure;                /* errno of the first failed write */
    uint64_t failure_offset;
};

const char *mr__codec_name(mr__codec codec)
{
    static const char *const names[] = {"none", "lz4", "zstd"};
    return (size_t)codec < MR__COUNT(names) ? names[codec] : "?";
}

/* ---- the spill ----------------------------------------------------------------------------------------------------- */

mr_status mr__spill_create(mr__burst *burst, mr__codec codec, mr__spill **spill, mr__error *error)
{
    mr_status status = MR_OK;
    const char *wanted = getenv("MILLRACE_SPILL");
    if (wanted != NULL && *wanted != '\0') {
        int named = MR__CODEC_ZSTD;
        while (named >= 0 && strcmp(wanted, mr__codec_name((mr__codec)named)) != 0)
            named--;
        MR_CHECK(named >= 0, MR_BAD_USAGE, "MILLRACE_SPILL=%s names no codec\n  hint: none, lz4 or zstd", wanted);
        codec = (mr__codec)named;
    }
    mr__spill *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to spill to %s", mr__burst_path(burst));
    made->burst = burst;
    made->codec = codec;
    pthread_mutex_init(&made->mutex, NULL);
    *spill = made;
done:
    return status;
}

void mr__spill_destroy(mr__spill *spill)
{
    if (spill == NULL)
        return;
    mr__tier *tier = mr__burst_tier(spill->burst);
    for (uint32_t i = 0; i < spill->count; i++) {
        tier->ops->close(&spill->files[i]->file);
        tier->ops->remove(tier, spill->files[i]->name);
        mr__free(spill->files[i]->path);
        mr__free(spill->files[i]);
    }
    mr__free(spill->files);
    pthread_mutex_destroy(&spill->mutex);
    mr__free(spill);
}

uint64_t mr__spill_bytes(const mr__spill *spill)
{
    return atomic_load_explicit(&spill->bytes, memory_order_relaxed);
}

mr__codec mr__spill_codec(const mr__spill *spill)
{
    return spill->codec;
}

static const spill_file *file_at(mr__spill *spill, uint32_t index)
{
    pthread_mutex_lock(&spill->mutex);
    const spill_file *file = index < spill->count ? spill->files[index] : NULL;
    pthread_mutex_unlock(&spill->mutex);
    return file;
}

mr__file mr__spill_file(mr__spill *spill, uint32_t index)
{
    const spill_file *file = file_at(spill, index);
    return file != NULL ? file->file : (mr__file){.fd = -1};
}

const char *mr__spill_file_path(mr__spill *spill, uint32_t index)
{
    const spill_file *file = file_at(spill, index);
    return file != NULL ? file->path : "(a file that this spill does not have)";
}

static bool enlist(mr__spill *spill, spill_file *file, uint32_t *index)
{
    pthread_mutex_lock(&spill->mutex);
    spill_file **files = mr__realloc(spill->files, (spill->count + 1) * sizeof *files);
    if (files != NULL) {
        spill->files = files;
        *index = spill->count++;
        files[*index] = file;
    }
    pthread_mutex_unlock(&spill->mutex);
    return files != NULL;
}

static mr_status add_file(mr__spill *spill, mr__file *file, uint32_t *index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = mr__burst_tier(spill->burst);
    const char *directory = mr__burst_path(spill->burst);
    bool listed = false;
    spill_file *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for a spill file in %s", directory);
    snprintf(made->name, sizeof made->name, "spill-%u", mr__burst_number(spill->burst));
    const size_t size = strlen(directory) + strlen(made->name) + 2;
    made->path = mr__alloc(size);
    MR_CHECK(made->path != NULL, MR_NO_MEMORY, "no memory for a spill file in %s", directory);
    snprintf(made->path, size, "%s/%s", directory, made->name);
    const int result = tier->ops->create(tier, made->name, &made->file);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_IO_FAILED), "could not create spill file %s: %s%s", made->path,
             strerror(-result), mr__errno_hint(result));
    if (made->file.fd >= 0)
        fcntl(made->file.fd, F_SETFL, O_DIRECT);        /* where it is not known, the cache does as well */
    listed = enlist(spill, made, index);
    MR_CHECK(listed, MR_NO_MEMORY, "no memory for spill file %s", made->path);
    *file = made->file;
done:
    if (!listed && made != NULL) {
        if (made->file.tier != NULL) {
            tier->ops->close(&made->file);
            tier->ops->remove(tier, made->name);
        }
        mr__free(made->path);
        mr__free(made);
    }
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

mr_status mr__spill_writer_create(mr__spill *spill, mr__budget *budget, mr__spill_writer **writer, mr__error *error)
{
    mr_status status = MR_OK;
    mr__spill_writer *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to spill to %s", mr__burst_path(spill->burst));
    made->spill = spill;
    made->budget = budget;
    *writer = made;
done:
    return status;
}

void mr__spill_writer_destroy(mr__spill_writer *writer)
{
    if (writer == NULL)
        return;
    mr__ring_destroy(writer->ring);                     /* waits for what is under way */
    if (writer->staging != NULL) {
        mr__pages_free(writer->staging, 2 * STAGING);
        mr__budget_release(writer->budget, 2 * STAGING);
    }
    mr__pages_free(writer->packed, writer->packed_capacity);
    mr__budget_release(writer->budget, writer->packed_capacity);
    mr__free(writer);
}

static void keep_failure(mr__spill_writer *writer, int number, uint64_t offset)
{
    if (writer->failure == 0) {
        writer->failure = number;
        writer->failure_offset = offset;
    }
}

static mr_status report_failure(mr__spill_writer *writer, mr__error *error)
{
    mr__tier *tier = writer->file.tier;
    const int64_t left = tier->ops->free_bytes(tier, "");
    return mr__fail(error, mr__status_of_errno(writer->failure, MR_IO_FAILED),
                    "could not write spill file %s at offset %llu: %s; %lld MiB are free there\n  hint: name a directory "
                    "with more room with MILLRACE_BURST, or raise --memory",
                    mr__spill_file_path(writer->spill, writer->index), (unsigned long long)writer->failure_offset,
                    strerror(writer->failure), (long long)((left < 0 ? 0 : left) >> 20));
}

static void write_now(mr__spill_writer *writer, const uint8_t *bytes, size_t size, uint64_t offset)
{
    mr__tier *tier = writer->file.tier;
    int result = tier->ops->write_at(&writer->file, bytes, size, offset);
    if (result == -EINVAL && writer->file.fd >= 0 && fcntl(writer->file.fd, F_SETFL, 0) == 0)
        result = tier->ops->write_at(&writer->file, bytes, size, offset);   /* a disk with larger blocks than a page */
    if (result != 0)
        keep_failure(writer, -result, offset);
}

static void land(mr__spill_writer *writer)
{
    uint64_t tag;
    int result;
    if (writer->flying.bytes == NULL)
        return;
    mr__ring_wait(writer->ring, &tag, &result);
    if (mr__fault(MR__FAULT_WRITE))
        result = -EIO;
    const size_t size = writer->flying.size, put = result > 0 ? (size_t)result : 0;
    if (result < 0 && result != -EINVAL) {
        keep_failure(writer, -result, writer->flying.offset);
    } else if (put < size) {
        mr__tier_refund(writer->file.tier, size - put); /* write_now charges for itself */
        write_now(writer, writer->flying.bytes + put, size - put, writer->flying.offset + put);
    }
    writer->flying.bytes = NULL;
}

/* Sends the staging buffer off, padded to a page, and begins with the other one. */
static void take_off(mr__spill_writer *writer)
{
    uint8_t *bytes = writer->staging + (size_t)writer->filling * STAGING;
    const size_t size = (writer->fill + MR__SPILL_PAGE - 1) / MR__SPILL_PAGE * MR__SPILL_PAGE;
    memset(bytes + writer->fill, 0, size - writer->fill);
    land(writer);
    if (writer->failure == 0 && writer->ring != NULL && writer->file.fd >= 0 &&
        mr__tier_charge(writer->file.tier, size)) {
        if (mr__ring_write(writer->ring, writer->file.fd, bytes, (uint32_t)size, writer->base, 0) == 0) {
            writer->flying.bytes = bytes;
            writer->flying.size = size;
            writer->flying.offset = writer->base;
        } else {
            mr__tier_refund(writer->file.tier, size);
        }
    }
    if (writer->failure == 0 && writer->flying.bytes == NULL)
        write_now(writer, bytes, size, writer->base);
    writer->filling = !writer->filling;
    writer->base += size;
    writer->fill = 0;
}

static void append(mr__spill_writer *writer, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        const size_t room = STAGING - writer->fill;
        const size_t piece = size - done < room ? size - done : room;
        memcpy(writer->staging + (size_t)writer->filling * STAGING + writer->fill, (const uint8_t *)bytes + done, piece);
        writer->fill += piece;
        done += piece;
        if (writer->fill == STAGING)
            take_off(writer);
    }
}

static mr_status first_write(mr__spill_writer *writer, mr__error *error)
{
    mr_status status = MR_OK;
    uint8_t header[MR__SPILL_HEADER];
    if (writer->staging == NULL) {
        writer->staging = mr__pages_alloc(2 * STAGING);
        MR_CHECK(writer->staging != NULL, MR_NO_MEMORY, "no memory to spill to %s",
                 mr__burst_path(writer->spill->burst));
        mr__budget_force(writer->budget, 2 * STAGING);
    }
    MR_TRY(add_file(writer->spill, &writer->file, &writer->index, error));
    writer->ring = mr__ring_create(2);
    mr__spill_header(header);
    append(writer, header, sizeof header);
done:
    return status;
}

/* Room for packing `size` bytes; false: there is none, and the bytes are stored as they are. */
static bool make_packing_room(mr__spill_writer *writer, size_t size)
{
    const size_t bound = mr__extent_bound(writer->spill->codec, size);
    if (bound == 0)
        return false;
    if (bound <= writer->packed_capacity)
        return true;
    uint8_t *packed = mr__pages_alloc(bound);
    if (packed == NULL)
        return false;
    mr__pages_free(writer->packed, writer->packed_capacity);
    mr__budget_release(writer->budget, writer->packed_capacity);
    mr__budget_force(writer->budget, bound);
    writer->packed = packed;
    writer->packed_capacity = bound;
    return true;
}

mr_status mr__spill_write(mr__spill_writer *writer, const void *bytes, size_t size, uint32_t note, mr__extent *extent,
                          mr__error *error)
{
    static const uint8_t zeros[8];
    mr_status status = MR_OK;
    uint8_t header[MR__EXTENT_HEADER];
    MR_CHECK(size <= INT32_MAX, MR_INTERNAL, "a chunk of %zu bytes is too large to be spilled", size);
    if (writer->failure != 0)
        return report_failure(writer, error);
    if (writer->file.tier == NULL)
        MR_TRY(first_write(writer, error));
    mr__codec codec = writer->spill->codec;
    const void *stored = bytes;
    size_t stored_size = 0;
    if (codec != MR__CODEC_NONE && make_packing_room(writer, size)) {
        stored_size = mr__extent_pack(codec, bytes, size, writer->packed, writer->packed_capacity);
        stored = writer->packed;
    }
    if (stored_size == 0) {
        codec = MR__CODEC_NONE;
        stored = bytes;
        stored_size = size;
    }
    mr__extent_seal(header, stored, (uint32_t)stored_size, (uint32_t)size, codec);
    const mr__extent made = {.file = writer->index, .stored = (uint32_t)stored_size, .size = (uint32_t)size, .note = note,
                             .offset = writer->base + writer->fill};
    const uint64_t footprint = mr__extent_footprint((uint32_t)stored_size);
    append(writer, header, sizeof header);
    append(writer, stored, stored_size);
    append(writer, zeros, (size_t)footprint - sizeof header - stored_size);
    if (writer->failure != 0)
        return report_failure(writer, error);
    atomic_fetch_add_explicit(&writer->spill->bytes, footprint, memory_order_relaxed);
    *extent = made;
done:
    return status;
}

mr_status mr__spill_flush(mr__spill_writer *writer, mr__error *error)
{
    if (writer->fill > 0 && writer->failure == 0)
        take_off(writer);
    land(writer);
    return writer->failure != 0 ? report_failure(writer, error) : MR_OK;
}
