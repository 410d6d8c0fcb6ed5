/* params.c: an app's parameters.
 *   presets -> settings in the order given -> what has neither is missing
 * Presets go through the same code as settings: a preset outside its own range is a mistake of the app (MR_BAD_APP)
 * and is found by the first run, not by the user who happens to leave the parameter out. */
#include "params.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "number.h"
#include "parse.h"

enum { LIST_SIZE = 512, NEAR = 3 };

/* ---- lists for sentences ----------------------------------------------------------------------------------------- */

typedef struct list {
    char text[LIST_SIZE];
    size_t used;
} list;

static void list_add(list *out, const char *item, size_t size)
{
    const int n = snprintf(out->text + out->used, sizeof out->text - out->used, "%s%.*s", out->used > 0 ? ", " : "",
                           (int)size, item);
    if (n > 0)
        out->used += (size_t)n < sizeof out->text - out->used ? (size_t)n : sizeof out->text - out->used - 1;
}

static void describe_range(const mr_param *param, char *text, size_t size)
{
    char min[MR__F64_ROOM], max[MR__F64_ROOM];
    mr__format_f64(param->min, min);
    mr__format_f64(param->max, max);
    snprintf(text, size, "%s .. %s", min, max);
}

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

static mr_status check_descriptor(const mr_app *app, const char *app_name, const void *params, mr__error *error)
{
    static const uint32_t sizes[] = {[MR_PARAM_U64] = 8, [MR_PARAM_I64] = 8, [MR_PARAM_F64] = 8, [MR_PARAM_CHOICE] = 4};
    mr_status status = MR_OK;
    MR_CHECK(app->param_count == 0 || (app->params != NULL && params != NULL), MR_BAD_APP,
             "app %s declares parameters but no struct for them", app_name);
    for (uint32_t i = 0; i < app->param_count; i++) {
        const mr_param *param = &app->params[i];
        MR_CHECK(param->name != NULL && mr__parse_is_name(param->name, strlen(param->name)), MR_BAD_APP,
                 "parameter %u of app %s has no proper name", i, app_name);
        MR_CHECK((uint32_t)param->type <= MR_PARAM_TEXT, MR_BAD_APP, "parameter %s of app %s has an unknown type",
                 param->name, app_name);
        const bool fits = param->type == MR_PARAM_TEXT ? param->size > 0 : param->size == sizes[param->type];
        MR_CHECK(fits && (uint64_t)param->offset + param->size <= app->params_size, MR_BAD_APP,
                 "parameter %s of app %s does not fit its field of %u bytes", param->name, app_name, param->size);
        MR_CHECK(param->type != MR_PARAM_CHOICE || param->choices != NULL, MR_BAD_APP,
                 "parameter %s of app %s has no choices", param->name, app_name);
    }
done:
    return status;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static mr_status parse_choice(const mr_param *param, const char *value, void *field, mr__error *error)
{
    list choices = {.text = ""};
    const size_t size = strlen(value);
    const char *at = param->choices;
    for (uint32_t index = 0;; index++) {
        const size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, value, size) == 0) {
            memcpy(field, &index, sizeof index);
            return MR_OK;
        }
        list_add(&choices, at, length);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return mr__fail(error, MR_BAD_USAGE, "parameter %s cannot be '%.60s'\n  hint: one of %s", param->name, value,
                    choices.text);
}

static mr_status parse_number(const mr_param *param, const char *value, void *field, mr__error *error)
{
    static const char *const kinds[] = {"a whole number, such as 100, 64K or 1e6", "a whole number, such as -3 or 100",
                                        "a number, such as 0.25"};
    mr_status status = MR_OK;
    union { uint64_t u64; int64_t i64; double f64; } number = {0};
    char range[2 * MR__F64_ROOM + 8];
    mr__parsed parsed = MR__PARSE_SYNTAX;
    double comparable = 0;
    describe_range(param, range, sizeof range);
    switch (param->type) {
    case MR_PARAM_U64:
        parsed = mr__parse_u64(value, &number.u64);
        comparable = (double)number.u64;
        /* -3 is a number, just none that fits: the range says so better than "no whole number" */
        if (parsed == MR__PARSE_SYNTAX && value[0] == '-' && mr__parse_i64(value, &(int64_t){0}) != MR__PARSE_SYNTAX)
            parsed = MR__PARSE_RANGE;
        break;
    case MR_PARAM_I64:
        parsed = mr__parse_i64(value, &number.i64);
        comparable = (double)number.i64;
        break;
    default:
        parsed = mr__parse_f64(value, &number.f64);
        comparable = number.f64;
        break;
    }
    MR_CHECK(parsed != MR__PARSE_SYNTAX, MR_BAD_USAGE, "parameter %s is no number: '%.60s'\n  hint: give %s",
             param->name, value, kinds[param->type]);
    const bool bounded = param->min != 0 || param->max != 0;
    MR_CHECK(parsed == MR__PARSED || bounded, MR_BAD_USAGE, "parameter %s is too large a number: '%.60s'", param->name,
             value);
    MR_CHECK(parsed == MR__PARSED && (!bounded || (comparable >= param->min && comparable <= param->max)), MR_BAD_USAGE,
             "parameter %s is out of range: '%.60s'\n  hint: the range is %s", param->name, value, range);
    memcpy(field, &number, sizeof number);
done:
    return status;
}

static mr_status parse_value(const mr_param *param, const char *value, void *params, mr__error *error)
{
    mr_status status = MR_OK;
    void *field = (char *)params + param->offset;
    if (param->type == MR_PARAM_CHOICE)
        return parse_choice(param, value, field, error);
    if (param->type != MR_PARAM_TEXT)
        return parse_number(param, value, field, error);
    const size_t size = strlen(value);
    MR_CHECK(size < param->size, MR_BAD_USAGE, "parameter %s is too long: %zu bytes\n  hint: at most %u", param->name,
             size, param->size - 1);
    memset(field, 0, param->size);
    memcpy(field, value, size);
done:
    return status;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static mr_status fail_unknown(const mr_app *app, const char *app_name, const char *name, mr__error *error)
{
    list names = {.text = ""};
    const char *nearest = NULL;
    uint32_t best = NEAR;
    for (uint32_t i = 0; i < app->param_count; i++) {
        const uint32_t distance = mr__parse_distance(name, app->params[i].name, NEAR);
        list_add(&names, app->params[i].name, strlen(app->params[i].name));
        if (distance < best && distance < strlen(app->params[i].name)) {
            best = distance;
            nearest = app->params[i].name;
        }
    }
    if (app->param_count == 0)
        return mr__fail(error, MR_BAD_USAGE, "app %s has no parameters, so no '%.60s'", app_name, name);
    if (nearest == NULL)
        return mr__fail(error, MR_BAD_USAGE, "app %s has no parameter '%.60s'\n  hint: it has %s", app_name, name,
                        names.text);
    return mr__fail(error, MR_BAD_USAGE, "app %s has no parameter '%.60s'\n  hint: did you mean %s? It has %s",
                    app_name, name, nearest, names.text);
}

static mr_status apply_setting(const mr_app *app, const char *app_name, const char *setting, void *params,
                               mr__error *error)
{
    mr_status status = MR_OK;
    const char *equals = strchr(setting, '=');
    MR_CHECK(equals != NULL && mr__parse_is_name(setting, (size_t)(equals - setting)), MR_BAD_USAGE,
             "'%.60s' is no parameter\n  hint: write name=value", setting);
    const size_t size = (size_t)(equals - setting);
    for (uint32_t i = 0; i < app->param_count; i++) {
        if (strlen(app->params[i].name) == size && memcmp(app->params[i].name, setting, size) == 0)
            return parse_value(&app->params[i], equals + 1, params, error);
    }
    char name[LIST_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), setting);
    return fail_unknown(app, app_name, name, error);
done:
    return status;
}

static bool is_given(const char *name, const char *const *settings, uint32_t count)
{
    const size_t size = strlen(name);
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(settings[i], name, size) == 0 && settings[i][size] == '=')
            return true;
    }
    return false;
}

mr_status mr__params_parse(const mr_app *app, const char *app_name, const char *const *settings, uint32_t count,
                           void *params, mr__error *error)
{
    mr_status status = MR_OK;
    mr__error preset_error = {.code = MR_OK};
    MR_TRY(check_descriptor(app, app_name, params, error));
    for (uint32_t i = 0; i < app->param_count; i++) {
        const mr_param *param = &app->params[i];
        if (param->preset != NULL)
            MR_CHECK(parse_value(param, param->preset, params, &preset_error) == MR_OK, MR_BAD_APP,
                     "the preset of app %s is wrong: %s", app_name, preset_error.text);
    }
    for (uint32_t i = 0; i < count; i++)
        MR_TRY(apply_setting(app, app_name, settings[i], params, error));
    for (uint32_t i = 0; i < app->param_count; i++) {
        const mr_param *param = &app->params[i];
        MR_CHECK(param->preset != NULL || is_given(param->name, settings, count), MR_BAD_USAGE,
                 "app %s needs the parameter %s (%s)\n  hint: add %s=VALUE", app_name, param->name,
                 param->help != NULL ? param->help : "no description", param->name);
    }
done:
    return status;
}

const char *mr__params_format(const mr_param *param, const void *params, char *text, size_t size)
{
    const char *field = (const char *)params + param->offset;
    char number[MR__F64_ROOM];
    union { uint64_t u64; int64_t i64; double f64; uint32_t choice; } value;
    switch (param->type) {
    case MR_PARAM_U64:
        memcpy(&value, field, sizeof value.u64);
        snprintf(text, size, "%" PRIu64, value.u64);
        break;
    case MR_PARAM_I64:
        memcpy(&value, field, sizeof value.i64);
        snprintf(text, size, "%" PRId64, value.i64);
        break;
    case MR_PARAM_F64:
        memcpy(&value, field, sizeof value.f64);
        mr__format_f64(value.f64, number);
        snprintf(text, size, "%s", number);
        break;
    case MR_PARAM_CHOICE: {
        memcpy(&value, field, sizeof value.choice);
        const char *at = param->choices;
        for (uint32_t i = 0; i < value.choice && strchr(at, '|') != NULL; i++)
            at = strchr(at, '|') + 1;
        snprintf(text, size, "%.*s", (int)strcspn(at, "|"), at);
        break;
    }
    case MR_PARAM_TEXT:
        snprintf(text, size, "%.*s", (int)strnlen(field, param->size), field);
        break;
    }
    return text;
}
