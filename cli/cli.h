/* cli.h: a sub-command as data: what --help, the parser, the man page test and main() need to know of it.
 * Promise   main() has parsed the options into `settings` (settings_size bytes, presets in it) before run() is called.
 * Failure   run() returns a status and fills the error's sentence; main() prints it and turns it into an exit code. */
#ifndef MR__CLI_H
#define MR__CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

typedef enum cli_kind {
    CLI_SWITCH,             /* bool */
    CLI_TEXT,               /* const char *, borrowed from argv */
    CLI_SIZE,               /* uint64_t, bytes */
    CLI_COUNT,              /* uint64_t */
    CLI_NUMBER,             /* double */
    CLI_CHOICE              /* uint32_t: index into `argument`, "a|b|c" */
} cli_kind;

typedef struct cli_option {
    const char *name;       /* without the dashes */
    char letter;            /* 0: none */
    cli_kind kind;
    size_t offset;          /* of the field in the command's settings */
    const char *argument;   /* how --help calls the value */
    const char *help;
    double min, max;        /* of counts, sizes and numbers; both 0: any */
} cli_option;

typedef struct cli_operands {
    char **text;
    size_t count;
} cli_operands;

typedef struct cli_command {
    const char *name, *summary, *usage;
    const char *details;    /* paragraphs of --help below the options */
    const cli_option *options;
    size_t option_count;
    size_t settings_size;
    const void *presets;    /* settings_size bytes; NULL: zeros */
    mr_status (*run)(const void *settings, const cli_operands *operands, mr__error *error);
} cli_command;

extern const cli_command cli_run, cli_apps, cli_devices, cli_explain, cli_generate, cli_history, cli_sbatch,
    cli_trace;

/* Parses argv[0 .. count): options into settings, the rest into operands (room for `count`). *help: --help was there,
 * and nothing else matters. */
mr_status cli_parse(const cli_command *command, char **argv, size_t count, void *settings, cli_operands *operands,
                    bool *help, mr__error *error);
void cli_print_help(const cli_command *command);
/* For a command that had others do its work: main() ends with their status, and prints nothing more. */
void cli_end_with(int exit_status);

#endif
