/* carry_parts.h: what outbox.c, inbox.c and carrier.c share: how their messages look, how many bytes may be under way,
 * and what the carrier calls. Nobody else includes it.
 *
 *   CHUNK     epoch generation first last partition flags pairs size offset   u32 each
 *             hash                                                            u64, XXH3 of the bytes behind it
 *             bytes of the chunk from offset on, or packed ones (wire.h)
 *   END       epoch generation first last     u32 each
 *             chunks pairs                    u64 each
 *             [begin end]                     u64 each, for each range of the input
 *   CONFIRM   epoch generation first last     u32 each
 *   CREDIT    bytes                           u64, as mr__carry_cost() counts
 *
 * all little-endian, without holes. generation: a sender counts how often it was told who owns what; a group that gets
 * another owner is sent again with the number of that moment. What a rank says about a group in a lower generation than
 * before is stale, so the receiver needs to know nothing of the sender's past. */
#ifndef MR__CARRY_PARTS_H
#define MR__CARRY_PARTS_H

#include <endian.h>
#include <string.h>

#include "carrier.h"
#include "internal.h"
#include "wire.h"

enum { MR__CHUNK_HEAD = 44, MR__END_HEAD = 32, MR__CONFIRM_SIZE = 16, MR__CREDIT_SIZE = 8, MR__RANGE_SIZE = 16 };
enum { MR__PIECE_MOST = MR__MESSAGE_MOST - MR__CHUNK_HEAD };    /* bytes of a chunk in one message */
/* Flags. The sender waits for credit: tell it at once. The bytes are packed: what size and offset say comes of them. */
enum { MR__CREDIT_WANTED = 1, MR__CHUNK_PACKED = 2 };

static inline uint8_t *mr__put32(uint8_t *to, uint32_t number)
{
    number = htole32(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static inline uint8_t *mr__put64(uint8_t *to, uint64_t number)
{
    number = htole64(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static inline uint32_t mr__get32(const uint8_t **at)
{
    uint32_t number;
    memcpy(&number, *at, sizeof number);
    *at += sizeof number;
    return le32toh(number);
}

static inline uint64_t mr__get64(const uint8_t **at)
{
    uint64_t number;
    memcpy(&number, *at, sizeof number);
    *at += sizeof number;
    return le64toh(number);
}

/* An epoch of some sender and a group: of that every message but CREDIT speaks, at its beginning. */
typedef struct mr__share_name {
    uint32_t epoch, generation, first, last;
} mr__share_name;

static inline uint8_t *mr__put_name(uint8_t *to, const mr__share_name *name)
{
    return mr__put32(mr__put32(mr__put32(mr__put32(to, name->epoch), name->generation), name->first), name->last);
}

static inline mr__share_name mr__get_name(const uint8_t **at)
{
    mr__share_name name = {.epoch = mr__get32(at)};
    name.generation = mr__get32(at);
    name.first = mr__get32(at);
    name.last = mr__get32(at);
    return name;
}

/* What bytes of a chunk, in one message, take of a window: pages, as they will at the owner (packed or not), so that
 * many small chunks cannot take more memory there than few large ones. Pages of 4 KiB on every rank, whatever its
 * kernel has: both sides have to count alike. */
static inline uint64_t mr__carry_cost(uint32_t bytes)
{
    return ((uint64_t)bytes + 4095) / 4096 * 4096;
}

/* Bytes that one rank may have under way to another. All of them together are what an owner may have to take beyond its
 * budget: a small part of it, or a chunk of each. A rank sends on while less than half of it is under way, so a chunk
 * larger than the window can be sent, too. */
static inline uint64_t mr__carry_window(const mr__job *job, uint32_t ranks)
{
    const uint64_t most = 4 << 20, share = job->budget.limit / 32 / (ranks > 1 ? ranks - 1 : 1);
    return share < job->pool.capacity ? job->pool.capacity : share > most ? most : share;
}

/* MR_INTERNAL unless the groups are in order, without gaps and all partitions, and their owners are ranks. */
mr_status mr__carry_check_groups(const mr__job *job, const mr__mail *mail, const mr__group *groups, size_t count,
                                 mr__error *error);

typedef enum mr__carried {
    MR__CARRIED,            /* a message was posted */
    MR__CARRY_CROWDED,      /* something could be sent, but too much waits in the courier */
    MR__CARRY_NOTHING,      /* nothing is to be sent, or credits are missing: somebody will wake the carrier */
} mr__carried;

/* ---- carrier.c: a carrier without a thread, for tests ------------------------------------------------------------ */

mr_status mr__carrier_create(mr__job *job, const mr__mail *mail, mr__outbox *outbox, mr__inbox *inbox,
                             mr__carrier **carrier, mr__error *error);
void mr__carrier_destroy(mr__carrier *carrier);     /* attached no more, or outbox and inbox are not used again */
/* What the thread does between two looks at whether to sleep. */
mr_status mr__carrier_turn(mr__carrier *carrier, mr__carried *carried, mr__error *error);

/* ---- outbox_carry.c ---------------------------------------------------------------------------------------------- */

/* Whom to wake when there may be something to send; NULL: nobody. */
void mr__outbox_attach(mr__outbox *outbox, mr__carrier *carrier);

/* Posts the next message; the wire packs it, and hears what came of it. */
mr_status mr__outbox_carry(mr__outbox *outbox, mr__wire *wire, mr__carried *carried, mr__error *error);
/* As mr__outbox_make_room(), but only chunks that were sent, unless `unsent`. */
mr_status mr__outbox_spill(mr__outbox *outbox, mr__spill_writer *writer, uint64_t wanted, bool unsent, uint64_t *freed,
                           mr__error *error);

/* ---- inbox_carry.c ----------------------------------------------------------------------------------------------- */

void mr__inbox_attach(mr__inbox *inbox, mr__carrier *carrier);
/* Something was taken beyond the budget, and its sender has no credit for it. */
bool mr__inbox_owes(const mr__inbox *inbox);
/* Spills chunks that are held. */
mr_status mr__inbox_spill(mr__inbox *inbox, mr__spill_writer *writer, uint64_t wanted, uint64_t *freed,
                          mr__error *error);
/* There is room again, or nothing that could make room: gives all credits that are owed. */
mr_status mr__inbox_settle(mr__inbox *inbox, mr__error *error);

#endif
