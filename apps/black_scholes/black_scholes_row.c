/* black_scholes_row.c: the prices of a European call and put (F. Black and M. Scholes, 1973); N: normal distribution.
 *
 *     d1 = (ln(spot / strike) + (rate + volatility^2 / 2) years) / (volatility sqrt(years))
 *     d2 = d1 - volatility sqrt(years)
 *     paid = strike exp(-rate years)
 *     call = spot N(d1) - paid N(d2)
 *     put  = paid N(-d2) - spot N(-d1)
 *
 * spot N'(d1) = paid N'(d2), so one exponential serves both tails: that of d1, where it stays a normal number.
 * An option at its end (years 0) is worth what exercising it gives: that is the limit of the formulas just above zero,
 * where the inputs are kept. */
#define MR_ROW_BITS 32
#include <millrace/row.h>

#include "black_scholes.h"

/* N'(x), error below 3e-7 of it at x = 3 and growing by the square of x. Behind 12.9 it stays at 3e-37: below lie
 * subnormal numbers, which cost a hundred cycles each.
 * exp(-x^2 / 2) = 2^n 2^r, |r| <= 1/2; 2^r by the polynomial of Cephes' exp2f (S. Moshier). */
MR_ROW_FUNCTION mr_f32 normal_density(mr_f32 x)
{
    const float to_integer = 12583039.0f;       /* 1.5 * 2^23: adding it rounds to the nearest integer; + 127 */
    mr_f32 bounded = mr_min_f32(mr_abs_f32(x), mr_splat_f32(12.9f));
    mr_f32 power = -0.72134752f * bounded * bounded, shifted = power + to_integer, r = power - (shifted - to_integer);
    mr_f32 square = r * r;
    mr_f32 low = 6.9314720e-1f * r + 1.0f, middle = 5.5503325e-2f * r + 2.4022648e-1f;
    mr_f32 high = 1.5353362e-4f * square + (1.3398874e-3f * r + 9.6184374e-3f);
    mr_f32 series = (high * square + middle) * square + low;
    return 0.3989422804f * series * mr_f32_bits((mr_bits_f32(shifted) & 0xff) << 23);
}

/* N(-x) / N'(x) for x >= 0, from t = 1 / (1 + 0.2316419 x): 26.2.17 of M. Abramowitz and I. Stegun, Handbook of
 * Mathematical Functions; the error of N(-x) is below 7.5e-8. */
MR_ROW_FUNCTION mr_f32 tail_ratio(mr_f32 t)
{
    mr_f32 square = t * t, low = (-0.356563782f * t + 0.319381530f) * t, middle = -1.821255978f * t + 1.781477937f;
    return (1.330274429f * square + middle) * (square * t) + low;
}

MR_ROW_KERNEL(black_scholes_price, struct black_scholes_params)
{
    const float rate = (float)params->rate, volatility = (float)params->volatility;
    mr_f32 zero = mr_splat_f32(0.0f), least = mr_splat_f32(1.0e-30f);
    mr_f32 spot = mr_max_f32(mr_column_f32(row, 0), least);
    mr_f32 strike = mr_max_f32(mr_column_f32(row, 1), least);
    mr_f32 years = mr_max_f32(mr_column_f32(row, 2), least);
    mr_f32 deviation = volatility * mr_sqrt_f32(years);
    mr_f32 d1 = (mr_log_f32(spot / strike) + (rate + 0.5f * volatility * volatility) * years) / deviation;
    mr_f32 d2 = d1 - deviation;
    mr_f32 paid = strike * mr_exp_f32(-rate * years);
    mr_f32 below1 = 1.0f + 0.2316419f * mr_abs_f32(d1), below2 = 1.0f + 0.2316419f * mr_abs_f32(d2);
    mr_f32 inverse = 1.0f / (below1 * below2);          /* a division serves both, too */
    mr_f32 density = spot * normal_density(d1);
    mr_f32 tail1 = density * tail_ratio(inverse * below2), tail2 = density * tail_ratio(inverse * below1);
    mr_i32 negative1 = mr_lt_f32(d1, zero), negative2 = mr_lt_f32(d2, zero);
    mr_f32 call = mr_sel_f32(negative1, tail1, spot - tail1) - mr_sel_f32(negative2, tail2, paid - tail2);
    mr_f32 put = mr_sel_f32(negative2, paid - tail2, tail2) - mr_sel_f32(negative1, spot - tail1, tail1);
    mr_sum_f32(out, SUM_CALLS, call);
    mr_sum_f32(out, SUM_PUTS, put);
}
