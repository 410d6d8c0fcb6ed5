/* black_scholes.c: the prices of many European options, summed. The map is the row kernel in black_scholes_row.c:
 * prices in float32, their sums in float64. */
#include <millrace/millrace.h>
#include <millrace/row.h>

#include "black_scholes.h"

static const mr_column black_scholes_columns[] = {{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}, {MR_COLUMN_F32, 8}};

static const mr_param black_scholes_params[] = {
    MR_PARAM_F64_FIELD(struct black_scholes_params, rate, "0.02", -1, 1, "interest a year without risk"),
    MR_PARAM_F64_FIELD(struct black_scholes_params, volatility, "0.3", 0.001, 10, "deviation of the spot price a year"),
};

MR_ROW_TABLE(black_scholes_price);

static mr_status black_scholes_finish(const mr_round *round, mr_writer *out)
{
    const double *sum = round->dense;
    mr_writef(out, "options\t%llu\n", (unsigned long long)round->rows);
    mr_writef(out, "calls\t%.17g\n", sum[SUM_CALLS]);
    return mr_writef(out, "puts\t%.17g\n", sum[SUM_PUTS]);
}

MR_APP(black_scholes) {
    .summary = "Price European options (rows of spot, strike and years as float32)",
    .input = MR_INPUT_RECORDS, .columns = black_scholes_columns, .column_count = 3, .record_size = 12,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64_VECTOR, .value_width = SUMS, .combine = MR_SUM,
    .params = black_scholes_params, .param_count = 2, .params_size = sizeof(struct black_scholes_params),
    .row = &black_scholes_price_rows, .finish = black_scholes_finish,
};
