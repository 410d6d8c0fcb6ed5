/* rank.h: the command as one of the ranks of a job: where it prints, whether it may, and how it tells the end.
 * Promise   Of all ranks one prints: the one that the session says speaks; before there is a session, rank 0. Outside
 *           of a launcher a process is rank 0 of 1, and nothing here has an effect.
 * Verdict   The exit status of the job, which launchers do not tell (a rank that was lost, and survived by the others,
 *           makes theirs non-zero). Where MILLRACE_VERDICT names a file, the rank that speaks adds a line to it. Any
 *           other rank that succeeded does, too, if there is none yet, as the speaker may die after its last word; but
 *           with a number that counts only where the speaker said nothing: it may have failed to print the result.
 * Threads   speaks(): any. All else: the main thread. */
#ifndef MR__RANK_H
#define MR__RANK_H

#include <stdbool.h>
#include <stdint.h>

#include <millrace/job.h>

/* The variables that `run --ranks` hands its ranks beside MR__LAUNCH_SHARING; batch scripts set all but the second. The
 * last is the session's. */
#define CLI_RANK_VERDICT "MILLRACE_VERDICT"     /* the path of the file */
#define CLI_RANK_OUTPUT "MILLRACE_OUTPUT"       /* "OUT,ERR": descriptors to use instead of 1 and 2 */
#define CLI_RANK_SPARES "MILLRACE_SPARES"       /* how many of the ranks, the highest, are spares */

/* LINE: bytes of one, "%3d\n". MUTE: a rank that does not speak succeeded. As an exit status it is 0, and it is above
 * those of ranks that speak: so the least of all lines is the job's, also in a script. */
enum { CLI_VERDICT_LINE = 4, CLI_VERDICT_NONE = -1, CLI_VERDICT_MUTE = 256 };

typedef struct cli_verdict {
    int status;                 /* 0 if a rank that speaks succeeded, else what such ones said first; without one 0 if
                                 * another succeeded, else CLI_VERDICT_NONE */
    bool together;              /* a rank has opened its session: they all have met */
    char whisper[256];          /* the last one, or "" */
} cli_verdict;

/* Before main() looks at its arguments: takes these two out of the environment and does what they say. */
void cli_rank_begin(void);
void cli_rank_end(int exit_status);
/* The session is open. Or it could not be, as others did not come: then it is for `run --ranks` to speak, which may
 * start the ranks once more. */
void cli_rank_met(void);
void cli_rank_met_nobody(void);
/* What this rank would say if it might: a line of the verdict of `run --ranks`, which shows it when no rank spoke.
 * false: this process is none of those. */
bool cli_rank_whisper(const char *sentence);

uint32_t cli_rank_count(void);
bool cli_rank_speaks(void);
/* Before the session is closed, and as often as it may have changed who speaks. */
void cli_rank_ask(const mr_session *session);
/* Something went wrong that the others may know nothing of: this rank speaks from now on, and `where` says which it is:
 * "rank 3 on node7: ". Of ranks on one machine, which fail alike, rank 0 is enough; then, and for a process that is
 * alone, `where` is "". */
enum { CLI_WHERE_SIZE = 128 };
void cli_rank_raise_voice(char where[CLI_WHERE_SIZE]);

void cli_rank_read_verdict(int file, cli_verdict *verdict);

#endif
