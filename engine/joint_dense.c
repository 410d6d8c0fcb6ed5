/* joint_dense.c: a round of dense keys on many ranks: no shuffle, a table from each.
 *
 *   rank          all IDLE, REDUCE --> TABLE, TABLE, ... (last) --> coordinator
 *   coordinator   tables of all ranks in the view, but of spares that stand by --> fold, as one rank would (dense.c)
 *                 --> FOLDED --> all
 *   all           the folded table is the job's; round(); the next round begins, or the job is done
 *
 * Floating sums stay reproducible: each block of rows has a table of its own, and they are added in the order of the
 * blocks, whichever rank had which. Integer sums are one table a rank.
 *
 * A rank keeps its tables until it hears FOLDED. When somebody is lost before that, they are sent again in the next
 * view, with those of the blocks that the lost had. FOLDED itself is kept for one round: if its sender is lost
 * half-way, one who has it sends it to the others (joint_view.c).
 *
 *   TABLE     view, last (u32), 0 (u32); of the first: units, rows, then values
 *   values    f64 by block: [block (u64), table]...    else: one table
 *   FOLDED    round (u64), rows (u64), table
 *
 * D1  FOLDED of a round is said once, and only in the view in which all tables came. */
#include "joint_parts.h"

#include <time.h>

enum { PIECE = 4 << 20, WAITING_MOST = 16 << 20, NAP_NS = 200000, TABLE_HEAD = 16, FOLDED_HEAD = 16 };

static size_t table_values(const mr__job *job)
{
    return (size_t)job->plan.dense_keys * job->dense_width;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* What all lanes of this rank added up in the round. */
static mr_status write_sums(const mr__job *job, mr__writing *to, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = table_values(job);
    uint64_t *sums = mr__alloc_zero(count, 8);
    MR_CHECK(sums != NULL, MR_NO_MEMORY, "no memory for %zu dense values", count);
    for (uint32_t w = 0; w < job->worker_count; w++) {
        const void *table = job->lanes[w].emitter.dense;
        for (size_t i = 0; table != NULL && i < count; i++) {
            if (job->dense_f64)
                ((double *)sums)[i] += ((const double *)table)[i];
            else
                sums[i] += ((const uint64_t *)table)[i];
        }
    }
    mr__write(to, sums, count * 8);
done:
    mr__free(sums);
    return status;
}

static mr_status write_tables(mr__joint *joint, mr__writing *to, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    uint64_t units = 0, rows = 0;
    for (size_t i = 0; i < joint->mapped_works.count; i++)
        units += joint->mapped_works.list[i].end - joint->mapped_works.list[i].begin;
    for (uint32_t w = 0; w < job->worker_count; w++)
        rows += job->lanes[w].rows;
    mr__write_u64(to, units);
    mr__write_u64(to, rows);
    if (job->dense_results == NULL)
        MR_TRY(write_sums(job, to, error));
    for (size_t i = 0; i < joint->mapped_works.count && job->dense_results != NULL; i++) {
        const mr__work *work = &joint->mapped_works.list[i];
        for (uint64_t block = work->begin; block < work->end; block++) {
            MR_CHECK(job->dense_results[block] != NULL, MR_INTERNAL, "block %llu was mapped, and has no sums",
                     (unsigned long long)block);
            mr__write_u64(to, block);
            mr__write(to, job->dense_results[block], table_values(job) * 8);
        }
    }
    MR_CHECK(!to->broken, MR_NO_MEMORY, "no memory for the sums of a round");
done:
    return status;
}

mr_status mr__joint_send_tables(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__writing tables = {.size = 0};
    size_t sent = 0;
    pthread_mutex_lock(&joint->mutex);
    const uint64_t view = joint->reduce_view;
    pthread_mutex_unlock(&joint->mutex);
    MR_TRY(write_tables(joint, &tables, error));
    const uint32_t to = mr__courier_lowest(joint->courier);
    while (sent < tables.size) {
        const size_t size = tables.size - sent < PIECE ? tables.size - sent : PIECE;
        struct {
            uint64_t view;
            uint32_t last, zero;
        } head = {view, sent + size == tables.size, 0};
        while (mr__courier_pending(joint->courier, MR__BULK, to) > WAITING_MOST)
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        MR_TRY(mr__courier_post(joint->courier, MR__BULK, to, joint->tag + MR__SAY_TABLE, &head, sizeof head,
                                tables.bytes + sent, size, error));
        mr__joint_count_sent(joint, to, sizeof head + size);
        sent += size;
    }
done:
    mr__free(tables.bytes);
    return status;
}

/* ---- the coordinator --------------------------------------------------------------------------------------------- */

/* With the mutex held. */
static void free_tables(mr__tables *tables, uint32_t count)
{
    for (uint32_t r = 0; tables != NULL && r < count; r++) {
        mr__free(tables[r].bytes);
        tables[r] = (mr__tables){.size = 0};
    }
}

void mr__joint_drop_tables(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    free_tables(joint->tables, joint->size);
    pthread_mutex_unlock(&joint->mutex);
}

static mr_status append(mr__tables *table, const uint8_t *bytes, size_t size, bool last, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(!table->whole, MR_NETWORK_FAILED, "a rank sent its sums twice");
    if (table->size + size > table->room) {
        const size_t room = last ? table->size + size : (table->size + size) * 2;
        uint8_t *made = mr__realloc(table->bytes, room);
        MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the sums of other ranks; raise --memory");
        table->bytes = made;
        table->room = room;
    }
    memcpy(table->bytes + table->size, bytes, size);
    table->size += size;
    table->whole = last;
done:
    return status;
}

mr_status mr__joint_table(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reading in = {bytes, bytes + size, false};
    uint64_t view = 0;
    const void *at = mr__read(&in, sizeof view);
    bool all = true;
    if (at != NULL)
        memcpy(&view, at, sizeof view);
    const bool last = mr__read_u32(&in) != 0;
    mr__read_u32(&in);
    MR_CHECK(!in.broken && joint->job->dense, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", from, size);
    mr__joint_count_received(joint, from, size);
    if (!mr__joint_is_steady(joint, view) || !mr__joint_decided(joint))
        return MR_OK;
    pthread_mutex_lock(&joint->mutex);
    status = append(&joint->tables[from], in.at, (size_t)(in.end - in.at), last, error);
    for (uint32_t r = 0; r < joint->size; r++)
        all &= !mr__members_has(joint->members, r) || mr__joint_is_waiting(joint, r) || joint->tables[r].whole;
    pthread_mutex_unlock(&joint->mutex);
    MR_TRY(status);
    if (all)
        mr__joint_say(joint, MR__NEXT_FOLD);
done:
    return status;
}

/* Adds the sums of one rank to `sum`, or notes where its blocks' sums lie. */
static mr_status take_tables(const mr__job *job, uint32_t rank, const mr__tables *table, void *sum,
                             const double **blocks, uint64_t *units, uint64_t *rows, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = table_values(job), entry = 8 + count * 8;
    const uint8_t *at = table->bytes + TABLE_HEAD, *end = table->bytes + table->size;
    uint64_t numbers[2];
    MR_CHECK(table->size >= TABLE_HEAD, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", rank, table->size);
    memcpy(numbers, table->bytes, sizeof numbers);
    *units += le64toh(numbers[0]);
    *rows += le64toh(numbers[1]);
    if (blocks == NULL) {
        MR_CHECK((size_t)(end - at) == count * 8, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", rank,
                 table->size);
        for (size_t i = 0; i < count; i++) {
            if (job->dense_f64)
                ((double *)sum)[i] += ((const double *)at)[i];
            else
                ((uint64_t *)sum)[i] += ((const uint64_t *)at)[i];
        }
        goto done;
    }
    MR_CHECK((size_t)(end - at) % entry == 0, MR_NETWORK_FAILED, "rank %u sent sums of %zu bytes", rank, table->size);
    for (; at < end; at += entry) {
        uint64_t block;
        memcpy(&block, at, sizeof block);
        block = le64toh(block);
        MR_CHECK(block < job->blocks && blocks[block] == NULL, MR_INTERNAL,
                 "rank %u sent the sums of block %llu, which another one has, or nobody", rank,
                 (unsigned long long)block);
        blocks[block] = (const double *)(at + sizeof block);
    }
done:
    return status;
}

static mr_status add_blocks(const mr__job *job, const double *const *blocks, double *sum, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = table_values(job);
    for (uint64_t b = 0; b < job->blocks; b++) {
        MR_CHECK(blocks[b] != NULL, MR_INTERNAL, "nobody sent the sums of block %llu", (unsigned long long)b);
        for (size_t i = 0; i < count; i++)
            sum[i] += blocks[b][i];
    }
done:
    return status;
}

/* The tables, which the courier's thread may drop at any time, become the caller's. *view: the one in which they came,
 * if they are whole: who says AGAIN in the next one has dropped them before. */
static mr_status steal_tables(mr__joint *joint, mr__tables **tables, uint64_t *view, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tables *fresh = mr__alloc_zero(joint->size, sizeof *fresh);
    MR_CHECK(fresh != NULL, MR_NO_MEMORY, "no memory for the sums of %u ranks", joint->size);
    pthread_mutex_lock(&joint->mutex);
    *tables = joint->tables;
    joint->tables = fresh;
    *view = joint->view;
    pthread_mutex_unlock(&joint->mutex);
done:
    return status;
}

mr_status mr__joint_fold(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    const size_t count = table_values(job), size = FOLDED_HEAD + count * 8;
    uint64_t units = 0, rows = 0, view;
    mr__tables *tables = NULL;
    const double **blocks = NULL;
    uint8_t *fold = NULL;
    bool whole = true;
    MR_CHECK(size <= MR__MESSAGE_MOST, MR_BAD_USAGE,
             "%zu dense values are too many for many ranks: %d MiB are possible", count, MR__MESSAGE_MOST >> 20);
    MR_TRY(steal_tables(joint, &tables, &view, error));
    fold = mr__alloc_zero(1, size);
    if (job->dense_results != NULL)
        blocks = mr__alloc_zero(job->blocks + 1, sizeof *blocks);
    MR_CHECK(fold != NULL && (blocks != NULL || job->dense_results == NULL), MR_NO_MEMORY,
             "no memory for %zu dense values", count);
    for (uint32_t r = 0; r < joint->size; r++) {
        if (!tables[r].whole)
            continue;
        MR_TRY(take_tables(job, r, &tables[r], fold + FOLDED_HEAD, blocks, &units, &rows, error));
    }
    whole = units == job->schedule_total;
    if (!whole)                 /* a view came meanwhile, and dropped some of them: they come again */
        goto done;
    if (blocks != NULL)
        MR_TRY(add_blocks(job, blocks, (double *)(fold + FOLDED_HEAD), error));
    const uint64_t head[] = {htole64(joint->round_here), htole64(rows)};
    memcpy(fold, head, sizeof head);
    pthread_mutex_lock(&joint->mutex);
    mr__free(joint->fold);
    joint->fold = fold;
    joint->fold_size = size;
    pthread_mutex_unlock(&joint->mutex);
    fold = NULL;
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_FOLDED, &view, sizeof view);
done:
    if (tables != NULL)
        free_tables(tables, joint->size);
    mr__free(tables);
    mr__free(blocks);
    mr__free(fold);
    return status;
}

/* This rank goes first, so that it can give out the next round's work when the others ask for it. */
mr_status mr__joint_share_fold(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&joint->mutex);
    uint8_t *fold = joint->fold;
    const size_t size = joint->fold_size;
    joint->fold = NULL;
    pthread_mutex_unlock(&joint->mutex);
    if (fold == NULL)
        return MR_OK;
    MR_TRY(mr__joint_folded(joint, fold, size, error));
    mr__joint_send_folded(joint);
done:
    mr__free(fold);
    return status;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* By the bulk path: on the other one a large table would hold this rank's beats up, and it would be taken for lost. What
 * overtakes it does no harm: only a new view can, and then this rank says that it is a round behind. */
void mr__joint_send_folded(mr__joint *joint)
{
    for (uint32_t r = 0; r < joint->size; r++)
        if (r != joint->rank)
            mr__joint_post(joint, MR__BULK, r, MR__SAY_FOLDED, joint->folded, joint->folded_size);
}

mr_status mr__joint_folded(mr__joint *joint, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t round = 0;
    uint8_t *copy = NULL;
    MR_CHECK(joint->job->dense && size == FOLDED_HEAD + table_values(joint->job) * 8, MR_NETWORK_FAILED,
             "a rank sent folded sums of %zu bytes", size);
    memcpy(&round, bytes, sizeof round);
    if (le64toh(round) != joint->round)
        return MR_OK;           /* one more copy of it */
    copy = mr__alloc(size);
    MR_CHECK(copy != NULL, MR_NO_MEMORY, "no memory for folded sums");
    memcpy(copy, bytes, size);
    pthread_mutex_lock(&joint->mutex);
    mr__free(joint->folded);
    joint->folded = copy;
    joint->folded_size = size;
    pthread_mutex_unlock(&joint->mutex);
    joint->pass = MR__PASS_NONE;
    MR_TRY(mr__joint_new_round(joint, error));
    mr__joint_say(joint, MR__NEXT_FOLDED);
    mr__joint_fill_places(joint);
done:
    return status;
}

mr_status mr__joint_take_folded(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    const size_t count = table_values(job);
    uint64_t rows;
    if (job->dense_table == NULL)
        job->dense_table = mr__arena_alloc(&job->arena, count * 8, 64);
    MR_CHECK(job->dense_table != NULL, MR_NO_MEMORY, "no memory for %zu dense values", count);
    pthread_mutex_lock(&joint->mutex);
    memcpy(&rows, joint->folded + 8, sizeof rows);
    memcpy(job->dense_table, joint->folded + FOLDED_HEAD, count * 8);
    pthread_mutex_unlock(&joint->mutex);
    joint->rows = le64toh(rows);
    joint->round_here++;
done:
    return status;
}
