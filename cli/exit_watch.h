/* exit_watch.h: whoever calls exit() while a job is made ready or runs ends the command as a failure.
 * Promise   Between begin() and end() a call of exit() or quick_exit(), by a function of the app or by a library that
 *           it uses, ends this process with the exit status of MR_APP_FAILED and a sentence, with `json` as an object,
 *           too. A rank of several is lost by it: it whispers (rank.h), and the others go on. What the job has on disk
 *           stays, as it does when the process is killed. Processes that an app forks may end as they like.
 * Not       _exit() and abort(): no handler runs.
 * Owner     app: borrowed until end().
 * Threads   begin(), loaded() and end(): the main thread. */
#ifndef MR__EXIT_WATCH_H
#define MR__EXIT_WATCH_H

#include <stdbool.h>

#include "progress_bar.h"

void cli_exit_watch_begin(const char *app, bool json);
/* The app, which may have handlers of its own, is loaded: ours run first. */
void cli_exit_watch_loaded(void);
/* What is drawn there is cleared before the sentence; NULL: nothing is. */
void cli_exit_watch_bar(cli_progress *bar);
void cli_exit_watch_end(void);

#endif
