/* works.c: lists of works, and a hole that is cut into them.
 *
 *      partitions     +------+-------+-------+
 *                     |      | above |       |
 *      hole.last      |      +=======+       |
 *                     | left | hole  | right |      what is left of a work: four works at the most
 *      hole.first     |      +=======+       |
 *                     |      | below |       |
 *                     +------+-------+-------+--> input */
#include "ledger.h"

#include "memory.h"

static mr_status make_room(mr__works *works, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    if (works->count + count <= works->room)
        return MR_OK;
    size_t room = works->room < 8 ? 8 : works->room * 2;
    room = room < works->count + count ? works->count + count : room;
    mr__work *grown = mr__realloc(works->list, room * sizeof *grown);
    MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for a list of %zu works", room);
    works->list = grown;
    works->room = room;
done:
    return status;
}

mr_status mr__works_push(mr__works *works, mr__work work, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(make_room(works, 1, error));
    works->list[works->count++] = work;
done:
    return status;
}

static bool meets(const mr__work *a, const mr__work *b)
{
    return a->begin < b->end && b->begin < a->end && a->first < b->last && b->first < a->last;
}

static void add(mr__works *works, mr__work work)
{
    if (work.begin < work.end && work.first < work.last)
        works->list[works->count++] = work;
}

mr_status mr__works_cut(mr__works *works, const mr__work *hole, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t before = works->count;
    size_t met = 0, kept = 0;
    for (size_t i = 0; i < before; i++)
        met += meets(&works->list[i], hole);
    MR_TRY(make_room(works, 4 * met, error));
    for (size_t i = 0; i < before; i++) {
        const mr__work work = works->list[i];
        if (!meets(&work, hole)) {
            works->list[kept++] = work;
            continue;
        }
        const uint64_t begin = work.begin > hole->begin ? work.begin : hole->begin;
        const uint64_t end = work.end < hole->end ? work.end : hole->end;
        add(works, (mr__work){work.begin, begin, work.first, work.last});
        add(works, (mr__work){end, work.end, work.first, work.last});
        add(works, (mr__work){begin, end, work.first, hole->first});
        add(works, (mr__work){begin, end, hole->last, work.last});
    }
    for (size_t i = before; i < works->count; i++)
        works->list[kept++] = works->list[i];
    works->count = kept;
done:
    return status;
}
