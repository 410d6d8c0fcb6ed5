/* measure.c: runs a command and writes what it cost.
 *
 *     measure REPORT COMMAND ARGUMENT...
 *
 * REPORT gets {"seconds": ..., "user_seconds": ..., "system_seconds": ..., "peak_rss_bytes": ..., "status": ...}; a
 * signal counts as status 128 + its number, as in a shell. Why a program of its own: a child's peak memory begins with
 * that of the process that forked it (ru_maxrss survives exec), so the one that forks has to be as small as this. */
#include "limits/limit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    int state;
    if (argc < 3)
        limit_fail("usage: measure REPORT COMMAND ARGUMENT...");
    const double begin = now();
    const pid_t child = fork();
    if (child < 0)
        limit_fail("could not fork: %s", strerror(errno));
    if (child == 0) {
        execvp(argv[2], argv + 2);
        fprintf(stderr, "could not run %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    while (wait4(child, &state, 0, &usage) < 0)
        if (errno != EINTR)
            limit_fail("could not wait for %s: %s", argv[2], strerror(errno));
    const double seconds = now() - begin;
    FILE *report = fopen(argv[1], "w");
    if (report == NULL)
        limit_fail("could not write %s: %s", argv[1], strerror(errno));
    fprintf(report, "{\"seconds\": %.6f, \"user_seconds\": %.6f, \"system_seconds\": %.6f, \"peak_rss_bytes\": %ld, "
            "\"status\": %d}\n", seconds, seconds_of(usage.ru_utime), seconds_of(usage.ru_stime),
            usage.ru_maxrss * 1024, WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state));
    return fclose(report) == 0 ? 0 : 3;
}
