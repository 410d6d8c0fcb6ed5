/* joint_spares.c: ranks that stand by until another one is lost.
 *
 *   ranks     0 .. working - 1       working .. size - 1
 *             places                 spares
 *
 * Who is a spare is a matter of numbers (MILLRACE_SPARES, the same on all ranks: it is in the digest). Who takes a
 * place is the ledger's to decide (ledger.h): the plan of the view after a loss gives the lost rank's shares to the
 * lowest spare that owns nothing, and owning something is what makes a rank work. So every rank learns of it from the
 * groups of the plan, a new coordinator from the accounts, and no message is about it. A spare that works is a rank
 * like any other until the job ends.
 *
 * What a spare does that stands by: it makes the same plan as the others (with the sample of keys that range partitions
 * need), takes part in each view, says IDLE when it could begin, and DONE when it hears REDUCE. It has no threads of
 * workers and no device processes, asks for no work and is sent no pairs. Of dense keys it sends no table, but it takes
 * the folded one and calls round(), so that it can map the next round.
 *
 *   the job's thread      AGAIN --stands by--> STANDS --> wait ------- a place ------> run the team, as others do
 *                           ^                              |
 *                           +---- round(), again <-- FOLDED+-> COMMITTED
 *
 * Why it says IDLE although it never worked: the others wait for it, so nothing is folded or committed that a spare
 * whose thread is slow could miss; and each round begins with all. The price: one that is stopped, and not killed, is
 * waited for until the deadline, as any rank is.
 *
 * J6  A spare that owned nothing in any view so far was given no work, and owns no group of the plan. */
#include "joint_parts.h"

mr_status mr__joint_spares_init(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    joint->stands_by = joint->rank >= joint->working;
    joint->took_place = mr__alloc_zero(joint->size, sizeof *joint->took_place);
    MR_CHECK(joint->took_place != NULL, MR_NO_MEMORY, "no memory for a job of %u ranks", joint->size);
done:
    return status;
}

void mr__joint_fill_places(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    for (size_t g = 0; g < joint->group_count; g++)
        joint->took_place[joint->groups[g].owner] |= joint->groups[g].owner >= joint->working;
    /* one that is a round behind gets the folded table first */
    joint->stands_by = joint->rank >= joint->working && (!joint->took_place[joint->rank] || joint->behind);
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
}

bool mr__joint_stands_by(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    const bool stands = joint->stands_by;
    pthread_mutex_unlock(&joint->mutex);
    return stands;
}

uint32_t mr__joint_places_taken(const mr__joint *joint)
{
    uint32_t count = 0;
    if (joint->took_place == NULL)      /* the job failed before */
        return 0;
    for (uint32_t r = joint->working; r < joint->size; r++)
        count += joint->took_place[r];
    return count;
}
