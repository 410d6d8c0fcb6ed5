/* test_courier.c: what is posted arrives, in order of its path; nothing is overslept; leaving is no loss; calls fail.
 * Oracle: the numbers that each poster gives its messages (fleet.h), and the mesh's own counts. */
#include "cmocka_all.h"

#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "fleet.h"

enum { RANKS = 6, POSTERS = 3, EACH = 400, WAKES = 10000, ROOM = 1 << 20 };

static struct fleet ships;

static uint32_t received(uint32_t rank, uint32_t from)
{
    return atomic_load(&ships.members[rank].received[from]);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

struct poster {
    uint32_t rank, number, posted[RANKS], failed;
};

static void *post_many(void *argument)
{
    struct poster *poster = argument;
    unsigned seed = poster->rank * 100 + poster->number;
    for (uint32_t i = 0; i < EACH; i++) {
        const uint32_t to = (uint32_t)rand_r(&seed) % RANKS;
        const mr__path path = rand_r(&seed) % 2 == 0 ? MR__CONTROL : MR__BULK;
        const size_t size = rand_r(&seed) % 50 == 0 ? 200000 : (size_t)rand_r(&seed) % 2000;
        poster->failed += fleet_post(&ships, poster->rank, poster->number, to, path, size) != MR_OK;
        poster->posted[to]++;
        if (rand_r(&seed) % 20 == 0)
            usleep(100);
    }
    return NULL;
}

static void test_everything_arrives_in_order(void **state)
{
    static struct poster posters[RANKS][POSTERS];
    pthread_t threads[RANKS][POSTERS];
    memset(posters, 0, sizeof posters);
    fleet_start(&ships, RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        for (uint32_t p = 0; p < POSTERS; p++) {
            posters[r][p] = (struct poster){.rank = r, .number = p};
            assert_int_equal(pthread_create(&threads[r][p], NULL, post_many, &posters[r][p]), 0);
        }
    }
    for (uint32_t r = 0; r < RANKS; r++) {
        for (uint32_t p = 0; p < POSTERS; p++) {
            pthread_join(threads[r][p], NULL);
            assert_int_equal(posters[r][p].failed, 0);
        }
    }
    for (uint32_t r = 0; r < RANKS; r++) {
        for (uint32_t to = 0; to < RANKS; to++) {
            uint32_t posted = 0;
            for (uint32_t p = 0; p < POSTERS; p++)
                posted += posters[r][p].posted[to];
            assert_true(posted > 0);
            EVENTUALLY(received(to, r) == posted);
            EVENTUALLY(mr__courier_pending(ships.members[r].courier, MR__BULK, to) == 0 &&
                       mr__courier_pending(ships.members[r].courier, MR__CONTROL, to) == 0);
        }
    }
    fleet_end(&ships);
}

static void test_control_overtakes_bulk(void **state)
{
    enum { COUNT = 100, SIZE = 65536, WHOLE = SIZE + 20 };
    fleet_start(&ships, 2);
    mr__courier *courier = ships.members[0].courier;
    mesh_cut(ships.mesh, MR__BULK, 0, 1, true);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(fleet_post(&ships, 0, 0, 1, MR__BULK, SIZE), MR_OK);
    assert_int_equal(fleet_post(&ships, 0, 0, 1, MR__CONTROL, 10), MR_OK);
    EVENTUALLY(received(1, 0) == 1);
    assert_int_equal(atomic_load(&ships.members[1].control), 1);
    /* the rest waits, most of it with the courier */
    EVENTUALLY(mesh_unsent(ships.mesh, MR__BULK, 0, 1) >= ROOM);
    assert_true(mesh_unsent(ships.mesh, MR__BULK, 0, 1) <= ROOM + WHOLE);
    assert_int_equal(mr__courier_pending(courier, MR__BULK, 1), COUNT * WHOLE);
    EVENTUALLY(mr__courier_pending(courier, MR__CONTROL, 1) == 0);
    mesh_cut(ships.mesh, MR__BULK, 0, 1, false);
    EVENTUALLY(received(1, 0) == COUNT + 1);
    EVENTUALLY(mr__courier_pending(courier, MR__BULK, 1) == 0);
    fleet_end(&ships);
}

static void test_messages_on_a_slow_link_keep_their_order(void **state)
{
    fleet_start(&ships, 3);
    mesh_delay(ships.mesh, 0, 1, FLEET_DEADLINE / 2);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(fleet_post(&ships, 0, 0, 1, i % 2 == 0 ? MR__CONTROL : MR__BULK, 100), MR_OK);
        mesh_delay(ships.mesh, 0, 1, FLEET_DEADLINE / 2 - i * 1000000);
    }
    EVENTUALLY(received(1, 0) == 50);
    assert_true(fleet_agrees(&ships));
    fleet_end(&ships);
}

static void test_bad_posts_are_refused(void **state)
{
    mr__error error = {.code = MR_OK};
    fleet_start(&ships, 2);
    mr__courier *courier = ships.members[0].courier;
    assert_int_equal(mr__courier_post(courier, MR__BULK, 2, MR__TAG_FIRST, "x", 1, NULL, 0, &error), MR_INTERNAL);
    assert_non_null(strstr(error.text, "rank 2"));
    mr__error_clear(&error);
    assert_int_equal(mr__courier_post(courier, MR__BULK, 1, MR__TAG_FIRST - 1, "x", 1, NULL, 0, &error), MR_INTERNAL);
    assert_non_null(strstr(error.text, "tag 15"));
    mr__error_clear(&error);
    assert_int_equal(mr__courier_post(courier, MR__BULK, 1, MR__TAG_FIRST, "x", 1, "y", MR__MESSAGE_MOST, &error),
                     MR_INTERNAL);
    assert_non_null(strstr(error.text, "67108865"));
    assert_int_equal(mr__courier_pending(courier, MR__BULK, 1), 0);
    fleet_end(&ships);
}

static void test_an_idle_rank_sends_beats_to_its_next_and_to_nobody_else(void **state)
{
    fleet_start(&ships, RANKS);
    fleet_settle(&ships);
    for (uint32_t r = 0; r < RANKS; r++) {
        for (uint32_t to = 0; to < RANKS; to++)
            assert_int_equal(mesh_sent(ships.mesh, r, to) > 0, to == (r + 1) % RANKS);
    }
    fleet_end(&ships);
}

/* ---- leaving ----------------------------------------------------------------------------------------------------- */

static void test_who_leaves_is_not_lost(void **state)
{
    enum { COUNT = 40 };
    fleet_start(&ships, 4);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(fleet_post(&ships, 0, 0, 1 + i % 3, i % 2 == 0 ? MR__BULK : MR__CONTROL, 100000), MR_OK);
    mr__courier_stop(ships.members[0].courier, (uint64_t)60 * 1000000000);
    ships.members[0].stopped = true;
    for (uint32_t r = 1; r < 4; r++) {
        assert_int_equal(received(r, 0), COUNT / 3 + (r - 1 < COUNT % 3));      /* what was posted before has come */
        assert_false(mr__courier_alive(ships.members[r].courier, 0));
        assert_int_equal(mr__courier_lowest(ships.members[r].courier), 1);
        assert_int_equal(mr__courier_post(ships.members[r].courier, MR__BULK, 0, MR__TAG_FIRST, "x", 1, NULL, 0, NULL),
                         MR_OK);
        EVENTUALLY(mr__courier_pending(ships.members[r].courier, MR__BULK, 0) == 0);
    }
    fleet_kill(&ships, 2, MESH_SILENT);     /* the others go on as ever */
    EVENTUALLY(fleet_agrees(&ships));
    assert_int_equal(fleet_post(&ships, 1, 0, 3, MR__BULK, 10), MR_OK);
    EVENTUALLY(received(3, 1) == 1);
    fleet_end(&ships);
}

static void *leave(void *argument)
{
    mr__courier_stop(((struct member *)argument)->courier, (uint64_t)60 * 1000000000);
    return NULL;
}

static void test_all_leave_at_once(void **state)
{
    pthread_t threads[RANKS];
    for (uint32_t round = 0; round < 20; round++) {
        const uint64_t begin = mr__now_ns();
        fleet_start(&ships, RANKS);
        for (uint32_t r = 0; r < RANKS; r++)
            assert_int_equal(fleet_post(&ships, r, 0, (r + 2) % RANKS, MR__BULK, 1000), MR_OK);
        for (uint32_t r = 0; r < RANKS; r++)
            assert_int_equal(pthread_create(&threads[r], NULL, leave, &ships.members[r]), 0);
        for (uint32_t r = 0; r < RANKS; r++) {
            pthread_join(threads[r], NULL);
            ships.members[r].stopped = true;
        }
        for (uint32_t r = 0; r < RANKS; r++) {
            assert_int_equal(atomic_load(&ships.members[r].expelled), 0);
            for (uint32_t other = 0; other < RANKS; other++)
                assert_int_equal(atomic_load(&ships.members[r].lost[other]), 0);
        }
        fleet_end(&ships);
        assert_true(mr__now_ns() - begin < (uint64_t)50 * 1000000000);      /* nobody ran out of patience */
    }
}

static void test_who_leaves_without_patience_is_not_lost(void **state)
{
    fleet_start(&ships, 3);
    fleet_settle(&ships);
    mesh_cut(ships.mesh, MR__BULK, 2, 0, true);
    assert_int_equal(fleet_post(&ships, 2, 0, 0, MR__BULK, 10), MR_OK);
    mr__courier_stop(ships.members[2].courier, 0);
    ships.members[2].stopped = true;
    for (uint32_t r = 0; r < 2; r++) {
        EVENTUALLY(!mr__courier_alive(ships.members[r].courier, 2));
        assert_int_equal(atomic_load(&ships.members[r].lost[2]), 0);
    }
    assert_true(fleet_agrees(&ships));
    fleet_end(&ships);
}

/* ---- one rank ---------------------------------------------------------------------------------------------------- */

struct loner {
    mr__courier *courier;
    sem_t heard;
    _Atomic uint32_t messages, ticks, sum, wrong;
};

static mr_status open_local(void *how, mr__comm **comm, mr__error *error)
{
    return mr__comm_open_local(comm, error);
}

static void hear(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct loner *loner = context;
    uint32_t number = 0;
    if (size == sizeof number)
        memcpy(&number, bytes, size);
    atomic_fetch_add(&loner->wrong, from != 0 || size != sizeof number);
    atomic_fetch_add(&loner->sum, number);
    atomic_fetch_add(&loner->messages, 1);
    sem_post(&loner->heard);
}

static void not_lost(void *context, uint32_t rank, const char *why)
{
    atomic_fetch_add(&((struct loner *)context)->wrong, 1);
}

static void not_expelled(void *context, const char *why)
{
    atomic_fetch_add(&((struct loner *)context)->wrong, 1);
}

static void count_tick(void *context, uint64_t now_ns)
{
    struct loner *loner = context;
    atomic_fetch_add(&loner->ticks, 1);
    if (mr__courier_check(loner->courier, NULL) != MR_OK)
        atomic_fetch_add(&loner->wrong, 1);
}

static mr_status start_loner(struct loner *loner, uint64_t tick_ns, mr__error *error)
{
    const mr__courier_options options = {.tick_ns = tick_ns};
    const mr__courier_events events = {loner, hear, not_lost, not_expelled, count_tick};
    memset(loner, 0, sizeof *loner);
    sem_init(&loner->heard, 0, 0);
    return mr__courier_start(open_local, NULL, &options, &events, &loner->courier, error);
}

static void test_no_post_is_overslept(void **state)
{
    static struct loner loner;
    unsigned seed = 1;
    uint32_t sum = 0;
    /* the next tick is an hour away: nothing but the post wakes it */
    assert_int_equal(start_loner(&loner, (uint64_t)3600 * 1000000000, NULL), MR_OK);
    for (uint32_t i = 0; i < WAKES; i++) {
        struct timespec until;
        assert_int_equal(mr__courier_post(loner.courier, (mr__path)(i % 2), 0, MR__TAG_FIRST, &i, sizeof i, NULL, 0,
                                          NULL),
                         MR_OK);
        sum += i;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 60;
        assert_int_equal(sem_timedwait(&loner.heard, &until), 0);
        /* it falls asleep after some 80 us: post before, after, and about then */
        const uint64_t begin = mr__now_ns(), pause = (uint64_t)rand_r(&seed) % 160000;
        while (mr__now_ns() - begin < pause)
            sched_yield();
    }
    assert_int_equal(atomic_load(&loner.messages), WAKES);
    assert_int_equal(atomic_load(&loner.sum), sum);
    mr__courier_stop(loner.courier, 1000000000);
    assert_int_equal(atomic_load(&loner.wrong), 0);
    sem_destroy(&loner.heard);
}

static void test_ticks_go_on_and_one_rank_is_never_expelled(void **state)
{
    static struct loner loner;
    assert_int_equal(start_loner(&loner, 1000000, NULL), MR_OK);
    assert_true(mr__courier_alive(loner.courier, 0));
    assert_int_equal(mr__courier_lowest(loner.courier), 0);
    mr__courier_declare_lost(loner.courier, 0, "nonsense");
    mr__courier_declare_lost(loner.courier, 7, "nonsense");
    EVENTUALLY(atomic_load(&loner.ticks) >= 20);
    mr__courier_stop(loner.courier, 0);
    assert_int_equal(atomic_load(&loner.wrong), 0);
    sem_destroy(&loner.heard);
    mr__courier_stop(NULL, 0);
}

/* Nothing but the presets. */
static void test_two_ranks_live_by_the_clock_of_the_machine(void **state)
{
    static struct loner loners[2];
    struct mesh *mesh = mesh_create(2);
    struct mesh_seat seats[2] = {{mesh, 0}, {mesh, 1}};
    const uint32_t number = 3;
    assert_non_null(mesh);
    for (uint32_t r = 0; r < 2; r++) {
        const mr__courier_events events = {&loners[r], hear, not_lost, not_expelled, NULL};
        memset(&loners[r], 0, sizeof loners[r]);
        sem_init(&loners[r].heard, 0, 0);
        assert_int_equal(mr__courier_start(mesh_open, &seats[r], NULL, &events, &loners[r].courier, NULL), MR_OK);
    }
    EVENTUALLY(mesh_sent(mesh, 0, 1) >= 3 && mesh_sent(mesh, 1, 0) >= 3);
    assert_int_equal(mr__courier_post(loners[0].courier, MR__BULK, 1, MR__TAG_FIRST, NULL, 0, &number, sizeof number,
                                      NULL),
                     MR_OK);
    for (uint32_t r = 0; r < 2; r++)
        mr__courier_stop(loners[r].courier, (uint64_t)60 * 1000000000);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(atomic_load(&loners[r].wrong), 0);
        assert_int_equal(atomic_load(&loners[r].sum), r * number);
        sem_destroy(&loners[r].heard);
    }
    mesh_destroy(mesh);
}

/* ---- failing calls ----------------------------------------------------------------------------------------------- */

static mr_status cannot_open(void *how, mr__comm **comm, mr__error *error)
{
    return mr__fail(error, MR_NETWORK_FAILED, "no network on node7");
}

static void test_what_cannot_be_opened_is_told(void **state)
{
    const mr__courier_events events = {NULL, hear, not_lost, not_expelled, NULL};
    mr__courier *const untouched = (mr__courier *)&state;
    mr__courier *courier = untouched;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__courier_start(cannot_open, NULL, NULL, &events, &courier, &error), MR_NETWORK_FAILED);
    assert_ptr_equal(courier, untouched);
    assert_string_equal(error.text, "no network on node7");
}

static void test_without_memory_nothing_is_started_or_posted(void **state)
{
    static struct loner loner;
    mr__courier *const untouched = (mr__courier *)&state;
    const mr__courier_events events = {&loner, hear, not_lost, not_expelled, NULL};
    const uint32_t number = 5;
    for (uint32_t nth = 1;; nth++) {
        mr__courier *courier = untouched;
        mr__error error = {.code = MR_OK};
        memset(&loner, 0, sizeof loner);
        sem_init(&loner.heard, 0, 0);
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status started = mr__courier_start(open_local, NULL, NULL, &events, &courier, &error);
        mr_status posted = MR_OK;
        if (started == MR_OK) {
            posted = mr__courier_post(courier, MR__BULK, 0, MR__TAG_FIRST, &number, sizeof number, NULL, 0, &error);
            mr__courier_stop(courier, (uint64_t)60 * 1000000000);
        } else {
            assert_ptr_equal(courier, untouched);
        }
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        assert_int_equal(fired, started != MR_OK || posted != MR_OK);
        assert_int_equal(atomic_load(&loner.messages), fired ? 0 : 1);
        if (!fired)
            break;
        assert_int_equal(started != MR_OK ? started : posted, MR_NO_MEMORY);
        assert_string_not_equal(error.text, "");
    }
}

/* A comm without memory is asked again: what was posted arrives, and nobody is taken for lost. */
static void test_a_send_without_memory_is_tried_again(void **state)
{
    enum { COUNT = 10 };
    uint32_t fired = 0;
    for (uint32_t nth = 1; nth <= 60; nth++) {
        fleet_start(&ships, 3);
        uint32_t posted = 0;
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        for (uint32_t i = 0; i < COUNT; i++)
            posted += fleet_post(&ships, 0, 0, 1, i % 2 == 0 ? MR__BULK : MR__CONTROL, 100) == MR_OK;
        assert_true(posted >= COUNT - 1);
        EVENTUALLY(received(1, 0) == posted);
        EVENTUALLY(mr__fault_fired());      /* the beats go on */
        fired += posted == COUNT;
        assert_true(fleet_agrees(&ships));
        fleet_end(&ships);
    }
    assert_true(fired > 0);                 /* some sweeps hit the comm, not the post */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_arrives_in_order),
        cmocka_unit_test(test_control_overtakes_bulk),
        cmocka_unit_test(test_messages_on_a_slow_link_keep_their_order),
        cmocka_unit_test(test_bad_posts_are_refused),
        cmocka_unit_test(test_an_idle_rank_sends_beats_to_its_next_and_to_nobody_else),
        cmocka_unit_test(test_who_leaves_is_not_lost),
        cmocka_unit_test(test_all_leave_at_once),
        cmocka_unit_test(test_who_leaves_without_patience_is_not_lost),
        cmocka_unit_test(test_no_post_is_overslept),
        cmocka_unit_test(test_ticks_go_on_and_one_rank_is_never_expelled),
        cmocka_unit_test(test_two_ranks_live_by_the_clock_of_the_machine),
        cmocka_unit_test(test_what_cannot_be_opened_is_told),
        cmocka_unit_test(test_without_memory_nothing_is_started_or_posted),
        cmocka_unit_test(test_a_send_without_memory_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
