/* inbox_carry.c: what the carrier does with an inbox: it writes chunks that are held to the spill, without the mutex,
 * and gives the credits that are owed when there is room again. */
#include "inbox_parts.h"

#include "memory.h"

enum { SPILL_BATCH = 64 };              /* chunks that are away at a time */

bool mr__inbox_owes(const mr__inbox *inbox)
{
    return atomic_load_explicit(&inbox->owes, memory_order_relaxed);
}

typedef struct batch {
    struct {
        mr__hold *from;
        uint32_t rank;
        mr__chunk *chunk;
        mr__extent extent;
    } item[SPILL_BATCH];
    uint32_t count;
} batch;

/* Room for so many more, and for those that are away. */
static mr_status reserve_spilled(mr__hold *one, uint32_t more, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t needed = one->spilled_count + one->away + more;
    if (needed > one->spilled_room) {
        const size_t room = needed + needed / 2 + 8;
        mr__held_extent *grown = mr__realloc(one->spilled, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for the list of spilled extents");
        one->spilled = grown;
        one->spilled_room = room;
    }
done:
    return status;
}

static mr_status send_away(mr__inbox *inbox, uint64_t wanted, batch *away, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t bytes = 0;
    for (uint32_t r = 0; r < inbox->mail->ranks; r++)
        for (mr__hold *one = inbox->senders[r].holds; one != NULL; one = one->next)
            while (one->chunks != NULL && bytes < wanted && away->count < SPILL_BATCH) {
                MR_TRY(reserve_spilled(one, 1, error));
                mr__chunk *chunk = one->chunks;
                one->chunks = chunk->next;
                one->away++;
                away->item[away->count].from = one;
                away->item[away->count].rank = r;
                away->item[away->count++].chunk = chunk;
                bytes += chunk->capacity;
            }
done:
    return status;
}

static mr_status write_batch(mr__spill_writer *writer, batch *away, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t i = 0; i < away->count; i++) {
        const mr__chunk *chunk = away->item[i].chunk;
        MR_TRY(mr__spill_write(writer, chunk->data, chunk->size, chunk->pairs, &away->item[i].extent, error));
    }
    MR_TRY(mr__spill_flush(writer, error));
done:
    return status;
}

/* As extents, or if they were not written as chunks. */
static mr_status take_back(mr__inbox *inbox, batch *away, bool written, uint64_t *freed, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t i = 0; i < away->count; i++) {
        mr__hold *one = away->item[i].from;
        mr__chunk *chunk = away->item[i].chunk;
        one->away--;
        if (written) {
            one->spilled[one->spilled_count++] = (mr__held_extent){chunk->partition, away->item[i].extent};
            *freed += chunk->capacity;
            mr__chunk_release(&inbox->job->pool, chunk);
        } else {
            chunk->next = one->chunks;
            one->chunks = chunk;
        }
        if (one->away > 0)
            continue;
        if (one->orphan) {
            mr__inbox_free_hold(inbox, one);
            continue;
        }
        const mr_status given = mr__inbox_give_out(inbox, away->item[i].rank, one, error);
        status = status == MR_OK ? given : status;
    }
    return status;
}

mr_status mr__inbox_spill(mr__inbox *inbox, mr__spill_writer *writer, uint64_t wanted, uint64_t *freed,
                          mr__error *error)
{
    batch away = {.count = 0};
    *freed = 0;
    pthread_mutex_lock(&inbox->mutex);
    mr_status status = send_away(inbox, wanted, &away, error);
    pthread_mutex_unlock(&inbox->mutex);
    if (status == MR_OK && away.count > 0)
        status = write_batch(writer, &away, error);
    pthread_mutex_lock(&inbox->mutex);
    const mr_status back = take_back(inbox, &away, status == MR_OK, freed, error);
    pthread_mutex_unlock(&inbox->mutex);
    return status == MR_OK ? back : status;
}

mr_status mr__inbox_settle(mr__inbox *inbox, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&inbox->mutex);
    atomic_store_explicit(&inbox->owes, false, memory_order_relaxed);
    for (uint32_t r = 0; status == MR_OK && r < inbox->mail->ranks; r++) {
        mr__sender *from = &inbox->senders[r];
        from->due += from->owed;
        from->owed = 0;
        status = mr__inbox_give_credit(inbox, r, error);
        for (mr__hold *one = from->holds, *next; status == MR_OK && one != NULL; one = next) {
            next = one->next;
            one->forced = false;
            status = mr__inbox_give_out(inbox, r, one, error);
        }
    }
    pthread_mutex_unlock(&inbox->mutex);
    return status;
}

