/* convoy_apps.h: apps for convoys. Every map calls on_map of its ship's convoy first, every reduce on_reduce;
 * plan() calls on_plan at its end. */
#ifndef MR__CONVOY_APPS_H
#define MR__CONVOY_APPS_H

#include "convoy.h"

enum { ROWS = 9600, BLOCK_ROWS = 64, KEYS = 700, DENSE = 97, CENTRES = 3, CENTRE_ROUNDS = 3, RANGE = 7000 };

struct row {
    uint64_t key, value;
};

int row_name(uint64_t key, char *text);             /* one of KEYS; its length */
void row_centres(double *centre);                   /* of the first round */
double row_place(struct row row);
int row_nearest(const double *centre, double place);

extern const mr_app_handle mr_app_convoy_count;     /* rows: key -> how many; combined */
extern const mr_app_handle mr_app_convoy_list;      /* rows: key -> count, sum of values; all values by reduce */
extern const mr_app_handle mr_app_convoy_suffix;    /* rows: key -> count, first and last suffix, by reduce */
extern const mr_app_handle mr_app_convoy_order;     /* rows as they are, in order of their key; nothing combined */
extern const mr_app_handle mr_app_convoy_dense;     /* rows: small number -> sum */
extern const mr_app_handle mr_app_convoy_centres;   /* rows: centres of clusters, in rounds of f64 sums by block */
extern const mr_app_handle mr_app_convoy_range;     /* no input: row % 97 -> how many */
extern const mr_app_handle mr_app_convoy_words;     /* text: word -> how many */
extern const mr_app_handle mr_app_convoy_files;     /* whole files: name -> size */

#endif
