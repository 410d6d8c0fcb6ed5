/* convoy.h: ranks that do jobs together, in one process: each a thread with a session of its own, joined over a mesh
 * (tests/net/mesh.h), so that a test decides what the network loses and when.
 * Deaths    A rank dies just before a message of its own leaves, counted or by kind: nothing of it is heard any more.
 *           Its other threads go on, as those of a stopped process that wakes up, and must not matter. When the others
 *           have finished its clock jumps, so it finds that it was away for too long and gives up.
 * Checks    The rules of ranks, joint, members, ledger, outbox and inbox hold after every message of every rank.
 * Patience  A convoy that does not arrive in time says where each rank is, and ends the test program. */
#ifndef MR__CONVOY_H
#define MR__CONVOY_H

#include <millrace/millrace.h>

#include <pthread.h>
#include <stdatomic.h>

#include "joint.h"
#include "mesh.h"

enum { CONVOY_MOST = 8, CONVOY_LOG = 4096, CONVOY_DEATHS = 3 };
enum { CONVOY_DEADLINE = 300000000, CONVOY_HEARTBEAT = 20000000 };     /* of the mesh's clock */

typedef enum convoy_death {
    CONVOY_CRASH,               /* what it sent before arrives; then its connections are closed */
    CONVOY_CUT,                 /* what it sent before and has not arrived is lost, too */
    CONVOY_SILENT,              /* ... and nobody is told: the others wait for the deadline */
    CONVOY_FREEZE,              /* it stands still for longer than the deadline, and then goes on */
} convoy_death;

enum { CONVOY_ANY_KIND = -1 };

struct convoy_strike {
    uint32_t rank;
    convoy_death how;
    int kind;                   /* enum mr__joint_kind or mr__mail_kind, members' 0 .. 2, or any */
    uint32_t nth;               /* before its nth such message leaves; 0: never */
};

struct ship {
    struct convoy *convoy;
    uint32_t rank;
    struct mesh_seat seat;
    pthread_t thread;
    mr_session *session;
    mr__ranks *_Atomic ranks;   /* the session's, while it has any */
    _Atomic bool struck;
    bool finished;              /* guarded by the convoy's mutex */
    mr_status status;           /* of its last job */
    char error[1024];
    uint32_t jobs_done;
    mr_stats stats;             /* of the last job */
    char *text;                 /* results in memory, as lines */
    size_t text_size;
    uint32_t sent, sent_of[MR__KINDS];          /* messages of jobs; its courier's thread */
    uint8_t log[CONVOY_LOG];    /* their kinds */
};

struct convoy {
    uint32_t ranks, spares;     /* spares: the highest of `ranks` */
    uint32_t workers;           /* of each rank; 0: one */
    const mr_job *jobs;         /* done in this order, until one fails */
    uint32_t job_count;
    const char *const *inputs;  /* NULL: none */
    uint32_t input_count;
    struct convoy_strike strikes[CONVOY_DEATHS];
    void (*alter)(struct ship *ship, mr_job *job);      /* before each job; or NULL */
    void (*depart)(struct ship *ship);                  /* instead of the jobs; or NULL */
    /* called by the plans, maps and reduces of convoy_apps.c: the rank that runs them; or NULL */
    mr_status (*on_plan)(struct ship *ship, mr_plan *plan);
    mr_status (*on_map)(struct ship *ship, const mr_block *block);
    mr_status (*on_reduce)(struct ship *ship, mr_slice key);
    void (*on_message)(struct ship *ship, uint32_t kind);   /* before one of a job leaves; its courier's; or NULL */
    const char *records;        /* where they are kept; NULL: nowhere */
    bool unchecked;             /* the rules are not looked at */
    struct mesh *mesh;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t at_sea;            /* ships that have not finished */
    struct ship ships[CONVOY_MOST];
};

/* Runs it to the end. What is in front of `mesh` is the caller's to set, the rest must be zero. */
void convoy_sail(struct convoy *convoy);
/* Frees results. */
void convoy_scrap(struct convoy *convoy);
/* Every rank that was not struck did all jobs; one that was may have been taken for lost instead. Fails the test. */
void convoy_assert_arrived(const struct convoy *convoy);
/* For depart(): does one job, with the convoy's input; notes how the last call of the session went. */
mr_status convoy_run(struct ship *ship, const mr_job *job);
void convoy_note(struct ship *ship, mr_status status);
/* The ship whose thread this is: for plan(). */
struct ship *convoy_self(void);
/* Waits until all ships but those that were struck have finished: for on_map and on_reduce. */
void convoy_wait_for_others(struct ship *ship);
/* What all ranks have in memory, joined; free() it. */
char *convoy_results(const struct convoy *convoy);

#endif
