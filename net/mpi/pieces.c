/* pieces.c: a pool with a list for each power of two.
 *
 *   acquire(700) -> class 2 (1,024 bytes) -> its idle piece, else malloc
 *   release      -> the list of its class, up to MR__PIECES_IDLE_MOST in all; else free
 *
 * Why keep them: pieces of 256 KiB lie above malloc's threshold for pages of their own; each would cost a mmap, a
 * munmap and 64 page faults. Pieces above the largest class (messages to oneself) are not kept.
 * A piece that is sent from a parcel has next to no memory of its own, and the parcel is freed with its release.
 * What is buried stays in a list: a leak on purpose is one that a leak checker can see through. */
#include "pieces.h"

#include "memory.h"

void mr__pieces_push(mr__pieces *pieces, mr__piece *piece)
{
    piece->next = NULL;
    if (pieces->tail != NULL)
        pieces->tail->next = piece;
    else
        pieces->head = piece;
    pieces->tail = piece;
    pieces->count++;
    pieces->bytes += piece->size;
}

mr__piece *mr__pieces_pop(mr__pieces *pieces)
{
    mr__piece *piece = pieces->head;
    if (piece == NULL)
        return NULL;
    pieces->head = piece->next;
    if (pieces->head == NULL)
        pieces->tail = NULL;
    pieces->count--;
    pieces->bytes -= piece->size;
    return piece;
}

void mr__pieces_append(mr__pieces *to, mr__pieces *from)
{
    if (from->head == NULL)
        return;
    if (to->tail != NULL)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->count += from->count;
    to->bytes += from->bytes;
    *from = (mr__pieces){.count = 0};
}

/* MR__PIECE_CLASSES: none is large enough. */
static uint32_t class_of(size_t size)
{
    uint32_t class = 0;
    while (class < MR__PIECE_CLASSES && (size_t)MR__PIECE_LEAST << class < size)
        class++;
    return class;
}

mr__piece *mr__piece_acquire(mr__piece_pool *pool, size_t size)
{
    const uint32_t class = class_of(size);
    const size_t room = class < MR__PIECE_CLASSES ? (size_t)MR__PIECE_LEAST << class : size;
    mr__piece *piece = class < MR__PIECE_CLASSES ? mr__pieces_pop(&pool->idle[class]) : NULL;
    if (piece != NULL)
        pool->idle_bytes -= room;
    else
        piece = mr__alloc(sizeof *piece + room);
    if (piece == NULL)
        return NULL;
    piece->next = NULL;
    piece->request = MPI_REQUEST_NULL;
    piece->size = (uint32_t)size;
    piece->room = (uint32_t)room;
    piece->bytes = piece->own;
    piece->parcel = NULL;
    return piece;
}

mr__piece *mr__piece_wrap(mr__piece_pool *pool, mr__parcel *parcel, size_t front)
{
    mr__piece *piece = mr__piece_acquire(pool, 0);
    if (piece == NULL)
        return NULL;
    piece->size = (uint32_t)(front + parcel->size);
    piece->bytes = parcel->bytes - front;
    piece->parcel = parcel;
    return piece;
}

void mr__piece_release(mr__piece_pool *pool, mr__piece *piece)
{
    const uint32_t class = class_of(piece->room);
    mr__free(piece->parcel);
    piece->parcel = NULL;
    if (class == MR__PIECE_CLASSES || pool->idle_bytes + piece->room > MR__PIECES_IDLE_MOST) {
        mr__free(piece);
        return;
    }
    pool->idle_bytes += piece->room;
    mr__pieces_push(&pool->idle[class], piece);
}

void mr__piece_bury(mr__piece_pool *pool, mr__piece *piece)
{
    mr__pieces_push(&pool->buried, piece);
}

void mr__piece_pool_drain(mr__piece_pool *pool)
{
    for (uint32_t class = 0; class < MR__PIECE_CLASSES; class++)
        for (mr__piece *piece = mr__pieces_pop(&pool->idle[class]); piece != NULL;
             piece = mr__pieces_pop(&pool->idle[class]))
            mr__free(piece);
    pool->idle_bytes = 0;
}
