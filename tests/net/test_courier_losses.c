/* test_courier_losses.c: ranks die, stop, and lose sight of each other: the survivors agree on who is left.
 * Oracle: what the test did to the ranks, on the mesh's clock, which no busy machine can hurry (mesh.h). */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "fleet.h"

enum { RANKS = 8 };

static struct fleet ships;

/* Kills with the clock at rest; returns its time. */
static uint64_t kill_at_once(const uint32_t *ranks, size_t count, mesh_death death)
{
    mesh_hold_clock(ships.mesh, true);
    const uint64_t now = mesh_clock(ships.mesh);
    for (size_t i = 0; i < count; i++)
        fleet_kill(&ships, ranks[i], death);
    mesh_hold_clock(ships.mesh, false);
    return now;
}

/* When the last survivor heard of this loss. */
static uint64_t last_heard(uint32_t lost)
{
    uint64_t last = 0;
    for (uint32_t r = 0; r < ships.size; r++) {
        const uint64_t at = atomic_load(&ships.members[r].lost_at[lost]);
        if (fleet_survives(&ships, r) && at > last)
            last = at;
    }
    return last;
}

/* Survivors still talk to each other, on both paths. */
static void assert_they_talk(void)
{
    for (uint32_t from = 0; from < ships.size; from++) {
        for (uint32_t to = 0; to < ships.size; to++) {
            if (!fleet_survives(&ships, from) || !fleet_survives(&ships, to))
                continue;
            const uint32_t before = atomic_load(&ships.members[to].received[from]);
            assert_int_equal(fleet_post(&ships, from, 3, to, MR__BULK, 1000), MR_OK);
            assert_int_equal(fleet_post(&ships, from, 3, to, MR__CONTROL, 10), MR_OK);
            EVENTUALLY(atomic_load(&ships.members[to].received[from]) == before + 2);
        }
    }
}

static void test_a_silent_rank_is_lost_after_the_deadline(void **state)
{
    fleet_start(&ships, 5);
    fleet_settle(&ships);
    const uint64_t killed = kill_at_once((uint32_t[]){2}, 1, MESH_SILENT);
    EVENTUALLY(fleet_agrees(&ships));
    const uint64_t heard = atomic_load(&ships.members[3].lost_at[2]);
    assert_in_range(heard - killed, FLEET_DEADLINE - 2 * FLEET_HEARTBEAT, FLEET_DEADLINE + 4 * FLEET_HEARTBEAT);
    for (uint32_t r = 0; r < 5; r++)
        assert_true(r == 2 || strcmp(ships.members[r].why[2], "it has sent nothing for 0.3 s") == 0);
    assert_they_talk();
    fleet_end(&ships);
}

static void test_a_rank_is_lost_when_a_send_to_it_fails(void **state)
{
    static const mesh_death deaths[] = {MESH_UNREACHABLE, MESH_REFUSES};
    for (size_t i = 0; i < MR__COUNT(deaths); i++) {
        fleet_start(&ships, 5);
        fleet_settle(&ships);
        const uint64_t killed = kill_at_once((uint32_t[]){2}, 1, deaths[i]);
        assert_int_equal(fleet_post(&ships, 4, 0, 2, MR__BULK, 100), MR_OK);
        EVENTUALLY(fleet_agrees(&ships));
        assert_true(last_heard(2) - killed < FLEET_DEADLINE / 2);       /* beats fail, too: no deadline is waited for */
        for (uint32_t r = 0; r < 5; r++)
            assert_true(r == 2 || strstr(ships.members[r].why[2], "it could not be reached: ") != NULL);
        assert_int_equal(fleet_post(&ships, 4, 0, 2, MR__BULK, 100), MR_OK);
        EVENTUALLY(mr__courier_pending(ships.members[4].courier, MR__BULK, 2) == 0);
        assert_they_talk();
        fleet_end(&ships);
    }
}

static void test_the_coordinator_is_lost(void **state)
{
    fleet_start(&ships, 4);
    fleet_settle(&ships);
    kill_at_once((uint32_t[]){0}, 1, MESH_SILENT);
    EVENTUALLY(fleet_agrees(&ships));
    assert_int_equal(mr__courier_lowest(ships.members[3].courier), 1);
    kill_at_once((uint32_t[]){1}, 1, MESH_UNREACHABLE);
    EVENTUALLY(fleet_agrees(&ships));
    assert_int_equal(mr__courier_lowest(ships.members[3].courier), 2);
    assert_they_talk();
    fleet_end(&ships);
}

static void test_many_are_lost_at_once(void **state)
{
    static const struct {
        uint32_t count, ranks[RANKS];
        mesh_death death;
    } cases[] = {
        {2, {2, 3}, MESH_SILENT},      {2, {1, 5}, MESH_SILENT},          {2, {0, 7}, MESH_SILENT},
        {2, {2, 3}, MESH_UNREACHABLE}, {4, {0, 1, 2, 3}, MESH_SILENT},    {4, {4, 5, 6, 7}, MESH_UNREACHABLE},
        {4, {0, 2, 4, 6}, MESH_SILENT}, {6, {0, 1, 3, 4, 6, 7}, MESH_SILENT},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        fleet_start(&ships, RANKS);
        fleet_settle(&ships);
        const uint64_t killed = kill_at_once(cases[c].ranks, cases[c].count, cases[c].death);
        EVENTUALLY(fleet_agrees(&ships));
        for (uint32_t i = 0; i < cases[c].count; i++)       /* however many: two deadlines, and the way around */
            assert_true(last_heard(cases[c].ranks[i]) - killed < 3 * (uint64_t)FLEET_DEADLINE);
        assert_they_talk();
        fleet_end(&ships);
    }
}

static void test_all_but_one_are_lost(void **state)
{
    static const mesh_death deaths[] = {MESH_SILENT, MESH_UNREACHABLE};
    for (size_t d = 0; d < MR__COUNT(deaths); d++) {
        fleet_start(&ships, RANKS);
        fleet_settle(&ships);
        kill_at_once((uint32_t[]){0, 1, 2, 3, 4, 6, 7}, RANKS - 1, deaths[d]);
        EVENTUALLY(fleet_agrees(&ships));
        assert_int_equal(mr__courier_lowest(ships.members[5].courier), 5);
        assert_they_talk();                 /* to itself */
        fleet_end(&ships);
    }
}

static void test_one_after_the_other_is_lost(void **state)
{
    unsigned seed = 5;
    for (uint32_t round = 0; round < 4; round++) {
        fleet_start(&ships, RANKS);
        fleet_settle(&ships);
        for (uint32_t left = RANKS; left > 1; left--) {
            uint32_t victim = (uint32_t)rand_r(&seed) % RANKS;
            while (!fleet_survives(&ships, victim))
                victim = (victim + 1) % RANKS;
            kill_at_once(&victim, 1, rand_r(&seed) % 3 == 0 ? MESH_SILENT : MESH_UNREACHABLE);
            if (rand_r(&seed) % 2 == 0)     /* or the next dies before all know */
                EVENTUALLY(fleet_agrees(&ships));
        }
        EVENTUALLY(fleet_agrees(&ships));
        fleet_end(&ships);
    }
}

static void test_losses_do_not_disturb_the_traffic_of_others(void **state)
{
    enum { COUNT = 300 };
    fleet_start(&ships, 5);
    fleet_settle(&ships);
    for (uint32_t i = 0; i < COUNT; i++) {
        for (uint32_t from = 0; from < 5; from++) {
            if (i == COUNT / 3 && from == 2)
                fleet_kill(&ships, 2, MESH_UNREACHABLE);
            if (i == COUNT / 2 && from == 4)
                fleet_kill(&ships, 0, MESH_SILENT);
            const mr__path path = i % 3 == 0 ? MR__CONTROL : MR__BULK;
            if (fleet_survives(&ships, from))
                assert_int_equal(fleet_post(&ships, from, 0, (from + i) % 5, path, 30000), MR_OK);
        }
    }
    EVENTUALLY(fleet_agrees(&ships));
    for (uint32_t from = 1; from < 5; from++) {
        for (uint32_t to = 1; to < 5; to++) {
            if (fleet_survives(&ships, from) && fleet_survives(&ships, to))
                EVENTUALLY(atomic_load(&ships.members[to].received[from]) == COUNT / 5);
        }
    }
    fleet_end(&ships);
}

/* ---- ranks that are not dead ------------------------------------------------------------------------------------- */

static void test_a_rank_that_was_stopped_for_too_long_is_expelled(void **state)
{
    static const uint64_t deadlines[] = {3, 9, 3};      /* it is told, or it is not and looks at the clock */
    for (uint32_t rank = 0; rank < 3; rank++) {
        fleet_start(&ships, 4);
        fleet_settle(&ships);
        mesh_freeze(ships.mesh, rank, deadlines[rank] * FLEET_DEADLINE);
        for (uint32_t r = 0; r < 4; r++)    /* this waits for it, and must not be heard */
            assert_int_equal(fleet_post(&ships, rank, 0, r, MR__BULK, 100), MR_OK);
        EVENTUALLY(atomic_load(&ships.members[rank].expelled) == 1);
        EVENTUALLY(fleet_agrees(&ships));
        assert_false(mr__courier_alive(ships.members[rank].courier, rank));
        const char *why = deadlines[rank] == 9 ? "was stopped for" : "";
        assert_non_null(strstr(ships.members[rank].expelled_why, why));
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__courier_post(ships.members[rank].courier, MR__BULK, 3, MR__TAG_FIRST, "x", 1, NULL, 0,
                                          &error),
                         MR_NETWORK_FAILED);
        assert_non_null(strstr(error.text, ships.members[rank].expelled_why));
        assert_they_talk();
        fleet_end(&ships);
    }
}

static void test_a_short_stop_or_a_slow_link_is_no_loss(void **state)
{
    fleet_start(&ships, 4);
    fleet_settle(&ships);
    mesh_delay(ships.mesh, 2, 3, FLEET_DEADLINE / 3);
    for (uint32_t i = 0; i < 4; i++) {
        const uint64_t begin = mesh_clock(ships.mesh);
        mesh_freeze(ships.mesh, i, FLEET_DEADLINE / 2);
        EVENTUALLY(mesh_clock(ships.mesh) > begin + FLEET_DEADLINE);
    }
    assert_true(fleet_agrees(&ships));
    assert_they_talk();
    fleet_end(&ships);
}

static void test_who_is_declared_lost_is_expelled(void **state)
{
    fleet_start(&ships, 5);
    fleet_settle(&ships);
    mr__courier_declare_lost(ships.members[1].courier, 3, "it sends nonsense");
    mr__courier_declare_lost(ships.members[1].courier, 3, "it sends nonsense again");
    EVENTUALLY(atomic_load(&ships.members[3].expelled) == 1);
    EVENTUALLY(fleet_agrees(&ships));
    assert_non_null(strstr(ships.members[3].expelled_why, "took rank 3 for lost: it sends nonsense"));
    assert_string_equal(ships.members[0].why[3], "it sends nonsense");
    assert_they_talk();
    fleet_end(&ships);
}

/* Rank 0 tells its neighbour alone and dies. */
static void test_a_loss_gets_around_though_its_teller_dies(void **state)
{
    fleet_start(&ships, 6);
    fleet_settle(&ships);
    for (uint32_t r = 2; r < 6; r++)
        fleet_cut(&ships, 0, r, true);
    mr__courier_declare_lost(ships.members[0].courier, 3, "it sends nonsense");
    EVENTUALLY(atomic_load(&ships.members[1].lost[3]) == 1);
    fleet_kill(&ships, 0, MESH_SILENT);
    EVENTUALLY(atomic_load(&ships.members[3].expelled) == 1);
    EVENTUALLY(fleet_agrees(&ships));
    assert_they_talk();
    fleet_end(&ships);
}

/* The rank is alive; one other rank cannot reach it any more. */
static void test_a_broken_connection_expels_one_of_its_ends(void **state)
{
    fleet_start(&ships, 4);
    fleet_settle(&ships);
    fleet_cut(&ships, 1, 2, true);
    fleet_cut(&ships, 2, 1, true);
    EVENTUALLY(atomic_load(&ships.members[1].expelled) + atomic_load(&ships.members[2].expelled) > 0);
    EVENTUALLY(fleet_agrees(&ships));
    assert_true(fleet_survives(&ships, 0));
    assert_true(fleet_survives(&ships, 3));
    assert_they_talk();
    fleet_end(&ships);
}

/* Both declare the other lost before they hear of it; then the notices cross. */
static void test_of_two_that_lose_each_other_the_lower_stays(void **state)
{
    for (uint32_t round = 0; round < 20; round++) {
        fleet_start(&ships, 2);
        fleet_settle(&ships);
        mesh_hold_clock(ships.mesh, true);
        fleet_cut(&ships, 0, 1, true);
        fleet_cut(&ships, 1, 0, true);
        for (uint32_t r = 0; r < 2; r++) {
            mr__courier_declare_lost(ships.members[r].courier, 1 - r, "out of sight");
            EVENTUALLY(atomic_load(&ships.members[r].lost[1 - r]) == 1);
            EVENTUALLY(mesh_unsent(ships.mesh, MR__CONTROL, r, 1 - r) > 0);
        }
        fleet_cut(&ships, round % 2, 1 - round % 2, false);
        fleet_cut(&ships, 1 - round % 2, round % 2, false);
        EVENTUALLY(atomic_load(&ships.members[1].expelled) == 1);
        mesh_hold_clock(ships.mesh, false);
        EVENTUALLY(fleet_agrees(&ships));
        assert_true(fleet_survives(&ships, 0));
        assert_they_talk();
        fleet_end(&ships);
    }
}

/* One rank is cut off from three others for longer than the deadline; it is the one to go. */
static void test_who_was_cut_off_does_not_expel_the_others(void **state)
{
    fleet_start(&ships, 4);
    fleet_settle(&ships);
    for (uint32_t r = 1; r < 4; r++) {
        fleet_cut(&ships, 0, r, true);
        fleet_cut(&ships, r, 0, true);
    }
    for (uint32_t r = 1; r < 4; r++)
        EVENTUALLY(atomic_load(&ships.members[r].lost[0]) == 1 && atomic_load(&ships.members[0].lost[3]) == 1);
    for (uint32_t r = 1; r < 4; r++) {
        fleet_cut(&ships, 0, r, false);
        fleet_cut(&ships, r, 0, false);
    }
    const uint64_t mended = mesh_clock(ships.mesh);
    EVENTUALLY(mesh_clock(ships.mesh) > mended + 3 * (uint64_t)FLEET_DEADLINE);
    for (uint32_t r = 1; r < 4; r++) {
        assert_true(fleet_survives(&ships, r));
        for (uint32_t other = 1; other < 4; other++)
            assert_true(mr__courier_alive(ships.members[r].courier, other));
    }
    ships.members[0].dead = true;           /* it heard of that, or lives on by itself: nobody listens to it */
    EVENTUALLY(fleet_agrees(&ships));
    assert_they_talk();
    fleet_end(&ships);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_silent_rank_is_lost_after_the_deadline),
        cmocka_unit_test(test_a_rank_is_lost_when_a_send_to_it_fails),
        cmocka_unit_test(test_the_coordinator_is_lost),
        cmocka_unit_test(test_many_are_lost_at_once),
        cmocka_unit_test(test_all_but_one_are_lost),
        cmocka_unit_test(test_one_after_the_other_is_lost),
        cmocka_unit_test(test_losses_do_not_disturb_the_traffic_of_others),
        cmocka_unit_test(test_a_rank_that_was_stopped_for_too_long_is_expelled),
        cmocka_unit_test(test_a_short_stop_or_a_slow_link_is_no_loss),
        cmocka_unit_test(test_who_is_declared_lost_is_expelled),
        cmocka_unit_test(test_a_loss_gets_around_though_its_teller_dies),
        cmocka_unit_test(test_a_broken_connection_expels_one_of_its_ends),
        cmocka_unit_test(test_of_two_that_lose_each_other_the_lower_stays),
        cmocka_unit_test(test_who_was_cut_off_does_not_expel_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
