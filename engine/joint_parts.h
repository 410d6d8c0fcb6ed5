/* joint_parts.h: what the files of a joint share. The states are drawn at the head of joint_stage.c. */
#ifndef MR__JOINT_PARTS_H
#define MR__JOINT_PARTS_H

#include "internal.h"
#include "carrier.h"
#include "inbox.h"
#include "members.h"
#include "near.h"
#include "packet.h"

/* What the courier's thread wants of the job's own. */
typedef enum mr__next {
    MR__NEXT_WAIT,
    MR__NEXT_AGAIN,             /* one more pass: somebody was lost */
    MR__NEXT_SEND,              /* it is this rank's turn to send sums */
    MR__NEXT_FOLDED,            /* the round is over */
    MR__NEXT_COMMIT,            /* all is reduced, and this rank coordinates */
    MR__NEXT_COMMITTED,
    MR__NEXT_FAILED
} mr__next;

enum mr__pass { MR__PASS_NONE, MR__PASS_STANDS, MR__PASS_MAPS, MR__PASS_REDUCES, MR__PASS_ENDED };

/* What a rank did, in its DONE. */
typedef struct mr__joint_sums {
    uint64_t pairs, rows, keys, output_bytes, spilled_bytes, peak_rss_bytes;
} mr__joint_sums;

/* OWN_ENDED. */
typedef struct mr__ended {
    uint32_t round, final;
} mr__ended;

/* TABLE begins with it (joint_dense.c). */
enum { MR__TABLE_HAVE = 1, MR__TABLE_SUMS };

typedef struct mr__table_head {
    uint64_t view;
    uint32_t what, zero;
} mr__table_head;

/* TURN: of these blocks. */
typedef struct mr__turn {
    uint64_t view, begin, end;
} mr__turn;

/* What the coordinator adds up of a round, in one view (joint_fold.c). */
typedef struct mr__fold_part {
    uint64_t begin, end;        /* blocks; integers: a rank */
    uint32_t rank;              /* that has them */
    bool along;                 /* without being asked for */
} mr__fold_part;

typedef struct mr__fold_from {  /* a rank */
    bool told;                  /* what it has */
    struct mr__sums *first, *last;      /* that it sent, and that are not added yet */
} mr__fold_from;

typedef struct mr__fold {
    uint64_t units, rows;
    mr__fold_from *from;        /* [size]; NULL: nobody said anything */
    mr__fold_part *parts;       /* once it has begun, in order */
    size_t count, room;
    bool begun;
    size_t adding, asked;       /* the part that is added now; the first that was not asked for */
    uint64_t added;             /* bytes of that part */
    uint64_t ahead;             /* bytes that were asked for or come along, of this part and those behind it */
    uint8_t *sum;
} mr__fold;

/* FOLDED, as far as it came. */
typedef struct mr__incoming {
    uint32_t from;
    uint8_t *bytes;
    size_t size;
} mr__incoming;

/* What a rank said about itself (joint_tell.c). */
typedef struct mr__told {
    uint8_t *bytes;
    size_t size;
    bool heard;
} mr__told;

typedef struct mr__loss {
    uint32_t rank;
    int64_t when_ns;            /* since 1970 */
    char why[256];
} mr__loss;

/* What came before this rank was ready for it. */
typedef struct mr__early {
    struct mr__early *next;
    uint32_t from, kind;
    size_t size;
    uint8_t bytes[];
} mr__early;

struct mr__joint {
    mr__job *job;
    mr__ranks *ranks;
    mr__courier *courier;
    uint32_t tag, rank, size, working;      /* working: ranks from here on are spares */
    char host[64];
    mr__mail mail;
    mr__outbox *outbox;
    mr__inbox *inbox;
    mr__carrier *carrier;
    mr__members *members;
    mr__near near;              /* what this rank's node holds of the input */

    /* the courier's thread */
    uint32_t shares;            /* of the ledger: the job's parts, or its partitions */
    enum mr__pass pass;
    bool ready;                 /* the first pass has begun, or would have */
    mr__early *early, **early_end;
    mr__account own;            /* works given to this rank in this round */
    mr__works waiting;          /* those that the schedule has not got yet */
    mr__group *groups;          /* of all owners, in shares */
    size_t group_count;
    bool asked, dry, idle, reduces; /* in this view: work was asked for; there is none; this rank said so; all did */
    bool *reduced;              /* [shares]: by this rank */
    uint32_t *reduce_list;      /* [shares]: what the stage of this pass reduces */
    uint32_t round;             /* that this rank is in: so many were folded */
    bool behind;                /* others are in a later one: the folded table comes from one of them */
    bool folds;                 /* ... from this one */
    bool final;                 /* no round comes after those that were folded */
    uint64_t told_alive;        /* ranks, when a view was last proposed */
    uint64_t ticks;
    mr__incoming incoming;
    uint64_t works_given;       /* to this rank, in all rounds */
    uint64_t bytes_given;       /* of input, in these */
    /* of the coordinator */
    mr__ledger *ledger;
    mr__homes homes;            /* of the input, in this view */
    uint32_t ledger_round;
    uint64_t *idle_in, *done_in;    /* [size]: the view in which the rank said so */
    uint32_t *writer;           /* [shares]: who reduced it */
    mr__joint_sums *sums;       /* [size] */
    mr__fold fold;
    uint64_t *mapped;           /* [size], guarded by mutex */
    mr__told *told;             /* [size], guarded by mutex */

    /* both */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool agreed;                /* the first view was applied; the numbers below are those of all ranks */
    uint32_t partitions, parts;
    char *place;                /* of the output; NULL or "": there is none */
    mr__output *output;         /* opened by the coordinator of the first view */
    mr__next next;
    uint64_t reduce_view;       /* in which REDUCE was heard last */
    mr__works mapped_works;     /* of this round, once they are mapped */
    uint32_t *winners;          /* [shares]: who reduced it, when all was */
    mr__joint_sums total;       /* of all ranks */
    mr_status status;
    mr__error error;
    uint32_t lost;
    mr__loss *losses;           /* [size]: `lost` of them */
    _Atomic uint64_t sent_bytes, received_bytes;    /* of pairs and sums, to and from other ranks */
    bool heard;                 /* the others know that it failed */
    bool decides, committed;    /* this rank shows the output just now; it did */
    bool runs;                  /* the schedule is there */
    bool stands_by;             /* this rank is a spare, and is not needed now */
    bool *took_place;           /* [size]: spares that own something, or did; written by the courier's thread */
    mr__turn *turns;            /* of this rank, that it has not taken; in this view */
    size_t turn_count, turn_room;
    uint8_t *folded;            /* the sums of the last round that was folded, or NULL: all are in the next one */
    uint64_t folded_round, folded_rows;
    bool shares_folded;         /* the others are to get it from this rank */
    uint64_t rows;              /* of the last round */

    /* the job's own thread */
    uint32_t round_here;        /* rounds of which it took the folded table */
    uint64_t commit_ns;         /* 0: another rank committed */
    mr__told *recorded;         /* [size]: what the record's texts and traces lie in */
    struct mr__record_rank *record_ranks;
    struct mr__record_loss *record_losses;
};

static inline bool mr__joint_is_coordinator(const mr__joint *joint)
{
    return mr__courier_lowest(joint->courier) == joint->rank;
}

/* Did this rank decide on the view that was applied last? One that became the lowest because others took their leave
 * did not: it has no ledger. */
static inline bool mr__joint_decided(const mr__joint *joint)
{
    const uint64_t view = mr__members_view(joint->members);
    return view != 0 && mr__view_coordinator(view) == joint->rank;
}

/* Does a rank say at this tick how far it is? Of many ranks not each does at every one: the coordinator hears up to 64
 * in a tick, however many they are. */
static inline bool mr__joint_says_mapped(uint64_t tick, uint32_t rank, uint32_t size)
{
    const uint32_t period = (size + 63) / 64;
    return (tick + rank) % period == 0;
}

static inline void mr__joint_count_sent(mr__joint *joint, uint32_t to, size_t size)
{
    if (to != joint->rank)
        atomic_fetch_add_explicit(&joint->sent_bytes, size, memory_order_relaxed);
}

static inline void mr__joint_count_received(mr__joint *joint, uint32_t from, size_t size)
{
    if (from != joint->rank)
        atomic_fetch_add_explicit(&joint->received_bytes, size, memory_order_relaxed);
}

/* Is it a spare that has not been needed? On the courier's thread. */
static inline bool mr__joint_is_waiting(const mr__joint *joint, uint32_t rank)
{
    return rank >= joint->working && !joint->took_place[rank];
}

/* In the view that was applied last, and none is being made. */
static inline bool mr__joint_is_steady(const mr__joint *joint, uint64_t view)
{
    return mr__members_view(joint->members) == view && !mr__members_changing(joint->members);
}

/* joint.c */
void mr__joint_post(mr__joint *joint, mr__path path, uint32_t to, enum mr__joint_kind kind, const void *bytes,
                    size_t size);
void mr__joint_post_all(mr__joint *joint, enum mr__joint_kind kind, const void *bytes, size_t size);
void mr__joint_say(mr__joint *joint, mr__next next);
/* With the mutex held: until something changes, or for a moment. */
void mr__joint_wait_a_little(mr__joint *joint);

/* ASK. */
typedef struct mr__question {
    uint64_t view, least;           /* units that a work should have; 0: not known */
} mr__question;

/* GIVE. */
typedef struct mr__gift {
    uint64_t view;
    mr__work work;
    uint32_t found;
} mr__gift;

/* joint_work.c */
uint32_t mr__share_first(const mr__joint *joint, uint32_t share);   /* its first partition */
/* Asks, if it may. */
void mr__joint_ask(mr__joint *joint);
/* On the coordinator: ASK of a rank. */
mr_status mr__joint_give(mr__joint *joint, uint32_t to, const mr__question *question, mr__error *error);
/* GIVE. */
mr_status mr__joint_take_work(mr__joint *joint, const mr__gift *gift, mr__error *error);
/* Works that wait go to the schedule. */
mr_status mr__joint_feed(mr__joint *joint, mr__error *error);

/* joint_stage.c */
/* Something that IDLE waits for may have come true. */
void mr__joint_go_on(mr__joint *joint);
mr_status mr__joint_hear_idle(mr__joint *joint, uint32_t from, uint64_t view, mr__error *error);
mr_status mr__joint_begin_reduce(mr__joint *joint, uint64_t view, mr__error *error);
/* The job's own thread has done what it could in this pass. */
mr_status mr__joint_end_pass(mr__joint *joint, uint32_t round, bool final, mr__error *error);
mr_status mr__joint_hear_done(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error);
/* In a view that is new to a rank that had done all it could. */
mr_status mr__joint_resume(mr__joint *joint, mr__error *error);

/* joint_spares.c. init: with size and rank. */
mr_status mr__joint_spares_init(mr__joint *joint, mr__error *error);
/* After a plan, and when this rank is no longer a round behind: who works now? */
void mr__joint_fill_places(mr__joint *joint);
bool mr__joint_stands_by(mr__joint *joint);         /* the job's thread */
/* With the mutex held: spares that took a place. */
uint32_t mr__joint_places_taken(const mr__joint *joint);

/* joint_end.c */
/* It is committed: for all to hear. */
void mr__joint_commit(mr__joint *joint, const uint8_t *total, size_t size);
/* On the job's own thread, when it fails: was the output shown all the same? Then it is committed, and all hear it. */
bool mr__joint_was_shown(mr__joint *joint);
void mr__joint_hear_committed(mr__joint *joint, const uint8_t *bytes, size_t size);
void mr__joint_hear_failure(mr__joint *joint, const uint8_t *bytes, size_t size);
/* Is the job over on this rank? Then the message is not for it, and a question is answered. */
bool mr__joint_answers_over(mr__joint *joint, uint32_t from, uint32_t kind);
/* status, error: of the job here. Tells the others of a failure, unless they know. */
void mr__joint_end(mr__joint *joint, mr_status status, const mr__error *error, mr__last_words *words);

/* joint_tell.c. init: with the joint's size; fini: also if it failed. */
mr_status mr__joint_tell_init(mr__joint *joint, mr__error *error);
void mr__joint_tell_fini(mr__joint *joint);
/* Of the input, that a work is to map. */
uint64_t mr__joint_bytes(const mr__job *job, const mr__work *work);
/* To the coordinator, before DONE: what this rank did. */
void mr__joint_tell(mr__joint *joint);
void mr__joint_told(mr__joint *joint, uint32_t from, const void *bytes, size_t size);
void mr__joint_note_loss(mr__joint *joint, uint32_t rank, const char *why);

/* joint_view.c */
mr_status mr__joint_account(void *joint, uint64_t view, mr__packet *account, mr__error *error);
mr_status mr__joint_decide(void *joint, uint64_t view, const mr__packet *accounts, uint32_t count, mr__packet *plan,
                           mr__error *error);
mr_status mr__joint_apply(void *joint, uint64_t view, const uint8_t *plan, size_t size, mr__error *error);
/* The groups, in partitions, as outbox and inbox want them. */
mr_status mr__joint_assign(mr__joint *joint, mr__error *error);
/* All input of a round is to do again. */
mr_status mr__joint_new_round(mr__joint *joint, mr__error *error);

/* joint_sort.c: the sorted results of all shares, written by `winners`, become the parts of this rank. */
mr_status mr__joint_sort(mr__job *job, const uint32_t *winners, mr__error *error);

/* joint_dense.c. The job's thread: says what this rank has of a round; sends its turns; and FOLDED, if it was folded
 * here. */
mr_status mr__joint_send_tables(mr__joint *joint, mr__error *error);
mr_status mr__joint_take_turns(mr__joint *joint, mr__error *error);
mr_status mr__joint_share_folded(mr__joint *joint, mr__error *error);
/* The table that was folded last becomes the job's. */
mr_status mr__joint_take_folded(mr__joint *joint, mr__error *error);
/* The courier's thread. */
mr_status mr__joint_hear_turn(mr__joint *joint, const uint8_t *bytes, size_t size, mr__error *error);
mr_status mr__joint_folded(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error);
/* The sums of the last round go: all ranks are in the next one. */
void mr__joint_forget_folded(mr__joint *joint);
/* The round is over: `sum` becomes the joint's. */
mr_status mr__joint_take_sum(mr__joint *joint, uint8_t *sum, uint64_t rows, mr__error *error);
/* patient: on a thread that may wait until some of it has left. */
mr_status mr__joint_send_folded(mr__joint *joint, bool patient, mr__error *error);

/* joint_fold.c. The courier's thread. */
mr_status mr__joint_table(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error);
void mr__joint_drop_fold(mr__joint *joint);

#endif
