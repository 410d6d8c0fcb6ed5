/* string_match.c: how many lines contain each of many patterns, as `grep -c -F` says for one.
 *
 * plan() turns the parameters into one relocatable blob:
 *
 *     [struct match_params][struct match_text of each pattern][the patterns' bytes][compiled set, 64-byte aligned]
 *
 * map() takes the matches of a block in ascending order. For each pattern it remembers where the line of its last
 * match ends: a match before that end is in the same line and does not count again. So the cost follows the matches,
 * and a line is only looked for around one. Keys are dense, the index of the pattern: a pattern that no line contains
 * is reported too. */
#include <inttypes.h>
#include <stdlib.h>

#include <millrace/millrace.h>

#include "string_match.h"

extern const char string_match_cl[];

struct match_text {
    uint64_t offset, size;          /* in the blob */
};

enum { MATCHES = 1024 };

static const mr_param match_params[] = {
    MR_PARAM_TEXT_FIELD(struct match_params, patterns, "", "file of patterns, one a line"),
    MR_PARAM_TEXT_FIELD(struct match_params, pattern, "", "one pattern more"),
};

static mr_slice pattern_text(const struct match_params *p, size_t index)
{
    const struct match_text *text = (const struct match_text *)(p + 1) + index;
    return (mr_slice){(const uint8_t *)p + text->offset, text->size};
}

/* ---- plan -------------------------------------------------------------------------------------------------------- */

/* Takes the next pattern off *rest: up to a \n or the end. */
static bool next_pattern(mr_slice *rest, mr_slice *pattern)
{
    if (rest->size == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '\n', rest->size);
    *pattern = (mr_slice){rest->data, end != NULL ? (size_t)(end - rest->data) : rest->size};
    const size_t taken = pattern->size + (end != NULL);
    *rest = (mr_slice){rest->data + taken, rest->size - taken};
    return true;
}

static mr_status count_patterns(mr_plan *plan, mr_slice file, size_t *count, size_t *bytes)
{
    const struct match_params *p = plan->params;
    *count = *bytes = 0;
    for (mr_slice pattern; next_pattern(&file, &pattern); ++*count, *bytes += pattern.size)
        if (pattern.size == 0)
            return mr_plan_fail(plan, MR_BAD_INPUT, "line %zu of %s is empty, and an empty pattern is in every line; "
                                "remove it", *count + 1, p->patterns);
    if (strchr(p->pattern, '\n') != NULL)
        return mr_plan_fail(plan, MR_BAD_USAGE, "pattern= holds a line break, and no line does; give several patterns "
                            "as patterns=FILE, one a line");
    *count += p->pattern[0] != '\0';
    *bytes += strlen(p->pattern);
    if (*count == 0)
        return mr_plan_fail(plan, MR_BAD_USAGE, "there is no pattern to look for; give patterns=FILE or pattern=TEXT");
    return MR_OK;
}

/* Puts the texts of the patterns into the blob: those of the file, then the single one. */
static void store_texts(struct match_params *p, mr_slice file)
{
    struct match_text *text = (struct match_text *)(p + 1);
    size_t offset = sizeof *p + p->count * sizeof *text;
    mr_slice pattern, single = {(const uint8_t *)p->pattern, strlen(p->pattern)};
    while (next_pattern(&file, &pattern) || next_pattern(&single, &pattern)) {
        memcpy((uint8_t *)p + offset, pattern.data, pattern.size);
        *text++ = (struct match_text){offset, pattern.size};
        offset += pattern.size;
    }
}

static mr_status match_plan(mr_plan *plan)
{
    struct match_params *p = plan->params;
    mr_status status = MR_OK;
    mr_slice file = {NULL, 0}, *texts = NULL;
    size_t count, bytes;
    if (p->patterns[0] != '\0' && (status = mr_plan_read_file(plan, p->patterns, &file)) != MR_OK)
        return status;
    if ((status = count_patterns(plan, file, &count, &bytes)) != MR_OK)
        return status;
    const size_t compiled = (sizeof *p + count * sizeof(struct match_text) + bytes + 63) & ~(size_t)63;
    texts = calloc(count, sizeof *texts);
    p = mr_plan_resize(plan, compiled);
    if (texts == NULL || p == NULL)
        goto no_memory;
    p->count = plan->dense_keys = count;
    p->compiled = compiled;
    store_texts(p, file);
    for (size_t i = 0; i < count; i++)
        texts[i] = pattern_text(p, i);
    if ((p = mr_plan_resize(plan, compiled + mr_patterns_size(texts, count))) == NULL)
        goto no_memory;
    for (size_t i = 0; i < count; i++)
        texts[i] = pattern_text(p, i);      /* the blob may have moved */
    mr_patterns_compile(texts, count, (uint8_t *)p + compiled);
    free(texts);
    return MR_OK;
no_memory:
    free(texts);
    return mr_plan_fail(plan, MR_NO_MEMORY, "no memory for %zu patterns of together %zu bytes", count, bytes);
}

/* ---- map and finish ---------------------------------------------------------------------------------------------- */

static mr_status match_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct match_params *p = params;
    if (block->size > UINT32_MAX)       /* one line: offsets of matches have 32 bits */
        return MR_BAD_INPUT;
    const void *compiled = (const uint8_t *)params + p->compiled;
    const size_t room = p->count > MATCHES ? p->count : MATCHES;
    const size_t ends_bytes = (p->count * sizeof(uint32_t) + 63) & ~(size_t)63;
    uint32_t *counted_to = mr_scratch(out, ends_bytes + room * sizeof(mr_match));   /* per pattern: end of a line */
    if (counted_to == NULL)
        return out->status;
    mr_match *matches = (mr_match *)((uint8_t *)counted_to + ends_bytes);
    memset(counted_to, 0, ends_bytes);
    uint32_t line_end = 0;              /* of the line of the last match; just behind its \n */
    size_t position = 0;
    for (size_t found; (found = mr_patterns_find(compiled, block->data, block->size, &position, matches, room)) > 0;)
        for (size_t i = 0; i < found; i++) {
            const mr_match match = matches[i];
            if (match.offset < counted_to[match.pattern])
                continue;
            if (match.offset >= line_end) {
                const uint8_t *end = memchr(block->data + match.offset, '\n', block->size - match.offset);
                line_end = end != NULL ? (uint32_t)(end - block->data) + 1 : (uint32_t)block->size;
            }
            counted_to[match.pattern] = line_end;
            mr_add_dense_u64(out, match.pattern, 1);
        }
    return MR_OK;
}

static mr_status match_finish(const mr_round *round, mr_writer *out)
{
    const struct match_params *p = round->params;
    const uint64_t *lines = round->dense;
    mr_status status = MR_OK;
    for (size_t i = 0; i < p->count && status == MR_OK; i++) {
        const mr_slice text = pattern_text(p, i);
        mr_write(out, text.data, text.size);
        status = mr_writef(out, "\t%" PRIu64 "\n", lines[i]);
    }
    return status;
}

MR_APP(string_match) {
    .summary = "Count the lines that contain each of many patterns",
    .input = MR_INPUT_TEXT, .unit = MR_LINES,
    .key = MR_DENSE, .value = MR_U64, .combine = MR_COUNT,
    .params = match_params, .param_count = 2, .params_size = sizeof(struct match_params),
    .plan = match_plan, .map = match_map, .finish = match_finish,
    .kernel = string_match_cl,
};
