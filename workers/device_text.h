/* device_text.h: a piece of text on its way to the device, and where its bytes came from.
 * Promise   The records (words or lines) that start in [begin, end) of the text are whole; the byte before `begin` is
 *           there unless a file begins at it. Small whole files share one text, with a boundary between them.
 * Failure   MR_NO_WORKER: a record is longer than the transfer buffer. Else as device_transfer.h says. */
#ifndef MR__DEVICE_TEXT_H
#define MR__DEVICE_TEXT_H

#include "device_slot.h"

enum { MR__TEXT_FILES = 1024 };

typedef struct mr__device_text {
    const uint8_t *bytes;           /* as the host sees them */
    uint32_t size, begin, end;
    uint64_t offset;                /* of bytes[0] in its file; 0 with several files */
    uint32_t count;                 /* files */
    struct { uint32_t at, file; } file[MR__TEXT_FILES];     /* ascending; file[0].at is 0 */
    bool mapped;
    cl_mem buffer;                  /* what the kernel reads; released by mr__device_text_done() */
    cl_event copied;
} mr__device_text;

/* Where a task has got to. */
typedef struct mr__text_cursor {
    const mr__device_segment *segments;
    uint32_t count, segment;
    uint64_t at;                    /* in the segment */
} mr__text_cursor;

/* Room for a segment and the end of its last record. */
size_t mr__device_text_room(const mr__device_job *job);
/* The next text from the cursor on, which it moves, already sent to the device. text->size 0: the task is at its
 * end. */
mr_status mr__device_text_next(mr__device_slot *slot, mr__text_cursor *cursor, mr__device_text *text,
                               mr__device_done *done, mr__error *error);
/* After the device is done with it, or a failure. */
mr_status mr__device_text_done(mr__device_slot *slot, mr__device_text *text, mr__error *error);
/* The file that byte `at` of the text came from. */
uint32_t mr__device_text_file(const mr__device_text *text, uint32_t at);

#endif
