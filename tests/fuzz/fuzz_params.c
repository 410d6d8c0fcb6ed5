/* fuzz_params.c: any text as settings of an app: one setting a line.
 * Holds: no setting writes outside the declared fields; what was accepted lies in its range and is accepted again after
 * mr__params_format(); what was refused has a sentence. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "params.h"

enum { SETTINGS_MAX = 64, TEXT_MAX = 4096, GUARD = 0x5a };

typedef struct settings {
    uint8_t before[16];
    uint64_t count;
    int64_t shift;
    double rate;
    uint32_t split;
    char pattern[9];
    uint8_t after[16];
} settings;

static const mr_param params[] = {
    MR_PARAM_U64_FIELD(settings, count, "100", 1, 1e15, "count"),
    MR_PARAM_I64_FIELD(settings, shift, "-5", -1e15, 1e15, "shift"),
    MR_PARAM_F64_FIELD(settings, rate, "0.5", -1e300, 1e300, "rate"),
    MR_PARAM_CHOICE_FIELD(settings, split, "letters", "space|letters|lines", "split"),
    MR_PARAM_TEXT_FIELD(settings, pattern, "", "pattern"),
};
static const mr_app app = {.params = params, .param_count = MR__COUNT(params), .params_size = sizeof(settings)};

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_accepted(const settings *got)
{
    char text[MR__COUNT(params)][64];
    const char *again[MR__COUNT(params)];
    settings copy;
    require(got->count >= 1 && got->count <= 1000000000000000);
    require(got->shift >= -1000000000000000 && got->shift <= 1000000000000000);
    require(got->rate >= -1e300 && got->rate <= 1e300);
    require(got->split < 3 && memchr(got->pattern, '\0', sizeof got->pattern) != NULL);
    for (size_t i = 0; i < MR__COUNT(params); i++) {
        const size_t used = strlen(params[i].name);
        memcpy(text[i], params[i].name, used);
        text[i][used] = '=';
        mr__params_format(&params[i], got, text[i] + used + 1, sizeof text[i] - used - 1);
        again[i] = text[i];
    }
    memset(&copy, GUARD, sizeof copy);
    require(mr__params_parse(&app, "fuzz", again, MR__COUNT(params), &copy, NULL) == MR_OK);
    require(copy.count == got->count && copy.shift == got->shift && copy.rate == got->rate && copy.split == got->split);
    require(strcmp(copy.pattern, got->pattern) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + 1];
    const char *lines[SETTINGS_MAX];
    uint32_t count = 0;
    settings got;
    mr__error error = {.code = MR_OK};
    size = size < TEXT_MAX ? size : TEXT_MAX;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = strtok(text, "\n"); at != NULL && count < SETTINGS_MAX; at = strtok(NULL, "\n"))
        lines[count++] = at;
    memset(&got, GUARD, sizeof got);
    if (mr__params_parse(&app, "fuzz", lines, count, &got, &error) == MR_OK)
        check_accepted(&got);
    else
        require(error.code == MR_BAD_USAGE && error.text[0] != '\0');
    for (size_t i = 0; i < sizeof got.before; i++)
        require(got.before[i] == GUARD && got.after[i] == GUARD);
    return 0;
}
