/* sink.h: where final pairs of one task go: a part of the output, or a run (to be sorted, or kept in memory).
 * Owner     fini releases what a failed task left open.
 * Threads   One.
 * Failure   Writing; the part is then aborted by fini. */
#ifndef MR__SINK_H
#define MR__SINK_H

#include "internal.h"

/* What the app writes text or bytes to. */
struct mr_writer {
    struct mr__sink *sink;
    mr_status status;           /* sticky */
    bool capture;               /* into `text`, because the pair goes to a run */
    uint8_t *text;
    size_t size, room;
    uint64_t written;
    mr_slice key;               /* written before the first byte, unless NULL */
};

typedef struct mr__sink {
    mr__job *job;
    mr__lane *lane;
    mr__part *part;             /* one of part and run */
    mr__run *run;
    uint64_t pairs, limit;      /* limit: 0 for none */
    mr_writer writer;
    uint8_t *value;             /* aligned, for the app's format() */
    mr__error *error;
} mr__sink;

mr_status mr__sink_open_part(mr__sink *sink, uint32_t index, mr__error *error);
mr_status mr__sink_open_run(mr__sink *sink, mr__run *run, mr__error *error);
mr_status mr__sink_close_part(mr__sink *sink, mr__error *error);
void mr__sink_fini(mr__sink *sink);
/* A pair in the layout of the result. */
mr_status mr__sink_pair(mr__sink *sink, const mr__pair *pair, mr__error *error);
bool mr__sink_is_full(const mr__sink *sink);
/* The text that a reduce writes for one key; a key without text leaves nothing. */
mr_status mr__sink_begin_text(mr__sink *sink, const uint8_t *key, size_t size, mr_writer **writer, mr__error *error);
mr_status mr__sink_end_text(mr__sink *sink, mr__error *error);
/* Text without a key: what finish() writes. */
mr_status mr__sink_begin_free_text(mr__sink *sink, mr_writer **writer, mr__error *error);
mr_status mr__sink_end_free_text(mr__sink *sink, mr__error *error);

#endif
