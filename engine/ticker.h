/* ticker.h: a thread that tells how a job is doing, about ten times a second.
 * Owner     start/stop pairs; stop takes NULL. The job outlives the ticker.
 * Threads   The callback runs on the ticker's thread, never after stop has returned.
 * Failure   Without a thread the job goes on without progress. */
#ifndef MR__TICKER_H
#define MR__TICKER_H

#include "check.h"

typedef struct mr__ticker mr__ticker;
struct mr__job;

mr_status mr__ticker_start(struct mr__job *job, mr__ticker **ticker, mr__error *error);
void mr__ticker_stop(mr__ticker *ticker);

#endif
