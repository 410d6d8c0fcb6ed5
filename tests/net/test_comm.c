/* test_comm.c: a process that talks to itself gets back what it sent, in order. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "comm.h"
#include "fault.h"

static void test_one_rank_is_rank_0_of_1_and_passes_every_barrier(void **state)
{
    mr__comm *comm;
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->rank(comm), 0);
    assert_int_equal(comm->ops->size(comm), 1);
    assert_int_equal(comm->ops->barrier(comm, NULL), MR_OK);
    comm->ops->close(comm);
}

static void test_messages_arrive_in_order_with_tag_and_bytes(void **state)
{
    mr__comm *comm;
    uint32_t from, tag;
    char text[16], got[64];
    size_t size;
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            snprintf(text, sizeof text, "message %u", i);
            assert_int_equal(comm->ops->send(comm, 0, 7 + i, text, strlen(text), NULL), MR_OK);
            memset(text, 0, sizeof text);       /* the sender may reuse its bytes */
        }
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(comm->ops->receive(comm, &from, &tag, got, sizeof got, &size, NULL), MR_OK);
            snprintf(text, sizeof text, "message %u", i);
            assert_int_equal(from, 0);
            assert_int_equal(tag, 7 + i);
            assert_int_equal(size, strlen(text));
            assert_memory_equal(got, text, size);
        }
        assert_int_equal(comm->ops->receive(comm, &from, &tag, got, sizeof got, &size, NULL), MR_OK);
        assert_true(size == SIZE_MAX);
    }
    comm->ops->close(comm);
}

static void test_an_empty_message_is_a_message(void **state)
{
    mr__comm *comm;
    uint32_t from, tag;
    size_t size;
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->send(comm, 0, 5, NULL, 0, NULL), MR_OK);
    assert_int_equal(comm->ops->receive(comm, &from, &tag, NULL, 0, &size, NULL), MR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(tag, 5);
    comm->ops->close(comm);
}

static void test_what_does_not_fit_stays_and_what_cannot_be_sent_is_refused(void **state)
{
    mr__comm *comm;
    mr__error error = {.code = MR_OK};
    uint32_t from, tag;
    char got[8];
    size_t size;
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    assert_int_equal(comm->ops->send(comm, 1, 0, "x", 1, &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "rank 1"));
    mr__error_clear(&error);
    assert_int_equal(comm->ops->send(comm, 0, 0, "x", (size_t)1 << 31, &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "2147483648"));
    mr__error_clear(&error);
    assert_int_equal(comm->ops->send(comm, 0, 9, "longer than eight", 17, NULL), MR_OK);
    assert_int_equal(comm->ops->receive(comm, &from, &tag, got, sizeof got, &size, &error), MR_NETWORK_FAILED);
    char large[17];
    assert_int_equal(comm->ops->receive(comm, &from, &tag, large, sizeof large, &size, NULL), MR_OK);
    assert_int_equal(size, 17);
    assert_int_equal(comm->ops->send(comm, 0, 9, "left for close", 14, NULL), MR_OK);
    comm->ops->close(comm);
}

static void test_without_memory_nothing_is_opened_or_sent(void **state)
{
    mr__comm *const untouched = (mr__comm *)&state;
    mr__comm *comm = untouched;
    mr__error error = {.code = MR_OK};
    uint32_t from, tag;
    size_t size;
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(mr__comm_open_local(&comm, &error), MR_NO_MEMORY);
    assert_ptr_equal(comm, untouched);
    assert_string_not_equal(error.text, "");
    mr__error_clear(&error);
    assert_int_equal(mr__comm_open_local(&comm, NULL), MR_OK);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(comm->ops->send(comm, 0, 1, "x", 1, &error), MR_NO_MEMORY);
    assert_string_not_equal(error.text, "");
    assert_int_equal(comm->ops->receive(comm, &from, &tag, NULL, 0, &size, NULL), MR_OK);
    assert_true(size == SIZE_MAX);
    comm->ops->close(comm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_rank_is_rank_0_of_1_and_passes_every_barrier),
        cmocka_unit_test(test_messages_arrive_in_order_with_tag_and_bytes),
        cmocka_unit_test(test_an_empty_message_is_a_message),
        cmocka_unit_test(test_what_does_not_fit_stays_and_what_cannot_be_sent_is_refused),
        cmocka_unit_test(test_without_memory_nothing_is_opened_or_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
