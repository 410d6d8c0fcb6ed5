/* inbox_parts.h: what the parts of an inbox share: inbox.c, which says how it works, and inbox_carry.c. Nobody else
 * includes it. */
#ifndef MR__INBOX_PARTS_H
#define MR__INBOX_PARTS_H

#include "carry_parts.h"
#include "inbox.h"

typedef struct mr__held_extent {
    uint32_t partition;
    mr__extent extent;
} mr__held_extent;

typedef struct mr__hold {
    struct mr__hold *next;
    mr__share_name name;
    mr__chunk *chunks;                      /* in memory */
    mr__held_extent *spilled;
    size_t spilled_count, spilled_room;     /* room also for those that are away */
    mr__chunk *partial;                     /* came in part; its capacity is all of it */
    uint32_t partial_size, partial_pairs;
    uint64_t partial_cost;                  /* of the messages that brought it */
    uint64_t chunk_count, pairs;            /* that came */
    uint64_t end_chunks, end_pairs;         /* that are to come, once `ended` */
    mr__cover input;
    uint32_t away;
    bool ended, forced, orphan;
} mr__hold;

typedef struct mr__sender {
    mr__hold *holds;
    uint64_t due, owed;                     /* credit: it may have; when there is room */
    bool waits;                             /* for credit */
    bool lost;
} mr__sender;

typedef struct mr__own {                    /* a group of this rank */
    uint32_t first, last;
    mr__cover *covered, *counted;           /* [ranks] each: input; epochs */
} mr__own;

struct mr__inbox {
    mr__job *job;
    const mr__mail *mail;
    mr__wire_room unpacked;                 /* the courier's thread's */
    pthread_mutex_t mutex;                  /* for what follows */
    mr__carrier *carrier;
    mr__sender *senders;                    /* [ranks] */
    mr__own *groups;
    size_t group_count;
    _Atomic bool owes;
};

/* All under the mutex. */

/* Posts what credit a sender may have, if it waits for it. */
mr_status mr__inbox_give_credit(mr__inbox *inbox, uint32_t to, mr__error *error);
/* Gives out a hold that is whole and of this rank's group, if it may be. Then it is gone. */
mr_status mr__inbox_give_out(mr__inbox *inbox, uint32_t from, mr__hold *hold, mr__error *error);
void mr__inbox_free_hold(mr__inbox *inbox, mr__hold *hold);

#endif
