/* patterns_scalar.c: no filter; the test at each position. */
#include "patterns.h"

size_t mr__patterns_scalar(const void *blob, const uint8_t *data, size_t size, size_t *position, mr_match *matches,
                           size_t max)
{
    const mr__patterns *patterns = blob;
    size_t count = 0;
    for (size_t at = *position; at < size; at++)
        if (mr__pattern_possible(patterns, data + at) &&
            !mr__patterns_confirm(patterns, data, size, at, matches, &count, max)) {
            *position = at;
            return count;
        }
    *position = size > *position ? size : *position;
    return count;
}
