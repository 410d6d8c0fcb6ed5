/* carrier.h: the thread of a job that posts what lies in its outbox, and spills what its inbox has no memory for.
 * Promise   What can be sent is sent, to owners in turn, while little waits in the courier. It sleeps when there is
 *           nothing to do, and costs nothing then.
 * Owner     The caller; outbox and inbox outlive it.
 * Threads   wake: any, also with locks held. start, stop: one thread; after stop nobody wakes it.
 * Failure   start: MR_NO_MEMORY; MR_BAD_USAGE (wire.h). Later ones end the thread's work: mail->failed() is called,
 *           once. */
#ifndef MR__CARRIER_H
#define MR__CARRIER_H

#include "inbox.h"
#include "outbox.h"

typedef struct mr__carrier mr__carrier;

mr_status mr__carrier_start(struct mr__job *job, const mr__mail *mail, mr__outbox *outbox, mr__inbox *inbox,
                            mr__carrier **carrier, mr__error *error);
void mr__carrier_wake(mr__carrier *carrier);        /* takes NULL */
void mr__carrier_stop(mr__carrier *carrier);        /* joins; takes NULL */

#endif
