/* device_cache.h: compiled kernels on disk, with the lanes and group that were measured for them.
 * Promise   What load() gives is what store() got, to the bit, or nothing: a truncated or damaged entry is removed
 *           (drivers crash on such binaries). Entries appear by rename, so any number of processes may share the
 *           directory. It holds at most MR__CACHE_BYTES; what was not used for longest goes first.
 * Safety    A directory that is not ours, or that others may write to, is not used: who can put a binary into it runs
 *           code in our name.
 * Threads   One at a time.
 * Failure   A cache never fails a job: why there is none, or why something was not kept, is a note for the user. */
#ifndef MR__DEVICE_CACHE_H
#define MR__DEVICE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MR__CACHE_BYTES = 64 << 20, MR__CACHE_PATH = 3072, MR__CACHE_NOTE = 512 };

typedef struct mr__device_cache {
    char directory[MR__CACHE_PATH];     /* "": no cache */
    char note[MR__CACHE_NOTE];          /* why not, or the last trouble; "": none */
} mr__device_cache;

typedef struct mr__cache_key {
    uint64_t low, high;
} mr__cache_key;

typedef struct mr__cache_entry {
    uint8_t *binary;                    /* mr__free() it */
    size_t size;
    uint32_t lanes, group;
} mr__cache_entry;

/* parent: Millrace's cache directory (kernels/ in it is used, and made); NULL: no cache. */
void mr__device_cache_open(mr__device_cache *cache, const char *parent);
/* Of `count` texts, one after the other, each with its size. */
mr__cache_key mr__cache_key_of(const char *const *texts, size_t count);
bool mr__device_cache_load(mr__device_cache *cache, mr__cache_key key, mr__cache_entry *entry);
void mr__device_cache_store(mr__device_cache *cache, mr__cache_key key, const mr__cache_entry *entry);
void mr__device_cache_remove(mr__device_cache *cache, mr__cache_key key);

#endif
