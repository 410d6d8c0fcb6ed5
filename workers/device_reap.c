/* device_reap.c: a process that was killed ends as soon as the kernel lets it. A driver may keep it there for ever
 * (state D): who waited would hang with it, so it is left behind. */
#include "device_reap.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

bool mr__device_reap(pid_t process, int *how)
{
    *how = 0;
    const pid_t ended = waitpid(process, how, WNOHANG);
    return ended == process || (ended < 0 && errno == ECHILD);
}

bool mr__device_wait(pid_t process, int most_ms, int *how)
{
    bool ended = mr__device_reap(process, how);
    for (int ms = 0; ms < most_ms && !ended; ms++) {
        usleep(1000);
        ended = mr__device_reap(process, how);
    }
    return ended;
}

bool mr__device_kill(pid_t process, int *how)
{
    if (mr__device_reap(process, how))
        return true;
    kill(-process, SIGKILL);
    return mr__device_wait(process, MR__REAP_MS, how);
}

bool mr__device_end(pid_t process, int *how)
{
    return mr__device_wait(process, MR__END_MS, how) || mr__device_kill(process, how);
}
