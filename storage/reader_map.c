/* reader_map.c: windows of a mapping, a stretch of 16 MiB at a time.
 *
 *   file:   ......[ stretch: populated ... | not yet ]......
 *   memory:       [ file pages                       ][ page of zeros: the padding behind the last byte ]
 *
 * Pages are populated a huge page at a time (MADV_POPULATE_READ): one call instead of 512 page faults. Stretches begin
 * at a huge page, in the file and in memory, so that large folios of the page cache are mapped as a whole. A stretch is
 * unmapped when the next one is needed, so the resident set stays small and the kernel may have the pages back. Kept
 * bytes cost nothing: they lie in front of the fresh ones. A record that fills half a stretch goes on in the pread
 * buffer, where it is counted against the memory limit.
 *
 * A file that is cut short. Populating tells (EFAULT), the size is asked for at the end of each stretch and of the
 * range, and what is touched in between raises SIGBUS, which the guard turns into zeros and a note. mr__map_check()
 * finds all three, before the range counts as read. (Asked for with each window, the size took 3 % of a histogram.) */
#include <errno.h>
#include <sys/mman.h>

#include "fault.h"
#include "guard.h"
#include "memory.h"
#include "reader_parts.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum { HUGE_PAGE = 2 << 20, STEP = HUGE_PAGE, STRETCH = 16 << 20 };

struct mr__map {
    mr__guard *guard;
    uint8_t *base;              /* NULL: no stretch */
    uint8_t *reserved;          /* what the mapping lies in: base, up to a huge page later */
    size_t size;                /* of the reserved address space, with the page behind the stretch */
    uint64_t start, end;        /* of the stretch, in the file; start is a multiple of HUGE_PAGE */
    uint64_t populated;         /* in the file */
    bool cut;                   /* the file is shorter than it was */
};

mr__map *mr__map_create(mr__budget *budget)
{
    mr__map *map = mr__alloc_zero(1, sizeof *map);
    mr__guard *guard = mr__guard_acquire();
    if (map == NULL || guard == NULL || !mr__budget_reserve(budget, STRETCH)) {
        mr__guard_release(guard);
        mr__free(map);
        return NULL;
    }
    map->guard = guard;
    return map;
}

void mr__map_end(mr__map *map)
{
    mr__guard_watch(map->guard, NULL, 0);
    if (map->base != NULL)
        munmap(map->reserved, map->size);
    map->base = NULL;
}

void mr__map_destroy(mr__map *map, mr__budget *budget)
{
    if (map == NULL)
        return;
    mr__map_end(map);
    mr__guard_release(map->guard);
    mr__budget_release(budget, STRETCH);
    mr__free(map);
}

/* false: it could not be mapped; the stretch of before stays, for bytes that are kept lie in it. */
static bool map_stretch(mr__reader *reader, uint64_t from)
{
    mr__map *map = reader->map;
    const uint64_t start = from / HUGE_PAGE * HUGE_PAGE;
    const uint64_t end = start + STRETCH < reader->source->size ? start + STRETCH : reader->source->size;
    const size_t length = mr__page_up(end - start), size = length + mr__page_size() + HUGE_PAGE;
    uint8_t *reserved = mr__fault(MR__FAULT_MAP)
                            ? MAP_FAILED
                            : mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return false;
    uint8_t *base = (uint8_t *)(((uintptr_t)reserved + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (mmap(base, length, PROT_READ, MAP_SHARED | MAP_FIXED, reader->ranged.file.fd, (off_t)start) == MAP_FAILED) {
        munmap(reserved, size);
        return false;
    }
    mr__map_end(map);
    map->start = start;
    map->end = end;
    map->populated = mr__page_down(from);
    map->size = size;
    map->reserved = reserved;
    map->base = base;
    mr__guard_watch(map->guard, base, length);
    return true;
}

mr_status mr__map_check(mr__reader *reader, mr__error *error)
{
    const mr__map *map = reader->map;
    const mr_status status = mr__reader_check_size(reader, error);
    if (status != MR_OK || (!map->cut && !mr__guard_hit(map->guard)))
        return status;
    return mr__reader_truncated(reader->source, map->start, error);     /* and it grew again since */
}

/* Brings the pages up to `to` in, and some more, but none beyond the range. */
static void populate(mr__reader *reader, uint64_t to)
{
    mr__map *map = reader->map;
    while (map->populated < to) {
        uint64_t stop = map->populated + STEP;
        const uint64_t last = to > reader->soft_end ? to : reader->soft_end;
        stop = stop < last ? stop : last;
        stop = stop < map->end ? stop : map->end;
        const size_t length = mr__page_up(stop - map->populated);
        if (madvise(map->base + (map->populated - map->start), length, MADV_POPULATE_READ) != 0 && errno == EFAULT)
            map->cut = true;                    /* any other reason: the pages come by page faults */
        map->populated += length;
    }
}

mr_status mr__map_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error)
{
    mr_status status = MR_OK;
    mr__map *map = reader->map;
    const uint64_t from = reader->position - keep, to = reader->position + want;
    if (keep + want > STRETCH / 2)
        return mr__pread_fill(reader, keep, want, got, error);
    if (map->base == NULL || from < map->start || to > map->end) {
        if (map->base != NULL)
            MR_TRY(mr__map_check(reader, error));
        if (!map_stretch(reader, from))
            return mr__pread_fill(reader, keep, want, got, error);
    }
    if (map->populated < to)
        populate(reader, to);
    reader->data = map->base + (from - map->start);
    *got = want;
    if (map->cut || mr__guard_hit(map->guard))
        MR_TRY(mr__map_check(reader, error));
done:
    return status;
}
