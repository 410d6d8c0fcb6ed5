/* outbox_carry.c: those who hold items without the mutex: the carrier, which sends one at a time, and who makes room.
 *
 *      lock: choose, hold | unlock: copy, or write and flush | lock: let go
 *
 * An item that was let go of may have been assigned anew meanwhile. Then it was queued for its new owner, and what was
 * sent of it counts for nothing: the flow's generation tells. */
#include "outbox_parts.h"

#include "checksum.h"
#include "memory.h"

enum { CROWDED_CHUNKS = 4 };

/* Ends the hold of an item, which is in its final form. */
static mr_status let_go(mr__outbox *outbox, mr__item *item, mr__error *error)
{
    item->held = false;
    if (item->gone) {
        mr__chunk_release(&outbox->job->pool, item->chunk);
        mr__free(item);
        return MR_OK;
    }
    if (item->leaves) {
        outbox->leaving--;
        return mr__outbox_deliver(outbox, item, error);
    }
    if (item->chunk != NULL)
        mr__outbox_enlist(outbox, item);
    if (item->sent && item->origin.lane != NULL)
        mr__outbox_lay_back(outbox, item);
    return MR_OK;
}

/* ---- the carrier ------------------------------------------------------------------------------------------------- */

static mr_status post_end(mr__outbox *outbox, mr__flow *flow, mr__error *error)
{
    mr_status status = MR_OK;
    mr__share *share = flow->due;
    const mr__cover *input = &share->closed->input;
    const mr__share_name name = {share->epoch, flow->generation, flow->first, flow->last};
    uint8_t head[MR__END_HEAD], *at;
    const size_t size = input->count * MR__RANGE_SIZE;
    uint8_t *ranges = mr__alloc(size);
    MR_CHECK(ranges != NULL, MR_NO_MEMORY, "no memory to tell rank %u the end of an epoch", flow->owner);
    mr__put64(mr__put64(mr__put_name(head, &name), share->chunks), share->pairs);
    at = ranges;
    for (size_t i = 0; i < input->count; i++)
        at = mr__put64(mr__put64(at, input->ranges[i].begin), input->ranges[i].end);
    MR_TRY(outbox->mail->post(outbox->mail->context, MR__BULK, flow->owner, MR__MAIL_END, head, sizeof head, ranges,
                              size, error));
    flow->due = share->behind;
    share->due = false;
    share->told = true;
done:
    mr__free(ranges);
    return status;
}

/* A piece of an item, while the carrier holds it. */
typedef struct piece {
    mr__item *item;
    mr__share_name name;
    uint32_t to, offset, size, flags;   /* offset: assign sets the item's back, whoever holds it */
} piece;

static mr_status post_piece(mr__outbox *outbox, mr__wire *wire, const piece *sent, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__item *item = sent->item;
    mr__spill_reader *reader = NULL;
    const uint8_t *bytes = item->chunk != NULL ? item->chunk->data : NULL;
    mr__extent extent;
    uint8_t head[MR__CHUNK_HEAD], *at;
    uint32_t size = sent->size;
    if (bytes == NULL) {
        MR_TRY(mr__spill_reader_create(outbox->job->spill, &item->extent, 1, 0, &outbox->job->budget, &reader, error));
        MR_TRY(mr__spill_reader_next(reader, &bytes, &extent, error));
    }
    bytes += sent->offset;
    const uint32_t packed = mr__wire_pack(wire, &bytes, &size) ? MR__CHUNK_PACKED : 0;
    at = mr__put32(mr__put32(mr__put_name(head, &sent->name), item->partition), sent->flags | packed);
    at = mr__put32(mr__put32(mr__put32(at, item->pairs), item->size), sent->offset);
    mr__put64(at, mr__checksum(bytes, size, 0));
    MR_TRY(outbox->mail->post(outbox->mail->context, MR__BULK, sent->to, MR__MAIL_CHUNK, head, sizeof head, bytes,
                              size, error));
    atomic_fetch_add_explicit(&outbox->saved, sent->size - size, memory_order_relaxed);
done:
    mr__spill_reader_destroy(reader);
    return status;
}

/* Holds the next item of a flow. */
static piece take_piece(mr__outbox *outbox, mr__flow *flow)
{
    mr__item *item = flow->queue;
    uint64_t *under_way = &outbox->under_way[flow->owner];
    const uint32_t rest = item->size - item->offset;
    piece taken = {.item = item, .to = flow->owner, .offset = item->offset,
                   .size = rest < MR__PIECE_MOST ? rest : MR__PIECE_MOST};
    taken.name = (mr__share_name){item->epoch, flow->generation, flow->first, flow->last};
    *under_way += mr__carry_cost(taken.size);
    taken.flags = *under_way >= outbox->window / 2 ? MR__CREDIT_WANTED : 0;
    if (item->chunk != NULL)
        mr__outbox_unlist(outbox, item);
    item->held = true;
    return taken;
}

/* The piece was posted. */
static void note_sent(mr__outbox *outbox, const piece *sent)
{
    mr__item *item = sent->item;
    mr__flow *flow = mr__outbox_flow(outbox, item->partition);
    if (item->leaves || flow->generation != sent->name.generation)
        return;
    item->offset += sent->size;
    if (item->offset < item->size)
        return;
    flow->queue = item->behind;
    item->sent = true;
    item->offset = 0;
    mr__share *share = mr__flow_share(flow, item->epoch);
    share->unsent--;
    mr__flow_look_at(flow, share);
}

static bool may_send(const mr__outbox *outbox, const mr__flow *flow)
{
    const mr__item *item = flow->queue;
    const uint64_t under_way = outbox->under_way[flow->owner];
    if (item == NULL || item->held)
        return false;
    return item->offset > 0 || under_way < outbox->window / 2 ||
           under_way + mr__carry_cost(item->size) <= outbox->window;
}

/* Bytes that wait for one rank in the courier: enough to keep it busy while the carrier sleeps. */
static uint64_t crowded(const mr__outbox *outbox)
{
    const uint64_t chunks = (uint64_t)outbox->job->pool.capacity * CROWDED_CHUNKS, half = outbox->window / 2;
    return chunks > half ? chunks : half;
}

/* The flow that has something to send; NULL: none. *turn: for the wire. */
static mr__flow *choose(mr__outbox *outbox, mr__carried *carried, mr__wire_turn *turn)
{
    const mr__mail *mail = outbox->mail;
    *carried = MR__CARRY_NOTHING;
    *turn = MR__WIRE_IDLE;
    for (size_t i = 0; i < outbox->flow_count; i++) {
        const size_t index = (outbox->turn + i) % outbox->flow_count;
        mr__flow *flow = &outbox->flows[index];
        if (flow->queue != NULL)
            *turn = MR__WIRE_BLOCKED;
        if (flow->due == NULL && !may_send(outbox, flow))
            continue;
        if (mail->pending(mail->context, MR__BULK, flow->owner) >= crowded(outbox)) {
            *carried = MR__CARRY_CROWDED;
            continue;
        }
        outbox->turn = index + 1;
        *carried = MR__CARRIED;
        *turn = MR__WIRE_SENT;
        return flow;
    }
    return NULL;
}

mr_status mr__outbox_carry(mr__outbox *outbox, mr__wire *wire, mr__carried *carried, mr__error *error)
{
    mr_status status = MR_OK;
    mr__wire_turn turn;
    uint32_t bytes = 0;
    pthread_mutex_lock(&outbox->mutex);
    mr__flow *flow = choose(outbox, carried, &turn);
    if (flow != NULL && flow->due == NULL)
        status = mr__outbox_copy_again(outbox, flow->queue, error);
    if (flow != NULL && flow->due != NULL) {
        status = post_end(outbox, flow, error);
    } else if (flow != NULL && status == MR_OK) {
        const piece sent = take_piece(outbox, flow);
        pthread_mutex_unlock(&outbox->mutex);
        status = post_piece(outbox, wire, &sent, error);
        bytes = sent.size;
        pthread_mutex_lock(&outbox->mutex);
        if (status == MR_OK)
            note_sent(outbox, &sent);
        const mr_status let = let_go(outbox, sent.item, error);
        status = status == MR_OK ? let : status;
    }
    mr__wire_note(wire, turn, bytes, outbox->under_way, outbox->mail->ranks);
    mr__outbox_unlock(outbox);
    return status;
}

uint64_t mr__outbox_saved(const mr__outbox *outbox)
{
    return atomic_load_explicit(&outbox->saved, memory_order_relaxed);
}

/* ---- making room ------------------------------------------------------------------------------------------------- */

/* Holds residents that are to be written; linked by older. With those that need not be written, and are gone at once,
 * they have `wanted` bytes or more. *freed: of these. */
static mr__item *hold(mr__outbox *outbox, uint64_t wanted, bool unsent, uint64_t *freed)
{
    mr__item *held = NULL, **end = &held;
    for (uint64_t bytes = 0; bytes + *freed < wanted;) {
        /* of those that were not sent the last ones are needed last */
        mr__item *item = outbox->residents[true].oldest;
        if (item == NULL && unsent)
            item = outbox->residents[false].newest;
        if (item == NULL)
            break;
        if (item->origin.lane != NULL) {
            *freed += item->chunk->capacity;
            mr__outbox_lay_back(outbox, item);
            continue;
        }
        mr__outbox_unlist(outbox, item);
        item->held = true;
        item->older = NULL;
        *end = item;
        end = &item->older;
        bytes += item->chunk->capacity;
    }
    return held;
}

static mr_status write_items(mr__spill_writer *writer, mr__item *items, mr__error *error)
{
    mr_status status = MR_OK;
    for (mr__item *item = items; item != NULL; item = item->older)
        MR_TRY(mr__spill_write(writer, item->chunk->data, item->size, item->pairs, &item->extent, error));
    MR_TRY(mr__spill_flush(writer, error));
done:
    return status;
}

mr_status mr__outbox_spill(mr__outbox *outbox, mr__spill_writer *writer, uint64_t wanted, bool unsent, uint64_t *freed,
                           mr__error *error)
{
    *freed = 0;
    pthread_mutex_lock(&outbox->mutex);
    mr__item *items = hold(outbox, wanted, unsent, freed);
    pthread_mutex_unlock(&outbox->mutex);
    if (items == NULL)
        return MR_OK;
    mr_status status = write_items(writer, items, error);
    const bool written = status == MR_OK;
    pthread_mutex_lock(&outbox->mutex);
    for (mr__item *item = items, *next; item != NULL; item = next) {
        next = item->older;
        if (written) {
            *freed += item->chunk->capacity;
            if (!item->leaves && !item->gone)
                atomic_fetch_sub_explicit(&outbox->kept, item->chunk->capacity, memory_order_relaxed);
            mr__chunk_release(&outbox->job->pool, item->chunk);
            item->chunk = NULL;
        }
        const mr_status let = let_go(outbox, item, error);
        status = status == MR_OK ? let : status;
    }
    mr__carrier_wake(outbox->carrier);      /* a flow may have waited for one of them */
    mr__outbox_unlock(outbox);
    return status;
}

mr_status mr__outbox_make_room(mr__outbox *outbox, mr__spill_writer *writer, uint64_t wanted, uint64_t *freed,
                               mr__error *error)
{
    return mr__outbox_spill(outbox, writer, wanted, true, freed, error);
}
