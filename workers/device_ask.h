/* device_ask.h: runs millrace-device for one answer, whatever becomes of it.
 * Promise   Returns at the deadline at the latest, or two seconds after it when a driver holds the process in the
 *           kernel; nothing else of what was started lives on then.
 * Owner     The answer: ask and free.
 * Threads   Any.
 * Failure   MR_NO_MEMORY. Everything else is an answer with a reason in `why`. */
#ifndef MR__DEVICE_ASK_H
#define MR__DEVICE_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "token.h"

typedef struct mr__device_reply {
    char *text;                     /* what it printed; not terminated */
    size_t size;
    int exit;                       /* its exit status; -1: it did not end by itself */
    char why[MR__DEVICE_WHY];       /* "": it ended with status 0; else what happened, in one line */
} mr__device_reply;

/* arguments: up to four, then NULL. */
mr_status mr__device_ask(const char *program, const char *const arguments[], uint32_t seconds, mr__device_reply *out,
                         mr__error *error);
void mr__device_reply_free(mr__device_reply *answer);     /* what ask() filled, or zeros */

#endif
