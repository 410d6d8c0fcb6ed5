/* test_status.c: each code has a name, a meaning and the exit status of its class; the first failure is reported.
 * Oracle: the classes of DESIGN, section 10, as an own table. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { USAGE = 2, INPUT = 3, RESOURCE = 4, DEVICE = 5, NETWORK = 6, INTERNAL = 7, CANCELLED = 130 };

static const struct {
    mr_status code;
    const char *name;
    int exit_status;
} codes[] = {
    {MR_OK, "MR_OK", 0},
    {MR_BAD_USAGE, "MR_BAD_USAGE", USAGE},
    {MR_EXISTS, "MR_EXISTS", USAGE},
    {MR_BAD_APP, "MR_BAD_APP", USAGE},
    {MR_BAD_INPUT, "MR_BAD_INPUT", INPUT},
    {MR_NO_MEMORY, "MR_NO_MEMORY", RESOURCE},
    {MR_NO_SPACE, "MR_NO_SPACE", RESOURCE},
    {MR_IO_FAILED, "MR_IO_FAILED", RESOURCE},
    {MR_NO_WORKER, "MR_NO_WORKER", RESOURCE},
    {MR_TIMEOUT, "MR_TIMEOUT", RESOURCE},
    {MR_DEVICE_LOST, "MR_DEVICE_LOST", DEVICE},
    {MR_NETWORK_FAILED, "MR_NETWORK_FAILED", NETWORK},
    {MR_INTERNAL, "MR_INTERNAL", INTERNAL},
    {MR_APP_FAILED, "MR_APP_FAILED", INTERNAL},
    {MR_CANCELLED, "MR_CANCELLED", CANCELLED},
};

static void test_each_code_ends_a_command_with_the_status_of_its_class(void **state)
{
#define ONE(code, exit_status, meaning) +1
    assert_int_equal(MR__COUNT(codes), 0 MR_STATUS_MAP(ONE));
#undef ONE
    for (size_t c = 0; c < MR__COUNT(codes); c++) {
        assert_string_equal(mr_status_name(codes[c].code), codes[c].name);
        assert_int_equal(mr_status_exit(codes[c].code), codes[c].exit_status);
        for (size_t other = 0; other < c; other++) {
            assert_int_not_equal(codes[other].code, codes[c].code);
            assert_string_not_equal(mr_status_meaning(codes[other].code), mr_status_meaning(codes[c].code));
        }
    }
}

static void test_an_unknown_code_is_internal(void **state)
{
    const int unknown[] = {-1, (int)MR__COUNT(codes), 1000};
    for (size_t i = 0; i < MR__COUNT(unknown); i++) {
        assert_string_equal(mr_status_name((mr_status)unknown[i]), "MR_UNKNOWN");
        assert_string_equal(mr_status_meaning((mr_status)unknown[i]), "unknown status");
        assert_int_equal(mr_status_exit((mr_status)unknown[i]), INTERNAL);
    }
}

static void test_the_first_failure_keeps_its_sentence(void **state)
{
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__fail(&error, MR_BAD_INPUT, "could not open %s", "/a"), MR_BAD_INPUT);
    assert_int_equal(mr__fail(&error, MR_NO_SPACE, "could not remove /b"), MR_NO_SPACE);
    assert_int_equal(error.code, MR_BAD_INPUT);
    assert_string_equal(error.text, "could not open /a");
    mr__error_clear(&error);
    assert_int_equal(error.code, MR_OK);
    assert_string_equal(error.text, "");
    assert_int_equal(mr__fail(NULL, MR_TIMEOUT, "nobody listens"), MR_TIMEOUT);
}

static void test_a_sentence_that_is_too_long_is_cut_not_overrun(void **state)
{
    struct {
        mr__error error;
        char guard[8];
    } framed = {.guard = "guard"};
    char path[4096];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    mr__fail(&framed.error, MR_BAD_INPUT, "could not open %s", path);
    assert_int_equal(strlen(framed.error.text), sizeof framed.error.text - 1);
    assert_string_equal(framed.guard, "guard");
}

static mr_status check_and_try(int failing_step, int *reached, mr__error *error)
{
    mr_status status = MR_OK;
    *reached = 0;
    MR_CHECK(failing_step != 1, MR_BAD_USAGE, "step %d", 1);
    *reached = 1;
    MR_TRY(failing_step == 2 ? mr__fail(error, MR_BAD_INPUT, "step %d", 2) : MR_OK);
    *reached = 2;
done:
    *reached += 10;             /* the one exit is passed in every case */
    return status;
}

static void test_check_and_try_leave_by_the_one_exit(void **state)
{
    int reached;
    mr__error error = {.code = MR_OK};
    assert_int_equal(check_and_try(0, &reached, &error), MR_OK);
    assert_int_equal(reached, 12);
    assert_string_equal(error.text, "");
    assert_int_equal(check_and_try(1, &reached, &error), MR_BAD_USAGE);
    assert_int_equal(reached, 10);
    assert_string_equal(error.text, "step 1");
    mr__error_clear(&error);
    assert_int_equal(check_and_try(2, &reached, &error), MR_BAD_INPUT);
    assert_int_equal(reached, 11);
    assert_string_equal(error.text, "step 2");
}

static void test_errno_is_told_apart_by_what_a_person_can_do(void **state)
{
    assert_int_equal(mr__status_of_errno(ENOMEM, MR_IO_FAILED), MR_NO_MEMORY);
    assert_int_equal(mr__status_of_errno(ENOSPC, MR_IO_FAILED), MR_NO_SPACE);
    assert_int_equal(mr__status_of_errno(EDQUOT, MR_IO_FAILED), MR_NO_SPACE);
    assert_int_equal(mr__status_of_errno(EMFILE, MR_BAD_INPUT), MR_IO_FAILED);
    assert_int_equal(mr__status_of_errno(ENFILE, MR_BAD_INPUT), MR_IO_FAILED);
    assert_int_equal(mr__status_of_errno(ENOENT, MR_BAD_INPUT), MR_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_ends_a_command_with_the_status_of_its_class),
        cmocka_unit_test(test_an_unknown_code_is_internal),
        cmocka_unit_test(test_the_first_failure_keeps_its_sentence),
        cmocka_unit_test(test_a_sentence_that_is_too_long_is_cut_not_overrun),
        cmocka_unit_test(test_check_and_try_leave_by_the_one_exit),
        cmocka_unit_test(test_errno_is_told_apart_by_what_a_person_can_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
