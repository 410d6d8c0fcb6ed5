/* fuzz_extent.c: any bytes where an extent of a spill file should be; and any bytes packed, sealed and opened again.
 * Holds: what is accepted has the size that was written and lies in readable memory; what is refused has words for it;
 * a sealed extent gives its content back, and with one bit flipped it is refused. */
#include <stdlib.h>
#include <string.h>

#include "extent.h"

enum { SIZE_MAX_HERE = 1 << 16 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t sum_of(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum ^= bytes[i];
    return sum;
}

/* mode & 1: the checksum is made right, so that the unpackers are reached; & 2: nothing was packed here. */
static void open_anything(uint8_t mode, const uint8_t *data, size_t size)
{
    static uint8_t unpacked[SIZE_MAX_HERE + MR__EXTENT_PADDING];
    uint32_t fields[4] = {0};           /* magic, stored, size, codec */
    const uint8_t *content = NULL;
    volatile uint8_t sink;
    uint8_t *at = malloc(size);         /* of just this size, for the sanitizer */
    memcpy(at, data, size);
    memcpy(fields, at, size < sizeof fields ? size : sizeof fields);
    if ((mode & 1) && size >= MR__EXTENT_HEADER) {
        fields[1] = (uint32_t)(size - MR__EXTENT_HEADER);
        mr__extent_seal(at, at + MR__EXTENT_HEADER, fields[1], fields[2] %= SIZE_MAX_HERE, (mr__codec)(fields[3] % 4));
    }
    const mr__extent expected = {.stored = fields[1], .size = fields[2]};
    const bool packed = !(mode & 2) && expected.size <= SIZE_MAX_HERE;
    const char *wrong = mr__extent_open(at, size, &expected, packed ? unpacked : NULL, &content);
    if (wrong == NULL)
        sink = sum_of(content, expected.size);
    else
        check(*wrong != '\0');
    (void)sink;
    free(at);
}

static void there_and_back(uint8_t mode, const uint8_t *data, size_t size)
{
    static uint8_t packed[SIZE_MAX_HERE * 2], unpacked[SIZE_MAX_HERE + MR__EXTENT_PADDING];
    mr__codec codec = (mr__codec)(mode / 4 % 3);
    const uint8_t *content = NULL;
    size_t stored = 0;
    if (codec != MR__CODEC_NONE)
        stored = mr__codec_pack(codec, data, size, packed, sizeof packed);
    if (stored == 0) {
        codec = MR__CODEC_NONE;
        stored = size;
    }
    const mr__extent expected = {.stored = (uint32_t)stored, .size = (uint32_t)size};
    const size_t total = MR__EXTENT_HEADER + stored;
    uint8_t *at = malloc(total);
    memcpy(at + MR__EXTENT_HEADER, codec != MR__CODEC_NONE ? packed : data, stored);
    mr__extent_seal(at, at + MR__EXTENT_HEADER, expected.stored, expected.size, codec);
    check(mr__extent_open(at, total, &expected, unpacked, &content) == NULL);
    check(memcmp(content, data, size) == 0);
    check(mr__extent_open(at, total - 1, &expected, unpacked, &content) != NULL);
    const size_t bit = (mode * 2654435761u + size * 40503u) % (total * 8);
    at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    check(mr__extent_open(at, total, &expected, unpacked, &content) != NULL);
    free(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > SIZE_MAX_HERE)
        return 0;
    open_anything(data[0], data + 1, size - 1);
    there_and_back(data[0], data + 1, size - 1);
    return 0;
}
