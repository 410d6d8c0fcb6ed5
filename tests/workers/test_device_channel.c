/* test_device_channel.c: what a device process says last is heard, whatever it left unread (the test is the process),
 * and how it ended (a script is). */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device_channel.h"

static void test_the_last_message_is_heard_when_ours_were_not_read(void **state)
{
    int ends[2];
    bool got = false;
    mr__device_answer answer;
    mr__error error = {.text = ""};
    const mr__device_message probe = {MR__DEVICE_PROBE, sizeof probe};
    const mr__device_ready failed = {.head = {MR__DEVICE_FAILED, sizeof failed}, .bad_kernel = 1,
                                       .text = "app.cl:3: no"};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    mr__device_channel channel = {.socket = ends[0], .memory = -1};
    assert_int_equal(mr__device_send(&channel, &probe, -1, -1, &error), MR_OK);
    assert_int_equal(send(ends[1], &failed, sizeof failed, 0), sizeof failed);
    close(ends[1]);
    assert_int_equal(mr__device_receive(&channel, &answer, &got, &error), MR_OK);
    assert_true(got);
    assert_int_equal(answer.head.kind, MR__DEVICE_FAILED);
    assert_int_equal(answer.ready.bad_kernel, 1);
    assert_string_equal(answer.ready.text, failed.text);
    assert_int_equal(mr__device_receive(&channel, &answer, &got, &error), MR_DEVICE_LOST);
    assert_string_not_equal(error.text, "");
    mr__device_channel_close(&channel);
}

static void write_script(const char *path, const char *text)
{
    FILE *script = fopen(path, "w");
    assert_non_null(script);
    fprintf(script, "#!/bin/sh\nulimit -c 0\n%s\n", text);
    assert_int_equal(fclose(script), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

/* Signals that are meant for the job do nothing; one from outside that nobody can ignore is no crash. */
static void test_a_killed_process_is_told_from_one_that_crashed(void **state)
{
    static const struct {
        const char *script, *says;
        mr_status status;
    } cases[] = {
        {"kill -TERM $$; kill -INT $$; kill -HUP $$; exit 5", "ended with status 5", MR_DEVICE_LOST},
        {"kill -KILL $$", "died of signal 9", MR_NO_WORKER},
        {"kill -XCPU $$", "died of signal 24", MR_NO_WORKER},
        {"kill -SEGV $$", "died of signal 11", MR_DEVICE_LOST},
        {"kill -ABRT $$", "died of signal 6", MR_DEVICE_LOST},
    };
    char folder[] = "/tmp/millrace-channel-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/program", folder);
    for (size_t c = 0; c < MR__COUNT(cases) * 2; c++) {
        const bool sends = c % 2 == 1;
        const mr__device_message probe = {MR__DEVICE_PROBE, sizeof probe};
        mr__device_answer answer;
        mr__device_channel channel;
        mr__error error = {.text = ""};
        mr_status status;
        bool got = false;
        write_script(path, cases[c / 2].script);
        setenv("MILLRACE_DEVICE_PROGRAM", path, 1);
        assert_int_equal(mr__device_channel_open(&channel, "any-0", 4096, &error), MR_OK);
        do {
            status = sends ? mr__device_send(&channel, &probe, -1, -1, &error)
                           : mr__device_receive(&channel, &answer, &got, &error);
            usleep(10000);
        } while (status == MR_OK && !got);
        assert_int_equal(status, cases[c / 2].status);
        if (strstr(error.text, cases[c / 2].says) == NULL)
            fail_msg("%s: \"%s\"", cases[c / 2].script, error.text);
        mr__device_channel_close(&channel);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_message_is_heard_when_ours_were_not_read),
        cmocka_unit_test(test_a_killed_process_is_told_from_one_that_crashed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
