/* linelength.c: how many lines of a text have each length. */
#include <millrace/millrace.h>

#include "linelength.h"

extern const char linelength_cl[];

static const mr_param linelength_params[] = {
    MR_PARAM_U64_FIELD(struct linelength_params, least, "0", 0, 255, "count lines from this length on"),
};

static mr_status linelength_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct linelength_params *p = params;
    mr_text_lines(block, line)
        if (line.size >= p->least)
            mr_add_dense_u64(out, line.size < LENGTHS ? line.size : LENGTHS - 1, 1);
    return MR_OK;
}

MR_APP(linelength) {
    .summary = "Count the lines of each length",
    .input = MR_INPUT_TEXT, .unit = MR_LINES,
    .key = MR_DENSE, .dense_keys = LENGTHS, .value = MR_U64, .combine = MR_COUNT,
    .params = linelength_params, .param_count = 1, .params_size = sizeof(struct linelength_params),
    .map = linelength_map, .kernel = linelength_cl,
};
