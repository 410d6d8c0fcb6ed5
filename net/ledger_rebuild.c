/* ledger_rebuild.c: from the accounts of the living to new groups, and to what is to do. (Why that is enough, and what
 * (*) is: ledger.c.)
 *
 *   1  check         accounts fit the plane; no rank twice, no partition with two owners
 *   2  open          the input that no living rank was given for all partitions
 *   3  divide        partitions without an owner are cut at the edges of living works (*); the poorest get them, which
 *                    are the spares that fill vacant places
 *   4  had           for each group: of what is open, what it has, or a living rank was given for it
 *   5  sweep         over the ends of what groups have; where some have it and others not, works for the others
 *
 *      input         0    10    20    30    40    50    60         open: 10 .. 60; group h moved just now, so it has
 *                    |     |===== open =================|          nothing. To do, as rectangles as high as possible:
 *      had by g            |-----------|                |            10 .. 30 for h     some have it
 *      had by h            |           |                |            30 .. 60 for all   nobody has it
 *
 * What few groups miss of what the lost had is small beside what is open, so the sweep looks at the groups only where
 * somebody has something. Nothing of the ledger changes before all is done. */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "ledger_parts.h"
#include "memory.h"

/* A group of before or of now. */
typedef struct plot {
    uint32_t first, last, owner;
    const mr__cover *covered;       /* what its account says; NULL: it is new, and empty */
    mr__cover had;
} plot;

/* A work of a living rank. */
typedef struct held {
    mr__work work;
    uint32_t rank;
} held;

typedef struct share {
    uint32_t rank, owned, quota;    /* partitions */
} share;

typedef struct edge {
    uint64_t at;
    size_t plot;
    bool begins;
} edge;

typedef struct rebuild {
    const mr__ledger *ledger;
    const mr__account *accounts;
    size_t account_count;
    held *held;                     /* by begin */
    size_t held_count;
    share *shares;                  /* by rank, then by owned, of those who hold places */
    size_t share_count;
    plot *plots;                    /* by first */
    size_t plot_count;
    uint32_t *cuts;                 /* partitions where a living work for some begins or ends */
    size_t cut_count;
    mr__cover open;
    edge *edges;                    /* by position */
    size_t edge_count;
    mr__works todo;
} rebuild;

static void rebuild_fini(rebuild *r)
{
    for (size_t i = 0; i < r->plot_count; i++)
        mr__cover_fini(&r->plots[i].had);
    mr__free(r->held);
    mr__free(r->shares);
    mr__free(r->plots);
    mr__free(r->cuts);
    mr__free(r->edges);
    mr__free(r->todo.list);
    mr__cover_fini(&r->open);
}

/* ---- 1: check ---------------------------------------------------------------------------------------------------- */

static int held_by_begin(const void *left, const void *right)
{
    const held *a = left, *b = right;
    const int order = MR__ORDER(a->work.begin, b->work.begin);
    return order != 0 ? order : MR__ORDER(a->rank, b->rank);
}

static int shares_by_rank(const void *left, const void *right)
{
    return MR__ORDER(((const share *)left)->rank, ((const share *)right)->rank);
}

static int shares_by_owned(const void *left, const void *right)
{
    const share *a = left, *b = right;
    const int order = MR__ORDER(a->owned, b->owned);
    return order != 0 ? order : MR__ORDER(a->rank, b->rank);
}

static int plots_by_first(const void *left, const void *right)
{
    return MR__ORDER(((const plot *)left)->first, ((const plot *)right)->first);
}

static mr_status collect_works(rebuild *r, const mr__account *account, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < account->work_count; i++) {
        const mr__work work = account->works[i];
        MR_CHECK(mr__work_fits(r->ledger, &work), MR_INTERNAL,
                 "rank %u was given %llu .. %llu for %u .. %u, which does not lie in this job", account->rank,
                 MR__LLU(work.begin), MR__LLU(work.end), work.first, work.last);
        r->held[r->held_count++] = (held){work, account->rank};
    }
done:
    return status;
}

static mr_status collect_groups(rebuild *r, const mr__account *account, share *mine, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < account->group_count; i++) {
        const mr__group *group = &account->groups[i];
        const mr__cover *covered = &group->covered;
        MR_CHECK(group->owner == account->rank && group->first < group->last && group->last <= r->ledger->partitions &&
                     (covered->count == 0 || covered->ranges[covered->count - 1].end <= r->ledger->total),
                 MR_INTERNAL, "by the account of rank %u, rank %u owns the partitions %u .. %u of %u", account->rank,
                 group->owner, group->first, group->last, r->ledger->partitions);
        r->plots[r->plot_count++] =
            (plot){.first = group->first, .last = group->last, .owner = account->rank, .covered = covered};
        mine->owned += group->last - group->first;
    }
done:
    return status;
}

static mr_status collect(rebuild *r, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = r->account_count;
    size_t works = 0, partial = 0, groups = 0;
    MR_CHECK(count > 0, MR_INTERNAL, "a ledger cannot be made from no account");
    for (size_t i = 0; i < count; i++) {
        works += r->accounts[i].work_count;
        for (size_t k = 0; k < r->accounts[i].work_count; k++)
            partial += !mr__work_is_whole(r->ledger, &r->accounts[i].works[k]);
        groups += r->accounts[i].group_count;
    }
    r->held = mr__alloc(works * sizeof *r->held);
    r->cuts = mr__alloc(2 * partial * sizeof *r->cuts);
    r->shares = mr__alloc(count * sizeof *r->shares);
    /* at most: those that are there, and in each gap one more than there are cuts and ranks in it */
    r->plots = mr__alloc((2 * groups + 1 + 2 * partial + count) * sizeof *r->plots);
    MR_CHECK(r->held != NULL && r->cuts != NULL && r->shares != NULL && r->plots != NULL, MR_NO_MEMORY,
             "no memory for the accounts of %zu ranks", count);
    for (size_t i = 0; i < count; i++) {
        r->shares[i] = (share){.rank = r->accounts[i].rank};
        MR_TRY(collect_works(r, &r->accounts[i], error));
        MR_TRY(collect_groups(r, &r->accounts[i], &r->shares[i], error));
    }
    qsort(r->shares, count, sizeof *r->shares, shares_by_rank);
    for (size_t i = 1; i < count; i++)
        MR_CHECK(r->shares[i].rank != r->shares[i - 1].rank, MR_INTERNAL, "there are two accounts of rank %u",
                 r->shares[i].rank);
    if (r->held_count > 1)
        qsort(r->held, r->held_count, sizeof *r->held, held_by_begin);
    if (r->plot_count > 1)
        qsort(r->plots, r->plot_count, sizeof *r->plots, plots_by_first);
    for (size_t i = 1; i < r->plot_count; i++)
        MR_CHECK(r->plots[i].first >= r->plots[i - 1].last, MR_INTERNAL,
                 "partition %u has two owners, rank %u and rank %u", r->plots[i].first, r->plots[i - 1].owner,
                 r->plots[i].owner);
done:
    return status;
}

/* ---- 2: open ----------------------------------------------------------------------------------------------------- */

static mr_status find_open(rebuild *r, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t at = 0;
    const held *before = NULL;
    for (size_t i = 0; i < r->held_count; i++) {
        const held *next = &r->held[i];
        if (!mr__work_is_whole(r->ledger, &next->work))
            continue;
        MR_CHECK(next->work.begin >= at, MR_INTERNAL, "rank %u and rank %u both were given the input at %llu",
                 before->rank, next->rank, MR__LLU(next->work.begin));
        MR_TRY(mr__cover_unite(&r->open, at, next->work.begin, error));
        at = next->work.end;
        before = next;
    }
    MR_TRY(mr__cover_unite(&r->open, at, r->ledger->total, error));
done:
    return status;
}

/* ---- 3: divide --------------------------------------------------------------------------------------------------- */

/* Leaves out spares: those who own something hold a place, and of the others, which own nothing, the lowest get the
 * places that are vacant. A job that keeps as many places as it began with, and spares that fill them, stays as even as
 * it was. */
static void fill_places(rebuild *r)
{
    const uint32_t places = r->ledger->places;
    size_t taken = 0, kept = 0;
    for (size_t i = 0; i < r->account_count; i++)
        taken += r->shares[i].rank < places || r->shares[i].owned > 0;
    for (size_t i = 0; i < r->account_count; i++) {
        const bool waits = r->shares[i].rank >= places && r->shares[i].owned == 0;
        if (waits && taken >= places)
            continue;
        taken += waits;
        r->shares[kept++] = r->shares[i];
    }
    r->share_count = kept;
}

/* How much each rank gets of `partitions`, so that the poorest are lifted to one level. */
static void set_quotas(share *shares, size_t count, uint32_t partitions)
{
    uint64_t left = partitions;
    uint32_t level = shares[0].owned;
    size_t poor = 1;
    while (poor < count && (uint64_t)(shares[poor].owned - level) * poor <= left) {
        left -= (uint64_t)(shares[poor].owned - level) * poor;
        level = shares[poor++].owned;
    }
    for (size_t i = 0; i < count; i++)
        shares[i].quota = i < poor ? level - shares[i].owned + (uint32_t)(left / poor) + (i < left % poor) : 0;
}

static int partitions_in_order(const void *left, const void *right)
{
    return MR__ORDER(*(const uint32_t *)left, *(const uint32_t *)right);
}

/* Partitions [first, last) have no owner. *next: the first share with a quota left. */
static void divide_gap(rebuild *r, uint32_t first, uint32_t last, share **next, size_t *cut)
{
    while (*cut < r->cut_count && r->cuts[*cut] <= first)
        ++*cut;
    while (first < last) {
        uint32_t end = *cut < r->cut_count && r->cuts[*cut] < last ? r->cuts[*cut] : last;
        while ((*next)->quota == 0)
            ++*next;
        if (end - first > (*next)->quota)
            end = first + (*next)->quota;
        r->plots[r->plot_count++] = (plot){.first = first, .last = end, .owner = (*next)->rank};
        (*next)->quota -= end - first;
        first = end;
        while (*cut < r->cut_count && r->cuts[*cut] <= first)
            ++*cut;
    }
}

static void divide(rebuild *r)
{
    const size_t owned_plots = r->plot_count;
    uint32_t missing = r->ledger->partitions, at = 0;
    size_t cut = 0;
    fill_places(r);
    for (size_t i = 0; i < owned_plots; i++)
        missing -= r->plots[i].last - r->plots[i].first;
    if (missing == 0)
        return;
    for (size_t i = 0; i < r->held_count; i++) {
        if (!mr__work_is_whole(r->ledger, &r->held[i].work)) {
            r->cuts[r->cut_count++] = r->held[i].work.first;
            r->cuts[r->cut_count++] = r->held[i].work.last;
        }
    }
    if (r->cut_count > 1)
        qsort(r->cuts, r->cut_count, sizeof *r->cuts, partitions_in_order);
    qsort(r->shares, r->share_count, sizeof *r->shares, shares_by_owned);
    set_quotas(r->shares, r->share_count, missing);
    share *next = r->shares;
    for (size_t i = 0; i < owned_plots; i++) {
        divide_gap(r, at, r->plots[i].first, &next, &cut);
        at = r->plots[i].last;
    }
    divide_gap(r, at, r->ledger->partitions, &next, &cut);
    qsort(r->plots, r->plot_count, sizeof *r->plots, plots_by_first);
}

/* ---- 4: had ------------------------------------------------------------------------------------------------------ */

/* The plot that begins at this partition, or count. */
static size_t plot_at(const rebuild *r, uint32_t partition)
{
    size_t low = 0, high = r->plot_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (r->plots[middle].first >= partition)
            high = middle;
        else
            low = middle + 1;
    }
    return low < r->plot_count && r->plots[low].first == partition ? low : r->plot_count;
}

/* A living rank was given this for some partitions: their groups will have it. */
static mr_status add_held(rebuild *r, const held *item, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__work *work = &item->work;
    uint32_t reached = work->first;
    MR_CHECK(mr__cover_has(&r->open, work->begin, work->end), MR_INTERNAL,
             "rank %u and another both were given %llu .. %llu", item->rank, MR__LLU(work->begin), MR__LLU(work->end));
    for (size_t i = plot_at(r, work->first); i < r->plot_count && r->plots[i].first < work->last; i++) {
        plot *group = &r->plots[i];
        MR_CHECK(!mr__cover_meets(&group->had, work->begin, work->end), MR_INTERNAL,
                 "rank %u and another both were given %llu .. %llu for partition %u", item->rank, MR__LLU(work->begin),
                 MR__LLU(work->end), group->first);
        MR_TRY(mr__cover_add(&group->had, work->begin, work->end, error));
        reached = group->last;
    }
    MR_CHECK(reached == work->last, MR_INTERNAL,
             "rank %u was given a work for the partitions %u .. %u, and they are no groups", item->rank, work->first,
             work->last);
done:
    return status;
}

/* Of what is open, what its owner has. */
static mr_status add_covered(rebuild *r, plot *group, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < group->covered->count; i++) {
        const mr__range range = group->covered->ranges[i];
        for (size_t k = mr__cover_find(&r->open, range.begin); k < r->open.count; k++) {
            const mr__range open = r->open.ranges[k];
            if (open.begin >= range.end)
                break;
            MR_TRY(mr__cover_unite(&group->had, open.begin > range.begin ? open.begin : range.begin,
                                   open.end < range.end ? open.end : range.end, error));
        }
    }
done:
    return status;
}

static mr_status find_had(rebuild *r, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < r->held_count; i++) {
        if (!mr__work_is_whole(r->ledger, &r->held[i].work))
            MR_TRY(add_held(r, &r->held[i], error));
    }
    for (size_t i = 0; i < r->plot_count; i++) {
        if (r->plots[i].covered != NULL)
            MR_TRY(add_covered(r, &r->plots[i], error));
    }
done:
    return status;
}

/* ---- 5: sweep ---------------------------------------------------------------------------------------------------- */

static int edges_by_position(const void *left, const void *right)
{
    const edge *a = left, *b = right;
    const int order = MR__ORDER(a->at, b->at);
    return order != 0 ? order : MR__ORDER(a->plot, b->plot);
}

static mr_status find_edges(rebuild *r, mr__error *error)
{
    mr_status status = MR_OK;
    size_t ranges = 0;
    for (size_t i = 0; i < r->plot_count; i++)
        ranges += r->plots[i].had.count;
    r->edges = mr__alloc(2 * ranges * sizeof *r->edges);
    MR_CHECK(r->edges != NULL, MR_NO_MEMORY, "no memory for %zu ranges that groups have", ranges);
    for (size_t i = 0; i < r->plot_count; i++) {
        const mr__cover *had = &r->plots[i].had;
        for (size_t k = 0; k < had->count; k++) {
            r->edges[r->edge_count++] = (edge){had->ranges[k].begin, i, true};
            r->edges[r->edge_count++] = (edge){had->ranges[k].end, i, false};
        }
    }
    if (r->edge_count > 1)
        qsort(r->edges, r->edge_count, sizeof *r->edges, edges_by_position);
done:
    return status;
}

/* In [begin, end) some groups have all: works for the others, as high as they lie side by side. */
static mr_status push_missing(rebuild *r, uint64_t begin, uint64_t end, const bool *has, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0, next; i < r->plot_count; i = next) {
        next = i + 1;
        if (has[i])
            continue;
        while (next < r->plot_count && !has[next])
            next++;
        MR_TRY(mr__works_push(&r->todo, (mr__work){begin, end, r->plots[i].first, r->plots[next - 1].last}, error));
    }
done:
    return status;
}

static mr_status sweep(rebuild *r, mr__error *error)
{
    mr_status status = MR_OK;
    size_t having = 0;
    bool *has = mr__alloc_zero(r->plot_count, sizeof *has);
    MR_CHECK(has != NULL, MR_NO_MEMORY, "no memory for %zu groups", r->plot_count);
    for (size_t i = 0; i < r->edge_count;) {
        const uint64_t at = r->edges[i].at;
        for (; i < r->edge_count && r->edges[i].at == at; i++) {
            has[r->edges[i].plot] = r->edges[i].begins;
            if (r->edges[i].begins)
                having++;
            else
                having--;
        }
        if (having == 0)
            continue;
        const uint64_t next = r->edges[i].at;       /* what begins, ends */
        MR_TRY(push_missing(r, at, next, has, error));
        MR_TRY(mr__cover_subtract(&r->open, at, next, error));
    }
    for (size_t i = 0; i < r->open.count; i++) {
        const mr__range range = r->open.ranges[i];
        MR_TRY(mr__works_push(&r->todo, (mr__work){range.begin, range.end, 0, r->ledger->partitions}, error));
    }
done:
    mr__free(has);
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

mr_status mr__ledger_rebuild(mr__ledger *ledger, const mr__account *accounts, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    rebuild r = {.ledger = ledger, .accounts = accounts, .account_count = count};
    mr__group *groups = NULL;
    mr__shelf made[MR__SHELVES];
    MR_TRY(collect(&r, error));
    MR_TRY(find_open(&r, error));
    divide(&r);
    MR_TRY(find_had(&r, error));
    MR_TRY(find_edges(&r, error));
    MR_TRY(sweep(&r, error));
    groups = mr__alloc_zero(r.plot_count, sizeof *groups);
    MR_CHECK(groups != NULL, MR_NO_MEMORY, "no memory for %zu groups", r.plot_count);
    MR_TRY(mr__shelves_fill(ledger, &r.todo, made, error));
    for (size_t i = 0; i < r.plot_count; i++)
        groups[i] = (mr__group){.first = r.plots[i].first, .last = r.plots[i].last, .owner = r.plots[i].owner};
    mr__free(ledger->groups);
    ledger->groups = groups;
    ledger->group_count = r.plot_count;
    groups = NULL;
    mr__shelves_fini(ledger->shelf);
    memcpy(ledger->shelf, made, sizeof made);
    ledger->homes_moved = false;
    ledger->living = r.share_count;
done:
    mr__free(groups);
    rebuild_fini(&r);
    return status;
}
