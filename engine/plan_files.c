/* plan_files.c: side inputs of an app.
 *
 * A small one (a list of patterns) is read as it is, until plan() has taken what it wants. A large one (a matrix)
 * becomes part of the params: it is read straight into them, by as many threads as there are workers, since most of the
 * time goes into touching fresh memory. Reading 128 MiB by one thread and copying it took a tenth of a product of
 * 4096 x 4096. */
#include "plan_files.h"

#include <errno.h>
#include <stdio.h>

#include "checksum.h"
#include "memory.h"

enum { THREADS_MOST = 16 };
static const uint64_t PER_THREAD = 4 << 20;

void mr__plan_note_read(struct mr__plan_private *internal, const void *bytes, size_t size)
{
    if (internal->job->ranks > 1)
        internal->read_hash = mr__checksum(bytes, size, internal->read_hash);
}

mr_status mr_plan_read_file(mr_plan *plan, const char *path, mr_slice *content)
{
    mr_status status = MR_OK;
    mr__error *error = plan->internal->error;
    mr_slice loaded = {0};
    struct side_input *file = mr__alloc(sizeof *file);
    MR_CHECK(file != NULL, MR_NO_MEMORY, "no memory to read %s", path);
    MR_TRY(mr__namespace_load(plan->internal->job->session->names, path, &loaded, error));
    *file = (struct side_input){.next = plan->internal->files, .bytes = loaded.data};
    plan->internal->files = file;
    file = NULL;
    mr__plan_note_read(plan->internal, loaded.data, loaded.size);
    *content = loaded;
done:
    mr__free(file);
    return status;
}

void mr__plan_files_drop(struct mr__plan_private *internal)
{
    while (internal->files != NULL) {
        struct side_input *file = internal->files;
        internal->files = file->next;
        mr__free((void *)file->bytes);
        mr__free(file);
    }
}

/* ---- straight into the params ------------------------------------------------------------------------------------ */

struct piece {
    const mr__file *file;
    uint8_t *to;
    uint64_t begin, end;
    ssize_t result;             /* below 0: -errno; else bytes read */
    pthread_t thread;
};

static void *read_piece(void *context)
{
    struct piece *piece = context;
    const uint64_t size = piece->end - piece->begin;
    uint64_t done = 0;
    while (done < size) {
        const ssize_t got = piece->file->tier->ops->read_at(piece->file, piece->to + piece->begin + done, size - done,
                                                            piece->begin + done);
        if (got <= 0) {
            piece->result = got < 0 ? got : (ssize_t)done;
            return NULL;
        }
        done += (uint64_t)got;
    }
    piece->result = (ssize_t)done;
    return NULL;
}

/* In equal pieces; the calling thread reads the last, and those for which the system gives no thread. */
static mr_status read_pieces(const mr__file *file, const char *path, uint8_t *to, uint64_t size, uint32_t threads,
                             mr__error *error)
{
    mr_status status = MR_OK;
    struct piece pieces[THREADS_MOST];
    uint32_t count = (uint32_t)(size / PER_THREAD < threads ? size / PER_THREAD : threads), started = 0;
    count = count == 0 ? 1 : count < THREADS_MOST ? count : THREADS_MOST;
    for (uint32_t i = 0; i < count; i++)
        pieces[i] = (struct piece){.file = file, .to = to, .begin = size * i / count, .end = size * (i + 1) / count};
    while (started + 1 < count && pthread_create(&pieces[started].thread, NULL, read_piece, &pieces[started]) == 0)
        started++;
    for (uint32_t i = started; i < count; i++)
        read_piece(&pieces[i]);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(pieces[i].thread, NULL);
    for (uint32_t i = 0; i < count; i++) {
        MR_CHECK(pieces[i].result >= 0, mr__status_of_errno((int)-pieces[i].result, MR_BAD_INPUT),
                 "could not read %s: %s", path, strerror((int)-pieces[i].result));
        MR_CHECK((uint64_t)pieces[i].result == pieces[i].end - pieces[i].begin, MR_BAD_INPUT,
                 "%s was cut short while it was read", path);
    }
done:
    return status;
}

mr_status mr_plan_append_file(mr_plan *plan, const char *path, size_t alignment, mr_slice *content)
{
    mr_status status = MR_OK;
    struct mr__plan_private *internal = plan->internal;
    mr__error *error = internal->error;
    const uint32_t threads = internal->job->worker_count;
    const size_t before = plan->params_size;
    char name[MR__PATH_MAX];            /* path may lie in the params, which move */
    mr__file file = {.fd = -1};
    uint64_t size;
    snprintf(name, sizeof name, "%s", path);
    MR_CHECK(alignment > 0 && alignment <= 64 && (alignment & (alignment - 1)) == 0, MR_BAD_APP,
             "a file is appended at an alignment of 1 to 64, a power of two, not %zu", alignment);
    MR_TRY(mr__namespace_open(internal->job->session->names, name, &file, &size, error));
    const size_t at = (before + alignment - 1) & ~(alignment - 1);
    MR_CHECK(size < SIZE_MAX - at - MR_BLOCK_PADDING, MR_NO_MEMORY, "%s is too large for this machine", name);
    MR_CHECK(mr_plan_resize(plan, at + size) != NULL, MR_NO_MEMORY, "no memory for the %llu bytes of %s",
             (unsigned long long)size, name);
    status = read_pieces(&file, name, (uint8_t *)plan->params + at, size, threads, error);
    if (status != MR_OK) {
        plan->params_size = before;
        goto done;
    }
    *content = (mr_slice){.data = (const uint8_t *)plan->params + at, .size = size};
    mr__plan_note_read(internal, content->data, size);
done:
    if (file.tier != NULL)
        file.tier->ops->close(&file);
    return status;
}
