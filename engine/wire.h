/* wire.h: what travels of pairs that go to other ranks: the bytes themselves, or lz4 of them.
 * Promise   Whatever is packed is smaller by a sixteenth or more. MILLRACE_LZ4=0: nothing is packed; 1: all that gets
 *           smaller is; unset: wire_choice.h decides, and on one node nothing is: there the network is memory.
 * Owner     The caller; the budget outlives it. Bytes that were packed or unpacked are valid until the next call.
 * Memory    Room for the largest message that was packed, or unpacked; it counts in the budget (by force).
 * Threads   A wire belongs to one thread, and so does a room.
 * Failure   create: MR_NO_MEMORY; MR_BAD_USAGE for a value of MILLRACE_LZ4 that is neither 0 nor 1. pack: none; without
 *           memory nothing is packed. unpack: MR_NO_MEMORY; MR_NETWORK_FAILED with the rank. */
#ifndef MR__WIRE_H
#define MR__WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "wire_choice.h"

typedef struct mr__wire mr__wire;

/* one_node: all ranks are on it. */
mr_status mr__wire_create(mr__budget *budget, bool one_node, mr__wire **wire, mr__error *error);
void mr__wire_destroy(mr__wire *wire);              /* takes NULL */
/* true: *bytes and *size are now those of the packed form. */
bool mr__wire_pack(mr__wire *wire, const uint8_t **bytes, uint32_t *size);
/* What the carrier came to; bytes: of the message that was posted, before it was packed. As mr__wire_choice_turn(). */
void mr__wire_note(mr__wire *wire, mr__wire_turn turn, uint32_t bytes, const uint64_t *under_way, uint32_t ranks);

/* For who unpacks; all zero is an empty one. */
typedef struct mr__wire_room {
    uint8_t *bytes;
    uint32_t size;
} mr__wire_room;

/* size: what must come of it, just that. from: the rank that sent it, for the sentence. */
mr_status mr__wire_unpack(mr__wire_room *room, mr__budget *budget, const uint8_t *packed, uint32_t packed_size,
                          uint32_t size, uint32_t from, const uint8_t **bytes, mr__error *error);
void mr__wire_room_fini(mr__wire_room *room, mr__budget *budget);

#endif
