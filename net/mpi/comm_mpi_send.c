/* comm_mpi_send.c: messages on their way out. (The whole picture is in comm_mpi.c.)
 *
 *   send: a copy, cut into pieces --+--> waiting --window--> flying --MPI has done with it--> back to the pool
 *   give: [head|the parcel] --------+
 *
 * Once MPI has begun to send a large message, nothing else to that rank overtakes it; so no large message is ever given
 * to MPI, and of the bulk pieces no more than a window: a control message waits for MR__MPI_WINDOW bytes at most,
 * whatever is queued. The window also bounds what is lost for good when a rank is lost.
 * Bulk is sent synchronously: a piece leaves the window when its receiver has matched it. A plain Isend of a small
 * piece is done when the socket has it, and each of the receiver's probes takes one piece out of UCX's queue and lets
 * several in: the queue grew without bound, and with it each search (16 KiB: 0.29 GB/s; synchronously 2.0).
 * Sends may complete out of order; only the oldest is tested, and the others wait for it. */
#include "comm_mpi_parts.h"

#include <string.h>

#include "fault.h"
#include "memory.h"

static bool window_is_open(const mr__mpi_way *to)
{
    return to->flying.count == 0 ||
           (to->flying.count < MR__MPI_WINDOW_PIECES && to->flying.bytes + to->waiting.head->size <= MR__MPI_WINDOW);
}

/* Synchronous on the bulk path: it is done when the receiver has matched it, so that the window holds for small pieces,
 * too, and not only for those that MPI sends by rendezvous. */
static int start_send(const mr__mpi_way *to, mr__piece *piece)
{
    if (mr__fault(MR__FAULT_MPI_SEND))
        return MPI_ERR_OTHER;
    const int count = (int)piece->size, rank = (int)to->rank, tag = mr__mpi_tag(to->path);
    return to->path == MR__BULK
               ? MPI_Issend(piece->bytes, count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &piece->request)
               : MPI_Isend(piece->bytes, count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &piece->request);
}

static bool start_sends(mr__mpi_way *to)
{
    bool happened = false;
    while (to->waiting.head != NULL && window_is_open(to)) {
        mr__piece *piece = mr__pieces_pop(&to->waiting);
        happened = true;
        const int code = start_send(to, piece);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&mr__mpi.pool, piece);
            mr__mpi_fail_peer(to->rank, "a send to it failed", code);
            break;
        }
        mr__pieces_push(&to->flying, piece);
    }
    mr__mpi_settle(to);
    return happened;
}

static bool end_sends(mr__mpi_way *to)
{
    bool happened = false;
    for (mr__piece *piece; (piece = to->flying.head) != NULL; happened = true) {
        int done = 0;
        const int code = MPI_Test(&piece->request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&mr__mpi.pool, mr__pieces_pop(&to->flying));
            mr__mpi_fail_peer(to->rank, "a send to it failed", code);
            return true;
        }
        if (!done)
            break;
        mr__piece_release(&mr__mpi.pool, mr__pieces_pop(&to->flying));
    }
    mr__mpi_settle(to);
    return happened;
}

static void put_head(const mr__mpi_way *to, mr__piece *piece, mr__mpi_head front)
{
    front.magic = MR__MPI_HEAD_MAGIC;
    if (to->rank != mr__mpi.rank)
        front.sum = mr__mpi_sum(piece, front, mr__mpi.rank, to);
    memcpy(piece->bytes, &front, sizeof front);
}

/* A piece of a message; to oneself it is the whole message. NULL: no memory. */
static mr__piece *make_piece(const mr__mpi_way *to, uint64_t number, uint32_t tag, const uint8_t *bytes, size_t size,
                             size_t offset, size_t part)
{
    mr__piece *piece = mr__piece_acquire(&mr__mpi.pool, sizeof(mr__mpi_head) + part);
    if (piece == NULL)
        return NULL;
    if (part > 0)
        memcpy(piece->bytes + sizeof(mr__mpi_head), bytes + offset, part);
    put_head(to, piece, (mr__mpi_head){.tag = tag, .size = (uint32_t)size, .offset = (uint32_t)offset,
                                       .number = number});
    return piece;
}

static mr_status check_send(uint32_t to, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(to < mr__mpi.size, MR_NETWORK_FAILED, "could not send to rank %u: this job has %u ranks", to,
             mr__mpi.size);
    MR_CHECK(size <= MR__MESSAGE_MOST, MR_NETWORK_FAILED, "could not send %zu bytes at once; the limit is %d", size,
             MR__MESSAGE_MOST);
    MR_CHECK(mr__mpi.peers[to].state != MR__MPI_FAILED, MR_NETWORK_FAILED,
             "could not send to rank %u: it cannot be reached", to);
done:
    return status;
}

mr_status mr__mpi_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                       mr__error *error)
{
    mr_status status = MR_OK;
    mr__pieces made = {.count = 0};
    MR_TRY(check_send(to, size, error));
    if (mr__mpi.peers[to].state == MR__MPI_FORGOTTEN)
        return MR_OK;
    mr__mpi_way *chosen = &mr__mpi.peers[to].to[path];
    size_t done_size = 0;
    do {
        const size_t rest = size - done_size;
        const size_t part = to == mr__mpi.rank || rest < MR__MPI_PART_MOST ? rest : MR__MPI_PART_MOST;
        mr__piece *piece = make_piece(chosen, chosen->number + made.count, tag, bytes, size, done_size, part);
        MR_CHECK(piece != NULL, MR_NO_MEMORY, "no memory for a message of %zu bytes to rank %u; raise --memory", size,
                 to);
        mr__pieces_push(&made, piece);
        done_size += part;
    } while (done_size < size);
    chosen->number += made.count;
    mr__pieces_append(&chosen->waiting, &made);
    if (to == mr__mpi.rank)
        mr__mpi_settle(chosen);
    else
        start_sends(chosen);
done:
    for (mr__piece *piece = mr__pieces_pop(&made); piece != NULL; piece = mr__pieces_pop(&made))
        mr__piece_release(&mr__mpi.pool, piece);
    return status;
}

/* A message of one piece is sent from where it lies. */
mr_status mr__mpi_give(mr__comm *comm, mr__parcel *parcel, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t to = parcel->to;
    MR_TRY(check_send(to, parcel->size, error));
    if (to == mr__mpi.rank || parcel->size > MR__MPI_PART_MOST || mr__mpi.peers[to].state == MR__MPI_FORGOTTEN) {
        MR_TRY(mr__mpi_send(comm, parcel->path, to, parcel->tag, parcel->bytes, parcel->size, error));
        mr__free(parcel);
        goto done;
    }
    mr__mpi_way *chosen = &mr__mpi.peers[to].to[parcel->path];
    mr__piece *piece = mr__piece_wrap(&mr__mpi.pool, parcel, sizeof(mr__mpi_head));
    MR_CHECK(piece != NULL, MR_NO_MEMORY, "no memory for a message to rank %u; raise --memory", to);
    put_head(chosen, piece, (mr__mpi_head){.tag = parcel->tag, .size = (uint32_t)parcel->size,
                                           .number = chosen->number});
    chosen->number++;
    mr__pieces_push(&chosen->waiting, piece);
    start_sends(chosen);
done:
    return status;
}

size_t mr__mpi_unsent(const mr__comm *comm, mr__path path, uint32_t to)
{
    const mr__mpi_way *of = &mr__mpi.peers[to].to[path];
    return of->waiting.bytes + of->flying.bytes;
}

bool mr__mpi_move_out(mr__mpi_way *to)
{
    const bool ended = end_sends(to);
    return start_sends(to) || ended;
}
