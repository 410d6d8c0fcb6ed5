/* test_plan_files.c: what plan() reads beside its input lands in the params, byte for byte, whatever its size.
 * Oracle: a formula gives byte i of every file. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fault.h"
#include "job_fixture.h"

struct params {
    char file[4096];
    uint32_t kept;              /* must survive the params' moves */
};

static size_t alignment = 64;
static uint64_t seen, wrong;    /* bytes of the files; that differ from the formula */

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)((i * 2654435761u) >> 13);
}

static mr_status twice_plan(mr_plan *plan)
{
    mr_slice content;
    char path[4096];
    snprintf(path, sizeof path, "%s", ((struct params *)plan->params)->file);
    ((struct params *)plan->params)->kept = 77;
    plan->range = 1;
    seen = wrong = 0;
    for (int i = 0; i < 2; i++) {
        const size_t before = plan->params_size;
        /* the first time by a path that lies in the params themselves */
        const mr_status status =
            mr_plan_append_file(plan, i == 0 ? ((struct params *)plan->params)->file : path, alignment, &content);
        if (status != MR_OK) {
            wrong += plan->params_size != before;
            return status;
        }
        wrong += (uintptr_t)content.data % alignment != 0;
        wrong += content.data + content.size != (uint8_t *)plan->params + plan->params_size;
        for (size_t b = 0; b < content.size; b++)
            wrong += content.data[b] != byte_at(b);
        seen += content.size;
    }
    wrong += ((struct params *)plan->params)->kept != 77;
    return MR_OK;
}

static mr_status nothing(const mr_block *block, mr_emitter *out, const void *params)
{
    return MR_OK;
}

static const mr_param twice_params[] = {MR_PARAM_TEXT_FIELD(struct params, file, NULL, "a file")};

MR_APP(twice) {
    .summary = "Append a file twice", .input = MR_INPUT_RANGE, .key = MR_DENSE, .dense_keys = 1, .value = MR_U64,
    .combine = MR_SUM, .params = twice_params, .param_count = 1, .params_size = sizeof(struct params),
    .plan = twice_plan, .map = nothing,
};

static mr_status resize_plan(mr_plan *plan)
{
    static const size_t sizes[] = {10000, 100, 10000, 20000, 0, 30000};
    size_t kept = 0;                /* bytes that are sevens */
    plan->range = 1;
    for (size_t i = 0; i < MR__COUNT(sizes); i++) {
        uint8_t *params = mr_plan_resize(plan, sizes[i]);
        if (params == NULL)
            return MR_NO_MEMORY;
        for (size_t b = 0; b < sizes[i]; b++)
            wrong += params[b] != (b < kept ? 7 : 0);
        memset(params, 7, sizes[i]);
        seen += kept = sizes[i];
        if (i + 1 < MR__COUNT(sizes) && sizes[i + 1] < kept)
            kept = sizes[i + 1];
    }
    return MR_OK;
}

MR_APP(resized) {
    .summary = "Shrink and grow the params", .input = MR_INPUT_RANGE, .key = MR_DENSE, .dense_keys = 1,
    .value = MR_U64, .combine = MR_SUM, .plan = resize_plan, .map = nothing,
};

static mr_status run(mr_session *session, const char *path)
{
    char setting[4200];
    snprintf(setting, sizeof setting, "file=%s", path);
    const char *settings[] = {setting};
    return mr_run(session, &(mr_job){.app = &mr_app_twice, .params = settings, .param_count = 1}, NULL);
}

static const char *make_file(size_t size)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/side", fixture_folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (size_t i = 0; i < size; i++)
        putc(byte_at(i), to);
    assert_int_equal(fclose(to), 0);
    return path;
}

static void test_files_of_any_size_are_appended(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4097, 3 << 20, (8 << 20) + 5, (33 << 20) + 1};
    mr_session *session = fixture_session(3, 0);
    for (size_t s = 0; s < MR__COUNT(sizes); s++)
        for (alignment = 1; alignment <= 64; alignment *= 8) {
            if (run(session, make_file(sizes[s])) != MR_OK)
                fail_msg("%zu bytes: %s", sizes[s], mr_error(session));
            assert_int_equal(seen, 2 * sizes[s]);
            assert_int_equal(wrong, 0);
        }
    mr_session_close(session);
    unlink(make_file(0));
}

static void test_a_file_that_cannot_be_read_leaves_the_params_as_they_were(void **state)
{
    mr_session *session = fixture_session(2, 0);
    alignment = 64;
    assert_int_equal(run(session, "/nowhere/side"), MR_BAD_INPUT);
    assert_non_null(strstr(mr_error(session), "/nowhere/side"));
    assert_int_equal(run(session, fixture_folder), MR_BAD_INPUT);
    alignment = 3;
    assert_int_equal(run(session, make_file(10)), MR_BAD_APP);
    alignment = 64;
    make_file(9 << 20);
    for (uint32_t nth = 1;; nth++) {
        mr__fault_arm(MR__FAULT_READ, nth);
        const mr_status status = run(session, make_file(9 << 20));
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        if (!fired) {
            assert_int_equal(status, MR_OK);
            break;
        }
        assert_int_equal(status, MR_BAD_INPUT);
        assert_string_not_equal(mr_error(session), "");
        assert_int_equal(wrong, 0);
    }
    mr_session_close(session);
    unlink(make_file(0));
}

static void test_params_that_shrank_grow_by_zeros(void **state)
{
    mr_session *session = fixture_session(1, 0);
    seen = wrong = 0;
    mr_result_close(fixture_run(session, &(mr_job){.app = &mr_app_resized}));
    assert_int_equal(seen, 70100);
    assert_int_equal(wrong, 0);
    mr_session_close(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_any_size_are_appended),
        cmocka_unit_test(test_a_file_that_cannot_be_read_leaves_the_params_as_they_were),
        cmocka_unit_test(test_params_that_shrank_grow_by_zeros),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
