/* spill.h: chunks of bytes that memory has no room for, in the burst directory, checked when they come back.
 * Promise   What is read back is what was written, or MR_IO_FAILED with file and offset (XXH3 per extent). Writes go
 *           out in the background (io_uring; pwrite as a fallback) and overlap with computing; so do reads of a known
 *           list.
 * Layout    extent.h.
 * Threads   A writer belongs to one thread; any number of writers (a file each) and readers share a spill.
 * Failure   MR_NO_SPACE, MR_IO_FAILED, with the file's name. A write that fails later is reported by the next call of
 *           its writer, at the latest by flush; from then on every call of that writer fails. */
#ifndef MR__SPILL_H
#define MR__SPILL_H

#include "budget.h"
#include "burst.h"
#include "check.h"
#include "codec.h"

typedef struct mr__spill mr__spill;
typedef struct mr__spill_writer mr__spill_writer;
typedef struct mr__spill_reader mr__spill_reader;

typedef struct mr__extent {
    uint32_t file;
    uint32_t stored;        /* bytes in the file, without the header */
    uint32_t size;          /* bytes of the content */
    uint32_t note;          /* the caller's (a number of pairs, a partition) */
    uint64_t offset;        /* of the extent's header */
} mr__extent;

/* codec: MILLRACE_SPILL=none|lz4|zstd in the environment overrules it (MR_BAD_USAGE if it is none of these). */
mr_status mr__spill_create(mr__burst *burst, mr__codec codec, mr__spill **spill, mr__error *error);
/* Removes the files; writers and readers are gone by then. Takes NULL. */
void mr__spill_destroy(mr__spill *spill);
uint64_t mr__spill_bytes(const mr__spill *spill);       /* written so far, any thread */

/* A writer opens its file, and reserves its two staging buffers (1 MiB each) from the budget by force, at its first
 * write. */
mr_status mr__spill_writer_create(mr__spill *spill, mr__budget *budget, mr__spill_writer **writer, mr__error *error);
void mr__spill_writer_destroy(mr__spill_writer *writer);
/* Copies the bytes; returns before they are on disk. size < 2^31. */
mr_status mr__spill_write(mr__spill_writer *writer, const void *bytes, size_t size, uint32_t note, mr__extent *extent,
                          mr__error *error);
/* Waits until all is written: after it any thread may read the extents. Writing may go on afterwards. */
mr_status mr__spill_flush(mr__spill_writer *writer, mr__error *error);

/* Reads a list of extents in order, ahead of the caller, with at most `ahead` bytes of buffers (reserved from budget by
 * force; at least one extent fits; two or more have to fit if reading is to overlap). extents: borrowed until destroy.
 * Extents that lie side by side in a file are read together. */
mr_status mr__spill_reader_create(mr__spill *spill, const mr__extent *extents, size_t count, size_t ahead,
                                  mr__budget *budget, mr__spill_reader **reader, mr__error *error);
void mr__spill_reader_destroy(mr__spill_reader *reader);
/* The next extent's content, valid until the next call; *bytes = NULL at the end. 64 bytes behind it are readable. */
mr_status mr__spill_reader_next(mr__spill_reader *reader, const uint8_t **bytes, mr__extent *extent, mr__error *error);

#endif
