/* voyages.c: see voyages.h. */
#include "voyages.h"

#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "job_fixture.h"

static void compare(const struct voyage *voyage, const char *output)
{
    char *got = voyage_output(output);
    voyage_assert(voyage, got);
    free(got);
    fixture_remove(output);
}

void voyage_sail(const struct voyage *voyage, struct convoy *convoy)
{
    mr_job job;
    voyage_load(voyage, convoy, &job, voyages_output);
    convoy_sail(convoy);
    convoy_assert_arrived(convoy);
    compare(voyage, voyages_output);
    fixture_assert_empty(voyages_place);
    convoy_scrap(convoy);
}

void voyages_sail_in_a_row(const char *const *names, uint32_t count, struct convoy *convoy)
{
    char outputs[VOYAGES_IN_A_ROW][4400];
    mr_job jobs[VOYAGES_IN_A_ROW];
    assert_true(count <= VOYAGES_IN_A_ROW);
    for (uint32_t j = 0; j < count; j++) {
        snprintf(outputs[j], sizeof outputs[j], "%s/job-%u", voyages_place, j);
        voyage_load(voyage_named(names[j]), convoy, &jobs[j], outputs[j]);
    }
    convoy->jobs = jobs;
    convoy->job_count = count;
    convoy_sail(convoy);
    convoy_assert_arrived(convoy);
    for (uint32_t j = 0; j < count; j++)
        compare(voyage_named(names[j]), outputs[j]);
    fixture_assert_empty(voyages_place);
    convoy_scrap(convoy);
}

unsigned voyages_setting(const char *name, unsigned preset)
{
    const char *text = getenv(name);
    return text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : preset;
}

void voyages_by_chance(unsigned preset, void (*one)(unsigned seed))
{
    const unsigned only = voyages_setting("MILLRACE_JOINT_SEED", 0);
    const unsigned seeds = voyages_setting("MILLRACE_JOINT_SEEDS", preset);
    for (unsigned seed = only > 0 ? only : 1; seed <= (only > 0 ? only : seeds); seed++) {
        if (seeds != preset)
            print_message("seed %u\n", seed);
        one(seed);
    }
}
