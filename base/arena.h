/* arena.h: memory of one job, task or table, freed as a whole.
 * Owner     init/fini in the caller's memory; what mr__arena_alloc returns lives until fini.
 * Threads   One at a time.
 * Cost      A pointer bump; a new chunk of pages (doubling, 64 KiB to 8 MiB) when one is full.
 * Failure   NULL; the arena is as it was. */
#ifndef MR__ARENA_H
#define MR__ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct mr__arena_chunk mr__arena_chunk;
typedef struct mr__arena {
    mr__arena_chunk *chunks;    /* newest first */
    uint8_t *next, *end;
    size_t reserved;            /* bytes of all chunks */
} mr__arena;

void mr__arena_init(mr__arena *arena);
void mr__arena_fini(mr__arena *arena);
/* alignment: a power of two, at most 64. */
void *mr__arena_alloc(mr__arena *arena, size_t size, size_t alignment);
void *mr__arena_copy(mr__arena *arena, const void *bytes, size_t size);     /* unaligned */
char *mr__arena_strdup(mr__arena *arena, const char *text);
/* How many bytes of new chunks an allocation of `size` bytes would reserve. */
size_t mr__arena_growth(const mr__arena *arena, size_t size);

#endif
