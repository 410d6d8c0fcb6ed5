/* joint_dense.c: a round of dense keys on many ranks: no shuffle, a table from each.
 *
 *   rank          all IDLE, REDUCE --> HAVE --> coordinator      which blocks it has the sums of
 *   coordinator   HAVE of all ranks in the view, but of spares that stand by --> all blocks in their order: turns
 *                 TURN --> rank                                  a few blocks that are next, or soon will be
 *   rank          SUMS, SUMS, ... --> coordinator --> added as they come, as one rank would (dense.c)
 *   coordinator   the last turn was added --> FOLDED, FOLDED, ... --> all
 *   all           the folded table is the job's; round(); the next round begins, or the job is done
 *
 * Floating sums stay reproducible: each block of rows has a table of its own, and they are added in the order of the
 * blocks, whichever rank had which. Integer sums are one table a rank, added in the order of the ranks.
 *
 * Memory. A sum has one order over all blocks, and other ranks have the blocks in between: no rank can add up what it
 * has before the end of the round. So a rank keeps its tables, in memory or spilled, and the coordinator asks for them
 * in order: only as much as its window (plan_memory.c), and the turn that is next, is on its way or waits. When all
 * tables came at once, four ranks of 64 MiB with 230 MiB of tables took 732 MiB, the coordinator 608 of them; now they
 * take 204. What a rank has comes along with HAVE, without a turn, where it fits its part of the window, or all that
 * there are fit it: most jobs have few sums, and wait for nothing. Tables are sent in pieces, FOLDED too, to one rank
 * after the other.
 *
 * A rank keeps its tables until it hears FOLDED. When somebody is lost before that, they are sent again in the next
 * view, with those of the blocks that the lost had. FOLDED itself is kept until all have it: if its sender is lost
 * half-way, one who has it sends it to the others (joint_view.c); only then all of it is posted at once, by a thread
 * that must not wait.
 *
 *   TABLE     view, what (u32), 0 (u32); then
 *     HAVE    units, rows, comes along (u64), [begin, end (u64)] of each work, in order; none for integers
 *     SUMS    values of the turns that were asked for, one after the other
 *   TURN      view, begin, end (u64)
 *   FOLDED    round, rows, first value (u64), values. The first piece begins anew: two senders may be half-way.
 *
 * D1  FOLDED of a round is said once, and only in the view in which all tables came.
 * D2  Sums of a rank come in the order of its turns, and turns of one rank are in the order of all. */
#include "joint_parts.h"

#include <stdlib.h>
#include <time.h>

enum { PIECE = 1 << 20, WAITING_MOST = 4 << 20, NAP_NS = 100000 };

typedef struct folded_head {
    uint64_t round, rows, first;
} folded_head;

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

/* ---- a rank: what it has ----------------------------------------------------------------------------------------- */

typedef struct sums_out {
    mr__joint *joint;
    uint64_t view;
    uint32_t to;
    uint8_t *bytes;             /* [PIECE] */
    size_t size;
} sums_out;

static mr_status post_sums(sums_out *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = out->joint;
    const mr__table_head head = {.view = out->view, .what = MR__TABLE_SUMS};
    if (out->size == 0)
        return MR_OK;
    while (mr__courier_pending(joint->courier, MR__BULK, out->to) > WAITING_MOST)
        nap();
    MR_TRY(mr__courier_post(joint->courier, MR__BULK, out->to, joint->tag + MR__SAY_TABLE, &head, sizeof head,
                            out->bytes, out->size, error));
    mr__joint_count_sent(joint, out->to, sizeof head + out->size);
    out->size = 0;
done:
    return status;
}

static mr_status write_values(void *context, const double *values, size_t first, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    sums_out *out = context;
    const uint8_t *bytes = (const uint8_t *)values;
    (void)first;
    for (size_t left = count * 8; left > 0;) {
        const size_t size = left < PIECE - out->size ? left : PIECE - out->size;
        memcpy(out->bytes + out->size, bytes, size);
        out->size += size;
        bytes += size;
        left -= size;
        if (out->size == PIECE)
            MR_TRY(post_sums(out, error));
    }
done:
    return status;
}

/* What all lanes of this rank added up in the round, in the first that has something; none, if none began. */
static mr_status send_own_sums(sums_out *out, mr__error *error)
{
    static const double zeros[512];
    mr_status status = MR_OK;
    mr__job *job = out->joint->job;
    for (uint32_t w = 0; w < job->worker_count; w++) {
        void *table = job->lanes[w].emitter.dense;
        if (table == NULL)
            continue;
        mr__dense_add_lanes(job, table);
        return write_values(out, table, 0, mr__dense_values(job), error);
    }
    for (size_t left = mr__dense_values(job), count; left > 0; left -= count) {
        count = left < MR__COUNT(zeros) ? left : MR__COUNT(zeros);
        MR_TRY(write_values(out, zeros, 0, count, error));
    }
done:
    return status;
}

static mr_status send_turn(sums_out *out, uint64_t begin, uint64_t end, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = out->joint->job;
    if (job->dense_results == NULL)
        return send_own_sums(out, error);
    for (uint64_t block = begin; block < end; block++) {
        MR_CHECK(block < job->blocks && job->dense_results[block] != NULL, MR_INTERNAL,
                 "block %llu was to be mapped here, and has no sums", (unsigned long long)block);
        MR_TRY(mr__dense_look_at(job, block, write_values, out, error));
    }
done:
    return status;
}

static mr_status open_sums(mr__joint *joint, uint64_t view, sums_out *out, mr__error *error)
{
    mr_status status = MR_OK;
    *out = (sums_out){.joint = joint, .view = view, .to = mr__courier_lowest(joint->courier),
                      .bytes = mr__alloc(PIECE)};
    MR_CHECK(out->bytes != NULL, MR_NO_MEMORY, "no memory to send the sums of a round");
done:
    return status;
}

static int compare_works(const void *a, const void *b)
{
    const mr__work *one = a, *other = b;
    return (one->begin > other->begin) - (one->begin < other->begin);
}

static void write_have(const mr__joint *joint, uint64_t units, bool along, mr__writing *to)
{
    const mr__job *job = joint->job;
    uint64_t rows = 0;
    for (uint32_t w = 0; w < job->worker_count; w++)
        rows += job->lanes[w].rows;
    mr__write_u64(to, units);
    mr__write_u64(to, rows);
    mr__write_u64(to, along);
    for (size_t i = 0; i < joint->mapped_works.count && job->dense_results != NULL; i++) {
        mr__write_u64(to, joint->mapped_works.list[i].begin);
        mr__write_u64(to, joint->mapped_works.list[i].end);
    }
}

static mr_status send_all(sums_out *out, const mr__works *works, mr__error *error)
{
    mr_status status = MR_OK;
    if (out->joint->job->dense_results == NULL)
        return send_own_sums(out, error);
    for (size_t i = 0; i < works->count; i++)
        MR_TRY(send_turn(out, works->list[i].begin, works->list[i].end, error));
done:
    return status;
}

mr_status mr__joint_send_tables(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    mr__works *works = &joint->mapped_works;
    mr__writing have = {.size = 0};
    sums_out out = {.bytes = NULL};
    uint64_t units = 0;
    pthread_mutex_lock(&joint->mutex);
    const uint64_t view = joint->reduce_view;
    if (works->count > 0)
        qsort(works->list, works->count, sizeof *works->list, compare_works);
    pthread_mutex_unlock(&joint->mutex);
    MR_TRY(open_sums(joint, view, &out, error));
    for (size_t i = 0; i < works->count; i++)
        units += works->list[i].end - works->list[i].begin;
    const uint64_t tables = job->dense_results != NULL ? units : 1;
    const uint64_t all = job->dense_results != NULL ? job->blocks : joint->working;
    const uint64_t bytes = mr__dense_values(job) * 8;
    const bool along = all * bytes <= job->sums_window || tables * bytes <= job->sums_window / joint->working;
    const mr__table_head head = {.view = view, .what = MR__TABLE_HAVE};
    write_have(joint, units, along, &have);
    MR_CHECK(!have.broken, MR_NO_MEMORY, "no memory to say what sums this rank has");
    MR_TRY(mr__courier_post(joint->courier, MR__BULK, out.to, joint->tag + MR__SAY_TABLE, &head, sizeof head,
                            have.bytes, have.size, error));
    mr__joint_count_sent(joint, out.to, sizeof head + have.size);
    if (along)
        MR_TRY(send_all(&out, works, error));
    MR_TRY(post_sums(&out, error));
done:
    mr__free(out.bytes);
    mr__free(have.bytes);
    return status;
}

/* With the mutex held; false: no memory. */
static bool push_turn(mr__joint *joint, mr__turn turn)
{
    if (joint->turn_count == joint->turn_room) {
        const size_t room = 2 * joint->turn_room + 8;
        mr__turn *made = mr__realloc(joint->turns, room * sizeof *made);
        if (made == NULL)
            return false;
        joint->turns = made;
        joint->turn_room = room;
    }
    joint->turns[joint->turn_count++] = turn;
    return true;
}

mr_status mr__joint_hear_turn(mr__joint *joint, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__turn turn;
    MR_CHECK(size == sizeof turn && joint->job->dense, MR_NETWORK_FAILED, "a turn of %zu bytes cannot be", size);
    memcpy(&turn, bytes, sizeof turn);
    if (!mr__joint_is_steady(joint, turn.view))
        return MR_OK;
    pthread_mutex_lock(&joint->mutex);
    const bool pushed = push_turn(joint, turn);
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(pushed, MR_NO_MEMORY, "no memory for the turns of this rank");
    mr__joint_say(joint, MR__NEXT_SEND);
done:
    return status;
}

mr_status mr__joint_take_turns(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    sums_out out = {.bytes = NULL};
    pthread_mutex_lock(&joint->mutex);
    mr__turn *turns = joint->turns;
    const size_t count = joint->turn_count;
    joint->turns = NULL;
    joint->turn_count = joint->turn_room = 0;
    pthread_mutex_unlock(&joint->mutex);
    for (size_t i = 0; i < count; i++) {
        if (out.bytes == NULL)
            MR_TRY(open_sums(joint, turns[i].view, &out, error));
        out.view = turns[i].view;
        MR_TRY(send_turn(&out, turns[i].begin, turns[i].end, error));
        MR_TRY(post_sums(&out, error));
    }
done:
    mr__free(out.bytes);
    mr__free(turns);
    return status;
}

/* ---- the end of a round ------------------------------------------------------------------------------------------ */

void mr__joint_forget_folded(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    mr__free(joint->folded);
    joint->folded = NULL;
    pthread_mutex_unlock(&joint->mutex);
}

mr_status mr__joint_take_sum(mr__joint *joint, uint8_t *sum, uint64_t rows, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&joint->mutex);
    mr__free(joint->folded);
    joint->folded = sum;
    joint->folded_rows = rows;
    joint->folded_round = joint->round;
    pthread_mutex_unlock(&joint->mutex);
    joint->pass = MR__PASS_NONE;
    MR_TRY(mr__joint_new_round(joint, error));
    mr__joint_say(joint, MR__NEXT_FOLDED);
    mr__joint_fill_places(joint);
done:
    return status;
}

/* ---- the folded table -------------------------------------------------------------------------------------------- */

static size_t pending_of_all(const mr__joint *joint)
{
    size_t pending = 0;
    for (uint32_t r = 0; r < joint->size; r++)
        pending += r != joint->rank ? mr__courier_pending(joint->courier, MR__BULK, r) : 0;
    return pending;
}

/* Everybody is sent it, not those alone who are behind in the view of this rank: who is may be lost meanwhile, and a
 * view be under way. What overtakes it does no harm: only a new view can, and then a rank says that it is a round
 * behind. patient: on a thread that may wait until some of it has left. */
mr_status mr__joint_send_folded(mr__joint *joint, bool patient, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = mr__dense_values(joint->job) * 8;
    pthread_mutex_lock(&joint->mutex);
    const uint8_t *folded = joint->folded;      /* stays as long as others are in this round */
    folded_head head = {.round = htole64(joint->folded_round), .rows = htole64(joint->folded_rows)};
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(folded != NULL, MR_INTERNAL, "folded sums were to be sent, and are gone");
    for (uint32_t r = 0; r < joint->size; r++) {
        for (size_t at = 0; at < bytes && r != joint->rank; at += PIECE) {
            const size_t size = bytes - at < PIECE ? bytes - at : PIECE;
            while (patient && pending_of_all(joint) > WAITING_MOST)
                nap();
            head.first = htole64(at / 8);
            MR_TRY(mr__courier_post(joint->courier, MR__BULK, r, joint->tag + MR__SAY_FOLDED, &head, sizeof head,
                                    folded + at, size, error));
        }
    }
done:
    return status;
}

mr_status mr__joint_share_folded(mr__joint *joint, mr__error *error)
{
    pthread_mutex_lock(&joint->mutex);
    const bool shares = joint->shares_folded;
    joint->shares_folded = false;
    pthread_mutex_unlock(&joint->mutex);
    return shares ? mr__joint_send_folded(joint, true, error) : MR_OK;
}

mr_status mr__joint_folded(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__incoming *incoming = &joint->incoming;
    const size_t all = mr__dense_values(joint->job) * 8;
    folded_head head;
    MR_CHECK(joint->job->dense && size > sizeof head, MR_NETWORK_FAILED, "a rank sent folded sums of %zu bytes", size);
    memcpy(&head, bytes, sizeof head);
    const uint64_t first = le64toh(head.first), here = size - sizeof head;
    if (le64toh(head.round) != joint->round)
        return MR_OK;           /* one more copy of it */
    MR_CHECK(first <= all / 8 && here <= all - first * 8, MR_NETWORK_FAILED, "a rank sent folded sums of %zu bytes",
             size);
    if (first == 0) {
        mr__joint_forget_folded(joint);
        incoming->from = from;
        incoming->size = 0;
    } else if (from != incoming->from || first * 8 != incoming->size) {
        return MR_OK;           /* of one more copy */
    }
    if (incoming->bytes == NULL)
        incoming->bytes = mr__alloc(all);
    MR_CHECK(incoming->bytes != NULL, MR_NO_MEMORY, "no memory for folded sums");
    memcpy(incoming->bytes + first * 8, bytes + sizeof head, here);
    incoming->size += here;
    if (incoming->size < all)
        return MR_OK;
    uint8_t *sum = incoming->bytes;
    *incoming = (mr__incoming){.size = 0};
    MR_TRY(mr__joint_take_sum(joint, sum, le64toh(head.rows), error));
done:
    return status;
}

mr_status mr__joint_take_folded(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    MR_TRY(mr__dense_make_table(job, error));
    pthread_mutex_lock(&joint->mutex);
    joint->rows = joint->folded_rows;
    memcpy(job->dense_table, joint->folded, mr__dense_values(job) * 8);
    pthread_mutex_unlock(&joint->mutex);
    joint->round_here++;
done:
    return status;
}
