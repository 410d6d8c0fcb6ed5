/* outbox_parts.h: what the parts of an outbox share: outbox.c (put, close, confirm), outbox_flows.c (who gets what),
 * outbox_carry.c (those who hold items without the mutex) and outbox_table.c (what lies in combine buffers still).
 * Nobody else includes it. outbox.c says how it works. */
#ifndef MR__OUTBOX_PARTS_H
#define MR__OUTBOX_PARTS_H

#include "carry_parts.h"
#include "outbox.h"

typedef struct mr__item {               /* pairs that were put */
    struct mr__item *next;              /* of its partition, newest first */
    struct mr__item *behind;            /* in the queue of its flow; in the hands of who spills */
    struct mr__item *older, *newer;     /* residents */
    mr__chunk *chunk;                   /* NULL: spilled, or only where it came from */
    mr__extent extent;
    mr__origin origin;
    uint32_t epoch, partition, pairs, size;
    uint32_t offset;                    /* bytes that were sent of a chunk that takes several messages */
    bool sent, held, leaves;
    bool gone;                          /* held, and forgotten meanwhile */
} mr__item;

typedef struct mr__residents {
    mr__item *oldest, *newest;
} mr__residents;

typedef struct mr__epoch {              /* closed */
    uint32_t number, first, last;
    uint64_t ns;                        /* that it took to map */
    mr__cover input;
    mr__cover gone;                     /* partitions for which it was forgotten */
} mr__epoch;

typedef struct mr__share {
    struct mr__share *behind;           /* among those that are due; among those that were forgotten */
    mr__epoch *closed;                  /* NULL: the epoch is open */
    uint64_t chunks, pairs, unsent;
    uint64_t bytes;                     /* that take memory if they are kept */
    uint32_t epoch;
    bool due, told;
    bool again;                         /* its flow began anew: an owner of before may hold all of it (outbox.c) */
} mr__share;

typedef struct mr__flow {               /* a group, and what is to go to its owner */
    uint32_t first, last, owner;
    uint32_t generation;                /* of the assign that gave it this owner */
    mr__item *queue, *queue_end;
    mr__share *due, *due_end;
    mr__share **shares;                 /* by epoch; not confirmed */
    size_t share_count, share_room;
    mr__share *forgotten;
} mr__flow;

struct mr__outbox {
    mr__job *job;
    const mr__mail *mail;
    uint64_t window;
    pthread_mutex_t mutex;              /* for what follows */
    mr__carrier *carrier;
    uint32_t begun, open;               /* epochs */
    uint32_t generation;
    mr__epoch **epochs;                 /* closed ones */
    size_t epoch_count, epoch_room;
    mr__item **partition;               /* [partitions] */
    mr__flow *flows;                    /* by first; none before the first assign */
    size_t flow_count, turn;            /* turn: the flow that is looked at first */
    uint64_t *under_way;                /* [ranks] */
    mr__residents residents[2];         /* not sent; sent */
    size_t unconfirmed, leaving;
    enum { KEEP_DEAR, KEEP_ALL, KEEP_NOTHING } keep;
    bool clear;                         /* as the mail was told */
    _Atomic uint64_t kept;
    _Atomic uint64_t saved;             /* bytes that were not posted, by packing */
};

/* All under the mutex. */

/* Into the list of residents that `sent` says, and out of it. */
void mr__outbox_enlist(mr__outbox *outbox, mr__item *item);
void mr__outbox_unlist(mr__outbox *outbox, mr__item *item);
/* NULL: nothing was assigned yet. */
mr__flow *mr__outbox_flow(const mr__outbox *outbox, uint32_t partition);
bool mr__outbox_owns(const mr__outbox *outbox, const mr__flow *flow);
void mr__flow_queue(mr__flow *flow, mr__item *item);
/* The share of an epoch, or NULL; found or made. */
mr__share *mr__flow_share(const mr__flow *flow, uint32_t epoch);
mr_status mr__flow_make_share(mr__flow *flow, uint32_t epoch, mr__share **share, mr__error *error);
/* Out of those that are not confirmed; the caller's. */
mr__share *mr__flow_take_share(mr__flow *flow, uint32_t epoch);
/* Makes the share of a closed epoch, if it is to have one here, and makes it due if all was sent. */
mr_status mr__flow_close(mr__flow *flow, mr__epoch *closed, mr__error *error);
/* Makes it due if it is. */
void mr__flow_look_at(mr__flow *flow, mr__share *share);
void mr__flow_fini(mr__flow *flow);
/* Is not wanted any more, and is in no list of its partition. What is held goes when it is let go. */
void mr__outbox_drop(mr__outbox *outbox, mr__item *item);
/* To this rank's exchange, or to the extents of its partition. The item is gone, also after a failure. */
mr_status mr__outbox_deliver(mr__outbox *outbox, mr__item *item, mr__error *error);
/* outbox_table.c. Takes the chunk from an item that is not held: its pairs are elsewhere, or not wanted. */
void mr__outbox_lay_back(mr__outbox *outbox, mr__item *item);
/* Gives an item with an origin a chunk again if it has none, beyond the budget if need be. */
mr_status mr__outbox_copy_again(mr__outbox *outbox, mr__item *item, mr__error *error);
/* The pairs are this rank's own now: they stay where they are, in place. */
void mr__outbox_leave_in_place(const mr__origin *origin, uint32_t partition);

/* Leaves the mutex; tells the mail if the outbox has become clear. */
void mr__outbox_unlock(mr__outbox *outbox);

#endif
