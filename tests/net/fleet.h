/* fleet.h: couriers on a mesh, and a record of what each of them was told.
 * Oracle    Each message carries who posted it, where to, and its number: a member notices what is missing, out of
 *           order, damaged, or comes from a rank that it was told is lost. */
#ifndef MR__FLEET_H
#define MR__FLEET_H

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "clock.h"
#include "courier.h"
#include "mesh.h"

enum { FLEET_MOST = 8, FLEET_POSTERS = 4 };

/* Of the mesh's clock. */
enum { FLEET_DEADLINE = 300000000, FLEET_HEARTBEAT = 20000000 };

/* A condition that comes true on any machine, sooner or later. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        const uint64_t patience_end = mr__now_ns() + 250000000000u;                                                     \
        while (!(condition)) {                                                                                         \
            if (mr__now_ns() > patience_end)                                                                           \
                fail_msg("never came true: %s", #condition);                                                           \
            usleep(500);                                                                                               \
        }                                                                                                              \
    } while (0)

struct member {
    struct fleet *fleet;
    struct mesh_seat seat;
    mr__courier *courier;
    bool dead, stopped;                             /* by the test */
    _Atomic uint32_t lost[FLEET_MOST];              /* calls of lost(), by rank */
    _Atomic uint64_t lost_at[FLEET_MOST];           /* by the mesh's clock */
    _Atomic uint32_t expelled;
    _Atomic uint32_t received[FLEET_MOST];          /* messages, by sender */
    _Atomic uint32_t control;                       /* of these, on the control path */
    uint32_t next[FLEET_MOST][FLEET_POSTERS][MR__PATHS];    /* the number that is to come; the courier's thread */
    char why[FLEET_MOST][256];                      /* written before lost[] */
    char expelled_why[256];
    char wrong[256];                                /* what broke first */
    _Atomic uint32_t wrongs;
};

struct fleet {
    uint32_t size;
    struct mesh *mesh;
    struct member members[FLEET_MOST];
    uint32_t next[FLEET_MOST][FLEET_POSTERS][FLEET_MOST][MR__PATHS];    /* the number to post; the poster's thread */
};

void fleet_start(struct fleet *fleet, uint32_t size);
/* Every member beats and was heard. */
void fleet_settle(struct fleet *fleet);
/* Stops all that still run, in an orderly way; nothing may have gone wrong. */
void fleet_end(struct fleet *fleet);
mr_status fleet_post(struct fleet *fleet, uint32_t from, uint32_t poster, uint32_t to, mr__path path, size_t size);
void fleet_kill(struct fleet *fleet, uint32_t rank, mesh_death death);
/* Cuts or mends all that goes from one to the other. */
void fleet_cut(struct fleet *fleet, uint32_t from, uint32_t to, bool cut);
/* It is neither killed, stopped nor expelled. */
bool fleet_survives(const struct fleet *fleet, uint32_t rank);
/* Every survivor lost just those that do not survive, once each, and takes the same rank for the lowest. */
bool fleet_agrees(const struct fleet *fleet);

#endif
