/* test_account.c: accounts as bytes. Oracle: bytes written by hand from the table at the head of account.c. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "ledger.h"
#include "memory.h"

static const uint8_t golden[] = {
    /* rank 7, 1 work, 2 groups */
    'M', 'r', 'c', 'a', 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
    /* 513 .. 2^63 for 3 .. 9 */
    1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 3, 0, 0, 0, 9, 0, 0, 0,
    /* 3 .. 5 covers 0 .. 4 and 5 .. 6 */
    3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
    /* 8 .. 9 covers nothing */
    8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
};

static void an_account_is_the_same_behind_the_wire(void **state)
{
    mr__work work = {513, (uint64_t)1 << 63, 3, 9};
    mr__group groups[] = {{.first = 3, .last = 5, .owner = 7, .covered = {.count = 0}},
                          {.first = 8, .last = 9, .owner = 7, .covered = {.count = 0}}};
    const mr__account account = {.rank = 7, .works = &work, .work_count = 1, .groups = groups, .group_count = 2};
    mr__account back;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(mr__cover_add(&groups[0].covered, 0, 4, NULL), MR_OK);
    assert_int_equal(mr__cover_add(&groups[0].covered, 5, 6, NULL), MR_OK);
    assert_int_equal(mr__account_pack(&account, &bytes, &size, NULL), MR_OK);
    assert_int_equal(size, sizeof golden);
    assert_memory_equal(bytes, golden, size);
    assert_int_equal(mr__account_unpack(bytes, size, &back, NULL), MR_OK);
    assert_int_equal(back.rank, 7);
    assert_int_equal(back.work_count, 1);
    assert_memory_equal(back.works, &work, sizeof work);
    assert_int_equal(back.group_count, 2);
    for (size_t g = 0; g < 2; g++) {
        assert_int_equal(back.groups[g].first, groups[g].first);
        assert_int_equal(back.groups[g].last, groups[g].last);
        assert_int_equal(back.groups[g].owner, 7);
        assert_int_equal(back.groups[g].covered.count, groups[g].covered.count);
    }
    assert_memory_equal(back.groups[0].covered.ranges, groups[0].covered.ranges, 2 * sizeof(mr__range));
    mr__account_fini(&back);
    mr__free(bytes);
    mr__cover_fini(&groups[0].covered);
}

static void assert_refused(const uint8_t *bytes, size_t size, const char *what, size_t number)
{
    mr__account account = {.rank = 99};
    mr__error error = {.text = ""};
    uint8_t *just = malloc(size > 0 ? size : 1);        /* of just this size, for the sanitizer */
    assert_non_null(just);
    memcpy(just, bytes, size);
    if (mr__account_unpack(just, size, &account, &error) != MR_NETWORK_FAILED || error.text[0] == '\0' ||
        account.rank != 99 || account.works != NULL)
        fail_msg("%s %zu was accepted", what, number);
    free(just);
}

static void a_broken_account_is_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } broken[] = {
        {0, 'm'},                   /* the magic */
        {8, 2}, {11, 0xff},         /* more works than there are */
        {12, 1}, {12, 3}, {15, 0xff},                   /* groups */
        {23, 0x81},                 /* the work ends before it begins */
        {32, 9}, {36, 3},           /* for no partitions */
        {40, 5},                    /* an empty group */
        {48, 1}, {48, 3}, {51, 0xff},                   /* ranges */
        {52, 4}, {60, 0},           /* an empty range */
        {60, 5}, {60, 6},           /* ranges that touch, that overlap */
        {84, 9}, {92, 1},           /* the last group */
    };
    uint8_t bytes[sizeof golden + 1];
    memcpy(bytes, golden, sizeof golden);
    for (size_t size = 0; size < sizeof golden; size++)
        assert_refused(bytes, size, "the size", size);
    bytes[sizeof golden] = 0;
    assert_refused(bytes, sizeof bytes, "the size", sizeof bytes);
    for (size_t i = 0; i < MR__COUNT(broken); i++) {
        memcpy(bytes, golden, sizeof golden);
        bytes[broken[i].at] = broken[i].value;
        assert_refused(bytes, sizeof golden, "a change at byte", broken[i].at);
    }
}

static void an_account_that_finds_no_memory_is_not_made(void **state)
{
    mr__account account;
    uint32_t failed = 0;
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        mr__account back = {.rank = 99};
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__account_unpack(golden, sizeof golden, &back, &error);
        mr__fault_disarm();
        if (!mr__fault_fired()) {
            account = back;
            break;
        }
        assert_int_equal(status, MR_NO_MEMORY);
        assert_string_not_equal(error.text, "");
        assert_int_equal(back.rank, 99);
        failed++;
    }
    assert_int_equal(failed, 3);                        /* works, groups, ranges of one */
    uint8_t *bytes = (uint8_t *)state;
    size_t size = 0;
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(mr__account_pack(&account, &bytes, &size, NULL), MR_NO_MEMORY);
    mr__fault_disarm();
    assert_ptr_equal(bytes, state);
    assert_int_equal(size, 0);
    mr__account_fini(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_the_same_behind_the_wire),
        cmocka_unit_test(a_broken_account_is_refused),
        cmocka_unit_test(an_account_that_finds_no_memory_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
