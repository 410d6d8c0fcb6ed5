/* device_ask.c: a process, two pipes and a deadline. The process leads a group of its own, so that killing it also ends
 * what a driver may have started; it begins with no signal blocked or ignored, whatever the caller's threads do. */
#include "device_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "device_reap.h"
#include "memory.h"

enum { ANSWER_SIZE = 1 << 20, WORDS_SIZE = 256, ARGUMENTS_MOST = 4, NAP_NS = 1000000 };

static const uint64_t second = 1000000000;

extern char **environ;

typedef struct asked {
    pid_t pid;
    int out, words;             /* pipes from its standard output and error; -1: closed */
    char *answer;               /* ANSWER_SIZE bytes */
    size_t size;
    char said[WORDS_SIZE];      /* how its complaints begin */
    size_t said_size;
    bool too_long;
} asked;

static int spawn(const char *program, const char *const arguments[], int out, int words, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    char *all_arguments[ARGUMENTS_MOST + 2] = {(char *)(uintptr_t)program};
    for (size_t i = 0; i < ARGUMENTS_MOST && arguments[i] != NULL; i++)
        all_arguments[i + 1] = (char *)(uintptr_t)arguments[i];
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&how) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    /* a group of its own: what it starts ends with it */
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    int number = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (number == 0)
        number = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (number == 0)
        number = posix_spawn_file_actions_adddup2(&files, words, STDERR_FILENO);
    if (number == 0)
        number = posix_spawn(pid, program, &files, &how, all_arguments, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return number;
}

static int start(asked *ask, const char *program, const char *const arguments[])
{
    int out[2] = {-1, -1}, words[2] = {-1, -1};
    int number = 0;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(words, O_CLOEXEC) != 0)
        number = errno;
    else
        number = spawn(program, arguments, out[1], words[1], &ask->pid);
    if (out[1] >= 0)
        close(out[1]);
    if (words[1] >= 0)
        close(words[1]);
    ask->out = out[0];
    ask->words = words[0];
    return number;
}

/* Reads what is there; closes the pipe at its end. */
static void take(int *fd, char *to, size_t room, size_t *used, bool *full)
{
    char rest[WORDS_SIZE];
    const bool fits = *used < room;
    const ssize_t size = read(*fd, fits ? to + *used : rest, fits ? room - *used : sizeof rest);
    if (size > 0 && fits)
        *used += (size_t)size;
    else if (size > 0)
        *full = true;
    else if (size == 0 || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
}

/* false: the deadline passed */
static bool listen_to(asked *ask, uint64_t deadline)
{
    bool ignored = false;
    while (ask->out >= 0 || ask->words >= 0) {
        struct pollfd ready[] = {{.fd = ask->out, .events = POLLIN}, {.fd = ask->words, .events = POLLIN}};
        const uint64_t now = mr__now_ns();
        if (now >= deadline || ask->too_long)
            return false;
        if (poll(ready, MR__COUNT(ready), (int)((deadline - now) / NAP_NS + 1)) < 0 && errno != EINTR)
            return false;
        if (ready[0].revents != 0)
            take(&ask->out, ask->answer, ANSWER_SIZE, &ask->size, &ask->too_long);
        if (ready[1].revents != 0)
            take(&ask->words, ask->said, sizeof ask->said - 1, &ask->said_size, &ignored);
    }
    return true;
}

/* Its wait status; -1: the deadline passed, and it was killed, or left behind if the kernel does not let it die; 0 if
 * somebody else has waited for it. */
static int reap(pid_t pid, uint64_t deadline)
{
    int how = 0;
    while (!mr__device_reap(pid, &how)) {
        if (mr__now_ns() >= deadline) {
            mr__device_kill(pid, &how);
            return -1;
        }
        nanosleep(&(const struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    return how;
}

static void explain(mr__device_reply *answer, const asked *ask, const char *mode, int how, uint32_t seconds)
{
    const size_t room = sizeof answer->why;
    const int said = (int)strcspn(ask->said, "\n");
    const char *colon = said > 0 ? ": " : "";
    if (ask->too_long)
        snprintf(answer->why, room, "millrace-device %s says too much", mode);
    else if (how == -1)
        snprintf(answer->why, room, "millrace-device %s did not end within %u s", mode, seconds);
    else if (WIFSIGNALED(how))
        snprintf(answer->why, room, "millrace-device %s died of signal %d (%s)%s%.*s", mode, WTERMSIG(how),
                 strsignal(WTERMSIG(how)), colon, said, ask->said);
    else if (WEXITSTATUS(how) != 0)
        snprintf(answer->why, room, "millrace-device %s ended with status %d%s%.*s", mode, WEXITSTATUS(how), colon,
                 said, ask->said);
}

mr_status mr__device_ask(const char *program, const char *const arguments[], uint32_t seconds, mr__device_reply *out,
                         mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_reply answer = {.exit = -1};
    asked ask = {.out = -1, .words = -1, .answer = mr__alloc(ANSWER_SIZE)};
    MR_CHECK(ask.answer != NULL, MR_NO_MEMORY, "no memory to run millrace-device");
    const uint64_t deadline = mr__now_ns() + seconds * second;
    const int number = start(&ask, program, arguments);
    if (number != 0) {
        snprintf(answer.why, sizeof answer.why, "could not run %.300s: %s", program, strerror(number));
    } else {
        const bool listened = listen_to(&ask, deadline);
        const int how = reap(ask.pid, listened ? deadline : 0);
        answer.exit = how != -1 && WIFEXITED(how) && !ask.too_long ? WEXITSTATUS(how) : -1;
        explain(&answer, &ask, arguments[0], how, seconds);
    }
    answer.text = ask.answer;
    answer.size = ask.size;
    *out = answer;
done:
    if (ask.out >= 0)
        close(ask.out);
    if (ask.words >= 0)
        close(ask.words);
    return status;
}

void mr__device_reply_free(mr__device_reply *answer)
{
    mr__free(answer->text);
    *answer = (mr__device_reply){.size = 0};
}
