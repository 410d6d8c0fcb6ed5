/* test_near.c: what lies near a rank's node becomes its home, and is what it is given first.
 * Oracle: what the cases say, and rules that are looked at unit by unit: a home's host holds it and another one does
 * not; what some hosts hold and others do not has a home. Nothing here depends on the page cache. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "internal.h"
#include "job_fixture.h"
#include "memory.h"
#include "near.h"
#include "voyages.h"

enum { TOTAL = 960, RANKS_MOST = 8 };

static mr__near nears[RANKS_MOST];
static mr__nearby ranks[RANKS_MOST];
static uint32_t rank_count;

/* "a 0-100 200-300|b|...": the hosts of ranks 0, 1, ..., and what they hold. */
static void say(const char *text)
{
    char copy[512], *part, *word, *parts = NULL, *words = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    rank_count = 0;
    for (part = strtok_r(copy, "|", &parts); part != NULL; part = strtok_r(NULL, "|", &parts)) {
        mr__near *near = &nears[rank_count];
        *near = (mr__near){.count = 0};
        word = strtok_r(part, " ", &words);
        snprintf(near->host, sizeof near->host, "%s", word);
        while ((word = strtok_r(NULL, " ", &words)) != NULL) {
            mr__range *range = &near->range[near->count++];
            assert_int_equal(sscanf(word, "%lu-%lu", &range->begin, &range->end), 2);
        }
        ranks[rank_count] = (mr__nearby){rank_count, near};
        rank_count++;
    }
}

static void find(uint64_t smallest, mr__homes *homes)
{
    mr__error error = {.text = ""};
    if (mr__homes_find(ranks, rank_count, TOTAL, smallest, homes, &error) != MR_OK)
        fail_msg("%s", error.text);
}

/* "0-100:2 ..." */
static void write_homes(const mr__homes *homes, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < homes->count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lu-%lu:%u", i > 0 ? " " : "", homes->list[i].begin,
                                 homes->list[i].end, homes->list[i].rank);
}

static const struct {
    const char *what, *near, *homes;
    uint64_t smallest;
} cases[] = {
    {"nobody has anything", "a|b", "", 1},
    {"one host", "a 0-480|a|a 480-960", "", 1},
    {"all hosts hold it", "a 0-480|b 0-480|c 0-480", "", 1},
    {"one host holds it", "a|b 0-480", "0-480:1", 1},
    {"each half is held by the other host", "a 480-960|b 0-480", "0-480:1 480-960:0", 1},
    {"ranks of a host share it", "a 240-720|a 240-720|b", "240-480:0 480-720:1", 1},
    {"one rank of a host says it for all", "a|a 240-720|b", "240-480:0 480-720:1", 1},
    {"ranks of a host hold different parts", "a 0-240|a 240-480|b", "0-120:0 120-240:1 240-360:0 360-480:1", 1},
    {"two of three hosts share it", "a 0-480|b 0-480|c", "0-240:0 240-480:1", 1},
    {"the host with less takes what two hold", "a 0-480|b 240-480|c", "0-240:0 240-480:1", 1},
    {"nothing is divided below the smallest", "a 0-480|a 0-480|b", "0-480:0", 300},
    {"part of it all hold", "a 0-480|b 240-720", "0-240:0 480-720:1", 1},
    {"ranges that meet on one host", "a 0-240|a 240-480|b 0-960", "480-960:2", 1},
};

static void homes_are_where_memory_is(void **state)
{
    mr__homes homes = {.count = 0};
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        char got[512];
        say(cases[i].near);
        find(cases[i].smallest, &homes);
        write_homes(&homes, got, sizeof got);
        if (strcmp(got, cases[i].homes) != 0)
            fail_msg("%s: %s, not %s", cases[i].what, got, cases[i].homes);
    }
    mr__free(homes.list);
}

static bool holds(const char *host, uint64_t unit)
{
    for (uint32_t r = 0; r < rank_count; r++)
        for (uint32_t i = 0; i < nears[r].count && strcmp(nears[r].host, host) == 0; i++)
            if (nears[r].range[i].begin <= unit && unit < nears[r].range[i].end)
                return true;
    return false;
}

/* Does some host not hold it? */
static bool is_missing(uint64_t unit)
{
    for (uint32_t r = 0; r < rank_count; r++)
        if (!holds(nears[r].host, unit))
            return true;
    return false;
}

static bool is_held(uint64_t unit)
{
    for (uint32_t r = 0; r < rank_count; r++)
        if (holds(nears[r].host, unit))
            return true;
    return false;
}

static void random_ranges_keep_the_rules(void **state)
{
    uint64_t seed = 1, homes_seen = 0;
    mr__homes homes = {.count = 0};
    for (uint32_t trial = 0; trial < 300; trial++) {
        uint64_t unit = 0;
        rank_count = 1 + trial % RANKS_MOST;
        for (uint32_t r = 0; r < rank_count; r++) {
            uint64_t at = 0;
            nears[r] = (mr__near){.count = 0};
            snprintf(nears[r].host, sizeof nears[r].host, "host-%u", (r * 5 + trial) % 3);
            for (uint32_t i = 0; i < trial % 7 && at < TOTAL; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                mr__range *range = &nears[r].range[nears[r].count];
                range->begin = at + (seed >> 40) % 90;
                range->end = range->begin + 1 + (seed >> 20) % 200;
                range->end = range->end < TOTAL ? range->end : TOTAL;
                at = range->end;
                nears[r].count += range->begin < range->end;
            }
            ranks[r] = (mr__nearby){r, &nears[r]};
        }
        find(1, &homes);
        for (size_t h = 0; h < homes.count; h++) {
            const mr__near_home *home = &homes.list[h];
            assert_true(unit <= home->begin && home->begin < home->end && home->end <= TOTAL);
            for (; unit < home->begin; unit++)
                assert_false(is_held(unit) && is_missing(unit));
            for (; unit < home->end; unit++)
                assert_true(holds(nears[home->rank].host, unit) && is_missing(unit));
        }
        for (; unit < TOTAL; unit++)
            assert_false(is_held(unit) && is_missing(unit));
        homes_seen += homes.count;
    }
    assert_true(homes_seen > 300);
    mr__free(homes.list);
}

static void homes_without_memory_fail_with_a_sentence(void **state)
{
    for (uint32_t nth = 1;; nth++) {
        mr__homes homes = {.count = 0};
        mr__error error = {.text = ""};
        say("a 480-960|a|b 0-480");
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__homes_find(ranks, rank_count, TOTAL, 1, &homes, &error);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        mr__free(homes.list);
        assert_int_equal(status, fired ? MR_NO_MEMORY : MR_OK);
        assert_true(fired == (error.text[0] != '\0'));
        if (!fired) {
            assert_true(nth > 4);
            break;
        }
    }
}

static void the_ledger_gives_what_is_near_first(void **state)
{
    mr__ledger *ledger;
    mr__homes homes = {.count = 0};
    mr__error error = {.text = ""};
    mr__work work;
    bool found = true;
    say("a 480-960|a|b 0-480|b");
    find(1, &homes);
    assert_int_equal(mr__ledger_create(TOTAL, 4, 4, 1, &ledger, &error), MR_OK);
    assert_int_equal(mr__homes_set(&homes, ledger, &error), MR_OK);
    const uint64_t begins[] = {480, 720, 0, 240};
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(mr__ledger_give(ledger, r, 0, &work, &found, &error), MR_OK);
        assert_true(found);
        assert_int_equal(work.begin, begins[r]);
    }
    while (found)           /* in turn, all that a host gets is what it holds */
        for (uint32_t r = 0; r < 4 && found; r++) {
            assert_int_equal(mr__ledger_check(ledger, &error), MR_OK);
            assert_int_equal(mr__ledger_give(ledger, r, 0, &work, &found, &error), MR_OK);
            if (found && mr__ledger_left(ledger) > TOTAL / 8)
                assert_true(r < 2 ? work.begin >= 480 : work.end <= 480);
        }
    mr__ledger_destroy(ledger);
    mr__free(homes.list);
}

static void a_message_brings_it_or_is_broken(void **state)
{
    mr__near got;
    mr__writing to = {.size = 0};
    say("host-1 0-10 10-20 900-960");
    mr__near_write(&nears[0], &to);
    assert_false(to.broken);
    mr__reading whole = {to.bytes, to.bytes + to.size, false};
    assert_true(mr__near_read(&whole, TOTAL, &got));
    assert_ptr_equal(whole.at, whole.end);
    assert_string_equal(got.host, "host-1");
    assert_int_equal(got.count, 3);
    assert_memory_equal(got.range, nears[0].range, 3 * sizeof got.range[0]);
    for (size_t size = 0; size < to.size; size++) {
        mr__reading cut = {to.bytes, to.bytes + size, false};
        assert_false(mr__near_read(&cut, TOTAL, &got));
        assert_int_equal(got.count, 0);
    }
    mr__reading beyond = {to.bytes, to.bytes + to.size, false};
    assert_false(mr__near_read(&beyond, TOTAL - 1, &got));
    mr__free(to.bytes);
    static const char *const wrong[] = {"a 10-10", "a 20-10", "a 10-30 20-40", "a 10-20 5-8"};
    for (size_t i = 0; i < MR__COUNT(wrong); i++) {
        to = (mr__writing){.size = 0};
        say(wrong[i]);
        mr__near_write(&nears[0], &to);
        mr__reading in = {to.bytes, to.bytes + to.size, false};
        assert_false(mr__near_read(&in, TOTAL, &got));
        mr__free(to.bytes);
    }
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

enum { FLEET = 4, NOTHING_YET = -1 };

static mr__near_stub stubs[FLEET];
static _Atomic int64_t first_row[FLEET];
static _Atomic uint32_t begun;
static bool alone;              /* a rank of them dies: nobody waits for the others */

static bool stub_holds(const mr__near_stub *stub, uint64_t begin, uint64_t end)
{
    return stub->begin <= begin && end <= stub->end;
}

static void put_stub(struct ship *ship, mr_job *job)
{
    (void)job;
    ship->session->near_stub = &stubs[ship->rank];
}

/* Nobody maps a second block before all have their first: so none can have taken the other's. */
static mr_status note_first(struct ship *ship, const mr_block *block)
{
    int64_t nothing = NOTHING_YET;
    if (atomic_compare_exchange_strong(&first_row[ship->rank], &nothing, (int64_t)block->first_row))
        atomic_fetch_add(&begun, 1);
    while (!alone && atomic_load(&begun) < ship->convoy->ranks)
        usleep(100);
    return MR_OK;
}

/* As srun leaves it. */
static void put_launcher(struct ship *ship, mr_job *job)
{
    (void)job;
    ship->session->launch = (mr__launch){.by = MR__LAUNCHED_BY_SLURM, .rank = ship->rank, .size = FLEET,
                                         .local_size = 1};
}

static void sail(struct convoy *convoy, const char *name)
{
    convoy->ranks = FLEET;
    convoy->alter = convoy->alter != NULL ? convoy->alter : put_stub;
    convoy->on_map = note_first;
    begun = 0;
    for (uint32_t r = 0; r < FLEET; r++)
        first_row[r] = NOTHING_YET;
    voyage_sail(voyage_named(name), convoy);
}

/* Hosts and what they hold, in blocks; the rows that ranks begin with, in quarters of the input. */
static const struct {
    const char *what;
    mr__near_stub stub[FLEET];
    int64_t quarter[FLEET];
} fleets[] = {
#define ON(h, b, e) {.host = h, .step = 1, .holds = stub_holds, .begin = b, .end = e}
    {"each host holds the other half", {ON("a", 75, 150), ON("a", 75, 150), ON("b", 0, 75), ON("b", 0, 75)},
     {2, 3, 0, 1}},
    {"hosts in turn", {ON("a", 75, 150), ON("b", 0, 75), ON("a", 75, 150), ON("b", 0, 75)}, {2, 0, 3, 1}},
    {"one host", {ON("a", 75, 150), ON("a", 75, 150), ON("a", 0, 75), ON("a", 0, 75)}, {0, 1, 2, 3}},
    {"all hold all", {ON("a", 0, 150), ON("b", 0, 150), ON("c", 0, 150), ON("d", 0, 150)}, {0, 1, 2, 3}},
    {"nobody holds anything", {ON("a", 0, 0), ON("b", 0, 0), ON("c", 0, 0), ON("d", 0, 0)}, {0, 1, 2, 3}},
};

static void ranks_begin_with_what_is_near(void **state)
{
    const int64_t rows = 9600;
    for (size_t f = 0; f < MR__COUNT(fleets); f++) {
        struct convoy convoy = {.ranks = 0};
        memcpy(stubs, fleets[f].stub, sizeof stubs);
        alone = false;
        sail(&convoy, "count");
        for (uint32_t r = 0; r < FLEET; r++) {
            const int64_t least = fleets[f].quarter[r] * rows / 4;
            if (first_row[r] + 64 <= least || first_row[r] > least + 64)
                fail_msg("%s: rank %u began with row %ld", fleets[f].what, r, (long)first_row[r]);
        }
    }
}

/* The homes are found again, from the accounts of who is left: also when those of the coordinator are lost. */
static void a_loss_changes_no_result(void **state)
{
    static const char *const names[] = {"count", "order", "centres"};
    memcpy(stubs, fleets[0].stub, sizeof stubs);
    alone = true;
    for (size_t n = 0; n < MR__COUNT(names); n++)
        for (uint32_t rank = 0; rank < FLEET; rank += 3) {
            struct convoy convoy = {.strikes = {{.rank = rank, .how = CONVOY_CRASH, .kind = CONVOY_ANY_KIND,
                                                 .nth = 12}}};
            sail(&convoy, names[n]);
        }
}

/* What is really there is looked at; all of these ranks have the same. */
static void looking_changes_no_result(void **state)
{
    static const char *const names[] = {"count", "words", "files", "range", "centres"};
    alone = true;
    for (size_t n = 0; n < MR__COUNT(names); n++) {
        struct convoy convoy = {.alter = put_launcher};
        sail(&convoy, names[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(homes_are_where_memory_is),
        cmocka_unit_test(random_ranges_keep_the_rules),
        cmocka_unit_test(homes_without_memory_fail_with_a_sentence),
        cmocka_unit_test(the_ledger_gives_what_is_near_first),
        cmocka_unit_test(a_message_brings_it_or_is_broken),
        cmocka_unit_test(ranks_begin_with_what_is_near),
        cmocka_unit_test(a_loss_changes_no_result),
        cmocka_unit_test(looking_changes_no_result),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
