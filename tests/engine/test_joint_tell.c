/* test_joint_tell.c: what the record says of each rank, whenever that rank tells it.
 * Oracle: what each rank's own statistics say; jansson reads the record. */
#include "cmocka_all.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "job_fixture.h"
#include "joint_parts.h"
#include "voyages.h"

enum { RANKS = 3 };

static char records[4300];

/* "ranks" of the one record that there is; json_decref() the root. */
static json_t *recorded_ranks(json_t **root)
{
    char pattern[4400];
    glob_t found;
    *root = NULL;
    snprintf(pattern, sizeof pattern, "%s/*.json", records);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (strstr(found.gl_pathv[i], ".trace.json") == NULL) {
            assert_null(*root);
            *root = json_load_file(found.gl_pathv[i], 0, NULL);
        }
    globfree(&found);
    json_t *ranks = json_object_get(*root, "ranks");
    assert_int_equal(json_array_size(ranks), RANKS);
    return ranks;
}

static json_int_t number_of(const json_t *of, const char *name)
{
    const json_t *number = json_object_get(of, name);
    assert_true(json_is_integer(number));
    return json_integer_value(number);
}

/* Each rank told what it did, and together they did the job. */
static void assert_recorded(const struct convoy *convoy)
{
    json_t *root, *ranks = recorded_ranks(&root);
    json_int_t pairs = 0, sent = 0, received = 0;
    for (size_t r = 0; r < RANKS; r++) {
        const json_t *one = json_array_get(ranks, r);
        assert_true(json_is_string(json_object_get(one, "host")));
        assert_true(json_is_false(json_object_get(one, "lost")));
        pairs += number_of(one, "pairs");
        sent += number_of(one, "sent_bytes");
        received += number_of(one, "received_bytes");
    }
    assert_int_equal(pairs, convoy->ships[0].stats.pairs);
    assert_int_equal(sent, received);
    json_decref(root);
}

static void sail(void (*on_message)(struct ship *ship, uint32_t kind))
{
    mr_job job;
    struct convoy convoy = {.ranks = RANKS, .on_message = on_message, .records = records};
    snprintf(records, sizeof records, "%s/records", fixture_folder);
    voyage_load(voyage_named("list"), &convoy, &job, voyages_output);
    convoy_sail(&convoy);
    convoy_assert_arrived(&convoy);
    assert_recorded(&convoy);
    fixture_remove(voyages_output);
    fixture_remove(records);
    convoy_scrap(&convoy);
}

static void every_rank_is_in_the_record(void **state)
{
    sail(NULL);
}

/* What rank 1 tells arrives when the job is over: it stays under way until rank 0 says so. */
static void tell_late(struct ship *ship, uint32_t kind)
{
    if (ship->rank == 1 && kind == MR__SAY_TOLD)
        mesh_cut(ship->convoy->mesh, MR__BULK, 1, 0, true);
    if (ship->rank == 0 && kind == MR__SAY_COMMITTED)
        mesh_cut(ship->convoy->mesh, MR__BULK, 1, 0, false);
}

static void the_record_waits_for_who_tells_late(void **state)
{
    sail(tell_late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_is_in_the_record),
        cmocka_unit_test(the_record_waits_for_who_tells_late),
    };
    return cmocka_run_group_tests(tests, voyages_set_up, voyages_tear_down);
}
