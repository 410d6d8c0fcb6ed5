/* row_math.h: functions made of + - * and bit operations only, so that every level and every device that rounds as IEEE
 * 754 says gives the same bits. Common subset of C11 and OpenCL C. Include row.h. */
#ifndef MILLRACE_ROW_MATH_H
#define MILLRACE_ROW_MATH_H

MR_ROW_FUNCTION mr_f32 mr_abs_f32(mr_f32 x)
{
    return mr_f32_bits(mr_bits_f32(x) & 0x7fffffff);
}

MR_ROW_FUNCTION mr_f64 mr_abs_f64(mr_f64 x)
{
    return mr_f64_bits(mr_bits_f64(x) & 0x7fffffffffffffffL);
}

/* The polynomials are summed in pairs and fours (G. Estrin, 1960): one sum after the other, as Horner has them, keeps a
 * processor waiting. */

/* e^x, error below 1.1 ulp (of a subnormal result: 1 ulp). NaN stays NaN; above 88.73 infinity, below -103.98 zero.
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r by the polynomial of Cephes' expf (S. Moshier); 2^n in two factors, because it
 * alone may over- or underflow. */
MR_ROW_FUNCTION mr_f32 mr_exp_f32(mr_f32 x)
{
    const float to_integer = 12583166.0f;           /* 1.5 * 2^23: adding it rounds to the nearest integer; + 254 */
    mr_f32 bounded = mr_min_f32(mr_splat_f32(89.0f), mr_max_f32(mr_splat_f32(-104.0f), x));
    mr_f32 shifted = bounded * 1.44269504f + to_integer, n = shifted - to_integer;
    mr_f32 r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
    mr_f32 square = r * r;
    mr_f32 low = 1.6666665459e-1f * r + 5.0000001201e-1f, middle = 8.3334519073e-3f * r + 4.1665795894e-2f;
    mr_f32 high = 1.9875691500e-4f * r + 1.3981999507e-3f;
    mr_f32 series = ((high * square + middle) * square + low) * square + r + 1.0f;
    mr_u32 power = mr_u32_from_i32(mr_bits_f32(shifted)) & 0x1ff, first = power >> 1;       /* n + 254 */
    return series * mr_f32_bits(mr_i32_from_u32(first << 23)) * mr_f32_bits(mr_i32_from_u32((power - first) << 23));
}

/* ln x, error below 1.0 ulp. ln 0 is -infinity, of less than 0 NaN; infinity and NaN stay what they are.
 * x = 2^n m, m in [sqrt(1/2), sqrt(2)); ln m by the polynomial of Cephes' logf (S. Moshier). */
MR_ROW_FUNCTION mr_f32 mr_log_f32(mr_f32 x)
{
    mr_f32 zero = mr_splat_f32(0.0f), least = mr_splat_f32(1.17549435e-38f);        /* of the normal numbers */
    mr_f32 infinity = mr_f32_bits(mr_splat_i32(0x7f800000)), nan = mr_f32_bits(mr_splat_i32(0x7fc00000));
    mr_i32 subnormal = mr_lt_f32(x, least);
    mr_f32 scaled = mr_max_f32(mr_sel_f32(subnormal, x * 8388608.0f, x), least);
    mr_i32 shifted = mr_bits_f32(scaled) - 0x3f3504f3;      /* so that the exponent steps at sqrt(1/2) */
    mr_f32 n = mr_f32_from_i32((shifted >> 23) - (subnormal & 23));
    mr_f32 f = mr_f32_bits((shifted & 0x7fffff) + 0x3f3504f3) - 1.0f;
    mr_f32 square = f * f, fourth = square * square;
    mr_f32 low = (-2.4999993993e-1f * f + 3.3333331174e-1f) + (-1.6668057665e-1f * f + 2.0000714765e-1f) * square;
    mr_f32 high = (-1.2420140846e-1f * f + 1.4249322787e-1f) +
                  ((-1.1514610310e-1f * f + 1.1676998740e-1f) + 7.0376836292e-2f * square) * square;
    mr_f32 series = f * square * (high * fourth + low);
    mr_f32 result = (series - (n * 2.12194440e-4f + 0.5f * square)) + f + n * 0.693359375f;
    mr_f32 bad = mr_sel_f32(mr_eq_f32(x, zero), -infinity, nan);
    result = mr_sel_f32(mr_gt_f32(x, zero), result, bad);
    return mr_sel_f32(mr_lt_f32(x, infinity), result, x);
}

#endif
