/* test_device_channel.c: what a device process says last is heard, whatever it left unread. The test is the process. */
#include "cmocka_all.h"

#include <string.h>
#include <sys/socket.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_last_message_is_heard_when_ours_were_not_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
