/* comm_mpi_receive.c: messages on their way in. (The whole picture is in comm_mpi.c.)
 *
 *   Improbe --> held --Imrecv--> flying --oldest complete, head and sum are right--> a part, or the whole: received
 *               while there is no memory for it
 *
 * Order. Each path has a tag of its own, and MPI keeps the order of messages of one sender and one tag. They may
 * complete out of order, so only the oldest of each way is tested: it is the one whose turn it is.
 * Above RECEIVING_MOST no more bulk is taken from MPI: the senders' windows stay full, and they wait. */
#include "comm_mpi_parts.h"

#include <string.h>

#include "fault.h"
#include "memory.h"

enum { RECEIVING_MOST = 8 << 20, PROBES_MOST = 16 };

/* Matches a message of the path and holds it. */
static bool match(mr__path path)
{
    int found = 0, size = 0;
    MPI_Status about;
    const int code = mr__fault(MR__FAULT_MPI_PROBE)
                         ? MPI_ERR_OTHER
                         : MPI_Improbe(MPI_ANY_SOURCE, mr__mpi_tag(path), MPI_COMM_WORLD, &found, &mr__mpi.held_message,
                                       &about);
    /* a failed probe belongs to no rank; the sender's silence will be noticed, if it is one */
    if (code != MPI_SUCCESS || !found)
        return false;
    MPI_Get_count(&about, MPI_BYTE, &size);
    mr__mpi.held = true;
    mr__mpi.held_from = (uint32_t)about.MPI_SOURCE;
    mr__mpi.held_size = (uint32_t)size;
    mr__mpi.held_path = path;
    return true;
}

/* Begins to receive what is held. false: there is no memory for it now. */
static bool begin_receive(void)
{
    mr__mpi_way *from = &mr__mpi.peers[mr__mpi.held_from].from[mr__mpi.held_path];
    if (mr__mpi.peers[from->rank].state != MR__MPI_ALIVE) {
        mr__mpi.held = false;           /* matched, and never received */
        return true;
    }
    mr__piece *piece = mr__piece_acquire(&mr__mpi.pool, mr__mpi.held_size);
    if (piece == NULL)
        return false;
    mr__mpi.held = false;
    const int code = mr__fault(MR__FAULT_MPI_RECEIVE)
                         ? MPI_ERR_OTHER
                         : MPI_Imrecv(piece->bytes, (int)piece->size, MPI_BYTE, &mr__mpi.held_message, &piece->request);
    if (code != MPI_SUCCESS) {
        mr__piece_bury(&mr__mpi.pool, piece);
        mr__mpi_fail_peer(from->rank, "a receive from it failed", code);
        return true;
    }
    mr__pieces_push(&from->flying, piece);
    if (from->path == MR__BULK)
        mr__mpi.receiving += piece->size;
    mr__mpi_settle(from);
    return true;
}

bool mr__mpi_begin_receives(mr__path path)
{
    bool happened = false;
    for (uint32_t left = PROBES_MOST; left > 0; left--) {
        if (!mr__mpi.held && ((path == MR__BULK && mr__mpi.receiving >= RECEIVING_MOST) || !match(path)))
            break;
        if (!begin_receive())
            break;
        happened = true;
    }
    return happened;
}

static bool head_is_right(const mr__mpi_way *from, const mr__piece *piece, const mr__mpi_head *front)
{
    const size_t part = piece->size - sizeof *front;
    if (from->incoming && (front->number != from->number || front->sum != mr__mpi_sum(piece, *front, from->rank, from)))
        return false;
    if (front->magic != MR__MPI_HEAD_MAGIC || front->size > MR__MESSAGE_MOST || part > front->size ||
        (part == 0 && front->size > 0))
        return false;
    if (from->whole == NULL)
        return front->offset == 0;
    return front->tag == from->whole_tag && front->size == from->whole_size && front->offset == from->whole_done &&
           front->offset + part <= front->size;
}

static mr__piece *pop_arrived(mr__mpi_way *from, mr__pieces *list)
{
    mr__piece *piece = mr__pieces_pop(list);
    if (from->incoming && from->path == MR__BULK)
        mr__mpi.receiving -= piece->size;
    mr__mpi_settle(from);
    return piece;
}

/* The oldest piece of `list` is complete: tells its message, or adds it to the one it belongs to. false: no memory for
 * that, or the sender failed. The events may call send() and forget(): nothing is held across them. */
static bool take(mr__mpi_way *from, mr__pieces *list, const mr__comm_events *events, uint32_t *left)
{
    mr__mpi_head front = {.magic = 0};
    const mr__piece *next = list->head;
    if (next->size >= sizeof front)
        memcpy(&front, next->bytes, sizeof front);
    if (next->size < sizeof front || !head_is_right(from, next, &front)) {
        mr__mpi_fail_peer(from->rank, "what it sent did not arrive whole", MPI_SUCCESS);
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
    mr__piece_release(&mr__mpi.pool, piece);
    return true;
}

bool mr__mpi_take_arrived(mr__mpi_way *from, const mr__comm_events *events, uint32_t *left)
{
    bool happened = false;
    for (mr__piece *piece; *left > 0 && (piece = from->flying.head) != NULL; happened = true) {
        int done = piece->request == MPI_REQUEST_NULL;
        const int code = done ? MPI_SUCCESS : MPI_Test(&piece->request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            mr__piece_bury(&mr__mpi.pool, pop_arrived(from, &from->flying));
            mr__mpi_fail_peer(from->rank, "a receive from it failed", code);
            return true;
        }
        if (!done || !take(from, &from->flying, events, left))
            break;
    }
    return happened;
}

bool mr__mpi_take_own(mr__mpi_way *self, const mr__comm_events *events, uint32_t *left)
{
    bool happened = false;
    /* what is sent meanwhile has its turn in the next round */
    for (uint32_t count = self->waiting.count; count > 0 && *left > 0 && self->waiting.head != NULL; count--)
        happened |= take(self, &self->waiting, events, left);
    return happened;
}
