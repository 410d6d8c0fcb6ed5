/* arena.c: a list of chunks, newest first; allocation bumps a pointer in the newest.
 *
 *   chunks -> [header | used ......... next ... free ... end] -> [older] -> [older] -> NULL
 *
 * A request larger than the usual chunk gets a chunk of its own, linked behind the newest, so that the space that is
 * left in the newest stays usable. */
#include "arena.h"

#include <string.h>

#include "memory.h"

struct mr__arena_chunk {
    mr__arena_chunk *older;
    size_t size;
    uint8_t align[48];          /* the first byte of data lies on a cache line */
};

enum { FIRST_CHUNK = 64 << 10, LARGEST_CHUNK = 8 << 20 };

void mr__arena_init(mr__arena *arena)
{
    *arena = (mr__arena){0};
}

void mr__arena_fini(mr__arena *arena)
{
    for (mr__arena_chunk *chunk = arena->chunks, *older; chunk != NULL; chunk = older) {
        older = chunk->older;
        mr__pages_free(chunk, chunk->size);
    }
    mr__arena_init(arena);
}

static size_t chunk_size(const mr__arena *arena)
{
    size_t size = arena->chunks != NULL ? arena->chunks->size * 2 : FIRST_CHUNK;
    return size < LARGEST_CHUNK ? size : LARGEST_CHUNK;
}

static size_t own_chunk_size(size_t size)
{
    return (sizeof(mr__arena_chunk) + size + 64 + 4095) & ~(size_t)4095;
}

size_t mr__arena_growth(const mr__arena *arena, size_t size)
{
    if (arena->next != NULL && (size_t)(arena->end - arena->next) >= size + 64)
        return 0;
    const size_t usual = chunk_size(arena);
    return size > usual / 4 ? own_chunk_size(size) : usual;
}

void *mr__arena_alloc(mr__arena *arena, size_t size, size_t alignment)
{
    uintptr_t start = ((uintptr_t)arena->next + alignment - 1) & ~(uintptr_t)(alignment - 1);
    if (arena->next != NULL && start + size <= (uintptr_t)arena->end) {
        arena->next = (uint8_t *)(start + size);
        return (void *)start;
    }
    const size_t usual = chunk_size(arena);
    const int own = size > usual / 4;
    const size_t bytes = own ? own_chunk_size(size) : usual;
    mr__arena_chunk *chunk = mr__pages_alloc(bytes);
    if (chunk == NULL)
        return NULL;
    chunk->size = bytes;
    arena->reserved += bytes;
    uint8_t *data = (uint8_t *)(chunk + 1);         /* aligned to 64 */
    if (own && arena->chunks != NULL) {
        chunk->older = arena->chunks->older;
        arena->chunks->older = chunk;
        return data;
    }
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->next = data + size;
    arena->end = (uint8_t *)chunk + bytes;
    return data;
}

void *mr__arena_copy(mr__arena *arena, const void *bytes, size_t size)
{
    void *copy = mr__arena_alloc(arena, size, 1);
    /* memcpy() wants no NULL, even for 0 bytes */
    return copy != NULL && size > 0 ? memcpy(copy, bytes, size) : copy;
}

char *mr__arena_strdup(mr__arena *arena, const char *text)
{
    return mr__arena_copy(arena, text, strlen(text) + 1);
}
