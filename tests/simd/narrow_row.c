/* narrow_row.c: arithmetic on lanes of 8 and 16 bits, for test_row.c and tests/kernels/test_rows.c. Where a lane is no
 * vector C promotes them to int, so that what wraps around is cast back before an operator takes it, as row.h says;
 * words do that by themselves. */
#define MR_ROW_BITS 16
#include <millrace/row.h>

MR_ROW_KERNEL(rows_narrow, void)
{
    mr_u8 x = mr_column_u8(row, 0), y = mr_column_u8(row, 1);
    mr_i8 p = mr_i8_from_u8(x), q = mr_i8_from_u8(y);
    mr_u16 u = (mr_u16)(mr_u16_from_u8(x) << 8) | mr_u16_from_u8(y);
    mr_u16 v = (mr_u16)(mr_u16_from_u8(y) << 8) | mr_u16_from_u8((mr_u8)~x);
    mr_i16 s = mr_i16_from_u16(u), t = mr_i16_from_u16(v);
    mr_sum_u64(out, 0, mr_u64_from_u8((mr_u8)(x + y) >> 1));
    mr_sum_u64(out, 1, mr_u64_from_u8(mr_sel_u8(mr_lt_u8(x - y, y), x * y, ~x) >> 1));
    mr_sum_i64(out, 2, mr_i64_from_i8((mr_i8)((p >> 1) + (q >> 1)) >> 1));
    mr_sum_i64(out, 3, mr_i64_from_i8(mr_i8_from_u8((mr_u8)(x + y)) >> 1));
    mr_sum_u64(out, 4, mr_u64_from_u16((mr_u16)(u + v) >> 1));
    mr_sum_u64(out, 5, mr_u64_from_u16(mr_u16_from_u32(mr_u32_from_u16(u) * mr_u32_from_u16(v)) >> 1));
    mr_sum_i64(out, 6, mr_i64_from_i16((mr_i16)((s >> 1) - (t >> 1)) >> 1));
    mr_sum_i64(out, 7, mr_i64_from_i16(mr_i16_from_u16((mr_u16)(u - v)) >> 1));
}
