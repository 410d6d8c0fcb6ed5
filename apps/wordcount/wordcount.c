/* wordcount.c: how often each word of a text occurs. */
#include <millrace/millrace.h>

#include "wordcount.h"

extern const char wordcount_cl[];

static const mr_param wordcount_params[] = {
    MR_PARAM_CHOICE_FIELD(struct wordcount_params, split, "space", "space|letters",
                          "words are runs of anything but blanks, or runs of A-Z and a-z"),
    MR_PARAM_CHOICE_FIELD(struct wordcount_params, fold, "0", "0|1", "1: count A-Z as a-z"),
};

static mr_status wordcount_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct wordcount_params *p = params;
    mr_block folded;
    if (p->fold) {
        if (mr_fold_block(block, out, &folded) != MR_OK)
            return out->status;
        block = &folded;
    }
    mr_text_words_split(block, word, (mr_split_on)p->split)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(wordcount) {
    .summary = "Count the words of a text",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .params = wordcount_params, .param_count = 2, .params_size = sizeof(struct wordcount_params),
    .map = wordcount_map,
    .kernel = wordcount_cl,
};
