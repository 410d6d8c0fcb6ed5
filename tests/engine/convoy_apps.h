/* convoy_apps.h: apps for convoys, their input, and what must come of them, computed here by plain loops and qsort().
 * Every map calls on_map of its ship's convoy first, every reduce on_reduce. */
#ifndef MR__CONVOY_APPS_H
#define MR__CONVOY_APPS_H

#include "convoy.h"

extern const mr_app_handle mr_app_convoy_count;     /* rows: key -> how many; combined */
extern const mr_app_handle mr_app_convoy_list;      /* rows: key -> count, sum of values; all values by reduce */
extern const mr_app_handle mr_app_convoy_suffix;    /* rows: key -> count, first and last suffix, by reduce */
extern const mr_app_handle mr_app_convoy_order;     /* rows as they are, in order of their key; nothing combined */
extern const mr_app_handle mr_app_convoy_dense;     /* rows: small number -> sum */
extern const mr_app_handle mr_app_convoy_centres;   /* rows: centres of clusters, in rounds of f64 sums by block */
extern const mr_app_handle mr_app_convoy_range;     /* no input: row % 97 -> how many */
extern const mr_app_handle mr_app_convoy_words;     /* text: word -> how many */
extern const mr_app_handle mr_app_convoy_files;     /* whole files: name -> size */

/* A job, what it reads and what must come of it. */
struct voyage {
    const char *name;
    const mr_app_handle *app;
    mr_sort sort;
    const char *param;
    bool in_order;                  /* parts, one after the other, are in the order of `want` */
    enum { CARGO_ROWS, CARGO_TEXT, CARGO_FILES, CARGO_NONE } cargo;
    char *want;                     /* lines; in order, or sorted as bytes */
};

enum { VOYAGES = 13 };
extern struct voyage voyages[VOYAGES];
struct voyage *voyage_named(const char *name);

/* A folder for outputs, and the output in it that jobs write. */
extern char voyages_place[4200], voyages_output[4300];
/* Of a group of tests: the input below fixture_folder, what is wanted, and the folder are made, and taken away. */
int voyages_set_up(void **state);
int voyages_tear_down(void **state);

/* Sets the convoy's job and input; job: with the output's path, or NULL. */
void voyage_load(const struct voyage *voyage, struct convoy *convoy, mr_job *job, const char *output);
/* The lines of all parts of an output; fails the test if something else lies in it. free() it. */
char *voyage_output(const char *output);
/* Fails the test unless `got` is what must come of it. Sorts `got`, unless the voyage has an order. */
void voyage_assert(const struct voyage *voyage, char *got);

#endif
