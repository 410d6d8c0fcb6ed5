/* show.c: numbers as people read them. */
#include "show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory.h"
#include "utf8.h"

const char *cli_show_bytes(uint64_t bytes, char *text)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < MR__COUNT(units)) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(text, CLI_SHOW_SIZE, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
    else
        snprintf(text, CLI_SHOW_SIZE, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit]);
    return text;
}

const char *cli_show_count(uint64_t count, char *text)
{
    char digits[CLI_SHOW_SIZE];
    const int size = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = text;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *cli_show_seconds(double seconds, char *text)
{
    if (seconds < 0.0995)
        snprintf(text, CLI_SHOW_SIZE, "%.1f ms", seconds * 1e3);
    else if (seconds < 99.5)
        snprintf(text, CLI_SHOW_SIZE, "%.*f s", seconds < 10 ? 2 : 1, seconds);
    else if (seconds < 3600)
        snprintf(text, CLI_SHOW_SIZE, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    else
        snprintf(text, CLI_SHOW_SIZE, "%.0f h %02d min", (double)((uint64_t)seconds / 3600),
                 (int)((uint64_t)seconds / 60 % 60));
    return text;
}

const char *cli_show_rate(double per_second, const char *unit, char *text)
{
    static const char prefixes[] = " KMGT";
    size_t prefix = 0;
    while (per_second >= 9999.5 || (prefix > 0 && per_second >= 999.5 && prefix < 2)) {
        if (prefix + 1 >= strlen(prefixes))
            break;
        per_second /= 1000;
        prefix++;
    }
    snprintf(text, CLI_SHOW_SIZE, "%.*f %.*s%s/s", per_second < 9.95 && prefix > 0 ? 1 : 0, per_second, prefix > 0,
             prefixes + prefix, unit);
    return text;
}

const char *cli_show_text(const char *text, size_t most, char *to, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < most && text[i] != '\0' && used + sizeof "\\x00" <= size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        used += (size_t)snprintf(to + used, size - used, byte < 0x20 || byte == 0x7f ? "\\x%02x" : "%c", byte);
    }
    to[used] = '\0';
    return to;
}

json_t *cli_json_text(const char *text)
{
    if (text == NULL)
        return json_null();
    char *clean = mr__utf8_clean(text);
    json_t *string = json_string(clean != NULL ? clean : "");
    mr__free(clean);
    return string;
}

json_t *cli_json_count(uint64_t count)
{
    return count <= INT64_MAX ? json_integer((json_int_t)count) : json_real((double)count);
}

char *cli_json_failure(mr_status status, const char *text)
{
    static const char mark[] = "\n  hint: ";
    const char *hint = strstr(text, mark);
    const size_t size = hint != NULL ? (size_t)(hint - text) : strlen(text);
    char *sentence = strndup(text, size);
    json_t *root = json_object();
    json_object_set_new(root, "error", cli_json_text(sentence));
    json_object_set_new(root, "hint", hint != NULL ? cli_json_text(hint + strlen(mark)) : json_null());
    json_object_set_new(root, "status", json_string(mr_status_name(status)));
    json_object_set_new(root, "exit", json_integer(mr_status_exit(status)));
    char *object = json_dumps(root, 0);
    json_decref(root);
    free(sentence);
    char *line = NULL;
    if (object != NULL && asprintf(&line, "%s\n", object) < 0)
        line = NULL;
    free(object);
    return line;
}
