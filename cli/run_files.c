/* run_files.c: the records that runs left. An identifier begins with the time: names in order are runs in order. */
#include "run_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "show.h"

enum { RECORD_BYTES_MAX = 16 << 20 };   /* ours have a few KiB; a file of gigabytes is none */

static const char suffix[] = ".json", trace_suffix[] = ".trace.json";

static bool ends_with(const char *text, const char *end)
{
    const size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

static int is_record(const struct dirent *entry)
{
    return ends_with(entry->d_name, suffix) && !ends_with(entry->d_name, trace_suffix);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);      /* not the locale's order, which alphasort() has */
}

mr_status cli_runs_list(cli_runs *runs, mr__error *error)
{
    mr_status status = MR_OK;
    struct dirent **entries = NULL;
    int count = 0;
    *runs = (cli_runs){.count = 0};
    MR_TRY(mr__places_records(NULL, runs->directory, error));
    MR_CHECK(runs->directory[0] != '\0', MR_BAD_USAGE,
             "no records are kept: MILLRACE_RECORDS is empty\n  hint: unset it, or set it to a directory");
    count = scandir(runs->directory, &entries, is_record, by_name);
    if (count < 0 && errno == ENOENT)
        count = 0;
    MR_CHECK(count >= 0, MR_BAD_INPUT, "could not read the records in %s: %s", runs->directory, strerror(errno));
    runs->run = calloc((size_t)count + 1, sizeof *runs->run);
    MR_CHECK(runs->run != NULL, MR_NO_MEMORY, "no memory for %d records", count);
    for (int i = 0; i < count; i++) {
        char *name = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - (sizeof suffix - 1));
        MR_CHECK(name != NULL, MR_NO_MEMORY, "no memory for %d records", count);
        runs->run[runs->count++] = name;
    }
done:
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    if (status != MR_OK)
        cli_runs_free(runs);
    return status;
}

void cli_runs_free(cli_runs *runs)
{
    for (size_t i = 0; i < runs->count; i++)
        free(runs->run[i]);
    free(runs->run);
    runs->run = NULL;
    runs->count = 0;
}

mr_status cli_runs_find(const cli_runs *runs, const char *text, const char **run, mr__error *error)
{
    mr_status status = MR_OK;
    const char *found = NULL;
    size_t matches = 0;
    MR_CHECK(runs->count > 0, MR_BAD_INPUT, "there are no runs in %s\n  hint: millrace run leaves one",
             runs->directory);
    if (strcmp(text, "last") == 0) {
        *run = runs->run[runs->count - 1];
        return MR_OK;
    }
    for (size_t i = 0; i < runs->count; i++) {
        if (strcmp(runs->run[i], text) == 0) {
            *run = runs->run[i];
            return MR_OK;
        }
        if (strncmp(runs->run[i], text, strlen(text)) == 0) {
            found = runs->run[i];
            matches++;
        }
    }
    MR_CHECK(matches > 0, MR_BAD_INPUT, "there is no run '%.60s' in %s\n  hint: millrace history lists them", text,
             runs->directory);
    MR_CHECK(matches == 1, MR_BAD_INPUT,
             "'%.60s' begins %zu runs\n  hint: give more of it; millrace history lists them", text, matches);
    *run = found;
done:
    return status;
}

mr_status cli_record_parse(const char *text, size_t size, const char *name, json_t **record, mr__error *error)
{
    mr_status status = MR_OK;
    json_error_t reason;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &reason);
    MR_CHECK(root != NULL, MR_BAD_INPUT, "the record %s is damaged: line %d: %s\n  hint: remove it", name, reason.line,
             reason.text);
    MR_CHECK(json_is_object(root) && json_is_string(json_object_get(root, "run")), MR_BAD_INPUT,
             "%s is no record of a run\n  hint: remove it", name);
    *record = root;
    root = NULL;
done:
    json_decref(root);
    return status;
}

mr_status cli_runs_load(const cli_runs *runs, const char *run, json_t **record, mr__error *error)
{
    mr_status status = MR_OK;
    char path[2 * MR__PATH_MAX], shown[2 * MR__PATH_MAX];
    char *text = NULL;
    struct stat found;
    snprintf(path, sizeof path, "%s/%s%s", runs->directory, run, suffix);
    cli_show_text(path, SIZE_MAX, shown, sizeof shown);
    const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);     /* a pipe is not waited for */
    MR_CHECK(file >= 0 && fstat(file, &found) == 0, MR_BAD_INPUT, "could not read the record %s: %s", shown,
             strerror(errno));
    MR_CHECK(S_ISREG(found.st_mode), MR_BAD_INPUT, "%s is no record of a run: it is no regular file", shown);
    MR_CHECK(found.st_size <= RECORD_BYTES_MAX, MR_BAD_INPUT, "%s is no record of a run: it has %lld bytes", shown,
             (long long)found.st_size);
    const size_t size = (size_t)found.st_size;
    text = malloc(size + 1);
    MR_CHECK(text != NULL, MR_NO_MEMORY, "no memory to read the record %s", shown);
    MR_CHECK(read(file, text, size) == (ssize_t)size, MR_BAD_INPUT, "could not read the record %s", shown);
    MR_TRY(cli_record_parse(text, size, shown, record, error));
done:
    free(text);
    if (file >= 0)
        close(file);
    return status;
}

mr_status cli_record_open(const char *text, json_t **record, mr__error *error)
{
    mr_status status = MR_OK;
    const char *run;
    cli_runs runs = {.count = 0};
    MR_TRY(cli_runs_list(&runs, error));
    MR_TRY(cli_runs_find(&runs, text, &run, error));
    MR_TRY(cli_runs_load(&runs, run, record, error));
done:
    cli_runs_free(&runs);
    return status;
}
