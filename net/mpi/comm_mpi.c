/* comm_mpi.c: messages between ranks through MPICH, under the discipline that survives the loss of a rank.
 *
 *   send -> cut into pieces -> waiting -> flying ~~~ MPI ~~~> flying -> put together -> received
 *   give ---> [head|the parcel] -^       (a window)           (tested in order)
 *
 * A message is one piece or several; what is sent and when is comm_mpi_send.c's, what is received and in which order
 * comm_mpi_receive.c's.
 * Nothing waits. Improbe, Imrecv, Isend and Test return at once, and each moves UCX on by a step. An idle progress() is
 * two Improbes. Where memory is short a message stays with MPI until there is some.
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
 * millisecond without a message uses 2.1-2.9 % of a CPU (mpi_wake.c: it need not), and 10 MiB of memory, MPICH and the
 * C library included.
 * Storms (tests/net/mpi_storm.c, 4 ranks, one killed or stopped): 200 of 200 survived; 200 of 200 before, when bulk was
 * sent by Isend, on a machine with a load of 18. */
#include "comm_mpi_parts.h"

#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "memory.h"
#include "mpi_start.h"

enum {
    EVENTS_MOST = 32,               /* of one progress() */
    TESTS_MOST = 64,
    LAST_STEPS = 100                /* of MPI's progress, in close() */
};

struct mr__mpi mr__mpi;

/* ---- ways -------------------------------------------------------------------------------------------------------- */

static bool is_idle(const mr__mpi_way *of)
{
    return of->flying.head == NULL && of->waiting.head == NULL;
}

void mr__mpi_settle(mr__mpi_way *of)
{
    if (is_idle(of) && of->place != MR__MPI_NOWHERE) {
        mr__mpi_way *last = mr__mpi.busy[--mr__mpi.busy_count];
        mr__mpi.busy[of->place] = last;
        last->place = of->place;
        of->place = MR__MPI_NOWHERE;
    } else if (!is_idle(of) && of->place == MR__MPI_NOWHERE) {
        of->place = mr__mpi.busy_count;
        mr__mpi.busy[mr__mpi.busy_count++] = of;
    }
}

/* A request that is complete has left MPI; any other must not be touched again. */
static void clear(mr__mpi_way *of)
{
    mr__piece *piece;
    if (of->incoming && of->path == MR__BULK)
        mr__mpi.receiving -= of->flying.bytes;
    while ((piece = mr__pieces_pop(&of->flying)) != NULL) {
        if (piece->request == MPI_REQUEST_NULL)
            mr__piece_release(&mr__mpi.pool, piece);
        else
            mr__piece_bury(&mr__mpi.pool, piece);
    }
    while ((piece = mr__pieces_pop(&of->waiting)) != NULL)
        mr__piece_release(&mr__mpi.pool, piece);
    mr__free(of->whole);
    of->whole = NULL;
    mr__mpi_settle(of);
}

static void clear_peer(mr__mpi_peer *of)
{
    for (uint32_t path = 0; path < MR__PATHS; path++) {
        clear(&of->to[path]);
        clear(&of->from[path]);
    }
}

void mr__mpi_fail_peer(uint32_t rank, const char *what, int code)
{
    mr__mpi_peer *failed = &mr__mpi.peers[rank];
    char text[MPI_MAX_ERROR_STRING + 64] = "", reason[MPI_MAX_ERROR_STRING] = "";
    int size = 0;
    if (failed->state != MR__MPI_ALIVE)
        return;
    clear_peer(failed);
    if (code != MPI_SUCCESS && MPI_Error_string(code, reason, &size) != MPI_SUCCESS)
        reason[0] = '\0';
    /* MPICH gives a stack of calls, a line each; the last says what happened */
    const char *last = strrchr(reason, '\n');
    snprintf(text, sizeof text, "%s%s%s", what, reason[0] != '\0' ? ": " : "", last != NULL ? last + 1 : reason);
    failed->state = MR__MPI_FAILED;
    failed->told = false;
    failed->why = mr__strdup(text);
    mr__mpi.untold++;
}

static bool tell_failures(const mr__comm_events *events)
{
    bool told = false;
    for (uint32_t rank = 0; rank < mr__mpi.size && mr__mpi.untold > 0; rank++) {
        mr__mpi_peer *failed = &mr__mpi.peers[rank];
        if (failed->state != MR__MPI_FAILED || failed->told)
            continue;
        char *why = failed->why;
        failed->why = NULL;
        failed->told = true;
        mr__mpi.untold--;
        told = true;
        events->unreachable(events->context, rank, why != NULL ? why : "a send to it failed");
        mr__free(why);
    }
    return told;
}

uint64_t mr__mpi_sum(const mr__piece *piece, mr__mpi_head front, uint32_t sender, const mr__mpi_way *of)
{
    front.sum = (uint64_t)mr__mpi.generation << 32 | sender << 1 | (uint32_t)of->path;
    return mr__checksum(piece->bytes + sizeof front, piece->size - sizeof front,
                        mr__checksum(&front, sizeof front, 0));
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static bool move(mr__mpi_way *of, const mr__comm_events *events, uint32_t *left)
{
    if (of->incoming)
        return mr__mpi_take_arrived(of, events, left);
    if (of->rank == mr__mpi.rank)
        return mr__mpi_take_own(of, events, left);
    return mr__mpi_move_out(of);
}

static bool mpi_progress(mr__comm *comm, const mr__comm_events *events)
{
    uint32_t left = EVENTS_MOST;
    bool happened = mr__mpi_begin_receives(MR__CONTROL);
    happened |= mr__mpi_begin_receives(MR__BULK);
    const uint32_t busy = mr__mpi.busy_count;
    for (uint32_t tests = busy < TESTS_MOST ? busy : TESTS_MOST; tests > 0 && left > 0; tests--) {
        if (mr__mpi.busy_count == 0)
            break;
        mr__mpi.cursor = (mr__mpi.cursor + 1) % mr__mpi.busy_count;
        happened |= move(mr__mpi.busy[mr__mpi.cursor], events, &left);
    }
    if (mr__mpi.untold > 0)
        happened |= tell_failures(events);
    return happened;
}

static uint32_t mpi_rank(const mr__comm *comm)
{
    return mr__mpi.rank;
}

static uint32_t mpi_size(const mr__comm *comm)
{
    return mr__mpi.size;
}

static int mpi_descriptor(const mr__comm *comm)
{
    return mr__mpi.descriptor;
}

static void mpi_forget(mr__comm *comm, uint32_t rank)
{
    mr__mpi_peer *lost = &mr__mpi.peers[rank];
    clear_peer(lost);
    if (lost->state == MR__MPI_FAILED && !lost->told)
        mr__mpi.untold--;
    mr__free(lost->why);
    lost->why = NULL;
    lost->state = MR__MPI_FORGOTTEN;
}

static void mpi_close(mr__comm *comm)
{
    int found;
    /* what UCX has taken over and the socket had no room for */
    for (uint32_t step = 0; step < LAST_STEPS; step++)
        MPI_Iprobe(MPI_ANY_SOURCE, mr__mpi_tag(MR__CONTROL), MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
    for (uint32_t rank = 0; rank < mr__mpi.size; rank++)
        clear_peer(&mr__mpi.peers[rank]);
    mr__piece_pool_drain(&mr__mpi.pool);
    mr__mpi.held = false;
    mr__mpi.open = false;
    mr__mpi_tell_launcher();
}

static const mr__comm_ops mpi_ops = {
    .name = "MPICH",
    .rank = mpi_rank,
    .size = mpi_size,
    .send = mr__mpi_send,
    .give = mr__mpi_give,
    .unsent = mr__mpi_unsent,
    .progress = mpi_progress,
    .descriptor = mpi_descriptor,
    .forget = mpi_forget,
    .close = mpi_close,
};

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

static mr_status begin(const mr__launch *launch, mr__error *error)
{
    mr_status status = MR_OK;
    mr__mpi_world world;
    MR_TRY(mr__mpi_start(launch, &world, error));
    mr__mpi.begun = true;
    mr__mpi.threads = world.threads;
    mr__mpi.descriptor = world.descriptor;
    mr__mpi.rank = world.rank;
    mr__mpi.size = world.size;
    mr__mpi.generations = world.tag_most > 0 ? world.tag_most / MR__PATHS - 1 : 0;
done:
    return status;
}

static void init_way(mr__mpi_way *made, uint32_t rank, mr__path path, bool incoming)
{
    *made = (mr__mpi_way){.rank = rank, .place = MR__MPI_NOWHERE, .path = path, .incoming = incoming};
}

static mr_status make_peers(mr__error *error)
{
    mr_status status = MR_OK;
    mr__mpi_peer *peers = mr__alloc_zero(mr__mpi.size, sizeof *peers);
    mr__mpi_way **busy = mr__alloc_zero(mr__mpi.size, 2 * MR__PATHS * sizeof *busy);
    MR_CHECK(peers != NULL && busy != NULL, MR_NO_MEMORY, "no memory for %u ranks; raise --memory", mr__mpi.size);
    for (uint32_t rank = 0; rank < mr__mpi.size; rank++) {
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            init_way(&peers[rank].to[path], rank, path, false);
            init_way(&peers[rank].from[path], rank, path, true);
        }
    }
    mr__mpi.peers = peers;
    mr__mpi.busy = busy;
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
    mr__mpi.generation++;
    mr__mpi.untold = 0;
    for (uint32_t rank = 0; rank < mr__mpi.size; rank++) {
        mr__mpi_peer *of = &mr__mpi.peers[rank];
        for (uint32_t path = 0; path < MR__PATHS; path++)
            of->to[path].number = of->from[path].number = 0;
        if (of->state == MR__MPI_ALIVE)
            continue;
        mr__free(of->why);
        of->why = mr__strdup("it was lost in an earlier job of this process");
        of->state = MR__MPI_FAILED;
        of->told = false;
        mr__mpi.untold++;
    }
}

mr_status mr__comm_mpi_begin(mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    mr__launch launch;
    MR_CHECK(!mr__mpi.open, MR_BAD_USAGE,
             "this process takes part in a job of several ranks already\n  hint: close that session first");
    MR_TRY(mr__launch_of_process(&launch, error));
    if (!mr__mpi.begun)
        MR_TRY(begin(&launch, error));
    MR_CHECK(mr__mpi.threads, MR_NETWORK_FAILED, "this MPICH was built without threads");
    MR_CHECK(mr__mpi.size == launch.size, MR_NETWORK_FAILED,
             "%s started %u ranks, but MPICH found %u\n  hint: launcher and library must come from one MPICH",
             mr__launcher_name(launch.by), launch.size, mr__mpi.size);
    if (mr__mpi.peers == NULL)
        MR_TRY(make_peers(error));
    MR_CHECK(mr__mpi.generation < mr__mpi.generations, MR_NETWORK_FAILED, "too many sessions in one process: %u",
             mr__mpi.generation);
    begin_generation();
    mr__mpi.open = true;
    mr__mpi.comm.ops = &mpi_ops;
    *comm = &mr__mpi.comm;
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

static mr_status check_way(const mr__mpi_way *of, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(check_list(&of->flying, error));
    MR_TRY(check_list(&of->waiting, error));
    MR_CHECK(of->incoming || of->flying.count <= 1 ||
                 (of->flying.bytes <= MR__MPI_WINDOW && of->flying.count <= MR__MPI_WINDOW_PIECES),
             MR_INTERNAL, "C1 broken: %zu bytes fly to rank %u", of->flying.bytes, of->rank);
    MR_CHECK(is_idle(of) == (of->place == MR__MPI_NOWHERE), MR_INTERNAL, "C2 broken: a way of rank %u", of->rank);
    MR_CHECK(of->place == MR__MPI_NOWHERE || (of->place < mr__mpi.busy_count && mr__mpi.busy[of->place] == of),
             MR_INTERNAL, "C2 broken: a way of rank %u is not where it says", of->rank);
    MR_CHECK(mr__mpi.peers[of->rank].state == MR__MPI_ALIVE || (is_idle(of) && of->whole == NULL), MR_INTERNAL,
             "C3 broken: rank %u is lost and has pieces", of->rank);
done:
    return status;
}

mr_status mr__comm_mpi_rules(const mr__comm *comm, mr__error *error)
{
    mr_status status = MR_OK;
    size_t receiving = 0;
    uint32_t busy = 0;
    for (uint32_t rank = 0; rank < mr__mpi.size; rank++) {
        const mr__mpi_peer *of = &mr__mpi.peers[rank];
        for (uint32_t path = 0; path < MR__PATHS; path++) {
            MR_TRY(check_way(&of->to[path], error));
            MR_TRY(check_way(&of->from[path], error));
            busy += (of->to[path].place != MR__MPI_NOWHERE) + (of->from[path].place != MR__MPI_NOWHERE);
        }
        receiving += of->from[MR__BULK].flying.bytes;
    }
    MR_CHECK(busy == mr__mpi.busy_count, MR_INTERNAL, "C2 broken: %u ways are busy, the list has %u", busy,
             mr__mpi.busy_count);
    MR_CHECK(receiving == mr__mpi.receiving, MR_INTERNAL, "C4 broken: %zu bytes fly in, counted %zu", receiving,
             mr__mpi.receiving);
done:
    return status;
}
