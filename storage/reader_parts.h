/* reader_parts.h: what reader.c, reader_map.c and reader_ring.c share.
 * A reading path is one way to bring fresh bytes behind the bytes that are kept:
 *     reader.c       pread into one buffer
 *     reader_map.c   windows of a mapping
 *     reader_ring.c  io_uring, several buffers in flight */
#ifndef MR__READER_PARTS_H
#define MR__READER_PARTS_H

#include "reader.h"

typedef struct mr__map mr__map;
typedef struct mr__ahead mr__ahead;

/* An open source. */
typedef struct mr__slot {
    mr__file file;
    uint32_t source;            /* meaningful while file.tier != NULL */
} mr__slot;

struct mr__reader {
    const mr__sources *sources;
    mr__budget *budget;
    size_t window;
    mr__slot ranged, aside;     /* of start/next; of at */
    mr__map *map;               /* NULL: this reader does not map */
    mr__ahead *ahead;           /* NULL: this reader does not read in the background */
    /* the range */
    mr__read_path path;         /* of this range */
    const mr__source *source;
    uint64_t position;          /* of the next fresh byte */
    uint64_t soft_end;
    size_t piece;               /* the next piece beyond the soft end */
    uint8_t *data;              /* the window that was given last, `have` bytes */
    size_t have;
    /* the buffer of the pread path, of whole() and of records that need more room than their path has */
    uint8_t *buffer;
    size_t capacity;
};

enum { MR__READER_HEAD = 64 << 10 };    /* room for kept bytes in front of where fresh ones are read to */

/* Makes room in the buffer for keep + want bytes, moves the kept bytes (the end of the current window) there, and lets
 * reader->data point at them. The fresh bytes belong behind them. */
mr_status mr__reader_make_room(mr__reader *reader, size_t keep, size_t want, mr__error *error);
mr_status mr__reader_truncated(const mr__source *source, uint64_t now, mr__error *error);
/* Is the file of the range as long as it was when it was listed? */
mr_status mr__reader_check_size(const mr__reader *reader, mr__error *error);
mr_status mr__reader_failed(const mr__source *source, uint64_t offset, int number, mr__error *error);

/* Each fill brings up to `want` fresh bytes (at least one): reader->data has keep + *got bytes afterwards. */

mr_status mr__pread_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error);

mr__map *mr__map_create(mr__budget *budget);    /* NULL: not possible here */
void mr__map_destroy(mr__map *map, mr__budget *budget);     /* takes NULL, as the rest does */
mr_status mr__map_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error);
/* Was what the map gave really in the file? */
mr_status mr__map_check(mr__reader *reader, mr__error *error);
void mr__map_end(mr__map *map);

mr__ahead *mr__ahead_create(size_t window, mr__budget *budget);
void mr__ahead_destroy(mr__ahead *ahead, mr__budget *budget);
/* Starts to read the range; what cannot be read in the background is left to the foreground. */
void mr__ahead_start(mr__reader *reader);
mr_status mr__ahead_fill(mr__reader *reader, size_t keep, size_t want, size_t *got, mr__error *error);
void mr__ahead_end(mr__ahead *ahead);

#endif
