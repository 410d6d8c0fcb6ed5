/* Every allocation, page, open, read, write, rename, ... of a job that spills fails once in turn: a sentence, no output
 * that looks finished, no file left, no leak (under ASan), and the next job in the same session works. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "budget.h"
#include "check.h"
#include "fault.h"
#include "job_fixture.h"

enum { WORDS = 250000, DISTINCT = 120000, EACH_UP_TO = 10 };

static mr_status bytes_map(const mr_block *block, mr_emitter *out, const void *params)
{
    mr_add_dense_u64(out, 0, block->size);
    return MR_OK;
}

static mr_status three_rounds(mr_round *round)
{
    round->again = round->index < 2;
    return MR_OK;
}

MR_APP(rounds) {
    .input = MR_INPUT_TEXT, .key = MR_DENSE, .dense_keys = 1, .value = MR_U64, .combine = MR_SUM, .map = bytes_map,
    .round = three_rounds,
};

static const char *text;
static char burst[4200], output[4200];

static mr_status run_once(const mr_app_handle *app, char sentence[256])
{
    mr_session *session = NULL;
    mr_dataset *dataset = NULL;
    const mr_session_options options = {.workers = 2, .burst = burst, .records = "",
                                        .memory = mr__rss_bytes() + ((uint64_t)34 << 20)};
    mr_status status = mr_session_open(&options, &session);
    if (status == MR_OK)
        status = mr_dataset_open(session, &text, 1, &dataset);
    if (status == MR_OK)
        status = mr_run(session, &(mr_job){.app = app, .dataset = dataset, .output = output, .sort = MR_SORT_KEY},
                        NULL);
    snprintf(sentence, 256, "%s", mr_error(session));
    mr_dataset_close(dataset);
    mr_session_close(session);
    return status;
}

static void sweep(const mr_app_handle *app)
{
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        uint32_t hits = 0;
        for (uint32_t nth = 1;; nth += nth < EACH_UP_TO ? 1 : nth * 2 / 3) {
            char sentence[256];
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = run_once(app, sentence);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            hits += fired;
            if (status != MR_OK) {
                if (!fired)
                    fail_msg("without a fault: %s", sentence);
                assert_string_not_equal(sentence, "");
                assert_int_not_equal(access(output, F_OK), 0);
            } else {
                assert_int_equal(access(output, F_OK), 0);      /* harmless: it worked all the same */
                fixture_remove(output);
            }
            fixture_assert_empty(burst);
            assert_int_equal(fixture_entries(fixture_folder), 2);       /* the text and the burst folder */
            if (!fired)
                break;
        }
        print_message("point %d: failed %u times\n", (int)mr__fault_points[p], hits);
    }
}

static void a_combining_job_survives_every_fault(void **state)
{
    sweep(&mr_app_fixture_count);
}

static void a_grouping_job_survives_every_fault(void **state)
{
    sweep(&mr_app_fixture_group);
}

/* A worker that could not begin a round begins the next one. */
static void a_job_of_rounds_survives_every_fault(void **state)
{
    sweep(&mr_app_rounds);
}

/* The limit of a run is what the process holds before it, plus little: so what a first run adds for good (pages of
 * libraries, heaps of threads) must be there by then, or the limit is too small for a reason that is no fault. */
static void warm_up(void)
{
    for (int i = 0; i < 2; i++) {
        char sentence[256];
        if (run_once(&mr_app_fixture_count, sentence) == MR_OK)
            fixture_remove(output);
    }
}

static int set_up(void **state)
{
    fixture_set_up(state);
    text = strdup(fixture_words(fixture_folder, "text", WORDS, DISTINCT, 1, NULL));
    snprintf(burst, sizeof burst, "%s/burst", fixture_folder);
    snprintf(output, sizeof output, "%s/out", fixture_folder);
    setenv("MILLRACE_SYNC", "1", 1);        /* so that syncing can fail too */
    const int result = mkdir(burst, 0700);
    warm_up();
    return result;
}

static int tear_down(void **state)
{
    rmdir(burst);
    unlink(text);
    free((void *)text);
    return fixture_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_combining_job_survives_every_fault),
        cmocka_unit_test(a_grouping_job_survives_every_fault),
        cmocka_unit_test(a_job_of_rounds_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
