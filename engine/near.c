/* near.c: from pages in memory to homes of the input.
 *
 *   each rank        its input, stretch by stretch: are most of a few pages in memory? -> ranges, the longest ones
 *   account          ... go to the coordinator, with the name of the host
 *   coordinator      all borders of all ranges cut the input:
 *
 *     host a   ======================        ===========
 *     host b               ======================
 *     host c               ==========                        ======
 *              |   a       | all    | a,b    | b | a    |    | c  |
 *               home at a    as is   the one  b   a       ^     c      each divided among the host's ranks
 *                                    with less            as is
 *
 * Who measures. Only ranks that a launcher started, and not when it put all of them on one node: they have one page
 * cache. A rank does not know where the others are when it makes its account, so the coordinator finds out that all
 * are on one host, or that all hold the same; then nothing changes.
 * Why memory and not disks. An input lies where all ranks see it, under one path: on a file system that all share. What
 * is near is what a node has read before, in the job before this one or in another; with homes as they were this
 * job's ranks read it again from the servers, on other nodes than those that have it.
 * Why a stretch is a sample. A page costs a microsecond to ask about. Eight of 8 MiB are 1 ms for each GiB, and from
 * STRETCHES on stretches become longer. Opening files on a slow server takes longer than that, so the time is bounded
 * as well: what was not looked at in it is not near. It is spent on the job's own thread, before the rank enters.
 * What a list of ranges leaves out (more than MR__NEAR_RANGES; with very many ranks fewer) stays where it was.
 *
 * Cost of homes, for R ranks, H hosts and I ranges in all: I log I, and for each piece (at most 8 R + 2 I) the hosts
 * that hold it. I is bounded by 8192, or 4 R.
 *
 * N1  Ranges of a rank, and homes, are in order, apart, not empty, and lie in the input.
 * N2  A home's rank is on a host that holds it, and some host does not hold it. */
#include "near.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "internal.h"
#include "resident.h"

enum {
    STRETCH = 8 << 20,          /* bytes */
    STRETCHES = 4096,
    SAMPLES = 8,
    RANGES_OF_ALL = 8192,       /* fewer of each rank where there are many ranks ... */
    RANGES_LEAST = 4,           /* ... but so many */
    PIECES = 8                  /* of the input, for each rank: below that a range is not divided */
};

static const uint64_t NEAR_NS = 50000000;

/* ---- measure ----------------------------------------------------------------------------------------------------- */

/* Where a unit begins, in bytes of all sources. */
static uint64_t byte_of(const mr__job *job, uint64_t unit)
{
    if (job->app->input != MR_INPUT_RECORDS)
        return unit;
    if (unit >= job->schedule_total)
        return job->dataset->sources->bytes;
    const uint32_t source = mr__source_of_block(job, unit);
    return job->dataset->sources->items[source].start +
           (unit - job->block_starts[source]) * job->block_rows * job->plan.record_size;
}

static bool is_near(const mr__job *job, mr__resident *pages, uint64_t begin, uint64_t end)
{
    const mr__near_stub *stub = job->session->near_stub;
    const uint64_t first = byte_of(job, begin), size = byte_of(job, end) - first;
    uint32_t there = 0;
    if (stub != NULL)
        return stub->holds(stub, begin, end);
    for (uint64_t i = 0; i < SAMPLES && size > 0; i++)
        there += mr__resident_at(pages, first + size / SAMPLES * i);
    return there > SAMPLES / 2;
}

static uint32_t ranges_most(uint32_t ranks)
{
    const uint32_t most = RANGES_OF_ALL / ranks;
    return most > MR__NEAR_RANGES ? MR__NEAR_RANGES : most < RANGES_LEAST ? RANGES_LEAST : most;
}

/* One more range, behind the others. If there are too many, the shortest goes. */
static void add_range(mr__near *near, uint32_t most, uint64_t begin, uint64_t end)
{
    uint32_t shortest = 0;
    if (near->count > 0 && near->range[near->count - 1].end == begin) {
        near->range[near->count - 1].end = end;
        return;
    }
    if (near->count == most) {
        for (uint32_t i = 1; i < most; i++)
            if (near->range[i].end - near->range[i].begin <
                near->range[shortest].end - near->range[shortest].begin)
                shortest = i;
        memmove(&near->range[shortest], &near->range[shortest + 1],
                (near->count - shortest - 1) * sizeof near->range[0]);
        near->count--;
    }
    near->range[near->count++] = (mr__range){begin, end};
}

static bool is_wanted(const mr__job *job)
{
    const mr__launch *launch = &job->session->launch;
    const char *text = getenv("MILLRACE_NEAR");
    if (job->dataset == NULL || job->schedule_total == 0 || (text != NULL && strcmp(text, "0") == 0))
        return false;
    return job->session->near_stub != NULL ||
           (launch->by != MR__LAUNCHED_ALONE && !launch->one_node);
}

void mr__near_measure(const mr__job *job, mr__near *near)
{
    const mr__near_stub *stub = job->session->near_stub;
    *near = (mr__near){.count = 0};
    if (gethostname(near->host, sizeof near->host - 1) != 0)
        near->host[0] = '\0';
    if (!is_wanted(job))
        return;
    if (stub != NULL)
        snprintf(near->host, sizeof near->host, "%s", stub->host);
    const uint64_t total = job->schedule_total, bytes = job->dataset->sources->bytes, began = mr__now_ns();
    const uint64_t stretches = bytes / STRETCH < STRETCHES ? bytes / STRETCH + 1 : STRETCHES;
    const uint64_t step = stub != NULL ? stub->step : (total + stretches - 1) / stretches;
    mr__resident pages;
    mr__resident_begin(&pages, job->dataset->sources);
    for (uint64_t begin = 0, end; begin < total; begin = end) {
        if (stub == NULL && mr__now_ns() - began > NEAR_NS)
            break;
        end = total - begin < step ? total : begin + step;
        if (is_near(job, &pages, begin, end))
            add_range(near, ranges_most(job->ranks), begin, end);
    }
    mr__resident_end(&pages);
}

/* ---- as a message ------------------------------------------------------------------------------------------------ */

void mr__near_write(const mr__near *near, mr__writing *to)
{
    mr__write_text(to, near->host);
    mr__write_u32(to, near->count);
    for (uint32_t i = 0; i < near->count; i++) {
        mr__write_u64(to, near->range[i].begin);
        mr__write_u64(to, near->range[i].end);
    }
}

bool mr__near_read(mr__reading *from, uint64_t total, mr__near *near)
{
    uint64_t at = 0;
    snprintf(near->host, sizeof near->host, "%s", mr__read_text(from));
    near->count = mr__read_u32(from);
    from->broken |= near->count > MR__NEAR_RANGES;
    for (uint32_t i = 0; i < near->count && !from->broken; i++) {
        mr__range *range = &near->range[i];
        range->begin = mr__read_u64(from);
        range->end = mr__read_u64(from);
        from->broken |= range->begin < at || range->begin >= range->end || range->end > total;
        at = range->end;
    }
    if (from->broken)
        near->count = 0;
    return !from->broken;
}

/* ---- homes ------------------------------------------------------------------------------------------------------- */

typedef struct host {
    uint32_t first, count;      /* its ranks, in `order` */
    uint32_t next;              /* who of them is to be given the next piece */
    uint32_t depth;             /* how many of its ranks say that they hold what is looked at */
    uint32_t place;             /* in `holding` */
    uint64_t load;              /* units that its ranks are at home in */
} host;

typedef struct edge {
    uint64_t at;
    uint32_t host;
    bool begins;
} edge;

typedef struct finding {
    mr__nearby *order;          /* ranks, by host */
    host *hosts;
    uint32_t host_count;
    edge *edges;
    size_t edge_count;
    uint32_t *holding;          /* hosts */
    uint32_t holding_count;
    uint64_t piece;             /* units, at least */
    mr__homes *homes;
} finding;

static int by_host(const void *left, const void *right)
{
    const mr__nearby *a = left, *b = right;
    const int order = strcmp(a->near->host, b->near->host);
    return order != 0 ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static int by_place(const void *left, const void *right)
{
    const edge *a = left, *b = right;
    return (a->at > b->at) - (a->at < b->at);
}

static void find_hosts(finding *of, uint32_t count)
{
    qsort(of->order, count, sizeof *of->order, by_host);
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(of->order[i].near->host, of->order[i - 1].near->host) != 0)
            of->hosts[of->host_count++] = (host){.first = i};
        of->hosts[of->host_count - 1].count++;
        for (uint32_t r = 0; r < of->order[i].near->count; r++) {
            const mr__range *range = &of->order[i].near->range[r];
            of->edges[of->edge_count++] = (edge){range->begin, of->host_count - 1, true};
            of->edges[of->edge_count++] = (edge){range->end, of->host_count - 1, false};
        }
    }
    qsort(of->edges, of->edge_count, sizeof *of->edges, by_place);
}

static void cross(finding *of, const edge *border)
{
    host *which = &of->hosts[border->host];
    which->depth += border->begins ? 1 : -1u;
    if (border->begins && which->depth == 1) {
        which->place = of->holding_count;
        of->holding[of->holding_count++] = border->host;
    } else if (!border->begins && which->depth == 0) {
        const uint32_t last = of->holding[--of->holding_count];
        of->holding[which->place] = last;
        of->hosts[last].place = which->place;
    }
}

static mr_status add_home(mr__homes *homes, uint64_t begin, uint64_t end, uint32_t rank, mr__error *error)
{
    mr_status status = MR_OK;
    mr__near_home *last = homes->count > 0 ? &homes->list[homes->count - 1] : NULL;
    if (last != NULL && last->end == begin && last->rank == rank) {
        last->end = end;
        return MR_OK;
    }
    if (homes->count == homes->room) {
        const size_t room = homes->room > 0 ? homes->room * 2 : 64;
        mr__near_home *grown = mr__realloc(homes->list, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for the %zu homes of the input", room);
        homes->list = grown;
        homes->room = room;
    }
    homes->list[homes->count++] = (mr__near_home){begin, end, rank};
done:
    return status;
}

/* a's ranks are at home in less than b's, each. Equal ones: in order of the hosts. */
static bool has_less(const finding *of, uint32_t a, uint32_t b)
{
    const unsigned __int128 left = (unsigned __int128)of->hosts[a].load * of->hosts[b].count;
    const unsigned __int128 right = (unsigned __int128)of->hosts[b].load * of->hosts[a].count;
    return left != right ? left < right : a < b;
}

/* [begin, end) is held by those in `holding`: as many pieces as they have ranks, unless these become too small. */
static mr_status divide(finding *of, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t pieces = 0;
    for (uint32_t h = 0; h < of->holding_count; h++)
        pieces += of->hosts[of->holding[h]].count;
    const uint64_t most = (end - begin) / of->piece;
    pieces = pieces < most ? pieces : most > 0 ? most : 1;
    for (; pieces > 0; pieces--) {
        const uint64_t size = (end - begin) / pieces;
        uint32_t best = of->holding[0];
        for (uint32_t h = 1; h < of->holding_count; h++)
            if (has_less(of, of->holding[h], best))
                best = of->holding[h];
        host *taker = &of->hosts[best];
        MR_TRY(add_home(of->homes, begin, begin + size, of->order[taker->first + taker->next].rank, error));
        taker->next = (taker->next + 1) % taker->count;
        taker->load += size;
        begin += size;
    }
done:
    return status;
}

mr_status mr__homes_find(const mr__nearby *ranks, uint32_t count, uint64_t total, uint64_t smallest, mr__homes *homes,
                         mr__error *error)
{
    mr_status status = MR_OK;
    size_t ranges = 0;
    homes->count = 0;
    for (uint32_t i = 0; i < count; i++)
        ranges += ranks[i].near->count;
    if (ranges == 0)
        return MR_OK;
    finding of = {.order = mr__alloc(count * sizeof *of.order), .hosts = mr__alloc_zero(count, sizeof *of.hosts),
                  .edges = mr__alloc(2 * ranges * sizeof *of.edges),
                  .holding = mr__alloc(count * sizeof *of.holding), .homes = homes};
    MR_CHECK(of.order != NULL && of.hosts != NULL && of.edges != NULL && of.holding != NULL, MR_NO_MEMORY,
             "no memory for the homes of %u ranks", count);
    memcpy(of.order, ranks, count * sizeof *of.order);
    of.piece = total / ((uint64_t)PIECES * count);
    of.piece = of.piece > smallest ? of.piece : smallest > 0 ? smallest : 1;
    find_hosts(&of, count);
    for (size_t i = 0; i < of.edge_count; i++) {
        cross(&of, &of.edges[i]);               /* behind the last one nobody holds anything */
        if (of.holding_count > 0 && of.holding_count < of.host_count && of.edges[i].at < of.edges[i + 1].at)
            MR_TRY(divide(&of, of.edges[i].at, of.edges[i + 1].at, error));
    }
done:
    mr__free(of.order);
    mr__free(of.hosts);
    mr__free(of.edges);
    mr__free(of.holding);
    return status;
}

mr_status mr__homes_set(const mr__homes *homes, mr__ledger *ledger, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < homes->count; i++)
        MR_TRY(mr__ledger_set_home(ledger, homes->list[i].rank, homes->list[i].begin, homes->list[i].end, error));
done:
    return status;
}
