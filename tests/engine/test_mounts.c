/* Jobs that read and write below /memory and /burst. Oracle: counts made while the input was written; a result below a
 * mount is read by a second job, and the one in /burst by plain paths too. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "budget.h"
#include "check.h"
#include "job_fixture.h"
#include "places.h"

#define MIB ((uint64_t)1 << 20)

enum { WORDS = 200000, DISTINCT = 30000 };

static const char *text;
static uint64_t want[DISTINCT], distinct;

static mr_status run_app(mr_session *session, const mr_app_handle *app, const char *input, const char *output,
                         bool force, mr_result **result)
{
    mr_dataset *dataset;
    mr_status status = mr_dataset_open(session, &input, 1, &dataset);
    if (status != MR_OK)
        return status;
    const mr_job job = {.app = app, .dataset = dataset, .output = output, .force = force, .sort = MR_SORT_KEY};
    status = mr_run(session, &job, result);
    mr_dataset_close(dataset);
    return status;
}

static void count(mr_session *session, const char *input, const char *output, bool force)
{
    if (run_app(session, &mr_app_fixture_count, input, output, force, NULL) != MR_OK)
        fail_msg("%s", mr_error(session));
}

/* Counts the words of a result, lines of word and count: each word once, and the counts as often as they occur. */
static void expect_counts(mr_session *session, const char *input)
{
    mr_result *result;
    uint64_t words = 0, sum = 0;
    if (run_app(session, &mr_app_fixture_count, input, NULL, false, &result) != MR_OK)
        fail_msg("%s", mr_error(session));
    for (mr_slice key, value; mr_result_next(result, &key, &value);) {
        char token[64] = "";
        assert_in_range(key.size, 1, sizeof token - 1);
        memcpy(token, key.data, key.size);
        if (token[0] == 'w') {
            assert_int_equal(fixture_u64(value), 1);        /* a word has one line */
            words++;
        } else {
            sum += strtoull(token, NULL, 10) * fixture_u64(value);
        }
    }
    assert_int_equal(words, distinct);
    assert_int_equal(sum, WORDS);
    mr_result_close(result);
}

static void skip_where_the_host_has(const char *mount)
{
    if (!mr__places_is_mounted(mount, mount)) {
        print_message("skipped: this machine has a %s of its own\n", mount);
        skip();
    }
}

static void one_job_leaves_its_result_in_memory_for_the_next(void **state)
{
    static const char *const paths[] = {"pread", "mmap", "io_uring"};
    skip_where_the_host_has(MR__MOUNT_MEMORY);
    mr_session *session = fixture_session(2, 0);
    count(session, text, "/memory/counts", false);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        setenv("MILLRACE_READ", paths[p], 1);
        expect_counts(session, "/memory/counts");
        expect_counts(session, "/memory/counts/part-*");
    }
    unsetenv("MILLRACE_READ");
    assert_int_equal(run_app(session, &mr_app_fixture_count, text, "/memory/counts", false, NULL), MR_EXISTS);
    count(session, text, "/memory/counts", true);
    expect_counts(session, "/memory/counts");
    mr_session_close(session);
    assert_int_equal(fixture_entries(fixture_folder), 1);           /* the text */
}

static void what_lies_in_memory_ends_with_the_session(void **state)
{
    skip_where_the_host_has(MR__MOUNT_MEMORY);
    mr_session *session = fixture_session(1, 0);
    count(session, text, "/memory/counts", false);
    mr_session_close(session);
    session = fixture_session(1, 0);
    assert_int_equal(run_app(session, &mr_app_fixture_count, "/memory/counts", NULL, false, NULL), MR_BAD_INPUT);
    assert_non_null(strstr(mr_error(session), "/memory/counts"));
    mr_session_close(session);
}

static void a_result_that_memory_has_no_room_for_leaves_nothing_there(void **state)
{
    char large[4200];
    skip_where_the_host_has(MR__MOUNT_MEMORY);
    snprintf(large, sizeof large, "%s", fixture_words(fixture_folder, "large", 8000000, 6000000, 9, NULL));
    mr_session *session;
    const mr_session_options options = {.workers = 1, .burst = fixture_folder, .records = "",
                                        .memory = 2 * (mr__rss_bytes() + 120 * MIB)};
    assert_int_equal(mr_session_open(&options, &session), MR_OK);
    char output[32];
    mr_status status = MR_OK;
    for (int i = 0; status == MR_OK; i++) {
        assert_in_range(i, 0, 20);
        snprintf(output, sizeof output, "/memory/large-%d", i);
        status = run_app(session, &mr_app_fixture_count, large, output, false, NULL);
    }
    assert_int_equal(status, MR_NO_SPACE);
    assert_non_null(strstr(mr_error(session), output));
    mr_dataset *dataset;
    const char *path = output;
    assert_int_equal(mr_dataset_open(session, &path, 1, &dataset), MR_BAD_INPUT);
    count(session, text, "/memory/counts", false);                  /* the room was given back */
    expect_counts(session, "/memory/counts");
    mr_session_close(session);
    unlink(large);
}

static void the_burst_mount_is_the_directory_for_fast_local_bytes(void **state)
{
    char plain[4200];
    skip_where_the_host_has(MR__MOUNT_BURST);
    snprintf(plain, sizeof plain, "%s/counts", fixture_folder);
    mr_session *session = fixture_session(2, 0);
    count(session, "/burst/text", "/burst/counts", false);
    expect_counts(session, "/burst/counts");
    expect_counts(session, plain);
    count(session, text, "/burst/counts", true);
    mr_session_close(session);
    session = fixture_session(2, 0);                                /* it stays */
    expect_counts(session, "/burst/counts");
    mr_session_close(session);
    fixture_remove(plain);
}

static void a_path_that_the_host_has_is_a_plain_path(void **state)
{
    assert_false(mr__places_is_mounted("/tmp", "/tmp/x"));
    assert_false(mr__places_is_mounted("/no-such-mount", "/no-such-mountain"));
    assert_false(mr__places_is_mounted("/no-such-mount", "no-such-mount/x"));
    assert_true(mr__places_is_mounted("/no-such-mount", "/no-such-mount"));
    assert_true(mr__places_is_mounted("/no-such-mount", "/no-such-mount/x"));
}

static int set_up(void **state)
{
    if (fixture_set_up(state) != 0)
        return -1;
    text = strdup(fixture_words(fixture_folder, "text", WORDS, DISTINCT, 4, want));
    for (uint32_t i = 0; i < DISTINCT; i++)
        distinct += want[i] > 0;
    return 0;
}

static int tear_down(void **state)
{
    unlink(text);
    free((void *)text);
    return fixture_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_job_leaves_its_result_in_memory_for_the_next),
        cmocka_unit_test(what_lies_in_memory_ends_with_the_session),
        cmocka_unit_test(a_result_that_memory_has_no_room_for_leaves_nothing_there),
        cmocka_unit_test(the_burst_mount_is_the_directory_for_fast_local_bytes),
        cmocka_unit_test(a_path_that_the_host_has_is_a_plain_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
