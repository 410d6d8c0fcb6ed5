/* device_job.c: maps the blob and the result memory, and checks the blob once. */
#include "device_job.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "memory.h"

enum { COLUMNS_MAX = 4096 };

static bool inside(const mr__device_range *range, size_t bytes)
{
    return range->at <= bytes && range->size <= bytes - range->at;
}

static bool is_path(const mr__device_job_view *view, const mr__device_range *range)
{
    return range->size > 1 && inside(range, view->blob_bytes) &&
           memchr(view->blob + range->at, '\0', range->size) == view->blob + range->at + range->size - 1;
}

static mr_status check_numbers(const mr__device_job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(job->version == MR__DEVICE_VERSION, MR_INTERNAL,
             "this millrace-device speaks version %d of the protocol, the engine %u\n  hint: both must come from one "
             "installation", MR__DEVICE_VERSION, job->version);
    MR_CHECK(job->form <= MR__DEVICE_RECORDS && job->buffer <= MR__DEVICE_DENSE, MR_INTERNAL,
             "the job has form %u and buffer %u, which do not exist", job->form, job->buffer);
    MR_CHECK(job->slots >= 1 && job->slots <= MR__DEVICE_SLOTS && job->slot_bytes > 0, MR_INTERNAL,
             "the job has %u slots of %llu bytes", job->slots, (unsigned long long)job->slot_bytes);
    MR_CHECK(job->column_count <= COLUMNS_MAX && job->suffix_size <= 4, MR_INTERNAL,
             "the job has %u columns, suffix %u", job->column_count, job->suffix_size);
    MR_CHECK(job->form == MR__DEVICE_TEXTS || job->block_rows > 0, MR_INTERNAL, "the job has blocks of no rows");
    MR_CHECK(job->form != MR__DEVICE_ROWS || (job->dense_keys > 0 && job->width > 0), MR_INTERNAL,
             "a row kernel needs dense keys");
    MR_CHECK(job->form != MR__DEVICE_RECORDS || job->value_size > 0, MR_INTERNAL, "a records kernel needs a value");
    MR_CHECK(job->dense_keys <= job->slot_bytes / 8 / (job->width > 0 ? job->width : 1), MR_INTERNAL,
             "a slot does not hold one dense table");
done:
    return status;
}

static mr_status check_ranges(mr__device_job_view *view, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__device_job *job = &view->job;
    const mr__device_range *const ranges[] = {&job->name, &job->kernel, &job->params, &job->columns, &job->files,
                                              &job->cache};
    for (size_t i = 0; i < MR__COUNT(ranges); i++)
        MR_CHECK(inside(ranges[i], view->blob_bytes), MR_INTERNAL, "the job's blob is cut short");
    MR_CHECK(job->columns.size == job->column_count * sizeof(mr__device_column) && job->columns.at % 8 == 0 &&
                 job->files.size % sizeof(mr__device_range) == 0 && job->files.at % 8 == 0,
             MR_INTERNAL, "the job's tables have odd sizes");
    view->columns = (const mr__device_column *)(view->blob + job->columns.at);
    view->files = (const mr__device_range *)(view->blob + job->files.at);
    view->file_count = (uint32_t)(job->files.size / sizeof *view->files);
    for (uint32_t f = 0; f < view->file_count; f++)
        MR_CHECK(is_path(view, &view->files[f]), MR_INTERNAL, "path %u of the job is not terminated", f);
    if (job->cache.size > 0) {
        MR_CHECK(is_path(view, &job->cache), MR_INTERNAL, "the cache's path is not terminated");
        view->cache = (const char *)view->blob + job->cache.at;
    }
    const size_t name = job->name.size < sizeof view->name - 1 ? job->name.size : sizeof view->name - 1;
    memcpy(view->name, view->blob + job->name.at, name);
    view->kernel = mr__alloc(job->kernel.size + 1);
    MR_CHECK(view->kernel != NULL, MR_NO_MEMORY, "no memory for a kernel's source");
    memcpy(view->kernel, view->blob + job->kernel.at, job->kernel.size);
    view->kernel[job->kernel.size] = '\0';
done:
    return status;
}

mr_status mr__device_job_open(int blob, int results, mr__device_job_view **out, mr__error *error)
{
    mr_status status = MR_OK;
    struct stat facts;
    mr__device_job_view *view = mr__alloc_zero(1, sizeof *view);
    MR_CHECK(view != NULL, MR_NO_MEMORY, "no memory for a job");
    MR_CHECK(fstat(blob, &facts) == 0 && (size_t)facts.st_size >= sizeof view->job, MR_INTERNAL,
             "the job's blob is too small");
    void *memory = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED, blob, 0);
    MR_CHECK(memory != MAP_FAILED, MR_NO_MEMORY, "could not map the job's blob: %s", strerror(errno));
    view->blob = memory;
    view->blob_bytes = (size_t)facts.st_size;
    memcpy(&view->job, view->blob, sizeof view->job);
    MR_TRY(check_numbers(&view->job, error));
    MR_TRY(check_ranges(view, error));
    const size_t bytes = fstat(results, &facts) == 0 ? (size_t)facts.st_size : 0;
    const uint64_t slots = bytes > MR__DEVICE_READING_BYTES
                               ? (bytes - MR__DEVICE_READING_BYTES) / view->job.slot_bytes : 0;
    MR_CHECK(slots > 0 && bytes % sizeof(mr__device_reading) == 0, MR_INTERNAL,
             "the result memory of %zu bytes is smaller than a slot, or odd", bytes);
    if (view->job.slots > slots)            /* another device has more in flight */
        view->job.slots = (uint32_t)slots;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, results, 0);
    MR_CHECK(memory != MAP_FAILED, MR_NO_MEMORY, "could not map the result memory: %s", strerror(errno));
    view->results = memory;
    view->result_bytes = bytes;
    *out = view;
    view = NULL;
done:
    mr__device_job_close(view);
    return status;
}

void mr__device_job_close(mr__device_job_view *view)
{
    if (view == NULL)
        return;
    if (view->blob != NULL)
        munmap((void *)view->blob, view->blob_bytes);
    if (view->results != NULL)
        munmap(view->results, view->result_bytes);
    mr__free(view->kernel);
    mr__free(view);
}
