/* members.h: which ranks take part in a job, and how they agree on what changes when some of them are lost.
 * Promise   A view is a number and the ranks that are alive in it. Each change of members is one more view: the lowest
 *           living rank asks every living rank for its account, decides on a plan, and every living rank applies it.
 *           What a rank applied, it says in its next account; so a coordinator that is lost half-way through leaves
 *           nothing that the next one does not find. Views that a rank applies only grow, and with them the set of
 *           those who are lost.
 * Owner     account and decide make their bytes with mr__alloc(); the members free them.
 * Threads   All on the courier's thread: its events are passed on to it, and it calls the hooks.
 * Failure   A hook that fails ends this rank's part: failed() is called once, with the sentence. */
#ifndef MR__MEMBERS_H
#define MR__MEMBERS_H

#include "courier.h"

typedef struct mr__packet {
    uint32_t rank;
    uint8_t *bytes;
    size_t size;
} mr__packet;

typedef struct mr__members_hooks {
    void *context;
    /* What this rank has and knows. From here until apply() it takes no part in anything that the plan may change. */
    mr_status (*account)(void *context, uint64_t view, mr__packet *account, mr__error *error);
    /* On the coordinator: accounts of all living ranks, by rank. */
    mr_status (*decide)(void *context, uint64_t view, const mr__packet *accounts, uint32_t count, mr__packet *plan,
                        mr__error *error);
    mr_status (*apply)(void *context, uint64_t view, const uint8_t *plan, size_t size, mr__error *error);
    void (*failed)(void *context, mr_status status, const mr__error *error);
} mr__members_hooks;

typedef struct mr__members mr__members;

/* Tags [tag, tag + MR__MEMBERS_TAGS) of the courier are the members'. */
enum { MR__MEMBERS_TAGS = 3 };

mr_status mr__members_create(mr__courier *courier, uint32_t tag, const mr__members_hooks *hooks, mr__members **members,
                             mr__error *error);
void mr__members_destroy(mr__members *members);
/* The first view, when the job begins; and one more after each loss. On other ranks than the lowest it does nothing. */
void mr__members_propose(mr__members *members);
/* The courier's event: true if the message was the members'. */
bool mr__members_message(mr__members *members, uint32_t from, uint32_t tag, const void *bytes, size_t size);
/* Is the rank in the last view that was asked for? Whatever else a rank that is not says after that, although the
 * courier may still deliver some of it, is not to be heard: the account of this rank was given without it. */
bool mr__members_has(const mr__members *members, uint32_t rank);
/* Who decided on it. */
static inline uint32_t mr__view_coordinator(uint64_t view)
{
    return (uint32_t)(view >> 32);
}
/* The last view that was applied; 0: none yet. changing: a newer one was asked for. */
uint64_t mr__members_view(const mr__members *members);
bool mr__members_changing(const mr__members *members);

/* M1.. of members.c. */
mr_status mr__members_check(const mr__members *members, mr__error *error);

#endif
