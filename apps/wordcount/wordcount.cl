/* wordcount.cl: the map of wordcount.c on a device. */
#include <millrace/text_opencl.h>

#include "wordcount.h"

MR_TEXT_KERNEL(wordcount, struct wordcount_params)
{
    mr_fold(text, params->fold);
    mr_each_word(text, word, params->split)
        mr_emit(out, word, 1);
}
