/* Parameters: what a user may write, what it becomes, and what is said when it is wrong.
 * Oracle: the tables below, worked out by hand from docs/cli.md. */
#include "cmocka_all.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "params.h"
#include "parse.h"

typedef struct settings {
    uint64_t k;
    int64_t shift;
    double rate;
    uint32_t split;
    char pattern[8];
} settings;

static const mr_param params[] = {
    MR_PARAM_U64_FIELD(settings, k, "100", 1, 1e6, "number of centres"),
    MR_PARAM_I64_FIELD(settings, shift, "-5", -10, 10, "shift"),
    MR_PARAM_F64_FIELD(settings, rate, "0.5", 0, 1, "rate"),
    MR_PARAM_CHOICE_FIELD(settings, split, "letters", "space|letters|lines", "what separates words"),
    MR_PARAM_TEXT_FIELD(settings, pattern, "", "what to look for"),
};
static const mr_app app = {.params = params, .param_count = MR__COUNT(params), .params_size = sizeof(settings)};

static mr_status parse(const mr_app *of, const char *const *texts, uint32_t count, settings *out, mr__error *error)
{
    *out = (settings){0};
    *error = (mr__error){.code = MR_OK};
    return mr__params_parse(of, "test", texts, count, out, error);
}

static void test_presets_hold_where_nothing_is_given(void **state)
{
    settings got;
    mr__error error;
    assert_int_equal(parse(&app, NULL, 0, &got, &error), MR_OK);
    assert_int_equal(got.k, 100);
    assert_int_equal(got.shift, -5);
    assert_true(got.rate == 0.5);
    assert_int_equal(got.split, 1);
    assert_string_equal(got.pattern, "");
}

static void test_each_form_of_a_value_is_understood(void **state)
{
    static const struct { const char *setting, *name, *text; } cases[] = {
        {"k=1", "k", "1"}, {"k=1e6", "k", "1000000"}, {"k=64K", "k", "65536"}, {"k=64k", "k", "65536"},
        {"k=1.5K", "k", "1536"}, {"k=100KiB", "k", "102400"}, {"k=2.5e3", "k", "2500"}, {"k=007", "k", "7"},
        {"k=1000000", "k", "1000000"}, {"shift=-10", "shift", "-10"}, {"shift=10", "shift", "10"},
        {"shift=0", "shift", "0"},
        {"rate=0", "rate", "0"}, {"rate=1e-3", "rate", "0.001"}, {"rate=.25", "rate", "0.25"},
        {"rate=0.1", "rate", "0.1"}, {"rate=0.3333333333333333", "rate", "0.3333333333333333"},
        {"split=space", "split", "space"}, {"split=lines", "split", "lines"}, {"pattern=1234567", "pattern", "1234567"},
        {"pattern=a=b", "pattern", "a=b"}, {"pattern=", "pattern", ""},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        settings got;
        mr__error error;
        char text[32] = "?";
        assert_int_equal(parse(&app, &cases[i].setting, 1, &got, &error), MR_OK);
        for (size_t p = 0; p < MR__COUNT(params); p++) {
            if (strcmp(params[p].name, cases[i].name) == 0)
                mr__params_format(&params[p], &got, text, sizeof text);
        }
        assert_string_equal(text, cases[i].text);
    }
}

static void test_the_last_setting_of_a_name_wins(void **state)
{
    const char *const texts[] = {"pattern=longer1", "k=5", "pattern=ab", "k=6"};
    settings got;
    mr__error error;
    assert_int_equal(parse(&app, texts, MR__COUNT(texts), &got, &error), MR_OK);
    assert_int_equal(got.k, 6);
    assert_memory_equal(got.pattern, "ab\0\0\0\0\0", 8);
}

static void test_a_wrong_setting_gets_a_sentence(void **state)
{
    static const struct { const char *setting, *sentence; } cases[] = {
        {"k=0", "parameter k is out of range: '0'\n  hint: the range is 1 .. 1000000"},
        {"k=1000001", "parameter k is out of range: '1000001'\n  hint: the range is 1 .. 1000000"},
        {"k=-3", "parameter k is out of range: '-3'\n  hint: the range is 1 .. 1000000"},
        {"k=99999999999999999999999",
         "parameter k is out of range: '99999999999999999999999'\n  hint: the range is 1 .. 1000000"},
        {"k=1e999", "parameter k is out of range: '1e999'\n  hint: the range is 1 .. 1000000"},
        {"k=", "parameter k is no number: ''\n  hint: give a whole number, such as 100, 64K or 1e6"},
        {"k=ten", "parameter k is no number: 'ten'\n  hint: give a whole number, such as 100, 64K or 1e6"},
        {"k=1.5", "parameter k is no number: '1.5'\n  hint: give a whole number, such as 100, 64K or 1e6"},
        {"k=5 ", "parameter k is no number: '5 '\n  hint: give a whole number, such as 100, 64K or 1e6"},
        {"k=0x10", "parameter k is no number: '0x10'\n  hint: give a whole number, such as 100, 64K or 1e6"},
        {"shift=11", "parameter shift is out of range: '11'\n  hint: the range is -10 .. 10"},
        {"shift=--1", "parameter shift is no number: '--1'\n  hint: give a whole number, such as -3 or 100"},
        {"rate=nan", "parameter rate is no number: 'nan'\n  hint: give a number, such as 0.25"},
        {"rate=1.0001", "parameter rate is out of range: '1.0001'\n  hint: the range is 0 .. 1"},
        {"rate=1e999", "parameter rate is out of range: '1e999'\n  hint: the range is 0 .. 1"},
        {"split=word", "parameter split cannot be 'word'\n  hint: one of space, letters, lines"},
        {"split=", "parameter split cannot be ''\n  hint: one of space, letters, lines"},
        {"pattern=12345678", "parameter pattern is too long: 8 bytes\n  hint: at most 7"},
        {"spilt=space",
         "app test has no parameter 'spilt'\n  hint: did you mean split? It has k, shift, rate, split, pattern"},
        {"zzzzzz=1", "app test has no parameter 'zzzzzz'\n  hint: it has k, shift, rate, split, pattern"},
        {"k", "'k' is no parameter\n  hint: write name=value"},
        {"=5", "'=5' is no parameter\n  hint: write name=value"},
        {"", "'' is no parameter\n  hint: write name=value"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        settings got;
        mr__error error;
        assert_int_equal(parse(&app, &cases[i].setting, 1, &got, &error), MR_BAD_USAGE);
        assert_string_equal(error.text, cases[i].sentence);
    }
}

static void test_an_app_without_parameters_says_so(void **state)
{
    static const mr_app bare = {.summary = "none"};
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__params_parse(&bare, "bare", (const char *[]){"k=1"}, 1, NULL, &error), MR_BAD_USAGE);
    assert_string_equal(error.text, "app bare has no parameters, so no 'k'");
    assert_int_equal(mr__params_parse(&bare, "bare", NULL, 0, NULL, NULL), MR_OK);
}

static void test_a_parameter_without_preset_must_be_given(void **state)
{
    static const mr_param needed[] = {MR_PARAM_U64_FIELD(settings, k, NULL, 1, 10, "number of centres")};
    static const mr_app of = {.params = needed, .param_count = 1, .params_size = sizeof(settings)};
    settings got;
    mr__error error;
    assert_int_equal(parse(&of, NULL, 0, &got, &error), MR_BAD_USAGE);
    assert_string_equal(error.text, "app test needs the parameter k (number of centres)\n  hint: add k=VALUE");
    assert_int_equal(parse(&of, (const char *[]){"k=7"}, 1, &got, &error), MR_OK);
    assert_int_equal(got.k, 7);
}

static void test_a_wrong_descriptor_is_the_apps_fault(void **state)
{
    static const mr_param cases[] = {
        {.name = "k", .type = MR_PARAM_U64, .offset = sizeof(settings) - 4, .size = 8, .preset = "1"},
        {.name = "k", .type = MR_PARAM_U64, .offset = 0xfffffff8u, .size = 8, .preset = "1"},
        {.name = "k", .type = MR_PARAM_U64, .offset = 0, .size = 4, .preset = "1"},
        {.name = "k", .type = MR_PARAM_CHOICE, .offset = 0, .size = 4, .preset = "1"},
        {.name = "k", .type = MR_PARAM_TEXT, .offset = 0, .size = 0, .preset = ""},
        {.name = "k", .type = (mr_param_type)17, .offset = 0, .size = 8, .preset = ""},
        {.name = "2k", .type = MR_PARAM_U64, .offset = 0, .size = 8, .preset = "1"},
        {.name = NULL, .type = MR_PARAM_U64, .offset = 0, .size = 8, .preset = "1"},
        {.name = "k", .type = MR_PARAM_U64, .offset = 0, .size = 8, .preset = "11", .min = 1, .max = 10},
        {.name = "k", .type = MR_PARAM_U64, .offset = 0, .size = 8, .preset = "many"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        const mr_app of = {.params = &cases[i], .param_count = 1, .params_size = sizeof(settings)};
        settings got;
        mr__error error;
        assert_int_equal(parse(&of, NULL, 0, &got, &error), MR_BAD_APP);
        assert_string_not_equal(error.text, "");
    }
}

static void test_integers_are_exact_to_their_last_bit(void **state)
{
    static const struct { const char *text; mr__parsed parsed; uint64_t value; } cases[] = {
        {"18446744073709551615", MR__PARSED, UINT64_MAX}, {"18446744073709551616", MR__PARSE_RANGE, 0},
        {"16777215T", MR__PARSED, UINT64_MAX - ((UINT64_C(1) << 40) - 1)}, {"16777216T", MR__PARSE_RANGE, 0},
        {"9007199254740993", MR__PARSED, 9007199254740993u}, {"1.5G", MR__PARSED, 1610612736},
        {"1e19", MR__PARSED, 10000000000000000000u}, {"2e19", MR__PARSE_RANGE, 0}, {"1e-1", MR__PARSE_SYNTAX, 0},
        {"10e-1", MR__PARSED, 1}, {"0e999999999999", MR__PARSED, 0}, {"1e", MR__PARSE_SYNTAX, 0},
        {".", MR__PARSE_SYNTAX, 0}, {"1.2.3", MR__PARSE_SYNTAX, 0}, {"1KB", MR__PARSE_SYNTAX, 0},
        {"K", MR__PARSE_SYNTAX, 0}, {"+1", MR__PARSE_SYNTAX, 0}, {"1Ki", MR__PARSE_SYNTAX, 0},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        uint64_t value = 0;
        assert_int_equal(mr__parse_u64(cases[i].text, &value), cases[i].parsed);
        assert_true(value == cases[i].value);
    }
    int64_t least = 0;
    assert_int_equal(mr__parse_i64("-9223372036854775808", &least), MR__PARSED);
    assert_true(least == INT64_MIN);
    assert_int_equal(mr__parse_i64("9223372036854775808", &least), MR__PARSE_RANGE);
    uint64_t bytes = 0;
    assert_int_equal(mr__parse_size("0.1G", &bytes), MR__PARSED);
    assert_int_equal(bytes, 107374182);
}

static void test_edit_distance_of_known_words(void **state)
{
    assert_int_equal(mr__parse_distance("kitten", "sitting", 9), 3);
    assert_int_equal(mr__parse_distance("", "abc", 9), 3);
    assert_int_equal(mr__parse_distance("same", "same", 9), 0);
    assert_int_equal(mr__parse_distance("abcdef", "uvwxyz", 3), 3);
    assert_int_equal(mr__parse_distance("spilt", "split", 9), 1);
    assert_int_equal(mr__parse_distance("ca", "abc", 9), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets_hold_where_nothing_is_given),
        cmocka_unit_test(test_each_form_of_a_value_is_understood),
        cmocka_unit_test(test_the_last_setting_of_a_name_wins),
        cmocka_unit_test(test_a_wrong_setting_gets_a_sentence),
        cmocka_unit_test(test_an_app_without_parameters_says_so),
        cmocka_unit_test(test_a_parameter_without_preset_must_be_given),
        cmocka_unit_test(test_a_wrong_descriptor_is_the_apps_fault),
        cmocka_unit_test(test_integers_are_exact_to_their_last_bit),
        cmocka_unit_test(test_edit_distance_of_known_words),
    };
    return cmocka_run_group_tests_name("engine.params", tests, NULL, NULL);
}
