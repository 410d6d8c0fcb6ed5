/* words.h: a command line in the making.
 * Promise   The words end with NULL, as exec wants them. What has no memory sets `failed`, and nothing is added after
 *           that: one look at the end is enough.
 * Owner     The caller; begins as zeros, ends with cli_words_free(). The words are copies.
 * Failure   `failed`. */
#ifndef MR__WORDS_H
#define MR__WORDS_H

#include "cli.h"

typedef struct cli_words {
    char **text;
    size_t count, room;
    bool failed;
} cli_words;

void cli_words_add(cli_words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The options that differ from the command's presets, each as one word: --name or --name=value. */
void cli_words_add_options(cli_words *words, const cli_command *command, const void *settings);
void cli_words_free(cli_words *words);

#endif
