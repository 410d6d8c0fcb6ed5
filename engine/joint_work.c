/* joint_work.c: a rank asks the coordinator for something to map, and puts it into its schedule.
 *
 *   schedule --runs low--> WANTS --> ASK ----> coordinator: ledger.h
 *       ^                             ,-- GIVE a work <--'
 *       '---- as many as fit --- `waiting`          `-- GIVE none: dry until the next view
 *
 * One question is under way at a time, and a rank asks again before it runs dry: so few works wait at each rank, and
 * the last ones go to whoever is fastest. */
#include "joint_parts.h"

/* What a work should last: its messages cost all ranks together about 0.1 ms. pi on four ranks with two cores, 10^10
 * terms: 820 works, and 492 with this. */
static const double LEAST_SECONDS = 0.005;

void mr__joint_ask(mr__joint *joint)
{
    const uint64_t view = mr__members_view(joint->members);
    if (joint->pass != MR__PASS_MAPS || joint->asked || joint->dry || !mr__joint_is_steady(joint, view))
        return;
    const mr__question question = {view, mr__schedule_units_in(&joint->job->schedule, LEAST_SECONDS)};
    joint->asked = true;
    mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_ASK, &question, sizeof question);
}

/* On the coordinator. */
mr_status mr__joint_give(mr__joint *joint, uint32_t to, const mr__question *question, mr__error *error)
{
    mr_status status = MR_OK;
    mr__gift answer = {.view = question->view};
    bool found;
    if (!mr__joint_is_steady(joint, question->view) || !mr__joint_decided(joint))
        return MR_OK;
    MR_TRY(mr__ledger_give(joint->ledger, to, question->least, &answer.work, &found, error));
    answer.found = found;
    mr__joint_post(joint, MR__CONTROL, to, MR__SAY_GIVE, &answer, sizeof answer);
done:
    return status;
}

uint32_t mr__share_first(const mr__joint *joint, uint32_t share)
{
    return (uint32_t)((uint64_t)share * joint->job->partitions / joint->shares);
}

/* Into the schedule as many of the works that wait as fit what is left there. */
mr_status mr__joint_feed(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    size_t fed = 0;
    bool added = true;
    if (joint->pass != MR__PASS_MAPS)
        return MR_OK;
    for (; fed < joint->waiting.count && added; fed += added) {
        const mr__work *work = &joint->waiting.list[fed];
        MR_TRY(mr__schedule_add(&joint->job->schedule, work->begin, work->end, mr__share_first(joint, work->first),
                                mr__share_first(joint, work->last), &added, error));
    }
    if (fed == 0)
        return MR_OK;
    joint->waiting.count -= fed;
    memmove(joint->waiting.list, joint->waiting.list + fed, joint->waiting.count * sizeof *joint->waiting.list);
done:
    return status;
}

mr_status mr__joint_take_work(mr__joint *joint, const mr__gift *gift, mr__error *error)
{
    mr_status status = MR_OK;
    if (!mr__joint_is_steady(joint, gift->view))
        return MR_OK;           /* J2 */
    joint->asked = false;
    if (!gift->found) {
        joint->dry = true;
        mr__joint_go_on(joint);
        return MR_OK;
    }
    const mr__work *work = &gift->work;
    MR_CHECK(work->begin < work->end && work->end <= joint->job->schedule_total && work->first < work->last &&
                 work->last <= joint->shares, MR_NETWORK_FAILED, "this rank was given work outside of the input");
    mr__works own = {joint->own.works, joint->own.work_count, joint->own.work_count};
    MR_TRY(mr__works_push(&own, *work, error));
    joint->own.works = own.list;
    joint->own.work_count = own.count;
    joint->works_given++;
    joint->bytes_given += mr__joint_bytes(joint->job, work);
    MR_TRY(mr__works_push(&joint->waiting, *work, error));
    MR_TRY(mr__joint_feed(joint, error));
done:
    return status;
}
