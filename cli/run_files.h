/* run_files.h: the records that runs left, read back.
 * Promise   Whatever lies in a record's file, reading it ends with a record or with a sentence.
 * Owner     list/free: the caller. load: a jansson object, json_decref().
 * Failure   MR_BAD_INPUT with the path. A directory that does not exist is an empty list. */
#ifndef MR__RUN_FILES_H
#define MR__RUN_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "check.h"
#include "places.h"

typedef struct cli_runs {
    char directory[MR__PATH_MAX];
    char **run;                 /* identifiers, the oldest first */
    size_t count;
} cli_runs;

mr_status cli_runs_list(cli_runs *runs, mr__error *error);
void cli_runs_free(cli_runs *runs);
/* text: an identifier, the beginning of just one, or "last". *run is borrowed from runs. */
mr_status cli_runs_find(const cli_runs *runs, const char *text, const char **run, mr__error *error);
mr_status cli_runs_load(const cli_runs *runs, const char *run, json_t **record, mr__error *error);
/* The record of the run that `text` names: list, find and load in one. */
mr_status cli_record_open(const char *text, json_t **record, mr__error *error);
/* The same from text in memory; name: for the sentence. */
mr_status cli_record_parse(const char *text, size_t size, const char *name, json_t **record, mr__error *error);

#endif
