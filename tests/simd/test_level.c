/* test_level.c: the level that runs is the one that was asked for; what cannot run is an error with a sentence.
 * Oracle: the environment variable that the test sets. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "kernels.h"

static mr_status init_with(const char *forced, mr__error *error)
{
    mr__error_clear(error);
    if (forced != NULL)
        setenv("MILLRACE_SIMD", forced, 1);
    else
        unsetenv("MILLRACE_SIMD");
    return mr__level_init(error);
}

static void a_forced_level_is_the_one_that_runs(void **state)
{
    mr__error error;
    for (int level = 0; level < MR__LEVELS; level++)
        if (mr__level_supported((mr__level)level)) {
            assert_int_equal(init_with(mr__level_name((mr__level)level), &error), MR_OK);
            assert_int_equal(mr__level_current(), level);
            assert_string_equal(mr__kernels_current()->name, mr__level_name((mr__level)level));
        }
}

static void without_the_variable_the_best_level_runs(void **state)
{
    mr__error error;
    int best = MR__LEVELS - 1;
    while (!mr__level_supported((mr__level)best))
        best--;
    assert_int_equal(mr__level_force(MR__SCALAR), MR_OK);
    assert_int_equal(init_with(NULL, &error), MR_OK);
    assert_int_equal(mr__level_current(), best);
    assert_int_equal(mr__level_force(MR__SCALAR), MR_OK);
    assert_int_equal(init_with("", &error), MR_OK);
    assert_int_equal(mr__level_current(), best);
}

static void an_unknown_or_missing_level_is_refused_and_changes_nothing(void **state)
{
    mr__error error;
    int refused = 0;
    assert_int_equal(init_with("scalar", &error), MR_OK);
    for (int level = 0; level < MR__LEVELS; level++)
        if (!mr__level_supported((mr__level)level)) {
            const char *name = mr__level_name((mr__level)level);
            assert_int_equal(init_with(name, &error), MR_BAD_USAGE);
            assert_non_null(strstr(error.text, name));
            assert_non_null(strstr(error.text, "it has scalar"));
            assert_int_equal(mr__level_force((mr__level)level), MR_BAD_USAGE);
            refused++;
        }
    assert_true(refused > 0);                   /* no machine has both AVX and NEON */
    assert_int_equal(init_with("avx1024", &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "MILLRACE_SIMD=avx1024"));
    assert_non_null(strstr(error.text, "this machine has scalar"));
    assert_int_equal(init_with("AVX2", &error), MR_BAD_USAGE);
    assert_int_equal(mr__level_force(MR__LEVELS), MR_BAD_USAGE);
    assert_int_equal(mr__level_current(), MR__SCALAR);
}

static void supported_levels_have_their_kernels(void **state)
{
    for (int level = 0; level < MR__LEVELS; level++)
        if (mr__level_supported((mr__level)level)) {
            const mr__kernels *kernels = mr__kernel_rows[level];
            assert_non_null(kernels);
            assert_true(kernels->spans != NULL && kernels->first_boundary != NULL && kernels->last_boundary != NULL &&
                        kernels->fold != NULL && kernels->transpose != NULL && kernels->patterns != NULL);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forced_level_is_the_one_that_runs),
        cmocka_unit_test(without_the_variable_the_best_level_runs),
        cmocka_unit_test(an_unknown_or_missing_level_is_refused_and_changes_nothing),
        cmocka_unit_test(supported_levels_have_their_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
