/* inverted_index.cl: the words of a file; the engine puts the file's number behind each key, as the app declares. */
#include <millrace/text_opencl.h>

#include "inverted_index.h"

MR_TEXT_KERNEL(inverted_index, struct index_params)
{
    mr_fold(text, params->fold);
    mr_each_word(text, word, params->split)
        mr_emit(out, word, 1);
}
