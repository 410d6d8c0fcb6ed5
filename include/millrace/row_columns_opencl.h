/* row_columns_opencl.h: the columns of row.h in OpenCL C, read from the records as they lie in the file.
 *
 * Where records are up to four elements of the column's type, a group of rows is read with whole vectors and the column
 * is picked out of them in registers: 16 loads of four bytes each would cost more than pricing an option. The lanes are
 * picked out of an array in private memory: compilers turn that into shuffles. Of a group that is not full, the other
 * lanes read row 0. */
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
#define MR__PICKED_LANE(from, lane) from[(lane) * stride]
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
        if (MR_LANES == 1 || !MR_ALIGNED || stride > 4 || MR_RECORD_SIZE % sizeof(element) != 0)                       \
            return (mr_##T)(MR__EACH_LANE(MR__WHOLE_LANE, T));                                                         \
        mr_##T vectors[stride <= 4 ? stride : 1];                                                                      \
        for (int i = 0; i < (stride <= 4 ? stride : 1); i++)                                                           \
            vectors[i] = MR__LOAD_LANES((__global const element *)row.record + i * MR_LANES);                          \
        const element *elements = (const element *)vectors + offset / sizeof(element);                                 \
        return (mr_##T)(MR__EACH_LANE(MR__PICKED_LANE, elements));                                                     \
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
