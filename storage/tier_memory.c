/* tier_memory.c: files in memory, for what one job leaves to the next and for tests without a disk.
 *
 * A file is a memfd under a name in a list, so it has a descriptor, and pread, mmap and io_uring work on it as on any
 * other. Directories are entries of the list too; the root always exists. The list is short (parts of results), so a
 * search goes through all of it. An open file is a duplicate of the descriptor: removing the name does not disturb
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "memory.h"
#include "tier.h"
#include "tier_fd.h"

typedef struct node {
    struct node *next;
    char *path;                 /* without slashes at its ends */
    int fd;                     /* -1: a directory */
} node;

typedef struct memory_tier {
    mr__tier base;
    pthread_mutex_t mutex;      /* guards what follows */
    node *nodes;
    uint64_t claims;
} memory_tier;

static memory_tier *of(mr__tier *tier)
{
    return (memory_tier *)tier;
}

/* Length of path without its trailing slashes; *path moves past leading ones. */
static size_t trim(const char **path)
{
    *path += strspn(*path, "/");
    size_t length = strlen(*path);
    while (length > 0 && (*path)[length - 1] == '/')
        length--;
    return length;
}

static node **find(memory_tier *memory, const char *path)
{
    const size_t length = trim(&path);
    node **at = &memory->nodes;
    while (*at != NULL && (strncmp((*at)->path, path, length) != 0 || (*at)->path[length] != '\0'))
        at = &(*at)->next;
    return at;
}

static bool is_below(const node *item, const char *path, size_t length)
{
    return strncmp(item->path, path, length) == 0 && item->path[length] == '/';
}

static bool parent_exists(memory_tier *memory, const char *path)
{
    const size_t length = trim(&path);
    const char *slash = memrchr(path, '/', length);
    if (slash == NULL)
        return true;
    for (const node *item = memory->nodes; item != NULL; item = item->next)
        if (item->fd < 0 && strncmp(item->path, path, (size_t)(slash - path)) == 0 && item->path[slash - path] == '\0')
            return true;
    return false;
}

/* Called with the mutex held. fd: given. */
static int add(memory_tier *memory, const char *path, int fd)
{
    int result = 0;
    const size_t length = trim(&path);
    node *made = NULL;
    if (length == 0 || *find(memory, path) != NULL)
        result = -EEXIST;
    else if (!parent_exists(memory, path))
        result = -ENOENT;
    else if ((made = mr__alloc(sizeof *made + length + 1)) == NULL)
        result = -ENOMEM;
    if (result != 0) {
        if (fd >= 0)
            close(fd);
        return result;
    }
    *made = (node){.next = memory->nodes, .path = memcpy(made + 1, path, length), .fd = fd};
    made->path[length] = '\0';
    memory->nodes = made;
    return 0;
}

static int duplicate(mr__tier *tier, int fd, mr__file *file)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    *file = (mr__file){.tier = tier, .fd = copy};
    return 0;
}

static int memory_open(mr__tier *tier, const char *path, mr__file *file)
{
    if (mr__fault(MR__FAULT_OPEN))
        return -EIO;
    pthread_mutex_lock(&of(tier)->mutex);
    const node *item = *find(of(tier), path);
    const int result = item == NULL ? -ENOENT : item->fd < 0 ? -EISDIR : duplicate(tier, item->fd, file);
    pthread_mutex_unlock(&of(tier)->mutex);
    return result;
}

static int memory_create(mr__tier *tier, const char *path, mr__file *file)
{
    if (mr__fault(MR__FAULT_OPEN))
        return -EIO;
    mr__file made;
    const int fd = memfd_create("millrace", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = duplicate(tier, fd, &made);
    if (result != 0) {
        close(fd);
        return result;
    }
    pthread_mutex_lock(&of(tier)->mutex);
    result = add(of(tier), path, fd);
    pthread_mutex_unlock(&of(tier)->mutex);
    if (result == 0)
        *file = made;
    else
        close(made.fd);
    return result;
}

static int memory_sync(const mr__file *file)
{
    return mr__fault(MR__FAULT_SYNC) ? -EIO : 0;
}

static void describe(const node *item, mr__entry *entry)
{
    struct stat found = {0};
    const char *slash = strrchr(item->path, '/');
    if (item->fd >= 0)
        fstat(item->fd, &found);
    *entry = (mr__entry){.name = slash != NULL ? slash + 1 : item->path,
                         .size = (uint64_t)found.st_size,
                         .kind = item->fd >= 0 ? MR__FILE : MR__DIRECTORY};
}

static int memory_stat(mr__tier *tier, const char *path, mr__entry *entry)
{
    if (mr__fault(MR__FAULT_STAT))
        return -EIO;
    pthread_mutex_lock(&of(tier)->mutex);
    const node *item = *find(of(tier), path);
    const char *rest = path;
    const bool root = trim(&rest) == 0;
    if (item != NULL)
        describe(item, entry);
    else if (root)
        *entry = (mr__entry){.name = path, .kind = MR__DIRECTORY};
    pthread_mutex_unlock(&of(tier)->mutex);
    return item != NULL || root ? 0 : -ENOENT;
}

static bool memory_read_link(mr__tier *tier, const char *path, char *to, size_t size)
{
    return false;
}

static int memory_list(mr__tier *tier, const char *path, mr__visit visit, void *context)
{
    const size_t length = trim(&path);
    int result = 0;
    if (mr__fault(MR__FAULT_STAT))
        return -EIO;
    pthread_mutex_lock(&of(tier)->mutex);
    const node *directory = *find(of(tier), path);
    if (length > 0 && (directory == NULL || directory->fd >= 0))
        result = directory == NULL ? -ENOENT : -ENOTDIR;
    for (const node *item = of(tier)->nodes; result == 0 && item != NULL; item = item->next) {
        mr__entry entry;
        if (length > 0 && !is_below(item, path, length))
            continue;
        if (strchr(item->path + (length > 0 ? length + 1 : 0), '/') != NULL)
            continue;
        describe(item, &entry);
        if (!visit(&entry, context))
            break;
    }
    pthread_mutex_unlock(&of(tier)->mutex);
    return result;
}

static int memory_make_directory(mr__tier *tier, const char *path)
{
    if (mr__fault(MR__FAULT_MKDIR))
        return -EIO;
    pthread_mutex_lock(&of(tier)->mutex);
    const int result = add(of(tier), path, -1);
    pthread_mutex_unlock(&of(tier)->mutex);
    return result;
}

/* What a process leaves in memory dies with it. */
static void memory_sweep(mr__tier *tier, const char *parent, const char *prefix)
{
}

static int memory_claim(mr__tier *tier, const char *parent, const char *prefix, mr__claim *claim)
{
    const size_t length = trim(&parent);
    const size_t size = length + strlen(prefix) + 32;
    char *path = mr__alloc(size);
    if (path == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&of(tier)->mutex);
    snprintf(path, size, "%.*s%s%s%llu", (int)length, parent, length > 0 ? "/" : "", prefix,
             (unsigned long long)of(tier)->claims++);
    pthread_mutex_unlock(&of(tier)->mutex);
    const int result = memory_make_directory(tier, path);
    if (result == 0)
        *claim = (mr__claim){.path = path, .lock = -1};
    else
        mr__free(path);
    return result;
}

static int memory_share(mr__tier *tier, mr__claim *claim)
{
    return -ENOTSUP;
}

static int memory_join(mr__tier *tier, const char *path, mr__claim *claim)
{
    return -ENOTSUP;
}

/* `path` for item once the directory `from` is called `to`; NULL when memory ran out. */
static node *renamed(const node *item, size_t from, const char *to, size_t length)
{
    const char *rest = item->path + from;
    const size_t size = strlen(rest) + 1;
    node *made = mr__alloc(sizeof *made + length + size);
    if (made != NULL) {
        *made = (node){.path = (char *)(made + 1), .fd = item->fd};
        memcpy(made->path, to, length);
        memcpy(made->path + length, rest, size);
    }
    return made;
}

static int memory_rename(mr__tier *tier, const char *from, const char *to, mr__rename how)
{
    memory_tier *memory = of(tier);
    const size_t from_length = trim(&from), to_length = trim(&to);
    node *fresh = NULL;
    int result = mr__fault(MR__FAULT_RENAME) ? -EIO : 0;
    pthread_mutex_lock(&memory->mutex);
    const bool taken = *find(memory, to) != NULL;
    if (result == 0 && (*find(memory, from) == NULL || (how == MR__RENAME_SWAP && !taken)))
        result = -ENOENT;
    if (result == 0 && how == MR__RENAME_NEW && (taken || !parent_exists(memory, to)))
        result = taken ? -EEXIST : -ENOENT;
    for (const node *item = memory->nodes; result == 0 && item != NULL; item = item->next) {
        const size_t length = strlen(item->path);
        const bool out = is_below(item, from, from_length) || (length == from_length && !strcmp(item->path, from));
        const bool back = taken && (is_below(item, to, to_length) || (length == to_length && !strcmp(item->path, to)));
        node *made = out    ? renamed(item, from_length, to, to_length)
                     : back ? renamed(item, to_length, from, from_length)
                            : renamed(item, 0, "", 0);
        if (made == NULL)
            result = -ENOMEM;
        else {
            made->next = fresh;
            fresh = made;
        }
    }
    /* the old list or the new one: whichever is not in use any more keeps no descriptor, it was only copied */
    node *dead = fresh;
    if (result == 0) {
        dead = memory->nodes;
        memory->nodes = fresh;
    }
    pthread_mutex_unlock(&memory->mutex);
    for (node *next; dead != NULL; dead = next) {
        next = dead->next;
        mr__free(dead);
    }
    return result;
}

static int memory_remove(mr__tier *tier, const char *path)
{
    memory_tier *memory = of(tier);
    const size_t length = trim(&path);
    struct stat found = {0};
    int result = 0;
    pthread_mutex_lock(&memory->mutex);
    node **at = find(memory, path), *item = *at;
    if (item == NULL)
        result = -ENOENT;
    else if (item->fd < 0)
        for (const node *other = memory->nodes; other != NULL; other = other->next)
            if (is_below(other, path, length))
                result = -ENOTEMPTY;
    if (result == 0)
        *at = item->next;
    pthread_mutex_unlock(&memory->mutex);
    if (result != 0)
        return result;
    if (item->fd >= 0) {
        if (fstat(item->fd, &found) == 0)
            mr__tier_refund(tier, (uint64_t)found.st_size);
        close(item->fd);
    }
    mr__free(item);
    return 0;
}

static int64_t memory_free_bytes(mr__tier *tier, const char *path)
{
    const uint64_t used = atomic_load_explicit(&tier->used, memory_order_relaxed);
    if (tier->capacity == 0)
        return INT64_MAX;
    return tier->capacity > used ? (int64_t)(tier->capacity - used) : 0;
}

static void memory_destroy(mr__tier *tier)
{
    for (node *item = of(tier)->nodes, *next; item != NULL; item = next) {
        next = item->next;
        if (item->fd >= 0)
            close(item->fd);
        mr__free(item);
    }
    pthread_mutex_destroy(&of(tier)->mutex);
    mr__free(tier);
}

static const mr__tier_ops memory_ops = {
    .open = memory_open,
    .create = memory_create,
    .close = mr__fd_close,
    .read_at = mr__fd_read_at,
    .write_at = mr__fd_write_at,
    .sync = memory_sync,
    .stat = memory_stat,
    .read_link = memory_read_link,
    .list = memory_list,
    .make_directory = memory_make_directory,
    .sweep = memory_sweep,
    .claim = memory_claim,
    .share = memory_share,
    .join = memory_join,
    .rename = memory_rename,
    .remove = memory_remove,
    .free_bytes = memory_free_bytes,
    .destroy = memory_destroy,
};

mr_status mr__tier_memory_create(uint64_t capacity, mr__tier **tier, mr__error *error)
{
    mr_status status = MR_OK;
    memory_tier *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the memory tier");
    made->base = (mr__tier){.ops = &memory_ops, .name = "memory", .capacity = capacity};
    pthread_mutex_init(&made->mutex, NULL);
    *tier = &made->base;
done:
    return status;
}
