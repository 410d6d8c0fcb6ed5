/* test_device_ask.c: a process that the kernel does not let die holds up nobody. No driver is needed for that: one that
 * is traced stops on its way out until its tracer lets it go. The program that is asked is this one again. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "device_ask.h"

enum { MAY_NOT_TRACE = 77, HOLD_MS = 30000 };

static const uint64_t second = 1000000000;

/* Traces its parent until the test closes the pipe, or long after it should have. */
static void trace_parent(const char *pipe_name, int told)
{
    const pid_t parent = getppid();
    struct pollfd test = {.fd = open(pipe_name, O_RDONLY | O_CLOEXEC), .events = POLLIN};
    setsid();
    const char answer = ptrace(PTRACE_SEIZE, parent, NULL, (void *)PTRACE_O_TRACEEXIT) == 0 ? 'y' : 'n';
    if (write(told, &answer, 1) == 1)
        poll(&test, 1, HOLD_MS);
    _exit(0);
}

static int be_stuck(const char *pipe_name)
{
    int ends[2];
    char answer = 'n';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return 1;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    const pid_t tracer = fork();
    if (tracer == 0)
        trace_parent(pipe_name, ends[1]);
    if (tracer < 0 || read(ends[0], &answer, 1) != 1 || answer != 'y')
        return MAY_NOT_TRACE;
    printf("traced\n");
    fflush(stdout);
    for (;;)
        pause();
}

static void test_a_process_that_cannot_be_killed_is_left_behind(void **state)
{
    char program[256] = "", folder[] = "/tmp/millrace-ask-XXXXXX", pipe_name[64];
    const char *const arguments[] = {"--stuck", pipe_name, NULL};
    mr__device_reply answer = {.size = 0};
    mr__error error = {.text = ""};
    uint64_t begin = 0;
    uint32_t seconds = 1;
    assert_true(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    assert_non_null(mkdtemp(folder));
    snprintf(pipe_name, sizeof pipe_name, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe_name, 0600), 0);
    const int held = open(pipe_name, O_RDWR | O_CLOEXEC);
    assert_true(held >= 0);
    /* a busy machine may need more than a second for all that */
    do {
        mr__device_reply_free(&answer);
        begin = mr__now_ns();
        assert_int_equal(mr__device_ask(program, arguments, seconds, &answer, &error), MR_OK);
        seconds *= 2;
    } while (answer.size == 0 && answer.exit == -1 && seconds < 20);
    const uint64_t took = mr__now_ns() - begin;
    const int status = answer.exit;
    const bool said_so = strstr(answer.why, "did not end within") != NULL;
    mr__device_reply_free(&answer);
    close(held);                                /* lets it go */
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    unlink(pipe_name);
    rmdir(folder);
    if (status == MAY_NOT_TRACE) {
        print_message("skipped: no process may be traced here\n");
        skip();
    }
    assert_int_equal(status, -1);
    assert_true(said_so);
    assert_true(took >= seconds / 2 * second && took < HOLD_MS / 1000 * second);
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "--stuck") == 0)
        return be_stuck(arguments[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_process_that_cannot_be_killed_is_left_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
