/* options.c: options from a table. -o FILE, -oFILE, --output FILE, --output=FILE; "--" ends them; operands may stand
 * between them. The table also makes the help text, so that the two cannot drift apart. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "parse.h"

enum { HELP_COLUMN = 26, NEAR = 3 };

/* ---- values ------------------------------------------------------------------------------------------------------ */

static mr_status set_choice(const cli_option *option, const char *value, uint32_t *field, mr__error *error)
{
    const size_t size = strlen(value);
    const char *at = option->argument;
    for (uint32_t index = 0; at != NULL; index++) {
        const size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, value, size) == 0) {
            *field = index;
            return MR_OK;
        }
        at = at[length] == '|' ? at + length + 1 : NULL;
    }
    return mr__fail(error, MR_BAD_USAGE, "--%s cannot be '%.60s'\n  hint: one of %s", option->name, value,
                    option->argument);
}

static mr_status set_number(const cli_option *option, const char *value, void *field, mr__error *error)
{
    static const char *const kinds[] = {[CLI_SIZE] = "a size in bytes, such as 256M or 1.5G",
                                        [CLI_COUNT] = "a whole number, such as 2 or 1e6",
                                        [CLI_NUMBER] = "a number, such as 1.1"};
    mr_status status = MR_OK;
    union { uint64_t u64; double f64; } number = {0};
    double comparable;
    mr__parsed parsed;
    if (option->kind == CLI_NUMBER) {
        parsed = mr__parse_f64(value, &number.f64);
        comparable = number.f64;
    } else {
        parsed = option->kind == CLI_SIZE ? mr__parse_size(value, &number.u64) : mr__parse_u64(value, &number.u64);
        comparable = (double)number.u64;
    }
    MR_CHECK(parsed != MR__PARSE_SYNTAX, MR_BAD_USAGE, "--%s cannot be '%.60s'\n  hint: give %s", option->name, value,
             kinds[option->kind]);
    MR_CHECK(parsed == MR__PARSED, MR_BAD_USAGE, "--%s is too large: '%.60s'", option->name, value);
    MR_CHECK((option->min == 0 && option->max == 0) || (comparable >= option->min && comparable <= option->max),
             MR_BAD_USAGE, "--%s is out of range: '%.60s'\n  hint: the range is %.10g .. %.10g", option->name, value,
             option->min, option->max);
    memcpy(field, &number, sizeof number);
done:
    return status;
}

static mr_status set(const cli_option *option, const char *value, void *settings, mr__error *error)
{
    void *field = (char *)settings + option->offset;
    switch (option->kind) {
    case CLI_SWITCH:
        *(bool *)field = true;
        return MR_OK;
    case CLI_TEXT:
        *(const char **)field = value;
        return MR_OK;
    case CLI_CHOICE:
        return set_choice(option, value, field, error);
    default:
        return set_number(option, value, field, error);
    }
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

static const cli_option *find_long(const cli_command *command, const char *name, size_t size)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (strlen(command->options[i].name) == size && memcmp(command->options[i].name, name, size) == 0)
            return &command->options[i];
    }
    return NULL;
}

static const cli_option *find_letter(const cli_command *command, char letter)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].letter == letter)
            return &command->options[i];
    }
    return NULL;
}

static mr_status fail_unknown(const cli_command *command, const char *text, mr__error *error)
{
    const size_t size = strcspn(text, "=");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)size, text);
    for (size_t i = 0; i < command->option_count; i++) {
        if (name[0] == '-' && name[1] == '-' && mr__parse_distance(name + 2, command->options[i].name, NEAR) < NEAR)
            return mr__fail(error, MR_BAD_USAGE, "millrace %s has no option %s\n  hint: did you mean --%s?",
                            command->name, name, command->options[i].name);
    }
    return mr__fail(error, MR_BAD_USAGE, "millrace %s has no option %s\n  hint: millrace %s --help lists them",
                    command->name, name, command->name);
}

mr_status cli_parse(const cli_command *command, char **argv, size_t count, void *settings, cli_operands *operands,
                    bool *help, mr__error *error)
{
    mr_status status = MR_OK;
    bool only_operands = false;
    *help = false;
    operands->count = 0;
    for (size_t i = 0; i < count; i++) {
        char *text = argv[i];
        if (only_operands || text[0] != '-' || text[1] == '\0') {
            operands->text[operands->count++] = text;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            *help = true;
            return MR_OK;
        }
        const bool is_long = text[1] == '-';
        const size_t size = is_long ? strcspn(text + 2, "=") : 0;
        const cli_option *option = is_long ? find_long(command, text + 2, size) : find_letter(command, text[1]);
        if (option == NULL)
            return fail_unknown(command, text, error);
        const char *value = is_long ? text + 2 + size : text + 2;
        const bool attached = *value != '\0';
        value += is_long && attached;       /* the '=' */
        if (option->kind == CLI_SWITCH) {
            MR_CHECK(!attached, MR_BAD_USAGE, "%s takes no value", text);
        } else if (!attached) {
            MR_CHECK(i + 1 < count, MR_BAD_USAGE, "%s needs a value\n  hint: %s %s", text, text, option->argument);
            value = argv[++i];
        }
        MR_TRY(set(option, value, settings, error));
    }
done:
    return status;
}

/* ---- help -------------------------------------------------------------------------------------------------------- */

static void print_row(char letter, const char *name, const char *argument, const char *help)
{
    char left[80];
    const int width =
        snprintf(left, sizeof left, "  %c%c%c --%s%s%s", letter != 0 ? '-' : ' ', letter != 0 ? letter : ' ',
                 letter != 0 ? ',' : ' ', name, argument != NULL ? " " : "", argument != NULL ? argument : "");
    if (width < HELP_COLUMN)
        printf("%-*s", HELP_COLUMN, left);
    else
        printf("%s\n%*s", left, HELP_COLUMN, "");
    for (const char *line = help;; line++) {
        const int size = (int)strcspn(line, "\n");
        printf("%.*s\n", size, line);
        line += size;
        if (*line == '\0')
            break;
        printf("%*s", HELP_COLUMN, "");
    }
}

void cli_print_help(const cli_command *command)
{
    printf("usage: millrace %s %s\n\n%s.\n\n", command->name, command->usage, command->summary);
    for (size_t i = 0; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        print_row(option->letter, option->name, option->kind != CLI_SWITCH ? option->argument : NULL, option->help);
    }
    print_row('h', "help", NULL, "print this text");
    if (command->details != NULL)
        printf("\n%s\n", command->details);
}
