/* cmd_generate.c: millrace generate: data by seed, to a file that appears when it is whole, or to standard output. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "fault.h"
#include "generator.h"
#include "memory.h"
#include "newfile.h"
#include "stop_signals.h"

enum { PIECE = 1 << 20 };

static const cli_generator *const generators[] = {&cli_gen_zipf, &cli_gen_records, &cli_gen_points, &cli_gen_edges};

static volatile sig_atomic_t cancelled;

static void on_signal(int number)
{
    cancelled = 1;
}

static void catch_signals(void)
{
    int numbers[CLI_STOP_SIGNALS];
    const size_t count = cli_stop_signals(numbers);
    for (size_t i = 0; i < count; i++)
        signal(numbers[i], on_signal);
}

static mr_status write_out(const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    while (size > 0) {
        const ssize_t n = mr__fault(MR__FAULT_WRITE) ? (errno = EIO, -1) : write(STDOUT_FILENO, bytes, size);
        MR_CHECK(n >= 0 || errno == EINTR, mr__status_of_errno(errno, MR_IO_FAILED),
                 "could not write to standard output: %s%s", strerror(errno), mr__errno_hint(errno));
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
done:
    return status;
}

/* text: the last byte ends the last line. */
static mr_status stream(const cli_generator *generator, void *state, uint64_t size, size_t row, bool text,
                        mr__newfile *file, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t piece = row < PIECE ? PIECE / row * row : row;
    uint8_t *buffer = mr__alloc(piece);
    MR_CHECK(buffer != NULL, MR_NO_MEMORY, "no memory for a buffer of %zu bytes", piece);
    while (size > 0) {
        const size_t n = size < piece ? (size_t)size : piece;
        MR_CHECK(!cancelled, MR_CANCELLED, "cancelled; nothing was written");
        generator->fill(state, buffer, n);
        size -= n;
        if (text && size == 0)
            buffer[n - 1] = '\n';
        if (file == NULL)
            MR_TRY(write_out(buffer, n, error));
        else if (mr__newfile_write(file, buffer, n) != MR_OK)
            break;                      /* commit() says why */
    }
done:
    mr__free(buffer);
    return status;
}

static mr_status find_generator(const cli_operands *operands, const cli_generator **generator, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(operands->count == 1, MR_BAD_USAGE, "name one kind of data\n  hint: zipf, records, points or edges");
    for (size_t i = 0; i < MR__COUNT(generators); i++) {
        if (strcmp(generators[i]->name, operands->text[0]) == 0) {
            *generator = generators[i];
            return MR_OK;
        }
    }
    MR_CHECK(false, MR_BAD_USAGE, "there is no data of kind '%.60s'\n  hint: zipf, records, points or edges",
             operands->text[0]);
done:
    return status;
}

static mr_status check_fits(const cli_generate_settings *chosen, const cli_generator *generator, mr__error *error)
{
    const struct { bool given; const char *name; const cli_generator *of; } rows[] = {
        {chosen->words != 0, "words", &cli_gen_zipf}, {chosen->exponent != 0, "exponent", &cli_gen_zipf},
        {chosen->dim != 0, "dim", &cli_gen_points}, {chosen->clusters != 0, "clusters", &cli_gen_points},
        {chosen->scale != 0, "scale", &cli_gen_edges}};
    mr_status status = MR_OK;
    for (size_t i = 0; i < MR__COUNT(rows); i++)
        MR_CHECK(!rows[i].given || rows[i].of == generator, MR_BAD_USAGE, "--%s is for %s, not for %s", rows[i].name,
                 rows[i].of->name, generator->name);
    MR_CHECK(chosen->size > 0, MR_BAD_USAGE, "no size is given\n  hint: add --size BYTES, such as --size 1G");
    MR_CHECK(chosen->size >= generator->row(chosen), MR_BAD_USAGE,
             "--size %" PRIu64 " is less than one row of %zu bytes", chosen->size, generator->row(chosen));
    const bool text = generator == &cli_gen_zipf || generator == &cli_gen_records;
    MR_CHECK(chosen->output != NULL || text || !isatty(STDOUT_FILENO), MR_BAD_USAGE,
             "%s are no text for a terminal\n  hint: add -o FILE, or redirect the output", generator->name);
done:
    return status;
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    const cli_generate_settings *chosen = given;
    mr_status status = MR_OK;
    const cli_generator *generator = NULL;
    mr__newfile *file = NULL;
    void *state = NULL;
    MR_CHECK(mr__fault_arm_from_env(), MR_BAD_USAGE,
             "MILLRACE_FAULT is malformed\n  hint: write POINT:NTH, two numbers");
    MR_TRY(find_generator(operands, &generator, error));
    MR_TRY(check_fits(chosen, generator, error));
    signal(SIGXFSZ, SIG_IGN);           /* what is written beyond `ulimit -f` fails */
    if (chosen->output != NULL) {
        catch_signals();                /* before there is something to leave behind */
        MR_TRY(mr__newfile_create(chosen->output, 0666, &file, error));
    }
    MR_TRY(generator->open(chosen, &state, error));
    const size_t row = generator->row(chosen);
    MR_TRY(stream(generator, state, chosen->size / row * row, row, generator == &cli_gen_zipf, file, error));
    status = mr__newfile_commit(file, error);
    file = NULL;
done:
    mr__newfile_drop(file);
    if (generator != NULL)
        generator->close(state);
    return status;
}

static const cli_option options[] = {
    {"size", 's', CLI_SIZE, offsetof(cli_generate_settings, size), "BYTES",
     "how much, rounded down to whole rows", 1, 1e18},
    {"seed", 'S', CLI_COUNT, offsetof(cli_generate_settings, seed), "N",
     "which data; the same seed gives the same\nbytes on every machine (default: 1)", 0, 0},
    {"output", 'o', CLI_TEXT, offsetof(cli_generate_settings, output), "FILE", "else to standard output", 0, 0},
    {"words", 0, CLI_COUNT, offsetof(cli_generate_settings, words), "N",
     "zipf: words in the vocabulary\n(default: 3850000)", 1, 5e7},
    {"exponent", 0, CLI_NUMBER, offsetof(cli_generate_settings, exponent), "S",
     "zipf: the word of rank k has weight k^-S\n(default: 1)", 0.01, 10},
    {"dim", 0, CLI_COUNT, offsetof(cli_generate_settings, dim), "N",
     "points: float32 values a row (default: 3)", 1, 4096},
    {"clusters", 0, CLI_COUNT, offsetof(cli_generate_settings, clusters), "N",
     "points: centres they lie around\n(default: 100)", 1, 1e6},
    {"scale", 0, CLI_COUNT, offsetof(cli_generate_settings, scale), "N",
     "edges: 2^N vertices (default: 16 edges a\nvertex)", 1, 32},
};

const cli_command cli_generate = {
    .name = "generate", .summary = "Make data of any size from a seed",
    .usage = "KIND --size BYTES [--seed N] [-o FILE] [OPTION...]",
    .details = "KIND is\n"
               "  zipf     lower-case words, 10 to 15 a line, with Zipf's law; 1 GiB holds 3.8 million distinct ones\n"
               "  records  100 bytes: 10 printable bytes to sort by, a number, filler, CR LF\n"
               "  points   rows of float32 around random centres\n"
               "  edges    pairs of u32, a power-law graph (R-MAT)\n"
               "Numbers are little-endian. A file appears when it is whole.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(cli_generate_settings),
    .presets = &(const cli_generate_settings){.seed = 1}, .run = run,
};
