/* device_pairs.h: what a text kernel emitted, as pairs in a task's result.
 * Promise   Keys are copied from the host's own text, so that a device can make a wrong span but no wrong bytes; a span
 *           outside the text is found out. All of a call's pairs are appended, or none.
 * Failure   MR_NO_SPACE: the slot is full. MR_DEVICE_LOST: such a span cannot be. */
#ifndef MR__DEVICE_PAIRS_H
#define MR__DEVICE_PAIRS_H

#include "device_text.h"

/* As millrace/text_opencl.h lays it out. */
typedef struct mr__device_entry {
    uint32_t offset, size;
    uint64_t value;
} mr__device_entry;

/* refs[slot]: offset + 1 in the low half, then the size in 20 bits; 0: empty. */
enum { MR__REF_SIZE_SHIFT = 32, MR__REF_SIZE_BITS = 20 };

typedef struct mr__device_pairs {
    const mr__device_job_view *view;
    const char *device;             /* for sentences */
    uint8_t *memory;
    size_t room, used;
    bool folded;                    /* keys come out in lower case */
} mr__device_pairs;

mr_status mr__device_pairs_entries(mr__device_pairs *pairs, const mr__device_text *text,
                                   const mr__device_entry *entries, size_t count, mr__error *error);
/* Of a table of the device; *keys: how many it held. */
mr_status mr__device_pairs_table(mr__device_pairs *pairs, const mr__device_text *text, const uint64_t *refs,
                                 const uint64_t *values, size_t slots, uint64_t *keys, mr__error *error);

#endif
