/* cmd_trace.c: millrace trace: where the trace of a run lies, or a copy of it. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "newfile.h"
#include "run_files.h"

typedef struct settings {
    const char *output;
} settings;

enum { PIECE = 1 << 18 };

static mr_status copy(const char *from, const char *to, mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    static char piece[PIECE];
    ssize_t size;
    const int fd = open(from, O_RDONLY | O_CLOEXEC);
    MR_CHECK(fd >= 0, MR_BAD_INPUT, "could not read the trace %s: %s", from, strerror(errno));
    MR_TRY(mr__newfile_create(to, 0666, &file, error));
    while ((size = read(fd, piece, sizeof piece)) > 0)
        mr__newfile_write(file, piece, (size_t)size);
    MR_CHECK(size == 0, MR_IO_FAILED, "could not read the trace %s: %s", from, strerror(errno));
    status = mr__newfile_commit(file, error);
    file = NULL;
done:
    mr__newfile_drop(file);
    if (fd >= 0)
        close(fd);
    return status;
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    const settings *chosen = given;
    mr_status status = MR_OK;
    json_t *record = NULL;
    MR_CHECK(operands->count == 1, MR_BAD_USAGE,
             "name one run\n  hint: millrace trace last, or one that millrace history lists");
    MR_TRY(cli_record_open(operands->text[0], &record, error));
    const char *path = json_string_value(json_object_get(record, "trace"));
    MR_CHECK(path != NULL, MR_BAD_INPUT, "run %s left no trace: it ended before its first task",
             json_string_value(json_object_get(record, "run")));
    MR_CHECK(access(path, R_OK) == 0, MR_BAD_INPUT, "could not read the trace %s: %s", path, strerror(errno));
    if (chosen->output != NULL)
        MR_TRY(copy(path, chosen->output, error));
    printf("%s\n", chosen->output != NULL ? chosen->output : path);
    fprintf(stderr, "Open it in Perfetto (ui.perfetto.dev, \"Open trace file\"; it stays on this machine) or in\n"
                    "chrome://tracing.\n");
done:
    json_decref(record);
    return status;
}

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, offsetof(settings, output), "FILE", "copy the trace there", 0, 0},
};

const cli_command cli_trace = {
    .name = "trace", .summary = "Show where the trace of a run lies", .usage = "RUN [-o FILE]",
    .details = "RUN is an identifier that `millrace history` lists, the beginning of one, or last.\n"
               "The trace has a line of time for each worker of each rank; Perfetto and chrome://tracing open it.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(settings), .run = run,
};
