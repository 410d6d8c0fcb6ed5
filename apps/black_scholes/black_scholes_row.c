/* black_scholes_row.c: the prices of a European call and put (F. Black and M. Scholes, 1973); N: normal distribution.
 *
 *     d1 = (ln(spot / strike) + (rate + volatility^2 / 2) years) / (volatility sqrt(years))
 *     d2 = d1 - volatility sqrt(years)
 *     call = spot N(d1) - strike exp(-rate years) N(d2)
 *     put  = strike exp(-rate years) N(-d2) - spot N(-d1)
 *
 * An option at its end (years 0) is worth what exercising it gives: that is the limit of the formulas just above zero,
 * where the inputs are kept. */
#define MR_ROW_BITS 32
#include <millrace/row.h>

#include "black_scholes.h"

/* N(-x) for x >= 0: 26.2.17 of M. Abramowitz and I. Stegun, Handbook of Mathematical Functions; error below 7.5e-8.
 * Behind 12.9 it stays at 2e-38: below lie subnormal numbers, which cost a hundred cycles each. */
MR_ROW_FUNCTION mr_f32 normal_tail(mr_f32 distance)
{
    mr_f32 x = mr_min_f32(distance, mr_splat_f32(12.9f));
    mr_f32 t = 1.0f / (1.0f + 0.2316419f * x);
    mr_f32 sum = 1.330274429f * t - 1.821255978f;
    sum = sum * t + 1.781477937f;
    sum = sum * t - 0.356563782f;
    sum = sum * t + 0.319381530f;
    return 0.3989422804f * mr_exp_f32(-0.5f * x * x) * (sum * t);
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
    mr_f32 tail1 = normal_tail(mr_abs_f32(d1)), tail2 = normal_tail(mr_abs_f32(d2));
    mr_i32 below1 = mr_lt_f32(d1, zero), below2 = mr_lt_f32(d2, zero);
    mr_f32 call = spot * mr_sel_f32(below1, tail1, 1.0f - tail1) - paid * mr_sel_f32(below2, tail2, 1.0f - tail2);
    mr_f32 put = paid * mr_sel_f32(below2, 1.0f - tail2, tail2) - spot * mr_sel_f32(below1, 1.0f - tail1, tail1);
    mr_sum_f32(out, SUM_CALLS, call);
    mr_sum_f32(out, SUM_PUTS, put);
}
