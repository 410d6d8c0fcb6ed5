/* main.c: finds the sub-command, and says what went wrong in one form:
 *     millrace: SENTENCE
 *       hint: WHAT TO DO
 * With --json or -j among the arguments a failure is one JSON object on standard output as well, even if it is the
 * arguments that are wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <millrace/millrace.h>

#include "cli.h"
#include "parse.h"
#include "rank.h"
#include "show.h"

enum { NEAR = 3 };

static const cli_command *const commands[] = {&cli_run, &cli_sbatch, &cli_explain, &cli_apps, &cli_devices,
                                              &cli_generate, &cli_history, &cli_trace};

static int others_status;       /* what cli_end_with() was told */

void cli_end_with(int exit_status)
{
    others_status = exit_status;
}

static void print_overview(FILE *to)
{
    fprintf(to, "usage: millrace COMMAND [ARGUMENT...]\n\nMapReduce on every core of a machine, or of many.\n\n");
    for (size_t i = 0; i < MR__COUNT(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\nmillrace COMMAND --help tells more about one; so does man millrace-COMMAND.\n");
}

static const cli_command *find_command(const char *name, mr__error *error)
{
    for (size_t i = 0; i < MR__COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    for (size_t i = 0; i < MR__COUNT(commands); i++) {
        if (mr__parse_distance(name, commands[i]->name, NEAR) < NEAR) {
            mr__fail(error, MR_BAD_USAGE, "there is no command '%.60s'\n  hint: did you mean %s?", name,
                     commands[i]->name);
            return NULL;
        }
    }
    mr__fail(error, MR_BAD_USAGE, "there is no command '%.60s'\n  hint: millrace --help lists them", name);
    return NULL;
}

static mr_status run_command(const cli_command *command, char **argv, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    bool help;
    cli_operands operands = {.text = calloc(count + 1, sizeof *operands.text)};
    void *settings = calloc(1, command->settings_size + 1);
    MR_CHECK(operands.text != NULL && settings != NULL, MR_NO_MEMORY, "no memory to start");
    if (command->presets != NULL)
        memcpy(settings, command->presets, command->settings_size);
    MR_TRY(cli_parse(command, argv, count, settings, &operands, &help, error));
    if (help)
        cli_print_help(command);
    else
        status = command->run(settings, &operands, error);
done:
    free(settings);
    free(operands.text);
    return status;
}

static mr_status dispatch(int argc, char **argv, mr__error *error)
{
    const char *first = argc > 1 ? argv[1] : "";
    const bool asks_help = strcmp(first, "help") == 0;
    if (argc == 1) {
        print_overview(stderr);
        return mr__fail(error, MR_BAD_USAGE, "no command given");
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        printf("millrace %s\n", mr_version());
        return MR_OK;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || (asks_help && argc == 2)) {
        print_overview(stdout);
        return MR_OK;
    }
    const cli_command *command = find_command(asks_help ? argv[2] : first, error);
    if (command == NULL)
        return MR_BAD_USAGE;
    if (asks_help) {
        cli_print_help(command);
        return MR_OK;
    }
    return run_command(command, argv + 2, (size_t)argc - 2, error);
}

static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
            return true;
    }
    return false;
}

static void print_failure(mr_status status, const mr__error *error, bool json)
{
    const char *text = error->text[0] != '\0' ? error->text : mr_status_meaning(status);
    fprintf(stderr, "millrace: %s\n", text);
    char *object = json ? cli_json_failure(status, text) : NULL;
    if (object != NULL)
        fputs(object, stdout);
    free(object);
}

/* The next files that are opened would take the places of those that the caller has closed: words for the terminal
 * would land in them, and one would be read as the input. What takes the places here cannot be used in their stead:
 * reading and writing results fails as it did; what is said to nobody is lost. */
static void fill_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
}

int main(int argc, char **argv)
{
    mr__error error = {.code = MR_OK};
    /* hwloc's plugins (X11, OpenCL, libxml2 and ICU) say nothing that is asked here, and take a third of the start. */
    setenv("HWLOC_PLUGINS_PATH", "/nonexistent", 0);
    fill_standard_files();
    cli_rank_begin();
    mr_status status = dispatch(argc, argv, &error);
    if (status == MR_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = mr__fail(&error, MR_IO_FAILED, "could not write to standard output");
    if (status != MR_OK && cli_rank_speaks())
        print_failure(status, &error, wants_json(argc, argv));
    else if (status != MR_OK)
        cli_rank_whisper(error.text);
    const int exit_status = status != MR_OK ? mr_status_exit(status) : others_status;
    fflush(stdout);
    if (argc > 1 && strcmp(argv[1], cli_run.name) == 0)     /* other commands of a script have no say */
        cli_rank_end(exit_status);
    return exit_status;
}
