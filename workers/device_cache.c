/* device_cache.c: one file per entry, KEY.bin: [magic | version | lanes | group | key | size | XXH3 of all of
 * that][binary]. Using an entry sets its time, so that the oldest file is the one not used for longest. */
#include "device_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "fault.h"
#include "memory.h"
#include "newfile.h"

struct header {
    char magic[8];
    uint32_t version, lanes, group, reserved;
    mr__cache_key key;
    uint64_t size, sum;             /* sum: of the binary, seeded with the sum of the fields above */
};

enum { VERSION = 1, ABANDONED_S = 3600 };
static const char magic[8] = {'m', 'r', 'k', 'e', 'r', 'n', 'e', 'l'};

static bool is_safe(const char *directory, char *note)
{
    struct stat facts;
    if (lstat(directory, &facts) != 0 || !S_ISDIR(facts.st_mode))
        snprintf(note, MR__CACHE_NOTE, "compiled kernels are not kept: %.300s is no directory", directory);
    else if (facts.st_uid != geteuid())
        snprintf(note, MR__CACHE_NOTE, "compiled kernels are not kept: %.300s belongs to uid %u, not to %u", directory,
                 facts.st_uid, geteuid());
    else if (facts.st_mode & (S_IWGRP | S_IWOTH))
        snprintf(note, MR__CACHE_NOTE, "compiled kernels are not kept: others may write to %.300s; chmod go-w it",
                 directory);
    else if (access(directory, R_OK | W_OK | X_OK) != 0)
        snprintf(note, MR__CACHE_NOTE, "compiled kernels are not kept: %.300s: %s", directory, strerror(errno));
    else
        return true;
    return false;
}

void mr__device_cache_open(mr__device_cache *cache, const char *parent)
{
    *cache = (mr__device_cache){.directory = ""};
    if (parent == NULL)
        return;
    char path[MR__CACHE_PATH];
    if ((size_t)snprintf(path, sizeof path, "%s/kernels", parent) >= sizeof path - 64) {
        snprintf(cache->note, sizeof cache->note, "compiled kernels are not kept: the cache's path is too long");
        return;
    }
    if ((mkdir(parent, 0700) != 0 && errno != EEXIST) || (mkdir(path, 0700) != 0 && errno != EEXIST)) {
        snprintf(cache->note, sizeof cache->note, "compiled kernels are not kept: could not make %.300s: %s", path,
                 strerror(errno));
        return;
    }
    if (is_safe(parent, cache->note) && is_safe(path, cache->note))
        snprintf(cache->directory, sizeof cache->directory, "%s", path);
}

mr__cache_key mr__cache_key_of(const char *const *texts, size_t count)
{
    XXH128_hash_t hash = {VERSION, 0};
    for (size_t i = 0; i < count; i++)
        hash = XXH3_128bits_withSeed(texts[i], strlen(texts[i]), hash.low64 * 31 + hash.high64 + i);
    return (mr__cache_key){hash.low64, hash.high64};
}

static void entry_path(const mr__device_cache *cache, mr__cache_key key, char path[MR__CACHE_PATH + 64])
{
    snprintf(path, MR__CACHE_PATH + 64, "%s/%016" PRIx64 "%016" PRIx64 ".bin", cache->directory, key.high, key.low);
}

static uint64_t checksum(const struct header *header, const uint8_t *binary)
{
    return XXH3_64bits_withSeed(binary, header->size, XXH3_64bits(header, offsetof(struct header, sum)));
}

static bool read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t got = mr__fault(MR__FAULT_READ) ? -1 : read(fd, (uint8_t *)to + done, size - done);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return false;
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* The binary, or NULL; *damaged when there is a file but not what was stored. */
static uint8_t *read_entry(int fd, mr__cache_key key, struct header *header, bool *damaged)
{
    struct stat facts;
    uint8_t *binary = NULL;
    *damaged = true;
    if (fstat(fd, &facts) != 0 || facts.st_uid != geteuid() || !read_all(fd, header, sizeof *header) ||
        memcmp(header->magic, magic, sizeof magic) != 0 || header->version != VERSION || header->key.low != key.low ||
        header->key.high != key.high || header->size == 0 || header->size > MR__CACHE_BYTES ||
        (uint64_t)facts.st_size != sizeof *header + header->size || (binary = mr__alloc(header->size)) == NULL)
        return NULL;
    if (!read_all(fd, binary, header->size) || checksum(header, binary) != header->sum) {
        mr__free(binary);
        return NULL;
    }
    *damaged = false;
    return binary;
}

bool mr__device_cache_load(mr__device_cache *cache, mr__cache_key key, mr__cache_entry *entry)
{
    char path[MR__CACHE_PATH + 64];
    struct header header;
    bool damaged;
    if (cache->directory[0] == '\0')
        return false;
    entry_path(cache, key, path);
    const int fd = mr__fault(MR__FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    uint8_t *binary = read_entry(fd, key, &header, &damaged);
    if (binary != NULL)
        futimens(fd, NULL);
    close(fd);
    if (damaged) {
        snprintf(cache->note, sizeof cache->note, "the compiled kernel %.300s was damaged; it is built again", path);
        unlink(path);
    }
    if (binary == NULL)
        return false;
    *entry = (mr__cache_entry){binary, header.size, header.lanes, header.group};
    return true;
}

void mr__device_cache_remove(mr__device_cache *cache, mr__cache_key key)
{
    char path[MR__CACHE_PATH + 64];
    if (cache->directory[0] == '\0')
        return;
    entry_path(cache, key, path);
    unlink(path);
}

/* ---- keeping it small -------------------------------------------------------------------------------------------- */

struct item {
    char name[64];
    uint64_t bytes;
    struct timespec used;
};

static int by_use(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return x->used.tv_nsec < y->used.tv_nsec ? -1 : x->used.tv_nsec > y->used.tv_nsec;
}

/* Removes what was not used for longest until `room` bytes fit, and what dead writers left. */
static void make_room(const mr__device_cache *cache, uint64_t room)
{
    struct item *items = NULL;
    size_t count = 0, capacity = 0;
    uint64_t bytes = room;
    DIR *directory = opendir(cache->directory);
    if (directory == NULL)
        return;
    const int at = dirfd(directory);
    const time_t now = time(NULL);
    for (struct dirent *e; (e = readdir(directory)) != NULL;) {
        struct stat facts;
        const size_t length = strlen(e->d_name);
        if (length < 4 || length >= sizeof items->name ||
            fstatat(at, e->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(facts.st_mode))
            continue;
        if (strcmp(e->d_name + length - 4, ".tmp") == 0 && now - facts.st_mtime > ABANDONED_S)
            unlinkat(at, e->d_name, 0);
        if (strcmp(e->d_name + length - 4, ".bin") != 0)
            continue;
        if (count == capacity) {
            struct item *more = mr__realloc(items, (capacity = capacity * 2 + 64) * sizeof *items);
            if (more == NULL)
                break;
            items = more;
        }
        items[count] = (struct item){.bytes = (uint64_t)facts.st_size, .used = facts.st_mtim};
        memcpy(items[count].name, e->d_name, length + 1);
        bytes += items[count++].bytes;
    }
    if (bytes > MR__CACHE_BYTES) {
        qsort(items, count, sizeof *items, by_use);
        for (size_t i = 0; i < count && bytes > MR__CACHE_BYTES; i++) {
            unlinkat(at, items[i].name, 0);
            bytes -= items[i].bytes;
        }
    }
    closedir(directory);
    mr__free(items);
}

void mr__device_cache_store(mr__device_cache *cache, mr__cache_key key, const mr__cache_entry *entry)
{
    char path[MR__CACHE_PATH + 64];
    mr__newfile *file = NULL;
    mr__error error = {.text = ""};
    if (cache->directory[0] == '\0' || entry->size > MR__CACHE_BYTES / 4)
        return;
    struct header header = {.version = VERSION, .lanes = entry->lanes, .group = entry->group, .key = key,
                            .size = entry->size};
    memcpy(header.magic, magic, sizeof magic);
    header.sum = checksum(&header, entry->binary);
    make_room(cache, sizeof header + entry->size);
    entry_path(cache, key, path);
    if (mr__newfile_create(path, 0600, &file, &error) == MR_OK) {
        mr__newfile_write(file, &header, sizeof header);
        mr__newfile_write(file, entry->binary, entry->size);
        mr__newfile_commit(file, &error);
    }
    if (error.text[0] != '\0')
        snprintf(cache->note, sizeof cache->note, "a compiled kernel was not kept: %.400s", error.text);
}
