/* Numbers as text. Oracle: strtod() in the C locale, and the texts that people would write. Without
 * localedef, which makes a locale with a decimal comma, its case is skipped. */
#include "cmocka_all.h"

#include <ftw.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "comma_locale.h"
#include "number.h"

static char folder[] = "/tmp/millrace-locale-XXXXXX";

static void whole_numbers_and_fractions_are_as_short_as_they_can_be(void **state)
{
    static const struct { double number; const char *text; } cases[] = {
        {0, "0"}, {-0.0, "-0"}, {1, "1"}, {-17, "-17"}, {0.1, "0.1"}, {-2.5, "-2.5"}, {1.0 / 3, "0.3333333333333333"},
        {0.1 + 0.2, "0.30000000000000004"}, {999999999999999, "999999999999999"}, {1e15, "1e+15"},
        {123456789012345680.0, "1.2345678901234568e+17"}, {1e300, "1e+300"}, {5e-324, "4.94065645841247e-324"},
        {INFINITY, "inf"}, {-INFINITY, "-inf"}, {NAN, "nan"}, {-NAN, "nan"}};
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        char text[MR__F64_ROOM];
        assert_int_equal(mr__format_f64(cases[c].number, text), strlen(cases[c].text));
        assert_string_equal(text, cases[c].text);
    }
}

static void every_number_reads_back_as_the_same_bits(void **state)
{
    uint64_t bits = 1;
    for (int i = 0; i < 100000; i++) {
        char text[MR__F64_ROOM];
        double number, back;
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        const size_t size = mr__format_f64(number, text);
        assert_in_range(size, 1, MR__F64_ROOM - 1);
        back = strtod(text, NULL);
        assert_memory_equal(&back, &number, sizeof number);
    }
}

static void a_comma_in_the_hosts_locale_changes_nothing(void **state)
{
    char text[MR__F64_ROOM];
    if (!comma_locale_begin(folder)) {
        print_message("skipped: localedef made no locale with a decimal comma\n");
        skip();
    }
    snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5");               /* the locale is in force */
    mr__format_f64(0.5, text);
    assert_string_equal(text, "0.5");
    const locale_t before = mr__numbers_begin();
    snprintf(text, sizeof text, "%.3f", 1234.5);
    assert_string_equal(text, "1234.500");
    mr__numbers_end(before);
    snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5");               /* and again */
    setlocale(LC_NUMERIC, "C");
}

static int make_folder(void **state)
{
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    return remove(path);
}

static int remove_folder(void **state)
{
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_and_fractions_are_as_short_as_they_can_be),
        cmocka_unit_test(every_number_reads_back_as_the_same_bits),
        cmocka_unit_test(a_comma_in_the_hosts_locale_changes_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
