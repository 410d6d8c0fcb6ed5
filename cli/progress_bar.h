/* progress_bar.h: how far a job is, on standard error: one line that is redrawn on a terminal, a line every few seconds
 * elsewhere, nothing when quiet.
 * Owner     In the caller's memory; cli_progress_end() leaves the terminal's line empty for what is printed next.
 * Threads   show() may be called from another thread than begin() and end(), but not at the same time. */
#ifndef MR__PROGRESS_BAR_H
#define MR__PROGRESS_BAR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <millrace/job.h>

typedef struct cli_progress {
    bool quiet, terminal;
    _Atomic bool drawn;
    const char *unit;           /* of what maps eat: "B" or "rows" */
    uint64_t next_line_ns;      /* no line before this time */
} cli_progress;

void cli_progress_begin(cli_progress *bar, bool quiet, const char *unit);
/* mr_job.progress; context: the cli_progress. */
void cli_progress_show(const mr_progress *progress, void *context);
void cli_progress_end(cli_progress *bar);
/* In its stead where the process ends at once: any thread, at any moment. */
void cli_progress_abandon(const cli_progress *bar);

#endif
