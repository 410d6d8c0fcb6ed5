/* row_emit_opencl.h: the emission words of row.h in OpenCL C, and the kernel mr_rows(), which calls the row function
 * for each group of rows. What is added, and in which order, is what row_emit.h says: a block's result is the same to
 * the bit.
 *
 *   mr_rows: one work-group of MR_GROUP items for each block of MR_BLOCK_ROWS rows, its own table of
 *   MR_DENSE_KEYS x MR_DENSE_WIDTH values (zeroed by the host).
 *
 *   block    [ tile ][ tile ] ... [part]         a tile: MR_LANES rows of each item
 *
 * One item (CPUs): it walks its block as row_emit.h does, and adds to the table as it goes.
 * Many items (GPUs; MR_GROUP * MR_LANES divides 64): sums without a key belong to a phase, row number modulo 64, and
 * each item owns the phases of its own rows. For sums by key, the keys and values of a tile go through local memory and
 * each item adds, in the order of the rows, those whose key modulo MR_GROUP is its number: the order is kept without
 * atomics, and no two items write to one key. Every item calls the row function for every tile, because there are
 * barriers in it. */
#ifndef MILLRACE_ROW_EMIT_OPENCL_H
#define MILLRACE_ROW_EMIT_OPENCL_H

#include <millrace/row_columns_opencl.h>

enum {
    MR__ROW_PHASES = 64,
    MR__TILE = MR_GROUP * MR_LANES,                     /* rows; divides MR__ROW_PHASES */
    MR__TURNS = MR__ROW_PHASES / MR__TILE,              /* tiles until a phase comes again */
    MR__ROW_SLOTS = MR_DENSE_WIDTH < 32 ? MR_DENSE_WIDTH : 32,
    MR__BYTE_TABLES = MR_GROUP == 1 ? 4 : 1             /* so that equal bytes in a row do not wait for each other */
};

/* With many items the table is in local memory if it is small. */
#if MR_GROUP > 1 && MR_DENSE_KEYS * MR_DENSE_WIDTH <= 2048
#define MR__TABLE_SPACE __local
#define MR__LOCAL_TABLE (MR_DENSE_KEYS * MR_DENSE_WIDTH)
#else
#define MR__TABLE_SPACE __global
#define MR__LOCAL_TABLE 1
#endif
#if MR_GROUP > 1
#define MR__BYTES_SPACE __local
#else
#define MR__BYTES_SPACE __private
#endif

typedef struct mr_row_out {
    MR__TABLE_SPACE ulong *table;
    __global uint *fault;
    mr_f64 *f64_sums;               /* [slot][turn]: lanes of this item's phases */
    mr_u64 *u64_sums;
    MR__BYTES_SPACE uint *bytes;    /* [MR__BYTE_TABLES][256] */
    __local int *keys;              /* of a tile; many items only */
    __local double *values;         /* of a tile, one or (float) four a row; at the end the phases of one slot */
    uint active, turn;              /* of this call: lanes that are rows; the tile's number modulo MR__TURNS */
    uint f64_used, u64_used;        /* one bit a slot */
    bool counted;                   /* bytes are in use */
} mr_row_out;

/* ---- sums by key: in the order of the rows ----------------------------------------------------------------------- */

/* The keys of a group by lane: one that is out of range, or no row, becomes -1. */
MR_ROW_FUNCTION void mr__take_keys(mr_row_out *out, mr_i32 key, uint slots, int *keys)
{
    MR__STORE_LANES(key, keys);
#if MR_LANES > 1
    const uint limit = MR_DENSE_KEYS < 0x80000000 ? MR_DENSE_KEYS : 0x80000000;
    if (out->active == MR_LANES && slots <= MR_DENSE_WIDTH && all(MR__SAME_BITS(uint, key) < limit))
        return;
#endif
    for (uint i = 0; i < MR_LANES; i++)
        if (i >= out->active) {
            keys[i] = -1;
        } else if ((ulong)(long)keys[i] >= MR_DENSE_KEYS || slots > MR_DENSE_WIDTH) {
            mr__fault(out->fault, MR__FAULT_KEY, (ulong)(long)keys[i]);
            keys[i] = -1;
        }
}

#if MR_GROUP == 1

MR_ROW_FUNCTION void mr_count(mr_row_out *out, mr_i32 key)
{
    int keys[MR_LANES];
    mr__take_keys(out, key, 1, keys);
    for (uint i = 0; i < MR_LANES; i++)
        if (keys[i] >= 0)
            out->table[(ulong)keys[i] * MR_DENSE_WIDTH]++;
}

MR_ROW_FUNCTION void mr_add_f64(mr_row_out *out, mr_i32 key, uint slot, mr_f64 value)
{
    __global double *table = (__global double *)out->table + slot;
    int keys[MR_LANES];
    double values[MR_LANES];
    mr__take_keys(out, key, slot + 1, keys);
    MR__STORE_LANES(value, values);
    for (uint i = 0; i < MR_LANES; i++)
        if (keys[i] >= 0)
            table[(ulong)keys[i] * MR_DENSE_WIDTH] += values[i];
}

/* Four slots of every lane: turned into rows of four in registers, widened and added four at a time. The keys come from
 * memory: as elements of a vector each would take the ports that the adding itself needs. */
#if MR_LANES >= 4
MR_ROW_FUNCTION void mr__interleave(mr_f32 a, mr_f32 b, mr_f32 *first, mr_f32 *second)
{
    first->even = a.lo;
    first->odd = b.lo;
    second->even = a.hi;
    second->odd = b.hi;
}

MR_ROW_FUNCTION void mr__add_four(__global double *table, const volatile int *keys, const mr_f32 *values)
{
    mr_f32 ac[2], bd[2], rows[4];
    mr__interleave(values[0], values[2], &ac[0], &ac[1]);
    mr__interleave(values[1], values[3], &bd[0], &bd[1]);
    mr__interleave(ac[0], bd[0], &rows[0], &rows[1]);
    mr__interleave(ac[1], bd[1], &rows[2], &rows[3]);
    const float *row = (const float *)rows;
    for (uint i = 0; i < MR_LANES; i++) {
        __global double *sums = table + (ulong)keys[i] * MR_DENSE_WIDTH;
        vstore4(vload4(0, sums) + convert_double4(vload4(i, row)), 0, sums);
    }
}
#endif

MR_ROW_FUNCTION void mr_add_row_f32(mr_row_out *out, mr_i32 key, uint count, const mr_f32 *values)
{
    __global double *table = (__global double *)out->table;
    int keys[MR_LANES];
    mr__take_keys(out, key, count, keys);
    uint slot = 0;
#if MR_LANES >= 4
    if (all(MR__LOAD_LANES(keys) >= 0)) {
        const volatile mr_i32 stored = MR__LOAD_LANES(keys);
        for (; slot + 4 <= count; slot += 4)
            mr__add_four(table + slot, (const volatile int *)&stored, values + slot);
    }
#endif
    for (; slot < count; slot++) {
        float lanes[MR_LANES];
        MR__STORE_LANES(values[slot], lanes);
        for (uint i = 0; i < MR_LANES; i++)
            if (keys[i] >= 0)
                table[(ulong)keys[i] * MR_DENSE_WIDTH + slot] += lanes[i];
    }
}

#else

/* The tile's keys lie in local memory behind the barrier that comes after this. */
MR_ROW_FUNCTION void mr__stage_keys(mr_row_out *out, mr_i32 key, uint slots)
{
    int keys[MR_LANES];
    mr__take_keys(out, key, slots, keys);
    barrier(CLK_LOCAL_MEM_FENCE);           /* the other items have done with the last tile's */
    for (uint i = 0; i < MR_LANES; i++)
        out->keys[get_local_id(0) * MR_LANES + i] = keys[i];
}

MR_ROW_FUNCTION bool mr__mine(int key)
{
    return key >= 0 && (uint)key % MR_GROUP == get_local_id(0);
}

MR_ROW_FUNCTION void mr_count(mr_row_out *out, mr_i32 key)
{
    mr__stage_keys(out, key, 1);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < MR__TILE; i++)
        if (mr__mine(out->keys[i]))
            out->table[(ulong)out->keys[i] * MR_DENSE_WIDTH]++;
}

MR_ROW_FUNCTION void mr_add_f64(mr_row_out *out, mr_i32 key, uint slot, mr_f64 value)
{
    MR__TABLE_SPACE double *table = (MR__TABLE_SPACE double *)out->table + slot;
    mr__stage_keys(out, key, slot + 1);
    double values[MR_LANES];
    MR__STORE_LANES(value, values);
    for (uint i = 0; i < MR_LANES; i++)
        out->values[get_local_id(0) * MR_LANES + i] = values[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < MR__TILE; i++)
        if (mr__mine(out->keys[i]))
            table[(ulong)out->keys[i] * MR_DENSE_WIDTH] += out->values[i];
}

MR_ROW_FUNCTION void mr_add_row_f32(mr_row_out *out, mr_i32 key, uint count, const mr_f32 *values)
{
    __local float *staged = (__local float *)out->values;
    for (uint first = 0; first < count; first += 4) {
        MR__TABLE_SPACE double *table = (MR__TABLE_SPACE double *)out->table + first;
        const uint slots = count - first < 4 ? count - first : 4;
        mr__stage_keys(out, key, count);
        for (uint slot = 0; slot < slots; slot++) {
            float lanes[MR_LANES];
            MR__STORE_LANES(values[first + slot], lanes);
            for (uint i = 0; i < MR_LANES; i++)
                staged[(get_local_id(0) * MR_LANES + i) * 4 + slot] = lanes[i];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = 0; i < MR__TILE; i++)
            if (mr__mine(out->keys[i]))
                for (uint slot = 0; slot < slots; slot++)
                    table[(ulong)out->keys[i] * MR_DENSE_WIDTH + slot] += staged[i * 4 + slot];
    }
}

#endif

MR_ROW_FUNCTION void mr_add_f32(mr_row_out *out, mr_i32 key, uint slot, mr_f32 value)
{
    mr_add_f64(out, key, slot, mr_f64_from_f32(value));
}

MR_ROW_FUNCTION void mr_add_one(mr_row_out *out, mr_i32 key, uint slot)
{
    mr_add_f64(out, key, slot, mr_splat_f64(1.0));
}

/* ---- bytes as keys: counted in private or local tables ----------------------------------------------------------- */

MR_ROW_FUNCTION void mr_count_u8(mr_row_out *out, mr_u8 key)
{
    uchar keys[MR_LANES];
    MR__STORE_LANES(key, keys);
    out->counted = true;
    for (uint i = 0; i < MR_LANES; i++)
        if (i < out->active) {
#if MR_GROUP == 1
            out->bytes[i % MR__BYTE_TABLES * 256 + keys[i]]++;
#else
            atomic_inc(&out->bytes[keys[i]]);
#endif
        }
}

MR_ROW_FUNCTION void mr_count_column_u8(mr_row_out *out, mr_row row, int column)
{
    mr_count_u8(out, mr_column_u8(row, column));
}

/* ---- sums without a key: reproducible ---------------------------------------------------------------------------- */

#define MR__SUM(T)                                                                                                     \
    MR_ROW_FUNCTION void mr_sum_##T(mr_row_out *out, uint slot, mr_##T value)                                          \
    {                                                                                                                  \
        const mr_i64 lane = (mr_i64)(MR__EACH_LANE(MR__LANE_NUMBER, ));                                                \
        if (slot >= MR__ROW_SLOTS) {                                                                                   \
            mr__fault(out->fault, MR__FAULT_KEY, slot);                                                                \
            return;                                                                                                    \
        }                                                                                                              \
        if (out->active < MR_LANES)                                                                                    \
            value = mr_sel_##T(mr_lt_i64(lane, mr_splat_i64(out->active)), value, mr_splat_##T(0));                    \
        out->T##_sums[slot * MR__TURNS + out->turn] += value;                                                          \
        out->T##_used |= 1u << slot;                                                                                   \
    }
MR__SUM(f64)
MR__SUM(u64)

MR_ROW_FUNCTION void mr_sum_f32(mr_row_out *out, uint slot, mr_f32 value)
{
    mr_sum_f64(out, slot, mr_f64_from_f32(value));
}

MR_ROW_FUNCTION void mr_sum_i64(mr_row_out *out, uint slot, mr_i64 value)
{
    mr_sum_u64(out, slot, mr_u64_from_i64(value));
}

/* Adds up the phases of each slot in their order. */
#if MR_GROUP == 1
#define MR__FOLD(T, element)                                                                                           \
    MR_ROW_FUNCTION void mr__fold_##T(mr_row_out *out, uint slot)                                                      \
    {                                                                                                                  \
        element total = 0, lanes[MR_LANES];                                                                            \
        for (uint turn = 0; turn < MR__TURNS; turn++) {                                                                \
            MR__STORE_LANES(out->T##_sums[slot * MR__TURNS + turn], lanes);                                            \
            for (uint i = 0; i < MR_LANES; i++)                                                                        \
                total += lanes[i];                                                                                     \
        }                                                                                                              \
        ((__global element *)out->table)[slot] += total;                                                               \
    }
MR__FOLD(f64, double)
MR__FOLD(u64, ulong)

MR_ROW_FUNCTION void mr__fold(mr_row_out *out)
{
    for (uint slot = 0; slot < MR__ROW_SLOTS; slot++)
        if (out->f64_used >> slot & 1)
            mr__fold_f64(out, slot);
        else if (out->u64_used >> slot & 1)
            mr__fold_u64(out, slot);
}
#else
#define MR__PHASES(T, element)                                                                                         \
    MR_ROW_FUNCTION void mr__stage_##T(const mr_row_out *out, uint slot)                                               \
    {                                                                                                                  \
        __local element *phases = (__local element *)out->values;                                                      \
        element lanes[MR_LANES];                                                                                       \
        for (uint turn = 0; turn < MR__TURNS; turn++) {                                                                \
            MR__STORE_LANES(out->T##_sums[slot * MR__TURNS + turn], lanes);                                            \
            for (uint i = 0; i < MR_LANES; i++)                                                                        \
                phases[turn * MR__TILE + get_local_id(0) * MR_LANES + i] = lanes[i];                                   \
        }                                                                                                              \
    }                                                                                                                  \
    MR_ROW_FUNCTION void mr__fold_##T(const mr_row_out *out, uint slot)                                                \
    {                                                                                                                  \
        element total = 0;                                                                                             \
        for (uint i = 0; i < MR__ROW_PHASES; i++)                                                                      \
            total += ((__local element *)out->values)[i];                                                              \
        ((MR__TABLE_SPACE element *)out->table)[slot] += total;                                                        \
    }
MR__PHASES(f64, double)
MR__PHASES(u64, ulong)

/* The barriers stand where each item passes whatever the slots hold. */
MR_ROW_FUNCTION void mr__fold(mr_row_out *out)
{
    for (uint slot = 0; slot < MR__ROW_SLOTS; slot++) {
        const bool f64 = out->f64_used >> slot & 1, u64 = out->u64_used >> slot & 1;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (f64)
            mr__stage_f64(out, slot);
        else if (u64)
            mr__stage_u64(out, slot);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (get_local_id(0) == 0) {
            if (f64)
                mr__fold_f64(out, slot);
            else if (u64)
                mr__fold_u64(out, slot);
        }
    }
}
#endif

/* ---- the loop over a block --------------------------------------------------------------------------------------- */

MR_ROW_FUNCTION void mr__row_begin(mr_row_out *out)
{
    for (uint i = 0; i < MR__ROW_SLOTS * MR__TURNS; i++) {
        out->f64_sums[i] = mr_splat_f64(0.0);
        out->u64_sums[i] = mr_splat_u64(0);
    }
    for (uint i = get_local_id(0); i < MR__BYTE_TABLES * 256; i += MR_GROUP)
        out->bytes[i] = 0;
#if MR_GROUP > 1
    for (uint i = get_local_id(0); i < MR__LOCAL_TABLE; i += MR_GROUP)
        out->table[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
}

MR_ROW_FUNCTION void mr__row_end(mr_row_out *out)
{
    mr__fold(out);
    if (!out->counted)
        return;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint key = get_local_id(0); key < 256; key += MR_GROUP) {
        ulong count = 0;
        for (uint i = 0; i < MR__BYTE_TABLES; i++)
            count += out->bytes[i * 256 + key];
        if (key < MR_DENSE_KEYS)
            out->table[key * MR_DENSE_WIDTH] += count;
        else if (count > 0)
            mr__fault(out->fault, MR__FAULT_KEY, key);
    }
}

/* The kernel is called mr_rows; a file with several row kernels is compiled once for each, with the name of the one
 * that is wanted defined: #define MR__ENTRY_<name> mr_rows (millrace_row_kernel() puts it before the text). */
#define MR_ROW_KERNEL(name, params_type)                                                                               \
    MR_ROW_FUNCTION void name##_row(mr_row row, mr_row_out *out, __global const params_type *params);                  \
    __kernel __attribute__((reqd_work_group_size(MR_GROUP, 1, 1))) void MR__ENTRY_##name(                              \
        __global const uchar *records, __global const uchar *mr__params, ulong first_row, ulong rows,                  \
        __global ulong *tables, __global uint *fault)                                                                  \
    {                                                                                                                  \
        MR__ROW_MEMORY                                                                                                 \
        __global const params_type *params = (__global const params_type *)mr__params;                                 \
        const ulong begin = get_group_id(0) * (ulong)MR_BLOCK_ROWS;                                                    \
        const ulong count = rows - begin < MR_BLOCK_ROWS ? rows - begin : MR_BLOCK_ROWS;                               \
        __global ulong *block_table = tables + get_group_id(0) * ((ulong)MR_DENSE_KEYS * MR_DENSE_WIDTH);              \
        mr_row_out out = {.table = MR__ROW_TABLE(block_table), .fault = fault, .f64_sums = f64_sums,                   \
                          .u64_sums = u64_sums, .bytes = bytes, .keys = keys, .values = values};                       \
        mr__row_begin(&out);                                                                                           \
        MR__ROW_LOOP(name)                                                                                             \
        mr__row_end(&out);                                                                                             \
        MR__ROW_COPY(block_table)                                                                                      \
        if (get_local_id(0) == 0)                                                                                      \
            atomic_inc(&fault[4]);                                                                                     \
    }                                                                                                                  \
    MR_ROW_FUNCTION void name##_row(mr_row row, mr_row_out *out, __global const params_type *params)

/* What is not used costs nothing: compilers drop it once the row function is inlined. */
#define MR__ROW_SUMS                                                                                                   \
    mr_f64 f64_sums[MR__ROW_SLOTS * MR__TURNS];                                                                        \
    mr_u64 u64_sums[MR__ROW_SLOTS * MR__TURNS];
#define MR__ROW_CALL(name, at_, active_)                                                                               \
    do {                                                                                                               \
        const ulong at = (at_);                                                                                        \
        const uint active = (active_);                                                                                 \
        const mr_row row = {records + (begin + (active > 0 ? at : 0)) * MR_RECORD_SIZE, first_row + begin + at,        \
                            active};                                                                                   \
        out.active = active;                                                                                           \
        out.turn = at / MR__TILE % MR__TURNS;                                                                          \
        name##_row(row, &out, params);                                                                                 \
    } while (0)

#if MR_GROUP == 1
#define MR__ROW_MEMORY                                                                                                 \
    MR__ROW_SUMS                                                                                                       \
    uint bytes[MR__BYTE_TABLES * 256];                                                                                 \
    __local int *keys = 0;                                                                                             \
    __local double *values = 0;
#define MR__ROW_TABLE(table) (table)
#define MR__ROW_LOOP(name)                                                                                             \
    const ulong whole = count / MR_LANES * MR_LANES;                                                                   \
    for (ulong row_at = 0; row_at < whole; row_at += MR_LANES)                                                         \
        MR__ROW_CALL(name, row_at, MR_LANES);                                                                          \
    if (count > whole)                                                                                                 \
        MR__ROW_CALL(name, whole, (uint)(count - whole));
#define MR__ROW_COPY(table)
#else
#define MR__ROW_MEMORY                                                                                                 \
    MR__ROW_SUMS                                                                                                       \
    __local uint bytes[MR__BYTE_TABLES * 256];                                                                         \
    __local int keys[MR__TILE];                                                                                        \
    __local double values[MR__TILE * 2 > MR__ROW_PHASES ? MR__TILE * 2 : MR__ROW_PHASES];                              \
    __local ulong local_table[MR__LOCAL_TABLE];
#define MR__ROW_LOOP(name)                                                                                             \
    for (ulong tile = 0; tile * MR__TILE < count; tile++) {                                                            \
        const ulong mine = tile * MR__TILE + get_local_id(0) * MR_LANES;                                               \
        const ulong left = mine < count ? count - mine : 0;                                                            \
        MR__ROW_CALL(name, mine, left < MR_LANES ? (uint)left : MR_LANES);                                             \
    }
#if MR_DENSE_KEYS * MR_DENSE_WIDTH <= 2048
#define MR__ROW_TABLE(table) (local_table)
#define MR__ROW_COPY(table)                                                                                            \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                      \
    for (uint i = get_local_id(0); i < MR__LOCAL_TABLE; i += MR_GROUP)                                                 \
        table[i] = local_table[i];
#else
#define MR__ROW_TABLE(table) (table)
#define MR__ROW_COPY(table)
#endif
#endif

#endif
