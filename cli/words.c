/* words.c: the way back from settings to words. What cli_parse() made of the words is what was typed: a later option
 * has replaced an earlier one, a path is as it was, a size is in bytes. So a command that starts another one hands on
 * what it understood, and never has to look for one option among words again. */
#include "words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"

enum { ROOM_FIRST = 16 };

static bool make_room(cli_words *words)
{
    if (words->count + 2 <= words->room)        /* the word, and NULL */
        return true;
    const size_t room = words->room > 0 ? 2 * words->room : ROOM_FIRST;
    char **text = mr__realloc(words->text, room * sizeof *text);
    if (text == NULL)
        return false;
    words->text = text;
    words->room = room;
    return true;
}

void cli_words_add(cli_words *words, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int size = vsnprintf(NULL, 0, format, arguments);
    char *word = !words->failed && size >= 0 && make_room(words) ? mr__alloc((size_t)size + 1) : NULL;
    if (word != NULL) {
        vsnprintf(word, (size_t)size + 1, format, again);
        words->text[words->count++] = word;
        words->text[words->count] = NULL;
    } else {
        words->failed = true;
    }
    va_end(again);
    va_end(arguments);
}

static void add_choice(cli_words *words, const cli_option *option, uint32_t index)
{
    const char *at = option->argument;
    for (uint32_t i = 0; i < index; i++)
        at += strcspn(at, "|") + 1;
    cli_words_add(words, "--%s=%.*s", option->name, (int)strcspn(at, "|"), at);
}

static size_t size_of(cli_kind kind)
{
    switch (kind) {
    case CLI_SWITCH:
        return sizeof(bool);
    case CLI_TEXT:
        return sizeof(const char *);
    case CLI_CHOICE:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t);
    }
}

void cli_words_add_options(cli_words *words, const cli_command *command, const void *settings)
{
    static const char zeros[sizeof(uint64_t)];
    for (size_t i = 0; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        const void *field = (const char *)settings + option->offset;
        const void *preset = command->presets != NULL ? (const char *)command->presets + option->offset : zeros;
        if (memcmp(field, preset, size_of(option->kind)) == 0)
            continue;
        switch (option->kind) {
        case CLI_SWITCH:
            cli_words_add(words, "--%s", option->name);
            break;
        case CLI_TEXT:
            cli_words_add(words, "--%s=%s", option->name, *(const char *const *)field);
            break;
        case CLI_CHOICE:
            add_choice(words, option, *(const uint32_t *)field);
            break;
        case CLI_NUMBER:
            cli_words_add(words, "--%s=%.17g", option->name, *(const double *)field);
            break;
        default:
            cli_words_add(words, "--%s=%" PRIu64, option->name, *(const uint64_t *)field);
        }
    }
}

void cli_words_free(cli_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        mr__free(words->text[i]);
    mr__free(words->text);
    *words = (cli_words){.count = 0};
}
