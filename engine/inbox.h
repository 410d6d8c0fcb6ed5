/* inbox.h: pairs that other ranks mapped for partitions of this rank, held apart until it is sure that all of an epoch
 * is there.
 * Promise   Of each epoch of each sender and each group, all pairs go to job->exchange (or, spilled, to the extents of
 *           their partitions), or none; none twice. What a group covers grows by the epoch's input at the same moment.
 * Memory    A sender has at most a window of bytes under way (carry_parts.h). What arrives while the budget is
 *           used up is taken beyond it; it gets no credit until the carrier has spilled as much.
 * Owner     The job and the mail are borrowed.
 * Threads   The courier's thread; what carrier.c calls (carry_parts.h): its thread. A mutex makes them agree. check:
 *           any.
 * Failure   MR_NETWORK_FAILED with the rank for a message that cannot be true (a checksum, too); MR_NO_MEMORY;
 *           MR_INTERNAL: something would be counted twice. The job cannot go on: fail it. */
#ifndef MR__INBOX_H
#define MR__INBOX_H

#include "ledger.h"
#include "mail.h"

struct mr__job;

typedef struct mr__inbox mr__inbox;

mr_status mr__inbox_create(struct mr__job *job, const mr__mail *mail, mr__inbox **inbox, mr__error *error);
void mr__inbox_destroy(mr__inbox *inbox);           /* chunks go back to the pool; takes NULL */
/* MR__MAIL_CHUNK, MR__MAIL_END. */
mr_status mr__inbox_message(mr__inbox *inbox, uint32_t from, uint32_t kind, const void *bytes, size_t size,
                            mr__error *error);
/* The same groups as mr__outbox_assign() gets. What came early, for a group that this rank did not own yet, may be
 * whole now. */
mr_status mr__inbox_assign(mr__inbox *inbox, const mr__group *groups, size_t count, mr__error *error);
/* The rank is lost: what is held of it and not whole is dropped, and so is whatever still comes from it. */
void mr__inbox_forget(mr__inbox *inbox, uint32_t rank);
/* Unites into the `covered` of each group that is this rank's what it has, whole, of ranks for which lost() is true. */
mr_status mr__inbox_cover(const mr__inbox *inbox, bool (*lost)(void *context, uint32_t rank), void *context,
                          mr__group *groups, size_t count, mr__error *error);

/* I1..: see inbox.c; MR_INTERNAL with the one that is broken. */
mr_status mr__inbox_check(const mr__inbox *inbox, mr__error *error);

#endif
