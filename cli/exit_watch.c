/* exit_watch.c: handlers of atexit() that end the process themselves.
 *
 * They run on the thread that called exit(), while the others work on. So they wait for no lock that another thread may
 * keep: everything that is said is made beforehand, and written past stdio. They end by _exit(): what would run after
 * them (destructors of libraries, handlers of MPI) takes things away that the other threads use, and nothing can change
 * the status that exit() was called with.
 *
 * Two workers may call exit() at once, as they map the same mistake. Each call takes another handler from the list, so
 * there are many, and who finds that another is at work waits for the end. A thread that found none could end the
 * process with its own status before the first one has spoken. */
#include "exit_watch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "rank.h"
#include "show.h"

enum { HANDLERS = 32, TRIES = 100 };

static const struct timespec BETWEEN_TRIES = {.tv_nsec = 1000000};

static struct {
    _Atomic bool on;
    pid_t process;
    char sentence[512];
    char *object;               /* NULL: none is wanted */
    cli_progress *_Atomic bar;
} watch;

static void put(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        const ssize_t size = write(fd, text, left);
        if (size < 0)
            return;             /* nobody is left to tell */
        text += size;
        left -= (size_t)size;
    }
}

/* Whoever has the lock may wait for a terminal that stands still. */
static bool take(FILE *file)
{
    for (int i = 0; i < TRIES; i++) {
        if (ftrylockfile(file) == 0)
            return true;
        nanosleep(&BETWEEN_TRIES, NULL);
    }
    return false;
}

static void say(void)
{
    char where[CLI_WHERE_SIZE], line[sizeof "millrace: \n" + sizeof where + sizeof watch.sentence];
    const cli_progress *bar = atomic_load(&watch.bar);
    if (take(stdout))
        fflush(stdout);         /* what the app printed may say why */
    if (cli_rank_whisper(watch.sentence))
        return;
    cli_rank_raise_voice(where);
    take(stderr);               /* and is not given back: nothing is drawn behind the sentence */
    if (bar != NULL)
        cli_progress_abandon(bar);
    snprintf(line, sizeof line, "millrace: %s%s\n", where, watch.sentence);
    put(STDERR_FILENO, line);   /* at once: other ranks write there, too */
    if (watch.object != NULL && cli_rank_count() == 1)
        put(STDOUT_FILENO, watch.object);
}

static void add_handlers(int count);

static void on_exit_call(void)
{
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    if (!atomic_load(&watch.on) || getpid() != watch.process)
        return;
    add_handlers(1);            /* for the next thread: this one has used one up */
    while (atomic_flag_test_and_set(&taken))
        pause();
    say();
    _exit(mr_status_exit(MR_APP_FAILED));
}

static void add_handlers(int count)
{
    for (int i = 0; i < count; i++) {
        atexit(on_exit_call);
        at_quick_exit(on_exit_call);
    }
}

void cli_exit_watch_begin(const char *app, bool json)
{
    snprintf(watch.sentence, sizeof watch.sentence,
             "app %.300s ended the process while its job ran\n  hint: it, or a library that it uses, called exit(); "
             "let its functions return a status instead", app);
    watch.object = json ? cli_json_failure(MR_APP_FAILED, watch.sentence) : NULL;
    watch.process = getpid();
    atomic_store(&watch.on, true);
    add_handlers(HANDLERS);
}

void cli_exit_watch_loaded(void)
{
    add_handlers(HANDLERS);
}

void cli_exit_watch_bar(cli_progress *bar)
{
    atomic_store(&watch.bar, bar);
}

void cli_exit_watch_end(void)
{
    atomic_store(&watch.on, false);     /* what is to be said stays: a thread of the app may be about to say it */
}
