/* count_bytes_scalar.c: one increment a byte, into eight tables in turn: an increment that follows another one of the
 * same counter would wait for its store. About a byte a cycle, whatever the bytes are. */
#include "count_bytes.h"

#include <string.h>

enum { TABLES = 8 };

void mr__count_bytes_scalar(const uint8_t *data, size_t size, const uint8_t *ahead, uint64_t counts[256])
{
    uint32_t table[TABLES][256] = {{0}};
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        if (at % 64 == 0)
            __builtin_prefetch(ahead + at);
        uint64_t eight;
        memcpy(&eight, data + at, sizeof eight);
        for (int i = 0; i < TABLES; i++)
            table[i][eight >> 8 * i & 255]++;
    }
    for (; at < size; at++)
        table[0][data[at]]++;
    for (int byte = 0; byte < 256; byte++)
        for (int i = 0; i < TABLES; i++)
            counts[byte] += table[i][byte];
}
