/* test_joint_end.c: a coordinator that is taken for lost while it shows the output, and goes on.
 * Oracle: what must come of the job (convoy_cargo.c). */
#include "cmocka_all.h"

#include <stdlib.h>
#include <time.h>

#include "joint_parts.h"
#include "voyages.h"

enum { RANKS = 3, MOMENT_NS = 1000000 };

mr_status __real_mr__output_commit_shared(mr__output *output, const mr__attempt *attempts, size_t count, bool *before,
                                          mr__error *error);
mr_status __wrap_mr__output_commit_shared(mr__output *output, const mr__attempt *attempts, size_t count, bool *before,
                                          mr__error *error);

/* The coordinator stops; the others do its part once more; it shows the output; the others go on. */
static _Atomic enum { UNDISTURBED, ARMED, STOPPED, AGAIN, SHOWN } step;

static void wait_for(int wanted)
{
    while ((int)atomic_load(&step) < wanted)
        nanosleep(&(struct timespec){.tv_nsec = MOMENT_NS}, NULL);
}

mr_status __wrap_mr__output_commit_shared(mr__output *output, const mr__attempt *attempts, size_t count, bool *before,
                                          mr__error *error)
{
    struct ship *ship = convoy_self();
    const bool stops = ship->rank == 0 && atomic_load(&step) == ARMED;
    if (stops) {
        mesh_freeze(ship->convoy->mesh, 0, 4 * (uint64_t)CONVOY_DEADLINE);
        atomic_store(&step, STOPPED);
        wait_for(AGAIN);
    }
    const mr_status status = __real_mr__output_commit_shared(output, attempts, count, before, error);
    if (stops) {
        atomic_store(&ship->struck, true);
        atomic_store(&step, SHOWN);
    }
    return status;
}

static mr_status reduce_again(struct ship *ship, mr_slice key)
{
    if (ship->rank != 0 && atomic_load(&step) >= STOPPED) {
        if (atomic_load(&step) == STOPPED)
            atomic_store(&step, AGAIN);
        wait_for(SHOWN);
    }
    return MR_OK;
}

static void what_was_shown_counts_whoever_fails_then(void **state)
{
    struct convoy convoy = {.ranks = RANKS, .on_reduce = reduce_again};
    atomic_store(&step, ARMED);
    voyage_sail(voyage_named("list"), &convoy);
    assert_int_equal(atomic_load(&step), SHOWN);
    assert_int_equal(convoy.ships[0].status, MR_NETWORK_FAILED);    /* nobody hears it; but it ends */
    for (uint32_t r = 1; r < RANKS; r++)
        assert_int_equal(convoy.ships[r].status, MR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_shown_counts_whoever_fails_then),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
