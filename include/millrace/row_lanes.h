/* row_lanes.h: the lane types of row.h in C, by GCC's vector extensions (clang has them too). Include row.h.
 * MR_ROW_LEVEL names the level: scalar, sse2, avx2, avx512 or neon. A vector wider than the registers is slow, so the
 * level's register and MR_ROW_BITS decide MR_LANES; other element widths get as many lanes. */
#ifndef MILLRACE_ROW_LANES_H
#define MILLRACE_ROW_LANES_H

#ifndef MR_ROW_BITS
#define MR_ROW_BITS 32
#endif
#if MR_ROW_BITS != 8 && MR_ROW_BITS != 16 && MR_ROW_BITS != 32 && MR_ROW_BITS != 64
#error "MR_ROW_BITS is 8, 16, 32 or 64"
#endif

#define MR__REGISTER_scalar MR_ROW_BITS
#define MR__REGISTER_sse2 128
#define MR__REGISTER_avx2 256
#define MR__REGISTER_avx512 512
#define MR__REGISTER_neon 128
#define MR_LANES (MR__PASTE(MR__REGISTER_, MR_ROW_LEVEL) / MR_ROW_BITS)

#define MR_ROW_FUNCTION static inline __attribute__((always_inline, unused))

#if MR_LANES == 1
#define MR__LANE_TYPE(T, element) typedef element mr_##T;
#else
#define MR__LANE_TYPE(T, element) typedef element mr_##T __attribute__((vector_size(MR_LANES * sizeof(element))));
#endif

/* type, element, mask type */
#define MR__LANE_MAP(X)                                                                                                \
    X(i8, int8_t, i8) X(u8, uint8_t, i8) X(i16, int16_t, i16) X(u16, uint16_t, i16) X(i32, int32_t, i32)               \
    X(u32, uint32_t, i32) X(i64, int64_t, i64) X(u64, uint64_t, i64) X(f32, float, i32) X(f64, double, i64)

#define MR__TYPE(T, element, mask) MR__LANE_TYPE(T, element)
MR__LANE_MAP(MR__TYPE)
#undef MR__TYPE

/* gcc 12 and clang have this; without it some words are slower. */
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define MR__SHUFFLES
#endif
#endif

/* The row (the group of MR_LANES rows) that a kernel is called for. */
typedef struct mr_row {
    const mr_block *block;
    size_t at;              /* of the first lane in the block */
    bool packed;            /* columns are taken from `records`, those of the group */
    const uint8_t *records;
} mr_row;

/* Records as wide as a lane: a group of them is a vector, and a column is a permutation of it. Only for kernels whose
 * sums stay in registers: with those of all phases in memory it is slower than columns. So gcc alone has it: clang has
 * no shuffle by a variable order, and keeps the sums of several groups in memory. */
#if defined MR_ROW_ONLY_SUMS && MR_ROW_BITS == 64 && MR_LANES == 8 && defined MR__SHUFFLES
#if __has_builtin(__builtin_shuffle)
#define MR__PACKED 1
#endif
#endif
#ifdef MR__PACKED
#define MR__LINE_TYPE(T, element, mask) typedef element mr__line_##T __attribute__((vector_size(64)));
MR__LANE_MAP(MR__LINE_TYPE)
#undef MR__LINE_TYPE
#define MR__COLUMN(T, element)                                                                                         \
    if (row.packed) {                                                                                                  \
        mr__line_##T line;                                                                                             \
        __typeof__(line == line) order;                                                                                \
        const int each = sizeof(element), offset = (int)row.block->tiles->layout[column].offset / each;                \
        for (int i = 0; i < 64 / each; i++)                                                                            \
            order[i] = (__typeof__(order[0]))(i * 8 / each & (64 / each - 1));                                         \
        memcpy(&line, row.records, sizeof line);                                                                       \
        line = __builtin_shuffle(line, order + (__typeof__(order[0]))offset);                                          \
        return __builtin_shufflevector(line, line, 0, 1, 2, 3, 4, 5, 6, 7);                                            \
    }
#else
#define MR__PACKED 0
#define MR__COLUMN(T, element)
#endif

#if MR_LANES == 1
#define MR__SPLAT(T, x) (x)
#define MR__MASK(T, condition) ((mr_##T) - (condition))
#define MR__SELECT(T, mask, m, a, b) ((mr_##T)((m) ? (a) : (b)))
#define MR__CONVERT(T, x) ((mr_##T)(x))
#else
#define MR__SPLAT(T, x) ((x) - (mr_##T){0})         /* minus, because 0 + -0.0 is +0.0 */
#define MR__MASK(T, condition) ((mr_##T)(condition))
/* A macro, because the compiler makes a masked move of this only while it sees the comparison that made the mask. */
#define MR__SELECT(T, mask, m, a, b)                                                                                   \
    ((mr_##T)(((mr_##mask)(m) & (mr_##mask)(a)) | (~(mr_##mask)(m) & (mr_##mask)(b))))
#define MR__CONVERT(T, x) __builtin_convertvector((x), mr_##T)
#endif

#define MR__WORDS(T, element, mask)                                                                                    \
    MR_ROW_FUNCTION mr_##T mr_splat_##T(element x) { return MR__SPLAT(T, x); }                                         \
    MR_ROW_FUNCTION mr_##mask mr_lt_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a < b); }                          \
    MR_ROW_FUNCTION mr_##mask mr_le_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a <= b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_gt_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a > b); }                          \
    MR_ROW_FUNCTION mr_##mask mr_ge_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a >= b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_eq_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a == b); }                         \
    MR_ROW_FUNCTION mr_##mask mr_ne_##T(mr_##T a, mr_##T b) { return MR__MASK(mask, a != b); }                         \
    MR_ROW_FUNCTION mr_##T mr_min_##T(mr_##T a, mr_##T b) { return MR__SELECT(T, mask, a < b, a, b); }                 \
    MR_ROW_FUNCTION mr_##T mr_max_##T(mr_##T a, mr_##T b) { return MR__SELECT(T, mask, a > b, a, b); }                 \
    MR_ROW_FUNCTION mr_##T mr_column_##T(mr_row row, int column)                                                       \
    {                                                                                                                  \
        MR__COLUMN(T, element)                                                                                         \
        mr_##T x;                                                                                                      \
        memcpy(&x, (const element *)row.block->columns[column] + row.at, sizeof x);                                    \
        return x;                                                                                                      \
    }
MR__LANE_MAP(MR__WORDS)
#undef MR__WORDS
#undef MR__COLUMN

/* x86 has an instruction for just that, NaN and zeros included; GCC 12 makes a comparison and a masked move of it. */
#if defined __x86_64__ && !defined __clang__
#if MR_LANES == 4
#define MR__LIMIT(name, a, b) __builtin_ia32_##name##ps(a, b)
#elif MR_LANES == 8 && defined __AVX__
#define MR__LIMIT(name, a, b) __builtin_ia32_##name##ps256(a, b)
#elif MR_LANES == 16 && defined __AVX512F__
#define MR__LIMIT(name, a, b) __builtin_ia32_##name##ps512_mask(a, b, a, (uint16_t)-1, 4)   /* all lanes, no rounding */
#endif
#endif
#ifdef MR__LIMIT
MR_ROW_FUNCTION mr_f32 mr__min_f32(mr_f32 a, mr_f32 b) { return MR__LIMIT(min, a, b); }
MR_ROW_FUNCTION mr_f32 mr__max_f32(mr_f32 a, mr_f32 b) { return MR__LIMIT(max, a, b); }
#undef MR__LIMIT
#define mr_min_f32 mr__min_f32
#define mr_max_f32 mr__max_f32
#endif

#define mr_sel_i8(m, a, b) MR__SELECT(i8, i8, m, a, b)
#define mr_sel_u8(m, a, b) MR__SELECT(u8, i8, m, a, b)
#define mr_sel_i16(m, a, b) MR__SELECT(i16, i16, m, a, b)
#define mr_sel_u16(m, a, b) MR__SELECT(u16, i16, m, a, b)
#define mr_sel_i32(m, a, b) MR__SELECT(i32, i32, m, a, b)
#define mr_sel_u32(m, a, b) MR__SELECT(u32, i32, m, a, b)
#define mr_sel_i64(m, a, b) MR__SELECT(i64, i64, m, a, b)
#define mr_sel_u64(m, a, b) MR__SELECT(u64, i64, m, a, b)
#define mr_sel_f32(m, a, b) MR__SELECT(f32, i32, m, a, b)
#define mr_sel_f64(m, a, b) MR__SELECT(f64, i64, m, a, b)

#define MR__FROM(T, S)                                                                                                 \
    MR_ROW_FUNCTION mr_##T mr_##T##_from_##S(mr_##S x) { return MR__CONVERT(T, x); }
#define MR__FROM_ALL(T, element, mask)                                                                                 \
    MR__FROM(T, i8) MR__FROM(T, u8) MR__FROM(T, i16) MR__FROM(T, u16) MR__FROM(T, i32) MR__FROM(T, u32)                \
    MR__FROM(T, i64) MR__FROM(T, u64) MR__FROM(T, f32) MR__FROM(T, f64)
MR__LANE_MAP(MR__FROM_ALL)
#undef MR__FROM_ALL
#undef MR__FROM

/* GCC converts a vector that grows in two halves and joins them; as the lower half of a larger vector that is thrown
 * away it is one instruction. */
#if (MR_LANES == 4 || MR_LANES == 8) && defined MR__SHUFFLES
MR_ROW_FUNCTION mr_f64 mr__f64_from_f32(mr_f32 x)
{
    typedef double twice __attribute__((vector_size(2 * sizeof(mr_f64))));
#if MR_LANES == 4
    const twice wide = __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3, -1, -1, -1, -1), twice);
    return __builtin_shufflevector(wide, wide, 0, 1, 2, 3);
#else
    const twice wide = __builtin_convertvector(
        __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -1, -1, -1, -1, -1, -1), twice);
    return __builtin_shufflevector(wide, wide, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
}
#define mr_f64_from_f32 mr__f64_from_f32
#endif

#define MR__BITS(F, I)                                                                                                 \
    MR_ROW_FUNCTION mr_##I mr_bits_##F(mr_##F x)                                                                       \
    {                                                                                                                  \
        mr_##I bits;                                                                                                   \
        memcpy(&bits, &x, sizeof x);                                                                                   \
        return bits;                                                                                                   \
    }                                                                                                                  \
    MR_ROW_FUNCTION mr_##F mr_##F##_bits(mr_##I bits)                                                                  \
    {                                                                                                                  \
        mr_##F x;                                                                                                      \
        memcpy(&x, &bits, sizeof x);                                                                                   \
        return x;                                                                                                      \
    }
MR__BITS(f32, i32)
MR__BITS(f64, i64)
#undef MR__BITS

/* Lane by lane: the compiler makes one instruction of it where there is one. */
#define MR__LANEWISE(T, element, name, call)                                                                           \
    MR_ROW_FUNCTION mr_##T name(mr_##T x)                                                                              \
    {                                                                                                                  \
        element lane[MR_LANES];                                                                                        \
        memcpy(lane, &x, sizeof x);                                                                                    \
        for (int i = 0; i < MR_LANES; i++)                                                                             \
            lane[i] = call(lane[i]);                                                                                   \
        memcpy(&x, lane, sizeof x);                                                                                    \
        return x;                                                                                                      \
    }
MR__LANEWISE(f32, float, mr_sqrt_f32, __builtin_sqrtf)
MR__LANEWISE(f64, double, mr_sqrt_f64, __builtin_sqrt)
#undef MR__LANEWISE

MR_ROW_FUNCTION mr_i64 mr_row_index_i64(mr_row row)
{
    int64_t lane[MR_LANES];
    mr_i64 index;
    for (int i = 0; i < MR_LANES; i++)
        lane[i] = i;
    memcpy(&index, lane, sizeof index);
    return index + (int64_t)(row.block->first_row + row.at);
}

MR_ROW_FUNCTION mr_f64 mr_row_index_f64(mr_row row)
{
    return mr_f64_from_i64(mr_row_index_i64(row));
}

#endif
