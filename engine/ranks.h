/* ranks.h: the other ranks of a session, and which of its jobs a message belongs to.
 * Promise   Messages of a job reach its joint (joint.h), in order of their path, while it has entered and not left;
 *           what comes earlier waits for it, what comes later is dropped. Every rank numbers its jobs alike: a program
 *           runs the same jobs in the same order everywhere.
 * Owner     The session.
 * Threads   open, close, enter, leave, farewell: the session's thread. The others: any.
 * Failure   open: MR_NETWORK_FAILED, MR_BAD_USAGE (launch.h), MR_NO_MEMORY. post: as mr__courier_post(). */
#ifndef MR__RANKS_H
#define MR__RANKS_H

#include "courier.h"

typedef struct mr__ranks mr__ranks;
typedef struct mr__joint mr__joint;
struct mr__last_words;

enum { MR__KINDS = 64, MR__KIND_OWN = 32 };     /* of a job's messages; from OWN on a rank's to itself */

/* open, how: of the comm (courier.h). options: NULL, or of the courier. */
mr_status mr__ranks_open(mr__comm_open *open, void *how, const mr__courier_options *options, mr__ranks **ranks,
                         mr__error *error);
/* Tells the others that this rank leaves, and why if it is not well. Takes NULL. */
void mr__ranks_close(mr__ranks *ranks, mr_status status, const char *sentence);
mr__courier *mr__ranks_courier(mr__ranks *ranks);
uint32_t mr__ranks_rank(const mr__ranks *ranks);
uint32_t mr__ranks_count(const mr__ranks *ranks);
/* This rank was taken for lost by the others: why; else NULL. */
const char *mr__ranks_expelled(mr__ranks *ranks);

/* The tag of the next job's messages of kind 0. */
uint32_t mr__ranks_next_tag(mr__ranks *ranks);
/* The next job begins here: from now on its messages are heard, those that came early first. */
mr_status mr__ranks_enter(mr__ranks *ranks, mr__joint *joint, mr__error *error);
/* When it returns nothing of this job is heard any more. A joint that never entered leaves the job that it was for.
 * words: how it ended, for ranks that ask later; copied. */
void mr__ranks_leave(mr__ranks *ranks, mr__joint *joint, const struct mr__last_words *words);

/* The rules of the job that has entered, if one has. On the courier's thread, between two events. */
mr_status mr__ranks_check(mr__ranks *ranks, mr__error *error);
/* That job, or NULL; for a look from outside. */
const mr__joint *mr__ranks_joint(const mr__ranks *ranks);

#endif
