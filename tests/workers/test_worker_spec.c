/* test_worker_spec.c: what people type behind --workers.
 * Oracle: the examples at the head of worker_spec.h, and sentences written by hand. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "worker_spec.h"

static mr__device_info devices[] = {
    {.id = "pocl-0", .type = MR__DEVICE_CPU},
    {.id = "pocl-1", .type = MR__DEVICE_CPU},
    {.id = "nvidia-0", .type = MR__DEVICE_GPU},
};
static const mr__device_list three = {.device = devices, .count = 3};
static const mr__device_list empty = {.note = "no OpenCL platform is installed"};

/* meant: what match() finds among `three`, as "id:depth ..." */
static const struct {
    const char *text;
    int cpus;               /* -1: not given */
    const char *meant;
} good[] = {
    {"4", 4, ""},
    {"cpu=4", 4, ""},
    {"cpu=0,device=all", 0, "pocl-0:0 pocl-1:0 nvidia-0:0 "},
    {"0,device=all", 0, "pocl-0:0 pocl-1:0 nvidia-0:0 "},
    {"device=none", -1, ""},
    {"cpu=3,device=none", 3, ""},
    {"device=gpu", -1, "nvidia-0:0 "},
    {"device=cpu:2,cpu=1", 1, "pocl-0:2 pocl-1:2 "},
    {"cpu=2,device=pocl-1:2,nvidia-0", 2, "pocl-1:2 nvidia-0:0 "},
    {"device=nvidia-0,pocl-0:8,cpu=1", 1, "pocl-0:8 nvidia-0:0 "},
    {"device=nvidia-0,device=pocl-0", -1, "pocl-0:0 nvidia-0:0 "},
    {"device=all:2,pocl-1:3,gpu:4", -1, "pocl-0:2 pocl-1:3 nvidia-0:4 "},
    {"device=pocl-1:3,all", -1, "pocl-0:0 pocl-1:3 nvidia-0:0 "},
};

static void test_good_specifications_mean_what_they_say(void **state)
{
    for (size_t i = 0; i < MR__COUNT(good); i++) {
        mr__worker_spec spec;
        mr__worker_device found[MR__DEVICES_MOST];
        mr__error error = {.text = ""};
        uint32_t count = 99;
        char text[256] = "";
        if (mr__worker_spec_parse(good[i].text, &spec, &error) != MR_OK ||
            mr__worker_spec_match(&spec, &three, found, &count, &error) != MR_OK)
            fail_msg("%s: %s", good[i].text, error.text);
        for (uint32_t d = 0; d < count; d++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%u ", found[d].device->id, found[d].depth);
        assert_string_equal(text, good[i].meant);
        assert_int_equal(spec.cpus_given ? (int)spec.cpus : -1, good[i].cpus);
    }
}

static const struct {
    const char *text, *sentence;
} bad[] = {
    {"", "--workers has an empty part"},
    {"0", "--workers 0 leaves nobody to work"},
    {"cpu=0", "--workers cpu=0 leaves nobody to work"},
    {"cpu=0,device=none", "leaves nobody to work"},
    {"no", "--workers cannot be 'no'"},
    {"1.5", "--workers cannot be '1.5'"},
    {"-1", "--workers cannot be '-1'"},
    {"cpu=", "--workers cannot be ''"},
    {"cpu=99999", "--workers is out of range: 99999 CPU workers"},
    {"99999999999999999999", "--workers is out of range"},
    {"cpu=1,cpu=2", "given twice"},
    {"1,2", "given twice"},
    {"cpu=1,", "empty part"},
    {"device=", "'' cannot be the name of a device"},
    {"device=a b", "'a b' cannot be the name of a device"},
    {"device=../x", "'../x' cannot be the name of a device"},
    {"device=pocl-0:", "tasks in flight on device pocl-0 cannot be ''"},
    {"device=pocl-0:0", "tasks in flight on device pocl-0 cannot be '0'"},
    {"device=pocl-0:9", "tasks in flight on device pocl-0 cannot be '9'\n  hint: 1 .. 8"},
    {"device=pocl-0:1:2", "tasks in flight on device pocl-0 cannot be '1:2'"},
    {"device=none:2", "device=none has no tasks in flight"},
    {"device=none,pocl-0", "device=none and other devices"},
    {"device=pocl-0,pocl-0:2", "device pocl-0 is named twice"},
    {"gpu=2", "--workers cannot be 'gpu=2'"},
    {"pocl-0", "did you mean device=...?"},
    {"cpu=1,pocl-0", "did you mean device=...?"},
    {"device=a-name-of-more-than-thirty-one-bytes", "cannot be the name of a device"},
};

static void test_mistakes_get_a_sentence(void **state)
{
    char text[4096], ones[200];
    for (size_t i = 0; i < MR__COUNT(bad); i++) {
        mr__worker_spec spec = {.cpus = 77};
        mr__error error = {.text = ""};
        assert_int_equal(mr__worker_spec_parse(bad[i].text, &spec, &error), MR_BAD_USAGE);
        if (strstr(error.text, bad[i].sentence) == NULL)
            fail_msg("'%s': %s", bad[i].text, error.text);
        assert_int_equal(spec.cpus, 77);
    }
    strcpy(text, "device=d0");
    for (int d = 1; d <= MR__SPEC_DEVICES; d++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",d%d", d);
    mr__worker_spec spec;
    mr__error error = {.text = ""};
    assert_int_equal(mr__worker_spec_parse(text, &spec, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "more than 32 devices"));
    mr__error_clear(&error);
    memset(ones, '1', sizeof ones - 1);
    ones[sizeof ones - 1] = '\0';
    assert_int_equal(mr__worker_spec_parse(ones, &spec, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "too long"));
}

static const struct {
    const char *text;
    const mr__device_list *list;
    const char *sentence;       /* NULL: it is no mistake */
} lookups[] = {
    {"device=intel-0", &three, "there is no device intel-0\n  hint: there are pocl-0, pocl-1, nvidia-0"},
    {"device=pocl-0,intel-0", &three, "there is no device intel-0"},
    {"device=accelerator", &three, "no device here is of type accelerator"},
    {"device=pocl-0", &empty, "there is no device pocl-0: no OpenCL platform is installed"},
    {"device=gpu", &empty, "there is no device gpu: no OpenCL platform is installed"},
    {"cpu=0,device=all", &empty, NULL},
    {"device=none", &empty, NULL},
};

static void test_devices_that_are_not_there_are_named_with_those_that_are(void **state)
{
    for (size_t i = 0; i < MR__COUNT(lookups); i++) {
        mr__worker_spec spec;
        mr__worker_device found[MR__DEVICES_MOST];
        mr__error error = {.text = ""};
        uint32_t count = 99;
        const bool fine = lookups[i].sentence == NULL;
        assert_int_equal(mr__worker_spec_parse(lookups[i].text, &spec, NULL), MR_OK);
        assert_int_equal(mr__worker_spec_match(&spec, lookups[i].list, found, &count, &error),
                         fine ? MR_OK : MR_BAD_USAGE);
        assert_int_equal(count, fine ? 0 : 99);
        if (!fine && strstr(error.text, lookups[i].sentence) == NULL)
            fail_msg("'%s': %s", lookups[i].text, error.text);
    }
}

/* What one of several ranks does. */
static void test_what_is_there_is_picked_although_something_is_missing(void **state)
{
    static const struct {
        const char *text;
        const mr__device_list *list;
        const char *missing, *first;    /* NULL: none */
        uint32_t count;
    } picks[] = {
        {"device=intel-0,pocl-1,gpu", &three, "intel-0", "pocl-1", 2},
        {"device=all,accelerator", &three, "accelerator", "pocl-0", 3},
        {"device=gpu", &three, NULL, "nvidia-0", 1},
        {"device=intel-0", &three, "intel-0", NULL, 0},
        {"device=gpu", &empty, "gpu", NULL, 0},
        {"device=all", &empty, NULL, NULL, 0},
    };
    for (size_t i = 0; i < MR__COUNT(picks); i++) {
        mr__worker_spec spec;
        mr__worker_device found[MR__DEVICES_MOST];
        assert_int_equal(mr__worker_spec_parse(picks[i].text, &spec, NULL), MR_OK);
        const char *missing = mr__worker_spec_missing(&spec, picks[i].list);
        assert_string_equal(missing != NULL ? missing : "", picks[i].missing != NULL ? picks[i].missing : "");
        assert_int_equal(mr__worker_spec_pick(&spec, picks[i].list, found), picks[i].count);
        if (picks[i].first != NULL)
            assert_string_equal(found[0].device->id, picks[i].first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_specifications_mean_what_they_say),
        cmocka_unit_test(test_mistakes_get_a_sentence),
        cmocka_unit_test(test_devices_that_are_not_there_are_named_with_those_that_are),
        cmocka_unit_test(test_what_is_there_is_picked_although_something_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
