/* mail.h: how the messages of a job leave this rank. Real ones go through the courier (ranks.c); tests bring their own.
 * Promise   What is posted to a rank that is alive arrives once, in order of its path. What is posted to a lost one
 *           vanishes.
 * Owner     Who made the mail; it is borrowed until outbox, inbox and carrier are gone.
 * Threads   post, pending: any, also with a lock of the caller's held: they do not wait, call nothing back, and take no
 *           lock under which outbox or inbox are called. clear, failed: called by any thread, with no lock of the
 *           caller's held; they do not call outbox, inbox or carrier.
 * Failure   post: as mr__courier_post(); then nothing was posted. */
#ifndef MR__MAIL_H
#define MR__MAIL_H

#include "check.h"
#include "comm.h"

typedef struct mr__mail {
    void *context;
    uint32_t rank, ranks;                   /* this one, and how many there are: lost ones count */
    /* head and bytes arrive as one message; both are copied. */
    mr_status (*post)(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head, size_t head_size,
                      const void *bytes, size_t size, mr__error *error);
    size_t (*pending)(void *context, mr__path path, uint32_t to);   /* bytes posted that have not left */
    void (*clear)(void *context);                                   /* the outbox has become clear */
    void (*failed)(void *context, mr_status status, const mr__error *error);    /* the carrier's thread failed */
} mr__mail;

/* Kinds of messages. 0 .. 2 are those of members.h. */
enum mr__mail_kind {
    MR__MAIL_CHUNK = 3,     /* outbox -> inbox, bulk: some pairs of one partition */
    MR__MAIL_END,           /* outbox -> inbox, bulk: how much there is of an epoch for a group */
    MR__MAIL_CREDIT,        /* inbox -> outbox, control: so many bytes may be sent again */
    MR__MAIL_CONFIRM,       /* inbox -> outbox, control: an epoch is whole in a group */
};

#endif
