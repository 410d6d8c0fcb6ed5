/* spill.c: the files of a spill, and writing to them.
 *
 *   write: [pack] -> checksum -> append (appender.h: two buffers, io_uring, O_DIRECT)
 *   flush: the rest, padded with zeros to a page; the next extent begins on a new page
 *
 * A file loses its name as soon as it is made: nobody else opens it, and when this process dies, however it dies, the
 * kernel gives its space back. Before, a rank that was killed left gigabytes on its node until the next job there.
 *
 * What close() says of a run is not asked for: runs are read before their files are closed, and what was not written
 * (NFS) has a wrong checksum then.
 *
 * Why no compression by default: lz4 packs text to 0.6 of its size at 0.4 GB/s a core, slower than the disk writes
 * all of it (1.4 GB/s) without a core. On a slower disk MILLRACE_SPILL=lz4 pays. */
#include "spill.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "appender.h"
#include "extent.h"
#include "memory.h"
#include "spill_parts.h"

enum { STAGING = 1 << 20, NAME = 32 };

typedef struct spill_file {
    mr__file file;
    char name[NAME];            /* inside the burst tier */
    bool named;                 /* still: it could not be taken away */
    char *path;                 /* for sentences */
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
    mr__appender out;           /* out.file.tier == NULL: nothing was written yet */
    uint32_t index;             /* of its file */
    uint8_t *packed;            /* for the codec */
    size_t packed_capacity;
};

/* ---- the spill --------------------------------------------------------------------------------------------------- */

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

/* Removing a name gives back what the file has at that moment; without one it is given back here. */
static void drop_file(mr__tier *tier, spill_file *file)
{
    struct stat found;
    if (file->file.tier != NULL) {
        if (!file->named && fstat(file->file.fd, &found) == 0)
            mr__tier_refund(tier, (uint64_t)found.st_size);
        tier->ops->close(&file->file);
        if (file->named)
            tier->ops->remove(tier, file->name);
    }
    mr__free(file->path);
    mr__free(file);
}

void mr__spill_destroy(mr__spill *spill)
{
    if (spill == NULL)
        return;
    for (uint32_t i = 0; i < spill->count; i++)
        drop_file(mr__burst_tier(spill->burst), spill->files[i]);
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
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_IO_FAILED), "could not create spill file %s: %s%s",
             made->path, strerror(-result), mr__errno_hint(result));
    made->named = tier->ops->remove(tier, made->name) != 0;
    listed = enlist(spill, made, index);
    MR_CHECK(listed, MR_NO_MEMORY, "no memory for spill file %s", made->path);
    *file = made->file;
done:
    if (!listed && made != NULL)
        drop_file(tier, made);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

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
    if (writer->out.buffers != NULL)
        mr__budget_release(writer->budget, 2 * STAGING);
    mr__appender_fini(&writer->out);
    mr__pages_free(writer->packed, writer->packed_capacity);
    mr__budget_release(writer->budget, writer->packed_capacity);
    mr__free(writer);
}

static mr_status report_failure(mr__spill_writer *writer, mr__error *error)
{
    mr__tier *tier = writer->out.file.tier;
    const int number = writer->out.failure;
    const mr_status status = mr__status_of_errno(number, MR_IO_FAILED);
    const char *path = mr__spill_file_path(writer->spill, writer->index);
    const unsigned long long offset = writer->out.failure_offset;
    if (number == ENOSPC && mr__tier_is_used_up(tier, STAGING))
        return mr__fail(error, status,
                        "could not write spill file %s at offset %llu: the %llu bytes that MILLRACE_BURST_SIZE allows "
                        "are used up\n  hint: set it higher, or raise --memory",
                        path, offset, (unsigned long long)tier->capacity);
    if (number == EFBIG)
        return mr__fail(error, status, "could not write spill file %s at offset %llu: %s%s", path, offset,
                        strerror(number), mr__errno_hint(number));
    const int64_t left = tier->ops->free_bytes(tier, "");
    return mr__fail(error, status,
                    "could not write spill file %s at offset %llu: %s; %lld MiB are free there\n  hint: name a "
                    "directory with more room with MILLRACE_BURST, or raise --memory",
                    path, offset, strerror(number), (long long)((left < 0 ? 0 : left) >> 20));
}

static mr_status first_write(mr__spill_writer *writer, mr__error *error)
{
    mr_status status = MR_OK;
    uint8_t header[MR__SPILL_HEADER];
    mr__file file;
    if (writer->out.buffers == NULL) {
        MR_CHECK(mr__appender_init(&writer->out, STAGING), MR_NO_MEMORY, "no memory to spill to %s",
                 mr__burst_path(writer->spill->burst));
        mr__budget_force(writer->budget, 2 * STAGING);
    }
    MR_TRY(add_file(writer->spill, &file, &writer->index, error));
    mr__appender_begin(&writer->out, file);
    mr__spill_header(header);
    mr__appender_write(&writer->out, header, sizeof header);
done:
    return status;
}

/* Room for packing `size` bytes; false: there is none, and the bytes are stored as they are. */
static bool make_packing_room(mr__spill_writer *writer, size_t size)
{
    const size_t bound = mr__codec_bound(writer->spill->codec, size);
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
    if (writer->out.failure != 0)
        return report_failure(writer, error);
    if (writer->out.file.tier == NULL)
        MR_TRY(first_write(writer, error));
    mr__codec codec = writer->spill->codec;
    const void *stored = bytes;
    size_t stored_size = 0;
    if (codec != MR__CODEC_NONE && make_packing_room(writer, size)) {
        stored_size = mr__codec_pack(codec, bytes, size, writer->packed, writer->packed_capacity);
        stored = writer->packed;
    }
    if (stored_size == 0) {
        codec = MR__CODEC_NONE;
        stored = bytes;
        stored_size = size;
    }
    mr__extent_seal(header, stored, (uint32_t)stored_size, (uint32_t)size, codec);
    const mr__extent made = {.file = writer->index,
                             .stored = (uint32_t)stored_size,
                             .size = (uint32_t)size,
                             .note = note,
                             .offset = mr__appender_offset(&writer->out)};
    const uint64_t footprint = mr__extent_footprint((uint32_t)stored_size);
    mr__appender_write(&writer->out, header, sizeof header);
    mr__appender_write(&writer->out, stored, stored_size);
    mr__appender_write(&writer->out, zeros, (size_t)footprint - sizeof header - stored_size);
    if (writer->out.failure != 0)
        return report_failure(writer, error);
    atomic_fetch_add_explicit(&writer->spill->bytes, footprint, memory_order_relaxed);
    *extent = made;
done:
    return status;
}

mr_status mr__spill_flush(mr__spill_writer *writer, mr__error *error)
{
    if (writer->out.file.tier == NULL)
        return MR_OK;
    mr__appender_pad(&writer->out);
    return writer->out.failure != 0 ? report_failure(writer, error) : MR_OK;
}
