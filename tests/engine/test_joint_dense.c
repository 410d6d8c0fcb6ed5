/* test_joint_dense.c: losses while the coordinator folds the tables of a round.
 * Oracle: plain loops over the same input (convoy_cargo.c). */
#include "cmocka_all.h"

#include <stdlib.h>
#include <time.h>

#include "joint_parts.h"
#include "voyages.h"

enum { RANKS = 4, MOMENT_NS = 1000000 };

void *__real_mr__alloc_zero(size_t count, size_t size);
void *__wrap_mr__alloc_zero(size_t count, size_t size);

static _Atomic uint32_t victim;     /* who is lost in the next fold; 0: nobody */
static size_t fold_size;            /* of FOLDED */

static bool goes_again(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    const bool again = joint->next == MR__NEXT_AGAIN;
    pthread_mutex_unlock(&joint->mutex);
    return again;
}

/* mr__joint_fold() asks for this memory when it has taken the tables. The rank is lost just then, and the fold goes on
 * when the others have agreed on a view without it. */
void *__wrap_mr__alloc_zero(size_t count, size_t size)
{
    struct ship *coordinator = convoy_self();
    mr__ranks *ranks = coordinator != NULL && coordinator->rank == 0 ? atomic_load(&coordinator->ranks) : NULL;
    mr__joint *joint = ranks != NULL ? (mr__joint *)mr__ranks_joint(ranks) : NULL;
    const uint32_t lost = joint != NULL && count == 1 && size == fold_size ? atomic_exchange(&victim, 0) : 0;
    if (lost != 0) {
        struct convoy *convoy = coordinator->convoy;
        atomic_store(&convoy->ships[lost].struck, true);
        mesh_kill(convoy->mesh, lost, MESH_UNREACHABLE);
        while (!goes_again(joint))
            nanosleep(&(struct timespec){.tv_nsec = MOMENT_NS}, NULL);
    }
    return __real_mr__alloc_zero(count, size);
}

static void lose_one_while_tables_are_folded(const char *name, size_t values, uint32_t spares)
{
    struct convoy convoy = {.ranks = RANKS, .spares = spares};
    fold_size = 16 + values * 8;
    atomic_store(&victim, RANKS - 1);
    voyage_sail(voyage_named(name), &convoy);
    assert_int_equal(atomic_load(&victim), 0);
    assert_int_equal(convoy.ships[0].stats.ranks_lost, 1);
}

static void a_fold_of_the_view_before_counts_for_nothing(void **state)
{
    for (uint32_t spares = 0; spares < 2; spares++) {
        lose_one_while_tables_are_folded("dense", DENSE, spares);
        lose_one_while_tables_are_folded("centres", 2 * CENTRES, spares);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fold_of_the_view_before_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
