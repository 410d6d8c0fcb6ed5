/* ledger.c: what is to do, and who gets it. (After a loss: ledger_rebuild.c. Accounts as bytes: account.c.)
 *
 * The plane. A job counts every point (unit of input, partition) once. Each point is in one of three states:
 *
 *   TO DO --give--> GIVEN to a rank --its pairs reach the owner of the partition--> COVERED
 *     ^               |  that rank is lost                                            |  the owner is lost, and so
 *     +---------------+---------------------------------------------------------------+  is who was given the point
 *
 * Why accounts are enough. Only TO DO lives here. GIVEN lives with the rank that was given the work, COVERED with the
 * owner of the group: whoever is alive knows its own part, and what the dead knew is of no use to anybody. So
 *
 *   to do = plane - given to living ranks - covered by living owners
 *
 * Nothing is lost: a living rank delivers all that it was given, to whoever owns a group when it does, and again when a
 * group moved, because it keeps what it sent until commit, or says that it does not. Nothing is doubled: a point comes
 * back only if no living rank will deliver it and its owner has not got it; and the dead deliver nothing any more. For
 * this the ranks around keep four rules:
 *   - After its account a rank takes nothing more from ranks that the accounts leave out (courier.h: lost).
 *   - Between its account and the new groups it is given no work.
 *   - An owner counts the part of an epoch for a group whole or not at all.
 *   - What was sent is kept until commit, and goes to a moved group again; or it is forgotten, and then the rank that
 *     mapped it was never given it, by its account, for the partitions of an owner that is lost.
 *
 * Why a group has one set of ranges and not one for each partition. Groups have borders, works have borders, and
 *
 *   a work of a living rank has each group whole or not at all                                                    (*)
 *
 *       +-------+-------+     After a first loss rank 2 was given A, for the group h alone. Then the owners of g and h
 *    h  |   A   |       |     are lost, too. The new groups may part h further, but none may reach over the lower
 *       +-------+       |     edge of A: its owner would have the input of A for some of its partitions, and no set
 *    g  |               |     of ranges could say so.
 *       +---------------+
 *
 * So the partitions of the dead are divided only after they were cut at the edges of living works. A group that
 * survives keeps its borders, and what is given is made of whole groups: (*) holds again.
 *
 * Who gets what. Every range of the input has a home, the rank that reads it best. What is to do is cut at the homes
 * and lies on two shelves: works for all partitions, and works for some (after a loss). Whole ones come first: a
 * partial one costs as much to map, and if another owner is lost before that, one mapping serves both.
 *
 *    a home    given away | next ............................ end | stolen        its own rank takes from the front,
 *                          --> own rank             thieves <--                   others from the end
 *
 * A thief takes from the home with the most left: the one whose rank is farthest behind. So neighbouring input stays
 * with one rank, and two ranks meet in one home only at its end.
 * Sizes follow guided self-scheduling (C. Polychronopoulos, D. Kuck, IEEE Transactions on Computers C-36, 1987): a
 * part of what is left, so that first batches are few and last ones small. They give 1 / ranks of it, and a rank that
 * is slow (it has no device, and the others have) keeps them waiting with its first. Here it is 1 / (PARTS x ranks),
 * and a rank asks PARTS times as often. Time of a job with one slow rank over the ideal time, the worst of 2, 3, 8 and
 * 64 ranks that keep a second batch in hand (simulated, as test_ledger.c does):
 *
 *    slower     2 x    4 x    8 x    16 x
 *    PARTS  8   1.00   1.21   2.00   3.94
 *          16   1.00   1.01   1.23   2.02
 *          32   1.01   1.02   1.02   1.27
 *
 * Not below what the rank says is worth a work's messages, a few milliseconds of its time; it knows its speed. Else the
 * last hundreds of works of a job with quick blocks are shorter than what giving them costs. And never more than
 * 1 / (LAST_PARTS x ranks) of what is left, whatever it says.
 *
 * Cost, for R living ranks, S segments of homes, W works given to the living, G groups, H ranges in which groups have
 * what no living rank was given for all partitions (for each lost rank one by G, and one more by G for each time that
 * it stole, or that an epoch of it had not come everywhere):
 *   give      O(log R); once after set_home O(S log S). About PARTS x R x log(total / (R x smallest)) calls in all,
 *             or fewer.
 *   rebuild   O(S + W + G + H) memory; time that times its logarithm, and G for each different end among the H.
 *   memory    O(S + G + what is to do).
 * G is R at first; a loss adds at most R and two for each partial work of the living; partitions are the limit. Nothing
 * grows with ranks squared if accounts leave out what living ranks delivered (ledger.h). What living ranks forgot makes
 * H grow by G for each of their works, so they forget only where ranks are few (outbox.c): with 36 works for each rank,
 * all forgotten for the one that is lost, a rebuild takes 0.11 s and 10 MiB for 256 ranks, 0.44 s and 33 MiB for 512,
 * 2.2 s and 125 MiB for 1024.
 * Measured, 8192 ranks, 40 works for each: 1.3 MiB, 66 ns a give, 45 ms for a rebuild without one rank.
 *
 * L1  What is to do lies in the plane, and no point of it twice.
 * L2  A piece is made of whole groups: of all of them on the shelf of whole works, of less on the other.
 * L3  A home's pieces lie side by side, in order of input and partitions (but of the first, some may be given away);
 *     homes are in order of ranks. A piece lies in segments of its home, unless homes moved since.
 * L4  What homes and shelves say is left is the sum of their pieces.
 * L5  No home has less left than those below it in the heap; places and heap agree.
 * L6  The groups are in order, without gaps, none is empty.
 * L7  The segments are in order, the first begins at 0, the last before total. */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "ledger_parts.h"
#include "memory.h"

enum { PARTS = 32, LAST_PARTS = 2 };

/* ---- a job begins ------------------------------------------------------------------------------------------------ */

/* Where the i-th of `parts` equal parts begins. */
static uint64_t part_begin(uint64_t whole, uint32_t parts, uint32_t i)
{
    return (uint64_t)((mr__area)whole * i / parts);
}

mr_status mr__ledger_create(uint64_t total, uint32_t partitions, uint32_t ranks, uint64_t smallest, mr__ledger **ledger,
                            mr__error *error)
{
    mr_status status = MR_OK;
    mr__works todo = {.count = 0};
    mr__ledger *made = NULL;
    MR_CHECK(ranks > 0 && partitions >= ranks, MR_INTERNAL, "%u ranks cannot share %u partitions", ranks, partitions);
    made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the ledger of %u ranks", ranks);
    made->total = total;
    made->smallest = smallest > 0 ? smallest : 1;
    made->partitions = partitions;
    made->living = made->places = ranks;
    made->segments = mr__alloc_zero(ranks, sizeof *made->segments);
    made->groups = mr__alloc_zero(ranks, sizeof *made->groups);
    MR_CHECK(made->segments != NULL && made->groups != NULL, MR_NO_MEMORY, "no memory for the ledger of %u ranks",
             ranks);
    made->segment_room = made->group_count = ranks;
    for (uint32_t r = 0; r < ranks; r++) {
        const uint64_t begin = part_begin(total, ranks, r);
        if (begin < part_begin(total, ranks, r + 1))
            made->segments[made->segment_count++] = (mr__segment){begin, r};
        made->groups[r] = (mr__group){.first = (uint32_t)part_begin(partitions, ranks, r),
                                      .last = (uint32_t)part_begin(partitions, ranks, r + 1),
                                      .owner = r};
    }
    if (total > 0)
        MR_TRY(mr__works_push(&todo, (mr__work){0, total, 0, partitions}, error));
    MR_TRY(mr__shelves_fill(made, &todo, made->shelf, error));
    *ledger = made;
    made = NULL;
done:
    mr__free(todo.list);
    mr__ledger_destroy(made);
    return status;
}

void mr__ledger_destroy(mr__ledger *ledger)
{
    if (ledger == NULL)
        return;
    mr__shelves_fini(ledger->shelf);
    mr__free(ledger->segments);
    mr__free(ledger->groups);
    mr__free(ledger);
}

/* The first segment that begins behind `at`. */
static size_t segment_behind(const mr__ledger *ledger, uint64_t at)
{
    size_t low = 0, high = ledger->segment_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ledger->segments[middle].begin > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

mr_status mr__ledger_set_home(mr__ledger *ledger, uint32_t rank, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(begin <= end && end <= ledger->total, MR_INTERNAL,
             "the home %llu .. %llu of rank %u does not lie in the input of %llu", MR__LLU(begin), MR__LLU(end), rank,
             MR__LLU(ledger->total));
    if (begin == end)
        goto done;
    if (ledger->segment_count + 2 > ledger->segment_room) {
        const size_t room = (ledger->segment_count + 2) * 2;
        mr__segment *grown = mr__realloc(ledger->segments, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for the %zu homes of the input", room);
        ledger->segments = grown;
        ledger->segment_room = room;
    }
    /* replaces the segments [from, to), which begin in [begin, end), by this one and the rest of the last */
    mr__segment *segments = ledger->segments;
    const size_t from = begin > 0 ? segment_behind(ledger, begin - 1) : 0, to = segment_behind(ledger, end - 1);
    const bool cut = end < ledger->total && (to == ledger->segment_count || segments[to].begin > end);
    const mr__segment rest = {end, segments[to - 1].rank};
    memmove(segments + from + 1 + cut, segments + to, (ledger->segment_count - to) * sizeof *segments);
    segments[from] = (mr__segment){begin, rank};
    if (cut)
        segments[from + 1] = rest;
    ledger->segment_count += from + 1 + cut - to;
    ledger->homes_moved = true;
done:
    return status;
}

/* ---- shelves ----------------------------------------------------------------------------------------------------- */

static int by_partitions_then_input(const void *left, const void *right)
{
    const mr__work *a = left, *b = right;
    int order = MR__ORDER(a->first, b->first);
    if (order == 0)
        order = MR__ORDER(a->last, b->last);
    return order != 0 ? order : MR__ORDER(a->begin, b->begin);
}

static int by_home_then_input(const void *left, const void *right)
{
    const mr__piece *a = left, *b = right;
    int order = MR__ORDER(a->home, b->home);
    if (order == 0)
        order = MR__ORDER(a->work.begin, b->work.begin);
    return order != 0 ? order : MR__ORDER(a->work.first, b->work.first);
}

/* Works for the same partitions that touch become one. */
static void join_neighbours(mr__works *works)
{
    size_t kept = 0;
    if (works->count > 1)
        qsort(works->list, works->count, sizeof *works->list, by_partitions_then_input);
    for (size_t i = 0; i < works->count; i++) {
        const mr__work work = works->list[i];
        mr__work *before = kept > 0 ? &works->list[kept - 1] : NULL;
        if (before != NULL && before->first == work.first && before->last == work.last && before->end == work.begin)
            before->end = work.end;
        else
            works->list[kept++] = work;
    }
    works->count = kept;
}

static size_t left_child(size_t place)
{
    return 2 * place + 1;
}

/* The home at this place has less left than before: it goes down. */
static void sift_down(mr__shelf *shelf, size_t place)
{
    size_t *heap = shelf->heap;
    for (size_t child; (child = left_child(place)) < shelf->home_count; place = child) {
        if (child + 1 < shelf->home_count && shelf->homes[heap[child + 1]].left > shelf->homes[heap[child]].left)
            child++;
        if (shelf->homes[heap[child]].left <= shelf->homes[heap[place]].left)
            break;
        const size_t lower = heap[place];
        heap[place] = heap[child];
        heap[child] = lower;
        shelf->homes[heap[place]].place = place;
        shelf->homes[heap[child]].place = child;
    }
}

/* Homes and heap for `count` pieces, which are in order. */
static mr_status open_homes(mr__shelf *shelf, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    size_t homes = 0;
    for (size_t i = 0; i < count; i++)
        homes += i == 0 || shelf->pieces[i].home != shelf->pieces[i - 1].home;
    shelf->homes = mr__alloc(homes * sizeof *shelf->homes);
    shelf->heap = mr__alloc(homes * sizeof *shelf->heap);
    MR_CHECK(shelf->homes != NULL && shelf->heap != NULL, MR_NO_MEMORY, "no memory for the works of %zu ranks", homes);
    for (size_t i = 0; i < count; i++) {
        const mr__piece *piece = &shelf->pieces[i];
        const uint64_t units = piece->work.end - piece->work.begin;
        if (i == 0 || piece->home != piece[-1].home) {
            const size_t h = shelf->home_count++;
            shelf->homes[h] = (mr__home){.rank = piece->home, .next = i, .place = h};
            shelf->heap[h] = h;
        }
        mr__home *home = &shelf->homes[shelf->home_count - 1];
        home->end = i + 1;
        home->left += units;
        shelf->left += units;
        shelf->area += (mr__area)units * (piece->work.last - piece->work.first);
    }
    for (size_t h = homes / 2; h-- > 0;)
        sift_down(shelf, h);
done:
    return status;
}

static size_t shelf_of(const mr__ledger *ledger, const mr__work *work)
{
    return mr__work_is_whole(ledger, work) ? MR__WHOLE : MR__PARTIAL;
}

mr_status mr__shelves_fill(const mr__ledger *ledger, mr__works *todo, mr__shelf made[MR__SHELVES], mr__error *error)
{
    mr_status status = MR_OK;
    mr__shelf shelf[MR__SHELVES] = {{.pieces = NULL}};
    size_t room[MR__SHELVES] = {0}, count[MR__SHELVES] = {0};
    join_neighbours(todo);
    for (size_t i = 0; i < todo->count; i++) {
        const mr__work *work = &todo->list[i];
        room[shelf_of(ledger, work)] += segment_behind(ledger, work->end - 1) - segment_behind(ledger, work->begin) + 1;
    }
    for (size_t s = 0; s < MR__SHELVES; s++) {
        shelf[s].pieces = mr__alloc(room[s] * sizeof *shelf[s].pieces);
        MR_CHECK(shelf[s].pieces != NULL, MR_NO_MEMORY, "no memory for %zu works", room[s]);
    }
    for (size_t i = 0; i < todo->count; i++) {
        mr__work rest = todo->list[i];
        const size_t s = shelf_of(ledger, &rest);
        for (size_t behind = segment_behind(ledger, rest.begin); rest.begin < rest.end; behind++) {
            const uint64_t border = behind < ledger->segment_count ? ledger->segments[behind].begin : ledger->total;
            mr__piece *piece = &shelf[s].pieces[count[s]++];
            *piece = (mr__piece){.work = rest, .home = ledger->segments[behind - 1].rank};
            piece->work.end = border < rest.end ? border : rest.end;
            rest.begin = piece->work.end;
        }
    }
    for (size_t s = 0; s < MR__SHELVES; s++) {
        if (count[s] > 1)
            qsort(shelf[s].pieces, count[s], sizeof *shelf[s].pieces, by_home_then_input);
        MR_TRY(open_homes(&shelf[s], count[s], error));
    }
    memcpy(made, shelf, sizeof shelf);
    memset(shelf, 0, sizeof shelf);
done:
    mr__shelves_fini(shelf);
    return status;
}

void mr__shelves_fini(mr__shelf shelf[MR__SHELVES])
{
    for (size_t s = 0; s < MR__SHELVES; s++) {
        mr__free(shelf[s].pieces);
        mr__free(shelf[s].homes);
        mr__free(shelf[s].heap);
    }
}

/* What is on the shelves, put there again by the homes of now. */
static mr_status fill_again(mr__ledger *ledger, mr__error *error)
{
    mr_status status = MR_OK;
    mr__works todo = {.count = 0};
    mr__shelf made[MR__SHELVES];
    for (size_t s = 0; s < MR__SHELVES; s++) {
        const mr__shelf *shelf = &ledger->shelf[s];
        for (size_t h = 0; h < shelf->home_count; h++) {
            for (size_t i = shelf->homes[h].next; i < shelf->homes[h].end; i++)
                MR_TRY(mr__works_push(&todo, shelf->pieces[i].work, error));
        }
    }
    MR_TRY(mr__shelves_fill(ledger, &todo, made, error));
    mr__shelves_fini(ledger->shelf);
    memcpy(ledger->shelf, made, sizeof made);
    ledger->homes_moved = false;
done:
    mr__free(todo.list);
    return status;
}

/* ---- give -------------------------------------------------------------------------------------------------------- */

/* NULL: nothing is left at the home of this rank. */
static mr__home *home_of(const mr__shelf *shelf, uint32_t rank)
{
    size_t low = 0, high = shelf->home_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (shelf->homes[middle].rank >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    const bool found = low < shelf->home_count && shelf->homes[low].rank == rank && shelf->homes[low].left > 0;
    return found ? &shelf->homes[low] : NULL;
}

static uint64_t batch_units(const mr__ledger *ledger, uint64_t least)
{
    const mr__area left = ledger->shelf[MR__WHOLE].left + ledger->shelf[MR__PARTIAL].left;
    const mr__area part = left / ((mr__area)PARTS * ledger->living);
    const mr__area most = left / ((mr__area)LAST_PARTS * ledger->living), worth = least < most ? least : most;
    const mr__area units = part > worth ? part : worth;
    if (units <= ledger->smallest)
        return ledger->smallest;
    return units < UINT64_MAX ? (uint64_t)units : UINT64_MAX;
}

static mr__work take(mr__shelf *shelf, mr__home *home, bool from_front, uint64_t units)
{
    mr__work *left = &shelf->pieces[from_front ? home->next : home->end - 1].work, taken = *left;
    if (units > left->end - left->begin)
        units = left->end - left->begin;
    if (from_front)
        left->begin = taken.end = taken.begin + units;
    else
        left->end = taken.begin = taken.end - units;
    if (left->begin == left->end && from_front)
        home->next++;
    else if (left->begin == left->end)
        home->end--;
    home->left -= units;
    shelf->left -= units;
    shelf->area -= (mr__area)units * (taken.last - taken.first);
    sift_down(shelf, home->place);
    return taken;
}

mr_status mr__ledger_give(mr__ledger *ledger, uint32_t rank, uint64_t least, mr__work *work, bool *found,
                          mr__error *error)
{
    mr_status status = MR_OK;
    if (ledger->homes_moved)
        MR_TRY(fill_again(ledger, error));
    mr__shelf *shelf = &ledger->shelf[ledger->shelf[MR__WHOLE].left > 0 ? MR__WHOLE : MR__PARTIAL];
    *found = shelf->left > 0;
    if (!*found)
        goto done;
    mr__home *own = home_of(shelf, rank);
    *work = take(shelf, own != NULL ? own : &shelf->homes[shelf->heap[0]], own != NULL,
                 batch_units(ledger, least));
done:
    return status;
}

uint64_t mr__ledger_left(const mr__ledger *ledger)
{
    const mr__area area = ledger->shelf[MR__WHOLE].area + ledger->shelf[MR__PARTIAL].area;
    return (uint64_t)((area + ledger->partitions - 1) / ledger->partitions);
}

const mr__group *mr__ledger_groups(const mr__ledger *ledger, size_t *count)
{
    *count = ledger->group_count;
    return ledger->groups;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

static bool is_border(const mr__ledger *ledger, uint32_t partition)
{
    for (size_t g = 0; g < ledger->group_count; g++) {
        if (ledger->groups[g].first == partition || ledger->groups[g].last == partition)
            return true;
    }
    return false;
}

static bool works_meet(const mr__work *a, const mr__work *b)
{
    return a->begin < b->end && b->begin < a->end && a->first < b->last && b->first < a->last;
}

static mr_status check_piece(const mr__ledger *ledger, const mr__piece *piece, size_t s, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__work *work = &piece->work;
    MR_CHECK(mr__work_fits(ledger, work), MR_INTERNAL,
             "L1 broken: %llu .. %llu for %u .. %u lies outside the plane", MR__LLU(work->begin), MR__LLU(work->end),
             work->first, work->last);
    MR_CHECK(shelf_of(ledger, work) == s && is_border(ledger, work->first) && is_border(ledger, work->last),
             MR_INTERNAL, "L2 broken: a piece for %u .. %u on shelf %zu", work->first, work->last, s);
    for (size_t i = segment_behind(ledger, work->begin); i <= ledger->segment_count && !ledger->homes_moved; i++) {
        MR_CHECK(ledger->segments[i - 1].rank == piece->home, MR_INTERNAL,
                 "L3 broken: %llu .. %llu is not all at home with rank %u", MR__LLU(work->begin), MR__LLU(work->end),
                 piece->home);
        if (i == ledger->segment_count || ledger->segments[i].begin >= work->end)
            break;
    }
done:
    return status;
}

static mr_status check_home(const mr__ledger *ledger, size_t s, size_t h, mr__area *area, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__shelf *shelf = &ledger->shelf[s];
    const mr__home *home = &shelf->homes[h];
    mr__area left = 0;
    MR_CHECK(h == 0 || (home[-1].rank < home->rank && home[-1].end <= home->next), MR_INTERNAL,
             "L3 broken: the home of rank %u is out of order", home->rank);
    for (size_t i = home->next; i < home->end; i++) {
        const mr__piece *piece = &shelf->pieces[i];
        MR_TRY(check_piece(ledger, piece, s, error));
        MR_CHECK(piece->home == home->rank && (i <= home->next + 1 || by_home_then_input(piece - 1, piece) < 0),
                 MR_INTERNAL, "L3 broken: piece %zu of rank %u is out of order", i, home->rank);
        left += piece->work.end - piece->work.begin;
        *area += (mr__area)(piece->work.end - piece->work.begin) * (piece->work.last - piece->work.first);
    }
    MR_CHECK(left == home->left, MR_INTERNAL, "L4 broken: the home of rank %u has another sum", home->rank);
    MR_CHECK(home->place < shelf->home_count && shelf->heap[home->place] == h, MR_INTERNAL,
             "L5 broken: the home of rank %u is not at place %zu", home->rank, home->place);
    MR_CHECK(home->place == 0 || shelf->homes[shelf->heap[(home->place - 1) / 2]].left >= home->left, MR_INTERNAL,
             "L5 broken: the home of rank %u has more left than its parent", home->rank);
done:
    return status;
}

/* Every two pieces of a list are looked at: this is for tests. */
static mr_status check_no_point_twice(const mr__ledger *ledger, mr__error *error)
{
    mr_status status = MR_OK;
    mr__works all = {.count = 0};
    for (size_t s = 0; s < MR__SHELVES; s++) {
        for (size_t h = 0; h < ledger->shelf[s].home_count; h++) {
            const mr__home *home = &ledger->shelf[s].homes[h];
            for (size_t i = home->next; i < home->end; i++)
                MR_TRY(mr__works_push(&all, ledger->shelf[s].pieces[i].work, error));
        }
    }
    for (size_t i = 0; i < all.count; i++) {
        for (size_t k = 0; k < i; k++)
            MR_CHECK(!works_meet(&all.list[i], &all.list[k]), MR_INTERNAL,
                     "L1 broken: %llu .. %llu and %llu .. %llu are to do twice", MR__LLU(all.list[i].begin),
                     MR__LLU(all.list[i].end), MR__LLU(all.list[k].begin), MR__LLU(all.list[k].end));
    }
done:
    mr__free(all.list);
    return status;
}

mr_status mr__ledger_check(const mr__ledger *ledger, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t border = 0;
    for (size_t s = 0; s < MR__SHELVES; s++) {
        const mr__shelf *shelf = &ledger->shelf[s];
        mr__area area = 0, left = 0;
        for (size_t h = 0; h < shelf->home_count; h++) {
            MR_TRY(check_home(ledger, s, h, &area, error));
            left += shelf->homes[h].left;
        }
        MR_CHECK(left == shelf->left && area == shelf->area, MR_INTERNAL, "L4 broken: shelf %zu has another sum", s);
    }
    MR_TRY(check_no_point_twice(ledger, error));
    for (size_t g = 0; g < ledger->group_count; g++) {
        MR_CHECK(ledger->groups[g].first == border && ledger->groups[g].last > border, MR_INTERNAL,
                 "L6 broken: group %zu is %u .. %u and not from %u on", g, ledger->groups[g].first,
                 ledger->groups[g].last, border);
        border = ledger->groups[g].last;
    }
    MR_CHECK(border == ledger->partitions, MR_INTERNAL, "L6 broken: the groups end at %u", border);
    for (size_t i = 0; i < ledger->segment_count; i++) {
        const uint64_t begin = ledger->segments[i].begin;
        MR_CHECK(begin < ledger->total && (i == 0 ? begin == 0 : begin > ledger->segments[i - 1].begin), MR_INTERNAL,
                 "L7 broken: segment %zu begins at %llu", i, MR__LLU(begin));
    }
    MR_CHECK(ledger->segment_count > 0 || ledger->total == 0, MR_INTERNAL, "L7 broken: the input has no homes");
done:
    return status;
}
