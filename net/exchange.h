/* exchange.h: full chunks on their way to whoever reduces their partition, while maps still run.
 * Promise   A chunk given is taken exactly once, by whoever claims its partition. It travels by pointer, inside a rank:
 *           what comes from other ranks is given here by the rank that owns the partition.
 * Owner     give: the exchange owns the chunk from then on. take: the caller owns the list it gets.
 * Threads   Any. One mutex per partition, held for a few instructions, once per chunk.
 * Failure   give cannot fail. */
#ifndef MR__EXCHANGE_H
#define MR__EXCHANGE_H

#include "check.h"
#include "chunk.h"

typedef struct mr__exchange mr__exchange;

mr_status mr__exchange_create(uint32_t partitions, mr__exchange **exchange, mr__error *error);
void mr__exchange_destroy(mr__exchange *exchange, mr__chunk_pool *pool);    /* releases what nobody took */
/* Returns the bytes that wait for this partition now, this chunk included. */
uint64_t mr__exchange_give(mr__exchange *exchange, mr__chunk *chunk);
/* All chunks that wait for the partition (linked by next, oldest first), or NULL. */
mr__chunk *mr__exchange_take(mr__exchange *exchange, uint32_t partition);
uint64_t mr__exchange_waiting(const mr__exchange *exchange, uint32_t partition);    /* bytes */
uint64_t mr__exchange_waiting_total(const mr__exchange *exchange);

#endif
