/* launch_ranks.h: millrace run --ranks N: starts the ranks on this machine, and waits for them.
 * Promise   When it returns, none of the processes that it started runs any more, and it leaves no file. If this
 *           process is killed, they end by themselves.
 * Owner     Everything is given back before it returns. It handles SIGINT, SIGTERM and SIGHUP meanwhile, unless they
 *           were ignored.
 * Threads   The main thread, and the process must have no other.
 * Failure   MR_NO_WORKER: something is not installed. MR_NETWORK_FAILED: no rank was left to tell the end. Otherwise
 *           *exit_status is the job's, and the ranks have printed what there is to say. */
#ifndef MR__LAUNCH_RANKS_H
#define MR__LAUNCH_RANKS_H

#include "words.h"

/* ranks: that work, and share the machine; spares: beside them. words: the arguments of `millrace` for each. */
mr_status cli_launch_ranks(uint32_t ranks, uint32_t spares, const cli_words *words, int *exit_status,
                           mr__error *error);
/* millrace-guard of this installation. */
mr_status cli_guard_path(char path[], mr__error *error);

#endif
