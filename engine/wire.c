/* wire.c: lz4 of messages.
 *
 *   carrier:  piece of a chunk --pack--> room of the wire --checksum, post--> network
 *   courier:  network --checksum--> unpack --> room of the inbox --> chunk
 *
 * What counts bytes in memory (windows, credits, budgets) counts them unpacked on both sides: a window bounds what the
 * owner of a partition must take, and there the bytes lie unpacked. What counts bytes on their way (the courier's
 * pending, sent_bytes of the record) counts what travels.
 *
 * The checksum is of what travels. So what the network damaged is told apart from what was packed wrongly, nothing is
 * unpacked that is not what was sent, and there is less to sum. The header says how much must come of a message: lz4 is
 * told to write no more than that and to read no more than came. If it comes to anything else the message is refused.
 *
 * Unpacked apart, and not in its chunk: a message that cannot be true changes nothing, and no mutex is held for as long
 * as that takes.
 *
 * Why lz4 and not zstd: one thread packs for all workers of a rank, and is to be faster than the network. At a gigabit
 * that could be zstd, at ten it could not. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "codec.h"
#include "memory.h"

/* Bytes that a room grows by; what is smaller is not packed; nor what gains less than one in so many. */
enum { STEP = 64 << 10, LEAST = 64, GAIN = 16 };

struct mr__wire {
    mr__budget *budget;
    mr__wire_room room;
    enum { NEVER, ALWAYS, CHOOSES } rule;
    mr__wire_choice choice;
};

static bool make_room(mr__wire_room *room, mr__budget *budget, uint32_t size)
{
    const uint32_t whole = (size + STEP - 1) / STEP * STEP;
    if (size <= room->size)
        return true;
    uint8_t *made = mr__alloc(whole);
    if (made == NULL)
        return false;
    mr__wire_room_fini(room, budget);
    mr__budget_force(budget, whole);
    *room = (mr__wire_room){made, whole};
    return true;
}

void mr__wire_room_fini(mr__wire_room *room, mr__budget *budget)
{
    mr__free(room->bytes);
    mr__budget_release(budget, room->size);
    *room = (mr__wire_room){NULL, 0};
}

mr_status mr__wire_create(mr__budget *budget, bool one_node, mr__wire **wire, mr__error *error)
{
    mr_status status = MR_OK;
    const char *forced = getenv("MILLRACE_LZ4");
    MR_CHECK(forced == NULL || strcmp(forced, "0") == 0 || strcmp(forced, "1") == 0, MR_BAD_USAGE,
             "MILLRACE_LZ4=%s is unknown\n  hint: use 1 or 0, or leave it out: then the network is measured", forced);
    mr__wire *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to send pairs to other ranks");
    made->budget = budget;
    made->rule = forced != NULL ? forced[0] == '1' ? ALWAYS : NEVER : one_node ? NEVER : CHOOSES;
    *wire = made;
done:
    return status;
}

void mr__wire_destroy(mr__wire *wire)
{
    if (wire == NULL)
        return;
    mr__wire_room_fini(&wire->room, wire->budget);
    mr__free(wire);
}

/* ---- the sender -------------------------------------------------------------------------------------------------- */

static bool wanted(const mr__wire *wire)
{
    return wire->rule == ALWAYS || (wire->rule == CHOOSES && wire->choice.packs);
}

bool mr__wire_pack(mr__wire *wire, const uint8_t **bytes, uint32_t *size)
{
    const uint32_t most = *size - *size / GAIN;
    size_t packed = 0;
    if (!wanted(wire))
        return false;
    const uint64_t begin = mr__now_ns();
    if (*size >= LEAST && make_room(&wire->room, wire->budget, most))
        packed = mr__codec_pack(MR__CODEC_LZ4, *bytes, *size, wire->room.bytes, most);
    mr__wire_choice_coded(&wire->choice, *size, packed > 0 ? packed : *size, mr__now_ns() - begin);
    if (packed == 0)
        return false;
    *bytes = wire->room.bytes;
    *size = (uint32_t)packed;
    return true;
}

void mr__wire_note(mr__wire *wire, mr__wire_turn turn, uint32_t bytes, const uint64_t *under_way, uint32_t ranks)
{
    if (wire->rule == CHOOSES)
        mr__wire_choice_turn(&wire->choice, turn, bytes, under_way, ranks, mr__now_ns());
}

/* ---- the receiver ------------------------------------------------------------------------------------------------ */

mr_status mr__wire_unpack(mr__wire_room *room, mr__budget *budget, const uint8_t *packed, uint32_t packed_size,
                          uint32_t size, uint32_t from, const uint8_t **bytes, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(make_room(room, budget, size), MR_NO_MEMORY, "no memory to unpack %u bytes of pairs from rank %u", size,
             from);
    MR_CHECK(mr__codec_unpack(MR__CODEC_LZ4, packed, packed_size, room->bytes, size), MR_NETWORK_FAILED,
             "rank %u sent %u packed bytes that cannot be unpacked to %u", from, packed_size, size);
    *bytes = room->bytes;
done:
    return status;
}
