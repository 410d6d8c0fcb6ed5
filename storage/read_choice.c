/* read_choice.c: which reading path, and why.
 *
 *   MILLRACE_READ names one                              -> that one
 *   small files (under 1 MiB on average)                 -> pread: opening and mapping would cost more than the copy
 *   most sampled pages are not in the page cache         -> io_uring: the disk reads ahead of the map
 *   it is hidden (resident.h), and the input is larger
 *   than the page cache of all files on this machine     -> io_uring as well: not all of it can be there
 *   else                                                 -> pread or mmap, whichever this machine is faster at
 *
 * A hidden input that would fit is read as if it were there: past the page cache it would come from the disk again in
 * every job, while a cold one comes from the disk either way, if with less read ahead. A hidden input that does not fit
 * would push itself out before the next job comes to it.
 *
 * Neither wins everywhere (2 threads, 1 GiB: AMD mmap 11.7-22 GB/s, pread 8.8-13.5; Intel mmap 4.1, pread 7.3), so the
 * last row asks a measurement: both paths read a scratch file of 32 MiB a few times in turn, with two threads where
 * there are two cores, because page faults of several threads get into each other's way. It takes about 0.2 s and is
 * kept in the cache directory, with the machine's name and kernel as the key; a home that several machines share has
 * one line for the machine that measured last. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"
#include "newfile.h"
#include "number.h"
#include "reader.h"
#include "resident.h"

enum { PROBE = 32 << 20, ROUNDS = 4, SAMPLES = 64, SMALL = 1 << 20, PATH = 4096, PROBE_BYTE = 0x5a };
#define PROBE_WORD 0x5a5a5a5a5a5a5a5au
#define HIDDEN "the system hides from this user what is in the page cache"

/* ---- the measurement --------------------------------------------------------------------------------------------- */

typedef struct probe {
    const mr__sources *sources;
    mr__budget *budget;
    mr__read_path path;
    uint64_t from, to, sum;
    bool failed;
} probe;

static void *read_share(void *context)
{
    probe *mine = context;
    mr__reader *reader = NULL;
    mr_slice window = {0};
    uint64_t offset, word;
    bool at_end;
    mine->failed =
        mr__reader_create(mine->sources, mine->path, MR__READ_WINDOW, mine->budget, &reader, NULL) != MR_OK ||
        mr__reader_start(reader, 0, mine->from, mine->to, NULL) != MR_OK;
    for (uint64_t at = mine->from; at < mine->to && !mine->failed; at += window.size) {
        mine->failed = mr__reader_next(reader, 0, &window, &offset, &at_end, NULL) != MR_OK || window.size == 0;
        for (size_t i = 0; i + sizeof word <= window.size; i += sizeof word) {
            memcpy(&word, window.data + i, sizeof word);
            mine->sum += word;
        }
    }
    mr__reader_destroy(reader);
    return NULL;
}

/* GB/s of one pass; 0 if it failed. */
static double one_pass(const mr__sources *sources, mr__budget *budget, mr__read_path path, bool two)
{
    probe first = {.sources = sources, .budget = budget, .path = path, .to = two ? PROBE / 2 : PROBE};
    probe second = {.sources = sources, .budget = budget, .path = path, .from = PROBE / 2, .to = PROBE};
    pthread_t thread;
    const uint64_t begin = mr__now_ns();
    if (two && pthread_create(&thread, NULL, read_share, &second) != 0)
        return 0;
    read_share(&first);
    if (two)
        pthread_join(thread, NULL);
    const double seconds = (double)(mr__now_ns() - begin) * 1e-9;
    const bool right = first.sum + second.sum == PROBE / sizeof(uint64_t) * PROBE_WORD;
    return first.failed || second.failed || !right ? 0 : PROBE * 1e-9 / seconds;
}

/* A scratch file without a name, so that nothing stays of it; -1 if that is not possible. */
static int make_probe(const char *directory)
{
    enum { PIECE = 1 << 20 };
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    uint8_t *piece = fd >= 0 ? mr__alloc(PIECE) : NULL;
    bool good = piece != NULL;
    if (good)
        memset(piece, PROBE_BYTE, PIECE);
    for (size_t done = 0; good && done < PROBE; done += PIECE)
        good = write(fd, piece, PIECE) == PIECE;
    mr__free(piece);
    if (fd >= 0 && !good) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool measure(const char *directory, mr__read_choice *choice)
{
    const bool two = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    mr__sources *sources = NULL;
    mr__budget budget;
    char path[32];
    const char *name = path;
    const int fd = make_probe(directory);
    if (fd < 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mr__budget_init(&budget, UINT64_MAX);
    if (mr__sources_open(mr__namespace_plain(), &name, 1, NULL, &sources, NULL) == MR_OK) {
        for (int round = 0; round < ROUNDS; round++) {
            const double by_pread = one_pass(sources, &budget, MR__READ_PREAD, two);
            const double by_mmap = one_pass(sources, &budget, MR__READ_MMAP, two);
            if (by_pread > choice->pread_gbs)
                choice->pread_gbs = by_pread;
            if (by_mmap > choice->mmap_gbs)
                choice->mmap_gbs = by_mmap;
        }
    }
    mr__sources_close(sources);
    close(fd);
    return choice->pread_gbs > 0 && choice->mmap_gbs > 0;
}

/* ---- where it is kept -------------------------------------------------------------------------------------------- */

/* Makes the directory; false if there is no place for it. */
static bool cache_directory(char path[PATH])
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length;
    if (base != NULL && *base == '/') {
        length = snprintf(path, PATH, "%s", base);
    } else {
        if (home == NULL || *home != '/')
            return false;
        length = snprintf(path, PATH, "%s/.cache", home);
    }
    if (length <= 0 || length > PATH - 64)
        return false;
    mkdir(path, 0700);
    strcpy(path + length, "/millrace");
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static void machine_key(char *key, size_t size)
{
    struct utsname machine = {0};
    uname(&machine);
    snprintf(key, size, "%s/%s/%s/%ld", machine.nodename, machine.machine, machine.release,
             sysconf(_SC_NPROCESSORS_ONLN));
}

static bool load(const char *path, const char *key, mr__read_choice *choice)
{
    char line[1024], name[sizeof line];
    double by_pread, by_mmap;
    FILE *file = fopen(path, "re");
    const bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (file != NULL)
        fclose(file);
    const locale_t before = mr__numbers_begin();
    const bool whole = read && sscanf(line, "read-path 1 %1000s pread %lf mmap %lf", name, &by_pread, &by_mmap) == 3;
    mr__numbers_end(before);
    if (!whole || strcmp(name, key) != 0 || !(by_pread > 0) || !(by_mmap > 0))
        return false;
    choice->pread_gbs = by_pread;
    choice->mmap_gbs = by_mmap;
    return true;
}

static void save(const char *path, const char *key, const mr__read_choice *choice)
{
    mr__newfile *file;
    if (mr__newfile_create(path, 0600, &file, NULL) != MR_OK)
        return;
    /* every digit: rounded, rates that are near each other would make another choice when they are read back */
    mr__newfile_writef(file, "read-path 1 %s pread %.17g mmap %.17g\n", key, choice->pread_gbs, choice->mmap_gbs);
    mr__newfile_commit(file, NULL);
}

/* false: not known and not to be measured. */
static bool machine_rates(mr__read_choice *choice)
{
    char directory[PATH], path[PATH + 16], key[1024];
    const char *scratch = getenv("TMPDIR");
    machine_key(key, sizeof key);
    if (!cache_directory(directory))
        return measure(scratch != NULL && *scratch != '\0' ? scratch : "/var/tmp", choice);
    snprintf(path, sizeof path, "%s/read-path", directory);
    if (load(path, key, choice))
        return true;
    if (!measure(directory, choice))
        return false;
    save(path, key, choice);
    return true;
}

/* ---- the page cache ---------------------------------------------------------------------------------------------- */

typedef struct sample {
    uint32_t told, resident;    /* of SAMPLES pages; those of the others are hidden */
} sample;

/* Pages spread evenly over all bytes. A tier without descriptors has none in the page cache. */
static sample take_sample(const mr__sources *sources)
{
    sample seen = {0};
    mr__resident page;
    if (sources->bytes == 0)
        return (sample){.told = SAMPLES, .resident = SAMPLES};
    mr__resident_begin(&page, sources);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        const bool there = mr__resident_at(&page, sources->bytes / SAMPLES * i + sources->bytes / SAMPLES / 2);
        seen.told += !page.hidden;
        seen.resident += there && !page.hidden;
    }
    mr__resident_end(&page);
    return seen;
}

/* Of all files on this machine; UINT64_MAX: not known. */
static uint64_t page_cache_bytes(void)
{
    char line[128];
    unsigned long long kib;
    uint64_t bytes = UINT64_MAX;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && bytes == UINT64_MAX && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Cached: %llu kB", &kib) == 1)
            bytes = (uint64_t)kib << 10;
    if (file != NULL)
        fclose(file);
    return bytes;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

/* Asking ahead for what is there costs an open; not asking for what is not, a wait for the disk. */
static void choose_small(const mr__sources *sources, uint64_t average, mr__read_choice *made)
{
    const sample seen = take_sample(sources);
    const bool hidden = seen.told < SAMPLES / 2;
    made->ahead = hidden || seen.resident < seen.told / 2;
    snprintf(made->why, sizeof made->why, "the files are small (%llu bytes on average): each is read in one call%s%s",
             (unsigned long long)average, made->ahead ? ", and asked for ahead: " : "",
             !made->ahead ? "" : hidden ? HIDDEN : "most are not in the page cache");
}

static void choose_large(const mr__sources *sources, mr__read_choice *made)
{
    const sample seen = take_sample(sources);
    const bool hidden = seen.told < SAMPLES / 2;
    const uint64_t cache = hidden ? page_cache_bytes() : 0;
    char known[64] = HIDDEN;
    if (!hidden)
        snprintf(known, sizeof known, "%u of %u sampled pages are in the page cache", seen.resident, seen.told);
    if (hidden ? cache < sources->bytes : seen.resident < seen.told / 2) {
        char bound[80] = "";
        made->path = MR__READ_URING;
        if (hidden)
            snprintf(bound, sizeof bound, ", and all of that (%llu MiB) is smaller than the input",
                     (unsigned long long)(cache >> 20));
        snprintf(made->why, sizeof made->why, "%s%s: the disk reads ahead of the map", known, bound);
    } else if (machine_rates(made)) {
        made->path = made->mmap_gbs > made->pread_gbs ? MR__READ_MMAP : MR__READ_PREAD;
        snprintf(made->why, sizeof made->why, "%s; there mmap reads %.1f GB/s and pread %.1f on this machine", known,
                 made->mmap_gbs, made->pread_gbs);
    } else {
        snprintf(made->why, sizeof made->why, "%s; mmap could not be measured here", known);
    }
}

mr_status mr__read_choose(const mr__sources *sources, mr__read_choice *choice, mr__error *error)
{
    mr_status status = MR_OK;
    mr__read_choice made = {.path = MR__READ_PREAD};
    const char *forced = getenv("MILLRACE_READ");
    if (forced != NULL && *forced != '\0') {
        int path = MR__READ_URING;
        while (path >= 0 && strcmp(forced, mr__read_path_name((mr__read_path)path)) != 0)
            path--;
        MR_CHECK(path >= 0, MR_BAD_USAGE, "MILLRACE_READ=%s names no reading path\n  hint: pread, mmap or io_uring",
                 forced);
        made.path = (mr__read_path)path;
        snprintf(made.why, sizeof made.why, "MILLRACE_READ asks for it");
        goto done;
    }
    const uint64_t average = sources->count > 0 ? sources->bytes / sources->count : 0;
    if (average < SMALL)
        choose_small(sources, average, &made);
    else
        choose_large(sources, &made);
done:
    if (status == MR_OK)
        *choice = made;
    return status;
}
