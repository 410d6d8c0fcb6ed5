/* fuzz_record.c: the record of a run, both ways.
 * First byte even: the rest is taken as a record's file; reading it must end with a record or a sentence.
 * First byte odd: the rest, cut at NUL bytes, are names, settings and sentences of a run; the record that is written
 * must be read back, and have them if they are UTF-8. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"
#include "run_files.h"
#include "utf8.h"

enum { TEXTS = 5, TEXT_MAX = 4096 };

const char *mr_version(void)
{
    return "0.0.0";
}

static void require(int holds)
{
    if (!holds)
        abort();
}

static void read_one(const uint8_t *data, size_t size)
{
    mr__error error = {.code = MR_OK};
    json_t *record = NULL;
    if (cli_record_parse((const char *)data, size, "fuzz", &record, &error) == MR_OK)
        require(json_is_string(json_object_get(record, "run")));
    else
        require(error.text[0] != '\0' && record == NULL);
    json_decref(record);
}

static void check_text(const json_t *record, const char *key, const char *wanted)
{
    char *clean = mr__utf8_clean(wanted);
    require(strcmp(json_string_value(json_object_get(record, key)), clean) == 0);
    free(clean);
}

static char place[] = "/dev/shm/mr-fuzz-record-XXXXXX";

static void remove_place(void)
{
    rmdir(place);
}

static const char *directory(void)
{
    static const char *made;
    if (made == NULL && (made = mkdtemp(place)) != NULL)
        atexit(remove_place);
    return made;
}

static void write_one(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + TEXTS];
    const char *part[TEXTS];
    char path[MR__PATH_MAX];
    size = size < TEXT_MAX ? size : TEXT_MAX;
    memcpy(text, data, size);
    memset(text + size, 0, TEXTS);
    for (size_t i = 0, at = 0; i < TEXTS; i++) {
        part[i] = text + at;
        at += strlen(text + at) + (at + strlen(text + at) < size + TEXTS - 1);
    }
    const mr__record record = {.run = "fuzz", .app_name = part[0], .inputs = &part[1], .input_count = 1,
                               .settings = &part[2], .setting_count = 1, .output = part[3], .status = MR_BAD_INPUT,
                               .error = part[4]};
    require(mr__record_write(directory(), &record, NULL, path, NULL) == MR_OK);
    cli_runs runs = {.count = 0};
    snprintf(runs.directory, sizeof runs.directory, "%s", directory());
    json_t *got = NULL;
    require(cli_runs_load(&runs, "fuzz", &got, NULL) == MR_OK);
    unlink(path);
    check_text(got, "app", part[0]);
    check_text(got, "output", part[3]);
    check_text(got, "error", part[4]);
    json_decref(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        read_one(data + 1, size - 1);
    else
        write_one(data + 1, size - 1);
    return 0;
}
