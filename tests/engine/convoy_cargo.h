/* convoy_cargo.h: what the jobs of a convoy read, and what must come of it, computed here by plain loops and qsort(). */
#ifndef MR__CONVOY_CARGO_H
#define MR__CONVOY_CARGO_H

#include "convoy_apps.h"

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
/* Fails the test unless `got` is what must come of it, in any order unless the voyage has one. */
void voyage_assert(const struct voyage *voyage, const char *got);

#endif
