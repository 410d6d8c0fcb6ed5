/* cover.c: a sorted array of ranges.
 *
 *   add [3, 5)     [0, 3) [5, 7) [9, 12)      ->   [0, 7) [9, 12)              two that it touches become one
 *   subtract       [0, 7)             [4, 5)  ->   [0, 4) [5, 7)
 *
 * Every change replaces neighbours by at most two ranges: splice(). An array and no tree, because a set stays
 * short: what one rank maps lies side by side, so a set has about as many ranges as there are ranks that work. */
#include "cover.h"

#include <string.h>

#include "memory.h"

void mr__cover_fini(mr__cover *cover)
{
    mr__free(cover->ranges);
    *cover = (mr__cover){.count = 0};
}

size_t mr__cover_find(const mr__cover *cover, uint64_t at)
{
    size_t low = 0, high = cover->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (cover->ranges[middle].end > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The first range that begins at `at` or behind it. */
static size_t find_begin(const mr__cover *cover, uint64_t at)
{
    const size_t i = mr__cover_find(cover, at);
    return i < cover->count && cover->ranges[i].begin < at ? i + 1 : i;
}

/* Puts `count` ranges where [from, to) are now. */
static mr_status splice(mr__cover *cover, size_t from, size_t to, const mr__range *ranges, size_t count,
                        mr__error *error)
{
    mr_status status = MR_OK;
    const size_t after = cover->count - (to - from) + count;
    if (after > cover->room) {
        const size_t room = after < 8 ? 8 : after + after / 2;
        mr__range *grown = mr__realloc(cover->ranges, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for %zu ranges of the input", room);
        cover->ranges = grown;
        cover->room = room;
    }
    if (to < cover->count)
        memmove(cover->ranges + from + count, cover->ranges + to, (cover->count - to) * sizeof *ranges);
    if (count > 0)
        memcpy(cover->ranges + from, ranges, count * sizeof *ranges);
    cover->count = after;
done:
    return status;
}

static mr_status check_range(uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(begin <= end, MR_INTERNAL, "the range %llu .. %llu of the input ends before it begins",
             (unsigned long long)begin, (unsigned long long)end);
done:
    return status;
}

mr_status mr__cover_add(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(!mr__cover_meets(cover, begin, end), MR_INTERNAL, "%llu .. %llu of the input would be counted twice",
             (unsigned long long)begin, (unsigned long long)end);
    MR_TRY(mr__cover_unite(cover, begin, end, error));
done:
    return status;
}

mr_status mr__cover_unite(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(check_range(begin, end, error));
    if (begin == end)
        goto done;
    /* those that it meets or touches */
    const size_t from = begin > 0 ? mr__cover_find(cover, begin - 1) : 0;
    size_t to = find_begin(cover, end);
    to += to < cover->count && cover->ranges[to].begin == end;
    mr__range joined = {begin, end};
    if (from < to) {
        const mr__range first = cover->ranges[from], last = cover->ranges[to - 1];
        joined.begin = first.begin < begin ? first.begin : begin;
        joined.end = last.end > end ? last.end : end;
    }
    MR_TRY(splice(cover, from, to, &joined, 1, error));
done:
    return status;
}

mr_status mr__cover_subtract(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(check_range(begin, end, error));
    if (begin == end)
        goto done;
    const size_t from = mr__cover_find(cover, begin), to = find_begin(cover, end);
    if (from >= to)
        goto done;
    const mr__range first = cover->ranges[from], last = cover->ranges[to - 1];
    mr__range kept[2];
    size_t count = 0;
    if (first.begin < begin)
        kept[count++] = (mr__range){first.begin, begin};
    if (last.end > end)
        kept[count++] = (mr__range){end, last.end};
    MR_TRY(splice(cover, from, to, kept, count, error));
done:
    return status;
}

mr_status mr__cover_copy(mr__cover *to, const mr__cover *from, mr__error *error)
{
    mr_status status = MR_OK;
    mr__range *ranges = NULL;
    if (from->count > 0) {
        ranges = mr__alloc(from->count * sizeof *ranges);
        MR_CHECK(ranges != NULL, MR_NO_MEMORY, "no memory for %zu ranges of the input", from->count);
        memcpy(ranges, from->ranges, from->count * sizeof *ranges);
    }
    const size_t count = from->count;       /* `to` may be `from` */
    mr__cover_fini(to);
    *to = (mr__cover){.ranges = ranges, .count = count, .room = count};
done:
    return status;
}

bool mr__cover_has(const mr__cover *cover, uint64_t begin, uint64_t end)
{
    if (begin >= end)
        return true;
    const size_t i = mr__cover_find(cover, begin);      /* touching ranges are one: it lies in this one or in none */
    return i < cover->count && cover->ranges[i].begin <= begin && cover->ranges[i].end >= end;
}

bool mr__cover_meets(const mr__cover *cover, uint64_t begin, uint64_t end)
{
    const size_t i = mr__cover_find(cover, begin);
    return begin < end && i < cover->count && cover->ranges[i].begin < end;
}

uint64_t mr__cover_units(const mr__cover *cover)
{
    uint64_t units = 0;
    for (size_t i = 0; i < cover->count; i++)
        units += cover->ranges[i].end - cover->ranges[i].begin;
    return units;
}
