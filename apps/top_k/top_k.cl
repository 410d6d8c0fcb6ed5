/* top_k.cl: the map of top_k.c on a device. */
#include <millrace/text_opencl.h>

#include "top_k.h"

MR_TEXT_KERNEL(top_k, struct top_k_params)
{
    mr_fold(text, params->fold);
    mr_each_word(text, word, params->split)
        mr_emit(out, word, 1);
}
