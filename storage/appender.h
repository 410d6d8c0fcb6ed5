/* appender.h: bytes at the end of a file, written in the background.
 * Promise   Two buffers: one is filled while the other one flies. What was appended is in the file after finish or pad,
 *           or `failure` says why not.
 * Owner     The file is the caller's; it is not closed here.
 * Threads   One at a time.
 * Failure   The errno of the first failed write is kept in `failure`, with its offset; nothing is written any more
 *           then. */
#ifndef MR__APPENDER_H
#define MR__APPENDER_H

#include "tier.h"
#include "uring.h"

enum { MR__APPENDER_PAGE = 4096 };  /* O_DIRECT: offsets, sizes and buffers are multiples of it */

typedef struct mr__appender {
    mr__file file;
    mr__ring *ring;             /* NULL: writes are made in the foreground */
    uint8_t *buffers;           /* two, of `size` bytes */
    size_t size;
    uint32_t filling;           /* 0 or 1: the one that is filled */
    size_t fill;                /* bytes in it */
    uint64_t base;              /* where it will lie in the file */
    struct {
        const uint8_t *bytes;   /* NULL: nothing is under way */
        size_t size;
        uint64_t offset;
    } flying;
    bool direct;                /* O_DIRECT was asked for */
    int failure;
    uint64_t failure_offset;
} mr__appender;

/* size: of each of the two buffers; a multiple of the page. false: no memory. */
bool mr__appender_init(mr__appender *appender, size_t size);
/* Waits for what is under way. Takes a zeroed appender. */
void mr__appender_fini(mr__appender *appender);
/* From now on into this new, empty file. */
void mr__appender_begin(mr__appender *appender, mr__file file);

void mr__appender_write(mr__appender *appender, const void *bytes, size_t size);
/* A place for `size` bytes (at most half a buffer) that lie together; advance() makes them part of the file. */
uint8_t *mr__appender_reserve(mr__appender *appender, size_t size);
void mr__appender_advance(mr__appender *appender, size_t size);
/* The offset of the next byte. */
uint64_t mr__appender_offset(const mr__appender *appender);

/* Writes what there is, with zeros up to a page, and waits; the next byte begins that page's successor. */
void mr__appender_pad(mr__appender *appender);
/* Writes what there is, to the byte, and waits. Nothing can be appended afterwards. */
void mr__appender_finish(mr__appender *appender);

#endif
