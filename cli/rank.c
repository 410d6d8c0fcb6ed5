/* rank.c: what a rank has to do differently from a command that somebody typed.
 *
 *   millrace run --ranks 4            launch_ranks.c     what is said    descriptors 3 and 4, past the launcher
 *     mpiexec.mpich                                      the end         a file in memory, MILLRACE_VERDICT
 *       hydra_pmi_proxy
 *         millrace-guard, 4 times
 *           millrace run              this file
 *
 * Past the launcher: it would put a pipe between the job and the terminal, so there would be no progress bar; and it
 * writes sentences of its own to standard output, where a program expects one JSON object.
 *
 * The verdict of `run --ranks` also has lines of ranks that have met the others, "+", and of those that may not speak,
 * "# rank 2: SENTENCE".
 *
 * Lines of the verdict are of one size and written with one call at the end of the file. On a network file system two
 * ranks may hit the same place; then one line is lost. The other says the same, as all ranks end alike, unless the one
 * that speaks could not print the result. */
#include "rank.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "places.h"

enum { WHISPER = 512, MARK = '#', MET = '+' };

static struct {
    mr__launch launch;
    bool directed;                      /* started by run --ranks */
    char verdict[MR__PATH_MAX];
} self = {.launch = {.size = 1}};
static _Atomic bool speaks = true;

static bool take(const char *name, char *value, size_t size)
{
    const char *found = getenv(name);
    const bool fits = found != NULL && found[0] != '\0' && strlen(found) < size;
    if (fits)
        strcpy(value, found);
    unsetenv(name);                     /* what an app starts is no rank */
    return fits;
}

static void take_output(const char *text)
{
    int number[2];
    if (sscanf(text, "%d,%d", &number[0], &number[1]) != 2)
        return;
    for (int i = 0; i < 2; i++) {
        if (number[i] > STDERR_FILENO && dup2(number[i], STDOUT_FILENO + i) >= 0)
            close(number[i]);
    }
}

void cli_rank_begin(void)
{
    char text[64];
    take(CLI_RANK_VERDICT, self.verdict, sizeof self.verdict);
    self.directed = take(CLI_RANK_OUTPUT, text, sizeof text);
    if (self.directed)
        take_output(text);
    if (mr__launch_of_process(&self.launch, NULL) == MR_OK)     /* else the session words it */
        atomic_store(&speaks, self.launch.rank == 0);
}

uint32_t cli_rank_count(void)
{
    return self.launch.size;
}

bool cli_rank_speaks(void)
{
    return atomic_load(&speaks);
}

void cli_rank_ask(const mr_session *session)
{
    atomic_store(&speaks, mr_session_speaks(session));
}

void cli_rank_raise_voice(char where[CLI_WHERE_SIZE])
{
    char host[64] = "";
    where[0] = '\0';
    if (self.directed || self.launch.size == 1)
        return;
    gethostname(host, sizeof host - 1);
    snprintf(where, CLI_WHERE_SIZE, "rank %u on %s: ", self.launch.rank, host);
    atomic_store(&speaks, true);
}

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

void cli_rank_end(int exit_status)
{
    char line[CLI_VERDICT_LINE + 1];
    cli_verdict said;
    if (self.verdict[0] == '\0' || (!cli_rank_speaks() && exit_status != 0))
        return;
    const int file = open(self.verdict, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;                         /* who reads it says that it is missing */
    snprintf(line, sizeof line, "%3d\n", cli_rank_speaks() ? exit_status & 0xff : CLI_VERDICT_MUTE);
    cli_rank_read_verdict(file, &said);
    const bool needed = cli_rank_speaks() || said.status == CLI_VERDICT_NONE;
    if (needed && write(file, line, CLI_VERDICT_LINE) != CLI_VERDICT_LINE)
        fprintf(stderr, "millrace: could not write to %s\n", self.verdict);
    close(file);
}

static void add_line(const char *line, size_t size)
{
    const int file = open(self.verdict, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0)
        return;
    if (write(file, line, size) < 0)
        self.verdict[0] = '\0';         /* what cannot be written is not heard */
    close(file);
}

void cli_rank_met(void)
{
    const char line[] = {MET, '\n'};
    unsetenv(MR__LAUNCH_SHARING);       /* read by the session; what an app starts is no rank */
    unsetenv(MR__LAUNCH_TYPED);
    if (self.directed && self.verdict[0] != '\0')
        add_line(line, sizeof line);
}

void cli_rank_met_nobody(void)
{
    if (self.directed && self.verdict[0] != '\0')
        atomic_store(&speaks, false);
}

bool cli_rank_whisper(const char *sentence)
{
    char line[WHISPER];
    if (!self.directed || self.verdict[0] == '\0')
        return false;
    const int size = snprintf(line, sizeof line, "%c rank %u: %.*s\n", MARK, self.launch.rank,
                              (int)strcspn(sentence, "\n"), sentence);
    if (size > 0 && (size_t)size < sizeof line)     /* what does not fit is not heard */
        add_line(line, (size_t)size);
    return true;
}

void cli_rank_read_verdict(int file, cli_verdict *verdict)
{
    char line[WHISPER];
    bool mute = false;
    int status;
    const int own = dup(file);
    FILE *lines = own >= 0 ? fdopen(own, "r") : NULL;
    *verdict = (cli_verdict){.status = CLI_VERDICT_NONE};
    if (lines == NULL) {
        close(own);
        return;
    }
    rewind(lines);
    while (fgets(line, sizeof line, lines) != NULL) {
        if (line[0] == MARK)
            snprintf(verdict->whisper, sizeof verdict->whisper, "%.*s", (int)strcspn(line + 2, "\n"), line + 2);
        else if (line[0] == MET)
            verdict->together = true;
        else if (sscanf(line, "%3d", &status) != 1)
            continue;
        else if (status == CLI_VERDICT_MUTE)
            mute = true;
        else if (verdict->status == CLI_VERDICT_NONE || status == 0)
            verdict->status = status;
    }
    if (mute && verdict->status == CLI_VERDICT_NONE)
        verdict->status = 0;
    fclose(lines);
}
