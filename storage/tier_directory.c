/* tier_directory.c: the global tier and the burst tier, both of them the host's file system.
 *
 * A path is looked up from a root descriptor: the working directory for the global tier (absolute paths ignore it), the
 * private directory for the burst tier. So no path is ever copied to be joined.
 *
 * Claims. A directory PREFIX+PID-RANDOM is its maker's while the maker holds a lock (flock) on it. The kernel ends the
 * lock when the process dies, however it dies. Who is about to claim sweeps first: whatever has the prefix, belongs to
 * this user and can be locked has no living owner and is removed. A call of its own, since a dead job may have left
 * thousands of files, and some claim on a thread that must not wait so long (joint_view.c).
 *     maker:   mkdir -> open -> lock -> is it still there?  no: another name
 *     sweeper: open -> lock (held: leave it) -> remove
 * Why the last question: between mkdir and lock the directory looks dead. A sweeper that came in between has the lock,
 * or has removed the directory; the maker sees either and begins again, so that no maker works in a directory that is
 * gone. Rejected: looking whether the PID lives; PIDs are reused, and another container's are not seen.
 *
 * Shared claims. The owners hold a shared lock each, on the file CLAIM/lock: on a network file system a lock on a file
 * reaches the other hosts, one on a directory does not.
 *     share:   (the directory is locked) -> make the file -> lock it, shared -> unlock the directory
 *     join:    open the file -> lock it, shared -> does it still have its name?  no: it is gone
 *     leave:   unlock -> lock -> remove (tier.c says why in this order)
 *     sweeper: lock the directory -> lock the file, if there is one (held: leave it) -> remove
 * C1  At every moment from mkdir on, the directory or the file is locked by a living owner: share() overlaps the two.
 * C2  Who removes holds the whole lock of the file, so no owner lives; who joins after that finds no name, or a file
 *     that has lost its name. The exception is who has committed what the claim was for: the others find it gone.
 * C3  Where the file system has no locks nobody removes a shared claim but who committed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fault.h"
#include "memory.h"
#include "tier.h"
#include "tier_fd.h"

typedef struct directory_tier {
    mr__tier base;
    int root;
} directory_tier;

enum { CLAIM_ATTEMPTS = 100 };

static const char LOCK_FILE[] = "lock";

static int root_of(const mr__tier *tier)
{
    return ((const directory_tier *)tier)->root;
}

static const char *inside(const char *path)
{
    return *path != '\0' ? path : ".";
}

static int open_as(mr__tier *tier, const char *path, int flags, mode_t mode, mr__file *file)
{
    if (mr__fault(MR__FAULT_OPEN))
        return -EIO;
    int fd;
    do
        fd = openat(root_of(tier), inside(path), flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    *file = (mr__file){.tier = tier, .fd = fd};
    return 0;
}

static int directory_open(mr__tier *tier, const char *path, mr__file *file)
{
    return open_as(tier, path, O_RDONLY, 0, file);
}

static int directory_create(mr__tier *tier, const char *path, mr__file *file)
{
    return open_as(tier, path, O_RDWR | O_CREAT | O_EXCL, 0666, file);
}

static int directory_sync(const mr__file *file)
{
    if (mr__fault(MR__FAULT_SYNC))
        return -EIO;
    return fsync(file->fd) == 0 ? 0 : -errno;
}

static mr__kind kind_of(mode_t mode)
{
    return S_ISREG(mode) ? MR__FILE : S_ISDIR(mode) ? MR__DIRECTORY : S_ISFIFO(mode) ? MR__PIPE : MR__OTHER;
}

/* false where the kernel does not tell (before 5.8). */
static bool is_mounted(int root, const char *path)
{
    struct statx found;
    return statx(root, path, 0, 0, &found) == 0 && (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static int directory_stat(mr__tier *tier, const char *path, mr__entry *entry)
{
    struct stat found;
    if (mr__fault(MR__FAULT_STAT))
        return -EIO;
    if (fstatat(root_of(tier), inside(path), &found, 0) != 0)
        return -errno;
    *entry = (mr__entry){
        .name = path, .size = (uint64_t)found.st_size, .kind = kind_of(found.st_mode), .id = found.st_ino,
        .mounted = S_ISDIR(found.st_mode) && is_mounted(root_of(tier), inside(path))};
    return 0;
}

static bool directory_read_link(mr__tier *tier, const char *path, char *to, size_t size)
{
    const ssize_t length = readlinkat(root_of(tier), inside(path), to, size - 1);
    if (length < 0)
        return false;
    to[length] = '\0';
    return true;
}

/* false: it vanished since the directory was read, or its status cannot be had (then *result says so). */
static bool look_at(int fd, const struct dirent *item, mr__entry *entry, int *result)
{
    struct stat found;
    *entry = (mr__entry){.name = item->d_name, .kind = MR__DIRECTORY};
    if (item->d_type == DT_DIR)
        return true;
    if (fstatat(fd, item->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            *result = -errno;
        return false;
    }
    if (S_ISLNK(found.st_mode)) {
        entry->link = true;
        if (fstatat(fd, item->d_name, &found, 0) != 0)
            found = (struct stat){0};           /* leads nowhere: MR__OTHER */
    }
    entry->kind = kind_of(found.st_mode);
    entry->size = (uint64_t)found.st_size;
    return true;
}

static int directory_list(mr__tier *tier, const char *path, mr__visit visit, void *context)
{
    int result = 0;
    if (mr__fault(MR__FAULT_STAT))
        return -EIO;
    const int fd = openat(root_of(tier), inside(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        result = -errno;
        if (fd >= 0)
            close(fd);
        return result;
    }
    while (result == 0) {
        mr__entry entry;
        errno = 0;
        const struct dirent *item = readdir(stream);
        if (item == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if (look_at(fd, item, &entry, &result) && !visit(&entry, context))
            break;
    }
    closedir(stream);
    return result;
}

static int directory_make_directory(mr__tier *tier, const char *path)
{
    if (mr__fault(MR__FAULT_MKDIR))
        return -EIO;
    return mkdirat(root_of(tier), path, 0777) == 0 ? 0 : -errno;
}

static int directory_rename(mr__tier *tier, const char *from, const char *to, mr__rename how)
{
    const int root = root_of(tier);
    const unsigned flags = how == MR__RENAME_NEW ? RENAME_NOREPLACE : RENAME_EXCHANGE;
    if (mr__fault(MR__FAULT_RENAME))
        return -EIO;
    if (renameat2(root, from, root, to, flags) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* A file system without these flags (NFS): rename() itself refuses a target that is a directory with content, and
     * an empty one is asked for here; the moment between is the best such a file system offers. */
    if (how == MR__RENAME_SWAP)
        return -ENOTSUP;
    if (faccessat(root, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (renameat(root, from, root, to) == 0)
        return 0;
    return errno == ENOTEMPTY ? -EEXIST : -errno;
}

static int directory_remove(mr__tier *tier, const char *path)
{
    const int root = root_of(tier);
    struct stat found;
    const bool counted =
        tier->capacity != 0 && fstatat(root, path, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode);
    if (unlinkat(root, path, 0) == 0) {
        if (counted)
            mr__tier_refund(tier, (uint64_t)found.st_size);
        return 0;
    }
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    return unlinkat(root, path, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int64_t directory_free_bytes(mr__tier *tier, const char *path)
{
    struct statvfs found;
    const int fd = openat(root_of(tier), inside(path), O_PATH | O_CLOEXEC);
    const int answer = fd >= 0 ? fstatvfs(fd, &found) : -1;
    const int number = errno;
    if (fd >= 0)
        close(fd);
    if (answer != 0)
        return -number;
    const uint64_t there = (uint64_t)found.f_bavail * found.f_frsize;
    const uint64_t used = atomic_load_explicit(&tier->used, memory_order_relaxed);
    const uint64_t allowed = tier->capacity == 0 ? UINT64_MAX : tier->capacity > used ? tier->capacity - used : 0;
    return (int64_t)(there < allowed ? there : allowed);
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static int open_locked(int root, const char *path, int flags, int operation, int *lock)
{
    const int fd = openat(root, path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, operation | LOCK_NB) != 0) {
        const int number = errno;
        close(fd);
        return -number;
    }
    *lock = fd;
    return 0;
}

static int lock_directory(int root, const char *path, int *lock)
{
    return open_locked(root, path, O_RDONLY | O_DIRECTORY, LOCK_EX, lock);
}

static bool no_locks_here(int result)
{
    return result == -ENOLCK || result == -ENOSYS || result == -ENOTSUP;
}

/* "PID-16 hexadecimal digits" */
static bool is_claim_suffix(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] == '-' && strspn(text + digits + 1, "0123456789abcdef") == 16 &&
           text[digits + 17] == '\0';
}

struct sweep {
    mr__tier *tier;
    const char *parent, *prefix;
};

static char *join(const char *parent, const char *front, const char *back)
{
    const size_t length = strlen(parent);
    const char *slash = length == 0 || parent[length - 1] == '/' ? "" : "/";
    const size_t size = length + strlen(slash) + strlen(front) + strlen(back) + 1;
    char *path = mr__alloc(size);
    if (path != NULL)
        snprintf(path, size, "%s%s%s%s", parent, slash, front, back);
    return path;
}

/* It belongs to this user, and nobody shares it: *file, if it is one that was shared, is locked now. */
static bool is_dead(mr__tier *tier, const char *path, int directory, int *file)
{
    struct stat found;
    if (fstat(directory, &found) != 0 || found.st_uid != geteuid())
        return false;
    char *name = join(path, LOCK_FILE, "");
    const int result = name != NULL ? open_locked(root_of(tier), name, O_RDWR, LOCK_EX, file) : -ENOMEM;
    mr__free(name);
    return result == 0 || result == -ENOENT;
}

static bool sweep_one(const mr__entry *entry, void *context)
{
    const struct sweep *sweep = context;
    const size_t front = strlen(sweep->prefix);
    int lock = -1, file = -1;
    if (entry->kind != MR__DIRECTORY || entry->link || strncmp(entry->name, sweep->prefix, front) != 0 ||
        !is_claim_suffix(entry->name + front))
        return true;
    char *path = join(sweep->parent, entry->name, "");
    if (path != NULL && lock_directory(root_of(sweep->tier), path, &lock) == 0) {
        if (is_dead(sweep->tier, path, lock, &file))
            mr__tier_remove_tree(sweep->tier, path);
        close(lock);
        if (file >= 0)
            close(file);
    }
    mr__free(path);
    return true;
}

static int claim_once(mr__tier *tier, const char *parent, const char *prefix, mr__claim *claim)
{
    uint64_t number;
    char suffix[48];
    struct stat by_lock, by_name;
    int lock = -1;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return -errno;
    snprintf(suffix, sizeof suffix, "%ld-%016llx", (long)getpid(), (unsigned long long)number);
    char *path = join(parent, prefix, suffix);
    if (path == NULL)
        return -ENOMEM;
    int result = mr__fault(MR__FAULT_MKDIR) ? -EIO : mkdirat(root_of(tier), path, 0700) == 0 ? 0 : -errno;
    if (result == 0) {
        result = lock_directory(root_of(tier), path, &lock);
        if (no_locks_here(result))
            result = 0;                         /* no locks here: nobody else can lock it either, so nobody sweeps it */
        if (lock >= 0 && (fstat(lock, &by_lock) != 0 || fstatat(root_of(tier), path, &by_name, 0) != 0 ||
                          by_lock.st_ino != by_name.st_ino))
            result = -EAGAIN;
        if (result != 0)
            unlinkat(root_of(tier), path, AT_REMOVEDIR);
    }
    if (result == 0) {
        *claim = (mr__claim){.path = path, .lock = lock};
        return 0;
    }
    if (lock >= 0)
        close(lock);
    mr__free(path);
    return result;
}

static void directory_sweep(mr__tier *tier, const char *parent, const char *prefix)
{
    struct sweep sweep = {.tier = tier, .parent = parent, .prefix = prefix};
    /* What cannot be listed cannot be swept, but it may still be written to. */
    directory_list(tier, parent, sweep_one, &sweep);
}

static int directory_claim(mr__tier *tier, const char *parent, const char *prefix, mr__claim *claim)
{
    int result = -EAGAIN;
    /* EWOULDBLOCK (= EAGAIN) and ENOENT: a sweeper was faster; EEXIST: the name was taken */
    for (int i = 0; i < CLAIM_ATTEMPTS && (result == -EAGAIN || result == -EEXIST || result == -ENOENT); i++) {
        struct stat found;
        result = claim_once(tier, parent, prefix, claim);
        if (result == -ENOENT && fstatat(root_of(tier), inside(parent), &found, 0) != 0)
            break;                              /* it is the parent that is missing */
    }
    return result;
}

static int directory_share(mr__tier *tier, mr__claim *claim)
{
    int lock = -1;
    char *name = join(claim->path, LOCK_FILE, "");
    if (name == NULL)
        return -ENOMEM;
    int result = mr__fault(MR__FAULT_OPEN)
                     ? -EIO
                     : open_locked(root_of(tier), name, O_RDWR | O_CREAT | O_EXCL, LOCK_SH, &lock);
    mr__free(name);
    if (result != 0 && !no_locks_here(result))
        return result;
    if (claim->lock >= 0)
        close(claim->lock);
    claim->lock = lock;
    return 0;
}

static int directory_join(mr__tier *tier, const char *path, mr__claim *claim)
{
    struct stat by_lock, by_name;
    int lock = -1, result = 0;
    char *name = join(path, LOCK_FILE, ""), *copy = mr__strdup(path);
    if (name == NULL || copy == NULL)
        result = -ENOMEM;
    else if (mr__fault(MR__FAULT_OPEN))
        result = -EIO;
    else
        result = open_locked(root_of(tier), name, O_RDWR, LOCK_SH, &lock);
    if (result == -EWOULDBLOCK || (lock >= 0 && (fstat(lock, &by_lock) != 0 ||
                                                 fstatat(root_of(tier), name, &by_name, 0) != 0 ||
                                                 by_lock.st_ino != by_name.st_ino)))
        result = -ENOENT;                       /* somebody removes it, or has */
    else if (no_locks_here(result))
        result = 0;
    mr__free(name);
    if (result == 0) {
        *claim = (mr__claim){.path = copy, .lock = lock};
        return 0;
    }
    if (lock >= 0)
        close(lock);
    mr__free(copy);
    return result;
}

/* ---- the two tiers of this kind ---------------------------------------------------------------------------------- */

static void directory_destroy(mr__tier *tier)
{
    close(root_of(tier));
    mr__free(tier);
}

static const mr__tier_ops directory_ops = {
    .open = directory_open,
    .create = directory_create,
    .close = mr__fd_close,
    .read_at = mr__fd_read_at,
    .write_at = mr__fd_write_at,
    .sync = directory_sync,
    .stat = directory_stat,
    .read_link = directory_read_link,
    .list = directory_list,
    .make_directory = directory_make_directory,
    .sweep = directory_sweep,
    .claim = directory_claim,
    .share = directory_share,
    .join = directory_join,
    .rename = directory_rename,
    .remove = directory_remove,
    .free_bytes = directory_free_bytes,
    .destroy = directory_destroy,
};

mr__tier *mr__tier_global(void)
{
    static directory_tier global = {.base = {.ops = &directory_ops, .name = "global"}, .root = AT_FDCWD};
    return &global.base;
}

mr_status mr__tier_directory_create(const char *name, const char *root, uint64_t capacity, mr__tier **tier,
                                    mr__error *error)
{
    mr_status status = MR_OK;
    directory_tier *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for tier %s", name);
    made->base = (mr__tier){.ops = &directory_ops, .name = name, .capacity = capacity};
    made->root = mr__fault(MR__FAULT_OPEN) ? (errno = EIO, -1) : open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MR_CHECK(made->root >= 0, mr__status_of_errno(errno, MR_IO_FAILED), "could not open directory %s of tier %s: %s%s",
             root, name, strerror(errno), mr__errno_hint(errno));
    *tier = &made->base;
    made = NULL;
done:
    mr__free(made);
    return status;
}
