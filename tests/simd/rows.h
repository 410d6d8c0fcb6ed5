/* rows.h: parameters of the kernels in rows_row.c, rows64_row.c and rows8_row.c. */
#ifndef MR__TEST_ROWS_H
#define MR__TEST_ROWS_H

struct nearest_params {
    int count;
    float centre[3 * 100];
};

#endif
