/* worker_device_parts.h: what worker_device.c (the worker, and the whole picture), worker_device_life.c (its process)
 * and worker_device_flights.c (its tasks) share. Nobody else includes it.
 * Threads   The worker's own. */
#ifndef MR__WORKER_DEVICE_PARTS_H
#define MR__WORKER_DEVICE_PARTS_H

#include "device_channel.h"
#include "token.h"
#include "worker_device.h"

#define MR__MILLISECOND 1000000ull

enum mr__link_state { MR__LINK_WAITING, MR__LINK_STARTING, MR__LINK_WELL, MR__LINK_GONE };

typedef struct mr__flight {
    bool used;
    mr__task task;
    mr__token token;
    uint64_t id, sent_ns;
} mr__flight;

struct mr__device_link {
    const mr__device_config *config;
    mr__token_pool *pool;
    enum mr__link_state state;
    bool probing;               /* the right to probe is ours: say how it went */
    bool ready, probed;
    mr__device_channel channel;
    int bell;                   /* eventfd: poll() need not wait any longer */
    mr__flight flight[MR__DEVICE_SLOTS];
    uint32_t in_flight;
    bool has_token;             /* for the next submit */
    mr__token token;
    bool wants_token;           /* there was none */
    uint64_t token_ns;          /* there was no place for one more job: when to ask again; 0: ask */
    mr__task back[MR__DEVICE_SLOTS + 1];    /* given back: to be returned by poll() */
    uint32_t back_count;
    mr__task here;              /* the worker's thread runs it in poll() */
    bool has_here;
    uint32_t ends;              /* of its process, for reasons that lie in this job */
    uint64_t ended_ns;          /* the last of them */
    uint64_t wake_ns;           /* WAITING: when to ask again; STARTING: when it is too late */
    uint64_t next_id, opened_ns, last_done_ns;
    uint32_t round_sent;
    double pace_units, pace_ns; /* measured: of the last few tasks, older ones count less; 0: not yet */
    uint64_t first_ns, task_ns; /* limits */
    mr__device_segment segments[MR__DEVICE_SEGMENTS];
    uint8_t message[sizeof(mr__device_task) + MR__DEVICE_SEGMENTS * sizeof(mr__device_segment)];
    mr__device_answer answer;
    mr__device_story story;
};

static inline mr__device_link *mr__link_of(mr__worker *worker)
{
    return worker->config;
}

/* ---- worker_device_life.c ---------------------------------------------------------------------------------------- */

void mr__link_drop_token(mr__device_link *link);
/* Ends the process; what was in flight goes back. */
void mr__link_land(mr__device_link *link);
/* The same, for good: GONE. go: with the reason, for the story. */
void mr__link_leave(mr__device_link *link);
void mr__link_go(mr__device_link *link, const char *why);
/* The device has failed: it may come back after a while. */
void mr__link_lose(mr__device_link *link, const char *why);
/* The process says that it failed. */
void mr__link_give_up(mr__device_link *link, const mr__device_ready *failed, const char *why);
/* The channel says that there is no process any more. */
void mr__link_lose_process(mr__device_link *link, mr__worker *worker, mr_status status, const char *why);
/* It failed in another job, which has said so, or somebody drained it: asking again will tell. */
void mr__link_wait_for_others(mr__device_link *link);
/* When the pool's file was removed: another, once nothing is in flight. */
mr_status mr__link_renew_pool(mr__device_link *link, mr__error *error);
/* WAITING is over: may the device be used? */
void mr__link_ask_again(mr__device_link *link);
/* STARTING: what the process answered. */
void mr__link_take_start(mr__device_link *link);
mr_status mr__link_send(mr__device_link *link, enum mr__device_kind kind, int job, int memory, mr__error *error);

/* ---- worker_device_flights.c ------------------------------------------------------------------------------------- */

void mr__link_submit(mr__worker *worker, const mr__task *task);
/* What poll() returns: how many of `done` there are. */
uint32_t mr__link_give_back(mr__device_link *link, mr__done *done, uint32_t max);
uint32_t mr__link_run_here(mr__device_link *link, mr__worker *worker, mr__done *done);
/* A task came back: takes its result, or finds who may run it. */
uint32_t mr__link_take_done(mr__device_link *link, mr__worker *worker, mr__done *done);
/* Has a flight taken far longer than its size says? *reads: one of them waits for a file. */
bool mr__link_is_late(const mr__device_link *link, bool *reads);

#endif
