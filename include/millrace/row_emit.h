/* row_emit.h: the emission words of row.h in C, and the loop that calls a row function for each group of a block.
 *
 *   block   [ tile: group, group, ...][ tile ] ... [ tile: group, ..., part ]
 *
 * Every group has MR_LANES rows; only the last of a block may have fewer that count. A block whose columns are in
 * memory is one tile. Else the library makes columns of the next tile's records when this one's rows are done, while
 * those that follow are being fetched: records are read from memory once, columns never leave the L1 cache.
 *
 * Sums without a key: row i of the block always goes to partial sum i % MR__ROW_PHASES, whatever the lane count, and
 * the partial sums are folded in one order at the end of the block. That makes floating sums equal to the bit at every
 * level. With MR_ROW_ONLY_SUMS the groups of one partial sum come one after the other, so that it stays in a register:
 *
 *   run of 1024 rows   groups 0, 64 / lanes, 2 * 64 / lanes, ...   then 1, 1 + 64 / lanes, ...   and so on
 *
 * Each sum still sees its rows in their order. Where a group of records is one vector (MR__PACKED) columns are not made
 * at all: registers hold the sums of all 64 rows, and fetches are as even as the work.
 *
 * Bytes as keys are counted by the library, which has kernels of its own for that: where they lie if they are a column,
 * else collected first. Include row.h. */
#ifndef MILLRACE_ROW_EMIT_H
#define MILLRACE_ROW_EMIT_H

enum {
    MR__ROW_PHASES = 64,    /* a multiple of every lane count */
    MR__ROW_SLOTS = 32,     /* slots that mr_sum_* may use */
    MR__ROW_BYTES = 16384,  /* keys of one byte that are collected before they are counted */
    MR__ROW_RUN = 1024,     /* rows whose columns stay in the L1 cache; a multiple of the phases */
    MR__ROW_AHEAD = 16384,  /* bytes between what is used and what is fetched */
    MR__ROW_NEAR = 1024,    /* the same where fetches are as even as the work: as many lines as a core waits for */
    MR__ROW_TURNS = MR__PACKED ? MR__ROW_PHASES / MR_LANES : 1  /* groups whose sums are in registers at a time */
};

/* counts[byte] += how often it occurs; at the vector level chosen at run time. ahead: bytes that will be read next;
 * they are fetched meanwhile (counting is bound by instructions, reading by memory), and need not be readable. */
MR_API void mr__count_bytes(const uint8_t *bytes, size_t size, const uint8_t *ahead, uint64_t counts[256]);

typedef struct mr__row_memory {
    union {
        double f64[MR__ROW_PHASES];
        uint64_t u64[MR__ROW_PHASES];
    } sums[MR__ROW_SLOTS] __attribute__((aligned(64)));
    uint8_t bytes[MR__ROW_BYTES];
    uint64_t collected[256], counts[256];   /* of the collected bytes so far; of a column */
} mr__row_memory;

/* Nothing but plain fields, whose address is not passed on: the compiler keeps them in registers. */
typedef struct mr_row_out {
    mr_emitter *emitter;
    mr__row_memory *memory;
    uint64_t keys;
    uint32_t width;
    uint32_t active;        /* lanes of this group that are rows */
    uint32_t phase;         /* of its first row */
    uint32_t f64_used, u64_used;    /* one bit a slot: sums is in use */
    uint32_t bytes_used;
    const uint8_t *ahead;   /* where the rows behind this group lie: fetched while bytes are counted */
    bool counted;           /* bytes and collected are in use */
    uint32_t counted_column;    /* 1 + the column whose bytes are counted at the end of the tile; 0: none */
    bool column_taken;      /* this group has named counted_column; named again it counts again */
    bool by_group;          /* something was emitted that is not taken from a whole column */
#ifdef MR_ROW_ONLY_SUMS
    bool running;           /* the sums of `phase` are here, in place `turn` */
    uint32_t turn;
    mr_f64 running_f64[MR__ROW_TURNS][MR__ROW_SLOTS];
    mr_u64 running_u64[MR__ROW_TURNS][MR__ROW_SLOTS];
#endif
} mr_row_out;

MR_ROW_FUNCTION void mr__row_begin(mr_row_out *out, mr_emitter *emitter, mr__row_memory *memory)
{
    *out = (mr_row_out){
        .emitter = emitter, .memory = memory, .keys = emitter->dense_keys, .width = emitter->dense_width};
    memset(memory->sums, 0, (out->width < MR__ROW_SLOTS ? out->width : MR__ROW_SLOTS) * sizeof memory->sums[0]);
}

/* The rows of the block from `first` on that have columns now; fills a tile. */
MR_ROW_FUNCTION void mr__row_tile(mr_block *part, const mr_block *block, size_t first)
{
    const mr_tiles *tiles = block->tiles;
    const size_t left = block->rows - first;
    part->first_row = block->first_row + first;
    part->rows = left < tiles->rows ? left : tiles->rows;
    part->columns = tiles->columns;
    tiles->fill(tiles, first, part->rows);
}

/* Fetches as many bytes as a group of records has. */
MR_ROW_FUNCTION void mr__row_fetch(const uint8_t *ahead, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(ahead + at, 0, 2);
}

/* counts: of the values of one byte, as keys. */
MR_ROW_FUNCTION void mr__row_add_counts(mr_row_out *out, const uint64_t *counts)
{
    uint64_t *table = (uint64_t *)out->emitter->dense;
    for (uint64_t key = 0; key < 256; key++)
        if (key < out->keys)
            table[key * out->width] += counts[key];
        else if (counts[key] > 0)
            mr__emit_bad_dense(out->emitter, key);
}

/* The end of a tile. */
MR_ROW_FUNCTION void mr__row_end_part(mr_row_out *out, const mr_block *part)
{
    if (out->counted_column == 0)
        return;
    const uint8_t *column = (const uint8_t *)part->columns[out->counted_column - 1];
    memset(out->memory->counts, 0, sizeof out->memory->counts);
    mr__count_bytes(column, part->rows, column + MR__ROW_AHEAD, out->memory->counts);
    mr__row_add_counts(out, out->memory->counts);
    out->counted_column = 0;
}

MR_ROW_FUNCTION void mr__row_end(mr_row_out *out)
{
    double *f64 = (double *)out->emitter->dense;
    uint64_t *u64 = (uint64_t *)out->emitter->dense;
    for (uint32_t slot = 0; slot < MR__ROW_SLOTS; slot++)
        if (((out->f64_used | out->u64_used) >> slot & 1) && slot >= out->width) {
            mr__emit_bad_dense(out->emitter, slot);
        } else if (out->f64_used >> slot & 1) {
            double total = 0;
            for (int i = 0; i < MR__ROW_PHASES; i++)
                total += out->memory->sums[slot].f64[i];
            f64[slot] += total;
        } else if (out->u64_used >> slot & 1) {
            for (int i = 0; i < MR__ROW_PHASES; i++)
                u64[slot] += out->memory->sums[slot].u64[i];
        }
    if (out->counted) {
        mr__count_bytes(out->memory->bytes, out->bytes_used, out->ahead, out->memory->collected);
        mr__row_add_counts(out, out->memory->collected);
    }
}

/* ---- sums by key, lane by lane in the order of the rows ---------------------------------------------------------- */

#ifndef MR_ROW_ONLY_SUMS

/* The index of the key's first value; *bad when the key or the last slot is out of range. */
MR_ROW_FUNCTION size_t mr__row_place(mr_row_out *out, int32_t key, uint32_t slots, bool *bad)
{
    const uint64_t wide = (uint64_t)(int64_t)key;
    out->by_group = true;
    *bad = __builtin_expect(wide >= out->keys || slots > out->width, 0);
    if (*bad)
        mr__emit_bad_dense(out->emitter, wide);
    return (size_t)wide * out->width;
}

/* With a constant lane count the compiler unrolls; only the last group of a block takes the other way. */
#define MR__BY_LANES(out, add, ...)                                                                                    \
    do {                                                                                                               \
        if (__builtin_expect((out)->active == MR_LANES, 1))                                                            \
            add((out), MR_LANES, __VA_ARGS__);                                                                         \
        else                                                                                                           \
            add((out), (out)->active, __VA_ARGS__);                                                                    \
    } while (0)

MR_ROW_FUNCTION void mr__count_lanes(mr_row_out *out, uint32_t lanes, mr_i32 key)
{
    int32_t keys[MR_LANES];
    bool bad;
    memcpy(keys, &key, sizeof key);
    for (uint32_t i = 0; i < lanes; i++) {
        const size_t place = mr__row_place(out, keys[i], 1, &bad);
        if (!bad)
            ((uint64_t *)out->emitter->dense)[place]++;
    }
}

MR_ROW_FUNCTION void mr__add_lanes(mr_row_out *out, uint32_t lanes, mr_i32 key, uint32_t slot, mr_f64 value)
{
    int32_t keys[MR_LANES];
    double values[MR_LANES];
    bool bad;
    memcpy(keys, &key, sizeof key);
    memcpy(values, &value, sizeof value);
    for (uint32_t i = 0; i < lanes; i++) {
        const size_t place = mr__row_place(out, keys[i], slot + 1, &bad);
        if (!bad)
            ((double *)out->emitter->dense)[place + slot] += values[i];
    }
}

/* Lanes a0 b0 a1 b1 ... of two vectors, from lane n on: the indices of a shuffle. */
#if MR_LANES == 4
#define MR__IN_TURN(n) n, 4 + n, 1 + n, 5 + n
#elif MR_LANES == 8
#define MR__IN_TURN(n) n, 8 + n, 1 + n, 9 + n, 2 + n, 10 + n, 3 + n, 11 + n
#elif MR_LANES == 16
#define MR__IN_TURN(n)                                                                                                 \
    n, 16 + n, 1 + n, 17 + n, 2 + n, 18 + n, 3 + n, 19 + n, 4 + n, 20 + n, 5 + n, 21 + n, 6 + n, 22 + n, 7 + n, 23 + n
#endif

#if defined MR__IN_TURN && defined MR__SHUFFLES
/* Their first (second) halves. A macro, because the indices must be constant before anything is inlined. */
#define MR__INTERLEAVE(a, b, second) __builtin_shufflevector((a), (b), MR__IN_TURN((second) * MR_LANES / 2))

/* Four slots of every lane: turned into rows of four in registers, widened and added four at a time. */
MR_ROW_FUNCTION void mr__add_four(double *dense, const size_t *place, const mr_f32 *values)
{
    typedef float four_f32 __attribute__((vector_size(16)));
    typedef double four_f64 __attribute__((vector_size(32)));
    const mr_f32 ac0 = MR__INTERLEAVE(values[0], values[2], 0), bd0 = MR__INTERLEAVE(values[1], values[3], 0);
    const mr_f32 ac1 = MR__INTERLEAVE(values[0], values[2], 1), bd1 = MR__INTERLEAVE(values[1], values[3], 1);
    const mr_f32 abcd[4] = {MR__INTERLEAVE(ac0, bd0, 0), MR__INTERLEAVE(ac0, bd0, 1),
                            MR__INTERLEAVE(ac1, bd1, 0), MR__INTERLEAVE(ac1, bd1, 1)};
    float rows[MR_LANES * 4] __attribute__((aligned(64)));
    memcpy(rows, abcd, sizeof rows);
    for (int i = 0; i < MR_LANES; i++) {
        four_f32 row;
        four_f64 sums;
        memcpy(&row, rows + i * 4, sizeof row);
        memcpy(&sums, dense + place[i], sizeof sums);
        sums += __builtin_convertvector(row, four_f64);
        memcpy(dense + place[i], &sums, sizeof sums);
    }
}
#else
MR_ROW_FUNCTION void mr__add_four(double *dense, const size_t *place, const mr_f32 *values)
{
    for (int i = 0; i < MR_LANES; i++)
        for (int s = 0; s < 4; s++) {
            float value;
            memcpy(&value, (const float *)(values + s) + i, sizeof value);
            dense[place[i] + s] += value;
        }
}
#endif

MR_ROW_FUNCTION void mr__add_row_lanes(mr_row_out *out, uint32_t lanes, mr_i32 key, uint32_t count,
                                       const mr_f32 *values)
{
    double *dense = (double *)out->emitter->dense;
    int32_t keys[MR_LANES];
    size_t place[MR_LANES];
    bool bad = false, any_bad = false;
    memcpy(keys, &key, sizeof key);
    for (uint32_t i = 0; i < lanes; i++) {
        place[i] = mr__row_place(out, keys[i], count, &bad);
        any_bad |= bad;
    }
    if (__builtin_expect(any_bad, 0))       /* the job fails: what this group adds does not matter */
        return;
    uint32_t s = 0;
    if (lanes == MR_LANES)
        for (; s + 4 <= count; s += 4)
            mr__add_four(dense + s, place, values + s);
    for (uint32_t i = 0; i < lanes; i++)
        for (uint32_t rest = s; rest < count; rest++) {
            float value;
            memcpy(&value, (const float *)(values + rest) + i, sizeof value);
            dense[place[i] + rest] += value;
        }
}

MR_ROW_FUNCTION void mr_count(mr_row_out *out, mr_i32 key)
{
    MR__BY_LANES(out, mr__count_lanes, key);
}

MR_ROW_FUNCTION void mr_add_f64(mr_row_out *out, mr_i32 key, uint32_t slot, mr_f64 value)
{
    MR__BY_LANES(out, mr__add_lanes, key, slot, value);
}

MR_ROW_FUNCTION void mr_add_f32(mr_row_out *out, mr_i32 key, uint32_t slot, mr_f32 value)
{
    mr_add_f64(out, key, slot, mr_f64_from_f32(value));
}

MR_ROW_FUNCTION void mr_add_one(mr_row_out *out, mr_i32 key, uint32_t slot)
{
    mr_add_f64(out, key, slot, mr_splat_f64(1.0));
}

MR_ROW_FUNCTION void mr_add_row_f32(mr_row_out *out, mr_i32 key, uint32_t count, const mr_f32 *values)
{
    MR__BY_LANES(out, mr__add_row_lanes, key, count, values);
}

/* ---- bytes as keys ----------------------------------------------------------------------------------------------- */

MR_ROW_FUNCTION void mr_count_u8(mr_row_out *out, mr_u8 key)
{
    out->by_group = true;
    if (__builtin_expect(!out->counted, 0)) {
        memset(out->memory->collected, 0, sizeof out->memory->collected);
        out->counted = true;
    }
    if (__builtin_expect(out->bytes_used > MR__ROW_BYTES - MR_LANES, 0)) {
        mr__count_bytes(out->memory->bytes, out->bytes_used, out->ahead, out->memory->collected);
        out->bytes_used = 0;
    }
    memcpy(out->memory->bytes + out->bytes_used, &key, sizeof key);
    out->bytes_used += out->active;
}

MR_ROW_FUNCTION void mr_count_column_u8(mr_row_out *out, mr_row row, uint32_t column)
{
    if (__builtin_expect(!out->column_taken && (out->counted_column == 0 || out->counted_column == column + 1), 1)) {
        out->counted_column = column + 1;
        out->column_taken = true;
    } else {
        mr_count_u8(out, mr_column_u8(row, (int)column));
    }
}

#endif

/* ---- sums without a key: reproducible ---------------------------------------------------------------------------- */

#ifdef MR_ROW_ONLY_SUMS
#define MR__SUM_RUNNING(T)                                                                                             \
    if (out->running) {                                                                                                \
        out->running_##T[MR__ROW_TURNS == 1 ? 0 : out->turn][slot] += value;                                           \
        return;                                                                                                        \
    }

/* Unrolled, so that the arrays become registers; what is loaded for slots that no sum uses is dropped. */
MR_ROW_FUNCTION void mr__row_take_sums(mr_row_out *out, size_t phase, uint32_t turn)
{
    out->phase = (uint32_t)phase;
    out->turn = turn;
    out->running = true;
    _Pragma("GCC unroll 32")
    for (int slot = 0; slot < MR__ROW_SLOTS; slot++) {
        memcpy(&out->running_f64[turn][slot], out->memory->sums[slot].f64 + phase, sizeof(mr_f64));
        memcpy(&out->running_u64[turn][slot], out->memory->sums[slot].u64 + phase, sizeof(mr_u64));
    }
}

MR_ROW_FUNCTION void mr__row_put_sums(mr_row_out *out, size_t phase, uint32_t turn)
{
    out->running = false;
    _Pragma("GCC unroll 32")
    for (int slot = 0; slot < MR__ROW_SLOTS; slot++)
        if (out->f64_used >> slot & 1)
            memcpy(out->memory->sums[slot].f64 + phase, &out->running_f64[turn][slot], sizeof(mr_f64));
        else if (out->u64_used >> slot & 1)
            memcpy(out->memory->sums[slot].u64 + phase, &out->running_u64[turn][slot], sizeof(mr_u64));
}
#else
#define MR__SUM_RUNNING(T)
#endif

#define MR__SUM(T, element)                                                                                            \
    MR_ROW_FUNCTION void mr_sum_##T(mr_row_out *out, uint32_t slot, mr_##T value)                                      \
    {                                                                                                                  \
        if (__builtin_expect(slot >= MR__ROW_SLOTS, 0)) {                                                              \
            mr__emit_bad_dense(out->emitter, slot);                                                                    \
            return;                                                                                                    \
        }                                                                                                              \
        out->T##_used |= 1u << slot;                                                                                   \
        out->by_group = true;                                                                                          \
        MR__SUM_RUNNING(T)                                                                                             \
        element *sums = out->memory->sums[slot].T + out->phase;                                                        \
        mr_##T sum;                                                                                                    \
        memcpy(&sum, sums, sizeof sum);                                                                                \
        sum += value;                                                                                                  \
        if (MR_LANES == 1 || __builtin_expect(out->active == MR_LANES, 1))                                             \
            memcpy(sums, &sum, sizeof sum);                                                                            \
        else                                                                                                           \
            memcpy(sums, &sum, out->active * sizeof *sums);                                                            \
    }
MR__SUM(f64, double)
MR__SUM(u64, uint64_t)
#undef MR__SUM
#undef MR__SUM_RUNNING

MR_ROW_FUNCTION void mr_sum_f32(mr_row_out *out, uint32_t slot, mr_f32 value)
{
    mr_sum_f64(out, slot, mr_f64_from_f32(value));
}

MR_ROW_FUNCTION void mr_sum_i64(mr_row_out *out, uint32_t slot, mr_i64 value)
{
    mr_sum_u64(out, slot, (mr_u64)value);
}

/* ---- the loop over a block --------------------------------------------------------------------------------------- */

#define MR__ROW_GROUP(name, at)                                                                                        \
    do {                                                                                                               \
        mr__row_fetch(ahead, group_bytes);                                                                             \
        ahead += group_bytes;                                                                                          \
        if (MR_ROW_BITS == 8 && part.column_count > 0)                                                                 \
            out.ahead = (const uint8_t *)part.columns[0] + (at) + MR_LANES;                                            \
        out.column_taken = false;                                                                                      \
        name##_row((mr_row){.block = &part, .at = (at)}, &out, params);                                                \
    } while (0)

#ifdef MR_ROW_ONLY_SUMS
#define MR__ROW_WALK(name, whole)                                                                                      \
    for (size_t run = 0, end; run < whole; run = end) {                                                                \
        end = whole - run < MR__ROW_RUN ? whole : run + MR__ROW_RUN;                                                   \
        for (size_t phase = 0; phase < MR__ROW_PHASES && run + phase < end; phase += MR_LANES) {                       \
            mr__row_take_sums(&out, phase, 0);                                                                         \
            for (size_t at = run + phase; at < end; at += MR__ROW_PHASES)                                              \
                MR__ROW_GROUP(name, at);                                                                               \
            mr__row_put_sums(&out, phase, 0);                                                                          \
        }                                                                                                              \
    }
#else
#define MR__ROW_WALK(name, whole)                                                                                      \
    for (size_t at = 0; at < whole; at += MR_LANES) {                                                                  \
        out.phase = at % MR__ROW_PHASES;                                                                               \
        MR__ROW_GROUP(name, at);                                                                                       \
        if (out.counted_column != 0 && !out.by_group)                                                                  \
            break;          /* every other group would say the same again */                                           \
    }
#endif

/* As many rows of the block as have all phases, if its records can be packed; `first` is the row behind them. */
#if MR__PACKED
#define MR__ROW_TURN(name, number)                                                                                     \
    do {                                                                                                               \
        __builtin_prefetch(records + MR__ROW_NEAR);                                                                    \
        out.phase = number * MR_LANES;                                                                                 \
        out.turn = number;                                                                                             \
        name##_row((mr_row){&part, first + number * MR_LANES, true, records}, &out, params);                           \
        records += sizeof(mr_u64);                                                                                     \
    } while (0)
#define MR__ROW_PACKED(name)                                                                                           \
    if (tiles != NULL && tiles->layout != NULL) {                                                                      \
        const uint8_t *records = tiles->records;                                                                       \
        out.active = MR_LANES;                                                                                         \
        MR__ROW_ALL_TURNS(mr__row_take_sums)                                                                           \
        for (; first + MR__ROW_PHASES <= block->rows; first += MR__ROW_PHASES) {                                       \
            MR__ROW_TURN(name, 0);                                                                                     \
            MR__ROW_TURN(name, 1);                                                                                     \
            MR__ROW_TURN(name, 2);                                                                                     \
            MR__ROW_TURN(name, 3);                                                                                     \
            MR__ROW_TURN(name, 4);                                                                                     \
            MR__ROW_TURN(name, 5);                                                                                     \
            MR__ROW_TURN(name, 6);                                                                                     \
            MR__ROW_TURN(name, 7);                                                                                     \
        }                                                                                                              \
        MR__ROW_ALL_TURNS(mr__row_put_sums)                                                                            \
    }
#define MR__ROW_ALL_TURNS(function)                                                                                    \
    _Pragma("GCC unroll 8")                                                                                            \
    for (uint32_t turn = 0; turn < MR__ROW_TURNS; turn++)                                                              \
        function(&out, turn * MR_LANES, turn);
#else
#define MR__ROW_PACKED(name)
#endif

#define MR_ROW_KERNEL(name, params_type)                                                                               \
    MR_ROW_FUNCTION void name##_row(mr_row row, mr_row_out *out, const params_type *params);                           \
    void MR__PASTE(name##_, MR_ROW_LEVEL)(const mr_block *block, mr_emitter *emitter, const void *params);             \
    void MR__PASTE(name##_, MR_ROW_LEVEL)(const mr_block *block, mr_emitter *emitter, const void *params)              \
    {                                                                                                                  \
        mr__row_memory memory;                                                                                         \
        mr_row_out out;                                                                                                \
        mr_block part = *block;                                                                                        \
        const mr_tiles *const tiles = block->tiles;                                                                    \
        const size_t group_bytes = tiles != NULL ? MR_LANES * tiles->record_size : 0;                                  \
        const uint8_t *ahead = tiles != NULL ? tiles->records + MR__ROW_AHEAD : NULL;                                  \
        size_t first = 0;                                                                                              \
        mr__row_begin(&out, emitter, &memory);                                                                         \
        MR__ROW_PACKED(name)                                                                                           \
        for (; first < block->rows; first += part.rows) {                                                              \
            if (tiles != NULL)                                                                                         \
                mr__row_tile(&part, block, first);                                                                     \
            const size_t whole = part.rows / MR_LANES * MR_LANES;                                                      \
            out.active = MR_LANES;                                                                                     \
            MR__ROW_WALK(name, whole)                                                                                  \
            out.active = (uint32_t)(part.rows - whole);                                                                \
            out.phase = whole % MR__ROW_PHASES;                                                                        \
            out.column_taken = false;                                                                                  \
            if (out.active > 0)                                                                                        \
                name##_row((mr_row){.block = &part, .at = whole}, &out, params);                                       \
            mr__row_end_part(&out, &part);                                                                             \
        }                                                                                                              \
        mr__row_end(&out);                                                                                             \
    }                                                                                                                  \
    MR_ROW_FUNCTION void name##_row(mr_row row, mr_row_out *out, const params_type *params)

#endif
