/* row_opencl.h: the lane types of row.h in OpenCL C 1.2. Beside the definitions of device_opencl.h it needs none; with
 * MR_GROUP defined it has the columns and the emission words as well, and makes mr_rows() of the row function. */
#ifndef MILLRACE_ROW_OPENCL_H
#define MILLRACE_ROW_OPENCL_H

#include <millrace/device_opencl.h>

/* Always: a row function is called twice, for whole groups and for the rest, and is fast if it knows which it is
 * for. */
#define MR_ROW_FUNCTION static inline __attribute__((always_inline))

/* type, OpenCL's name of the element, mask type */
#define MR__LANE_MAP(X)                                                                                                \
    X(i8, char, i8) X(u8, uchar, i8) X(i16, short, i16) X(u16, ushort, i16) X(i32, int, i32) X(u32, uint, i32)         \
    X(i64, long, i64) X(u64, ulong, i64) X(f32, float, i32) X(f64, double, i64)

#if MR_LANES == 1
#define MR__LANES_OF(element) element
#define MR__MASK(T, condition) (-(mr_##T)(condition))
#define MR__SELECT(mask, a, b) ((mask) ? (a) : (b))
#define MR__CONVERT(element, x) ((element)(x))
#define MR__SAME_BITS(element, x) MR__PASTE(as_, element)(x)
#define MR__LOAD_LANES(p) (*(p))
#define MR__STORE_LANES(x, p) (*(p) = (x))
#else
#define MR__LANES_OF(element) MR__PASTE(element, MR_LANES)
#define MR__MASK(T, condition) (condition)
#define MR__SELECT(mask, a, b) select((b), (a), (mask))
#define MR__CONVERT(element, x) MR__PASTE(convert_, MR__LANES_OF(element))(x)
#define MR__SAME_BITS(element, x) MR__PASTE(as_, MR__LANES_OF(element))(x)
#define MR__LOAD_LANES(p) MR__PASTE(vload, MR_LANES)(0, (p))
#define MR__STORE_LANES(x, p) MR__PASTE(vstore, MR_LANES)((x), 0, (p))
#endif

/* LANE(x, 0), LANE(x, 1), ...: a list, to make a vector of. */
#define MR__LANES_1(LANE, x) LANE(x, 0)
#define MR__LANES_2(LANE, x) LANE(x, 0), LANE(x, 1)
#define MR__LANES_4(LANE, x) MR__LANES_2(LANE, x), LANE(x, 2), LANE(x, 3)
#define MR__LANES_8(LANE, x) MR__LANES_4(LANE, x), LANE(x, 4), LANE(x, 5), LANE(x, 6), LANE(x, 7)
#define MR__LANES_16(LANE, x)                                                                                          \
    MR__LANES_8(LANE, x), LANE(x, 8), LANE(x, 9), LANE(x, 10), LANE(x, 11), LANE(x, 12), LANE(x, 13), LANE(x, 14),     \
        LANE(x, 15)
#define MR__EACH_LANE MR__PASTE(MR__LANES_, MR_LANES)

#define MR__TYPE(T, element, mask) typedef MR__LANES_OF(element) mr_##T;
MR__LANE_MAP(MR__TYPE)

#define MR__WORDS(T, element, mask)                                                                                    \
    MR_ROW_FUNCTION mr_##T mr_splat_##T(element x) { return (mr_##T)(x); }                                             \
    MR_ROW_FUNCTION mr_##mask mr_lt_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a < b); }                          \
    MR_ROW_FUNCTION mr_##mask mr_le_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a <= b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_gt_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a > b); }                          \
    MR_ROW_FUNCTION mr_##mask mr_ge_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a >= b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_eq_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a == b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_ne_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a != b); }                         \
    MR_ROW_FUNCTION mr_##T mr_sel_##T(mr_##mask m, mr_##T a, mr_##T b) { return MR__SELECT(m, a, b); }                 \
    MR_ROW_FUNCTION mr_##T mr_min_##T(mr_##T a, mr_##T b) { return mr_sel_##T(mr_lt_##T(a, b), a, b); }                \
    MR_ROW_FUNCTION mr_##T mr_max_##T(mr_##T a, mr_##T b) { return mr_sel_##T(mr_gt_##T(a, b), a, b); }
MR__LANE_MAP(MR__WORDS)

#define MR__FROM(T, element, S) MR_ROW_FUNCTION mr_##T mr_##T##_from_##S(mr_##S x) { return MR__CONVERT(element, x); }
#define MR__FROM_ALL(T, element, mask)                                                                                 \
    MR__FROM(T, element, i8) MR__FROM(T, element, u8) MR__FROM(T, element, i16) MR__FROM(T, element, u16)              \
    MR__FROM(T, element, i32) MR__FROM(T, element, u32) MR__FROM(T, element, i64) MR__FROM(T, element, u64)            \
    MR__FROM(T, element, f32) MR__FROM(T, element, f64)
MR__LANE_MAP(MR__FROM_ALL)

MR_ROW_FUNCTION mr_i32 mr_bits_f32(mr_f32 x) { return MR__SAME_BITS(int, x); }
MR_ROW_FUNCTION mr_f32 mr_f32_bits(mr_i32 x) { return MR__SAME_BITS(float, x); }
MR_ROW_FUNCTION mr_i64 mr_bits_f64(mr_f64 x) { return MR__SAME_BITS(long, x); }
MR_ROW_FUNCTION mr_f64 mr_f64_bits(mr_i64 x) { return MR__SAME_BITS(double, x); }
MR_ROW_FUNCTION mr_f32 mr_sqrt_f32(mr_f32 x) { return sqrt(x); }
MR_ROW_FUNCTION mr_f64 mr_sqrt_f64(mr_f64 x) { return sqrt(x); }

#include <millrace/row_math.h>
#ifdef MR_GROUP
#include <millrace/row_emit_opencl.h>
#endif

#endif
