/* inverted_index.c: which files a word occurs in, and how often in each.
 *
 *     map      "mill" in source 7            ->  key "mill" 00 00 00 07      the suffix takes no part in grouping
 *     combine  equal keys are counted        ->  "mill" 00 00 00 07 : 3
 *     reduce   all suffixes of "mill", ascending, each with its count
 *                                            ->  mill <TAB> a.txt:5 b.txt:3
 *
 * The source is big-endian so that byte order is numeric order: a word's files come in the order of the dataset without
 * a sort in reduce, and a word that is in every file needs no memory for the list. */
#include <inttypes.h>

#include <millrace/millrace.h>

#include "inverted_index.h"

extern const char inverted_index_cl[];

enum { SOURCE_BYTES = 4, SHORT_WORD = 252 };

static const mr_param index_params[] = {
    MR_PARAM_CHOICE_FIELD(struct index_params, split, "space", "space|letters",
                          "words are runs of anything but blanks, or runs of A-Z and a-z"),
    MR_PARAM_CHOICE_FIELD(struct index_params, fold, "0", "0|1", "1: index A-Z as a-z"),
};

static void copy_word(uint8_t *key, mr_slice word, uint32_t fold)
{
    memcpy(key, word.data, word.size);
    for (size_t i = 0; fold && i < word.size; i++)
        key[i] |= (uint8_t)((uint8_t)(key[i] - 'A') < 26) << 5;
}

static mr_status index_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct index_params *p = params;
    const uint32_t source = __builtin_bswap32(block->source);
    uint8_t buffer[SHORT_WORD + SOURCE_BYTES];
    mr_text_words_split(block, word, (mr_split_on)p->split) {
        uint8_t *key = word.size <= SHORT_WORD ? buffer : mr_scratch(out, word.size + SOURCE_BYTES);
        if (key == NULL)
            return out->status;
        copy_word(key, word, p->fold);
        memcpy(key + word.size, &source, SOURCE_BYTES);
        mr_emit(out, key, word.size + SOURCE_BYTES, NULL);
    }
    return MR_OK;
}

static mr_status index_reduce(mr_slice word, mr_values *values, mr_writer *out, const void *params)
{
    mr_status status = MR_OK;
    const char *gap = "";
    for (mr_slice value; status == MR_OK && mr_values_next(values, &value); gap = " ") {
        uint32_t source;
        uint64_t count;
        memcpy(&source, value.data, SOURCE_BYTES);
        memcpy(&count, value.data + SOURCE_BYTES, sizeof count);
        source = __builtin_bswap32(source);
        status = mr_writef(out, "%s%s:%" PRIu64, gap, mr_values_source_name(values, source), count);
    }
    return status;
}

MR_APP(inverted_index) {
    .summary = "List for each word the files that contain it, with counts",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .key_suffix = SOURCE_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .params = index_params, .param_count = 2, .params_size = sizeof(struct index_params),
    .map = index_map, .reduce = index_reduce,
    .kernel = inverted_index_cl,
};
