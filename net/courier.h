/* courier.h: the one thread of a rank that talks to the network: it sends, receives, keeps time and notices losses.
 * Promise   What is posted to a living rank arrives in order of its path, or lost() is called for that rank. lost() is
 *           called once per rank, and after it nothing of that rank is heard. A rank is lost when a send to it fails,
 *           when another rank says so, or when it has been silent for the deadline. All survivors hear of each loss.
 *           A rank that was itself stopped for longer than the deadline takes itself for lost: expelled(), and nothing
 *           is called after that. So does one that hears that others took it for lost.
 * Progress  An idle courier sleeps; the longer it was idle the longer (at most 2 ms; while there is nobody to hear
 *           from, until the next tick). A post wakes it. Measured: see courier.c.
 * Threads   post, pending, alive, is_lost, lowest, declare_lost: any, also from an event; the courier's thread is the
 *           one that calls the events, one at a time: they must not wait. start and stop: one thread; when
 *           stop returns, no other call may be under way. check: from an event.
 * Failure   post fails with MR_NO_MEMORY, and with MR_NETWORK_FAILED once this rank is expelled or leaves. Posts to a
 *           rank that is lost or has left succeed, and nothing is sent. */
#ifndef MR__COURIER_H
#define MR__COURIER_H

#include "comm.h"

enum { MR__TAG_FIRST = 16 };                /* smaller tags are the courier's own */

typedef struct mr__courier_events {
    void *context;
    void (*message)(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size);
    void (*lost)(void *context, uint32_t rank, const char *why);
    void (*expelled)(void *context, const char *why);
    void (*tick)(void *context, uint64_t now_ns);           /* about every tick_ns; may be NULL */
} mr__courier_events;

typedef struct mr__courier_options {        /* 0: the default */
    uint64_t deadline_ns;                   /* of silence: 5 s */
    uint64_t heartbeat_ns;                  /* 100 ms; at most a quarter of the deadline */
    uint64_t tick_ns;                       /* 250 ms */
    uint64_t start_ns;                      /* for all ranks to come: 120 s */
    uint64_t (*clock)(void *context);       /* what deadlines are measured by; tests bring their own */
    void *clock_context;
} mr__courier_options;

typedef struct mr__courier mr__courier;

/* open: makes the comm, on the courier's own thread (MPI wants all its calls from the thread that began it). */
typedef mr_status mr__comm_open(void *how, mr__comm **comm, mr__error *error);

/* options may be NULL. Events may be called before it returns. MR_NETWORK_FAILED: `open` did not return in time; it is
 * left to itself then, with its thread, and what it waits for is closed when it ever comes. */
mr_status mr__courier_start(mr__comm_open *open, void *how, const mr__courier_options *options,
                            const mr__courier_events *events, mr__courier **courier, mr__error *error);
uint32_t mr__courier_rank(const mr__courier *courier);
uint32_t mr__courier_size(const mr__courier *courier);
/* head and bytes arrive as one message; both are copied. tag >= MR__TAG_FIRST. A rank may post to itself. */
mr_status mr__courier_post(mr__courier *courier, mr__path path, uint32_t to, uint32_t tag, const void *head,
                           size_t head_size, const void *bytes, size_t size, mr__error *error);
/* Bytes posted to a rank that have not left: who posts bulk keeps it small. */
size_t mr__courier_pending(const mr__courier *courier, mr__path path, uint32_t to);
/* Neither lost nor gone; false of this rank itself once it is expelled. */
bool mr__courier_alive(const mr__courier *courier, uint32_t rank);
/* A rank that took its leave is not. */
bool mr__courier_is_lost(const mr__courier *courier, uint32_t rank);
/* The lowest rank that is alive: who coordinates. */
uint32_t mr__courier_lowest(const mr__courier *courier);
/* Tells the others that this rank takes `rank` for lost; as a missed deadline would. */
void mr__courier_declare_lost(mr__courier *courier, uint32_t rank, const char *why);
/* Sends what was posted and tells the others that this rank leaves (it is not lost then); waits for both for at most
 * patience_ns, while events go on. Then ends the thread and closes the comm. Takes NULL. */
void mr__courier_stop(mr__courier *courier, uint64_t patience_ns);

/* C1..: see courier.c; MR_INTERNAL with the one that is broken. */
mr_status mr__courier_check(const mr__courier *courier, mr__error *error);

#endif
