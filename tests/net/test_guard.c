/* test_guard.c: millrace-guard: how a rank's end becomes a status, and that neither outlives the other.
 * Oracle: shells that end in known ways; pipes, which are at their end when the last process that holds them is gone.
 * */
#include "cmocka_all.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { PATIENCE_MS = 60000 };

typedef struct guarded {
    pid_t guard;
    int out;                /* what the command writes; at its end when guard and command are gone */
} guarded;

static guarded start(const char *const command[])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t guard = fork();
    assert_true(guard >= 0);
    if (guard == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(GUARD_PROGRAM, (char **)(uintptr_t)command);
        _exit(98);
    }
    close(ends[1]);
    return (guarded){.guard = guard, .out = ends[0]};
}

static guarded start_shell(const char *script)
{
    return start((const char *const[]){"millrace-guard", "sh", "-c", script, NULL});
}

static int wait_for(pid_t pid)
{
    int how = 0;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return how;
}

/* Its next line, or "" at the end; a time-out fails the test. */
static void read_line(int fd, char *text, size_t room)
{
    size_t used = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    for (;;) {
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        assert_true(used + 1 < room);
        if (read(fd, text + used, 1) != 1 || text[used] == '\n')
            break;
        used++;
    }
    text[used] = '\0';
}

static pid_t read_pid(int fd)
{
    char text[32];
    read_line(fd, text, sizeof text);
    const pid_t pid = (pid_t)atoi(text);
    assert_true(pid > 1);
    return pid;
}

static void assert_at_end(int fd)
{
    char text[32];
    read_line(fd, text, sizeof text);
    assert_string_equal(text, "");
    close(fd);
}

static void test_the_ranks_end_becomes_a_status(void **state)
{
    static const struct { const char *script; int status; } cases[] = {
        {"exit 0", 0}, {"exit 1", 1}, {"exit 7", 7}, {"exit 255", 255}, {"kill -KILL $$", 0}, {"kill -SEGV $$", 90},
        {"kill -TERM $$", 90}, {"kill -PIPE $$", 90}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        const guarded run = start_shell(cases[c].script);
        const int how = wait_for(run.guard);
        assert_true(WIFEXITED(how));
        if (WEXITSTATUS(how) != cases[c].status)
            fail_msg("%s: status %d", cases[c].script, WEXITSTATUS(how));
        assert_at_end(run.out);
    }
}

static void test_what_cannot_be_run_is_127_and_no_command_is_usage(void **state)
{
    const guarded missing = start((const char *const[]){"millrace-guard", "/nowhere/at/all", NULL});
    assert_int_equal(WEXITSTATUS(wait_for(missing.guard)), 127);
    assert_at_end(missing.out);
    const guarded nothing = start((const char *const[]){"millrace-guard", NULL});
    assert_int_equal(WEXITSTATUS(wait_for(nothing.guard)), 2);
    assert_at_end(nothing.out);
}

static void test_arguments_and_environment_arrive(void **state)
{
    char text[64];
    assert_int_equal(setenv("GUARD_TEST", "with blanks", 1), 0);
    const guarded run = start(
        (const char *const[]){"millrace-guard", "sh", "-c", "echo \"$1|$GUARD_TEST\"", "sh", "a b*", NULL});
    read_line(run.out, text, sizeof text);
    assert_string_equal(text, "a b*|with blanks");
    assert_int_equal(wait_for(run.guard), 0);
    close(run.out);
}

static void test_the_rank_dies_with_its_guard(void **state)
{
    for (uint32_t round = 0; round < 20; round++) {
        const guarded run = start_shell("echo $$; exec sleep 1000");
        if (round % 2 == 0)
            read_pid(run.out);      /* else the guard dies at some moment of its start */
        kill(run.guard, SIGKILL);
        assert_true(WIFSIGNALED(wait_for(run.guard)));
        if (round % 2 == 0) {
            assert_at_end(run.out);
            continue;
        }
        char text[32];
        read_line(run.out, text, sizeof text);      /* a pid, if it came that far; then the end */
        if (text[0] != '\0')
            assert_at_end(run.out);
        else
            close(run.out);
    }
}

static void test_the_rank_dies_when_the_launcher_is_gone(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t launcher = fork();
    assert_true(launcher >= 0);
    if (launcher == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (fork() == 0) {
            execl(GUARD_PROGRAM, "millrace-guard", "sh", "-c", "echo $$; exec sleep 1000", (char *)NULL);
            _exit(98);
        }
        pause();
        _exit(0);
    }
    close(ends[1]);
    read_pid(ends[0]);
    kill(launcher, SIGKILL);
    wait_for(launcher);
    assert_at_end(ends[0]);
}

static void test_signals_to_the_guard_reach_the_rank(void **state)
{
    static const struct { int number; const char *name; } cases[] = {
        {SIGTERM, "TERM"}, {SIGINT, "INT"}, {SIGHUP, "HUP"}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        char script[128], text[32];
        snprintf(script, sizeof script, "trap 'echo %s; exit 5' %s; echo ready; while :; do sleep 0.01; done",
                 cases[c].name, cases[c].name);
        const guarded run = start_shell(script);
        read_line(run.out, text, sizeof text);
        assert_string_equal(text, "ready");
        assert_int_equal(kill(run.guard, cases[c].number), 0);
        read_line(run.out, text, sizeof text);
        assert_string_equal(text, cases[c].name);
        assert_int_equal(WEXITSTATUS(wait_for(run.guard)), 5);
        close(run.out);
    }
}

/* Hydra tells every process of a node about a death with SIGUSR1. */
static void test_deaths_of_others_do_not_touch_guard_or_rank(void **state)
{
    const guarded run = start_shell("trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done");
    const pid_t rank = read_pid(run.out);
    assert_int_equal(kill(run.guard, SIGUSR1), 0);
    assert_int_equal(kill(run.guard, SIGPIPE), 0);
    assert_int_equal(kill(rank, SIGUSR1), 0);
    assert_int_equal(kill(run.guard, SIGTERM), 0);
    assert_int_equal(WEXITSTATUS(wait_for(run.guard)), 3);
    assert_at_end(run.out);
}

static void test_the_guard_lets_go_of_the_connection_to_the_launcher(void **state)
{
    int connection[2];
    char text[32];
    assert_int_equal(pipe2(connection, O_CLOEXEC), 0);
    assert_int_equal(dup2(connection[1], 9), 9);
    setenv("PMI_FD", "9", 1);
    /* the rank closes its end of the connection, and lives on */
    const guarded run = start_shell("exec 9>&-; echo closed; exec sleep 1000");
    unsetenv("PMI_FD");
    close(9);
    close(connection[1]);
    read_line(run.out, text, sizeof text);
    assert_string_equal(text, "closed");
    assert_at_end(connection[0]);
    kill(run.guard, SIGKILL);
    wait_for(run.guard);
    assert_at_end(run.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_ranks_end_becomes_a_status),
        cmocka_unit_test(test_what_cannot_be_run_is_127_and_no_command_is_usage),
        cmocka_unit_test(test_arguments_and_environment_arrive),
        cmocka_unit_test(test_the_rank_dies_with_its_guard),
        cmocka_unit_test(test_the_rank_dies_when_the_launcher_is_gone),
        cmocka_unit_test(test_signals_to_the_guard_reach_the_rank),
        cmocka_unit_test(test_deaths_of_others_do_not_touch_guard_or_rank),
        cmocka_unit_test(test_the_guard_lets_go_of_the_connection_to_the_launcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
