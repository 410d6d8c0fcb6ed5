/* extent.c: seal and open an extent. No input and no output here, so that a fuzzer can reach all of it. */
#include "extent.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>

#include "checksum.h"

enum { MAGIC = 0x7845724d, VERSION = 1, ZSTD_LEVEL = 1 };    /* "MrEx" */

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

size_t mr__extent_bound(mr__codec codec, size_t size)
{
    switch (codec) {
    case MR__CODEC_LZ4:
        return size <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)size) : 0;
    case MR__CODEC_ZSTD:
        return ZSTD_compressBound(size);
    default:
        return 0;
    }
}

size_t mr__extent_pack(mr__codec codec, const void *bytes, size_t size, void *packed, size_t capacity)
{
    size_t stored = 0;
    if (codec == MR__CODEC_LZ4) {
        stored = (size_t)LZ4_compress_default(bytes, packed, (int)size, (int)capacity);
    } else if (codec == MR__CODEC_ZSTD) {
        const size_t result = ZSTD_compress(packed, capacity, bytes, size, ZSTD_LEVEL);
        stored = ZSTD_isError(result) ? 0 : result;
    }
    return stored < size ? stored : 0;
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
    bool whole = false;
    if (unpacked == NULL)
        return "it is packed, and nothing was packed here";
    if (head.codec == MR__CODEC_LZ4 && head.stored <= INT32_MAX && head.size <= INT32_MAX)
        whole = LZ4_decompress_safe((const char *)stored, (char *)unpacked, (int)head.stored, (int)head.size) ==
                (int)head.size;
    else if (head.codec == MR__CODEC_ZSTD)
        whole = ZSTD_decompress(unpacked, head.size, stored, head.stored) == head.size;
    *content = unpacked;
    return whole ? NULL : "it cannot be unpacked";
}
