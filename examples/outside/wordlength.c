/* wordlength.c: how many words of a text have 1, 2, 3, ... bytes. An app outside of Millrace's tree. */
#include <millrace/millrace.h>

static mr_status wordlength_map(const mr_block *block, mr_emitter *out, const void *params)
{
    (void)params;
    mr_text_words(block, word)
        mr_emit_u64(out, word.size, NULL);
    return MR_OK;
}

MR_APP(wordlength) {
    .summary = "Count words by their length",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_U64, .value = MR_U64, .combine = MR_COUNT,
    .map = wordlength_map,
    .sort = MR_SORT_KEY,
};
