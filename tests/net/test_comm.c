/* test_comm.c: a process that talks to itself gets back what it sent, in the order of its path.
 * Oracle: the test counts the messages for itself. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "comm.h"
#include "fault.h"

enum { MESSAGES = 100 };

/* What arrived. */
struct inbox {
    uint32_t count[MR__PATHS], wrong;
    mr__path last;
};

static void expect_next(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct inbox *inbox = context;
    char text[32];
    const uint32_t number = inbox->count[path]++;
    snprintf(text, sizeof text, "message %u", number);
    inbox->wrong += from != 0 || tag != 7 + number || size != strlen(text) || memcmp(bytes, text, size) != 0;
    inbox->last = path;
}

static void never_unreachable(void *context, uint32_t rank, const char *why)
{
    ((struct inbox *)context)->wrong++;
}

static mr__comm_events events_of(struct inbox *inbox)
{
    return (mr__comm_events){inbox, expect_next, never_unreachable};
}

static void send_next(mr__comm *comm, mr__path path, uint32_t number)
{
    char text[32];
    snprintf(text, sizeof text, "message %u", number);
    assert_int_equal(comm->ops->send(comm, path, 0, 7 + number, text, strlen(text), NULL), MR_OK);
    memset(text, 0, sizeof text);           /* the sender may reuse its bytes */
}

static void test_one_rank_is_rank_0_of_1(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->rank(comm), 0);
    assert_int_equal(comm->ops->size(comm), 1);
    assert_false(comm->ops->progress(comm, &events));
    comm->ops->close(comm);
}

static void test_messages_arrive_in_order_with_tag_and_bytes(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < MESSAGES; i++)
            send_next(comm, MR__BULK, (round - 1) * MESSAGES + i);
        while (comm->ops->progress(comm, &events))
            ;
        assert_int_equal(inbox.count[MR__BULK], round * MESSAGES);
    }
    assert_int_equal(inbox.wrong, 0);
    comm->ops->close(comm);
}

static void test_control_is_not_behind_bulk(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    for (uint32_t i = 0; i < MESSAGES; i++)
        send_next(comm, MR__BULK, i);
    send_next(comm, MR__CONTROL, 0);
    assert_true(comm->ops->progress(comm, &events));
    assert_int_equal(inbox.count[MR__CONTROL], 1);
    assert_true(inbox.count[MR__BULK] < MESSAGES);          /* one call hands over a few dozen */
    while (comm->ops->progress(comm, &events))
        ;
    assert_int_equal(inbox.count[MR__BULK], MESSAGES);
    assert_int_equal(inbox.wrong, 0);
    comm->ops->close(comm);
}

static void test_what_has_not_arrived_is_unsent(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    for (uint32_t i = 0; i < 10; i++)
        send_next(comm, MR__BULK, i);
    assert_int_equal(comm->ops->unsent(comm, MR__BULK, 0), 10 * strlen("message 0"));
    assert_int_equal(comm->ops->unsent(comm, MR__CONTROL, 0), 0);
    while (comm->ops->progress(comm, &events))
        ;
    assert_int_equal(comm->ops->unsent(comm, MR__BULK, 0), 0);
    comm->ops->close(comm);
}

static void count_empty(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct inbox *inbox = context;
    inbox->count[path]++;
    inbox->wrong += size != 0 || tag != 5;
}

static void test_an_empty_message_is_a_message(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = {&inbox, count_empty, never_unreachable};
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->send(comm, MR__CONTROL, 0, 5, NULL, 0, NULL), MR_OK);
    assert_true(comm->ops->progress(comm, &events));
    assert_int_equal(inbox.count[MR__CONTROL], 1);
    assert_int_equal(inbox.wrong, 0);
    comm->ops->close(comm);
}

static void test_what_cannot_be_sent_is_refused(void **state)
{
    mr__comm *comm;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->send(comm, MR__CONTROL, 1, 0, "x", 1, &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "rank 1"));
    mr__error_clear(&error);
    assert_int_equal(comm->ops->send(comm, MR__BULK, 0, 0, "x", (size_t)MR__MESSAGE_MOST + 1, &error),
                     MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "67108865"));
    assert_int_equal(comm->ops->unsent(comm, MR__BULK, 0), 0);
    comm->ops->close(comm);
}

static void test_after_forget_nothing_is_sent_or_received(void **state)
{
    mr__comm *comm;
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    send_next(comm, MR__BULK, 0);
    comm->ops->forget(comm, 0);
    send_next(comm, MR__BULK, 1);
    assert_int_equal(comm->ops->unsent(comm, MR__BULK, 0), 0);
    assert_false(comm->ops->progress(comm, &events));
    assert_int_equal(inbox.count[MR__BULK], 0);
    comm->ops->close(comm);
}

static void test_close_drops_what_has_not_left(void **state)
{
    mr__comm *comm;
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    send_next(comm, MR__CONTROL, 0);
    send_next(comm, MR__BULK, 0);
    comm->ops->close(comm);                 /* LeakSanitizer sees the rest */
}

static void test_without_memory_nothing_is_opened_or_sent(void **state)
{
    mr__comm *const untouched = (mr__comm *)&state;
    mr__comm *comm = untouched;
    mr__error error = {.code = MR_OK};
    struct inbox inbox = {.wrong = 0};
    const mr__comm_events events = events_of(&inbox);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(mr__comm_open_local(&comm, &error), MR_NO_MEMORY);
    assert_ptr_equal(comm, untouched);
    assert_string_not_equal(error.text, "");
    mr__error_clear(&error);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(comm->ops->send(comm, MR__BULK, 0, 1, "x", 1, &error), MR_NO_MEMORY);
    assert_string_not_equal(error.text, "");
    assert_int_equal(comm->ops->unsent(comm, MR__BULK, 0), 0);
    assert_false(comm->ops->progress(comm, &events));
    comm->ops->close(comm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_rank_is_rank_0_of_1),
        cmocka_unit_test(test_messages_arrive_in_order_with_tag_and_bytes),
        cmocka_unit_test(test_control_is_not_behind_bulk),
        cmocka_unit_test(test_what_has_not_arrived_is_unsent),
        cmocka_unit_test(test_an_empty_message_is_a_message),
        cmocka_unit_test(test_what_cannot_be_sent_is_refused),
        cmocka_unit_test(test_after_forget_nothing_is_sent_or_received),
        cmocka_unit_test(test_close_drops_what_has_not_left),
        cmocka_unit_test(test_without_memory_nothing_is_opened_or_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
