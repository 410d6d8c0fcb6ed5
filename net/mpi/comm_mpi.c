/* comm_mpi.c: messages between ranks through MPICH, under the discipline that survives the loss of a rank.
 *
 *   send -> cut into pieces -> waiting -> flying ~~~ MPI ~~~> flying -> put together -> received
 *   give ---> [head|the parcel] -^       (a window)           (tested in order)
 *
 * Pieces. A message is one piece or several. Once MPI has begun to send a large message, nothing else to that rank
 * overtakes it; so no large message is ever given to MPI, and of the bulk pieces no more than a window: a control
 * message waits for WINDOW bytes at most, whatever is queued. The window also bounds what is lost for good when a rank
 * is lost. Bulk is sent synchronously: a piece leaves the window when its receiver has matched it. A plain Isend of a
 * small piece is done when the socket has it, and each of the receiver's probes takes one piece out of UCX's queue and
 * lets several in: the queue grew without bound, and with it each search (16 KiB: 0.29 GB/s; synchronously 2.0).
 * Order. Each path has a tag of its own, and MPI keeps the order of messages of one sender and one tag. They may
 * complete out of order, so only the oldest of each way is tested: it is the one whose turn it is.
 * Nothing waits. Improbe, Imrecv, Isend and Test return at once, and each moves UCX on by a step. An idle progress() is
 * two Improbes. Where memory is short a message stays with MPI until there is some. Above RECEIVING_MOST no more bulk
 * is taken from MPI: the senders' windows stay full, and they wait.
 *
 * A lost rank. A send to the dead fails at once over tcp; one that is under way may not, so it takes small sends from
 * time to time (heartbeats, on the control path) to notice. A receive from them may never complete; or it completes,
 * and MPICH says that all is well, when nothing or only a part of the message lies in the buffer (a sender that ends in
 * the middle of a rendezvous; seen once in some 20 runs that did it on purpose). So each piece carries a number and a
 * sum, and a piece that is not what was due means that its sender is lost. The sum covers sender, path, generation and
 * number: what an earlier use left in the buffer, itself a good piece, does not pass.
 * No request that involves a lost rank is touched again: MPI_Cancel, MPI_Request_free and MPI_Test on it end in UCX's
 * code for a connection that is gone. As UCX may still write to a receive's buffer, the buffer is never used or freed
 * again: buried, at most a window for each path and lost rank. What a lost rank sent before is matched and not
 * received: receiving it would answer a rank that is gone. A rank that was only stopped and goes on finds its windows
 * full and its messages unanswered.
 *
 * MPI can be begun once in a process (mpi_start.c), so all of this is one static object that lives as long as the
 * process, and a generation is part of the tag: what is left over from a closed comm is never matched.
 *
 * C1  A way's unsent bytes are the bytes of its lists; flying is within the window, or is one piece.
 * C2  A way is in `busy` if and only if it has pieces; its place there is the one it knows.
 * C3  A rank that is not alive has no pieces, and no message half put together.
 * C4  `receiving` is the sum of the bulk pieces that fly in.
 *
 * Measured on the reference machine, two ranks over tcp (loopback), everything else stopped: a control message takes
 * 4.3 us one way; bulk messages of 256 KiB 4.0 GB/s, 1 MiB 3.7, 16 KiB 2.0, 1 KiB 0.2. A rank that polls each
 * millisecond without a message uses 2.1-2.9 % of a CPU, and 10 MiB of memory, MPICH and the C library included.
 * Storms (tests/net/mpi_storm.c, 4 ranks, one killed or stopped): 200 of 200 survived; 200 of 200 before, when bulk was
 * sent by Isend, on a machine with a load of 18. */
#include "comm_mpi.h"

#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "fault.h"
#include "launch.h"
#include "memory.h"
#include "mpi_start.h"
#include "pieces.h"

enum {
    WINDOW = 1 << 20,               /* bytes of a way that MPI has at once */
    WINDOW_PIECES = 64,
    RECEIVING_MOST = 8 << 20,
    EVENTS_MOST = 32,               /* of one progress() */
    PROBES_MOST = 16,
    TESTS_MOST = 64,
    LAST_STEPS = 100,               /* of MPI's progress, in close() */
    HEAD_MAGIC = 0x6d727063,
    NOWHERE = UINT32_MAX
};

typedef struct head {               /* in front of each piece */
    uint32_t magic, tag;
    uint32_t size, offset;          /* of the message; of this piece in it */
    uint64_t number;                /* of the piece on its way */
    uint64_t sum;                   /* of its bytes and of what is above, see sum_of() */
} head;

enum { PART_MOST = MR__PIECE_MOST - sizeof(head) };
_Static_assert(sizeof(head) <= MR__PARCEL_FRONT, "a head lies in front of a parcel");

typedef struct way {                /* one direction of one path to one rank */
    mr__pieces flying;              /* with MPI, the oldest first */
    mr__pieces waiting;             /* not yet with MPI; to oneself: until it is received */
    uint32_t rank;
    uint32_t place;                 /* in busy; NOWHERE */
    mr__path path;
    bool incoming;
    uint64_t number;                /* of the next piece */
    uint8_t *whole;                 /* a message of which pieces are missing, or NULL */
    uint32_t whole_tag, whole_size, whole_done;
} way;

enum peer_state { ALIVE, FAILED, FORGOTTEN };

typedef struct peer {
    way to[MR__PATHS], from[MR__PATHS];
    enum peer_state state;
    bool told;                      /* FAILED: unreachable() was called */
    char *why;                      /* FAILED; NULL: there was no memory for it */
} peer;

typedef struct mpi_comm {
    mr__comm comm;                  /* first: what callers hold */
    bool begun, threads, open;
    uint32_t rank, size;
    uint32_t generation, generations;
    peer *peers;
    way **busy;                     /* room for all ways of all ranks */
    uint32_t busy_count, cursor;
    uint32_t untold;                /* ranks that failed and were not told */
    size_t receiving;               /* bytes of bulk pieces that fly in */
    mr__piece_pool pool;
    bool held;                      /* a message was matched for which there was no memory */
    MPI_Message held_message;
    uint32_t held_from, held_size;
    mr__path held_path;
} mpi_comm;

static mpi_comm the;

static int mpi_tag(mr__path path)
{
    return (int)(the.generation * MR__PATHS + path);
}

/* ---- ways -------------------------------------------------------------------------------------------------------- */

static bool is_idle(const way *of)
{
    return of->flying.head == NULL && of->waiting.head == NULL;
}

static void settle(way *of)
{
    if (is_idle(of) && of->place != NOWHERE) {
        way *last = the.busy[--the.busy_count];
        the.busy[of->place] = last;
        last->place = of->place;
        of->place = NOWHERE;
    } else if (!is_idle(of) && of->place == NOWHERE) {
        of->place = the.busy_count;
        the.busy[the.busy_count++] = of;
    }
}

/* A request that is complete has left MPI; any other must not be touched again. */
static void clear(way *of)
{
    mr__piece *piece;
    if (of->incoming && of->path == MR__BULK)
        the.receiving -= of->flying.bytes;
    while ((piece = mr__pieces_pop(&of->flying)) != NULL) {
        if (piece->request == MPI_REQUEST_NULL)
            mr__piece_release(&the.pool, piece);
        else
            mr__piece_bury(&the.pool, piece);
    }
    while ((piece = mr__pieces_pop(&of->waiting)) != NULL)
        mr__piece_release(&the.pool, piece);
    mr__free(of->whole);
    of->whole = NULL;
    settle(of);
}

static void clear_peer(peer *of)
{
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        clear(&of->to[path]);
        clear(&of->from[path]);
    }
}

static void fail_peer(uint32_t rank, const char *what, int code)
{
    peer *failed = &the.peers[rank];
    char text[MPI_MAX_ERROR_STRING + 64] = "", reason[MPI_MAX_ERROR_STRING] = "";
    int size = 0;
    if (failed->state != ALIVE)
        return;
    clear_peer(failed);
    if (code != MPI_SUCCESS && MPI_Error_string(code, reason, &size) != MPI_SUCCESS)
        reason[0] = '\0';
    /* MPICH gives a stack of calls, a line each; the last says what happened */
    const char *last = strrchr(reason, '\n');
    snprintf(text, sizeof text, "%s%s%s", what, reason[0] != '\0' ? ": " : "", last != NULL ? last + 1 : reason);
    failed->state = FAILED;
    failed->told = false;
    failed->why = mr__strdup(text);
    the.untold++;
}

static bool tell_failures(const mr__comm_events *events)
{
    bool told = false;
    for (uint32_t rank = 0; rank < the.size && the.untold > 0; rank++) {
        peer *failed = &the.peers[rank];
        if (failed->state != FAILED || failed->told)
            continue;
        char *why = failed->why;
        failed->why = NULL;
        failed->told = true;
        the.untold--;
        told = true;
        events->unreachable(events->context, rank, why != NULL ? why : "a send to it failed");
        mr__free(why);
    }
    return told;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static bool window_is_open(const way *to)
{
    return to->flying.count == 0 ||
           (to->flying.count < WINDOW_PIECES && to->flying.bytes + to->waiting.head->size <= WINDOW);
}

/* Synchronous on the bulk path: it is done when the receiver has matched it, so that the window holds for small pieces,
 * too, and not only for those that MPI sends by rendezvous. */
static int start_send(const way *to, mr__piece *piece)
{
    if (mr__fault(MR__FAULT_MPI_SEND))
        return MPI_ERR_OTHER;
    const int count = (int)piece->size, rank = (int)to->rank, tag = mpi_tag(to->path);
    return to->path == MR__BULK
               ? MPI_Issend(piece->bytes, count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &piece->request)
               : MPI_Isend(piece->bytes, count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &piece->request);
}

static bool start_sends(way *to)
{
    bool happened = false;
    while (to->waiting.head != NULL && window_is_open(to)) {
        mr__piece *piece = mr__pieces_pop(&to->waiting);
        happened = true;
        const int code = start_send(to, piece);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&the.pool, piece);
            fail_peer(to->rank, "a send to it failed", code);
            break;
        }
        mr__pieces_push(&to->flying, piece);
    }
    settle(to);
    return happened;
}

static bool end_sends(way *to)
{
    bool happened = false;
    for (mr__piece *piece; (piece = to->flying.head) != NULL; happened = true) {
        int done = 0;
        const int code = MPI_Test(&piece->request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&the.pool, mr__pieces_pop(&to->flying));
            fail_peer(to->rank, "a send to it failed", code);
            return true;
        }
        if (!done)
            break;
        mr__piece_release(&the.pool, mr__pieces_pop(&to->flying));
    }
    settle(to);
    return happened;
}

/* Says which piece it is, and that all of it is there: no other piece that ever lay in its buffer has this sum. */
static uint64_t sum_of(const mr__piece *piece, head front, uint32_t sender, const way *of)
{
    front.sum = (uint64_t)the.generation << 32 | sender << 1 | (uint32_t)of->path;
    return mr__checksum(piece->bytes + sizeof front, piece->size - sizeof front,
                        mr__checksum(&front, sizeof front, 0));
}

static void put_head(const way *to, mr__piece *piece, head front)
{
    front.magic = HEAD_MAGIC;
    if (to->rank != the.rank)
        front.sum = sum_of(piece, front, the.rank, to);
    memcpy(piece->bytes, &front, sizeof front);
}

/* A piece of a message; to oneself it is the whole message. NULL: no memory. */
static mr__piece *make_piece(const way *to, uint64_t number, uint32_t tag, const uint8_t *bytes, size_t size,
                             size_t offset, size_t part)
{
    mr__piece *piece = mr__piece_acquire(&the.pool, sizeof(head) + part);
    if (piece == NULL)
        return NULL;
    if (part > 0)
        memcpy(piece->bytes + sizeof(head), bytes + offset, part);
    put_head(to, piece, (head){.tag = tag, .size = (uint32_t)size, .offset = (uint32_t)offset, .number = number});
    return piece;
}

static mr_status check_send(uint32_t to, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(to < the.size, MR_NETWORK_FAILED, "could not send to rank %u: this job has %u ranks", to, the.size);
    MR_CHECK(size <= MR__MESSAGE_MOST, MR_NETWORK_FAILED, "could not send %zu bytes at once; the limit is %d", size,
             MR__MESSAGE_MOST);
    MR_CHECK(the.peers[to].state != FAILED, MR_NETWORK_FAILED, "could not send to rank %u: it cannot be reached", to);
done:
    return status;
}

static mr_status mpi_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                          mr__error *error)
{
    mr_status status = MR_OK;
    mr__pieces made = {.count = 0};
    MR_TRY(check_send(to, size, error));
    if (the.peers[to].state == FORGOTTEN)
        return MR_OK;
    way *chosen = &the.peers[to].to[path];
    size_t done_size = 0;
    do {
        const size_t rest = size - done_size, part = to == the.rank || rest < PART_MOST ? rest : PART_MOST;
        mr__piece *piece = make_piece(chosen, chosen->number + made.count, tag, bytes, size, done_size, part);
        MR_CHECK(piece != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes to rank %u; raise --memory", size,
                 to);
        mr__pieces_push(&made, piece);
        done_size += part;
    } while (done_size < size);
    chosen->number += made.count;
    mr__pieces_append(&chosen->waiting, &made);
    if (to == the.rank)
        settle(chosen);
    else
        start_sends(chosen);
done:
    for (mr__piece *piece = mr__pieces_pop(&made); piece != NULL; piece = mr__pieces_pop(&made))
        mr__piece_release(&the.pool, piece);
    return status;
}

/* A message of one piece is sent from where it lies. */
static mr_status mpi_give(mr__comm *comm, mr__parcel *parcel, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t to = parcel->to;
    MR_TRY(check_send(to, parcel->size, error));
    if (to == the.rank || parcel->size > PART_MOST || the.peers[to].state == FORGOTTEN) {
        MR_TRY(mpi_send(comm, parcel->path, to, parcel->tag, parcel->bytes, parcel->size, error));
        mr__free(parcel);
        goto done;
    }
    way *chosen = &the.peers[to].to[parcel->path];
    mr__piece *piece = mr__piece_wrap(&the.pool, parcel, sizeof(head));
    MR_CHECK(piece != NULL, MR_NO_MEMORY, "no memory for a message to rank %u; raise --memory", to);
    put_head(chosen, piece, (head){.tag = parcel->tag, .size = (uint32_t)parcel->size, .number = chosen->number});
    chosen->number++;
    mr__pieces_push(&chosen->waiting, piece);
    start_sends(chosen);
done:
    return status;
}

static size_t mpi_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    const way *of = &the.peers[to].to[path];
    return of->waiting.bytes + of->flying.bytes;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Matches a message of the path and holds it. */
static bool match(mr__path path)
{
    int found = 0, size = 0;
    MPI_Status about;
    const int code = mr__fault(MR__FAULT_MPI_PROBE)
                         ? MPI_ERR_OTHER
                         : MPI_Improbe(MPI_ANY_SOURCE, mpi_tag(path), MPI_COMM_WORLD, &found, &the.held_message,
                                       &about);
    /* a failed probe belongs to no rank; the sender's silence will be noticed, if it is one */
    if (code != MPI_SUCCESS || !found)
        return false;
    MPI_Get_count(&about, MPI_BYTE, &size);
    the.held = true;
    the.held_from = (uint32_t)about.MPI_SOURCE;
    the.held_size = (uint32_t)size;
    the.held_path = path;
    return true;
}

/* Begins to receive what is held. false: there is no memory for it now. */
static bool begin_receive(void)
{
    way *from = &the.peers[the.held_from].from[the.held_path];
    if (the.peers[from->rank].state != ALIVE) {
        the.held = false;           /* matched, and never received */
        return true;
    }
    mr__piece *piece = mr__piece_acquire(&the.pool, the.held_size);
    if (piece == NULL)
        return false;
    the.held = false;
    const int code = mr__fault(MR__FAULT_MPI_RECEIVE)
                         ? MPI_ERR_OTHER
                         : MPI_Imrecv(piece->bytes, (int)piece->size, MPI_BYTE, &the.held_message, &piece->request);
    if (code != MPI_SUCCESS) {
        mr__piece_bury(&the.pool, piece);
        fail_peer(from->rank, "a receive from it failed", code);
        return true;
    }
    mr__pieces_push(&from->flying, piece);
    if (from->path == MR__BULK)
        the.receiving += piece->size;
    settle(from);
    return true;
}

static bool begin_receives(mr__path path)
{
    bool happened = false;
    for (uint32_t left = PROBES_MOST; left > 0; left--) {
        if (!the.held && ((path == MR__BULK && the.receiving >= RECEIVING_MOST) || !match(path)))
            break;
        if (!begin_receive())
            break;
        happened = true;
    }
    return happened;
}

static bool head_is_right(const way *from, const mr__piece *piece, const head *front)
{
    const size_t part = piece->size - sizeof *front;
    if (from->incoming && (front->number != from->number || front->sum != sum_of(piece, *front, from->rank, from)))
        return false;
    if (front->magic != HEAD_MAGIC || front->size > MR__MESSAGE_MOST || part > front->size ||
        (part == 0 && front->size > 0))
        return false;
    if (from->whole == NULL)
        return front->offset == 0;
    return front->tag == from->whole_tag && front->size == from->whole_size && front->offset == from->whole_done &&
           front->offset + part <= front->size;
}

static mr__piece *pop_arrived(way *from, mr__pieces *list)
{
    mr__piece *piece = mr__pieces_pop(list);
    if (from->incoming && from->path == MR__BULK)
        the.receiving -= piece->size;
    settle(from);
    return piece;
}

/* The oldest piece of `list` is complete: tells its message, or adds it to the one it belongs to. false: no memory for
 * that, or the sender failed. The events may call send() and forget(): nothing is held across them. */
static bool take(way *from, mr__pieces *list, const mr__comm_events *events, uint32_t *left)
{
    head front = {.magic = 0};
    const mr__piece *next = list->head;
    if (next->size >= sizeof front)
        memcpy(&front, next->bytes, sizeof front);
    if (next->size < sizeof front || !head_is_right(from, next, &front)) {
        fail_peer(from->rank, "what it sent did not arrive whole", MPI_SUCCESS);
        return false;
    }
    const size_t part = next->size - sizeof front;
    if (part < front.size && from->whole == NULL) {
        from->whole = mr__alloc(front.size);
        if (from->whole == NULL)
            return false;
        from->whole_tag = front.tag;
        from->whole_size = front.size;
        from->whole_done = 0;
    }
    mr__piece *piece = pop_arrived(from, list);
    from->number += from->incoming;
    uint8_t *whole = NULL;
    const uint8_t *message = piece->bytes + sizeof front;
    if (from->whole != NULL) {
        memcpy(from->whole + from->whole_done, message, part);
        from->whole_done += (uint32_t)part;
        if (from->whole_done == from->whole_size) {
            message = whole = from->whole;
            from->whole = NULL;
        }
    }
    if (from->whole == NULL) {
        (*left)--;
        events->received(events->context, from->path, from->rank, front.tag, message, front.size);
    }
    mr__free(whole);
    mr__piece_release(&the.pool, piece);
    return true;
}

static bool take_arrived(way *from, const mr__comm_events *events, uint32_t *left)
{
    bool happened = false;
    for (mr__piece *piece; *left > 0 && (piece = from->flying.head) != NULL; happened = true) {
        int done = piece->request == MPI_REQUEST_NULL;
        const int code = done ? MPI_SUCCESS : MPI_Test(&piece->request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&the.pool, pop_arrived(from, &from->flying));
            fail_peer(from->rank, "a receive from it failed", code);
            return true;
        }
        if (!done || !take(from, &from->flying, events, left))
            break;
    }
    return happened;
}

static bool take_own(way *self, const mr__comm_events *events, uint32_t *left)
{
    bool happened = false;
    /* what is sent meanwhile has its turn in the next round */
    for (uint32_t count = self->waiting.count; count > 0 && *left > 0 && self->waiting.head != NULL; count--)
        happened |= take(self, &self->waiting, events, left);
    return happened;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static bool move(way *of, const mr__comm_events *events, uint32_t *left)
{
    if (of->incoming)
        return take_arrived(of, events, left);
    if (of->rank == the.rank)
        return take_own(of, events, left);
    const bool ended = end_sends(of);
    return start_sends(of) || ended;
}

static bool mpi_progress(mr__comm *comm, const mr__comm_events *events)
{
    uint32_t left = EVENTS_MOST;
    bool happened = begin_receives(MR__CONTROL);
    happened |= begin_receives(MR__BULK);
    for (uint32_t tests = the.busy_count < TESTS_MOST ? the.busy_count : TESTS_MOST; tests > 0 && left > 0; tests--) {
        if (the.busy_count == 0)
            break;
        the.cursor = (the.cursor + 1) % the.busy_count;
        happened |= move(the.busy[the.cursor], events, &left);
    }
    if (the.untold > 0)
        happened |= tell_failures(events);
    return happened;
}

static uint32_t mpi_rank(const mr__comm *comm)
{
    return the.rank;
}

static uint32_t mpi_size(const mr__comm *comm)
{
    return the.size;
}

static void mpi_forget(mr__comm *comm, uint32_t rank)
{
    peer *lost = &the.peers[rank];
    clear_peer(lost);
    if (lost->state == FAILED && !lost->told)
        the.untold--;
    mr__free(lost->why);
    lost->why = NULL;
    lost->state = FORGOTTEN;
}

static void mpi_close(mr__comm *comm)
{
    int found;
    /* what UCX has taken over and the socket had no room for */
    for (uint32_t step = 0; step < LAST_STEPS; step++)
        MPI_Iprobe(MPI_ANY_SOURCE, mpi_tag(MR__CONTROL), MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
    for (uint32_t rank = 0; rank < the.size; rank++)
        clear_peer(&the.peers[rank]);
    mr__piece_pool_drain(&the.pool);
    the.held = false;
    the.open = false;
    mr__mpi_tell_launcher();
}

static const mr__comm_ops mpi_ops = {
    .name = "MPICH",
    .rank = mpi_rank,
    .size = mpi_size,
    .send = mpi_send,
    .give = mpi_give,
    .unsent = mpi_unsent,
    .progress = mpi_progress,
    .forget = mpi_forget,
    .close = mpi_close,
};

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

static mr_status begin(mr__error *error)
{
    mr_status status = MR_OK;
    mr__mpi_world world;
    MR_TRY(mr__mpi_start(&world, error));
    the.begun = true;
    the.threads = world.threads;
    the.rank = world.rank;
    the.size = world.size;
    the.generations = world.tag_most > 0 ? world.tag_most / MR__PATHS - 1 : 0;
done:
    return status;
}

static void init_way(way *made, uint32_t rank, mr__path path, bool incoming)
{
    *made = (way){.rank = rank, .place = NOWHERE, .path = path, .incoming = incoming};
}

static mr_status make_peers(mr__error *error)
{
    mr_status status = MR_OK;
    peer *peers = mr__alloc_zero(the.size, sizeof *peers);
    way **busy = mr__alloc_zero(the.size, 2 * MR__PATHS * sizeof *busy);
    MR_CHECK(peers != NULL && busy != NULL, MR_NO_MEMORY, "no memory for %u ranks; raise --memory", the.size);
    for (uint32_t rank = 0; rank < the.size; rank++) {
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            init_way(&peers[rank].to[path], rank, path, false);
            init_way(&peers[rank].from[path], rank, path, true);
        }
    }
    the.peers = peers;
    the.busy = busy;
    peers = NULL;
    busy = NULL;
done:
    mr__free(peers);
    mr__free(busy);
    return status;
}

/* Who was lost while an earlier comm was open is lost for this one, too. */
static void begin_generation(void)
{
    the.generation++;
    the.untold = 0;
    for (uint32_t rank = 0; rank < the.size; rank++) {
        peer *of = &the.peers[rank];
        for (uint32_t path = 0; path < MR__PATHS; path++)
            of->to[path].number = of->from[path].number = 0;
        if (of->state == ALIVE)
            continue;
        mr__free(of->why);
        of->why = mr__strdup("it was lost in an earlier job of this process");
        of->state = FAILED;
        of->told = false;
        the.untold++;
    }
}

mr_status mr__comm_mpi_begin(mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    mr__launch launch;
    MR_CHECK(!the.open, MR_BAD_USAGE,
             "this process takes part in a job of several ranks already\n  hint: close that session first");
    MR_TRY(mr__launch_of_process(&launch, error));
    if (!the.begun)
        MR_TRY(begin(error));
    MR_CHECK(the.threads, MR_NETWORK_FAILED, "this MPICH was built without threads");
    MR_CHECK(the.size == launch.size, MR_NETWORK_FAILED,
             "%s started %u ranks, but MPICH found %u\n  hint: launcher and library must come from one MPICH",
             mr__launcher_name(launch.by), launch.size, the.size);
    if (the.peers == NULL)
        MR_TRY(make_peers(error));
    MR_CHECK(the.generation < the.generations, MR_NETWORK_FAILED, "too many sessions in one process: %u",
             the.generation);
    begin_generation();
    the.open = true;
    the.comm.ops = &mpi_ops;
    *comm = &the.comm;
done:
    return status;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

static mr_status check_list(const mr__pieces *list, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t count = 0;
    size_t bytes = 0;
    for (const mr__piece *piece = list->head; piece != NULL; piece = piece->next) {
        MR_CHECK(piece->next != NULL || piece == list->tail, MR_INTERNAL, "C1 broken: a list does not end at its tail");
        count++;
        bytes += piece->size;
    }
    MR_CHECK(count == list->count && bytes == list->bytes, MR_INTERNAL, "C1 broken: a list counts %u pieces, has %u",
             list->count, count);
done:
    return status;
}

static mr_status check_way(const way *of, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(check_list(&of->flying, error));
    MR_TRY(check_list(&of->waiting, error));
    MR_CHECK(of->incoming || of->flying.count <= 1 ||
                 (of->flying.bytes <= WINDOW && of->flying.count <= WINDOW_PIECES),
             MR_INTERNAL, "C1 broken: %zu bytes fly to rank %u", of->flying.bytes, of->rank);
    MR_CHECK(is_idle(of) == (of->place == NOWHERE), MR_INTERNAL, "C2 broken: a way of rank %u", of->rank);
    MR_CHECK(of->place == NOWHERE || (of->place < the.busy_count && the.busy[of->place] == of), MR_INTERNAL,
             "C2 broken: a way of rank %u is not where it says", of->rank);
    MR_CHECK(the.peers[of->rank].state == ALIVE || (is_idle(of) && of->whole == NULL), MR_INTERNAL,
             "C3 broken: rank %u is lost and has pieces", of->rank);
done:
    return status;
}

mr_status mr__comm_mpi_rules(const mr__comm *comm, mr__error *error)
{
    mr_status status = MR_OK;
    size_t receiving = 0;
    uint32_t busy = 0;
    for (uint32_t rank = 0; rank < the.size; rank++) {
        const peer *of = &the.peers[rank];
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            MR_TRY(check_way(&of->to[path], error));
            MR_TRY(check_way(&of->from[path], error));
            busy += (of->to[path].place != NOWHERE) + (of->from[path].place != NOWHERE);
        }
        receiving += of->from[MR__BULK].flying.bytes;
    }
    MR_CHECK(busy == the.busy_count, MR_INTERNAL, "C2 broken: %u ways are busy, the list has %u", busy, the.busy_count);
    MR_CHECK(receiving == the.receiving, MR_INTERNAL, "C4 broken: %zu bytes fly in, counted %zu", receiving,
             the.receiving);
done:
    return status;
}
