/* source.c: from the arguments of a command to a list of files, the same list in every run.
 *
 *   "-" or a pipe      -> spooled into the burst tier; so is a file of no bytes that has some (/proc)
 *   it exists          -> a file, or a directory to walk
 *   it has * ? [ or \  -> component by component: list, match, sort, go on with each match
 *
 * Order. A directory's entries are sorted by name, a directory's name with a '/' behind it: then walking in that order
 * gives the byte order of whole paths ("a.c" comes before "a/b", because '.' < '/'), and no list of 80,000 paths with
 * long common beginnings has to be sorted at the end. A glob uses the same rule in each component.
 *
 * Memory. Paths are built once, in the arena of the result; the entries of the directories on the way down lie in one
 * stack, so that a level costs no allocation of its own. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "memory.h"

typedef struct found {
    char *path;                 /* in the arena; a directory's ends with '/' */
    const char *name;           /* its last part */
    uint64_t size;
    mr__kind kind;
    bool link;
} found;

typedef struct walk {
    const mr__namespace *names;
    const mr__spool *spool;
    mr__sources *sources;
    uint32_t capacity;          /* of sources->items */
    found *stack;
    size_t depth, room;
    /* the listing that is under way */
    const char *directory;
    const char *pattern;        /* NULL: everything */
    bool out_of_memory;
} walk;

static mr_status append(walk *w, const char *path, uint64_t size, mr__tier *tier, const char *inside, mr__error *error)
{
    mr_status status = MR_OK;
    mr__sources *sources = w->sources;
    if (sources->count == w->capacity) {
        MR_CHECK(w->capacity < UINT32_MAX / 2, MR_BAD_INPUT, "there are more than %u input files", UINT32_MAX / 2);
        const uint32_t capacity = w->capacity == 0 ? 64 : w->capacity * 2;
        mr__source *items = mr__realloc(sources->items, capacity * sizeof *items);
        MR_CHECK(items != NULL, MR_NO_MEMORY, "no memory to list %u input files", capacity);
        sources->items = items;
        w->capacity = capacity;
    }
    sources->items[sources->count++] =
        (mr__source){.path = path, .size = size, .start = sources->bytes, .tier = tier, .inside = inside};
    sources->bytes += size;
done:
    return status;
}

static mr_status append_file(walk *w, const char *path, uint64_t size, mr__error *error)
{
    const char *inside;
    mr__tier *tier = mr__namespace_resolve(w->names, path, &inside);
    return append(w, path, size, tier, inside, error);
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

static bool collect(const mr__entry *entry, void *context)
{
    walk *w = context;
    /* as in a shell, a pattern matches a leading dot only by a dot */
    if (w->pattern != NULL && fnmatch(w->pattern, entry->name, FNM_PERIOD) != 0)
        return true;
    if (w->depth == w->room) {
        const size_t room = w->room == 0 ? 256 : w->room * 2;
        found *stack = mr__realloc(w->stack, room * sizeof *stack);
        if (stack == NULL)
            goto no_memory;
        w->stack = stack;
        w->room = room;
    }
    const size_t front = strlen(w->directory), back = strlen(entry->name);
    const bool directory = entry->kind == MR__DIRECTORY;
    char *path = mr__arena_alloc(&w->sources->names, front + back + 2, 1);
    if (path == NULL)
        goto no_memory;
    memcpy(path, w->directory, front);
    memcpy(path + front, entry->name, back);
    memcpy(path + front + back, directory ? "/" : "", 2 - (size_t)!directory);
    w->stack[w->depth++] =
        (found){.path = path, .name = path + front, .size = entry->size, .kind = entry->kind, .link = entry->link};
    return true;
no_memory:
    w->out_of_memory = true;
    return false;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const found *)left)->name, ((const found *)right)->name);
}

/* Pushes the entries of `directory` (which ends with '/', or is "") that match, in order. */
static mr_status list(walk *w, const char *directory, const char *pattern, mr__error *error)
{
    mr_status status = MR_OK;
    const char *inside;
    const size_t base = w->depth;
    mr__tier *tier = mr__namespace_resolve(w->names, directory, &inside);
    w->directory = directory;
    w->pattern = pattern;
    const int result = tier->ops->list(tier, inside, collect, w);
    MR_CHECK(!w->out_of_memory, MR_NO_MEMORY, "no memory to list %s", directory);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_BAD_INPUT), "could not list %s: %s%s",
             *directory != '\0' ? directory : ".", strerror(-result), mr__errno_hint(result));
    if (w->depth > base)
        qsort(w->stack + base, w->depth - base, sizeof *w->stack, by_name);
done:
    return status;
}

static mr_status walk_directory(walk *w, const char *directory, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t base = w->depth;
    MR_TRY(list(w, directory, NULL, error));
    for (size_t i = base, end = w->depth; i < end; i++) {
        const found one = w->stack[i];          /* a copy: the stack moves when it grows */
        if (one.kind == MR__FILE)
            MR_TRY(append_file(w, one.path, one.size, error));
        else if (one.kind == MR__DIRECTORY && !one.link)
            MR_TRY(walk_directory(w, one.path, error));
    }
done:
    w->depth = base;
    return status;
}

/* ---- standard input and pipes ------------------------------------------------------------------------------------ */

static bool is_cancelled(const walk *w)
{
    return w->spool->cancelled != NULL && atomic_load_explicit(w->spool->cancelled, memory_order_relaxed);
}

/* Until a read returns at once. It never waits in read() itself: a signal that comes just before would be lost. */
static mr_status wait_for_input(const walk *w, int fd, const char *path, mr__error *error)
{
    enum { CANCEL_MS = 50 };    /* a signal that another thread handles wakes nobody here */
    mr_status status = MR_OK;
    struct pollfd input = {.fd = fd, .events = POLLIN};
    int ready = 0;
    while (ready == 0 && !is_cancelled(w)) {
        ready = poll(&input, 1, CANCEL_MS);
        if (ready < 0 && errno == EINTR)
            ready = 0;
    }
    MR_CHECK(!is_cancelled(w), MR_CANCELLED, "cancelled while %s was read; nothing was written", path);
done:
    return status;
}

static mr_status copy_pipe(const walk *w, int fd, const char *path, const mr__file *file, const char *full,
                           uint64_t *size, mr__error *error)
{
    enum { PIECE = 1 << 20 };
    mr_status status = MR_OK;
    uint8_t *buffer = mr__pages_alloc(PIECE);
    MR_CHECK(buffer != NULL, MR_NO_MEMORY, "no memory to read %s", path);
    for (;;) {
        MR_TRY(wait_for_input(w, fd, path, error));
        const ssize_t got = mr__fault(MR__FAULT_READ) ? (errno = EIO, -1) : read(fd, buffer, PIECE);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        MR_CHECK(got >= 0, MR_BAD_INPUT, "could not read %s: %s", path, strerror(errno));
        if (got == 0)
            break;
        const int put = file->tier->ops->write_at(file, buffer, (size_t)got, *size);
        MR_CHECK(put != -ENOSPC || !mr__tier_is_used_up(file->tier, (uint64_t)got), MR_NO_SPACE,
                 "could not keep %s in %s: the %llu bytes that MILLRACE_BURST_SIZE allows are used up\n  hint: set it "
                 "higher, or put the input into a file", path, full, (unsigned long long)file->tier->capacity);
        MR_CHECK(put == 0, mr__status_of_errno(-put, MR_IO_FAILED), "could not keep %s in %s: %s%s", path, full,
                 strerror(-put), mr__errno_hint(put));
        *size += (uint64_t)got;
    }
done:
    mr__pages_free(buffer, PIECE);
    return status;
}

static mr_status read_pipe(walk *w, int fd, const char *path, mr__error *error)
{
    mr_status status = MR_OK;
    mr__burst *burst;
    mr__tier *made = NULL;      /* the file is there */
    mr__file file = {.fd = -1};
    uint64_t size = 0;
    char name[32];
    MR_CHECK(w->spool != NULL, MR_BAD_INPUT, "could not read %s: it is a pipe, and there is no burst directory for it",
             path);
    MR_TRY(w->spool->burst(w->spool->context, &burst, error));
    mr__tier *tier = mr__burst_tier(burst);
    snprintf(name, sizeof name, "pipe-%u", mr__burst_number(burst));
    const size_t front = strlen(mr__burst_path(burst));
    char *full = mr__arena_alloc(&w->sources->names, front + strlen(name) + 2, 1);
    MR_CHECK(full != NULL, MR_NO_MEMORY, "no memory to read %s", path);
    snprintf(full, front + strlen(name) + 2, "%s/%s", mr__burst_path(burst), name);
    const int created = tier->ops->create(tier, name, &file);
    MR_CHECK(created == 0, mr__status_of_errno(-created, MR_IO_FAILED), "could not create %s for %s: %s%s", full, path,
             strerror(-created), mr__errno_hint(created));
    made = tier;
    MR_TRY(copy_pipe(w, fd, path, &file, full, &size, error));
    const int finished = mr__file_finish(&file);
    MR_CHECK(finished == 0, mr__status_of_errno(-finished, MR_IO_FAILED), "could not keep %s in %s: %s%s", path, full,
             strerror(-finished), mr__errno_hint(finished));
    MR_TRY(append(w, full, size, tier, full + front + 1, error));
    w->sources->items[w->sources->count - 1].spooled = true;
done:
    if (file.tier != NULL)
        file.tier->ops->close(&file);
    if (status != MR_OK && made != NULL)
        made->ops->remove(made, name);
    return status;
}

static mr_status add_standard_input(walk *w, mr__error *error)
{
    mr_status status = MR_OK;
    /* A file that the shell opened is read in place, unless something before us has read from it already or it cannot
     * be opened a second time. */
    static const char name[] = "/dev/stdin";
    struct stat input;
    const int flags = fcntl(STDIN_FILENO, F_GETFL);
    MR_CHECK(flags >= 0 && (flags & O_ACCMODE) != O_WRONLY, MR_BAD_INPUT,
             "could not read standard input: it is closed\n  hint: give it a file or a pipe, as in < FILE");
    const bool whole = fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode) &&
                       lseek(STDIN_FILENO, 0, SEEK_CUR) == 0 && access(name, R_OK) == 0;
    status = whole ? append(w, name, (uint64_t)input.st_size, mr__tier_global(), name, error)
                   : read_pipe(w, STDIN_FILENO, "standard input", error);
done:
    return status;
}

/* Where the tier's open() would wait for who writes a pipe. -errno: it cannot be opened. */
static int open_at_once(mr__tier *tier, const char *inside)
{
    mr__file root = {.fd = AT_FDCWD};
    if (mr__fault(MR__FAULT_OPEN))
        return -EIO;
    const int opened = tier != mr__tier_global() ? tier->ops->open(tier, "", &root) : 0;
    if (opened != 0)
        return opened;
    const int fd = openat(root.fd, inside, O_RDONLY | O_NONBLOCK | O_CLOEXEC), number = errno;
    if (root.tier != NULL)
        tier->ops->close(&root);
    return fd >= 0 ? fd : -number;
}

static mr_status add_pipe(walk *w, const char *path, mr__error *error)
{
    mr_status status = MR_OK;
    const char *inside;
    mr__tier *tier = mr__namespace_resolve(w->names, path, &inside);
    const int fd = open_at_once(tier, inside);
    MR_CHECK(fd >= 0, mr__status_of_errno(-fd, MR_BAD_INPUT), "could not open %s: %s%s", path, strerror(-fd),
             mr__errno_hint(fd));
    status = read_pipe(w, fd, path, error);
done:
    if (fd >= 0)
        close(fd);
    return status;
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* Adds what matches front + pattern, where front needs no matching and ends with '/', or is "". */
static mr_status add_matches(walk *w, const char *front, const char *pattern, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t base = w->depth;
    char component[NAME_MAX + 1];
    const size_t length = strcspn(pattern, "/");
    const char *rest = pattern + length + strspn(pattern + length, "/");
    const bool last = *rest == '\0';
    if (length == 0 && *front == '\0')          /* "/..." */
        return add_matches(w, "/", rest, error);
    MR_CHECK(length < sizeof component, MR_BAD_INPUT, "no file matches %s%s: a part of the pattern is too long", front,
             pattern);
    memcpy(component, pattern, length);
    component[length] = '\0';
    MR_TRY(list(w, front, component, error));
    for (size_t i = base, end = w->depth; i < end; i++) {
        const found one = w->stack[i];
        if (!last && one.kind == MR__DIRECTORY)
            MR_TRY(add_matches(w, one.path, rest, error));
        else if (last && one.kind == MR__DIRECTORY && !one.link)
            MR_TRY(walk_directory(w, one.path, error));
        else if (last && one.kind == MR__FILE)
            MR_TRY(append_file(w, one.path, one.size, error));
    }
done:
    w->depth = base;
    return status;
}

/* The part of a pattern in front of the first component that needs matching. */
static size_t plain_front(const char *pattern)
{
    const size_t first = strcspn(pattern, "*?[\\");
    size_t front = 0;
    for (size_t i = 0; i < first; i++)
        if (pattern[i] == '/')
            front = i + 1;
    return front;
}

static mr_status add_pattern(walk *w, const char *pattern, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t before = w->sources->count;
    const size_t length = plain_front(pattern);
    char *front = mr__arena_strdup(&w->sources->names, pattern);
    MR_CHECK(front != NULL, MR_NO_MEMORY, "no memory to match %s", pattern);
    front[length] = '\0';
    MR_TRY(add_matches(w, front, pattern + length, error));
    MR_CHECK(w->sources->count > before, MR_BAD_INPUT,
             "no file matches %s\n  hint: check the pattern; a leading dot must be written out", pattern);
done:
    return status;
}

/* What lies below /proc has no size before it is read. */
static bool hides_content(const mr__tier *tier, const char *inside)
{
    char byte;
    const int fd = tier == mr__tier_global() ? open(inside, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    const bool more = fd >= 0 && pread(fd, &byte, 1, 0) == 1;
    if (fd >= 0)
        close(fd);
    return more;
}

static mr_status add_argument(walk *w, const char *argument, mr__error *error)
{
    mr_status status = MR_OK;
    const char *inside;
    mr__entry entry;
    if (strcmp(argument, "-") == 0)
        return add_standard_input(w, error);
    mr__tier *tier = mr__namespace_resolve(w->names, argument, &inside);
    const int result = *argument != '\0' ? tier->ops->stat(tier, inside, &entry) : -ENOENT;
    if (result == -ENOENT && strpbrk(argument, "*?[\\") != NULL)
        return add_pattern(w, argument, error);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_BAD_INPUT), "could not find input %s: %s%s", argument,
             strerror(-result), mr__errno_hint(result));
    if (entry.kind == MR__PIPE || (entry.kind == MR__FILE && entry.size == 0 && hides_content(tier, inside)))
        return add_pipe(w, argument, error);
    MR_CHECK(entry.kind == MR__FILE || entry.kind == MR__DIRECTORY, MR_BAD_INPUT,
             "could not read input %s: it is neither a file nor a directory nor a pipe", argument);
    const size_t length = strlen(argument);
    char *path = mr__arena_alloc(&w->sources->names, length + 2, 1);
    MR_CHECK(path != NULL, MR_NO_MEMORY, "no memory to list %s", argument);
    memcpy(path, argument, length + 1);
    if (entry.kind == MR__FILE) {
        MR_TRY(append_file(w, path, entry.size, error));
    } else {
        const uint32_t before = w->sources->count;
        if (path[length - 1] != '/')
            memcpy(path + length, "/", 2);
        MR_TRY(walk_directory(w, path, error));
        MR_CHECK(w->sources->count > before, MR_BAD_INPUT, "there is no file in %s", argument);
    }
done:
    return status;
}

uint32_t mr__source_at(const mr__sources *sources, uint64_t offset)
{
    uint32_t low = 0;
    for (uint32_t high = sources->count; high - low > 1;) {
        const uint32_t middle = low + (high - low) / 2;
        if (sources->items[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void mr__source_will_need(const mr__source *source)
{
    mr__file file;
    if (source->size == 0 || source->tier->ops->open(source->tier, source->inside, &file) != 0)
        return;
    if (file.fd >= 0)
        posix_fadvise(file.fd, 0, 0, POSIX_FADV_WILLNEED);
    source->tier->ops->close(&file);
}

mr_status mr__sources_open(const mr__namespace *names, const char *const *paths, size_t count, const mr__spool *spool,
                           mr__sources **sources, mr__error *error)
{
    mr_status status = MR_OK;
    walk w = {.names = names, .spool = spool};
    w.sources = mr__alloc_zero(1, sizeof *w.sources);
    MR_CHECK(w.sources != NULL, MR_NO_MEMORY, "no memory to list the input");
    MR_CHECK(count > 0, MR_BAD_USAGE, "no input is named");
    for (size_t i = 0; i < count; i++)
        MR_TRY(add_argument(&w, paths[i], error));
    *sources = w.sources;
    w.sources = NULL;
done:
    mr__free(w.stack);
    mr__sources_close(w.sources);
    return status;
}

void mr__sources_close(mr__sources *sources)
{
    if (sources == NULL)
        return;
    for (uint32_t i = 0; i < sources->count; i++) {
        const mr__source *source = &sources->items[i];
        if (source->spooled)
            source->tier->ops->remove(source->tier, source->inside);
    }
    mr__arena_fini(&sources->names);
    mr__free(sources->items);
    mr__free(sources);
}
