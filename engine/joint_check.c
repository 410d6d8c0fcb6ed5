/* joint_check.c: do the rules of a joint hold? For tests, between two events. The rules are those of joint.c. */
#include "joint_parts.h"

static bool same_work(const mr__work *a, const mr__work *b)
{
    return a->begin == b->begin && a->end == b->end && a->first == b->first && a->last == b->last;
}

/* What the schedule has not got yet was given to this rank, in this order. Other works may lie between and behind: what
 * is left of one that was given back in part (mr__works_cut()) goes to the end. */
static mr_status check_works(const mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__account *own = &joint->own;
    size_t at = 0;
    MR_CHECK(joint->waiting.count <= own->work_count, MR_INTERNAL, "J2 broken: %zu works wait, %zu were given",
             joint->waiting.count, own->work_count);
    for (size_t i = 0; i < own->work_count; i++)
        MR_CHECK(own->works[i].begin < own->works[i].end && own->works[i].end <= joint->job->schedule_total &&
                     own->works[i].first < own->works[i].last && own->works[i].last <= joint->shares, MR_INTERNAL,
                 "J2 broken: work %zu lies outside of the input", i);
    for (size_t i = 0; i < joint->waiting.count; i++, at++) {
        while (at < own->work_count && !same_work(&joint->waiting.list[i], &own->works[at]))
            at++;
        MR_CHECK(at < own->work_count, MR_INTERNAL, "J2 broken: work %zu of those that wait was not given", i);
    }
done:
    return status;
}

static mr_status check_stage(const mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(!joint->asked || !joint->dry, MR_INTERNAL, "J4 broken: work was asked for after there was none");
    MR_CHECK(!joint->idle || ((joint->dry || joint->pass == MR__PASS_STANDS) && joint->waiting.count == 0), MR_INTERNAL,
             "J4 broken: this rank said that it is idle, and it has work");
    MR_CHECK(!joint->reduces || joint->idle, MR_INTERNAL, "J4 broken: all were idle, and this rank never said so");
    MR_CHECK(!joint->reduces || joint->pass != MR__PASS_MAPS, MR_INTERNAL, "all were idle, and this rank maps");
    MR_CHECK(joint->pass == MR__PASS_NONE || joint->ready, MR_INTERNAL, "a pass began before its first");
    MR_CHECK(!joint->behind || joint->job->dense, MR_INTERNAL, "behind in a job that has one round");
done:
    return status;
}

/* A spare that stands by: it is not in the plan, so it has nothing. */
static mr_status check_spare(const mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    const bool waits = mr__joint_is_waiting(joint, joint->rank);
    MR_CHECK(!waits || (joint->own.work_count == 0 && joint->works_given == 0 && !joint->asked), MR_INTERNAL,
             "J6 broken: a spare that owns nothing was given %zu works", joint->own.work_count);
    MR_CHECK(!waits || (joint->pass != MR__PASS_MAPS && joint->pass != MR__PASS_REDUCES), MR_INTERNAL,
             "J6 broken: a spare that owns nothing is in pass %d", (int)joint->pass);
    for (size_t g = 0; g < joint->group_count; g++)
        MR_CHECK(!mr__joint_is_waiting(joint, joint->groups[g].owner), MR_INTERNAL,
                 "J6 broken: rank %u owns something, and is said to stand by", joint->groups[g].owner);
done:
    return status;
}

/* Groups are in order, without gaps; what this rank reduced is its own. */
static mr_status check_shares(const mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t at = 0;
    for (size_t g = 0; g < joint->group_count; g++) {
        const mr__group *group = &joint->groups[g];
        MR_CHECK(group->first == at && group->last > at && group->owner < joint->size, MR_INTERNAL,
                 "J5 broken: group %zu is not behind the one before", g);
        at = group->last;
        for (uint32_t s = group->first; s < group->last && !joint->job->dense; s++)
            MR_CHECK(!joint->reduced[s] || group->owner == joint->rank, MR_INTERNAL,
                     "J5 broken: part %u was reduced here, and is rank %u's", s, group->owner);
    }
    MR_CHECK(at == joint->shares, MR_INTERNAL, "J5 broken: the groups have %u of %u parts", at, joint->shares);
done:
    return status;
}

/* On the coordinator, in a view: nobody but those who are in it said anything in it; who wrote a part owns it. */
static mr_status check_coordinator(const mr__joint *joint, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__ledger_check(joint->ledger, error));
    for (uint32_t r = 0; r < joint->size; r++)
        MR_CHECK(mr__members_has(joint->members, r) || (joint->idle_in[r] != view && joint->done_in[r] != view),
                 MR_INTERNAL, "J3 broken: rank %u is not in the view, and was heard in it", r);
    for (size_t g = 0; g < joint->group_count && !joint->job->dense; g++)
        for (uint32_t s = joint->groups[g].first; s < joint->groups[g].last; s++)
            MR_CHECK(joint->writer[s] == UINT32_MAX || joint->writer[s] == joint->groups[g].owner, MR_INTERNAL,
                     "J5 broken: rank %u says that it wrote part %u, which is rank %u's", joint->writer[s], s,
                     joint->groups[g].owner);
done:
    return status;
}

mr_status mr__joint_check(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&joint->mutex);
    const bool failed = joint->status != MR_OK, agreed = joint->agreed;
    pthread_mutex_unlock(&joint->mutex);
    if (failed)                 /* in the middle of something, perhaps */
        return MR_OK;
    const uint64_t view = mr__members_view(joint->members);
    MR_TRY(mr__members_check(joint->members, error));
    if (!agreed)
        return MR_OK;
    MR_TRY(check_works(joint, error));
    MR_TRY(check_stage(joint, error));
    MR_TRY(check_spare(joint, error));
    MR_TRY(check_shares(joint, error));
    if (joint->ready && joint->outbox != NULL) {
        MR_TRY(mr__outbox_check(joint->outbox, error));
        MR_TRY(mr__inbox_check(joint->inbox, error));
    }
    if (mr__joint_decided(joint) && mr__joint_is_steady(joint, view))
        MR_TRY(check_coordinator(joint, view, error));
done:
    return status;
}
