/* test_carry.c: pairs between ranks, step by step: a seed says who does what next, what arrives when, and who dies.
 * Oracle: it is known how many pairs each unit of the input has for each partition; each is to lie at the partition's
 * owner, once. For every third seed what travels is packed. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "carry_fleet.h"

enum { SEEDS = 320, STEPS_MOST = 400000 };

static uint32_t random_below(unsigned *random, uint32_t limit)
{
    return (uint32_t)rand_r(random) % limit;
}

struct course {             /* of one seed */
    struct fleet *fleet;
    unsigned seed, random;
    uint32_t kills;                 /* still to come */
    uint32_t next_kill;             /* steps until then */
    bool changing;                  /* somebody died, and there was no view since */
};

static void kill_somebody(struct course *run)
{
    uint32_t victim;
    do
        victim = random_below(&run->random, run->fleet->ranks);
    while (atomic_load(&run->fleet->dead[victim]));
    fleet_kill(run->fleet, victim);
    run->kills--;
    run->next_kill = 1 + random_below(&run->random, run->seed % 3 == 0 ? 60 : 3000);
    run->changing = true;
}

static void turn(struct node *of)
{
    mr__error error = {.text = ""};
    mr__carried carried;
    if (mr__carrier_turn(of->carrier, &carried, &error) != MR_OK)
        fail_msg("rank %u: %s", of->rank, error.text);
}

static void step(struct course *run)
{
    struct fleet *fleet = run->fleet;
    unsigned *random = &run->random;
    const uint32_t rank = random_below(random, fleet->ranks), other = random_below(random, fleet->ranks);
    struct node *of = &fleet->nodes[rank];
    struct lane *lane = &of->lanes[random_below(random, FLEET_LANES)];
    if (run->kills > 0 && --run->next_kill == 0)
        kill_somebody(run);
    if (run->changing && random_below(random, 20) == 0) {
        fleet_change(fleet);
        run->changing = false;
    }
    if (atomic_load(&fleet->dead[rank]))
        return;
    switch (random_below(random, 16)) {
    case 0:
    case 1:
    case 2:
        fleet_map(lane, random_below(random, 8));
        break;
    case 3:
        if (random_below(random, 4) == 0)
            fleet_close(lane);
        break;
    case 4:
        if (random_below(random, 64) == 0)
            fleet_make_room(lane, random_below(random, 20 * FLEET_CHUNK));
        break;
    case 5:
        if (random_below(random, 4) == 0)
            fleet_apply(of);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
        turn(of);
        break;
    default:
        /* what the dead sent may still arrive until it is known that they are */
        if (!of->forgot[other])
            fleet_deliver(fleet, other, rank, random_below(random, 2) == 0 ? MR__CONTROL : MR__BULK);
        break;
    }
}

static void sail(unsigned seed, uint64_t limit)
{
    struct course run = {.seed = seed, .random = seed * 2654435761u};
    const uint32_t ranks = 1 + random_below(&run.random, FLEET_MOST);
    setenv("MILLRACE_LZ4", seed % 3 == 0 ? "1" : "0", 1);
    run.fleet = fleet_create(ranks, 20 + random_below(&run.random, 300), limit,
                             seed % 4 == 0 ? 16384 : FLEET_CHUNK, false);
    run.kills = ranks > 1 ? random_below(&run.random, ranks) : 0;
    run.next_kill = 1 + random_below(&run.random, 4000);
    uint32_t steps = 0;
    while (run.kills > 0 || run.changing || !fleet_is_done(run.fleet)) {
        step(&run);
        if (steps++ % 64 == 0)
            fleet_check(run.fleet);
        if (steps > STEPS_MOST)
            fail_msg("seed %u: it does not end", seed);
    }
    fleet_check(run.fleet);
    fleet_verify(run.fleet, seed);
    fleet_destroy(run.fleet, false);
}

static void test_every_pair_comes_to_its_owner_once(void **state)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++)
        sail(seed, UINT64_MAX / 2);
}

static void test_so_it_does_where_memory_is_short(void **state)
{
    /* two staging buffers of each writer are as much as all the rest */
    for (unsigned seed = 1; seed <= SEEDS / 10; seed++)
        sail(seed, (uint64_t)(seed % 4) << 20 | 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_comes_to_its_owner_once),
        cmocka_unit_test(test_so_it_does_where_memory_is_short),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
