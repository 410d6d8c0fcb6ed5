/* reader.h: a worker's way through byte ranges of sources, with read-ahead.
 * Promise   After mr__reader_start(range) each mr__reader_next() gives a window: the last `keep` bytes of the window
 *           before, then fresh bytes. MR_BLOCK_PADDING bytes behind a window are readable. Reading ahead stops at the
 *           soft end; beyond it (the rest of a record that crosses it) small pieces are read. Of a file that grew, only
 *           the bytes that it had when it was listed are read.
 * Owner     The window belongs to the reader until the next call.
 * Threads   One thread per reader.
 * Cost      A small file (whole) costs an open, a read and a close. The last file stays open between ranges.
 * Failure   MR_BAD_INPUT: the file is gone, unreadable, or shorter than it was when it was listed (the sentence names
 *           path and offset). MR_NO_MEMORY: a record does not fit the memory (the sentence says so and names the
 *           offset). */
#ifndef MR__READER_H
#define MR__READER_H

#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "check.h"
#include "source.h"

#include <millrace/block.h>

typedef enum mr__read_path { MR__READ_PREAD, MR__READ_MMAP, MR__READ_URING } mr__read_path;

enum { MR__READ_WINDOW = 256 << 10 };   /* a good window: it stays in L2 between the read and the map */

/* What was measured on this machine, once, and kept in the cache directory; and what follows from it. */
typedef struct mr__read_choice {
    mr__read_path path;
    bool ahead;                             /* small files that are not in the page cache: mr__source_will_need() */
    double pread_gbs, mmap_gbs, uring_gbs;  /* of this machine, warm page cache; 0: not measured */
    char why[256];                          /* for `explain` */
} mr__read_choice;

/* Chooses for these sources: looks whether they are in the page cache (a sample) and at the measurement, which is made
 * at the first call on a machine (about 0.2 s) and kept in $XDG_CACHE_HOME/millrace, else ~/.cache/millrace. Of files
 * that the user neither owns nor may write it is not known whether they are there; `why` says so.
 * MILLRACE_READ=pread|mmap|io_uring forces one. */
mr_status mr__read_choose(const mr__sources *sources, mr__read_choice *choice, mr__error *error);
const char *mr__read_path_name(mr__read_path path);

typedef struct mr__reader mr__reader;

/* window: the usual size of a window in bytes (a block: L2-sized). budget: buffers are reserved from it. A path that a
 * tier or a container does not allow is replaced by pread. */
mr_status mr__reader_create(const mr__sources *sources, mr__read_path path, size_t window, mr__budget *budget,
                            mr__reader **reader, mr__error *error);
void mr__reader_destroy(mr__reader *reader);

/* Begins at `offset` of a source; soft_end <= the source's size. */
mr_status mr__reader_start(mr__reader *reader, uint32_t source, uint64_t offset, uint64_t soft_end, mr__error *error);
/* keep: trailing bytes of the last window to see again (a partial record); it grows the window when nothing of the last
 * one was consumed. *offset: of window->data[0] in the source. *at_end: the window reaches the end of the source.
 * window->size == keep only at the end of the source. */
mr_status mr__reader_next(mr__reader *reader, size_t keep, mr_slice *window, uint64_t *offset, bool *at_end,
                          mr__error *error);
/* Call it after the last window of a range was used: says whether all windows held what was in the file. (What is cut
 * off while it is mapped or in flight reads as zeros; start and whole ask this for the windows before them.) */
mr_status mr__reader_end(mr__reader *reader, mr__error *error);
/* One small file as a whole, without start/next: the cheapest way through 80,000 of them. */
mr_status mr__reader_whole(mr__reader *reader, uint32_t source, mr_slice *content, mr__error *error);
/* Bytes at any place, for samples and side inputs; exactly `size` or an error. Does not disturb a range. */
mr_status mr__reader_at(mr__reader *reader, uint32_t source, uint64_t offset, void *buffer, size_t size,
                        mr__error *error);

#endif
