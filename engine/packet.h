/* packet.h: numbers and texts as bytes of a message, and back.
 * Promise   Little-endian, without holes. Reading never leaves the message: what is not there reads as 0 and "", and
 *           broken stays set.
 * Owner     Written: `bytes` is mr__alloc()ed, the caller frees it. Read: texts are pointers into the message.
 * Threads   One at a time. */
#ifndef MR__PACKET_H
#define MR__PACKET_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "memory.h"

typedef struct mr__writing {
    uint8_t *bytes;
    size_t size, room;
    bool broken;                /* no memory: nothing more is written */
} mr__writing;

static inline void mr__write(mr__writing *to, const void *bytes, size_t size)
{
    if (to->broken || size == 0)
        return;
    if (to->size + size > to->room) {
        const size_t room = (to->size + size) * 2;
        uint8_t *made = mr__realloc(to->bytes, room);
        to->broken = made == NULL;
        if (to->broken)
            return;
        to->bytes = made;
        to->room = room;
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static inline void mr__write_u32(mr__writing *to, uint32_t number)
{
    number = htole32(number);
    mr__write(to, &number, sizeof number);
}

static inline void mr__write_u64(mr__writing *to, uint64_t number)
{
    number = htole64(number);
    mr__write(to, &number, sizeof number);
}

/* text: NULL is written as "". */
static inline void mr__write_text(mr__writing *to, const char *text)
{
    const size_t size = text != NULL ? strlen(text) : 0;
    mr__write_u32(to, (uint32_t)size);
    mr__write(to, text, size);
    mr__write(to, "", 1);
}

typedef struct mr__reading {
    const uint8_t *at, *end;
    bool broken;
} mr__reading;

/* NULL: so much is not there. */
static inline const void *mr__read(mr__reading *from, size_t size)
{
    from->broken |= (size_t)(from->end - from->at) < size;
    if (from->broken)
        return NULL;
    const void *bytes = from->at;
    from->at += size;
    return bytes;
}

static inline uint32_t mr__read_u32(mr__reading *from)
{
    uint32_t number = 0;
    const void *bytes = mr__read(from, sizeof number);
    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return le32toh(number);
}

static inline uint64_t mr__read_u64(mr__reading *from)
{
    uint64_t number = 0;
    const void *bytes = mr__read(from, sizeof number);
    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return le64toh(number);
}

static inline const char *mr__read_text(mr__reading *from)
{
    const uint32_t size = mr__read_u32(from);
    const char *text = mr__read(from, (size_t)size + 1);
    if (text == NULL || text[size] != '\0')
        from->broken = true;
    return from->broken ? "" : text;
}

/* All of it was read, and it was all there. */
static inline bool mr__read_well(const mr__reading *from)
{
    return !from->broken && from->at == from->end;
}

#endif
