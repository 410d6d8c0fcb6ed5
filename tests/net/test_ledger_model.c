/* test_ledger_model.c: a cluster in one thread, thousands of times. Ranks pull works, map them, flush what they mapped
 * as epochs, deliver these to the owners, in any order; and ranks are lost, the coordinator too, up to all but one,
 * several at once, and while the ledger is being made again. Then the lowest rank that lives makes it from accounts.
 * Oracle: two plain matrices over (partition, unit): how often its owner counted it, and who was given it last. They
 * say what is left, and that every point was counted once in the end.
 * One seed alone: MR_SEED=1234 in the environment. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "ledger.h"
#include "memory.h"

enum { SEEDS = 5000, RANKS = 9, UNITS = 160, PARTITIONS = 24, NOBODY = -1, STEPS_MOST = 200000 };

struct node {
    bool alive;
    uint32_t slowness;
    mr__ledger *ledger;         /* of use only if it becomes the coordinator */
    mr__work *works;            /* all that it was given: in epochs, mapped, waiting */
    size_t flushed, mapped, count, room;
    size_t *epoch_ends;         /* of works; an epoch is kept, as senders do until commit */
    size_t epochs;
};

struct group {
    uint32_t first, last, owner;
    mr__cover by[RANKS];        /* what it has, by who sent it */
    size_t queued[RANKS];       /* epochs of a rank that were sent to it */
};

struct message {
    uint32_t from, group_first;
    size_t epoch;
};

static struct {
    uint64_t seed, random;
    uint32_t ranks, owners, partitions, alive;      /* ranks from `owners` on are spares */
    uint64_t total;
    bool lean, faults;          /* accounts tell only what lost ranks delivered; allocations fail */
    struct node node[RANKS];
    struct group group[PARTITIONS];
    size_t group_count;
    struct message *messages;
    size_t message_count, message_room;
    uint8_t counted[PARTITIONS][UNITS];
    int8_t holder[PARTITIONS][UNITS];
    uint64_t given, lost_had;   /* points */
} sim;

static struct {                 /* over all seeds: what was exercised */
    uint32_t losses, all_but_one, of_coordinator, while_rebuilding, at_the_end, partial, repeated, faults, cut_again;
    uint32_t took_over;
} seen;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("seed %llu: %s", (unsigned long long)sim.seed, #condition);                                       \
    } while (0)

static uint32_t next_random(uint32_t below)
{
    uint64_t x = sim.random;            /* xorshift64*, S. Vigna 2016 */
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    sim.random = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1du) >> 32) % below;
}

static void *larger(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    *room = *room * 2 + 16;
    list = realloc(list, *room * size);
    EXPECT(list != NULL);
    return list;
}

/* ---- ranks that work --------------------------------------------------------------------------------------------- */

static uint32_t coordinator(void)
{
    uint32_t rank = 0;
    while (!sim.node[rank].alive)
        rank++;
    return rank;
}

static uint32_t some_living_rank(void)
{
    uint32_t rank;
    do
        rank = next_random(sim.ranks);
    while (!sim.node[rank].alive);
    return rank;
}

static bool is_open(uint32_t partition, uint64_t unit)
{
    const int holder = sim.holder[partition][unit];
    return sim.counted[partition][unit] == 0 && (holder == NOBODY || !sim.node[holder].alive);
}

static void check_rules(const mr__ledger *ledger)
{
    mr__error error = {.text = ""};
    if (mr__ledger_check(ledger, &error) != MR_OK)
        fail_msg("seed %llu: %s", (unsigned long long)sim.seed, error.text);
}

static bool give(uint32_t rank, mr__work *work)
{
    mr__ledger *ledger = sim.node[coordinator()].ledger;
    bool found = false;
    for (;;) {
        mr__error error = {.text = ""};
        if (sim.faults && next_random(8) == 0)
            mr__fault_arm(MR__FAULT_ALLOC, 1 + next_random(4));
        const mr_status status = mr__ledger_give(ledger, rank, 0, work, &found, &error);
        mr__fault_disarm();
        if (status == MR_OK)
            return found;
        EXPECT(status == MR_NO_MEMORY && mr__fault_fired() && error.text[0] != '\0');
        check_rules(ledger);
        seen.faults++;
    }
}

static void pull(uint32_t rank)
{
    struct node *node = &sim.node[rank];
    mr__work work;
    if (node->count - node->mapped >= 2 || !give(rank, &work))
        return;
    EXPECT(work.begin < work.end && work.end <= sim.total && work.first < work.last && work.last <= sim.partitions);
    for (uint32_t p = work.first; p < work.last; p++) {
        for (uint64_t u = work.begin; u < work.end; u++) {
            EXPECT(is_open(p, u));
            seen.repeated += sim.holder[p][u] != NOBODY;
            sim.holder[p][u] = (int8_t)rank;
            sim.given++;
        }
    }
    seen.partial += work.last - work.first < sim.partitions;
    node->works = larger(node->works, node->count, &node->room, sizeof *node->works);
    node->works[node->count++] = work;
}

static void map(uint32_t rank)
{
    struct node *node = &sim.node[rank];
    if (node->mapped == node->count || next_random(node->slowness) != 0)
        return;
    const size_t next = node->mapped++, picked = next + next_random((uint32_t)(node->count - next));
    const mr__work work = node->works[picked];
    node->works[picked] = node->works[next];
    node->works[next] = work;
}

/* Sends what was not sent yet: new epochs to all groups, all epochs to a group that is new. */
static void send_epochs(void)
{
    for (size_t g = 0; g < sim.group_count; g++) {
        struct group *group = &sim.group[g];
        for (uint32_t from = 0; from < sim.ranks; from++) {
            for (; sim.node[from].alive && group->queued[from] < sim.node[from].epochs; group->queued[from]++) {
                sim.messages = larger(sim.messages, sim.message_count, &sim.message_room, sizeof *sim.messages);
                sim.messages[sim.message_count++] =
                    (struct message){.from = from, .group_first = group->first, .epoch = group->queued[from]};
            }
        }
    }
}

static void flush(uint32_t rank)
{
    struct node *node = &sim.node[rank];
    if (node->flushed == node->mapped)
        return;
    node->epoch_ends = realloc(node->epoch_ends, (node->epochs + 1) * sizeof *node->epoch_ends);
    EXPECT(node->epoch_ends != NULL);
    node->epoch_ends[node->epochs++] = node->flushed = node->mapped;
    send_epochs();
}

static struct group *group_at(uint32_t first)
{
    for (size_t g = 0; g < sim.group_count; g++) {
        if (sim.group[g].first == first)
            return &sim.group[g];
    }
    return NULL;
}

static void deliver(size_t index)
{
    const struct message message = sim.messages[index];
    const struct node *from = &sim.node[message.from];
    struct group *group = group_at(message.group_first);
    sim.messages[index] = sim.messages[--sim.message_count];
    EXPECT(group != NULL);
    size_t w = message.epoch > 0 ? from->epoch_ends[message.epoch - 1] : 0;
    for (; w < from->epoch_ends[message.epoch]; w++) {
        const mr__work *work = &from->works[w];
        if (work->last <= group->first || work->first >= group->last)
            continue;
        EXPECT(work->first <= group->first && work->last >= group->last);       /* ledger.c: (*) */
        EXPECT(mr__cover_add(&group->by[message.from], work->begin, work->end, NULL) == MR_OK);
        for (uint32_t p = group->first; p < group->last; p++) {
            for (uint64_t u = work->begin; u < work->end; u++) {
                EXPECT(sim.counted[p][u] == 0);
                sim.counted[p][u] = 1;
            }
        }
    }
}

/* ---- ranks that are lost ----------------------------------------------------------------------------------------- */

static void drop_group(size_t index)
{
    struct group *group = &sim.group[index];
    for (uint32_t r = 0; r < sim.ranks; r++)
        mr__cover_fini(&group->by[r]);
    for (uint32_t p = group->first; p < group->last; p++)
        memset(sim.counted[p], 0, sizeof sim.counted[p]);
    *group = sim.group[--sim.group_count];
}

static void lose(uint32_t rank)
{
    for (size_t i = 0; i < sim.message_count;) {        /* what it sent: some still arrives, in no order */
        if (sim.messages[i].from != rank)
            i++;
        else if (next_random(2) == 0)
            deliver(i);
        else
            sim.messages[i] = sim.messages[--sim.message_count];
    }
    seen.of_coordinator += rank == coordinator();
    sim.node[rank].alive = false;
    sim.alive--;
    for (size_t i = 0; i < sim.message_count;) {
        if (group_at(sim.messages[i].group_first)->owner == rank)
            sim.messages[i] = sim.messages[--sim.message_count];
        else
            i++;
    }
    for (size_t g = sim.group_count; g-- > 0;) {
        if (sim.group[g].owner == rank)
            drop_group(g);
    }
    for (uint32_t p = 0; p < sim.partitions; p++) {
        for (uint64_t u = 0; u < sim.total; u++)
            sim.lost_had += sim.holder[p][u] == (int)rank;
    }
    seen.losses++;
    seen.all_but_one += sim.alive == 1;
}

/* As the rank would write it, over the wire and back. */
static void make_account(uint32_t rank, mr__account *account)
{
    mr__group groups[PARTITIONS];
    mr__account told = {.rank = rank, .works = sim.node[rank].works, .work_count = sim.node[rank].count,
                        .groups = groups};
    uint8_t *bytes = NULL;
    size_t size = 0;
    for (size_t g = 0; g < sim.group_count; g++) {
        const struct group *group = &sim.group[g];
        if (group->owner != rank)
            continue;
        mr__group *mine = &groups[told.group_count++];
        *mine = (mr__group){.first = group->first, .last = group->last, .owner = rank};
        for (uint32_t from = 0; from < sim.ranks; from++) {
            for (size_t i = 0; i < group->by[from].count && !(sim.lean && sim.node[from].alive); i++) {
                const mr__range range = group->by[from].ranges[i];
                EXPECT(mr__cover_add(&mine->covered, range.begin, range.end, NULL) == MR_OK);
            }
        }
    }
    EXPECT(mr__account_pack(&told, &bytes, &size, NULL) == MR_OK);
    EXPECT(mr__account_unpack(bytes, size, account, NULL) == MR_OK);
    mr__free(bytes);
    for (size_t g = 0; g < told.group_count; g++)
        mr__cover_fini(&groups[g].covered);
}

/* Every point that no living rank has or will deliver is to do, and no other. */
static void check_left(const mr__ledger *ledger)
{
    uint64_t open = 0;
    for (uint32_t p = 0; p < sim.partitions; p++) {
        for (uint64_t u = 0; u < sim.total; u++)
            open += is_open(p, u);
    }
    EXPECT(mr__ledger_left(ledger) == (open + sim.partitions - 1) / sim.partitions);
    check_rules(ledger);
}

/* Who lives keeps its groups; who got partitions has at most one more than the poorest. Spares hold nothing as long as
 * there are others for all places, and wait in vain for none. */
static void check_groups(const mr__ledger *ledger)
{
    size_t count;
    const mr__group *groups = mr__ledger_groups(ledger, &count);
    uint32_t owned[RANKS] = {0}, gained[RANKS] = {0}, kept = 0, least = UINT32_MAX, holders = 0, waiting = 0;
    for (size_t g = 0; g < count; g++) {
        const struct group *old = group_at(groups[g].first);
        EXPECT(sim.node[groups[g].owner].alive);
        owned[groups[g].owner] += groups[g].last - groups[g].first;
        if (old == NULL)
            gained[groups[g].owner]++;
        else
            EXPECT(old->owner == groups[g].owner && old->last == groups[g].last);
        kept += old != NULL;
    }
    EXPECT(kept == sim.group_count);
    for (uint32_t r = 0; r < sim.ranks; r++) {
        const bool waits = sim.node[r].alive && r >= sim.owners && owned[r] == 0;
        waiting += waits;
        if (!sim.node[r].alive || waits)
            continue;
        holders++;
        least = owned[r] < least ? owned[r] : least;
        seen.took_over += r >= sim.owners && gained[r] > 0;
    }
    EXPECT(holders <= sim.owners && (holders == sim.owners || waiting == 0));
    for (uint32_t r = 0; r < sim.ranks; r++)
        EXPECT(gained[r] == 0 || owned[r] <= least + 1);
}

/* Owners hear of their new groups: all of them, or (if the coordinator is lost meanwhile) some. */
static void adopt(const mr__ledger *ledger, bool all)
{
    bool told[RANKS];
    size_t count;
    const mr__group *groups = mr__ledger_groups(ledger, &count);
    for (uint32_t r = 0; r < RANKS; r++)
        told[r] = all || next_random(2) == 0;
    for (size_t g = 0; g < count; g++) {
        if (told[groups[g].owner] && group_at(groups[g].first) == NULL)
            sim.group[sim.group_count++] = (struct group){.first = groups[g].first, .last = groups[g].last,
                                                          .owner = groups[g].owner};
    }
    if (all)
        EXPECT(sim.group_count == count);
}

/* With `faults` every allocation fails once, and each time the ledger must be as before. */
static void rebuild_once(mr__ledger *ledger, const mr__account *accounts, size_t count)
{
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        size_t groups_before, groups_after;
        const uint64_t left = mr__ledger_left(ledger);
        mr__ledger_groups(ledger, &groups_before);
        if (sim.faults)
            mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__ledger_rebuild(ledger, accounts, count, &error);
        mr__fault_disarm();
        if (status == MR_OK)
            return;
        if (!sim.faults || !mr__fault_fired())
            fail_msg("seed %llu: %s", (unsigned long long)sim.seed, error.text);
        mr__ledger_groups(ledger, &groups_after);
        EXPECT(status == MR_NO_MEMORY && error.text[0] != '\0');
        EXPECT(mr__ledger_left(ledger) == left && groups_after == groups_before);
        check_rules(ledger);
        seen.faults++;
    }
}

static void lose_some(void)
{
    const uint32_t count = 1 + next_random(next_random(2) == 0 ? 1 : sim.alive - 1);
    for (uint32_t i = 0; i < count; i++)
        lose(some_living_rank());
}

static void rebuild(void)
{
    mr__account accounts[RANKS];
    for (bool whole = false; !whole;) {
        mr__ledger *ledger = sim.node[coordinator()].ledger;
        size_t count = 0;
        const size_t first = next_random(sim.ranks);
        for (uint32_t i = 0; i < sim.ranks; i++) {
            const uint32_t rank = (uint32_t)((first + i) % sim.ranks);      /* in any order */
            if (sim.node[rank].alive)
                make_account(rank, &accounts[count++]);
        }
        rebuild_once(ledger, accounts, count);
        check_left(ledger);
        check_groups(ledger);
        for (size_t i = 0; i < count; i++)
            mr__account_fini(&accounts[i]);
        whole = sim.alive == 1 || next_random(4) != 0;
        adopt(ledger, whole);
        if (!whole) {
            lose(coordinator());
            if (sim.alive > 1 && next_random(3) == 0)
                lose_some();
            seen.while_rebuilding++;
        }
    }
    send_epochs();
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static void set_up(uint64_t seed)
{
    memset(&sim, 0, sizeof sim);
    memset(sim.holder, NOBODY, sizeof sim.holder);
    sim.seed = seed;
    sim.random = seed * 0x9e3779b97f4a7c15u;
    const uint32_t spares = next_random(4) == 0 ? 1 + next_random(2) : 0;
    const uint32_t owners = 2 + next_random(RANKS - 1 - spares), homes = next_random(3) == 0 ? next_random(12) : 0;
    const uint64_t smallest = next_random(10);
    sim.owners = owners;
    sim.ranks = sim.alive = owners + spares;
    sim.partitions = owners + next_random(PARTITIONS + 1 - owners);
    sim.total = next_random(8) == 0 ? next_random(12) : 1 + next_random(UNITS);
    sim.lean = next_random(2) == 0;
    sim.faults = next_random(16) == 0;
    for (uint32_t r = 0; r < sim.ranks; r++) {
        struct node *node = &sim.node[r];
        node->alive = true;
        node->slowness = 1 + next_random(4) * next_random(2);
        EXPECT(mr__ledger_create(sim.total, sim.partitions, owners, smallest, &node->ledger, NULL) == MR_OK);
    }
    for (uint32_t h = 0; h < homes; h++) {
        const uint64_t begin = next_random((uint32_t)sim.total + 1);
        const uint64_t end = begin + next_random((uint32_t)(sim.total - begin) + 1);
        const uint32_t rank = next_random(sim.ranks);
        for (uint32_t r = 0; r < sim.ranks; r++)
            EXPECT(mr__ledger_set_home(sim.node[r].ledger, rank, begin, end, NULL) == MR_OK);
    }
    adopt(sim.node[0].ledger, true);
}

static void tear_down(void)
{
    while (sim.group_count > 0)
        drop_group(0);
    for (uint32_t r = 0; r < sim.ranks; r++) {
        mr__ledger_destroy(sim.node[r].ledger);
        free(sim.node[r].works);
        free(sim.node[r].epoch_ends);
    }
    free(sim.messages);
}

static bool is_done(void)
{
    bool done = sim.message_count == 0 && mr__ledger_left(sim.node[coordinator()].ledger) == 0;
    for (uint32_t r = 0; r < sim.ranks && done; r++)
        done = !sim.node[r].alive || sim.node[r].flushed == sim.node[r].count;
    return done;
}

static void run(uint64_t seed)
{
    mr__work none;
    set_up(seed);
    const uint32_t loss_in = next_random(5) == 0 ? UINT32_MAX : 50 + next_random(1000);
    for (uint32_t step = 0;; step++) {
        EXPECT(step < STEPS_MOST);
        const uint32_t rank = some_living_rank(), action = next_random(10);
        if (sim.alive > 1 && next_random(loss_in) == 0) {
            lose_some();
            rebuild();
        } else if (action < 3) {
            pull(rank);
        } else if (action < 6) {
            map(rank);
        } else if (action < 7) {
            flush(rank);
        } else if (sim.message_count > 0) {
            deliver(next_random((uint32_t)sim.message_count));
        }
        if (!is_done())
            continue;
        if (sim.alive == 1 || loss_in == UINT32_MAX || next_random(3) != 0)     /* a rank can be lost before commit */
            break;
        lose_some();
        rebuild();
        seen.at_the_end++;
    }
    EXPECT(!give(some_living_rank(), &none));
    for (uint32_t p = 0; p < sim.partitions; p++) {
        for (uint64_t u = 0; u < sim.total; u++)
            EXPECT(sim.counted[p][u] == 1);
    }
    EXPECT(sim.given <= sim.total * sim.partitions + sim.lost_had);
    seen.cut_again += sim.group_count > sim.alive;
    tear_down();
}

static void every_point_is_counted_once_whoever_is_lost(void **state)
{
    const char *one = getenv("MR_SEED");
    if (one != NULL) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
    print_message("%u losses: %u times all but one, %u of the coordinator, %u during a rebuild, %u at the end\n",
                  seen.losses, seen.all_but_one, seen.of_coordinator, seen.while_rebuilding, seen.at_the_end);
    print_message("%u partial works, %u points again, %u failed allocations, %u runs with parted groups, "
                  "%u spares took over\n", seen.partial, seen.repeated, seen.faults, seen.cut_again, seen.took_over);
    assert_true(seen.losses > SEEDS && seen.all_but_one > SEEDS / 10 && seen.of_coordinator > SEEDS / 10);
    assert_true(seen.while_rebuilding > SEEDS / 10 && seen.at_the_end > SEEDS / 10 && seen.partial > SEEDS);
    assert_true(seen.took_over > SEEDS / 10);
    assert_true(seen.repeated > SEEDS && seen.faults > SEEDS / 10 && seen.cut_again > SEEDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_is_counted_once_whoever_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
