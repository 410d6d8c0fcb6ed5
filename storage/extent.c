/* extent.c: seal and open an extent. No input and no output here, so that a fuzzer can reach all of it. */
#include "extent.h"

#include <string.h>

#include "checksum.h"

enum { MAGIC = 0x7845724d, VERSION = 1 };    /* "MrEx" */

typedef struct header {
    uint32_t magic, stored, size, codec;
    uint64_t sum;
} header;

_Static_assert(sizeof(header) == MR__EXTENT_HEADER, "the header has no holes");

void mr__spill_header(uint8_t bytes[MR__SPILL_HEADER])
{
    const uint32_t version[2] = {VERSION, 0};
    memcpy(bytes, "mrspill1", 8);
    memcpy(bytes + 8, version, sizeof version);
}

uint64_t mr__extent_footprint(uint32_t stored)
{
    return MR__EXTENT_HEADER + (((uint64_t)stored + 7) & ~(uint64_t)7);
}

static uint64_t sum_of(const void *stored, const header *head)
{
    return mr__checksum(stored, head->stored, (uint64_t)head->size << 32 | head->codec);
}

void mr__extent_seal(uint8_t bytes[MR__EXTENT_HEADER], const void *stored, uint32_t stored_size, uint32_t size,
                     mr__codec codec)
{
    header head = {.magic = MAGIC, .stored = stored_size, .size = size, .codec = codec};
    head.sum = sum_of(stored, &head);
    memcpy(bytes, &head, sizeof head);
}

const char *mr__extent_open(const uint8_t *at, size_t available, const mr__extent *expected, uint8_t *unpacked,
                            const uint8_t **content)
{
    header head;
    if (available < sizeof head)
        return "the file ends inside a header";
    memcpy(&head, at, sizeof head);
    if (head.magic != MAGIC)
        return "there is no extent";
    if (head.stored != expected->stored || head.size != expected->size)
        return "the sizes differ from what was written";
    if (available - sizeof head < head.stored)
        return "the file ends inside an extent";
    const uint8_t *stored = at + sizeof head;
    if (sum_of(stored, &head) != head.sum)
        return "the checksum differs";
    if (head.codec == MR__CODEC_NONE) {
        *content = stored;
        return head.stored == head.size ? NULL : "the sizes do not fit each other";
    }
    if (unpacked == NULL)
        return "it is packed, and nothing was packed here";
    const bool whole = mr__codec_unpack((mr__codec)head.codec, stored, head.stored, unpacked, head.size);
    *content = unpacked;
    return whole ? NULL : "it cannot be unpacked";
}
