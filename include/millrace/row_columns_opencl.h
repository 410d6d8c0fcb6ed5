/* row_columns_opencl.h: the columns of row.h in OpenCL C, read from the records as they lie in the file.
 *
 * Where records are up to four elements of the column's type, a group of rows is read with whole vectors and the column
 * is picked out of them by shuffles: 16 loads of four bytes each would cost more than pricing an option. (Picked out of
 * an array in private memory, pocl 3.1 copied and gathered: Black-Scholes took 1.3 times as long. Written with clang's
 * __builtin_shufflevector, Oclgrind reports undefined values.) Of a group that is not full, the other lanes read
 * row 0. */
#ifndef MILLRACE_ROW_COLUMNS_OPENCL_H
#define MILLRACE_ROW_COLUMNS_OPENCL_H

/* The group of MR_LANES rows that a kernel is called for. */
typedef struct mr_row {
    __global const uchar *record;   /* the first row's */
    ulong index;                    /* of the first row, in the dataset */
    uint active;                    /* lanes that are rows; with many items maybe none: record is then any of the
                                     * block */
} mr_row;

#if MR_COLUMN_COUNT > 0
__constant uint mr__column_offset[] = {MR_COLUMN_OFFSETS};
#else
__constant uint mr__column_offset[] = {0};
#endif

#define MR__PART_LANE(T, lane) mr__lane_##T(row, offset, lane < row.active ? lane : 0)
#define MR__WHOLE_LANE(T, lane) mr__lane_##T(row, offset, lane)
#if MR_LANES == 1
#define MR__PICK_COLUMN(T, element, mask) return mr__lane_##T(row, offset, 0);
#else
/* Lane l of the column that begins c elements into the record is element l * stride + c of the vectors. */
#define MR__ELEMENT(c, lane) ((lane) * stride + (c))
#define MR__OF_TWO(c, lane) MR__ELEMENT(c, lane) % (2 * MR_LANES)
#define MR__OF_THREE(c, lane)                                                                                          \
    (MR__ELEMENT(c, lane) < 2 * MR_LANES ? (lane) : MR_LANES + MR__ELEMENT(c, lane) % MR_LANES)
#define MR__OF_FOUR(c, lane) ((lane) < MR_LANES / 2 ? (lane) : MR_LANES + (lane))
#define MR__SHUFFLE(a, b, which, c) shuffle2((a), (b), (mr__order)(MR__EACH_LANE(which, c)))
#define MR__PICK(c)                                                                                                    \
    (stride == 1   ? vectors[0]                                                                                        \
     : stride == 2 ? MR__SHUFFLE(vectors[0], vectors[1], MR__OF_TWO, c)                                                \
     : stride == 3 ? MR__SHUFFLE(MR__SHUFFLE(vectors[0], vectors[1], MR__OF_TWO, c), vectors[2], MR__OF_THREE, c)      \
                   : MR__SHUFFLE(MR__SHUFFLE(vectors[0], vectors[1], MR__OF_TWO, c),                                   \
                                 MR__SHUFFLE(vectors[2], vectors[3], MR__OF_TWO, c), MR__OF_FOUR, c))
#define MR__ORDER_i8 mr_u8
#define MR__ORDER_i16 mr_u16
#define MR__ORDER_i32 mr_u32
#define MR__ORDER_i64 mr_u64
#define MR__PICK_COLUMN(T, element, mask)                                                                              \
    typedef MR__ORDER_##mask mr__order;                                                                                \
    mr_##T vectors[4] = {0};                                                                                           \
    for (int i = 0; i < (stride <= 4 ? stride : 1); i++)                                                               \
        vectors[i] = MR__LOAD_LANES((__global const element *)row.record + i * MR_LANES);                              \
    switch (offset / sizeof(element)) {                                                                                \
    case 0: return MR__PICK(0);                                                                                        \
    case 1: return MR__PICK(1);                                                                                        \
    case 2: return MR__PICK(2);                                                                                        \
    default: return MR__PICK(3);                                                                                       \
    }
#endif
#if MR_ALIGNED
#define MR__LANE_LOAD(element) return *(__global const element *)p;
#else
#define MR__LANE_LOAD(element)                                                                                         \
    element x;                                                                                                         \
    uchar *bytes = (uchar *)&x;                                                                                        \
    for (uint i = 0; i < sizeof x; i++)                                                                                \
        bytes[i] = p[i];                                                                                               \
    return x;
#endif
#define MR__COLUMN(T, element, mask)                                                                                   \
    MR_ROW_FUNCTION element mr__lane_##T(mr_row row, uint offset, uint lane)                                           \
    {                                                                                                                  \
        __global const uchar *p = row.record + lane * (uint)MR_RECORD_SIZE + offset;                                   \
        MR__LANE_LOAD(element)                                                                                         \
    }                                                                                                                  \
    MR_ROW_FUNCTION mr_##T mr_column_##T(mr_row row, int column)                                                       \
    {                                                                                                                  \
        enum { stride = MR_RECORD_SIZE >= sizeof(element) ? MR_RECORD_SIZE / sizeof(element) : 1 };                    \
        const uint offset = mr__column_offset[column];                                                                 \
        if (MR_LANES > 1 && row.active < MR_LANES)                                                                     \
            return (mr_##T)(MR__EACH_LANE(MR__PART_LANE, T));                                                          \
        if (!MR_ALIGNED || stride > 4 || MR_RECORD_SIZE % sizeof(element) != 0)                                        \
            return (mr_##T)(MR__EACH_LANE(MR__WHOLE_LANE, T));                                                         \
        MR__PICK_COLUMN(T, element, mask)                                                                              \
    }
MR__LANE_MAP(MR__COLUMN)

#define MR__LANE_NUMBER(x, lane) lane

MR_ROW_FUNCTION mr_i64 mr_row_index_i64(mr_row row)
{
    return (mr_i64)(MR__EACH_LANE(MR__LANE_NUMBER, )) + (long)row.index;
}

MR_ROW_FUNCTION mr_f64 mr_row_index_f64(mr_row row)
{
    return mr_f64_from_i64(mr_row_index_i64(row));
}

#endif
