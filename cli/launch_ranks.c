/* launch_ranks.c: the process that somebody typed, while the ranks do the work.
 *
 *   millrace run --ranks 4    this file: waits, hands on signals, reads the verdict
 *     mpiexec.mpich           in a session of its own, so that Ctrl-C comes from here and not from the terminal
 *       hydra_pmi_proxy
 *         millrace-guard      a session each
 *           millrace run      the ranks
 *
 * Signals. Hydra hands SIGTERM on to all ranks without a word (SIGINT with one on standard output, SIGHUP not at all;
 * tried with MPICH 4.0.2). So the first signal of any kind becomes SIGTERM, upon which a rank cancels the job and
 * cleans up. The second, unless it is an echo of the first (stop_signals.h), kills the launcher. Then the proxy's
 * connection breaks, it kills the guards, and the ranks die with their guards. The same chain ends all of it when this
 * process dies (PR_SET_PDEATHSIG).
 *
 * The start. MPICH survives no loss while it starts: the launcher fails, or the ranks wait for the one that is lost. So
 * each rank says when it has met the others. As long as none has, nothing has been done; and when a guard reported a
 * death, a rank gave up (MILLRACE_START), or the launcher failed, all of it is ended and started again, twice at most.
 *
 * The end. The launcher waits for all ranks, also for one that is stopped (SIGSTOP), which the others have long taken
 * for lost. So from the verdict on, the launcher has GRACE for the rest, which is more than a rank waits for the others
 * when it leaves.
 * Nothing is left: this process adopts what the launcher leaves (PR_SET_CHILD_SUBREAPER) and ends when it has no
 * children. What has not ended ORPHANED after the launcher is killed.
 *
 * What the launcher and the guards print comes through a pipe, goes to standard error, and its last line is kept for
 * the sentence that is needed when no rank can say one. */
#include "launch_ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "launch.h"
#include "places.h"
#include "rank.h"
#include "stop_signals.h"

enum { LOOK_MS = 100, KEPT = 256, FIRST_FREE = 10, GUARD_OUT = 3, GUARD_ERR = 4, NOT_RUN = 127, STARTS = 3 };
static const uint64_t GRACE_NS = 8000000000, ORPHANED_NS = 2000000000, GIVEN_UP_NS = 10000000000,
                      MEETING_NS = 2000000000;     /* for those whom a rank that is lost did not prevent from it */

static const char guards_word[] = "millrace-guard: ";

static const char *const launchers[] = {"mpiexec.mpich", "mpiexec.hydra"};

typedef struct cli_launch {
    uint32_t ranks, spares;     /* ranks: all; spares: the highest of them */
    pid_t launcher;             /* 0: it has ended */
    int how;                    /* it ended */
    int verdict, heard, signals;    /* descriptors; -1: none */
    int asked;                  /* how often a signal asked to end */
    uint64_t asked_ns;          /* when it did first */
    uint64_t deadline_ns;       /* what still runs then is killed; 0: none yet */
    uint64_t failed_ns;         /* a rank died, or gave up, before any had met the others; 0: not that we know */
    bool died;                  /* a rank, as its guard says */
    char line[KEPT], last[KEPT];    /* of what the launcher says: being read; the last whole one */
    size_t size;
} cli_launch;

/* ---- what is needed ---------------------------------------------------------------------------------------------- */

static bool in_path(const char *name, char path[MR__PATH_MAX])
{
    const char *folders = getenv("PATH");
    for (const char *at = folders; at != NULL;) {
        const int size = (int)strcspn(at, ":");
        const int all = snprintf(path, MR__PATH_MAX, "%.*s%s%s", size, at, size > 0 ? "/" : "./", name);
        if (all < MR__PATH_MAX && access(path, X_OK) == 0)
            return true;
        at = at[size] == ':' ? at + size + 1 : NULL;
    }
    return false;
}

static mr_status find_launcher(char path[MR__PATH_MAX], mr__error *error)
{
    for (size_t i = 0; i < MR__COUNT(launchers); i++) {
        if (in_path(launchers[i], path))
            return MR_OK;
    }
    return mr__fail(error, MR_NO_WORKER,
                    "several ranks are started by mpiexec.mpich, which is not installed here\n"
                    "  hint: install MPICH (Debian: the package mpich), or leave --ranks out");
}

mr_status cli_guard_path(char path[], mr__error *error)
{
    if (mr__places_program((const void *)mr_version, "millrace-guard", path))
        return MR_OK;
    return mr__fail(error, MR_NO_WORKER, "millrace-guard, which stands before each rank, is not installed\n"
                                         "  hint: it belongs into libexec/millrace beside bin; install Millrace again");
}

static mr_status compose(const cli_launch *launch, const cli_words *given, cli_words *command, mr__error *error)
{
    mr_status status = MR_OK;
    char launcher[MR__PATH_MAX], guard[MR__PATH_MAX], own[MR__PATH_MAX];
    MR_TRY(find_launcher(launcher, error));
    MR_TRY(cli_guard_path(guard, error));
    const ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    MR_CHECK(size > 0, MR_IO_FAILED, "could not tell where this program lies: %s", strerror(errno));
    own[size] = '\0';
    /* fork, user: on this machine, even inside of an allocation of Slurm's */
    static const char *const fixed[] = {"-launcher", "fork", "-rmk", "user", "-disable-auto-cleanup", "-n"};
    cli_words_add(command, "%s", launcher);
    for (size_t i = 0; i < MR__COUNT(fixed); i++)
        cli_words_add(command, "%s", fixed[i]);
    cli_words_add(command, "%u", launch->ranks);
    cli_words_add(command, "%s", guard);
    cli_words_add(command, "%s", own);
    for (size_t i = 0; i < given->count; i++)
        cli_words_add(command, "%s", given->text[i]);
    MR_CHECK(!command->failed && !given->failed, MR_NO_MEMORY, "no memory for the command line of the ranks");
done:
    return status;
}

/* ---- the launcher's process -------------------------------------------------------------------------------------- */

static void set_number(const char *name, uint32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    setenv(name, text, 1);
}

__attribute__((noreturn)) static void become_launcher(const cli_launch *launch, char **command, pid_t parent,
                                                      int to_parent, const sigset_t *mask, const char *verdict)
{
    /* other machines; the launcher of this process, if it is the only rank of one */
    static const char *const unwanted[] = {"HYDRA_HOST_FILE", "PMI_FD", "PMI_PORT", "PMI_RANK", "PMI_SIZE"};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)            /* it died before it could be heard of */
        raise(SIGKILL);
    setsid();
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    setenv(CLI_RANK_VERDICT, verdict, 1);
    setenv(CLI_RANK_OUTPUT, "3,4", 1);
    set_number(MR__LAUNCH_SHARING, launch->ranks - launch->spares);
    set_number(MR__LAUNCH_TYPED, (uint32_t)parent);
    set_number(CLI_RANK_SPARES, launch->spares);
    for (size_t i = 0; i < MR__COUNT(unwanted); i++)
        unsetenv(unwanted[i]);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    /* out of the way of the numbers that come next */
    const int said = fcntl(to_parent, F_DUPFD, FIRST_FREE), empty = fcntl(nothing, F_DUPFD, FIRST_FREE);
    if (dup2(STDOUT_FILENO, GUARD_OUT) < 0)
        close(GUARD_OUT);
    if (dup2(STDERR_FILENO, GUARD_ERR) < 0)
        close(GUARD_ERR);
    dup2(empty, STDIN_FILENO);
    dup2(said, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    close_range(GUARD_ERR + 1, ~0u, 0);
    execv(command[0], command);
    fprintf(stderr, "could not run %s: %s\n", command[0], strerror(errno));
    _exit(NOT_RUN);
}

static void block_signals(sigset_t *awaited, sigset_t *before)
{
    int numbers[CLI_STOP_SIGNALS];
    const size_t count = cli_stop_signals(numbers);
    sigemptyset(awaited);
    sigaddset(awaited, SIGCHLD);
    for (size_t i = 0; i < count; i++)
        sigaddset(awaited, numbers[i]);
    signal(SIGCHLD, SIG_DFL);           /* were it ignored, there would be no children to wait for */
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, awaited, before);
}

static mr_status prepare(cli_launch *launch, const sigset_t *awaited, mr__error *error)
{
    mr_status status = MR_OK;
    launch->verdict = memfd_create("millrace-verdict", MFD_CLOEXEC);
    MR_CHECK(launch->verdict >= 0, MR_NO_MEMORY, "could not start ranks: %s%s", strerror(errno),
             mr__errno_hint(errno));
    launch->signals = signalfd(-1, awaited, SFD_CLOEXEC | SFD_NONBLOCK);
    MR_CHECK(launch->signals >= 0, MR_NO_MEMORY, "could not start ranks: %s%s", strerror(errno),
             mr__errno_hint(errno));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
done:
    return status;
}

static mr_status start(cli_launch *launch, char **command, const sigset_t *before, mr__error *error)
{
    mr_status status = MR_OK;
    int pipes[2] = {-1, -1};
    char verdict[64];
    const pid_t self = getpid();
    snprintf(verdict, sizeof verdict, "/proc/%d/fd/%d", (int)self, launch->verdict);
    MR_CHECK(pipe2(pipes, O_CLOEXEC) == 0, MR_NO_MEMORY, "could not start ranks: %s%s", strerror(errno),
             mr__errno_hint(errno));
    launch->launcher = fork();
    MR_CHECK(launch->launcher >= 0, MR_NO_MEMORY, "could not start ranks: %s%s", strerror(errno),
             mr__errno_hint(errno));
    if (launch->launcher == 0)
        become_launcher(launch, command, self, pipes[1], before, verdict);
    launch->heard = pipes[0];
    pipes[0] = -1;
    fcntl(launch->heard, F_SETFL, O_NONBLOCK);
done:
    for (int i = 0; i < 2; i++) {
        if (pipes[i] >= 0)
            close(pipes[i]);
    }
    return status;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void keep_line(cli_launch *launch, char byte)
{
    if (byte != '\n') {
        if (launch->size + 1 < sizeof launch->line)
            launch->line[launch->size++] = byte;
        return;
    }
    launch->line[launch->size] = '\0';
    if (launch->size > 0)
        memcpy(launch->last, launch->line, sizeof launch->last);
    launch->died |= strncmp(launch->line, guards_word, sizeof guards_word - 1) == 0;
    launch->size = 0;
}

static void listen_to(cli_launch *launch)
{
    char bytes[4096];
    for (ssize_t size; launch->heard >= 0 && (size = read(launch->heard, bytes, sizeof bytes)) >= 0;) {
        if (size == 0) {
            close(launch->heard);
            launch->heard = -1;
            break;
        }
        fwrite(bytes, 1, (size_t)size, stderr);
        for (ssize_t i = 0; i < size; i++)
            keep_line(launch, bytes[i]);
    }
}

static void hand_on_signals(cli_launch *launch)
{
    struct signalfd_siginfo about;
    while (read(launch->signals, &about, sizeof about) == sizeof about) {
        if (about.ssi_signo == SIGCHLD)
            continue;
        if (launch->asked > 0 && cli_stop_is_echo(launch->asked_ns))
            continue;
        if (launch->asked == 0)
            launch->asked_ns = mr__now_ns();
        if (launch->launcher != 0)
            kill(launch->launcher, launch->asked == 0 ? SIGTERM : SIGKILL);
        launch->asked++;
    }
}

/* false: there are no children any more. */
static bool reap(cli_launch *launch)
{
    for (;;) {
        int how;
        const pid_t ended = waitpid(-1, &how, WNOHANG);
        if (ended <= 0)
            return ended == 0 || errno == EINTR;
        if (ended == launch->launcher) {
            launch->launcher = 0;
            launch->how = how;
            launch->deadline_ns = mr__now_ns() + ORPHANED_NS;
        }
    }
}

static void kill_children(void)
{
    char path[64];
    int child;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    while (children != NULL && fscanf(children, "%d", &child) == 1)
        kill(child, SIGKILL);
    if (children != NULL)
        fclose(children);
}

/* What still runs from now on is not waited for much longer. */
static void look_at_verdict(cli_launch *launch, uint64_t now)
{
    cli_verdict verdict;
    cli_rank_read_verdict(launch->verdict, &verdict);
    if (verdict.status != CLI_VERDICT_NONE) {
        launch->deadline_ns = now + GRACE_NS;
    } else if (verdict.together) {
        launch->failed_ns = 0;
    } else if (launch->failed_ns == 0) {
        launch->failed_ns = launch->died || verdict.whisper[0] != '\0' ? now : 0;
    } else if (now > launch->failed_ns + MEETING_NS) {
        launch->deadline_ns = now;
    }
}

static void await_end(cli_launch *launch)
{
    uint64_t now = mr__now_ns();
    while (reap(launch)) {
        struct pollfd events[] = {{.fd = launch->signals, .events = POLLIN}, {.fd = launch->heard, .events = POLLIN}};
        poll(events, MR__COUNT(events), LOOK_MS);
        listen_to(launch);
        hand_on_signals(launch);
        now = mr__now_ns();
        if (launch->deadline_ns == 0)
            look_at_verdict(launch, now);
        if (launch->deadline_ns == 0 || now < launch->deadline_ns)
            continue;
        kill_children();
        if (launch->launcher == 0 && now > launch->deadline_ns + GIVEN_UP_NS)
            break;                      /* what SIGKILL does not end waits for a disk */
    }
    listen_to(launch);
}

/* Nothing was done, and it was not the command that was wrong: of that a rank would have spoken. What a guard said may
 * be lost, if the proxy fails. */
static bool may_start_again(const cli_launch *launch)
{
    cli_verdict verdict;
    const int ended = WIFEXITED(launch->how) ? WEXITSTATUS(launch->how) : -1;
    const bool failed = ended != 0 && ended != NOT_RUN;
    cli_rank_read_verdict(launch->verdict, &verdict);
    return verdict.status == CLI_VERDICT_NONE && !verdict.together && launch->asked == 0 &&
           (failed || launch->died || verdict.whisper[0] != '\0');
}

static void forget_start(cli_launch *launch)
{
    if (launch->heard >= 0)
        close(launch->heard);
    if (ftruncate(launch->verdict, 0) != 0)
        launch->asked++;                /* it says nothing any more: no further start */
    launch->heard = -1;
    launch->deadline_ns = launch->failed_ns = 0;
    launch->died = false;
    launch->size = 0;
}

static mr_status start_until_they_meet(cli_launch *launch, char **command, const sigset_t *before, mr__error *error)
{
    mr_status status = MR_OK;
    for (int number = 1; status == MR_OK; number++) {
        if ((status = start(launch, command, before, error)) != MR_OK)
            break;
        await_end(launch);
        if (number == STARTS || !may_start_again(launch))
            break;
        fprintf(stderr, "millrace: a rank was lost while the ranks started; start %d of %d\n", number + 1, STARTS);
        forget_start(launch);
    }
    return status;
}

static mr_status judge(const cli_launch *launch, int *exit_status, mr__error *error)
{
    cli_verdict verdict;
    cli_rank_read_verdict(launch->verdict, &verdict);
    if (verdict.status != CLI_VERDICT_NONE) {
        *exit_status = verdict.status;
        return MR_OK;
    }
    if (launch->asked > 0)
        return mr__fail(error, MR_CANCELLED, "cancelled");
    const bool killed = WIFSIGNALED(launch->how);
    const char *heard = verdict.whisper[0] != '\0' ? verdict.whisper : launch->last;
    if (may_start_again(launch))
        return mr__fail(error, MR_NETWORK_FAILED,
                        "the %u ranks did not come together, in %d starts%s%s\n  hint: was one of them killed, or is "
                        "this machine slow? MILLRACE_START sets how long they wait for each other",
                        launch->ranks, STARTS, heard[0] != '\0' ? "; the last that was heard is: " : "", heard);
    return mr__fail(error, MR_NETWORK_FAILED,
                    "none of the %u ranks was left to say how the job ended; the launcher %s %d%s%s", launch->ranks,
                    killed ? "died of signal" : "ended with status",
                    killed ? WTERMSIG(launch->how) : WEXITSTATUS(launch->how),
                    heard[0] != '\0' ? ", and the last that was heard is: " : "", heard);
}

mr_status cli_launch_ranks(uint32_t ranks, uint32_t spares, const cli_words *words, int *exit_status, mr__error *error)
{
    mr_status status = MR_OK;
    cli_launch launch = {.ranks = ranks + spares, .spares = spares, .verdict = -1, .heard = -1, .signals = -1};
    cli_words command = {.count = 0};
    sigset_t awaited, before;
    MR_TRY(compose(&launch, words, &command, error));
    fflush(stdout);
    block_signals(&awaited, &before);
    if ((status = prepare(&launch, &awaited, error)) == MR_OK &&
        (status = start_until_they_meet(&launch, command.text, &before, error)) == MR_OK)
        status = judge(&launch, exit_status, error);
    hand_on_signals(&launch);           /* what came too late must not end this process now */
    sigprocmask(SIG_SETMASK, &before, NULL);
    const int descriptors[] = {launch.verdict, launch.heard, launch.signals};
    for (size_t i = 0; i < MR__COUNT(descriptors); i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
done:
    cli_words_free(&command);
    return status;
}
