/* top_k.c: the k most frequent words of a text, the most frequent first; equally frequent ones in byte order. It is
 * wordcount with another end: plan() asks for the first k pairs of the result sorted by value. */
#include <millrace/millrace.h>

#include "top_k.h"

extern const char top_k_cl[];

static const mr_param top_k_params[] = {
    MR_PARAM_U64_FIELD(struct top_k_params, k, "10", 1, 1e9, "how many words to keep"),
    MR_PARAM_CHOICE_FIELD(struct top_k_params, split, "space", "space|letters",
                          "words are runs of anything but blanks, or runs of A-Z and a-z"),
    MR_PARAM_CHOICE_FIELD(struct top_k_params, fold, "0", "0|1", "1: count A-Z as a-z"),
};

static mr_status top_k_plan(mr_plan *plan)
{
    const struct top_k_params *p = plan->params;
    plan->sort = MR_SORT_VALUE;
    plan->limit = p->k;
    return MR_OK;
}

static mr_status top_k_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct top_k_params *p = params;
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

MR_APP(top_k) {
    .summary = "List the k most frequent words of a text",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .params = top_k_params, .param_count = 3, .params_size = sizeof(struct top_k_params),
    .plan = top_k_plan, .map = top_k_map,
    .kernel = top_k_cl,
};
