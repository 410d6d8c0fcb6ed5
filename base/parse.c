/* parse.c: numbers and sizes as people write them.
 *   [-] digits [. digits] [e exponent] [K|M|G|T [iB]]
 * An integer is kept as  digits * 10^exponent * 2^shift  in 128 bits until the end, so that "1.5G" and "1e9" are exact
 * and "0.3" is seen to be no whole number. */
#include "parse.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXPONENT_MAX = 1000 };   /* beyond it every value is zero or out of range */

typedef struct decimal {
    uint64_t digits;
    int exponent;               /* of ten */
    unsigned shift;             /* of two */
} decimal;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static mr__parsed read_decimal(const char *text, decimal *out)
{
    decimal number = {0};
    bool any = false, point = false;
    for (; is_digit(*text) || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        any = true;
        number.exponent -= point;
        if (__builtin_mul_overflow(number.digits, 10u, &number.digits) ||
            __builtin_add_overflow(number.digits, (uint64_t)(*text - '0'), &number.digits))
            return MR__PARSE_RANGE;
    }
    if (!any)
        return MR__PARSE_SYNTAX;
    if (*text == 'e' || *text == 'E') {
        const bool negative = *++text == '-';
        int exponent = 0;
        text += *text == '-' || *text == '+';
        if (!is_digit(*text))
            return MR__PARSE_SYNTAX;
        for (; is_digit(*text); text++)
            exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*text - '0') : exponent;
        number.exponent += negative ? -exponent : exponent;
    }
    static const char suffixes[] = "KMGT";
    const char *suffix = *text != '\0' ? strchr(suffixes, toupper((unsigned char)*text)) : NULL;
    if (suffix != NULL) {
        number.shift = 10u * (unsigned)(suffix - suffixes + 1);
        text++;
        text += strncmp(text, "iB", 2) == 0 ? 2 : 0;
    }
    *out = number;
    return *text == '\0' ? MR__PARSED : MR__PARSE_SYNTAX;
}

static mr__parsed parse_magnitude(const char *text, bool round_down, uint64_t *value)
{
    decimal number;
    const mr__parsed parsed = read_decimal(text, &number);
    if (parsed != MR__PARSED)
        return parsed;
    unsigned __int128 result = (unsigned __int128)number.digits << number.shift;
    bool whole = true;
    for (; number.exponent > 0 && result != 0 && result <= UINT64_MAX; number.exponent--)
        result *= 10;
    for (; number.exponent < 0 && result != 0; number.exponent++) {
        whole = whole && result % 10 == 0;
        result /= 10;
    }
    if (result > UINT64_MAX)
        return MR__PARSE_RANGE;
    if (!whole && !round_down)
        return MR__PARSE_SYNTAX;
    *value = (uint64_t)result;
    return MR__PARSED;
}

mr__parsed mr__parse_u64(const char *text, uint64_t *value)
{
    return parse_magnitude(text, false, value);
}

mr__parsed mr__parse_size(const char *text, uint64_t *value)
{
    return parse_magnitude(text, true, value);
}

mr__parsed mr__parse_i64(const char *text, int64_t *value)
{
    const bool negative = *text == '-';
    uint64_t magnitude;
    const mr__parsed parsed = parse_magnitude(text + negative, false, &magnitude);
    if (parsed != MR__PARSED)
        return parsed;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return MR__PARSE_RANGE;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return MR__PARSED;
}

mr__parsed mr__parse_f64(const char *text, double *value)
{
    /* strtod() takes more than a number here: blanks before it, "nan", "inf", hexadecimal */
    if (strspn(text, "+-.0123456789eE") != strlen(text) || *text == '\0')
        return MR__PARSE_SYNTAX;
    const locale_t neutral = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (neutral == (locale_t)0)
        return MR__PARSE_SYNTAX;
    char *end;
    const double number = strtod_l(text, &end, neutral);
    freelocale(neutral);
    if (*end != '\0' || end == text)
        return MR__PARSE_SYNTAX;
    if (!isfinite(number))
        return MR__PARSE_RANGE;
    *value = number;
    return MR__PARSED;
}

bool mr__parse_is_name(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const bool letter = (text[i] | 32) >= 'a' && (text[i] | 32) <= 'z';
        if (!letter && text[i] != '_' && !(i > 0 && is_digit(text[i])))
            return false;
    }
    return size > 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t mr__parse_distance(const char *a, const char *b, uint32_t limit)
{
    enum { WORD_MAX = 64 };
    const size_t a_size = strlen(a), b_size = strlen(b);
    uint32_t rows[3][WORD_MAX + 1];     /* of a's prefixes of i, i - 1 and i - 2 characters, in turn */
    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return limit;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (uint32_t)j;
    for (size_t i = 1; i <= a_size; i++) {
        uint32_t *row = rows[i % 3];
        const uint32_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(1 + least(above[j], row[j - 1]), above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return least(rows[a_size % 3][b_size], limit);
}
