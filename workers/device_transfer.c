/* device_transfer.c: buffers and files. A file stays open, and mapped as a whole, until another one is read.
 *
 * Mapped pages are made present by the reading thread (MADV_POPULATE_READ), so that the kernel's threads do not stop at
 * page faults, and reading overlaps with the kernel of another slot. In the rounds after the first they are there, and a
 * bit for each stretch of the file says so: the call costs 2 % of k-means even then. If the process has waited for a
 * page meanwhile, memory is short and some may be gone: all bits are forgotten.
 * The device gets whole pages, and the kernel a part of them: drivers copy memory that begins elsewhere. A file that is
 * cut short meanwhile reads as zeros (guard.h), and the task fails. The zeros stay where the page was, so such a mapping
 * is never used again. */
#include "device_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum { LARGEST_CALL = 1 << 30, STRETCH = 1 << 16, STRETCHES_A_WORD = 64 };

mr_status mr__device_input_open(mr__device_input *input, const mr__cl *cl, cl_command_queue queue, size_t room,
                                bool shared, mr__device_reading *reading, mr__error *error)
{
    mr_status status = MR_OK;
    void *memory;
    *input = (mr__device_input){.cl = cl, .queue = queue, .shared = shared, .reading = reading, .fd = -1};
    if (shared) {
        input->memory = room > 0 ? mr__pages_alloc(room) : NULL;
        input->room = room;
        MR_CHECK(room == 0 || input->memory != NULL, MR_NO_MEMORY,
                 "no memory for a transfer buffer of %zu bytes", room);
        MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_ONLY | (room > 0 ? CL_MEM_USE_HOST_PTR : 0), room, input->memory,
                             &input->buffer, error));
    } else {
        MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_ONLY, room, NULL, &input->buffer, error));
        if (room > 0) {
            MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, room, NULL, &input->pinned, error));
            MR_TRY(mr__cl_map(cl, queue, input->pinned, CL_MAP_READ | CL_MAP_WRITE, room, &memory, error));
            input->memory = memory;
        }
        input->room = room;
    }
done:
    if (status != MR_OK)
        mr__device_input_close(input);
    return status;
}

static void close_file(mr__device_input *input)
{
    if (input->map != NULL)
        munmap(input->map, input->map_bytes);
    if (input->fd >= 0)
        close(input->fd);
    mr__free(input->present);
    input->present = NULL;
    input->map = NULL;
    input->fd = -1;
}

void mr__device_input_close(mr__device_input *input)
{
    if (input->cl == NULL)
        return;
    mr__error ignored = {.text = ""};
    if (input->pinned != NULL && input->memory != NULL)
        mr__cl_unmap(input->cl, input->queue, input->pinned, input->memory, &ignored);
    mr__cl_release(&input->buffer);
    mr__cl_release(&input->pinned);
    if (input->shared)
        mr__pages_free(input->memory, input->room);
    close_file(input);
    mr__guard_release(input->guard);
    *input = (mr__device_input){.fd = -1};
}

mr_status mr__device_input_begin(mr__device_input *input, mr__error *error)
{
    void *memory = input->memory;
    if (!input->shared || input->room == 0)
        return MR_OK;
    return mr__cl_map(input->cl, input->queue, input->buffer, CL_MAP_WRITE, input->room, &memory, error);
}

mr_status mr__device_input_send(mr__device_input *input, size_t size, cl_event *event, mr__error *error)
{
    *event = NULL;
    if (input->room == 0)
        return MR_OK;
    if (input->shared)
        return mr__cl_unmap(input->cl, input->queue, input->buffer, input->memory, error);
    if (size == 0)
        return MR_OK;
    return mr__cl_write(input->cl, input->queue, input->buffer, 0, size, input->memory, event, error);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void say_reading(const mr__device_input *input, bool reads)
{
    const uint64_t now = mr__now_ns();
    atomic_store_explicit(input->reading, reads ? now | 1 : now & ~(uint64_t)1, memory_order_relaxed);
}

static mr_status open_file(mr__device_input *input, const mr__device_job_view *view, uint32_t file, mr__error *error)
{
    mr_status status = MR_OK;
    struct stat facts;
    MR_CHECK(file < view->file_count, MR_INTERNAL, "the task names file %u of %u", file, view->file_count);
    if (input->fd >= 0 && input->file == file)
        return MR_OK;
    say_reading(input, true);
    close_file(input);
    const char *path = mr__device_job_file(view, file);
    input->fd = mr__fault(MR__FAULT_OPEN) ? (errno = EIO, -1) : open(path, O_RDONLY | O_CLOEXEC);
    MR_CHECK(input->fd >= 0, MR_BAD_INPUT, "could not open %s: %s", path, strerror(errno));
    input->file = file;
    const int known = mr__fault(MR__FAULT_STAT) ? (errno = EIO, -1) : fstat(input->fd, &facts);
    MR_CHECK(known == 0, MR_BAD_INPUT, "could not read %s: %s", path, strerror(errno));
    input->file_bytes = (uint64_t)facts.st_size;
done:
    if (status != MR_OK)
        close_file(input);
    say_reading(input, false);
    return status;
}

mr_status mr__device_file_bytes(mr__device_input *input, const mr__device_job_view *view, uint32_t file,
                                uint64_t *bytes, mr__error *error)
{
    const mr_status status = open_file(input, view, file, error);
    if (status == MR_OK)
        *bytes = input->file_bytes;
    return status;
}

mr_status mr__device_read(mr__device_input *input, const mr__device_job_view *view, uint32_t file, uint64_t offset,
                          size_t size, void *to, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(open_file(input, view, file, error));
    say_reading(input, true);
    for (size_t done = 0; done < size;) {
        const size_t piece = size - done < LARGEST_CALL ? size - done : LARGEST_CALL;
        const ssize_t got = mr__fault(MR__FAULT_READ)
                                ? (errno = EIO, -1)
                                : pread(input->fd, (uint8_t *)to + done, piece, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        MR_CHECK(got >= 0, MR_BAD_INPUT, "could not read %s at offset %llu: %s", mr__device_job_file(view, file),
                 (unsigned long long)(offset + done), strerror(errno));
        MR_CHECK(got > 0, MR_BAD_INPUT, "%s ends at offset %llu: it is shorter than when the job began",
                 mr__device_job_file(view, file), (unsigned long long)(offset + done));
        done += (size_t)got;
    }
done:
    say_reading(input, false);
    return status;
}

/* ---- pages of the map that are present --------------------------------------------------------------------------- */

static size_t words_for(size_t bytes)
{
    return bytes / STRETCH / STRETCHES_A_WORD + 1;
}

static bool is_present(const mr__device_input *input, size_t stretch)
{
    return input->present != NULL &&
           (input->present[stretch / STRETCHES_A_WORD] >> stretch % STRETCHES_A_WORD & 1) != 0;
}

static void note_present(mr__device_input *input, size_t begin, size_t end)
{
    if (input->present != NULL)
        for (size_t whole = (begin + STRETCH - 1) / STRETCH; (whole + 1) * STRETCH <= end; whole++)
            input->present[whole / STRETCHES_A_WORD] |= (uint64_t)1 << whole % STRETCHES_A_WORD;
}

static long waits_for_pages(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_majflt : -1;
}

/* The pages from `begin` to `end`. Without memory for the bits it is all of them each time. */
static void make_present(mr__device_input *input, size_t begin, size_t end)
{
    const size_t last = (end - 1) / STRETCH;
    if (input->present != NULL && input->page_waits != waits_for_pages())
        memset(input->present, 0, words_for(input->map_bytes) * sizeof *input->present);
    for (size_t first = begin / STRETCH, next; first <= last; first = next + 1) {
        for (next = first; next <= last && !is_present(input, next);)
            next++;
        const size_t from = first * STRETCH > begin ? first * STRETCH : begin;
        const size_t to = next * STRETCH < end ? next * STRETCH : end;
        if (next > first && madvise(input->map + from, to - from, MADV_POPULATE_READ) == 0)
            note_present(input, from, to);
    }
    input->page_waits = waits_for_pages();
}

mr_status mr__device_map(mr__device_input *input, const mr__device_job_view *view, uint32_t file, uint64_t offset,
                         size_t size, cl_mem *buffer, mr__error *error)
{
    mr_status status = MR_OK;
    cl_mem pages = NULL;
    *buffer = NULL;
    MR_TRY(open_file(input, view, file, error));
    MR_CHECK(offset + size <= input->file_bytes, MR_BAD_INPUT,
             "%s has %llu bytes: it is shorter than when the job began", mr__device_job_file(view, file),
             (unsigned long long)input->file_bytes);
    if (input->guard == NULL && (input->guard = mr__guard_acquire()) == NULL)
        return MR_OK;
    if (input->map == NULL) {
        void *map = mr__fault(MR__FAULT_MAP)
                        ? MAP_FAILED
                        : mmap(NULL, (size_t)input->file_bytes, PROT_READ, MAP_SHARED, input->fd, 0);
        if (map == MAP_FAILED)
            return MR_OK;
        input->map = map;
        input->map_bytes = (size_t)input->file_bytes;
        input->present = mr__alloc_zero(words_for(input->map_bytes), sizeof *input->present);
    }
    uint8_t *const from = input->map + mr__page_down(offset);
    const size_t before = offset - mr__page_down(offset), whole = mr__page_up(before + size);
    if (before % input->cl->device.align != 0)
        return MR_OK;
    mr__guard_watch(input->guard, from, whole);
    say_reading(input, true);
    make_present(input, mr__page_down(offset), mr__page_down(offset) + whole);
    say_reading(input, false);
    MR_TRY(mr__cl_buffer(input->cl, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, whole, from, &pages, error));
    MR_TRY(mr__cl_part(input->cl, pages, before, size, buffer, error));
done:
    mr__cl_release(&pages);     /* its part holds it */
    return status;
}

/* What is gone of a page whose first bytes are still there reads as zeros, and nobody is told. */
static bool is_shorter(const mr__device_input *input)
{
    struct stat facts;
    say_reading(input, true);
    const bool shorter = fstat(input->fd, &facts) == 0 && (uint64_t)facts.st_size < input->file_bytes;
    say_reading(input, false);
    return shorter;
}

mr_status mr__device_unmapped(mr__device_input *input, const mr__device_job_view *view, mr__error *error)
{
    mr_status status = MR_OK;
    if (input->guard == NULL)
        return MR_OK;
    mr__guard_watch(input->guard, NULL, 0);
    const bool hit = mr__guard_hit(input->guard);
    if (hit) {
        mr__guard_release(input->guard);
        input->guard = NULL;
    }
    const bool cut = hit || is_shorter(input);
    MR_CHECK(!cut, MR_BAD_INPUT, "%s was cut short while it was read", mr__device_job_file(view, input->file));
done:
    if (cut)
        input->file = UINT32_MAX;       /* opened and mapped anew; buffers over the old pages may still be there */
    return status;
}
