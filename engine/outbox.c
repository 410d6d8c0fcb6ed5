/* outbox.c: what was put, by partition; what is to be sent, by flow (a group of partitions and its owner).
 *
 *   put --> item --+--> list of its partition          until it is forgotten: it may have to be sent again
 *                  +--> queue of its flow              until it was sent (carrier)
 *                  +--> residents: sent | not sent     while its chunk is in memory; make_room takes them from here
 *
 *   share = epoch x flow, until the owner confirms it:
 *
 *      OPEN --close--> CLOSED --last chunk sent--> DUE --END posted--> TOLD --CONFIRM--> kept, or forgotten
 *
 * An item is a chunk in memory, an extent of the spill, or a stretch of a combine buffer (outbox_table.c). An END
 * follows the last chunk of its share on the same path, so the owner has all of it when it hears how much it is, and
 * holds few shares at a time. ENDs need no credit: the owner keeps a few numbers of each.
 *
 * assign (outbox_flows.c). A group with the same partitions and the same owner goes on as it is. Any other one begins
 * anew: its queue is all items of its partitions, epoch by epoch, so that the owner can count one after the other; its
 * shares are counted from the same items, and from the closed epochs that have no item in it. So what was confirmed by
 * an owner that is lost needs no record: it is what the lists hold.
 *
 * What is forgotten. What an owner has is needed again only if that owner is lost. To keep it costs memory that is not
 * used again while it is warm: here 0.2 to 2.2 ns a byte, most of it the first touch; to do without costs as much as
 * mapping the input again, for the partitions of that owner only. So what is dear to map for its size is kept (words
 * that were counted: 30 ns of mapping for each byte that leaves, and more), and what is cheap is not (records to be
 * sorted: 1 to 3 ns); what is in a combine buffer still takes nothing, and is kept. Of what was forgotten a rank says
 * no more that it was given that input for those partitions: the ledger has it to do (joint_view.c). What that costs
 * the coordinator grows with ranks squared (ledger.c), so many ranks keep all.
 *
 * What began anew is kept, however cheap. The owner of before may be one that never came to be: the coordinator was
 * lost before its plan got there. Then all of the share may lie there, stale, and count if that rank becomes the owner
 * after all (inbox.c). So a share that begins anew (`again`) is never forgotten: its input stays this rank's, and is
 * nobody else's to map. It is little: what was under way to the lost when they were lost, and what is kept anyway.
 *
 * Held items (outbox_carry.c). The carrier copies from an item, and make_room writes items, without the mutex.
 * Meanwhile an item is `held`: it is in no list of residents, and nobody else releases its chunk or sends it. If assign
 * moves its partition to this rank, the item `leaves`: who holds it delivers it. `leaving` counts these: the outbox is
 * not clear before they are where they belong.
 *
 * Credits. under_way[r] counts what was posted to rank r, in pages, and did not come back as credit. From a lost rank
 * none comes back, so little more is posted to it before somebody else owns what it owned. A chunk that takes more than
 * one message leaves in pieces: when the first was sent the others follow without credit, for the owner can give none
 * before it has the whole.
 *
 * O1  Each item is in the list of its partition, of a partition of another rank; it has a chunk, an extent, or an
 *     origin, which says which pairs of which combine buffer it is.
 * O2  A flow's queue has just the items of its partitions that were not sent, each once.
 * O3  An item with a chunk that is not held is in one list of residents, the one that `sent` says. kept = the
 *     capacities of all chunks, but those that leave.
 * O4  A share counts the items of its epoch in its flow, and those of them that were not sent. What has no share and is
 *     of a flow was confirmed. What was forgotten has no item, and the epoch says so of all its partitions.
 * O5  unconfirmed = the shares of all flows. A flow of this rank has none, and no item.
 * O6  A share is due just if it is closed, all its items were sent, and the owner was not told.
 * O7  A share that began anew is not forgotten. */
#include "outbox_parts.h"

#include <stdlib.h>

#include "memory.h"

enum { DEAR_NS = 8 };                   /* of mapping, for a byte of pairs that came of it */
enum { FORGETFUL_RANKS = 512 };

static bool is_clear(const mr__outbox *outbox)
{
    return outbox->open == 0 && outbox->unconfirmed == 0 && outbox->leaving == 0 &&
           (outbox->flow_count > 0 || outbox->epoch_count == 0);
}

void mr__outbox_unlock(mr__outbox *outbox)
{
    const bool clear = is_clear(outbox), became = clear && !outbox->clear;
    outbox->clear = clear;
    pthread_mutex_unlock(&outbox->mutex);
    if (became)
        outbox->mail->clear(outbox->mail->context);
}

/* ---- made and unmade --------------------------------------------------------------------------------------------- */

static void drop_epoch(mr__epoch *epoch)
{
    if (epoch == NULL)
        return;
    mr__cover_fini(&epoch->input);
    mr__cover_fini(&epoch->gone);
    mr__free(epoch);
}

mr_status mr__outbox_create(mr__job *job, const mr__mail *mail, mr__outbox **outbox, mr__error *error)
{
    mr_status status = MR_OK;
    const char *keep = getenv("MILLRACE_KEEP");
    mr__outbox *made = NULL;
    MR_CHECK(keep == NULL || strcmp(keep, "0") == 0 || strcmp(keep, "1") == 0, MR_BAD_USAGE,
             "MILLRACE_KEEP=%s is unknown\n  hint: use 1 (the default) or 0", keep);
    made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for what goes to other ranks");
    pthread_mutex_init(&made->mutex, NULL);
    made->job = job;
    made->mail = mail;
    made->window = mr__carry_window(job, mail->ranks);
    made->keep = keep == NULL ? mail->ranks > FORGETFUL_RANKS ? KEEP_ALL : KEEP_DEAR
                              : keep[0] == '1' ? KEEP_ALL : KEEP_NOTHING;
    made->clear = true;
    made->partition = mr__alloc_zero(job->partitions, sizeof *made->partition);
    made->under_way = mr__alloc_zero(mail->ranks, sizeof *made->under_way);
    MR_CHECK(made->partition != NULL && made->under_way != NULL, MR_NO_MEMORY,
             "no memory for what goes to %u other ranks", mail->ranks - 1);
    *outbox = made;
    made = NULL;
done:
    mr__outbox_destroy(made);
    return status;
}

void mr__outbox_destroy(mr__outbox *outbox)
{
    if (outbox == NULL)
        return;
    for (uint32_t p = 0; outbox->partition != NULL && p < outbox->job->partitions; p++)
        for (mr__item *item = outbox->partition[p], *next; item != NULL; item = next) {
            next = item->next;
            mr__chunk_release(&outbox->job->pool, item->chunk);
            mr__free(item);
        }
    for (size_t i = 0; i < outbox->flow_count; i++)
        mr__flow_fini(&outbox->flows[i]);
    for (size_t i = 0; i < outbox->epoch_count; i++)
        drop_epoch(outbox->epochs[i]);
    mr__free(outbox->flows);
    mr__free(outbox->epochs);
    mr__free(outbox->partition);
    mr__free(outbox->under_way);
    pthread_mutex_destroy(&outbox->mutex);
    mr__free(outbox);
}

void mr__outbox_attach(mr__outbox *outbox, mr__carrier *carrier)
{
    pthread_mutex_lock(&outbox->mutex);
    outbox->carrier = carrier;
    pthread_mutex_unlock(&outbox->mutex);
}

/* ---- lanes ------------------------------------------------------------------------------------------------------- */

uint32_t mr__outbox_begin(mr__outbox *outbox)
{
    pthread_mutex_lock(&outbox->mutex);
    const uint32_t number = outbox->begun++;
    outbox->open++;
    mr__outbox_unlock(outbox);
    return number;
}

static mr_status check_open(const mr__outbox *outbox, uint32_t number, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(number < outbox->begun && outbox->open > 0, MR_INTERNAL, "epoch %u of this rank is not open", number);
done:
    return status;
}

/* The chunk is the outbox's if this succeeds. */
static mr_status keep(mr__outbox *outbox, mr__flow *flow, uint32_t number, mr__chunk *chunk, const mr__origin *origin,
                      mr__error *error)
{
    mr_status status = MR_OK;
    mr__share *share = NULL;
    mr__item *item = mr__alloc_zero(1, sizeof *item);
    MR_CHECK(item != NULL, MR_NO_MEMORY, "no memory for pairs of partition %u that go to another rank",
             chunk->partition);
    MR_TRY(check_open(outbox, number, error));
    if (flow != NULL) {
        const size_t before = flow->share_count;
        MR_TRY(mr__flow_make_share(flow, number, &share, error));
        outbox->unconfirmed += flow->share_count - before;
        MR_CHECK(share->closed == NULL, MR_INTERNAL, "pairs of epoch %u, which was closed", number);
        share->chunks++;
        share->unsent++;
        share->pairs += chunk->pairs;
        share->bytes += origin == NULL ? chunk->size : 0;
        mr__flow_queue(flow, item);
    }
    item->chunk = chunk;
    if (origin != NULL)
        item->origin = *origin;
    item->epoch = number;
    item->partition = chunk->partition;
    item->pairs = chunk->pairs;
    item->size = chunk->size;
    item->next = outbox->partition[chunk->partition];
    outbox->partition[chunk->partition] = item;
    mr__outbox_enlist(outbox, item);
    atomic_fetch_add_explicit(&outbox->kept, chunk->capacity, memory_order_relaxed);
    item = NULL;
done:
    mr__free(item);
    return status;
}

bool mr__outbox_has(mr__outbox *outbox, uint32_t partition)
{
    pthread_mutex_lock(&outbox->mutex);
    const bool own = mr__outbox_owns(outbox, mr__outbox_flow(outbox, partition));
    pthread_mutex_unlock(&outbox->mutex);
    return own;
}

/* What a lane flushes at the end of an epoch are mostly empty chunks, one for each partition, and they stay. */
static mr__chunk *shrink(mr__outbox *outbox, mr__chunk *chunk)
{
    mr__chunk_pool *pool = &outbox->job->pool;
    if (chunk->size > chunk->capacity / 2)
        return chunk;
    const bool own = mr__outbox_has(outbox, chunk->partition);
    mr__chunk *small = own ? NULL : mr__chunk_acquire_small(pool, chunk->partition, chunk->size, false);
    if (small == NULL)
        return chunk;
    memcpy(small->data, chunk->data, chunk->size);
    small->size = chunk->size;
    small->pairs = chunk->pairs;
    mr__chunk_release(pool, chunk);
    return small;
}

mr_status mr__outbox_put(mr__outbox *outbox, uint32_t epoch, mr__chunk *chunk, const mr__origin *origin,
                         uint64_t *waiting, mr__error *error)
{
    mr_status status = MR_OK;
    *waiting = 0;
    if (chunk->size == 0) {
        mr__chunk_release(&outbox->job->pool, chunk);
        return MR_OK;
    }
    if (origin == NULL)
        chunk = shrink(outbox, chunk);
    pthread_mutex_lock(&outbox->mutex);
    mr__flow *flow = mr__outbox_flow(outbox, chunk->partition);
    const bool own = mr__outbox_owns(outbox, flow);
    if (!own) {
        status = keep(outbox, flow, epoch, chunk, origin, error);
        mr__carrier_wake(outbox->carrier);
    } else if (origin != NULL) {
        mr__outbox_leave_in_place(origin, chunk->partition);
    }
    mr__outbox_unlock(outbox);
    if (own && origin == NULL)          /* for good: a living rank keeps what it owns */
        *waiting = mr__exchange_give(outbox->job->exchange, chunk);
    else if (own || status != MR_OK)
        mr__chunk_release(&outbox->job->pool, chunk);
    return status;
}

static mr_status new_epoch(uint32_t number, const mr__mapped *mapped, mr__epoch **epoch, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cover *input = mapped->input;
    mr__epoch *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to close an epoch");
    *made = (mr__epoch){.number = number, .first = mapped->first, .last = mapped->last, .ns = mapped->ns};
    MR_CHECK(input->count <= (MR__MESSAGE_MOST - MR__END_HEAD) / MR__RANGE_SIZE, MR_INTERNAL,
             "an epoch of %zu ranges of the input is too long for a message", input->count);
    MR_TRY(mr__cover_copy(&made->input, input, error));
    *epoch = made;
    made = NULL;
done:
    drop_epoch(made);
    return status;
}

/* epoch: the outbox's if this succeeds. */
static mr_status add_epoch(mr__outbox *outbox, mr__epoch *epoch, mr__error *error)
{
    mr_status status = MR_OK;
    if (outbox->epoch_count == outbox->epoch_room) {
        const size_t room = outbox->epoch_room * 2 + 16;
        mr__epoch **grown = mr__realloc(outbox->epochs, room * sizeof *grown);
        MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for %zu epochs", room);
        outbox->epochs = grown;
        outbox->epoch_room = room;
    }
    outbox->epochs[outbox->epoch_count++] = epoch;
done:
    return status;
}

static mr_status close_shares(mr__outbox *outbox, mr__epoch *epoch, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < outbox->flow_count; i++) {
        mr__flow *flow = &outbox->flows[i];
        const size_t before = flow->share_count;
        if (mr__outbox_owns(outbox, flow))
            continue;
        status = mr__flow_close(flow, epoch, error);
        outbox->unconfirmed += flow->share_count - before;
        MR_TRY(status);
    }
done:
    return status;
}

static mr_status check_empty(const mr__outbox *outbox, uint32_t number, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < outbox->flow_count; i++)
        MR_CHECK(mr__flow_share(&outbox->flows[i], number) == NULL, MR_INTERNAL, "epoch %u has pairs, and no input",
                 number);
done:
    return status;
}

mr_status mr__outbox_close(mr__outbox *outbox, uint32_t number, const mr__mapped *mapped, mr__error *error)
{
    mr_status status = MR_OK;
    mr__epoch *epoch = NULL;
    if (mapped->input->count > 0)
        MR_TRY(new_epoch(number, mapped, &epoch, error));
    pthread_mutex_lock(&outbox->mutex);
    status = check_open(outbox, number, error);
    if (status == MR_OK && epoch == NULL)
        status = check_empty(outbox, number, error);
    if (status == MR_OK && epoch != NULL) {
        status = add_epoch(outbox, epoch, error);
        if (status == MR_OK) {
            status = close_shares(outbox, epoch, error);
            epoch = NULL;
        }
    }
    if (status == MR_OK)
        outbox->open--;
    mr__carrier_wake(outbox->carrier);
    mr__outbox_unlock(outbox);
done:
    drop_epoch(epoch);
    return status;
}

uint64_t mr__outbox_kept(const mr__outbox *outbox)
{
    return atomic_load_explicit(&outbox->kept, memory_order_relaxed);
}

bool mr__outbox_is_clear(const mr__outbox *outbox)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)&outbox->mutex;
    pthread_mutex_lock(mutex);
    const bool clear = is_clear(outbox);
    pthread_mutex_unlock(mutex);
    return clear;
}

/* ---- what owners say --------------------------------------------------------------------------------------------- */

static mr_status take_credit(mr__outbox *outbox, uint32_t from, uint64_t bytes, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(bytes <= outbox->under_way[from], MR_NETWORK_FAILED,
             "rank %u gives credit for %llu bytes, but only %llu went to it", from, (unsigned long long)bytes,
             (unsigned long long)outbox->under_way[from]);
    outbox->under_way[from] -= bytes;
    mr__carrier_wake(outbox->carrier);
done:
    return status;
}

static bool is_dear(const mr__outbox *outbox, const mr__flow *flow, const mr__share *share)
{
    if (outbox->keep != KEEP_DEAR)
        return outbox->keep == KEEP_ALL;
    /* as if each partition had as many pairs of the epoch */
    const double part = (double)(flow->last - flow->first) / (share->closed->last - share->closed->first);
    return (double)share->closed->ns * part >= (double)share->bytes * DEAR_NS;
}

void mr__outbox_drop(mr__outbox *outbox, mr__item *item)
{
    if (item->held) {
        if (item->chunk != NULL)
            atomic_fetch_sub_explicit(&outbox->kept, item->chunk->capacity, memory_order_relaxed);
        item->gone = true;
        return;
    }
    if (item->chunk != NULL)
        mr__outbox_lay_back(outbox, item);
    mr__free(item);
}

/* Nothing is forgotten if this fails. */
static mr_status forget(mr__outbox *outbox, mr__flow *flow, const mr__share *share, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__cover_add(&share->closed->gone, flow->first, flow->last, error));
    for (uint32_t p = flow->first; p < flow->last; p++)
        for (mr__item **at = &outbox->partition[p], *item; (item = *at) != NULL;) {
            if (item->epoch != share->epoch) {
                at = &item->next;
                continue;
            }
            *at = item->next;
            mr__outbox_drop(outbox, item);
        }
done:
    return status;
}

static mr_status take_confirmation(mr__outbox *outbox, uint32_t from, const mr__share_name *name, mr__error *error)
{
    mr_status status = MR_OK;
    mr__flow *flow = mr__outbox_flow(outbox, name->first);
    MR_CHECK(name->generation <= outbox->generation && name->first < name->last &&
                 name->last <= outbox->job->partitions,
             MR_NETWORK_FAILED, "rank %u confirms something that it was never sent", from);
    if (flow == NULL || flow->owner != from || flow->generation != name->generation || flow->first != name->first ||
        flow->last != name->last)
        goto done;      /* it owns this no more */
    mr__share *share = mr__flow_share(flow, name->epoch);
    MR_CHECK(share != NULL && share->told, MR_NETWORK_FAILED, "rank %u confirms epoch %u, of which it was not told",
             from, name->epoch);
    const bool forgets = !share->again && !is_dear(outbox, flow, share);
    if (forgets)
        MR_TRY(forget(outbox, flow, share, error));
    mr__flow_take_share(flow, name->epoch);
    outbox->unconfirmed--;
    if (forgets) {
        share->behind = flow->forgotten;
        flow->forgotten = share;
    } else {
        mr__free(share);
    }
done:
    return status;
}

mr_status mr__outbox_message(mr__outbox *outbox, uint32_t from, uint32_t kind, const void *bytes, size_t size,
                             mr__error *error)
{
    mr_status status = MR_OK;
    const uint8_t *at = bytes;
    const size_t expected = kind == MR__MAIL_CREDIT ? MR__CREDIT_SIZE : MR__CONFIRM_SIZE;
    MR_CHECK(from < outbox->mail->ranks && (kind == MR__MAIL_CREDIT || kind == MR__MAIL_CONFIRM) && size == expected,
             MR_NETWORK_FAILED, "a message of rank %u, kind %u, has %zu bytes", from, kind, size);
    pthread_mutex_lock(&outbox->mutex);
    if (kind == MR__MAIL_CREDIT) {
        status = take_credit(outbox, from, mr__get64(&at), error);
    } else {
        const mr__share_name name = mr__get_name(&at);
        status = take_confirmation(outbox, from, &name, error);
    }
    mr__outbox_unlock(outbox);
done:
    return status;
}

mr_status mr__outbox_forgotten(mr__outbox *outbox, bool (*lost)(void *context, uint32_t rank), void *context,
                               mr__works *forgotten, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&outbox->mutex);
    for (size_t f = 0; f < outbox->flow_count; f++) {
        const mr__flow *flow = &outbox->flows[f];
        if (flow->forgotten == NULL || !lost(context, flow->owner))
            continue;
        for (const mr__share *share = flow->forgotten; share != NULL; share = share->behind)
            for (size_t i = 0; i < share->closed->input.count; i++) {
                const mr__range *range = &share->closed->input.ranges[i];
                MR_TRY(mr__works_push(forgotten, (mr__work){range->begin, range->end, flow->first, flow->last},
                                      error));
            }
    }
done:
    pthread_mutex_unlock(&outbox->mutex);
    return status;
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

static mr_status check_items(const mr__outbox *outbox, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t kept = 0, resident[2] = {0, 0};
    for (uint32_t p = 0; p < outbox->job->partitions; p++) {
        const mr__flow *flow = mr__outbox_flow(outbox, p);
        MR_CHECK(outbox->partition[p] == NULL || !mr__outbox_owns(outbox, flow), MR_INTERNAL,
                 "O1 broken: this rank owns partition %u, and keeps pairs for another", p);
        for (const mr__item *item = outbox->partition[p]; item != NULL; item = item->next) {
            MR_CHECK(item->partition == p && !item->leaves && !item->gone &&
                         (item->chunk != NULL || item->origin.lane != NULL || item->extent.size == item->size),
                     MR_INTERNAL, "O1 broken: an item of partition %u", p);
            kept += item->chunk != NULL ? item->chunk->capacity : 0;
            resident[item->sent] += item->chunk != NULL && !item->held;
        }
    }
    MR_CHECK(kept == mr__outbox_kept(outbox), MR_INTERNAL, "O3 broken: %llu bytes are kept, not %llu",
             (unsigned long long)kept, (unsigned long long)mr__outbox_kept(outbox));
    for (int sent = 0; sent < 2; sent++) {
        for (const mr__item *item = outbox->residents[sent].oldest; item != NULL; item = item->newer, resident[sent]--)
            MR_CHECK(item->chunk != NULL && !item->held && item->sent == sent && resident[sent] > 0, MR_INTERNAL,
                     "O3 broken: a resident of partition %u", item->partition);
        MR_CHECK(resident[sent] == 0, MR_INTERNAL, "O3 broken: residents are missing");
    }
done:
    return status;
}

static mr_status check_share(const mr__outbox *outbox, const mr__flow *flow, const mr__share *share, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t chunks = 0, pairs = 0, unsent = 0;
    for (uint32_t p = flow->first; p < flow->last; p++)
        for (const mr__item *item = outbox->partition[p]; item != NULL; item = item->next)
            if (item->epoch == share->epoch) {
                chunks++;
                pairs += item->pairs;
                unsent += !item->sent;
            }
    MR_CHECK(chunks == share->chunks && pairs == share->pairs && unsent == share->unsent, MR_INTERNAL,
             "O4 broken: epoch %u in the group %u .. %u", share->epoch, flow->first, flow->last);
    MR_CHECK(share->due == (share->closed != NULL && unsent == 0 && !share->told), MR_INTERNAL,
             "O6 broken: epoch %u in the group %u .. %u", share->epoch, flow->first, flow->last);
done:
    return status;
}

static mr_status check_flow(const mr__outbox *outbox, const mr__flow *flow, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t queued = 0;
    for (uint32_t p = flow->first; p < flow->last; p++)
        for (const mr__item *item = outbox->partition[p]; item != NULL; item = item->next) {
            queued += !item->sent;
            MR_CHECK(item->sent || mr__flow_share(flow, item->epoch) != NULL, MR_INTERNAL,
                     "O4 broken: epoch %u has no share, and was not sent", item->epoch);
        }
    for (const mr__item *item = flow->queue; item != NULL; item = item->behind, queued--)
        MR_CHECK(!item->sent && item->partition >= flow->first && item->partition < flow->last && queued > 0,
                 MR_INTERNAL, "O2 broken: the queue of the group %u .. %u", flow->first, flow->last);
    MR_CHECK(queued == 0, MR_INTERNAL, "O2 broken: the queue of the group %u .. %u is short", flow->first, flow->last);
    for (size_t i = 0; i < flow->share_count; i++)
        MR_TRY(check_share(outbox, flow, flow->shares[i], error));
    for (const mr__share *share = flow->forgotten; share != NULL; share = share->behind) {
        MR_CHECK(!share->again, MR_INTERNAL, "O7 broken: epoch %u began anew in the group %u .. %u, and was forgotten",
                 share->epoch, flow->first, flow->last);
        MR_CHECK(mr__cover_has(&share->closed->gone, flow->first, flow->last), MR_INTERNAL,
                 "O4 broken: epoch %u was forgotten in the group %u .. %u, and does not say so", share->epoch,
                 flow->first, flow->last);
        for (uint32_t p = flow->first; p < flow->last; p++)
            for (const mr__item *item = outbox->partition[p]; item != NULL; item = item->next)
                MR_CHECK(item->epoch != share->epoch, MR_INTERNAL, "O4 broken: epoch %u was forgotten, and is kept",
                         share->epoch);
    }
done:
    return status;
}

mr_status mr__outbox_check(const mr__outbox *outbox, mr__error *error)
{
    mr_status status = MR_OK;
    size_t shares = 0;
    pthread_mutex_t *mutex = (pthread_mutex_t *)&outbox->mutex;
    pthread_mutex_lock(mutex);
    MR_TRY(check_items(outbox, error));
    for (size_t i = 0; i < outbox->flow_count; i++) {
        MR_TRY(check_flow(outbox, &outbox->flows[i], error));
        MR_CHECK(outbox->flows[i].share_count == 0 || !mr__outbox_owns(outbox, &outbox->flows[i]), MR_INTERNAL,
                 "O5 broken: this rank would send to itself");
        shares += outbox->flows[i].share_count;
    }
    MR_CHECK(shares == outbox->unconfirmed, MR_INTERNAL, "O5 broken: %zu shares are not confirmed, not %zu", shares,
             outbox->unconfirmed);
done:
    pthread_mutex_unlock(mutex);
    return status;
}
