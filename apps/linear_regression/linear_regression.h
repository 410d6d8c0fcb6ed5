/* linear_regression.h: the five sums that a straight line through points needs, and where x counts from. */
#ifndef LINEAR_REGRESSION_H
#define LINEAR_REGRESSION_H

enum { SUM_X, SUM_Y, SUM_XX, SUM_YY, SUM_XY, SUMS };

struct regression_params {
    double x;           /* of the first point */
};

#endif
