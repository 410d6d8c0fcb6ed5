/* joint_tell.c: what the record of a job of many ranks says about each of them.
 *
 *   rank          TOLD, DONE --> coordinator          with every DONE; the last one counts
 *   coordinator   commits; waits a moment for those that are still on their way; keeps the record
 *
 * A TOLD (record_rank.c) goes by the bulk path, where it delays nothing: whatever pairs there were have been confirmed
 * by then. So it may be heard after its DONE, which took the other path, and after the commit. A coordinator that is
 * lost before it committed has a successor, which gets DONE from all, and TOLD with it. What a rank told before it was
 * lost is kept.
 *
 * Traces are cut so that those of all ranks stay within TRACES_MOST and a share of the memory limit, however many ranks
 * there are: each knows its own share, so nothing is sent to be thrown away.
 *
 * The record is no reason for a job to fail, so neither is anything here: without memory, or if it cannot be read, the
 * record has less about this rank. */
#include "joint_parts.h"

#include <stdio.h>
#include <unistd.h>

enum { TRACE_MOST = 4 << 20, TRACES_MOST = 64 << 20, MEMORY_SHARE = 16 };

static const uint64_t PATIENCE_NS = 2000000000;

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static uint64_t bytes_before(const mr__job *job, uint64_t unit)
{
    return job->schedule_total > 0 ? (uint64_t)((unsigned __int128)unit * job->plan.input_bytes / job->schedule_total)
                                   : 0;
}

uint64_t mr__joint_bytes(const mr__job *job, const mr__work *work)
{
    return bytes_before(job, work->end) - bytes_before(job, work->begin);
}

/* What any thread may ask for while no task runs. */
static mr__record_rank numbers_of(mr__job *job)
{
    const mr__joint *joint = job->joint;
    mr__record_rank numbers = {.pid = (uint64_t)getpid(), .workers = job->cpu_workers, .devices = job->devices.count,
                               .keys = atomic_load(&job->keys), .output_bytes = atomic_load(&job->output_bytes),
                               .sent_bytes = atomic_load(&joint->sent_bytes),
                               .received_bytes = atomic_load(&joint->received_bytes),
                               .saved_bytes = joint->outbox != NULL ? mr__outbox_saved(joint->outbox) : 0,
                               .peak_rss_bytes = mr__peak_rss_bytes()};
    for (uint32_t w = 0; job->lanes != NULL && w < job->worker_count; w++) {
        numbers.pairs += job->lanes[w].pairs;
        numbers.rows += job->lanes[w].rows;
    }
    for (uint32_t d = 0; d < job->devices.count; d++)
        if (job->devices.item[d].link != NULL)
            numbers.device_tasks += mr__device_link_story(job->devices.item[d].link)->tasks;
    pthread_mutex_lock(&job->spill_mutex);
    numbers.spilled_bytes = mr__job_spilled(job);
    pthread_mutex_unlock(&job->spill_mutex);
    pthread_mutex_lock(&job->schedule.mutex);
    numbers.map_tasks = job->schedule.maps_done;
    numbers.map_ns = job->schedule.map_ns;
    pthread_mutex_unlock(&job->schedule.mutex);
    return numbers;
}

/* Of a rank with dense keys those of the last round: what it was given for the next one is nothing. */
static void add_works(mr__joint *joint, mr__record_rank *numbers)
{
    numbers->works = joint->works_given;
    if (!joint->job->dense) {
        numbers->input_bytes = joint->bytes_given;
        return;
    }
    pthread_mutex_lock(&joint->mutex);
    for (size_t i = 0; i < joint->mapped_works.count; i++)
        numbers->input_bytes += mr__joint_bytes(joint->job, &joint->mapped_works.list[i]);
    pthread_mutex_unlock(&joint->mutex);
}

static size_t trace_share(const mr__joint *joint)
{
    const uint64_t limit = joint->job->session->memory_limit / MEMORY_SHARE;
    const uint64_t share = (limit < TRACES_MOST ? limit : TRACES_MOST) / joint->size;
    return share < TRACE_MOST ? (size_t)share : TRACE_MOST;
}

void mr__joint_tell(mr__joint *joint)
{
    mr__writing to = {.size = 0};
    mr__error ignored = {.text = ""};
    const mr__job *job = joint->job;
    const uint32_t coordinator = mr__courier_lowest(joint->courier);
    const bool own = coordinator == joint->rank;
    mr__record_rank numbers = numbers_of(joint->job);
    add_works(joint, &numbers);
    numbers.host = joint->host;
    const bool traced = !own && job->session->records[0] != '\0';
    mr__record_rank_pack(&numbers, traced ? job->trace : NULL, trace_share(joint), &to);
    if (to.broken)
        to.size = 0;            /* nobody is to wait for it */
    if (own)
        mr__joint_told(joint, joint->rank, to.bytes, to.size);
    else
        mr__courier_post(joint->courier, MR__BULK, coordinator, joint->tag + MR__SAY_TOLD, to.bytes, to.size, NULL, 0,
                         &ignored);
    mr__free(to.bytes);
}

/* ---- hearing ----------------------------------------------------------------------------------------------------- */

void mr__joint_told(mr__joint *joint, uint32_t from, const void *bytes, size_t size)
{
    uint8_t *copy = mr__alloc(size + 1);
    if (copy != NULL && size > 0)
        memcpy(copy, bytes, size);
    pthread_mutex_lock(&joint->mutex);
    mr__told *told = &joint->told[from];
    mr__free(told->bytes);
    *told = (mr__told){copy, copy != NULL ? size : 0, true};
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
}

void mr__joint_note_loss(mr__joint *joint, uint32_t rank, const char *why)
{
    pthread_mutex_lock(&joint->mutex);
    mr__loss *loss = &joint->losses[joint->lost++];
    *loss = (mr__loss){.rank = rank, .when_ns = (int64_t)mr__clock_ns(CLOCK_REALTIME)};
    snprintf(loss->why, sizeof loss->why, "%s", why);
    pthread_mutex_unlock(&joint->mutex);
}

/* ---- the record -------------------------------------------------------------------------------------------------- */

/* With the mutex held. */
static bool all_told(const mr__joint *joint)
{
    for (uint32_t r = 0; r < joint->size; r++)
        if (!joint->told[r].heard && !mr__courier_is_lost(joint->courier, r))
            return false;
    return true;
}

/* Waits only where all said that they are done. What was told becomes the job's own thread's. */
static void steal_told(mr__joint *joint)
{
    const uint64_t begin = mr__now_ns();
    pthread_mutex_lock(&joint->mutex);
    while (joint->commit_ns > 0 && !all_told(joint) && mr__now_ns() - begin < PATIENCE_NS)
        mr__joint_wait_a_little(joint);
    memcpy(joint->recorded, joint->told, joint->size * sizeof *joint->told);
    memset(joint->told, 0, joint->size * sizeof *joint->told);
    pthread_mutex_unlock(&joint->mutex);
}

/* This rank as it is now, for the coordinator may have done more since it told. */
static void fill_own(mr__joint *joint, mr__record_rank *rank)
{
    const mr__record_rank told = *rank;
    *rank = numbers_of(joint->job);
    rank->host = joint->host;
    rank->works = told.works;
    rank->input_bytes = told.input_bytes;
}

void mr__joint_fill_record(mr__joint *joint, mr__record *record)
{
    const uint32_t lost = record->stats->ranks_lost;
    mr__record_rank *ranks = mr__alloc_zero(joint->size, sizeof *ranks);
    mr__record_loss *losses = mr__alloc_zero(lost + 1, sizeof *losses);
    joint->record_ranks = ranks;
    joint->record_losses = losses;
    if (ranks == NULL || losses == NULL || joint->recorded == NULL)
        return;
    steal_told(joint);
    for (uint32_t r = 0; r < joint->size; r++)
        if (joint->recorded[r].size == 0 ||
            !mr__record_rank_unpack(joint->recorded[r].bytes, joint->recorded[r].size, &ranks[r]))
            ranks[r].lost = mr__courier_is_lost(joint->courier, r);     /* maybe in an earlier job */
    fill_own(joint, &ranks[joint->rank]);
    for (uint32_t i = 0; i < lost; i++) {
        const mr__loss *loss = &joint->losses[i];
        losses[i] = (mr__record_loss){loss->rank, loss->when_ns, loss->why};
        ranks[loss->rank].lost = true;
    }
    pthread_mutex_lock(&joint->mutex);
    for (uint32_t r = joint->working; r < joint->size; r++) {
        ranks[r].spare = true;
        ranks[r].took_place = joint->took_place != NULL && joint->took_place[r];
    }
    pthread_mutex_unlock(&joint->mutex);
    record->ranks = ranks;
    record->rank_count = joint->size;
    record->rank = joint->rank;
    record->losses = losses;
    record->loss_count = lost;
}

mr_status mr__joint_tell_init(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    gethostname(joint->host, sizeof joint->host - 1);
    joint->told = mr__alloc_zero(joint->size, sizeof *joint->told);
    joint->recorded = mr__alloc_zero(joint->size, sizeof *joint->recorded);
    joint->losses = mr__alloc_zero(joint->size, sizeof *joint->losses);
    MR_CHECK(joint->told != NULL && joint->recorded != NULL && joint->losses != NULL, MR_NO_MEMORY,
             "no memory for a job of %u ranks", joint->size);
done:
    return status;
}

void mr__joint_tell_fini(mr__joint *joint)
{
    for (uint32_t r = 0; joint->told != NULL && r < joint->size; r++)
        mr__free(joint->told[r].bytes);
    for (uint32_t r = 0; joint->recorded != NULL && r < joint->size; r++)
        mr__free(joint->recorded[r].bytes);
    mr__free(joint->told);
    mr__free(joint->recorded);
    mr__free(joint->losses);
    mr__free(joint->record_ranks);
    mr__free(joint->record_losses);
}
