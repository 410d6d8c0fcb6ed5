/* test_carry_threads.c: pairs between ranks with real carriers, and a thread for each lane and each courier; ranks die
 * while all of them run. Oracle: as test_carry.c; ThreadSanitizer sees the rest. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "carry_fleet.h"

enum { SEEDS = 12, PATIENCE_S = 120, MS = 1000000 };

struct crew {
    struct fleet *fleet;
    pthread_t couriers[FLEET_MOST], lanes[FLEET_MOST][FLEET_LANES];
    _Atomic bool over;
};

struct seat {                       /* of a thread */
    struct crew *crew;
    struct node *node;
    struct lane *lane;
};

static bool is_over(const struct seat *seat)
{
    return atomic_load(&seat->crew->over) || atomic_load(&seat->crew->fleet->dead[seat->node->rank]);
}

static void *run_lane(void *argument)
{
    struct seat *seat = argument;
    for (unsigned turn = 0; !is_over(seat); turn++) {
        if (!fleet_map(seat->lane, 1 + turn % 5))
            usleep(200);
        if (turn % 23 == 0)
            fleet_make_room(seat->lane, 8 * FLEET_CHUNK);
        if (turn % 50 == 0)
            fleet_close(seat->lane);
    }
    free(seat);
    return NULL;
}

static void *run_courier(void *argument)
{
    struct seat *seat = argument;
    struct fleet *fleet = seat->crew->fleet;
    while (!is_over(seat)) {
        bool moved = false;
        for (uint32_t from = 0; from < fleet->ranks; from++)
            for (mr__path path = MR__CONTROL; path < MR__PATHS; path++) {
                pthread_mutex_lock(&seat->node->courier);
                if (!seat->node->forgot[from])
                    moved |= fleet_deliver(fleet, from, seat->node->rank, path);
                pthread_mutex_unlock(&seat->node->courier);
            }
        pthread_mutex_lock(&seat->node->courier);
        moved |= fleet_apply(seat->node);
        pthread_mutex_unlock(&seat->node->courier);
        if (!moved)
            usleep(100);
    }
    free(seat);
    return NULL;
}

static pthread_t begin(struct crew *crew, struct node *node, struct lane *lane)
{
    pthread_t thread;
    struct seat *seat = malloc(sizeof *seat);
    assert_non_null(seat);
    *seat = (struct seat){crew, node, lane};
    assert_int_equal(pthread_create(&thread, NULL, lane != NULL ? run_lane : run_courier, seat), 0);
    return thread;
}

static void wait_until_done(const struct crew *crew, unsigned seed)
{
    const uint64_t end = mr__now_ns() + (uint64_t)PATIENCE_S * 1000000000u;
    for (uint32_t done = 0; done < 3; done = fleet_is_done(crew->fleet) ? done + 1 : 0) {
        if (mr__now_ns() > end)
            fail_msg("seed %u: it does not end", seed);
        usleep(500);
    }
}

static void sail(unsigned seed)
{
    unsigned random = seed * 2654435761u;
    struct crew crew = {.over = false};
    const uint32_t ranks = 2 + (uint32_t)rand_r(&random) % 3;
    setenv("MILLRACE_LZ4", seed % 2 == 0 ? "1" : "0", 1);
    crew.fleet = fleet_create(ranks, 1000, seed % 3 == 0 ? 3 << 20 : UINT64_MAX / 2,
                              seed % 4 == 0 ? 16384 : FLEET_CHUNK, true);
    for (uint32_t r = 0; r < ranks; r++) {
        struct node *node = &crew.fleet->nodes[r];
        crew.couriers[r] = begin(&crew, node, NULL);
        for (uint32_t l = 0; l < FLEET_LANES; l++)
            crew.lanes[r][l] = begin(&crew, node, &node->lanes[l]);
    }
    uint32_t kills = (uint32_t)rand_r(&random) % ranks;
    for (uint32_t victim = (uint32_t)rand_r(&random); kills > 0; kills--, victim++) {
        usleep((useconds_t)rand_r(&random) % 20000);
        fleet_kill(crew.fleet, victim % ranks);
        usleep((useconds_t)rand_r(&random) % 2000);
        fleet_change(crew.fleet);
    }
    wait_until_done(&crew, seed);
    fleet_check(crew.fleet);
    atomic_store(&crew.over, true);
    for (uint32_t r = 0; r < ranks; r++) {
        pthread_join(crew.couriers[r], NULL);
        for (uint32_t l = 0; l < FLEET_LANES; l++)
            pthread_join(crew.lanes[r][l], NULL);
    }
    fleet_verify(crew.fleet, seed);
    fleet_destroy(crew.fleet, true);
}

static void test_every_pair_comes_to_its_owner_once_with_threads(void **state)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++)
        sail(seed);
}

static void test_an_idle_carrier_costs_nothing(void **state)
{
    struct fleet *fleet = fleet_create(2, 1, UINT64_MAX / 2, FLEET_CHUNK, true);
    uint64_t least = UINT64_MAX;
    usleep(20000);
    /* a virtual processor that is away counts as used: one quiet while of a few is enough */
    for (uint32_t i = 0; i < 5 && least >= 20 * MS; i++) {
        const uint64_t before = mr__clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        usleep(200000);
        const uint64_t spent = mr__clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
        least = spent < least ? spent : least;
    }
    assert_true(least < 20 * MS);
    fleet_destroy(fleet, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_comes_to_its_owner_once_with_threads),
        cmocka_unit_test(test_an_idle_carrier_costs_nothing),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
