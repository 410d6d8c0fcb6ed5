/* codec.c: the only file that calls lz4 and zstd. No input and no output here, so that fuzzers can reach all of it.
 *
 * lz4's sizes are ints: what does not fit is not packed, and nothing that claims to be so large is unpacked. Packed
 * bytes may come from a disk or a network, so only the calls are used that check every length they read. */
#include "codec.h"

#include <lz4.h>
#include <stdint.h>
#include <zstd.h>

enum { ZSTD_LEVEL = 1 };

const char *mr__codec_name(mr__codec codec)
{
    static const char *const names[] = {"none", "lz4", "zstd"};
    return (size_t)codec < sizeof names / sizeof names[0] ? names[codec] : "?";
}

size_t mr__codec_bound(mr__codec codec, size_t size)
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

size_t mr__codec_pack(mr__codec codec, const void *bytes, size_t size, void *packed, size_t capacity)
{
    size_t stored = 0;
    if (codec == MR__CODEC_LZ4 && size <= LZ4_MAX_INPUT_SIZE) {
        const int room = capacity < INT32_MAX ? (int)capacity : INT32_MAX;
        stored = (size_t)LZ4_compress_default(bytes, packed, (int)size, room);
    } else if (codec == MR__CODEC_ZSTD) {
        const size_t result = ZSTD_compress(packed, capacity, bytes, size, ZSTD_LEVEL);
        stored = ZSTD_isError(result) ? 0 : result;
    }
    return stored < size ? stored : 0;
}

bool mr__codec_unpack(mr__codec codec, const void *packed, size_t packed_size, void *bytes, size_t size)
{
    if (codec == MR__CODEC_LZ4)
        return packed_size <= INT32_MAX && size <= INT32_MAX &&
               LZ4_decompress_safe(packed, bytes, (int)packed_size, (int)size) == (int)size;
    if (codec == MR__CODEC_ZSTD)
        return ZSTD_decompress(bytes, size, packed, packed_size) == size;
    return false;
}
