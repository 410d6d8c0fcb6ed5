/* parse.h: numbers and sizes as people write them: "100", "256M", "1.5G", "1e9", "-3", "0.25".
 * Promise   The whole text is the number, or it is none: no blanks around it, nothing behind it. Exact: integers never
 *           pass through a double. Independent of the locale.
 * Units     Suffixes K, M, G, T (either case, optionally followed by iB) are powers of 1024.
 * Threads   Any.
 * Failure   MR__PARSE_SYNTAX or MR__PARSE_RANGE; *value is untouched. The caller words the sentence. */
#ifndef MR__PARSE_H
#define MR__PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mr__parsed {
    MR__PARSED,
    MR__PARSE_SYNTAX,           /* not a number of this kind */
    MR__PARSE_RANGE             /* a number that the type cannot hold */
} mr__parsed;

mr__parsed mr__parse_u64(const char *text, uint64_t *value);
mr__parsed mr__parse_i64(const char *text, int64_t *value);
mr__parsed mr__parse_f64(const char *text, double *value);      /* finite; no suffix */
/* Bytes: like u64, but a fraction of a byte is dropped ("0.1G"). */
mr__parsed mr__parse_size(const char *text, uint64_t *value);

/* Is text[0 .. size) a name: a letter or _, then letters, digits, _? */
bool mr__parse_is_name(const char *text, size_t size);
/* How many typing mistakes apart two words are (a character too many, too few or wrong, two neighbours swapped), at
 * most `limit`: for "did you mean". */
uint32_t mr__parse_distance(const char *a, const char *b, uint32_t limit);

#endif
