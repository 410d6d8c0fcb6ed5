/* carry_fleet.h: ranks of a job as objects of one process, for tests of outbox, inbox and carrier. Input is numbers of
 * units; a unit has a known number of pairs for each partition. Works and owners come from the real ledger. The mail
 * keeps the order of a path between two ranks, and nothing else; what goes to or comes from the dead vanishes.
 * Threads   With real carriers: map, close and make_room of a lane on a thread of its own; deliver and apply of a rank
 *           with its `courier` locked; the rest on one thread. */
#ifndef MR__CARRY_FLEET_H
#define MR__CARRY_FLEET_H

#include "carry_parts.h"

enum { FLEET_MOST = 6, FLEET_LANES = 2, FLEET_PARTITIONS = 12, FLEET_CHUNK = 256 };
enum { CHEAP, DEAR = 1 << 30 };         /* ns of mapping: its pairs are forgotten, or kept */

struct letter {
    struct letter *next;
    uint32_t kind;
    size_t size;
    uint8_t bytes[];
};

struct letters {
    struct letter *head, **tail;
    size_t bytes;
};

struct fleet;

struct lane {
    struct node *node;
    _Atomic bool mapping;               /* it has work; */
    mr__work work;                      /* ... what is left of it */
    bool open;
    uint32_t epoch, first, last;
    mr__cover input;                    /* of the epoch */
    mr__chunk *chunk[FLEET_PARTITIONS];
    mr__spill_writer *writer;
};

struct node {
    struct fleet *fleet;
    uint32_t rank;
    mr__job job;
    mr__mail mail;
    mr__outbox *outbox;
    mr__inbox *inbox;
    mr__carrier *carrier;
    pthread_mutex_t courier;            /* threads: who holds it is the courier's thread */
    mr__group *groups, *plan;           /* applied; to be applied */
    size_t group_count, plan_count;
    mr__works works;                    /* given to it, and not forgotten (under the fleet's mutex) */
    bool forgot[FLEET_MOST];
    struct lane lanes[FLEET_LANES];
    _Atomic bool worked, told_clear, failed;
};

struct fleet {
    uint32_t ranks;
    uint64_t units;
    pthread_mutex_t mutex, post_office; /* for the ledger and plans; for letters. The second is met with locks held */
    struct letters letters[FLEET_MOST][FLEET_MOST][MR__PATHS];     /* from, to */
    _Atomic bool dead[FLEET_MOST];
    mr__ledger *ledger;
    struct node nodes[FLEET_MOST];
};

/* The tests' own burst directory; it is gone after tear_down. */
int fleet_set_up(void **state);
int fleet_tear_down(void **state);

/* limit: of each rank's memory. chunk: capacity of its chunks. threads: real carriers. Everything succeeds, or the test
 * fails. */
struct fleet *fleet_create(uint32_t ranks, uint64_t units, uint64_t limit, uint32_t chunk, bool threads);
void fleet_destroy(struct fleet *fleet, bool threads);
/* How many pairs a unit has for a partition. */
uint32_t fleet_pairs(uint64_t unit, uint32_t partition);
/* Delivers the first letter of a path, if there is one. */
bool fleet_deliver(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path);
/* The first letter of a path, or NULL; free() it. Gives a letter to the rank's inbox or outbox. */
struct letter *fleet_take_letter(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path);
mr_status fleet_hand_over(struct node *to, uint32_t from, const struct letter *one, mr__error *error);
/* A lane does a little: takes work, maps up to `units` of it, closes its epoch if it finds no work. false: there was
 * nothing to do. */
bool fleet_map(struct lane *lane, uint32_t units);
/* It closes its epoch now. */
void fleet_close(struct lane *lane);
void fleet_make_room(struct lane *lane, uint64_t wanted);
void fleet_kill(struct fleet *fleet, uint32_t rank);
/* A view: the living forget the dead and give their accounts; each is to apply the plan. */
void fleet_change(struct fleet *fleet);
bool fleet_apply(struct node *node);
/* Is all mapped, and all outboxes of the living clear? */
bool fleet_is_done(struct fleet *fleet);
void fleet_check(const struct fleet *fleet);           /* invariants of the living */
/* Every pair of every unit is at the owner of its partition, once. Takes all out of exchanges and extents. */
void fleet_verify(struct fleet *fleet, unsigned seed);

#endif
