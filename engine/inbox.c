/* inbox.c: what came, held apart by sender, epoch and group until all of it is there.
 *
 *   CHUNK --> hold of (sender, epoch, group) --+                     +--> job->exchange, extents of the partitions
 *                                              +-- whole, and owned -+--> the group's cover of that sender
 *   END ----> how much there must be ----------+                     +--> CONFIRM
 *
 * Early and stale. A sender may know of a new owner before the owner does: its chunks come early, and are held until
 * assign. A sender may also know of an owner that never came to be: another view overtook that one. What it sent then
 * is stale, and looks just the same. Time tells: if it becomes true, the sender goes on, or begins again with a higher
 * generation, and then what is held of a lower one is dropped. What meets a group of this rank and is not that group
 * can never come true, for a living rank keeps what it owns.
 *
 * Twice. An epoch that came whole in a stale generation is as good as any: its sender keeps what began anew (outbox.c,
 * O7), so if it lives the input is still its own, and nobody else maps it. When it sends the epoch again, that is not
 * counted again: `counted` has the epochs of each sender for each group. Should the same input come in two epochs of a
 * sender, mr__cover_add() ends the job.
 * Rejected: to drop what is stale when a view is applied. A hold does not tell. A flow goes on as it is, in its old
 * generation, if the next view gives the group to the same rank, whether or not that rank ever had the first one.
 *
 * Beyond the budget. A chunk for which there is no room is taken by force, and the carrier is woken. Until it made room
 * (settle) the sender gets no credit, and what is whole is not given out: the exchange only gets what memory has room
 * for, and the spill has the rest. The window bounds how much can come meanwhile.
 *
 * The carrier writes chunks without the mutex; they are `away`, and their hold cannot be given out before they are back
 * (as extents). A hold that is dropped meanwhile is an orphan, which the carrier frees.
 *
 * Messages are copied under the mutex: it is met by the courier's thread and now and then by the carrier. They are
 * checked, and unpacked (wire.h), before.
 *
 * I1  A hold counts its chunks: those in memory, the spilled ones, those that are away.
 * I2  No hold of this rank's groups is of an epoch that was counted there.
 * I3  No hold that is whole and of this rank's group waits, unless some of it is away or was taken by force.
 * I4  No rank that is lost has a hold, or gets credit.
 * I5  A group has counted an epoch of a sender just if it covers some input of it.
 * I6  Nobody waits for a credit that it may have. */
#include "inbox_parts.h"

#include "checksum.h"
#include "memory.h"

/* ---- made and unmade --------------------------------------------------------------------------------------------- */

void mr__inbox_free_hold(mr__inbox *inbox, mr__hold *one)
{
    mr__chunk_release_all(&inbox->job->pool, one->chunks);
    mr__chunk_release(&inbox->job->pool, one->partial);
    mr__cover_fini(&one->input);
    mr__free(one->spilled);
    mr__free(one);
}

static void free_groups(mr__own *groups, size_t count, uint32_t ranks)
{
    for (size_t i = 0; groups != NULL && i < count; i++) {
        for (uint32_t r = 0; r < ranks; r++) {
            if (groups[i].covered != NULL)
                mr__cover_fini(&groups[i].covered[r]);
            if (groups[i].counted != NULL)
                mr__cover_fini(&groups[i].counted[r]);
        }
        mr__free(groups[i].covered);
        mr__free(groups[i].counted);
    }
    mr__free(groups);
}

mr_status mr__inbox_create(mr__job *job, const mr__mail *mail, mr__inbox **inbox, mr__error *error)
{
    mr_status status = MR_OK;
    mr__inbox *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for what comes from other ranks");
    pthread_mutex_init(&made->mutex, NULL);
    made->job = job;
    made->mail = mail;
    made->senders = mr__alloc_zero(mail->ranks, sizeof *made->senders);
    MR_CHECK(made->senders != NULL, MR_NO_MEMORY, "no memory for what comes from %u other ranks", mail->ranks - 1);
    *inbox = made;
    made = NULL;
done:
    mr__inbox_destroy(made);
    return status;
}

void mr__inbox_destroy(mr__inbox *inbox)
{
    if (inbox == NULL)
        return;
    for (uint32_t r = 0; inbox->senders != NULL && r < inbox->mail->ranks; r++)
        for (mr__hold *one = inbox->senders[r].holds, *next; one != NULL; one = next) {
            next = one->next;
            mr__inbox_free_hold(inbox, one);
        }
    free_groups(inbox->groups, inbox->group_count, inbox->mail->ranks);
    mr__free(inbox->senders);
    mr__wire_room_fini(&inbox->unpacked, &inbox->job->budget);
    pthread_mutex_destroy(&inbox->mutex);
    mr__free(inbox);
}

void mr__inbox_attach(mr__inbox *inbox, mr__carrier *carrier)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->carrier = carrier;
    pthread_mutex_unlock(&inbox->mutex);
}

/* ---- credits. Under the mutex, as what follows ------------------------------------------------------------------- */

mr_status mr__inbox_give_credit(mr__inbox *inbox, uint32_t to, mr__error *error)
{
    mr_status status = MR_OK;
    mr__sender *from = &inbox->senders[to];
    uint8_t bytes[MR__CREDIT_SIZE];
    if (!from->waits || from->due == 0 || from->owed > 0)
        goto done;
    mr__put64(bytes, from->due);
    MR_TRY(inbox->mail->post(inbox->mail->context, MR__CONTROL, to, MR__MAIL_CREDIT, bytes, sizeof bytes, NULL, 0,
                             error));
    from->due = 0;
    from->waits = false;
done:
    return status;
}

/* ---- holds ------------------------------------------------------------------------------------------------------- */

static bool same_group(const mr__share_name *left, const mr__share_name *right)
{
    return left->first == right->first && left->last == right->last;
}

static mr__own *find_own(const mr__inbox *inbox, uint32_t first, uint32_t last)
{
    for (size_t i = 0; i < inbox->group_count; i++)
        if (inbox->groups[i].first == first && inbox->groups[i].last == last)
            return &inbox->groups[i];
    return NULL;
}

static bool was_counted(const mr__own *group, uint32_t from, uint32_t epoch)
{
    return group != NULL && mr__cover_has(&group->counted[from], epoch, (uint64_t)epoch + 1);
}

/* It is for a group that this rank will never own, because it owns a part of it for good. */
static bool can_never_be(const mr__inbox *inbox, const mr__share_name *name)
{
    for (size_t i = 0; i < inbox->group_count; i++)
        if (name->first < inbox->groups[i].last && inbox->groups[i].first < name->last)
            return find_own(inbox, name->first, name->last) == NULL;
    return false;
}

static void drop(mr__inbox *inbox, mr__sender *from, mr__hold *one)
{
    mr__hold **at = &from->holds;
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    if (one->partial != NULL)
        from->due += one->partial_cost;
    if (one->away > 0)
        one->orphan = true;
    else
        mr__inbox_free_hold(inbox, one);
}

/* The hold of this name, made if there is none. What is there of a lower generation is dropped. */
static mr_status find_hold(mr__inbox *inbox, uint32_t rank, const mr__share_name *name, mr__hold **out,
                           mr__error *error)
{
    mr_status status = MR_OK;
    mr__sender *from = &inbox->senders[rank];
    mr__hold *one = from->holds;
    while (one != NULL && (one->name.epoch != name->epoch || !same_group(&one->name, name)))
        one = one->next;
    if (one != NULL && one->name.generation < name->generation) {
        drop(inbox, from, one);
        one = NULL;
    }
    MR_CHECK(one == NULL || one->name.generation == name->generation, MR_NETWORK_FAILED,
             "rank %u goes back to what it sent before it sent all of epoch %u again", rank, name->epoch);
    if (one == NULL) {
        one = mr__alloc_zero(1, sizeof *one);
        MR_CHECK(one != NULL, MR_NO_MEMORY, "no memory for an epoch of rank %u", rank);
        one->name = *name;
        one->next = from->holds;
        from->holds = one;
    }
    *out = one;
done:
    return status;
}

static mr_status confirm(mr__inbox *inbox, uint32_t from, const mr__share_name *name, mr__error *error)
{
    uint8_t bytes[MR__CONFIRM_SIZE];
    mr__put_name(bytes, name);
    return inbox->mail->post(inbox->mail->context, MR__CONTROL, from, MR__MAIL_CONFIRM, bytes, sizeof bytes, NULL, 0,
                             error);
}

mr_status mr__inbox_give_out(mr__inbox *inbox, uint32_t rank, mr__hold *one, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = inbox->job;
    mr__own *group = find_own(inbox, one->name.first, one->name.last);
    if (!one->ended)
        return MR_OK;
    MR_CHECK(one->chunk_count <= one->end_chunks && one->pairs <= one->end_pairs &&
                 (one->chunk_count < one->end_chunks || one->pairs == one->end_pairs),
             MR_NETWORK_FAILED,
             "rank %u says that epoch %u has %llu pairs for partitions %u .. %u, and %llu came", rank,
             one->name.epoch, (unsigned long long)one->end_pairs, one->name.first, one->name.last,
             (unsigned long long)one->pairs);
    if (one->chunk_count < one->end_chunks || one->away > 0 || one->forced || group == NULL)
        return MR_OK;
    for (size_t i = 0; i < one->input.count; i++)
        MR_TRY(mr__cover_add(&group->covered[rank], one->input.ranges[i].begin, one->input.ranges[i].end, error));
    MR_TRY(mr__cover_add(&group->counted[rank], one->name.epoch, (uint64_t)one->name.epoch + 1, error));
    for (mr__chunk *chunk; (chunk = one->chunks) != NULL;) {
        one->chunks = chunk->next;
        const uint32_t partition = chunk->partition;
        mr__shuffle_waits(job, partition, mr__exchange_give(job->exchange, chunk));
    }
    for (size_t i = 0; i < one->spilled_count; i++)
        MR_TRY(mr__partition_note_extent(&job->partition[one->spilled[i].partition], &one->spilled[i].extent, error));
    MR_TRY(confirm(inbox, rank, &one->name, error));
    drop(inbox, &inbox->senders[rank], one);
done:
    return status;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

typedef struct chunk_message {
    mr__share_name name;
    uint32_t partition, flags, pairs, size, offset;
    const uint8_t *bytes;           /* unpacked */
    uint32_t here;                  /* bytes */
} chunk_message;

static mr_status check_name(const mr__inbox *inbox, uint32_t from, const mr__share_name *name, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(name->first < name->last && name->last <= inbox->job->partitions, MR_NETWORK_FAILED,
             "rank %u sent something for partitions %u .. %u of %u", from, name->first, name->last,
             inbox->job->partitions);
done:
    return status;
}

static mr_status read_chunk(mr__inbox *inbox, uint32_t from, const uint8_t *at, size_t size, chunk_message *message,
                            mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(size > MR__CHUNK_HEAD && size <= MR__MESSAGE_MOST, MR_NETWORK_FAILED, "a chunk of rank %u has %zu bytes",
             from, size);
    const uint64_t here = size - MR__CHUNK_HEAD;
    message->name = mr__get_name(&at);
    message->partition = mr__get32(&at);
    message->flags = mr__get32(&at);
    message->pairs = mr__get32(&at);
    message->size = mr__get32(&at);
    message->offset = mr__get32(&at);
    const uint64_t hash = mr__get64(&at);
    MR_TRY(check_name(inbox, from, &message->name, error));
    MR_CHECK(message->partition >= message->name.first && message->partition < message->name.last, MR_NETWORK_FAILED,
             "rank %u sent pairs of partition %u for partitions %u .. %u", from, message->partition,
             message->name.first, message->name.last);
    /* all pieces but the last are as large as can be, so a size is not believed before so much was seen */
    const bool packed = (message->flags & MR__CHUNK_PACKED) != 0;
    const uint32_t rest = message->offset < message->size ? message->size - message->offset : 0;
    message->here = rest < MR__PIECE_MOST ? rest : MR__PIECE_MOST;
    message->bytes = at;
    MR_CHECK(message->pairs > 0 && message->offset % MR__PIECE_MOST == 0 &&
                 (packed ? here < message->here : here == message->here),
             MR_NETWORK_FAILED, "rank %u sent %llu %sbytes at %u of a chunk of %u bytes and %u pairs, partition %u",
             from, (unsigned long long)here, packed ? "packed " : "", message->offset, message->size, message->pairs,
             message->partition);
    MR_CHECK(mr__checksum(at, here, 0) == hash, MR_NETWORK_FAILED,
             "pairs of partition %u from rank %u were damaged on their way (checksum)\n  hint: the network or the "
             "memory of one of the two machines fails", message->partition, from);
    if (packed)
        MR_TRY(mr__wire_unpack(&inbox->unpacked, &inbox->job->budget, at, (uint32_t)here, message->here, from,
                               &message->bytes, error));
done:
    return status;
}

static mr__chunk *acquire(mr__chunk_pool *pool, uint32_t partition, uint32_t size, bool *forced)
{
    mr__chunk *chunk = mr__chunk_acquire_small(pool, partition, size, false);
    *forced = false;
    if (chunk == NULL)
        chunk = mr__chunk_acquire(pool, partition, size);
    if (chunk != NULL)
        return chunk;
    *forced = true;
    chunk = mr__chunk_acquire_small(pool, partition, size, true);
    return chunk != NULL ? chunk : mr__chunk_acquire_forced(pool, partition, size);
}

/* A chunk for a message, or what came of it before. *forced: beyond the budget. */
static mr_status open_chunk(mr__inbox *inbox, uint32_t from, mr__hold *one, const chunk_message *message, bool *forced,
                            mr__error *error)
{
    mr_status status = MR_OK;
    if (one->partial != NULL) {
        MR_CHECK(message->offset == one->partial->size && message->partition == one->partial->partition &&
                     message->size == one->partial_size && message->pairs == one->partial_pairs,
                 MR_NETWORK_FAILED, "rank %u sent a piece of another chunk among those of one of partition %u", from,
                 one->partial->partition);
        goto done;
    }
    MR_CHECK(message->offset == 0, MR_NETWORK_FAILED, "rank %u sent a piece of a chunk without its beginning", from);
    one->partial = acquire(&inbox->job->pool, message->partition, message->size, forced);
    MR_CHECK(one->partial != NULL, MR_NO_MEMORY, "no memory for %u bytes of pairs from rank %u", message->size, from);
    one->partial_size = message->size;
    one->partial_pairs = message->pairs;
done:
    return status;
}

static mr_status take_chunk(mr__inbox *inbox, uint32_t rank, const chunk_message *message, mr__error *error)
{
    mr_status status = MR_OK;
    mr__sender *from = &inbox->senders[rank];
    mr__hold *one;
    bool forced = false;
    from->waits |= (message->flags & MR__CREDIT_WANTED) != 0;
    if (was_counted(find_own(inbox, message->name.first, message->name.last), rank, message->name.epoch) ||
        can_never_be(inbox, &message->name)) {
        from->due += mr__carry_cost(message->here);
        return mr__inbox_give_credit(inbox, rank, error);
    }
    MR_TRY(find_hold(inbox, rank, &message->name, &one, error));
    MR_TRY(open_chunk(inbox, rank, one, message, &forced, error));
    mr__chunk *chunk = one->partial;
    memcpy(chunk->data + chunk->size, message->bytes, message->here);
    chunk->size += message->here;
    one->partial_cost += mr__carry_cost(message->here);
    one->forced |= forced;
    if (chunk->size == message->size) {
        chunk->pairs = message->pairs;
        chunk->next = one->chunks;
        one->chunks = chunk;
        one->partial = NULL;
        one->chunk_count++;
        one->pairs += chunk->pairs;
        *(one->forced ? &from->owed : &from->due) += one->partial_cost;
        one->partial_cost = 0;
    }
    if (from->owed > 0) {
        atomic_store_explicit(&inbox->owes, true, memory_order_relaxed);
        mr__carrier_wake(inbox->carrier);
    }
    MR_TRY(mr__inbox_give_credit(inbox, rank, error));
    MR_TRY(mr__inbox_give_out(inbox, rank, one, error));
done:
    return status;
}

static mr_status read_input(uint32_t from, const uint8_t *at, size_t count, mr__cover *input, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t last_end = 0;
    MR_CHECK(count > 0, MR_NETWORK_FAILED, "rank %u ends an epoch without input", from);
    for (size_t i = 0; i < count; i++) {
        const uint64_t begin = mr__get64(&at), end = mr__get64(&at);
        MR_CHECK(begin < end && (i == 0 || begin > last_end), MR_NETWORK_FAILED,
                 "rank %u ends an epoch with ranges of the input that are out of order", from);
        MR_TRY(mr__cover_add(input, begin, end, error));
        last_end = end;
    }
done:
    return status;
}

static mr_status take_end(mr__inbox *inbox, uint32_t rank, const uint8_t *at, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__cover input = {.count = 0};
    mr__hold *one;
    MR_CHECK(size >= MR__END_HEAD && (size - MR__END_HEAD) % MR__RANGE_SIZE == 0, MR_NETWORK_FAILED,
             "the end of an epoch of rank %u has %zu bytes", rank, size);
    const mr__share_name name = mr__get_name(&at);
    const uint64_t chunks = mr__get64(&at), pairs = mr__get64(&at);
    MR_TRY(check_name(inbox, rank, &name, error));
    MR_TRY(read_input(rank, at, (size - MR__END_HEAD) / MR__RANGE_SIZE, &input, error));
    if (was_counted(find_own(inbox, name.first, name.last), rank, name.epoch)) {
        MR_TRY(confirm(inbox, rank, &name, error));
        goto done;
    }
    if (can_never_be(inbox, &name))
        goto done;
    MR_TRY(find_hold(inbox, rank, &name, &one, error));
    MR_TRY(mr__inbox_give_credit(inbox, rank, error));    /* for what was dropped */
    MR_CHECK(!one->ended, MR_NETWORK_FAILED, "rank %u ends epoch %u twice", rank, name.epoch);
    one->ended = true;
    one->end_chunks = chunks;
    one->end_pairs = pairs;
    one->input = input;
    input = (mr__cover){.count = 0};
    MR_TRY(mr__inbox_give_out(inbox, rank, one, error));
done:
    mr__cover_fini(&input);
    return status;
}

mr_status mr__inbox_message(mr__inbox *inbox, uint32_t from, uint32_t kind, const void *bytes, size_t size,
                            mr__error *error)
{
    mr_status status = MR_OK;
    chunk_message message;
    MR_CHECK(from < inbox->mail->ranks && from != inbox->mail->rank &&
                 (kind == MR__MAIL_CHUNK || kind == MR__MAIL_END),
             MR_NETWORK_FAILED, "a message of rank %u, kind %u, is for no inbox", from, kind);
    if (inbox->senders[from].lost)      /* written by this thread alone */
        goto done;
    if (kind == MR__MAIL_CHUNK)
        MR_TRY(read_chunk(inbox, from, bytes, size, &message, error));
    pthread_mutex_lock(&inbox->mutex);
    status = kind == MR__MAIL_CHUNK ? take_chunk(inbox, from, &message, error)
                                    : take_end(inbox, from, bytes, size, error);
    pthread_mutex_unlock(&inbox->mutex);
done:
    return status;
}

/* ---- members change ---------------------------------------------------------------------------------------------- */

/* The groups of this rank among these, with what the old ones have. */
static mr_status new_groups(mr__inbox *inbox, const mr__group *groups, size_t count, mr__own **out, size_t *out_count,
                            mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t ranks = inbox->mail->ranks;
    size_t made_count = 0, kept_count = 0;
    mr__own *made = mr__alloc_zero(count, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for %zu groups of partitions", count);
    for (size_t i = 0; i < count; i++) {
        if (groups[i].owner != inbox->mail->rank)
            continue;
        mr__own *group = &made[made_count++];
        group->first = groups[i].first;
        group->last = groups[i].last;
        if (find_own(inbox, group->first, group->last) != NULL) {
            kept_count++;
            continue;
        }
        group->covered = mr__alloc_zero(ranks, sizeof *group->covered);
        group->counted = mr__alloc_zero(ranks, sizeof *group->counted);
        MR_CHECK(group->covered != NULL && group->counted != NULL, MR_NO_MEMORY,
                 "no memory for what %u ranks send for a group of partitions", ranks);
    }
    MR_CHECK(kept_count == inbox->group_count, MR_INTERNAL,
             "rank %u owned %zu groups of partitions, and is to have %zu of them now", inbox->mail->rank,
             inbox->group_count, kept_count);
    for (size_t i = 0; i < made_count; i++) {
        mr__own *old = find_own(inbox, made[i].first, made[i].last);
        if (old == NULL)
            continue;
        made[i].covered = old->covered;
        made[i].counted = old->counted;
        old->covered = old->counted = NULL;
    }
    *out = made;
    *out_count = made_count;
    made = NULL;
done:
    free_groups(made, made_count, ranks);
    return status;
}

mr_status mr__inbox_assign(mr__inbox *inbox, const mr__group *groups, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    mr__own *made = NULL;
    size_t made_count = 0;
    MR_TRY(mr__carry_check_groups(inbox->job, inbox->mail, groups, count, error));
    pthread_mutex_lock(&inbox->mutex);
    status = new_groups(inbox, groups, count, &made, &made_count, error);
    if (status == MR_OK) {
        free_groups(inbox->groups, inbox->group_count, inbox->mail->ranks);
        inbox->groups = made;
        inbox->group_count = made_count;
    }
    for (uint32_t r = 0; status == MR_OK && r < inbox->mail->ranks; r++)
        for (mr__hold *one = inbox->senders[r].holds, *next; status == MR_OK && one != NULL; one = next) {
            next = one->next;
            if (can_never_be(inbox, &one->name))
                drop(inbox, &inbox->senders[r], one);
            else
                status = mr__inbox_give_out(inbox, r, one, error);
            if (status == MR_OK)
                status = mr__inbox_give_credit(inbox, r, error);      /* for what was dropped */
        }
    mr__carrier_wake(inbox->carrier);
    pthread_mutex_unlock(&inbox->mutex);
done:
    return status;
}

void mr__inbox_forget(mr__inbox *inbox, uint32_t rank)
{
    pthread_mutex_lock(&inbox->mutex);
    mr__sender *from = &inbox->senders[rank];
    while (from->holds != NULL)
        drop(inbox, from, from->holds);
    *from = (mr__sender){.lost = true};
    pthread_mutex_unlock(&inbox->mutex);
}

mr_status mr__inbox_cover(const mr__inbox *inbox, bool (*lost)(void *context, uint32_t rank), void *context,
                          mr__group *groups, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_t *mutex = (pthread_mutex_t *)&inbox->mutex;
    pthread_mutex_lock(mutex);
    for (size_t i = 0; i < count; i++) {
        if (groups[i].owner != inbox->mail->rank)
            continue;
        const mr__own *group = find_own(inbox, groups[i].first, groups[i].last);
        MR_CHECK(group != NULL, MR_INTERNAL, "rank %u does not own just the partitions %u .. %u", inbox->mail->rank,
                 groups[i].first, groups[i].last);
        for (uint32_t r = 0; r < inbox->mail->ranks; r++) {
            const mr__cover *covered = &group->covered[r];
            if (covered->count == 0 || !lost(context, r))
                continue;
            for (size_t k = 0; k < covered->count; k++)
                MR_TRY(mr__cover_unite(&groups[i].covered, covered->ranges[k].begin, covered->ranges[k].end, error));
        }
    }
done:
    pthread_mutex_unlock(mutex);
    return status;
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

static mr_status check_hold(const mr__inbox *inbox, uint32_t rank, const mr__hold *one, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__own *group = find_own(inbox, one->name.first, one->name.last);
    uint64_t chunks = one->spilled_count + one->away;
    for (const mr__chunk *chunk = one->chunks; chunk != NULL; chunk = chunk->next)
        chunks++;
    MR_CHECK(chunks == one->chunk_count, MR_INTERNAL, "I1 broken: epoch %u of rank %u", one->name.epoch, rank);
    MR_CHECK(!was_counted(group, rank, one->name.epoch), MR_INTERNAL, "I2 broken: epoch %u of rank %u",
             one->name.epoch, rank);
    MR_CHECK(group == NULL || !one->ended || chunks < one->end_chunks || one->away > 0 || one->forced, MR_INTERNAL,
             "I3 broken: epoch %u of rank %u", one->name.epoch, rank);
done:
    return status;
}

mr_status mr__inbox_check(const mr__inbox *inbox, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_t *mutex = (pthread_mutex_t *)&inbox->mutex;
    pthread_mutex_lock(mutex);
    for (uint32_t r = 0; r < inbox->mail->ranks; r++) {
        const mr__sender *from = &inbox->senders[r];
        MR_CHECK(!from->lost || (from->holds == NULL && from->due == 0 && from->owed == 0), MR_INTERNAL,
                 "I4 broken: rank %u is lost", r);
        MR_CHECK(!from->waits || from->due == 0 || from->owed > 0, MR_INTERNAL, "I6 broken: rank %u waits", r);
        for (const mr__hold *one = from->holds; one != NULL; one = one->next)
            MR_TRY(check_hold(inbox, r, one, error));
        for (size_t i = 0; i < inbox->group_count; i++)
            MR_CHECK((inbox->groups[i].counted[r].count > 0) == (inbox->groups[i].covered[r].count > 0), MR_INTERNAL,
                     "I5 broken: group %u .. %u of rank %u", inbox->groups[i].first, inbox->groups[i].last, r);
    }
done:
    pthread_mutex_unlock(mutex);
    return status;
}
