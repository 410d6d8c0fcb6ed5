/* test_members.c: ranks die at the worst moments, and the survivors agree. Oracle: who was killed is known, and each
 * plan says whom it was made of. */
#include "cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "members.h"
#include "memory.h"
#include "mesh.h"

enum { MOST = 8, TAG = MR__TAG_FIRST + 5, SEEDS = 60 };

static const mr__courier_options base_options = {.deadline_ns = 300000000, .heartbeat_ns = 20000000,
                                                 .tick_ns = 1000000, .clock = mesh_clock};

/* When somebody is killed. */
enum moment { IN_ACCOUNT, IN_DECIDE, IN_APPLY, IN_TICK, MOMENTS };

struct fate {
    enum moment moment;
    uint32_t witness;               /* the rank in whose hook it happens; IN_DECIDE: whoever decides */
    uint32_t countdown;             /* hits of the moment before it does */
    uint32_t victim;                /* MOST: the coordinator of the moment */
    mesh_death death;
};

struct peer {
    struct crowd *crowd;
    struct mesh_seat seat;
    mr__courier *courier;
    _Atomic(mr__members *) members;
    bool proposed;
    uint64_t applied;               /* the courier's thread */
    uint8_t last_plan[MOST];
    size_t last_size;
    _Atomic uint32_t plan;          /* bitmap of the last plan applied */
    _Atomic bool steady, failed;
    char wrong[256];
    _Atomic uint32_t wrongs;
};

struct crowd {
    uint32_t size;
    struct mesh *mesh;
    struct peer peers[MOST];
    _Atomic bool begin;
    _Atomic uint32_t dead;          /* bitmap */
    struct fate fates[MOST];
    uint32_t fate_count;
    _Atomic uint32_t hits[MOST];    /* of each struct fate */
};

__attribute__((format(printf, 2, 3))) static mr_status went_wrong(struct peer *peer, const char *format, ...)
{
    va_list arguments;
    if (atomic_fetch_add(&peer->wrongs, 1) != 0)
        return MR_INTERNAL;
    va_start(arguments, format);
    vsnprintf(peer->wrong, sizeof peer->wrong, format, arguments);
    va_end(arguments);
    return MR_INTERNAL;
}

static bool is_dead(const struct crowd *crowd, uint32_t rank)
{
    return atomic_load(&crowd->dead) >> rank & 1;
}

/* Marks a rank as dead, unless it is the last or was dead before. */
static bool may_die(struct crowd *crowd, uint32_t rank)
{
    uint32_t dead = atomic_load(&crowd->dead), after;
    do {
        after = dead | 1u << rank;
        if (after == dead || (uint32_t)__builtin_popcount(after) == crowd->size)
            return false;
    } while (!atomic_compare_exchange_weak(&crowd->dead, &dead, after));
    return true;
}

/* The fates that wait for this moment take one step. */
static void meet(struct peer *peer, enum moment moment)
{
    struct crowd *crowd = peer->crowd;
    if (is_dead(crowd, peer->seat.rank))
        return;                     /* it goes on by itself, and must not kill others */
    for (uint32_t i = 0; i < crowd->fate_count; i++) {
        const struct fate *fate = &crowd->fates[i];
        if (fate->moment != moment || (moment != IN_DECIDE && fate->witness != peer->seat.rank) ||
            atomic_fetch_add(&crowd->hits[i], 1) != fate->countdown)
            continue;
        const uint32_t victim = fate->victim < crowd->size ? fate->victim : mr__courier_lowest(peer->courier);
        if (may_die(crowd, victim))
            mesh_kill(crowd->mesh, victim, fate->death);
    }
}

static mr_status account(void *context, uint64_t view, mr__packet *account, mr__error *error)
{
    struct peer *peer = context;
    meet(peer, IN_ACCOUNT);
    account->bytes = mr__alloc(sizeof peer->applied + 1);
    if (account->bytes == NULL)
        return mr__fail(error, MR_NO_MEMORY, "no memory for an account");
    memcpy(account->bytes, &peer->applied, sizeof peer->applied);
    account->bytes[sizeof peer->applied] = (uint8_t)peer->seat.rank;
    account->size = sizeof peer->applied + 1;
    atomic_store(&peer->steady, false);
    return view > peer->applied ? MR_OK : went_wrong(peer, "asked for an older view");
}

static mr_status decide(void *context, uint64_t view, const mr__packet *accounts, uint32_t count, mr__packet *plan,
                        mr__error *error)
{
    struct peer *peer = context;
    plan->bytes = mr__alloc(count);
    if (plan->bytes == NULL)
        return mr__fail(error, MR_NO_MEMORY, "no memory for a plan");
    for (uint32_t i = 0; i < count; i++) {
        uint64_t applied;
        if (accounts[i].size != sizeof applied + 1 || accounts[i].bytes[sizeof applied] != accounts[i].rank ||
            (i > 0 && accounts[i].rank <= accounts[i - 1].rank))
            return went_wrong(peer, "an account of rank %u came as that of another", accounts[i].rank);
        memcpy(&applied, accounts[i].bytes, sizeof applied);
        if (applied >= view)
            return went_wrong(peer, "rank %u applied a later view before", accounts[i].rank);
        plan->bytes[i] = (uint8_t)accounts[i].rank;
    }
    plan->size = count;
    meet(peer, IN_DECIDE);
    return MR_OK;
}

static mr_status apply(void *context, uint64_t view, const uint8_t *plan, size_t size, mr__error *error)
{
    struct peer *peer = context;
    uint32_t living = 0;
    for (size_t i = 0; i < size; i++)
        living |= 1u << plan[i];
    if (view <= peer->applied)
        return went_wrong(peer, "an older view was applied");
    if (peer->applied != 0 && (living & ~atomic_load(&peer->plan)) != 0)
        return went_wrong(peer, "a lost rank came back");
    if ((living >> peer->seat.rank & 1) == 0)
        return went_wrong(peer, "a plan without this rank");
    peer->applied = view;
    atomic_store(&peer->plan, living);
    atomic_store(&peer->steady, true);
    meet(peer, IN_APPLY);
    return MR_OK;
}

static void failed(void *context, mr_status status, const mr__error *error)
{
    struct peer *peer = context;
    atomic_store(&peer->failed, true);
}

static void check(struct peer *peer)
{
    mr__error error = {.code = MR_OK};
    mr__members *members = atomic_load(&peer->members);
    if (members != NULL && mr__members_check(members, &error) != MR_OK)
        went_wrong(peer, "%s", error.text);
}

static void message(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct peer *peer = context;
    if (!mr__members_message(atomic_load(&peer->members), from, tag, bytes, size))
        went_wrong(peer, "tag %u is nobody's", tag);
    check(peer);
}

static void lost(void *context, uint32_t rank, const char *why)
{
    struct peer *peer = context;
    mr__members *members = atomic_load(&peer->members);
    if (members != NULL)
        mr__members_propose(members);
    check(peer);
}

static void expelled(void *context, const char *why)
{
}

static void tick(void *context, uint64_t now_ns)
{
    struct peer *peer = context;
    if (!atomic_load(&peer->crowd->begin))
        return;
    if (!peer->proposed)
        mr__members_propose(atomic_load(&peer->members));
    peer->proposed = true;
    meet(peer, IN_TICK);
    check(peer);
}

static mr__members_hooks hooks_of(struct peer *peer)
{
    return (mr__members_hooks){peer, account, decide, apply, failed};
}

static void gather(struct crowd *crowd, uint32_t size)
{
    crowd->size = size;
    crowd->mesh = mesh_create(size);
    assert_non_null(crowd->mesh);
    mr__courier_options options = base_options;
    options.clock_context = crowd->mesh;
    for (uint32_t r = 0; r < size; r++) {
        struct peer *peer = &crowd->peers[r];
        peer->crowd = crowd;
        peer->seat = (struct mesh_seat){crowd->mesh, r};
        const mr__courier_events events = {peer, message, lost, expelled, tick};
        assert_int_equal(mr__courier_start(mesh_open, &peer->seat, &options, &events, &peer->courier, NULL), MR_OK);
    }
    for (uint32_t r = 0; r < size; r++) {
        const mr__members_hooks hooks = hooks_of(&crowd->peers[r]);
        mr__members *members;
        assert_int_equal(mr__members_create(crowd->peers[r].courier, TAG, &hooks, &members, NULL), MR_OK);
        atomic_store(&crowd->peers[r].members, members);
    }
    atomic_store(&crowd->begin, true);
}

/* All survivors applied a plan of just the survivors, and no fate is still to come that can. */
static bool agrees(const struct crowd *crowd)
{
    const uint32_t living = ~atomic_load(&crowd->dead) & ((1u << crowd->size) - 1);
    for (uint32_t r = 0; r < crowd->size; r++) {
        const struct peer *peer = &crowd->peers[r];
        if (!is_dead(crowd, r) && (!atomic_load(&peer->steady) || atomic_load(&peer->plan) != living))
            return false;
    }
    return true;
}

static void wait_until_agreed(const struct crowd *crowd, uint32_t seed)
{
    const uint64_t end = mr__now_ns() + 60000000000u;
    for (uint32_t agreed = 0; agreed < 5; agreed = agrees(crowd) ? agreed + 1 : 0) {
        if (mr__now_ns() > end)
            fail_msg("seed %u: the survivors never agreed", seed);
        usleep(1000);
    }
}

static void disperse(struct crowd *crowd, uint32_t seed)
{
    for (uint32_t r = 0; r < crowd->size; r++)
        mr__courier_stop(crowd->peers[r].courier, 0);
    for (uint32_t r = 0; r < crowd->size; r++) {
        struct peer *peer = &crowd->peers[r];
        mr__members_destroy(atomic_load(&peer->members));
        if (!is_dead(crowd, r) && (atomic_load(&peer->wrongs) != 0 || atomic_load(&peer->failed)))
            fail_msg("seed %u, rank %u: %s", seed, r, peer->wrong[0] != '\0' ? peer->wrong : "it gave up");
    }
    mesh_destroy(crowd->mesh);
    free(crowd);
}

static struct crowd *new_crowd(void)
{
    struct crowd *made = calloc(1, sizeof *made);
    assert_non_null(made);
    return made;
}

static void test_all_agree_on_the_first_view(void **state)
{
    for (uint32_t size = 1; size <= MOST; size++) {
        struct crowd *crowd = new_crowd();
        gather(crowd, size);
        wait_until_agreed(crowd, size);
        disperse(crowd, size);
    }
}

static void test_survivors_agree_whoever_dies_and_when(void **state)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        unsigned random = seed * 2654435761u;
        struct crowd *crowd = new_crowd();
        const uint32_t size = 2 + (uint32_t)rand_r(&random) % (MOST - 1);
        crowd->fate_count = 1 + (uint32_t)rand_r(&random) % (size - 1);
        for (uint32_t i = 0; i < crowd->fate_count; i++)
            crowd->fates[i] = (struct fate){(enum moment)((uint32_t)rand_r(&random) % MOMENTS),
                                            (uint32_t)rand_r(&random) % size, (uint32_t)rand_r(&random) % 3,
                                            rand_r(&random) % 2 != 0 ? MOST : (uint32_t)rand_r(&random) % size,
                                            rand_r(&random) % 4 != 0 ? MESH_UNREACHABLE : MESH_SILENT};
        gather(crowd, size);
        wait_until_agreed(crowd, seed);
        disperse(crowd, seed);
    }
}

static void test_a_message_that_is_no_message_ends_the_rank(void **state)
{
    struct crowd *crowd = new_crowd();
    gather(crowd, 2);
    wait_until_agreed(crowd, 0);
    assert_int_equal(mr__courier_post(crowd->peers[0].courier, MR__CONTROL, 1, TAG, "short", 5, NULL, 0, NULL), MR_OK);
    const uint64_t end = mr__now_ns() + 60000000000u;
    while (!atomic_load(&crowd->peers[1].failed) && mr__now_ns() < end)
        usleep(1000);
    assert_true(atomic_load(&crowd->peers[1].failed));
    atomic_store(&crowd->dead, 2);
    disperse(crowd, 0);
}

static mr_status open_local(void *how, mr__comm **comm, mr__error *error)
{
    return mr__comm_open_local(comm, error);
}

static void test_without_memory_there_are_no_members(void **state)
{
    struct peer peer = {.members = NULL};
    mr__courier *courier;
    mr__members *const untouched = (mr__members *)&peer;
    const mr__courier_events events = {&peer, message, lost, expelled, NULL};
    const mr__members_hooks hooks = hooks_of(&peer);
    assert_int_equal(mr__courier_start(open_local, NULL, NULL, &events, &courier, NULL), MR_OK);
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.code = MR_OK};
        mr__members *members = untouched;
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__members_create(courier, TAG, &hooks, &members, &error);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        if (!fired) {
            assert_int_equal(status, MR_OK);
            mr__members_destroy(members);
            break;
        }
        assert_int_equal(status, MR_NO_MEMORY);
        assert_ptr_equal(members, untouched);
        assert_string_not_equal(error.text, "");
    }
    mr__courier_stop(courier, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_agree_on_the_first_view),
        cmocka_unit_test(test_survivors_agree_whoever_dies_and_when),
        cmocka_unit_test(test_a_message_that_is_no_message_ends_the_rank),
        cmocka_unit_test(test_without_memory_there_are_no_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
