/* utf8.c: the table is Unicode's table 3-7, "well-formed UTF-8 byte sequences": the first byte gives the length, and in
 * four rows a narrower range of the second. */
#include "utf8.h"

#include <stddef.h>
#include <string.h>

#include "check.h"
#include "memory.h"

static const struct {
    unsigned char first_low, first_high, second_low, second_high, length;
} rows[] = {
    {0x01, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
    {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* 0: no sequence begins here. Stops at the NUL at the end of the text, which continues nothing. */
static size_t sequence_length(const unsigned char *text)
{
    for (size_t r = 0; r < MR__COUNT(rows); r++) {
        if (text[0] < rows[r].first_low || text[0] > rows[r].first_high)
            continue;
        if (rows[r].length > 1 && (text[1] < rows[r].second_low || text[1] > rows[r].second_high))
            return 0;
        for (size_t i = 2; i < rows[r].length; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
        }
        return rows[r].length;
    }
    return 0;
}

char *mr__utf8_clean(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *clean = mr__alloc(strlen(text) * 3 + 1);
    if (clean == NULL)
        return NULL;
    size_t used = 0;
    while (*text != '\0') {
        const size_t length = sequence_length((const unsigned char *)text);
        memcpy(clean + used, length > 0 ? text : replacement, length > 0 ? length : 3);
        used += length > 0 ? length : 3;
        text += length > 0 ? length : 1;
    }
    clean[used] = '\0';
    return clean;
}
