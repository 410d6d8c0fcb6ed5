/* black_scholes.h: what the app and its row kernel share. */
#ifndef BLACK_SCHOLES_H
#define BLACK_SCHOLES_H

enum { SUM_CALLS, SUM_PUTS, SUMS };

struct black_scholes_params {
    double rate, volatility;
};

#endif
