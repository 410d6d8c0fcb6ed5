/* device_channel.c: why a process, and how it dies.
 *
 * A kernel that segfaults takes its process with it, and one that never ends can only be ended with it. So kernels run
 * in a process that this one can lose. posix_spawn() executes it without a fork of our threads; its end of the socket
 * is descriptor 3, the others are close-on-exec. It ends by itself when the socket closes, also when we are killed, and
 * removes what its driver left on disk; close() gives it the time for that, and then kills it.
 *
 * Who ends a job may send SIGTERM to every process of it (scancel, systemd). The job decides what that means: these
 * signals are blocked here from the first instruction on, else the device would seem to have died. SIGKILL comes from
 * outside only (a memory cgroup, a person), so it tells nothing of the device.
 *
 * Its output goes nowhere, since drivers print; with MILLRACE_DEVICE_DEBUG in the environment it goes to ours. */
#include "device_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device_find.h"
#include "device_reap.h"
#include "fault.h"

extern char **environ;

enum { SEND_TRIES = 20, SEND_WAIT_MS = 50, GONE_MS = 100 };

static mr_status make_memory(mr__device_channel *channel, size_t bytes, mr__error *error)
{
    mr_status status = MR_OK;
    channel->memory = mr__fault(MR__FAULT_OPEN) ? -1 : memfd_create("millrace-slots", MFD_CLOEXEC);
    MR_CHECK(channel->memory >= 0 && ftruncate(channel->memory, (off_t)bytes) == 0, MR_NO_MEMORY,
             "no shared memory of %zu bytes for the results of a device: %s", bytes, strerror(errno));
    void *slots = mr__fault(MR__FAULT_MAP) ? MAP_FAILED
                                           : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, channel->memory, 0);
    MR_CHECK(slots != MAP_FAILED, MR_NO_MEMORY, "could not map %zu bytes for the results of a device", bytes);
    channel->slots = slots;
    channel->bytes = bytes;
done:
    return status;
}

static int spawn(const char *program, const char *device, int socket, pid_t *process)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t for_the_job, all;
    char *const arguments[] = {(char *)program, (char *)"--serve", (char *)device, NULL};
    sigemptyset(&for_the_job);
    sigaddset(&for_the_job, SIGTERM);
    sigaddset(&for_the_job, SIGINT);
    sigaddset(&for_the_job, SIGHUP);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, socket, MR__DEVICE_SOCKET);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (getenv("MILLRACE_DEVICE_DEBUG") == NULL) {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    }
    posix_spawnattr_setsigmask(&attributes, &for_the_job);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);          /* a terminal's Ctrl-C is for the job, which ends it */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    const int failed = posix_spawn(process, program, &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

mr_status mr__device_channel_open(mr__device_channel *channel, const char *device, size_t bytes, mr__error *error)
{
    mr_status status = MR_OK;
    char program[MR__PATH_MAX];
    int pair[2] = {-1, -1};
    *channel = (mr__device_channel){.socket = -1, .memory = -1};
    MR_TRY(mr__device_program(program, error));
    MR_TRY(make_memory(channel, bytes, error));
    MR_CHECK(!mr__fault(MR__FAULT_OPEN) && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0,
             MR_NO_WORKER, "no socket for the process of device %s: %s", device, strerror(errno));
    channel->socket = pair[0];
    const int failed = spawn(program, device, pair[1], &channel->process);
    if (failed != 0)
        channel->process = 0;
    MR_CHECK(failed == 0, MR_NO_WORKER, "could not run %s for device %s: %s", program, device, strerror(failed));
done:
    if (pair[1] >= 0)
        close(pair[1]);
    if (status != MR_OK)
        mr__device_channel_close(channel);
    return status;
}

void mr__device_channel_close(mr__device_channel *channel)
{
    int how;
    if (channel->socket >= 0)
        close(channel->socket);
    if (channel->process > 0)
        mr__device_end(channel->process, &how);
    if (channel->slots != NULL)
        munmap(channel->slots, channel->bytes);
    if (channel->memory >= 0)
        close(channel->memory);
    *channel = (mr__device_channel){.socket = -1, .memory = -1};
}

/* How the process ended, for a sentence. */
static mr_status say_how_it_ended(mr__device_channel *channel, mr__error *error)
{
    int how = 0;
    /* the socket closes a moment before the process is to be waited for */
    if (channel->process <= 0 || !mr__device_wait(channel->process, GONE_MS, &how))
        return mr__fail(error, MR_DEVICE_LOST, "the device process closed its socket");
    channel->process = 0;
    if (!WIFSIGNALED(how))
        return mr__fail(error, MR_DEVICE_LOST, "the device process ended with status %d", WEXITSTATUS(how));
    const int number = WTERMSIG(how);
    return mr__fail(error, number == SIGKILL || number == SIGXCPU ? MR_NO_WORKER : MR_DEVICE_LOST,
                    "the device process died of signal %d (%s)", number, strsignal(number));
}

mr_status mr__device_send(mr__device_channel *channel, const mr__device_message *message, int fd, int second_fd,
                          mr__error *error)
{
    mr_status status = MR_OK;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {.head = {0}};
    const int fds[2] = {fd, second_fd};
    const size_t count = (size_t)(fd >= 0) + (second_fd >= 0);
    struct iovec vector = {(void *)message, message->size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = control.room;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    struct pollfd room = {.fd = channel->socket, .events = POLLOUT};
    ssize_t sent = -1;
    for (int tries = 0; sent < 0 && tries < SEND_TRIES; tries++) {
        sent = sendmsg(channel->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)        /* many large tasks, and the process is busy */
            poll(&room, 1, SEND_WAIT_MS);
        else if (sent < 0 && errno != EINTR)
            break;
    }
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        return say_how_it_ended(channel, error);
    MR_CHECK(sent == (ssize_t)message->size, MR_DEVICE_LOST,
             "the device process takes no messages: %s", strerror(errno));
done:
    return status;
}

static bool fits(const mr__device_answer *answer, size_t size)
{
    if (size < sizeof answer->head || answer->head.size != size)
        return false;
    return answer->head.kind == MR__DEVICE_DONE ? size == sizeof answer->done
           : answer->head.kind == MR__DEVICE_READY || answer->head.kind == MR__DEVICE_PROBED ||
                   answer->head.kind == MR__DEVICE_FAILED
               ? size == sizeof answer->ready
               : false;
}

mr_status mr__device_receive(mr__device_channel *channel, mr__device_answer *answer, bool *got, mr__error *error)
{
    mr_status status = MR_OK;
    *got = false;
    ssize_t size = recv(channel->socket, answer, sizeof *answer, MSG_DONTWAIT);
    if (size < 0 && errno == ECONNRESET)    /* it ended before it read all: said once, and before its last message */
        size = recv(channel->socket, answer, sizeof *answer, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return MR_OK;
    if (size <= 0)
        return say_how_it_ended(channel, error);
    MR_CHECK(fits(answer, (size_t)size), MR_DEVICE_LOST, "the device process sent a message that is none");
    char *text = answer->head.kind == MR__DEVICE_DONE ? answer->done.text : answer->ready.text;
    text[MR__DEVICE_TEXT - 1] = '\0';
    *got = true;
done:
    return status;
}
