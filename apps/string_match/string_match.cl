/* string_match.cl: a line counts for each pattern that it contains: at the first of its matches. */
#include <millrace/text_opencl.h>

#include "string_match.h"

MR_TEXT_KERNEL(string_match, struct match_params)
{
    __global const uchar *set = (__global const uchar *)params + params->compiled;
    mr_each_line(text, line)
        mr_each_match(text, line, set, match)
            if (mr_is_first(text, line, set, match))
                mr_add_dense(out, match.pattern, 1);
}
