/* joint_fold.c: the coordinator of a round of dense keys adds up what the ranks have (joint_dense.c). On the courier's
 * thread.
 *
 *   HAVE of all --> parts, in the order of the blocks:   [ added ][ adding ][ asked for, or along ][ not asked for ]
 *                                                                  `------ ahead <= window ------'
 *
 * A fold is of one view. The next view drops it, and everybody says anew what there is. */
#include "joint_parts.h"

#include <stdlib.h>

#include "memory.h"

/* Values of the turns of one rank, as they came. */
struct mr__sums {
    struct mr__sums *next;
    size_t size, used;
    uint8_t bytes[];
};

void mr__joint_drop_fold(mr__joint *joint)
{
    mr__fold *fold = &joint->fold;
    for (uint32_t r = 0; fold->from != NULL && r < joint->size; r++) {
        for (struct mr__sums *one = fold->from[r].first, *next; one != NULL; one = next) {
            next = one->next;
            mr__free(one);
        }
    }
    mr__free(fold->from);
    mr__free(fold->parts);
    mr__free(fold->sum);
    *fold = (mr__fold){.units = 0};
}

static mr_status add_part(mr__fold *fold, uint64_t begin, uint64_t end, uint32_t rank, bool along, mr__error *error)
{
    mr_status status = MR_OK;
    if (fold->count == fold->room) {
        const size_t room = 2 * fold->room + 64;
        mr__fold_part *made = mr__realloc(fold->parts, room * sizeof *made);
        MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the order of sums");
        fold->parts = made;
        fold->room = room;
    }
    fold->parts[fold->count++] = (mr__fold_part){begin, end, rank, along};
done:
    return status;
}

/* HAVE. A work of many blocks is several turns, so that some of it fits the window. */
static mr_status hear_have(mr__joint *joint, uint32_t from, mr__reading *in, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    mr__fold *fold = &joint->fold;
    const size_t bytes = mr__dense_values(job) * 8;
    const uint64_t half = job->sums_window / 2 / bytes, most = half > 0 ? half : 1;
    fold->units += mr__read_u64(in);
    fold->rows += mr__read_u64(in);
    const bool along = mr__read_u64(in) != 0;
    MR_CHECK(!fold->from[from].told, MR_NETWORK_FAILED, "rank %u said twice what sums it has", from);
    fold->from[from].told = true;
    while (!in->broken && in->at < in->end) {
        const uint64_t begin = mr__read_u64(in), end = mr__read_u64(in);
        MR_CHECK(!in->broken && begin < end && end <= job->blocks && job->dense_results != NULL, MR_NETWORK_FAILED,
                 "rank %u says that it has the sums of blocks that cannot be", from);
        for (uint64_t at = begin; at < end; at += most)
            MR_TRY(add_part(fold, at, end - at < most ? end : at + most, from, along, error));
        fold->ahead += along ? (end - begin) * bytes : 0;
    }
    MR_CHECK(!in->broken, MR_NETWORK_FAILED, "rank %u said in too few bytes what sums it has", from);
    if (job->dense_results == NULL) {
        MR_TRY(add_part(fold, from, from + 1, from, along, error));
        fold->ahead += along ? bytes : 0;
    }
done:
    return status;
}

static int compare_parts(const void *a, const void *b)
{
    const mr__fold_part *one = a, *other = b;
    return (one->begin > other->begin) - (one->begin < other->begin);
}

/* Everybody said what there is. */
static mr_status begin_fold(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    mr__fold *fold = &joint->fold;
    uint64_t block = 0;
    MR_CHECK(fold->units == job->schedule_total, MR_INTERNAL,
             "all ranks together have the sums of %llu units, not %llu", (unsigned long long)fold->units,
             (unsigned long long)job->schedule_total);
    if (fold->count > 0)
        qsort(fold->parts, fold->count, sizeof *fold->parts, compare_parts);
    for (size_t i = 0; i < fold->count && job->dense_results != NULL; i++) {
        MR_CHECK(fold->parts[i].begin == block, MR_INTERNAL, "two ranks, or none, have the sums of block %llu",
                 (unsigned long long)(fold->parts[i].begin < block ? fold->parts[i].begin : block));
        block = fold->parts[i].end;
    }
    /* all ranks took it: nobody misses the one of the round before any more */
    mr__joint_forget_folded(joint);
    fold->sum = mr__alloc_zero(mr__dense_values(job), 8);
    MR_CHECK(fold->sum != NULL, MR_NO_MEMORY, "no memory for %zu dense values", mr__dense_values(job));
    fold->begun = true;
done:
    return status;
}

static void ask_for_turns(mr__joint *joint)
{
    mr__fold *fold = &joint->fold;
    for (; fold->asked < fold->count; fold->asked++) {
        const mr__fold_part *part = &fold->parts[fold->asked];
        const uint64_t bytes = (part->end - part->begin) * mr__dense_values(joint->job) * 8;
        const mr__turn turn = {mr__members_view(joint->members), part->begin, part->end};
        if (part->along)
            continue;
        if (fold->asked > fold->adding && fold->ahead + bytes > joint->job->sums_window)
            break;
        fold->ahead += bytes;
        mr__joint_post(joint, MR__CONTROL, part->rank, MR__SAY_TURN, &turn, sizeof turn);
    }
}

/* What is here of the turns that are next. */
static void add_what_came(mr__joint *joint)
{
    const mr__job *job = joint->job;
    mr__fold *fold = &joint->fold;
    const size_t table = mr__dense_values(job) * 8;
    while (fold->adding < fold->count) {
        const mr__fold_part *part = &fold->parts[fold->adding];
        const uint64_t all = (part->end - part->begin) * table;
        mr__fold_from *from = &fold->from[part->rank];
        struct mr__sums *sums = from->first;
        if (sums == NULL)
            return;
        size_t size = sums->size - sums->used;
        const size_t place = (size_t)(fold->added % table);
        size = size < table - place ? size : table - place;
        mr__dense_add(job, fold->sum + place, sums->bytes + sums->used, size / 8);
        sums->used += size;
        fold->added += size;
        if (sums->used == sums->size) {
            from->first = sums->next;
            if (from->first == NULL)
                from->last = NULL;
            mr__free(sums);
        }
        if (fold->added == all) {
            fold->added = 0;
            fold->ahead -= all;
            fold->adding++;
        }
    }
}

static mr_status keep_sums(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__fold_from *place = &joint->fold.from[from];
    MR_CHECK(size % 8 == 0 && size > 0 && place->told, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", from, size);
    struct mr__sums *sums = mr__alloc(sizeof *sums + size);
    MR_CHECK(sums != NULL, MR_NO_MEMORY, "no memory for the sums of other ranks; raise --memory");
    *sums = (struct mr__sums){.size = size};
    memcpy(sums->bytes, bytes, size);
    if (place->last != NULL)
        place->last->next = sums;
    else
        place->first = sums;
    place->last = sums;
done:
    return status;
}

/* All is added: this rank goes first, so that it can give out the next round's work when the others ask for it. */
static mr_status end_fold(mr__joint *joint, mr__error *error)
{
    uint8_t *sum = joint->fold.sum;
    const uint64_t rows = joint->fold.rows;
    joint->fold.sum = NULL;
    mr__joint_drop_fold(joint);
    pthread_mutex_lock(&joint->mutex);
    joint->shares_folded = true;
    pthread_mutex_unlock(&joint->mutex);
    return mr__joint_take_sum(joint, sum, rows, error);
}

mr_status mr__joint_table(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__fold *fold = &joint->fold;
    mr__reading in = {bytes, bytes + size, false};
    mr__table_head head = {.view = 0};
    const void *at = mr__read(&in, sizeof head);
    bool all = true;
    MR_CHECK(at != NULL && joint->job->dense, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", from, size);
    memcpy(&head, at, sizeof head);
    mr__joint_count_received(joint, from, size);
    if (!mr__joint_is_steady(joint, head.view) || !mr__joint_decided(joint))
        return MR_OK;
    if (fold->from == NULL) {
        fold->from = mr__alloc_zero(joint->size, sizeof *fold->from);
        MR_CHECK(fold->from != NULL, MR_NO_MEMORY, "no memory for the sums of %u ranks", joint->size);
    }
    if (head.what == MR__TABLE_HAVE)
        MR_TRY(hear_have(joint, from, &in, error));
    else
        MR_TRY(keep_sums(joint, from, in.at, (size_t)(in.end - in.at), error));
    for (uint32_t r = 0; r < joint->size && !fold->begun; r++)
        all &= !mr__members_has(joint->members, r) || mr__joint_is_waiting(joint, r) || fold->from[r].told;
    if (!all)
        return MR_OK;
    if (!fold->begun)
        MR_TRY(begin_fold(joint, error));
    add_what_came(joint);
    if (fold->adding == fold->count)
        return end_fold(joint, error);
    ask_for_turns(joint);
done:
    return status;
}
