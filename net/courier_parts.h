/* courier_parts.h: what the parts of a courier share: courier.c (the thread and its rounds), courier_queue.c (posts on
 * their way) and courier_ring.c (who is alive). Nobody else includes it.
 * Threads   A field belongs to the courier's thread unless it says otherwise. */
#ifndef MR__COURIER_PARTS_H
#define MR__COURIER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "courier.h"

enum { MR__WHY_SIZE = 200 };

enum { MR__TAG_BEAT = 1, MR__TAG_LOST, MR__TAG_HERE, MR__TAG_LEAVE, MR__TAG_BYE };

enum { MR__PEER_ALIVE, MR__PEER_LEFT, MR__PEER_LOST };

/* Small messages that a rank is to get as soon as there is memory for them. */
enum { MR__OWE_HERE = 1, MR__OWE_LEAVE = 2, MR__OWE_BYE = 4, MR__OWE_NOTICE = 8 };

typedef enum mr__phase { MR__RUNNING, MR__DRAINING, MR__LEAVING, MR__EXPELLED } mr__phase;

typedef mr__parcel mr__post;

typedef struct mr__post_list {
    mr__post *head, **tail;
} mr__post_list;

typedef struct mr__peer {
    _Atomic uint8_t state;                  /* read by any thread */
    bool busy;                              /* on the list of the busy */
    bool forgotten;                         /* by the comm */
    bool failed;                            /* a send failed; not judged yet */
    bool heard;                             /* since the last pulse */
    bool awaited;                           /* is to answer a roll call */
    bool answered;                          /* knows that this rank leaves */
    bool accused;                           /* under the mutex: by declare_lost() */
    uint8_t owed;
    uint32_t told;                          /* it was told of losses[0 .. told) */
    int64_t silence_ns;                     /* as far as this rank was there to hear */
    uint64_t parting_until;                 /* lost: when it is forgotten at the latest */
    mr__post_list queue[MR__PATHS];
    _Atomic size_t waiting[MR__PATHS];      /* posted, not yet with the comm; added to by any thread */
    _Atomic size_t under_way[MR__PATHS];    /* with the comm, as of the last round; read by any thread */
    char why[MR__WHY_SIZE];                 /* under the mutex: why it is lost; the first reason stays */
} mr__peer;

static inline bool mr__peer_is(const mr__peer *peer, uint8_t state)
{
    /* relaxed: a rank that is lost at this moment may seem alive; what is posted to it is dropped by the courier */
    return atomic_load_explicit(&peer->state, memory_order_relaxed) == state;
}

static inline bool mr__is_alive(const mr__peer *peer)
{
    return mr__peer_is(peer, MR__PEER_ALIVE);
}

struct mr__courier {
    mr__comm *comm;                         /* NULL once this rank is expelled */
    mr__courier_events events;
    mr__courier_options options;
    pthread_t thread;
    uint32_t rank, size;
    mr__peer *peers;

    pthread_mutex_t mutex;                  /* for what follows, and for peers' accused and why */
    pthread_cond_t wake;                    /* for the hand-shakes of start() and stop() */
    int alarm;                              /* an eventfd: wakes the courier from its nap */
    mr__post_list inbox;                    /* what was posted since the last round, in order */
    bool asleep;
    bool accusations;                       /* some peer is accused */
    bool stop;
    bool opened, open_failed, go, abandoned;    /* the hand-shake of start() */
    mr__error open_error;
    bool closed;                            /* posts are refused, for this reason: */
    char closed_why[MR__WHY_SIZE];
    uint64_t patience_ns;

    mr__phase phase;
    _Atomic bool expelled;                  /* phase == EXPELLED, for any thread */
    uint64_t patience_end;
    uint32_t leaving_rounds;
    uint32_t *busy;                         /* ranks with posts in a queue or bytes under way */
    uint32_t busy_count;
    int descriptor;                         /* the comm's; -1 */
    uint32_t false_wakes;                   /* times that it woke the courier for nothing, one after the other */
    bool woken;                             /* by the descriptor, before this round */
    bool lively;                            /* this round had something to do */
    uint64_t lively_ns;                     /* when a round had, last */
    uint64_t tick_due;

    uint32_t next, prev;                    /* in the ring; this rank itself when it is alone */
    uint32_t living;                        /* this rank included */
    _Atomic uint32_t lowest;                /* read by any thread */
    uint32_t *losses;                       /* in the order in which this rank learned of them */
    uint32_t loss_count;
    uint32_t roll_call;                     /* every rank is told of losses[0 .. roll_call), and is to answer */
    uint32_t partings;                      /* lost, and the comm has not forgotten them yet */
    uint32_t awaiting;                      /* peers whose answer to a roll call is awaited */
    bool unsettled;                         /* somebody is to be told of something */
    bool failures;                          /* some peer failed */
    uint64_t last_pulse, last_beat;
};

/* ---- courier.c --------------------------------------------------------------------------------------------------- */

uint64_t mr__courier_clock(const mr__courier *courier);     /* by which silence is measured */
/* Ends its nap. From any thread. */
void mr__courier_wake(mr__courier *courier);
/* This rank was taken for lost. */
void mr__courier_expel(mr__courier *courier, const char *why);

/* ---- courier_queue.c --------------------------------------------------------------------------------------------- */

/* Empties the inbox into *list. Under the mutex. */
void mr__queue_take_inbox(mr__courier *courier, mr__post_list *list);
/* Puts posts into the queues of their ranks. */
void mr__queue_sort(mr__courier *courier, mr__post_list *list);
/* Hands posts to the comm, control first. */
void mr__queue_feed(mr__courier *courier);
/* Something is under way to this rank. */
void mr__queue_busy(mr__courier *courier, uint32_t rank);
/* Asks the comm what has left; takes ranks off the list of the busy that have nothing more. */
void mr__queue_look_after(mr__courier *courier);
/* Drops what waits for this rank, for any, or in a list. */
void mr__queue_drop(mr__courier *courier, uint32_t rank);
void mr__queue_drop_all(mr__courier *courier);
void mr__queue_drop_list(mr__courier *courier, mr__post_list *list);
mr_status mr__queue_check(const mr__courier *courier, mr__error *error);

/* ---- courier_ring.c ---------------------------------------------------------------------------------------------- */

void mr__ring_begin(mr__courier *courier);
/* A message of the courier's own. */
void mr__ring_received(mr__courier *courier, uint32_t from, uint32_t tag, const void *bytes, size_t size);
/* A send to this rank failed. */
void mr__ring_failed(mr__courier *courier, uint32_t rank, const char *why);
/* Expels this rank if it was away for too long. */
void mr__ring_look_at_clock(mr__courier *courier, uint64_t now);
/* Takes ranks for lost: those that failed, those that are accused. */
void mr__ring_judge(mr__courier *courier, bool accusations);
/* Beats, and watches those that should be heard. */
void mr__ring_pulse(mr__courier *courier, uint64_t now);
/* Tells what is to be told. */
void mr__ring_settle(mr__courier *courier);
void mr__ring_leave(mr__courier *courier);
/* Everybody knows that this rank leaves. */
bool mr__ring_left(const mr__courier *courier);
mr_status mr__ring_check(const mr__courier *courier, mr__error *error);

#endif
