/* outbox_flows.c: who gets what: flows, their shares, and how they begin anew when a group gets another owner.
 *
 * assign makes the new flows beside the old ones, so that a failure changes nothing; what it then does to items and
 * lists cannot fail, but for the extents of what moved to this rank. */
#include "outbox_parts.h"

#include <stdlib.h>

#include "memory.h"

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void mr__outbox_enlist(mr__outbox *outbox, mr__item *item)
{
    mr__residents *list = &outbox->residents[item->sent];
    item->newer = NULL;
    item->older = list->newest;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = item;
    list->newest = item;
}

void mr__outbox_unlist(mr__outbox *outbox, mr__item *item)
{
    mr__residents *list = &outbox->residents[item->sent];
    *(item->older != NULL ? &item->older->newer : &list->oldest) = item->newer;
    *(item->newer != NULL ? &item->newer->older : &list->newest) = item->older;
}

void mr__flow_queue(mr__flow *flow, mr__item *item)
{
    item->behind = NULL;
    *(flow->queue != NULL ? &flow->queue_end->behind : &flow->queue) = item;
    flow->queue_end = item;
}

mr__flow *mr__outbox_flow(const mr__outbox *outbox, uint32_t partition)
{
    size_t low = 0, high = outbox->flow_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (outbox->flows[middle].last > partition)
            high = middle;
        else
            low = middle + 1;
    }
    return low < outbox->flow_count ? &outbox->flows[low] : NULL;
}

bool mr__outbox_owns(const mr__outbox *outbox, const mr__flow *flow)
{
    return flow != NULL && flow->owner == outbox->mail->rank;
}

/* ---- shares ------------------------------------------------------------------------------------------------------ */

/* The index of the first share of this epoch or a later one. */
static size_t find_share(const mr__flow *flow, uint32_t epoch)
{
    size_t low = 0, high = flow->share_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (flow->shares[middle]->epoch >= epoch)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

mr__share *mr__flow_share(const mr__flow *flow, uint32_t epoch)
{
    const size_t index = find_share(flow, epoch);
    return index < flow->share_count && flow->shares[index]->epoch == epoch ? flow->shares[index] : NULL;
}

mr_status mr__flow_make_share(mr__flow *flow, uint32_t epoch, mr__share **share, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t index = find_share(flow, epoch);
    if (index < flow->share_count && flow->shares[index]->epoch == epoch) {
        *share = flow->shares[index];
        goto done;
    }
    if (flow->share_count == flow->share_room) {
        const size_t room = flow->share_room * 2 + 8;
        mr__share **grown = mr__realloc(flow->shares, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for %zu epochs on their way", room);
        flow->shares = grown;
        flow->share_room = room;
    }
    mr__share *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for an epoch on its way");
    made->epoch = epoch;
    memmove(flow->shares + index + 1, flow->shares + index, (flow->share_count - index) * sizeof(mr__share *));
    flow->shares[index] = made;
    flow->share_count++;
    *share = made;
done:
    return status;
}

mr__share *mr__flow_take_share(mr__flow *flow, uint32_t epoch)
{
    const size_t index = find_share(flow, epoch);
    mr__share *share = flow->shares[index];
    flow->share_count--;
    memmove(flow->shares + index, flow->shares + index + 1, (flow->share_count - index) * sizeof(mr__share *));
    return share;
}

void mr__flow_look_at(mr__flow *flow, mr__share *share)
{
    if (share->closed == NULL || share->unsent > 0 || share->due || share->told)
        return;
    share->due = true;
    share->behind = NULL;
    *(flow->due != NULL ? &flow->due_end->behind : &flow->due) = share;
    flow->due_end = share;
}

/* No partition of the group is to have anything of the epoch. */
static bool is_gone(const mr__flow *flow, const mr__epoch *closed)
{
    const uint64_t first = flow->first > closed->first ? flow->first : closed->first;
    const uint64_t last = flow->last < closed->last ? flow->last : closed->last;
    return first < last && mr__cover_has(&closed->gone, first, last);
}

mr_status mr__flow_close(mr__flow *flow, mr__epoch *closed, mr__error *error)
{
    mr_status status = MR_OK;
    mr__share *share = mr__flow_share(flow, closed->number);
    if (is_gone(flow, closed) && share == NULL)
        return MR_OK;
    MR_CHECK(!mr__cover_meets(&closed->gone, flow->first, flow->last), MR_INTERNAL,
             "epoch %u was forgotten for a part of the group %u .. %u", closed->number, flow->first, flow->last);
    const bool inside = closed->first <= flow->first && flow->last <= closed->last;
    MR_CHECK(inside || closed->last <= flow->first || flow->last <= closed->first, MR_INTERNAL,
             "epoch %u, mapped for partitions %u .. %u, has a part of the group %u .. %u", closed->number,
             closed->first, closed->last, flow->first, flow->last);
    MR_CHECK(inside || share == NULL, MR_INTERNAL, "epoch %u, mapped for partitions %u .. %u, has pairs of %u .. %u",
             closed->number, closed->first, closed->last, flow->first, flow->last);
    if (!inside)
        goto done;
    MR_TRY(mr__flow_make_share(flow, closed->number, &share, error));
    MR_CHECK(share->closed == NULL, MR_INTERNAL, "epoch %u is closed twice", closed->number);
    share->closed = closed;
    mr__flow_look_at(flow, share);
done:
    return status;
}

void mr__flow_fini(mr__flow *flow)
{
    for (size_t i = 0; i < flow->share_count; i++)
        mr__free(flow->shares[i]);
    mr__free(flow->shares);
    for (mr__share *share = flow->forgotten, *next; share != NULL; share = next) {
        next = share->behind;
        mr__free(share);
    }
    *flow = (mr__flow){.first = flow->first, .last = flow->last};
}

/* ---- a new owner ------------------------------------------------------------------------------------------------- */

mr_status mr__carry_check_groups(const mr__job *job, const mr__mail *mail, const mr__group *groups, size_t count,
                                 mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        MR_CHECK(groups[i].first == next && groups[i].last > next && groups[i].owner < mail->ranks, MR_INTERNAL,
                 "groups of partitions: %u .. %u of rank %u cannot follow %u", groups[i].first, groups[i].last,
                 groups[i].owner, next);
        next = groups[i].last;
    }
    MR_CHECK(next == job->partitions, MR_INTERNAL, "groups of partitions end at %u, not at %u", next, job->partitions);
done:
    return status;
}

mr_status mr__outbox_deliver(mr__outbox *outbox, mr__item *item, mr__error *error)
{
    mr_status status = MR_OK;
    if (item->chunk != NULL)
        mr__exchange_give(outbox->job->exchange, item->chunk);
    else
        status = mr__partition_note_extent(&outbox->job->partition[item->partition], &item->extent, error);
    mr__free(item);
    return status;
}

static const mr__flow *same_flow(const mr__outbox *outbox, const mr__group *group)
{
    const mr__flow *flow = mr__outbox_flow(outbox, group->first);
    return flow != NULL && flow->first == group->first && flow->last == group->last && flow->owner == group->owner
               ? flow
               : NULL;
}

/* A living rank keeps what it owns: pairs for its own partitions are nowhere but in its exchange. */
static mr_status check_own(const mr__outbox *outbox, const mr__group *groups, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t had = 0, kept = 0;
    for (size_t i = 0; i < outbox->flow_count; i++)
        had += mr__outbox_owns(outbox, &outbox->flows[i]);
    for (size_t i = 0; i < count; i++)
        kept += mr__outbox_owns(outbox, same_flow(outbox, &groups[i]));
    MR_CHECK(had == kept, MR_INTERNAL, "rank %u owned %u groups of partitions, and is to have %u of them now",
             outbox->mail->rank, had, kept);
done:
    return status;
}

static int by_epoch(const void *left, const void *right)
{
    const mr__item *a = *(mr__item *const *)left, *b = *(mr__item *const *)right;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return a->partition < b->partition ? -1 : a->partition > b->partition;
}

/* What assign makes for a group with a new owner. */
typedef struct fresh {
    mr__flow flow;
    mr__item **items;               /* by epoch; NULL for this rank's own, which it delivers */
    size_t count;
    bool same;                      /* it goes on as it is: flow is not yet it */
} fresh;

static mr_status begin_anew(const mr__outbox *outbox, fresh *made, mr__error *error)
{
    mr_status status = MR_OK;
    mr__flow *flow = &made->flow;
    mr__share *share;
    for (uint32_t p = flow->first; p < flow->last; p++)
        for (const mr__item *item = outbox->partition[p]; item != NULL; item = item->next)
            made->count++;
    if (made->count > 0) {
        made->items = mr__alloc(made->count * sizeof *made->items);
        MR_CHECK(made->items != NULL, MR_NO_MEMORY, "no memory to send %zu chunks again", made->count);
    }
    size_t index = 0;
    for (uint32_t p = flow->first; p < flow->last; p++)
        for (mr__item *item = outbox->partition[p]; item != NULL; item = item->next)
            made->items[index++] = item;
    if (made->count > 0)
        qsort(made->items, made->count, sizeof *made->items, by_epoch);
    for (size_t i = 0; i < made->count; i++) {
        MR_TRY(mr__flow_make_share(flow, made->items[i]->epoch, &share, error));
        share->chunks++;
        share->unsent++;
        share->pairs += made->items[i]->pairs;
        share->bytes += made->items[i]->origin.lane == NULL ? made->items[i]->size : 0;
    }
    for (size_t i = 0; i < outbox->epoch_count; i++)
        MR_TRY(mr__flow_close(flow, outbox->epochs[i], error));
    for (size_t i = 0; i < flow->share_count; i++)
        flow->shares[i]->again = outbox->flow_count > 0;        /* before the first assign nothing was sent */
done:
    return status;
}

/* All items of these partitions leave the outbox. */
static mr_status move_in(mr__outbox *outbox, const mr__flow *flow, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t p = flow->first; p < flow->last; p++) {
        mr__item *list = outbox->partition[p];
        outbox->partition[p] = NULL;
        for (mr__item *item = list, *next; item != NULL; item = next) {
            next = item->next;
            if (item->origin.lane != NULL) {
                mr__outbox_leave_in_place(&item->origin, p);
                mr__outbox_drop(outbox, item);
                continue;
            }
            if (item->chunk != NULL)
                atomic_fetch_sub_explicit(&outbox->kept, item->chunk->capacity, memory_order_relaxed);
            if (item->held) {
                item->leaves = true;
                outbox->leaving++;
                continue;
            }
            if (item->chunk != NULL)
                mr__outbox_unlist(outbox, item);
            const mr_status delivered = mr__outbox_deliver(outbox, item, error);
            status = status == MR_OK ? delivered : status;
        }
    }
    return status;
}

static void send_again(mr__outbox *outbox, fresh *made)
{
    for (size_t i = 0; i < made->count; i++) {
        mr__item *item = made->items[i];
        const bool listed = item->chunk != NULL && !item->held;
        if (listed)
            mr__outbox_unlist(outbox, item);
        item->sent = false;
        item->offset = 0;
        if (listed)
            mr__outbox_enlist(outbox, item);
        mr__flow_queue(&made->flow, item);
    }
}

static mr_status assign(mr__outbox *outbox, fresh *made, mr__flow *flows, const mr__group *groups, size_t count,
                        mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(check_own(outbox, groups, count, error));
    for (size_t i = 0; i < count; i++) {
        made[i].same = same_flow(outbox, &groups[i]) != NULL;
        made[i].flow = (mr__flow){.first = groups[i].first, .last = groups[i].last, .owner = groups[i].owner,
                                  .generation = outbox->generation + 1};
        if (!made[i].same && groups[i].owner != outbox->mail->rank)
            MR_TRY(begin_anew(outbox, &made[i], error));
    }
    outbox->generation++;
    outbox->unconfirmed = 0;
    for (size_t i = 0; i < count; i++) {
        if (made[i].same) {
            mr__flow *old = mr__outbox_flow(outbox, groups[i].first);
            made[i].flow = *old;
            old->shares = NULL;
            old->share_count = 0;
            old->forgotten = NULL;
        } else if (groups[i].owner == outbox->mail->rank) {
            const mr_status moved = move_in(outbox, &made[i].flow, error);
            status = status == MR_OK ? moved : status;
        } else {
            send_again(outbox, &made[i]);
        }
        flows[i] = made[i].flow;
        outbox->unconfirmed += flows[i].share_count;
        made[i].flow.shares = NULL;
        made[i].flow.share_count = 0;
        made[i].flow.forgotten = NULL;
    }
    for (size_t i = 0; i < outbox->flow_count; i++)
        mr__flow_fini(&outbox->flows[i]);
    mr__free(outbox->flows);
    outbox->flows = flows;
    outbox->flow_count = count;
    outbox->turn = 0;
done:
    return status;
}

mr_status mr__outbox_assign(mr__outbox *outbox, const mr__group *groups, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    fresh *made = NULL;
    mr__flow *flows = NULL;
    MR_TRY(mr__carry_check_groups(outbox->job, outbox->mail, groups, count, error));
    made = mr__alloc_zero(count, sizeof *made);
    flows = mr__alloc_zero(count, sizeof *flows);
    MR_CHECK(made != NULL && flows != NULL, MR_NO_MEMORY, "no memory for %zu groups of partitions", count);
    pthread_mutex_lock(&outbox->mutex);
    status = assign(outbox, made, flows, groups, count, error);
    if (outbox->flows == flows)
        flows = NULL;
    mr__carrier_wake(outbox->carrier);
    mr__outbox_unlock(outbox);
done:
    for (size_t i = 0; made != NULL && i < count; i++) {
        mr__flow_fini(&made[i].flow);
        mr__free(made[i].items);
    }
    mr__free(made);
    mr__free(flows);
    return status;
}
