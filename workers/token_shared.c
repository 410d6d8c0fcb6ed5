/* token_shared.c: the file of a pool: finding it, trusting it, building it, locking it.
 *
 *   /dev/shm/millrace-1000/      ours, mode 0700, no link: checked on the open folder, not on its name
 *     pocl-0                     ours, 0600:  [magic | mutex | bell | health | tokens | jobs | magic], mapped by all
 *                                locked bytes: token 0, 1, ..  job slots  probe  build  users
 *
 * Who holds what is said by locks of bytes (F_OFD_SETLK): they belong to an open file description, so they end when the
 * last process that has it is gone, whatever killed it. The memory holds what locks cannot say: order, health, names.
 * It is only ever a remark beside the locks, so every damage to it can be repaired from them:
 *   - a process died with the mutex: the next gets EOWNERDEAD and settles the records;
 *   - the file is damaged and nobody uses it (the users' byte can be locked): it is built anew in place. In place,
 *     because a device process whose job has died may hold tokens yet, and they count as long as the file is the same;
 *   - it is damaged and in use: the sentence says so. Nobody can tell what a mutex is worth that somebody overwrote.
 * The first user makes the mutex anew in any case: nobody can hold it, and its old bytes need not be trusted. It also
 * looks whether times can be of this clock. */
#include "token_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#include "clock.h"
#include "device_find.h"
#include "fault.h"

enum { PATIENCE_S = 10, NAP_NS = 1000000, DIGITS = 16, NAME_SPACE = 128 };

static const uint64_t magic = 0x31306b6f742d726dull;       /* "mr-tok01": the layout's version is part of it */

/* ---- locks of bytes ---------------------------------------------------------------------------------------------- */

static int lock_byte(int fd, short type, uint32_t byte)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range);
}

bool mr__token_byte_held(const mr__token_pool *pool, uint32_t byte)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    /* when in doubt it is held: too few tokens are safe, too many are not */
    return fcntl(pool->fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_UNLCK;
}

bool mr__token_byte_own(const mr__token_pool *pool, uint32_t byte)
{
    return lock_byte(pool->fd, F_WRLCK, byte) == 0;
}

int mr__token_byte_take(const mr__token_pool *pool, uint32_t byte)
{
    char path[sizeof "/proc/self/fd/" + DIGITS];
    snprintf(path, sizeof path, "/proc/self/fd/%d", pool->fd);
    const int fd = mr__fault(MR__FAULT_OPEN) ? (errno = EMFILE, -1) : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || lock_byte(fd, F_WRLCK, byte) == 0)
        return fd;
    const int number = errno == EACCES ? EAGAIN : errno;
    close(fd);
    errno = number;
    return -1;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* Not there, read-only, full, or not for us. */
static bool place_fails(int number)
{
    return number == ENOENT || number == ENOTDIR || number == EROFS || number == EACCES || number == EPERM ||
           number == ENOSPC || number == EDQUOT;
}

/* Opens a folder that nobody else can touch. *elsewhere: another place may do: this one cannot be used, or the name
 * belongs to somebody else. */
static mr_status open_folder(const char *path, int *out, bool *elsewhere, mr__error *error)
{
    mr_status status = MR_OK;
    struct stat about = {0};
    int fd = -1;
    const int made = mr__fault(MR__FAULT_MKDIR) ? (errno = ENOSPC, -1) : mkdir(path, 0700);
    *elsewhere = made != 0 && place_fails(errno);
    MR_CHECK(made == 0 || errno == EEXIST, mr__status_of_errno(errno, MR_IO_FAILED),
             "could not make %s, where the tokens of devices are kept: %s", path, strerror(errno));
    fd = mr__fault(MR__FAULT_OPEN) ? (errno = EMFILE, -1)
                                   : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *elsewhere = fd < 0 && (place_fails(errno) || errno == ELOOP);
    MR_CHECK(fd >= 0, mr__status_of_errno(errno, MR_IO_FAILED), "could not open the folder %s: %s", path,
             strerror(errno));
    MR_CHECK(fstat(fd, &about) == 0, MR_IO_FAILED, "could not look at %s: %s", path, strerror(errno));
    *elsewhere = about.st_uid != geteuid();
    MR_CHECK(!*elsewhere, MR_IO_FAILED, "%s belongs to user %u\n  hint: remove it, or set MILLRACE_TOKENS", path,
             (unsigned)about.st_uid);
    MR_CHECK((about.st_mode & 077) == 0, MR_IO_FAILED, "others may use %s (mode %03o)\n  hint: chmod 700 %s", path,
             (unsigned)about.st_mode & 0777, path);
    *out = fd;
    fd = -1;
done:
    if (fd >= 0)
        close(fd);
    return status;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static bool make_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t kind;
    if (pthread_mutexattr_init(&kind) != 0)
        return false;
    memset(mutex, 0, sizeof *mutex);
    const bool made = pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED) == 0 &&
                      pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST) == 0 &&
                      pthread_mutex_init(mutex, &kind) == 0;
    pthread_mutexattr_destroy(&kind);
    return made;
}

/* What no repair could make good: then everything is made anew. */
static bool is_sound(const mr__token_shared *shared)
{
    return shared->magic == magic && shared->magic_end == magic && shared->size == sizeof *shared &&
           shared->limit >= 1 && shared->limit <= shared->limit_most && shared->limit_most <= MR__TOKENS_MOST &&
           shared->state <= MR__STATE_DRAINED && shared->why[MR__DEVICE_WHY - 1] == '\0' &&
           shared->next_lease != 0 && shared->next_ticket != 0 && shared->next_generation != 0;
}

static void build(mr__token_shared *shared)
{
    memset(shared, 0, sizeof *shared);
    shared->magic = shared->magic_end = magic;
    shared->size = sizeof *shared;
    shared->limit = MR__TOKENS_PRESET;
    shared->limit_most = MR__TOKENS_MOST;
    shared->next_lease = shared->next_ticket = shared->next_generation = 1;
    shared->well_ns = mr__now_ns();
}

bool mr__name_is_plain(const char *text, size_t room)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t size = strnlen(text, room);
    return size > 0 && size < room && text[0] != '.' && text[0] != '-' && strspn(text, allowed) == size;
}

static mr_status open_file(mr__token_pool *pool, int folder, bool *elsewhere, mr__error *error)
{
    mr_status status = MR_OK;
    struct stat about = {0};
    pool->fd = mr__fault(MR__FAULT_OPEN)
                   ? (errno = EMFILE, -1)
                   : openat(folder, pool->file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    *elsewhere = pool->fd < 0 && place_fails(errno);
    MR_CHECK(pool->fd >= 0, mr__status_of_errno(errno, MR_IO_FAILED), "could not open the token pool %s: %s",
             pool->path, strerror(errno));
    MR_CHECK(fstat(pool->fd, &about) == 0, MR_IO_FAILED, "could not look at %s: %s", pool->path, strerror(errno));
    MR_CHECK(S_ISREG(about.st_mode) && about.st_uid == geteuid() && (about.st_mode & 077) == 0, MR_IO_FAILED,
             "%s is not a file that only this user may use\n  hint: remove it", pool->path);
done:
    return status;
}

/* Only who builds or opens holds this byte, for microseconds; a stopped process may hold it longer. */
static mr_status lock_for_build(mr__token_pool *pool, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t deadline = mr__now_ns() + PATIENCE_S * 1000000000ull;
    int locked;
    while ((locked = lock_byte(pool->fd, F_WRLCK, MR__BYTE_BUILD)) != 0 && (errno == EAGAIN || errno == EACCES) &&
           mr__now_ns() < deadline)
        nanosleep(&(const struct timespec){.tv_nsec = NAP_NS}, NULL);
    MR_CHECK(locked == 0, MR_IO_FAILED, "could not lock the token pool %s: %s", pool->path, strerror(errno));
done:
    return status;
}

static mr_status map_file(mr__token_pool *pool, bool *elsewhere, mr__error *error)
{
    mr_status status = MR_OK;
    /* real blocks: a full /dev/shm is a sentence now and not a SIGBUS later */
    const int number = mr__fault(MR__FAULT_WRITE) ? ENOSPC : posix_fallocate(pool->fd, 0, sizeof(mr__token_shared));
    *elsewhere = place_fails(number);
    MR_CHECK(number == 0, mr__status_of_errno(number, MR_IO_FAILED), "no space for the token pool %s: %s", pool->path,
             strerror(number));
    void *mapped = mr__fault(MR__FAULT_MAP) ? (errno = ENOMEM, MAP_FAILED)
                                            : mmap(NULL, sizeof(mr__token_shared), PROT_READ | PROT_WRITE, MAP_SHARED,
                                                   pool->fd, 0);
    MR_CHECK(mapped != MAP_FAILED, mr__status_of_errno(errno, MR_IO_FAILED), "could not map the token pool %s: %s",
             pool->path, strerror(errno));
    pool->shared = mapped;
done:
    return status;
}

/* A pool on disk outlives a restart of the machine, its clock does not: a device would rest as long as the machine had
 * run before. */
static void shorten_rest(mr__token_shared *shared)
{
    const uint64_t now = mr__now_ns();
    if (shared->state == MR__STATE_FAILED && shared->probe_ns > now + mr__device_backoff_ns(MR__DEVICE_STRIKES - 2))
        shared->probe_ns = now;
}

/* Attaches to the device's file in the folder pool->path. */
static mr_status attach_in_folder(mr__token_pool *pool, const char *device, const char *bus, bool *elsewhere,
                                  mr__error *error)
{
    mr_status status = MR_OK;
    int folder = -1;
    strcpy(pool->device, device);
    snprintf(pool->file, sizeof pool->file, "%s%s", bus[0] != '\0' ? "pci-" : "", bus[0] != '\0' ? bus : device);
    MR_TRY(open_folder(pool->path, &folder, elsewhere, error));
    const size_t used = strlen(pool->path);
    snprintf(pool->path + used, sizeof pool->path - used, "/%s", pool->file);
    MR_TRY(open_file(pool, folder, elsewhere, error));
    MR_TRY(lock_for_build(pool, error));
    MR_TRY(map_file(pool, elsewhere, error));
    if (lock_byte(pool->fd, F_WRLCK, MR__BYTE_USERS) == 0) {
        if (!is_sound(pool->shared))
            build(pool->shared);
        MR_CHECK(make_mutex(&pool->shared->mutex), MR_IO_FAILED, "could not make the lock of %s", pool->path);
        pool->shared->limit_most = MR__TOKENS_MOST;     /* look at all; settle() lowers it to what there is */
        mr__token_settle(pool);
        shorten_rest(pool->shared);
    }
    MR_CHECK(is_sound(pool->shared), MR_IO_FAILED,
             "the token pool %s is damaged, and jobs use it\n  hint: try again when they have ended", pool->path);
    MR_CHECK(lock_byte(pool->fd, F_RDLCK, MR__BYTE_USERS) == 0, MR_IO_FAILED, "could not lock the token pool %s: %s",
             pool->path, strerror(errno));
    lock_byte(pool->fd, F_UNLCK, MR__BYTE_BUILD);
done:
    if (folder >= 0)
        close(folder);
    if (status != MR_OK)
        mr__token_detach(pool);
    return status;
}

/* /dev/shm may not be there, or be full, and another user may have taken the name in it, where everybody may make one;
 * the cache folder is this user's. */
mr_status mr__token_attach(mr__token_pool *pool, const char *device, const char *bus, mr__error *error)
{
    mr_status status = MR_OK;
    bool elsewhere = false;
    mr__error first = {.code = MR_OK};
    char host[65] = "";
    const char *given = getenv("MILLRACE_TOKENS");
    *pool = (mr__token_pool){.fd = -1, .probe_fd = -1, .job = MR__NO_JOB};
    MR_CHECK(mr__name_is_plain(device, sizeof pool->device), MR_BAD_USAGE,
             "'%.60s' cannot be the name of a device\n  hint: millrace devices lists them", device);
    if (given != NULL && given[0] != '\0') {
        MR_CHECK(strlen(given) < MR__PATH_MAX - NAME_SPACE, MR_BAD_USAGE, "MILLRACE_TOKENS is too long: %.60s...",
                 given);
        snprintf(pool->path, sizeof pool->path, "%s", given);
        return attach_in_folder(pool, device, bus, &elsewhere, error);
    }
    snprintf(pool->path, sizeof pool->path, "/dev/shm/millrace-%u", (unsigned)geteuid());
    status = attach_in_folder(pool, device, bus, &elsewhere, &first);
    if (status == MR_OK)
        return MR_OK;
    if (!elsewhere || mr__device_cache_folder(pool->path, NULL) != MR_OK)
        return mr__fail(error, status, "%s", first.text);
    gethostname(host, sizeof host - 1);
    const size_t used = strlen(pool->path);
    snprintf(pool->path + used, sizeof pool->path - used, "/tokens-%s", host);
    status = attach_in_folder(pool, device, bus, &elsewhere, error);
done:
    return status;
}

void mr__token_detach(mr__token_pool *pool)
{
    if (pool->shared != NULL)
        munmap(pool->shared, sizeof *pool->shared);
    if (pool->probe_fd >= 0)
        close(pool->probe_fd);
    if (pool->fd >= 0)
        close(pool->fd);        /* gives up every lock of this end */
    *pool = (mr__token_pool){.fd = -1, .probe_fd = -1, .job = MR__NO_JOB};
}

/* ---- the lock ---------------------------------------------------------------------------------------------------- */

/* ThreadSanitizer (gcc 12) does not know that a timed lock may say EOWNERDEAD and yet be locked. */
static void tell_tsan_locked(pthread_mutex_t *mutex)
{
#ifdef __SANITIZE_THREAD__
    __tsan_mutex_pre_lock(mutex, 0);
    __tsan_mutex_post_lock(mutex, 0, 0);
#endif
}

bool mr__token_pool_removed(const mr__token_pool *pool)
{
    struct stat about;
    return fstat(pool->fd, &about) != 0 || about.st_nlink == 0;
}

mr_status mr__token_lock(mr__token_pool *pool, mr__error *error)
{
    const mr_status status = mr__token_lock_for(pool, PATIENCE_S * 1000000000ull, error);
    return status == MR_TIMEOUT ? MR_IO_FAILED : status;
}

mr_status mr__token_lock_for(mr__token_pool *pool, uint64_t patience_ns, mr__error *error)
{
    mr_status status = MR_OK;
    const struct timespec deadline = mr__timespec(mr__clock_ns(CLOCK_REALTIME) + patience_ns);
    const int number = pthread_mutex_timedlock(&pool->shared->mutex, &deadline);
    if (number == EOWNERDEAD) {
        tell_tsan_locked(&pool->shared->mutex);
        pthread_mutex_consistent(&pool->shared->mutex);
        mr__token_settle(pool);
    }
    MR_CHECK(number == 0 || number == EOWNERDEAD, number == ETIMEDOUT ? MR_TIMEOUT : MR_IO_FAILED,
             "could not lock the token pool %s: %s\n  hint: is a job stopped? if none runs, remove the file",
             pool->path, strerror(number));
    if (mr__token_pool_removed(pool)) {
        mr__token_unlock(pool);
        return mr__fail(error, MR_IO_FAILED, "the token pool %s was removed while this job used it", pool->path);
    }
    if (!is_sound(pool->shared)) {
        mr__token_unlock(pool);
        return mr__fail(error, MR_IO_FAILED, "the token pool %s was damaged while this job used it", pool->path);
    }
done:
    return status;
}

void mr__token_unlock(mr__token_pool *pool)
{
    pthread_mutex_unlock(&pool->shared->mutex);
}

void mr__token_ring(mr__token_pool *pool)
{
    /* relaxed: the mutex orders what the ring is about; the kernel compares the futex word itself */
    atomic_fetch_add_explicit(&pool->shared->bell, 1, memory_order_relaxed);
    syscall(SYS_futex, &pool->shared->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- records in line with locks ---------------------------------------------------------------------------------- */

static void settle_jobs(mr__token_pool *pool)
{
    mr__token_shared *shared = pool->shared;
    for (uint32_t j = 0; j < MR__TOKEN_JOBS; j++) {
        mr__token_job *job = &shared->job[j];
        if (j == pool->job)
            continue;       /* our own lock does not show */
        /* free, dead, or not written by us */
        if (job->generation == 0 || job->generation >= shared->next_generation || job->ticket >= shared->next_ticket ||
            !mr__token_byte_held(pool, MR__BYTE_JOB + j))
            *job = (mr__token_job){.generation = 0};
    }
}

static void settle_tokens(mr__token_pool *pool)
{
    mr__token_shared *shared = pool->shared;
    uint32_t most = shared->limit;
    for (uint32_t i = 0; i < shared->limit_most; i++) {
        mr__token_record *record = &shared->token[i];
        const bool held = mr__token_byte_held(pool, MR__BYTE_TOKEN + i);
        if (held && (record->lease == 0 || record->lease >= shared->next_lease))
            *record = (mr__token_record){.lease = shared->next_lease++, .since_ns = mr__now_ns(), .job = MR__NO_JOB};
        else if (!held && record->lease != 0)
            *record = (mr__token_record){.lease = 0};
        if (held && i >= most)
            most = i + 1;
    }
    shared->limit_most = most;      /* so that a limit that was high once is not paid for later */
}

void mr__token_settle(mr__token_pool *pool)
{
    mr__token_shared *shared = pool->shared;
    settle_jobs(pool);
    settle_tokens(pool);
    if (shared->state == MR__STATE_PROBING && !mr__token_byte_held(pool, MR__BYTE_PROBE))
        shared->state = MR__STATE_FAILED;
    if (shared->state != MR__STATE_FAILED)
        shared->probe_ns = 0;
    else if (shared->probe_ns == 0)
        shared->probe_ns = mr__now_ns();
    if (shared->state != MR__STATE_WELL && shared->why[0] == '\0')
        strcpy(shared->why, "who wrote down the reason died meanwhile");
}
