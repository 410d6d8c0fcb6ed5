/* courier_ring.c: who is alive: heartbeats around a ring, losses that go round it, farewells.
 *
 *          0 --beat--> 1 --beat--> 2                   2 dies:       0 --> 1 --> 3 --> 4 --> 5 -.
 *          ^                       |                                 ^                          |
 *          5 <--beat-- 4 <-- 3 <---'                                 '--------------------------'
 *
 * Each rank beats to the next living rank and listens to the one before it: a beat a rank, however many there are.
 *
 *   ALIVE --a send failed | silent for the deadline | accused by the owner | heard that it is lost--> LOST
 *   ALIVE --leaves--> LEFT --heard that it is lost--> LOST
 *
 * How a loss gets to everybody. A rank that knows of a loss tells its next in the ring and the lowest living rank; the
 * lowest tells all, which takes one hop; the ring takes as many as there are ranks, and needs nobody in particular.
 * When a neighbour or the lowest is lost, the new one is told of all losses again. So if any rank that lives on knows
 * of a loss, its next does, too, or will be told by who then stands before it; and so on around. A rank is told of a
 * loss at most a few times: messages for a loss grow with the ranks, not with their square. (When many ranks see that a
 * send failed, none of them calls to all.)
 *
 * Silence is seen by one rank only, and a node may have died with many ranks, neighbours in the ring. So the one that
 * sees it tells all and asks all for an answer (the roll call): who does not answer is silent, too. That finds any
 * number of dead ranks in two deadlines; the ring alone would take one deadline for each.
 *
 * Silence is counted in pulses, each as at most two heartbeats: while this rank was kept from running (a busy machine)
 * it could not have heard, and does not blame others. A new neighbour starts with a full deadline, and the first one
 * with four: it may still be starting.
 *
 * Who was away. A rank beats at least every deadline or, when it would be late, expels itself: others may have taken it
 * for lost, and work on without it. One that is cut off does not notice that; so the ranks beside it, and who declared
 * it lost, send it a notice, and the comm forgets the rank some time later. Who gets a notice is expelled.
 * When two take each other for lost, both would go: so one that has the sender for lost as well stays if it lives with
 * more ranks than the sender does, or with as many and a lower one. (A notice waits for the end of the roll call: the
 * sender then knows with how many it lives.) Never do both stay when they hear each other: numbers of the living only
 * fall, and a notice from somebody who is not lost is always obeyed. Two halves that never hear each other again both
 * go on; no protocol without a majority can know better (and all but one may die here). So what must happen once, the
 * commit, is for the file system to decide.
 *
 * Orderly leaving. LEAVE is sent when all posts have left; everybody answers BYE and expects nothing more. The leaver
 * waits for the answers, so that it does not close a connection with bytes in it that somebody still needs (a reset
 * would look like a loss). It costs two messages for each other rank, once.
 *
 * Nothing here needs memory of its own: what a rank is owed is a bit or a number, and is tried again in the next round
 * when the comm has no memory for it. */
#include "courier_parts.h"

#include <stdio.h>
#include <string.h>

enum {
    STARTING = 3,                           /* extra deadlines for the first neighbour */
    PARTING = 4,                            /* deadlines for which the comm still hears a rank that had a notice */
    PULSE_MOST = 2,                         /* heartbeats that a pulse counts */
};

enum cause { UNREACHABLE, SILENT, DECLARED, HEARD };

/* A loss, told. */
typedef struct news {
    uint32_t rank;
    uint32_t living, lowest;                /* as the teller sees it */
    uint32_t answer;                        /* 1: a roll call */
} news;

static uint32_t neighbour(const mr__courier *courier, uint32_t step)
{
    uint32_t rank = courier->rank;
    do
        rank = (uint32_t)(((uint64_t)rank + step) % courier->size);
    while (rank != courier->rank && !mr__is_alive(&courier->peers[rank]));
    return rank;
}

/* Closes the ring over a gap. */
static void close_ring(mr__courier *courier)
{
    const uint32_t prev = neighbour(courier, courier->size - 1);
    if (prev != courier->prev) {
        courier->peers[prev].silence_ns = 0;
        courier->peers[prev].heard = false;
    }
    courier->prev = prev;
    courier->next = neighbour(courier, 1);
    uint32_t lowest = 0;
    while (!mr__is_alive(&courier->peers[lowest]))
        lowest++;                           /* this rank is ALIVE */
    atomic_store_explicit(&courier->lowest, lowest, memory_order_relaxed);
    courier->unsettled = true;
}

void mr__ring_begin(mr__courier *courier)
{
    courier->living = courier->size;
    courier->prev = courier->rank;
    close_ring(courier);
    courier->peers[courier->prev].silence_ns = -STARTING * (int64_t)courier->options.deadline_ns;
    courier->last_pulse = courier->last_beat = mr__courier_clock(courier);
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static void blame(mr__courier *courier, mr__peer *peer, const char *format, const char *detail)
{
    pthread_mutex_lock(&courier->mutex);
    if (peer->why[0] == '\0')
        snprintf(peer->why, sizeof peer->why, format, detail);
    pthread_mutex_unlock(&courier->mutex);
}

static void forget(mr__courier *courier, uint32_t rank)
{
    mr__peer *peer = &courier->peers[rank];
    courier->comm->ops->forget(courier->comm, rank);
    peer->forgotten = true;
    peer->owed = 0;
    courier->partings -= mr__peer_is(peer, MR__PEER_LOST);
}

static void set_awaited(mr__courier *courier, mr__peer *peer, bool awaited)
{
    courier->awaiting += (uint32_t)awaited - (uint32_t)peer->awaited;
    peer->awaited = awaited;
    courier->unsettled |= courier->awaiting == 0;       /* notices may go out */
}

static void lose(mr__courier *courier, uint32_t rank, enum cause cause)
{
    mr__peer *peer = &courier->peers[rank];
    const bool declared = cause == SILENT || cause == DECLARED;
    const bool notice = declared || (cause == HEARD && (rank == courier->next || rank == courier->prev));
    courier->living -= mr__is_alive(peer);
    atomic_store_explicit(&peer->state, MR__PEER_LOST, memory_order_relaxed);
    courier->losses[courier->loss_count++] = rank;
    if (declared)
        courier->roll_call = courier->loss_count;
    mr__queue_drop(courier, rank);
    set_awaited(courier, peer, false);
    peer->owed = notice && !peer->forgotten ? MR__OWE_NOTICE : 0;
    peer->parting_until = 0;                /* with a notice: set when that is sent */
    courier->partings += !peer->forgotten;
    close_ring(courier);
    /* from here on the reason stays as it is, so it is read without the mutex */
    courier->events.lost(courier->events.context, rank, peer->why);
}

void mr__ring_failed(mr__courier *courier, uint32_t rank, const char *why)
{
    mr__peer *peer = &courier->peers[rank];
    if (mr__is_alive(peer))
        blame(courier, peer, "it could not be reached: %.160s", why);
    peer->failed = true;
    courier->failures = true;
}

void mr__ring_judge(mr__courier *courier, bool accusations)
{
    if (!courier->failures && !accusations)
        return;
    courier->failures = false;
    for (uint32_t r = 0; r < courier->size; r++) {
        mr__peer *peer = &courier->peers[r];
        pthread_mutex_lock(&courier->mutex);
        const bool accused = peer->accused;
        peer->accused = false;
        pthread_mutex_unlock(&courier->mutex);
        const bool failed = peer->failed;
        peer->failed = false;
        if (failed && mr__is_alive(peer))
            lose(courier, r, UNREACHABLE);
        else if (failed && !peer->forgotten)
            forget(courier, r);
        else if (accused && mr__is_alive(peer))
            lose(courier, r, DECLARED);
    }
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

void mr__ring_look_at_clock(mr__courier *courier, uint64_t now)
{
    char why[MR__WHY_SIZE];
    const uint64_t away = now - courier->last_beat;
    if (courier->living == 1 || courier->phase >= MR__LEAVING || away <= courier->options.deadline_ns)
        return;
    snprintf(why, sizeof why, "rank %u was stopped for %.1f s; the others wait for at most %.1f s", courier->rank,
             (double)away * 1e-9, (double)courier->options.deadline_ns * 1e-9);
    mr__courier_expel(courier, why);
}

/* false: there was no memory; to be tried again. */
static bool send(mr__courier *courier, uint32_t to, uint32_t tag, const void *bytes, size_t size)
{
    mr__error error;
    mr__error_clear(&error);
    const mr_status status = courier->comm->ops->send(courier->comm, MR__CONTROL, to, tag, bytes, size, &error);
    if (status != MR_OK && status != MR_NO_MEMORY)
        mr__ring_failed(courier, to, error.text);
    if (status == MR_OK && tag != MR__TAG_BEAT)
        mr__queue_busy(courier, to);
    return status != MR_NO_MEMORY;
}

static void watch(mr__courier *courier, uint32_t rank, uint64_t step)
{
    char seconds[32];
    mr__peer *peer = &courier->peers[rank];
    if (peer->heard)
        peer->silence_ns = 0;
    else
        peer->silence_ns += (int64_t)step;
    peer->heard = false;
    if (peer->silence_ns < (int64_t)courier->options.deadline_ns)
        return;
    snprintf(seconds, sizeof seconds, "%.1f", (double)courier->options.deadline_ns * 1e-9);
    blame(courier, peer, "it has sent nothing for %s s", seconds);
    lose(courier, rank, SILENT);
}

void mr__ring_pulse(mr__courier *courier, uint64_t now)
{
    const uint64_t most = PULSE_MOST * courier->options.heartbeat_ns;
    const uint64_t gap = now - courier->last_pulse;
    mr__ring_look_at_clock(courier, now);   /* progress() may have been stopped just now */
    if (gap < courier->options.heartbeat_ns || courier->phase >= MR__LEAVING)
        return;
    courier->last_pulse = now;
    if (courier->living == 1)
        return;
    if (send(courier, courier->next, MR__TAG_BEAT, NULL, 0))
        courier->last_beat = now;
    for (uint32_t r = 0; r < courier->size; r++) {
        const mr__peer *peer = &courier->peers[r];
        if (r != courier->rank && mr__is_alive(peer) && (r == courier->prev || peer->awaited))
            watch(courier, r, gap < most ? gap : most);
    }
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static bool send_news(mr__courier *courier, uint32_t to, uint32_t about, bool answer)
{
    uint8_t bytes[sizeof(news) + MR__WHY_SIZE];
    const uint32_t lowest = atomic_load_explicit(&courier->lowest, memory_order_relaxed);
    const news told = {about, courier->living, lowest, answer};
    const size_t length = strlen(courier->peers[about].why);
    memcpy(bytes, &told, sizeof told);
    memcpy(bytes + sizeof told, courier->peers[about].why, length);
    return send(courier, to, MR__TAG_LOST, bytes, sizeof told + length);
}

/* Tells a living rank of the losses that it should hear of from this one. */
static bool tell(mr__courier *courier, uint32_t rank)
{
    mr__peer *peer = &courier->peers[rank];
    const uint32_t lowest = atomic_load_explicit(&courier->lowest, memory_order_relaxed);
    const bool all = rank == courier->next || rank == lowest || courier->rank == lowest;
    const uint32_t target = all ? courier->loss_count : courier->roll_call;
    for (; peer->told < target; peer->told++) {
        const bool answer = peer->told < courier->roll_call;
        if (!send_news(courier, rank, courier->losses[peer->told], answer))
            return false;
        if (answer && !peer->awaited && rank != courier->prev) {
            peer->silence_ns = 0;
            peer->heard = false;
        }
        if (answer)
            set_awaited(courier, peer, true);
    }
    return true;
}

static bool pay(mr__courier *courier, uint32_t rank)
{
    static const struct {
        uint8_t owed;
        uint32_t tag;
    } debts[] = {{MR__OWE_HERE, MR__TAG_HERE}, {MR__OWE_LEAVE, MR__TAG_LEAVE}, {MR__OWE_BYE, MR__TAG_BYE}};
    mr__peer *peer = &courier->peers[rank];
    for (size_t i = 0; i < MR__COUNT(debts); i++) {
        if ((peer->owed & debts[i].owed) == 0)
            continue;
        if (!send(courier, rank, debts[i].tag, NULL, 0))
            return false;
        peer->owed &= (uint8_t)~debts[i].owed;
    }
    if ((peer->owed & MR__OWE_NOTICE) != 0 && courier->awaiting == 0) {
        if (!send_news(courier, rank, rank, false))
            return false;
        peer->owed = 0;
        peer->parting_until = mr__courier_clock(courier) + PARTING * courier->options.deadline_ns;
    }
    return true;
}

/* Has the comm forget the lost that are owed nothing and had their time. */
static void part(mr__courier *courier)
{
    const uint64_t now = mr__courier_clock(courier);
    for (uint32_t i = 0; courier->partings > 0 && i < courier->loss_count; i++) {
        const mr__peer *peer = &courier->peers[courier->losses[i]];
        if (!peer->forgotten && peer->owed == 0 && now >= peer->parting_until)
            forget(courier, courier->losses[i]);
    }
}

void mr__ring_settle(mr__courier *courier)
{
    if (courier->unsettled) {
        courier->unsettled = false;
        for (uint32_t r = 0; r < courier->size; r++) {
            if (r != courier->rank && mr__is_alive(&courier->peers[r]) && courier->phase < MR__LEAVING)
                courier->unsettled |= !tell(courier, r);
        }
        for (uint32_t r = 0; r < courier->size; r++) {      /* after that: notices wait for a roll call */
            if (r != courier->rank && !courier->peers[r].forgotten)
                courier->unsettled |= !pay(courier, r);
        }
    }
    part(courier);
}

void mr__ring_leave(mr__courier *courier)
{
    for (uint32_t r = 0; r < courier->size; r++) {
        if (r != courier->rank && mr__is_alive(&courier->peers[r]))
            courier->peers[r].owed |= MR__OWE_LEAVE;
    }
    courier->unsettled = true;
}

bool mr__ring_left(const mr__courier *courier)
{
    if (courier->unsettled)
        return false;
    for (uint32_t r = 0; r < courier->size; r++) {
        if (r != courier->rank && mr__is_alive(&courier->peers[r]) && !courier->peers[r].answered)
            return false;
    }
    return true;
}

/* ---- hearing ----------------------------------------------------------------------------------------------------- */

static void heard_of_own_loss(mr__courier *courier, uint32_t from, const news *told, const char *why)
{
    char text[MR__WHY_SIZE];
    const uint32_t lowest = atomic_load_explicit(&courier->lowest, memory_order_relaxed);
    const bool stronger = courier->living > told->living || (courier->living == told->living && lowest < told->lowest);
    if (mr__peer_is(&courier->peers[from], MR__PEER_LOST) && stronger)
        return;
    snprintf(text, sizeof text, "rank %u took rank %u for lost: %.120s", from, courier->rank, why);
    mr__courier_expel(courier, text);
}

static void heard_of_loss(mr__courier *courier, uint32_t from, const void *bytes, size_t size)
{
    news told;
    char why[MR__WHY_SIZE];
    mr__peer *sender = &courier->peers[from];
    if (size < sizeof told || size - sizeof told >= sizeof why)
        return;
    memcpy(&told, bytes, sizeof told);
    memcpy(why, (const uint8_t *)bytes + sizeof told, size - sizeof told);
    why[size - sizeof told] = '\0';
    if (told.rank == courier->rank) {
        heard_of_own_loss(courier, from, &told, why);
        return;
    }
    if (told.rank >= courier->size || mr__peer_is(sender, MR__PEER_LOST))
        return;
    if (told.answer != 0) {
        sender->owed |= MR__OWE_HERE;
        courier->unsettled = true;
    }
    mr__peer *peer = &courier->peers[told.rank];
    if (mr__peer_is(peer, MR__PEER_LOST))
        return;
    blame(courier, peer, "%s", why);
    lose(courier, told.rank, HEARD);
}

static void heard_farewell(mr__courier *courier, uint32_t from)
{
    mr__peer *peer = &courier->peers[from];
    if (mr__is_alive(peer)) {
        atomic_store_explicit(&peer->state, MR__PEER_LEFT, memory_order_relaxed);
        courier->living--;
        mr__queue_drop(courier, from);
        set_awaited(courier, peer, false);
        peer->owed = 0;
        close_ring(courier);
    }
    peer->owed |= MR__OWE_BYE;
    courier->unsettled = true;
}

void mr__ring_received(mr__courier *courier, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    mr__peer *peer = &courier->peers[from];
    if (tag == MR__TAG_LOST)
        heard_of_loss(courier, from, bytes, size);
    else if (mr__peer_is(peer, MR__PEER_LOST))
        return;
    else if (tag == MR__TAG_HERE)
        set_awaited(courier, peer, false);
    else if (tag == MR__TAG_LEAVE)
        heard_farewell(courier, from);
    else if (tag == MR__TAG_BYE)
        peer->answered = true;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

static mr_status check_peer(const mr__courier *courier, uint32_t rank, uint32_t times_lost, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__peer *peer = &courier->peers[rank];
    const bool lost = mr__peer_is(peer, MR__PEER_LOST);
    MR_CHECK(times_lost == lost, MR_INTERNAL, "C2 broken: rank %u is %u times among the losses", rank, times_lost);
    MR_CHECK(!lost || peer->why[0] != '\0', MR_INTERNAL, "C2 broken: rank %u was lost for no reason", rank);
    MR_CHECK(mr__is_alive(peer) || (!peer->awaited && peer->queue[MR__CONTROL].head == NULL &&
                                          peer->queue[MR__BULK].head == NULL),
             MR_INTERNAL, "C3 broken: something is wanted of rank %u", rank);
    MR_CHECK(peer->told <= courier->loss_count, MR_INTERNAL, "C5 broken: rank %u knows of the future", rank);
    MR_CHECK(courier->unsettled || peer->owed == 0 || (peer->owed == MR__OWE_NOTICE && courier->awaiting > 0),
             MR_INTERNAL, "C5 broken: rank %u is owed and not paid", rank);
done:
    return status;
}

mr_status mr__ring_check(const mr__courier *courier, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t living = 0, partings = 0, awaiting = 0;
    const uint32_t lowest = atomic_load_explicit(&courier->lowest, memory_order_relaxed);
    for (uint32_t r = 0; r < courier->size; r++) {
        uint32_t times = 0;
        for (uint32_t i = 0; i < courier->loss_count; i++)
            times += courier->losses[i] == r;
        MR_TRY(check_peer(courier, r, times, error));
        living += mr__is_alive(&courier->peers[r]);
        awaiting += courier->peers[r].awaited;
        partings += mr__peer_is(&courier->peers[r], MR__PEER_LOST) && !courier->peers[r].forgotten;
        MR_CHECK(r >= lowest || !mr__is_alive(&courier->peers[r]), MR_INTERNAL, "C1 broken: rank %u is below %u", r,
                 lowest);
    }
    MR_CHECK(living == courier->living && mr__is_alive(&courier->peers[courier->rank]), MR_INTERNAL,
             "C1 broken: %u ranks are alive and not %u", living, courier->living);
    MR_CHECK(partings == courier->partings && awaiting == courier->awaiting, MR_INTERNAL,
             "C3 broken: %u partings and not %u, or %u awaited and not %u", partings, courier->partings, awaiting,
             courier->awaiting);
    MR_CHECK(courier->next == neighbour(courier, 1) && courier->prev == neighbour(courier, courier->size - 1),
             MR_INTERNAL, "C4 broken: rank %u stands between %u and %u", courier->rank, courier->prev, courier->next);
    MR_CHECK(courier->unsettled || courier->next == courier->rank || courier->phase >= MR__LEAVING ||
                 courier->peers[courier->next].told == courier->loss_count,
             MR_INTERNAL, "C5 broken: rank %u is not told of every loss", courier->next);
done:
    return status;
}
