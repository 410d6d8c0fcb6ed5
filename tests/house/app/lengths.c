/* lengths.c: how many words of each length a text has. */
#include <millrace/millrace.h>

static mr_status lengths_map(const mr_block *block, mr_emitter *out, const void *params)
{
    (void)params;
    mr_text_words(block, word)
        mr_emit_u32(out, (uint32_t)word.size, NULL);
    return out->status;
}

MR_APP(lengths) {
    .summary = "Count the words of each length",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_U32, .value = MR_U64, .combine = MR_COUNT,
    .map = lengths_map,
};
