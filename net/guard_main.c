/* guard_main.c: millrace-guard COMMAND [ARGUMENT...]: stands between a launcher and a rank that may die.
 *
 *   hydra_pmi_proxy -> millrace-guard -> the rank
 *
 * Hydra starts the ranks of a node from one proxy, and when a child of the proxy dies of a signal the proxy kills all
 * its other children: a lost rank would take its node with it. A guard dies of no signal that its rank dies of:
 *   the rank ends with status n    -> n
 *   it is killed (SIGKILL)         -> 0: it is lost, which the others survive; the job's own record tells the truth
 *   it dies of another signal      -> 90
 *   COMMAND cannot be run          -> 127, with the reason
 * The rank dies with its guard (PR_SET_PDEATHSIG), and a guard whose launcher has gone (looked at once a second) kills
 * its rank: nobody else would end it. So nothing is left behind, whatever is killed.
 * The guard must not hold the rank's connection to the launcher (PMI_FD) open, or its death would go unnoticed. SIGUSR1
 * is what hydra tells the others a death with: the guard ignores it, and so does the rank until MPI is up. SIGPIPE may
 * come from a launcher that is gone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "parse.h"

enum { WRONG_USAGE = 2, DIED = 90, NOT_RUN = 127, LOOK_S = 1 };

/* What is passed on to the rank. */
static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

static void close_connection(void)
{
    uint64_t number = 0;
    const char *text = getenv("PMI_FD");
    if (text != NULL && mr__parse_u64(text, &number) == MR__PARSED && number > STDERR_FILENO && number < INT32_MAX)
        close((int)number);
}

__attribute__((noreturn)) static void become_rank(char **command, pid_t guard, const sigset_t *mask)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard)     /* it died before it could be heard of */
        raise(SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    fprintf(stderr, "millrace-guard: could not run %s: %s\n", command[0], strerror(errno));
    _exit(NOT_RUN);
}

static int status_of(int how, const char *command, pid_t rank)
{
    if (WIFEXITED(how))
        return WEXITSTATUS(how);
    fprintf(stderr, "millrace-guard: %s (process %d) died of signal %d (%s)\n", command, (int)rank, WTERMSIG(how),
            strsignal(WTERMSIG(how)));
    return WTERMSIG(how) == SIGKILL ? 0 : DIED;
}

/* Waits for the rank's end; passes signals on. */
static int guard_rank(pid_t rank, pid_t launcher, const sigset_t *awaited)
{
    const struct timespec look = {.tv_sec = LOOK_S};
    for (;;) {
        siginfo_t about;
        int how = 0;
        const int signal_number = sigtimedwait(awaited, &about, &look);
        const pid_t ended = waitpid(rank, &how, WNOHANG);
        if (ended == rank)
            return how;
        if (ended < 0 && errno != EINTR)
            return W_EXITCODE(0, SIGKILL);      /* cannot be: the rank is nobody else's child */
        /* what comes from a terminal its whole group gets, the rank too */
        if (signal_number > 0 && signal_number != SIGCHLD && about.si_code != SI_KERNEL)
            kill(rank, signal_number);
        if (getppid() != launcher)
            kill(rank, SIGKILL);
    }
}

int main(int argc, char **argv)
{
    sigset_t awaited, before;
    if (argc < 2) {
        fprintf(stderr, "millrace-guard: no command\n"
                        "  hint: mpiexec.mpich -disable-auto-cleanup -n 4 millrace-guard COMMAND [ARGUMENT...]\n");
        return WRONG_USAGE;
    }
    const pid_t self = getpid(), launcher = getppid();
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);   /* were it ignored, there would be no status */
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    for (size_t i = 0; i < MR__COUNT(forwarded); i++)
        sigaddset(&awaited, forwarded[i]);
    sigprocmask(SIG_BLOCK, &awaited, &before);
    const pid_t rank = fork();
    if (rank < 0) {
        fprintf(stderr, "millrace-guard: could not start a process: %s\n", strerror(errno));
        return NOT_RUN;
    }
    if (rank == 0)
        become_rank(argv + 1, self, &before);
    close_connection();
    return status_of(guard_rank(rank, launcher, &awaited), argv[1], rank);
}
