/* cmd_history.c: millrace history: which runs there were, the newest last, where a terminal shows it. A damaged record
 * is a line that says so; it hides no other. */
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "run_files.h"
#include "show.h"

typedef struct settings {
    uint64_t count;
    bool json;
} settings;

enum { SHOWN = 20, APP_WIDTH = 18 };

static const char *text_of(const json_t *record, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text != NULL ? text : otherwise;
}

static uint64_t count_of(const json_t *record, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(record, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* "  (4 ranks, 1 lost)", "  (4 ranks, 1 spare used, 1 lost)"; nothing for a run of one. */
static void print_ranks(const json_t *record)
{
    const size_t ranks = json_array_size(json_object_get(record, "ranks"));
    const size_t lost = json_array_size(json_object_get(record, "losses"));
    const uint64_t used = count_of(record, "spares_used");
    if (ranks > 1)
        printf("  (%zu ranks", ranks);
    if (used > 0)
        printf(", %llu spare%s used", (unsigned long long)used, used == 1 ? "" : "s");
    if (ranks > 1 && lost > 0)
        printf(", %zu lost", lost);
    if (ranks > 1)
        printf(")");
}

static void print_line(const char *run, const json_t *record)
{
    char seconds[CLI_SHOW_SIZE], bytes[CLI_SHOW_SIZE], keys[CLI_SHOW_SIZE], name[4 * NAME_MAX], app[4 * APP_WIDTH + 1];
    char text[4 * MR__PATH_MAX];
    const char *status = text_of(record, "status", "?");
    const bool succeeded = strcmp(status, "MR_OK") == 0;
    const double took = json_number_value(json_object_get(record, "seconds"));
    printf("%-34s %-18s %10s %10s %14s  ", cli_show_text(run, SIZE_MAX, name, sizeof name),
           cli_show_text(text_of(record, "app", "?"), APP_WIDTH, app, sizeof app),
           cli_show_seconds(took >= 0 && took < 1e9 ? took : 0, seconds),
           cli_show_bytes(count_of(record, "input_bytes"), bytes),
           succeeded ? cli_show_count(count_of(record, "keys"), keys) : "-");
    if (succeeded) {
        printf("%s", cli_show_text(text_of(record, "output", "(memory)"), SIZE_MAX, text, sizeof text));
    } else {
        const char *why = text_of(record, "error", "");
        printf("%s: ", cli_show_text(status, SIZE_MAX, text, sizeof text));
        printf("%s", cli_show_text(why, strcspn(why, "\n"), text, sizeof text));
    }
    print_ranks(record);
    printf("\n");
}

static mr_status print_all(const settings *chosen, mr__error *error)
{
    mr_status status = MR_OK;
    cli_runs runs = {.count = 0};
    MR_TRY(cli_runs_list(&runs, error));
    json_t *list = chosen->json ? json_array() : NULL;
    const size_t first = runs.count > chosen->count ? runs.count - (size_t)chosen->count : 0;
    if (!chosen->json && runs.count > 0)
        printf("%-34s %-18s %10s %10s %14s  %s\n", "RUN", "APP", "TIME", "INPUT", "KEYS", "OUTPUT");
    for (size_t i = first; i < runs.count; i++) {
        mr__error damage = {.code = MR_OK};
        json_t *record = NULL;
        if (cli_runs_load(&runs, runs.run[i], &record, &damage) != MR_OK) {
            fprintf(stderr, "millrace: %s\n", damage.text);
            continue;
        }
        if (chosen->json)
            json_array_append(list, record);
        else
            print_line(runs.run[i], record);
        json_decref(record);
    }
    if (chosen->json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(list);
    }
done:
    cli_runs_free(&runs);
    return status;
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    const settings *chosen = given;
    mr_status status = MR_OK;
    json_t *record = NULL;
    MR_CHECK(operands->count <= 1, MR_BAD_USAGE, "millrace history takes one run at most");
    if (operands->count == 0)
        return print_all(chosen, error);
    MR_TRY(cli_record_open(operands->text[0], &record, error));
    json_dumpf(record, stdout, JSON_INDENT(2));
    putchar('\n');
done:
    json_decref(record);
    return status;
}

static const cli_option options[] = {
    {"count", 'n', CLI_COUNT, offsetof(settings, count), "N", "the last N runs (default: 20)", 1, 1e9},
    {"json", 'j', CLI_SWITCH, offsetof(settings, json), NULL, "their records, as a JSON array", 0, 0},
};

const cli_command cli_history = {
    .name = "history", .summary = "List the last runs, or print the record of one", .usage = "[RUN] [-n N] [--json]",
    .details = "RUN is an identifier from the list, the beginning of one, or last.\n"
               "The records lie in $MILLRACE_RECORDS, else $XDG_STATE_HOME/millrace, else ~/.local/state/millrace.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(settings),
    .presets = &(const settings){.count = SHOWN}, .run = run,
};
