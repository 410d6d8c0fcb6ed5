/* carry_pair.h: two ranks of a fleet, one step at a time. Rank 0 owns the first half of the partitions, rank 1 the
 * second. Everything succeeds, or the test fails. */
#ifndef MR__CARRY_PAIR_H
#define MR__CARRY_PAIR_H

#include "carry_fleet.h"

enum { HALF = FLEET_PARTITIONS / 2, UNLIMITED = 0 };

struct fleet *pair_create(uint64_t limit, uint32_t chunk, bool threads);
/* A chunk of so many bytes, which follow from `fill`. */
void pair_put(struct node *of, uint32_t epoch, uint32_t partition, uint32_t size, uint8_t fill);
/* The epoch was mapped from [begin, end) for all partitions. */
void pair_close(struct node *of, uint32_t epoch, uint64_t begin, uint64_t end);
/* ... and took so long. pair_close: as long as it takes to be kept. */
void pair_close_after(struct node *of, uint32_t epoch, uint64_t begin, uint64_t end, uint64_t ns);
/* The carrier's next step. */
mr__carried pair_turn(struct node *of);
/* All ranks that are alive, until nothing moves. */
void pair_settle(struct fleet *fleet);
/* An epoch with one chunk for partition HALF + 1: the CHUNK and the END that rank 0 posts; free() them. */
void pair_carry_one(struct fleet *fleet, struct letter **chunk, struct letter **end);
/* Just that chunk waits in the exchange; takes it. */
void pair_arrived(struct node *at, uint32_t partition, uint32_t size, uint8_t fill);
/* Just this is what it delivered to rank 1, and forgot. */
void pair_forgot(struct node *of, const mr__work *expected, size_t count);
/* To outbox and inbox; both come to `expected`. */
void pair_assign(struct node *of, const mr__group *groups, size_t count, mr_status expected);

#endif
