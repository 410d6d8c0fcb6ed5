/* outbox.h: pairs that this rank mapped, on their way to the ranks that own their partitions.
 * Promise   Whatever was put for a partition reaches its owner, whoever that is in the end, once: the whole of an epoch
 *           or nothing of it. Pairs of this rank's own partitions go straight to its exchange.
 *           What was dear to map is kept, in memory or spilled, until the outbox is destroyed: it is sent again when
 *           its partition gets another owner. What was cheap is forgotten once its owner has it, unless it was for
 *           another owner before; should that owner be lost, forgotten() tells what is to be mapped again.
 *           MILLRACE_KEEP in the environment: 1 takes all for dear, 0 nothing.
 * Memory    No more than a window is under way to one owner (carry_parts.h), unless one chunk is larger. What is kept
 *           counts in the job's budget as any chunk does; make_room() moves it to the spill. What is in a combine
 *           buffer still takes nothing more once it was sent.
 * Owner     put takes the chunk, also when it fails. The job and the mail are borrowed.
 * Threads   begin, put, take_out, close, make_room, kept, saved, is_clear: any (a mutex, once per chunk). assign,
 *           message: the courier's thread. What carrier.c calls (carry_parts.h): its thread. check: any.
 *           mail->clear() is called by whichever of these made the outbox clear.
 * Failure   MR_NO_MEMORY; MR_IO_FAILED, MR_NO_SPACE of the spill; MR_NETWORK_FAILED for a message that cannot be true,
 *           with the rank; create: MR_BAD_USAGE for a MILLRACE_KEEP that is neither 0 nor 1. After a failure of put,
 *           take_out, close, assign or make_room the job cannot go on: fail it. */
#ifndef MR__OUTBOX_H
#define MR__OUTBOX_H

#include "chunk.h"
#include "combine_buffer.h"
#include "cover.h"
#include "ledger.h"
#include "mail.h"
#include "spill.h"

struct mr__job;
struct mr__lane;

/* Pairs that were copied from a combine buffer and are still in it, from this cell on. */
typedef struct mr__origin {
    struct mr__lane *lane;              /* NULL: they are nowhere else */
    mr__cell_cursor from;
} mr__origin;

typedef struct mr__outbox mr__outbox;

/* Until the first assign nothing is sent, and what is put is kept. */
mr_status mr__outbox_create(struct mr__job *job, const mr__mail *mail, mr__outbox **outbox, mr__error *error);
void mr__outbox_destroy(mr__outbox *outbox);        /* chunks go back to the pool; takes NULL */

/* Lanes. A new epoch of this rank: its number. Until it is closed the outbox is not clear. */
uint32_t mr__outbox_begin(mr__outbox *outbox);
/* Pairs of an open epoch. If this rank owns their partition they go to job->exchange at once, and *waiting is what
 * mr__exchange_give() says; else 0.
 * origin: NULL, or where they are until take_out(). Once sent, they need no other memory; and if this rank owns their
 * partition they are said to be in place there (epoch.c), and the chunk is not needed. */
mr_status mr__outbox_put(mr__outbox *outbox, uint32_t epoch, mr__chunk *chunk, const mr__origin *origin,
                         uint64_t *waiting, mr__error *error);
/* The combine buffer of the lane is to change: what is kept there of the partition is kept in chunks from now on,
 * beyond the budget if need be. */
mr_status mr__outbox_take_out(mr__outbox *outbox, struct mr__lane *lane, uint32_t partition, mr__error *error);
/* What an epoch was made of: input, mapped for partitions [first, last), and the processor time that it took. */
typedef struct mr__mapped {
    const mr__cover *input;
    uint32_t first, last;
    uint64_t ns;
} mr__mapped;

/* All pairs of the epoch were put. What was mapped is copied. Owners without a single pair are told, too: what they
 * cover grows by the input. Nothing mapped: the epoch never was. */
mr_status mr__outbox_close(mr__outbox *outbox, uint32_t epoch, const mr__mapped *mapped, mr__error *error);
/* Spills kept chunks, first those that were sent, of `wanted` bytes or more, or all there are; when it returns any
 * thread can read them. writer: the caller's. *freed: their capacities. */
mr_status mr__outbox_make_room(mr__outbox *outbox, mr__spill_writer *writer, uint64_t wanted, uint64_t *freed,
                               mr__error *error);
uint64_t mr__outbox_kept(const mr__outbox *outbox);         /* capacities of the chunks in memory */
uint64_t mr__outbox_saved(const mr__outbox *outbox);        /* bytes that were not sent, thanks to packing (wire.h) */
/* Is the partition this rank's own? Once it is, it stays so. */
bool mr__outbox_has(mr__outbox *outbox, uint32_t partition);

/* Who owns which partitions from now on: groups of engine partitions in order, without gaps, all of them. For a group
 * with another owner than before everything is sent again from the beginning. If that is this rank, everything goes to
 * its exchange or to the extents of its partitions, and leaves the outbox. */
mr_status mr__outbox_assign(mr__outbox *outbox, const mr__group *groups, size_t count, mr__error *error);
/* Appends what this rank delivered to owners for which lost() is true, and forgot: input and engine partitions. Until
 * the next assign it says the same again, and more if more owners are lost. */
mr_status mr__outbox_forgotten(mr__outbox *outbox, bool (*lost)(void *context, uint32_t rank), void *context,
                               mr__works *forgotten, mr__error *error);
/* MR__MAIL_CREDIT, MR__MAIL_CONFIRM. What an owner of before confirms is ignored. */
mr_status mr__outbox_message(mr__outbox *outbox, uint32_t from, uint32_t kind, const void *bytes, size_t size,
                             mr__error *error);
/* No epoch is open, and every closed one was confirmed by the present owner of each of its groups. */
bool mr__outbox_is_clear(const mr__outbox *outbox);

/* O1..: see outbox.c; MR_INTERNAL with the one that is broken. */
mr_status mr__outbox_check(const mr__outbox *outbox, mr__error *error);

#endif
