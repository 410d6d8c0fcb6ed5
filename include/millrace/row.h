/* row.h: a function over one row, written once over lane types and compiled for every vector level.
 *
 * A row file is written in the common subset of C11 and OpenCL C 1.2. It sees one row; in truth each value is a vector
 * of MR_LANES rows, so there is no `if` on a value: compare gives a mask, select takes the place of the branch.
 *
 *     #define MR_ROW_BITS 32              // the element width that the kernel mostly computes with: 8, 16, 32 or 64
 *     #include <millrace/row.h>
 *     #include "nearest.h"                // struct nearest_params: plain types, no pointers
 *
 *     MR_ROW_KERNEL(nearest, struct nearest_params)           // in scope: row, out, params
 *     {
 *         mr_f32 x = mr_column_f32(row, 0), best = mr_splat_f32(3.0e38f);
 *         mr_i32 which = mr_splat_i32(0);
 *         for (int k = 0; k < params->count; k++) {
 *             mr_f32 distance = mr_abs_f32(x - params->centre[k]);
 *             mr_i32 closer = mr_lt_f32(distance, best);
 *             best = mr_sel_f32(closer, distance, best);
 *             which = mr_sel_i32(closer, mr_splat_i32(k), which);
 *         }
 *         mr_add_f32(out, which, 0, x);                       // dense f64 table: sums[which] += x
 *     }
 *
 * CMake: millrace_row_kernel(<target> nearest_row.c) compiles it for each level. The app's C file includes this header
 * as well, says MR_ROW_TABLE(nearest) and puts &nearest_rows into its descriptor.
 *
 * Lane types: mr_f32 mr_f64 mr_i8 mr_u8 mr_i16 mr_u16 mr_i32 mr_u32 mr_i64 mr_u64. Operators + - * / & | ^ ~ << >> work
 * on them, with a plain number on the other side too. A mask is all ones or zero in each lane, of the signed integer
 * type as wide as what was compared.
 * Types of 8 and 16 bits: where a lane is no vector (scalar, and most GPUs) C makes an int of their operands, and what
 * an operator gives does not wrap around as it does in a vector. So cast it back before the next operator takes it:
 * (mr_u8)(x + y) >> 1, not (x + y) >> 1. The words below do so by themselves. What may wrap is computed on unsigned
 * types, and a product of two mr_u16 by way of mr_u32.
 * For each type T of these:
 *     mr_splat_T(x)                       the same in all lanes
 *     mr_lt_T le gt ge eq ne (a, b)       mask
 *     mr_sel_T(mask, a, b)                a where the mask is set, else b
 *     mr_min_T mr_max_T(a, b)             a if it is below (above) b, else b
 *     mr_T_from_S(x)                      conversion from type S as by a cast in C (floating to integer: towards zero;
 *                                         what does not fit is unspecified)
 *     mr_column_T(row, c)                 column c of the row
 * Floating: mr_sqrt_f32/f64, mr_abs_f32/f64, mr_bits_f32(x) -> mr_i32, mr_f32_bits(i), the same for f64 and mr_i64;
 * mr_exp_f32, mr_log_f32. Rows by number (MR_INPUT_RANGE): mr_row_index_i64(row), mr_row_index_f64(row).
 *
 * Results are the same to the bit at every level: nothing is contracted into fused operations, exp and log are made of
 * + - * and bit operations only, and types of 8 and 16 bits are cast back as said above.
 *
 * Emission, for jobs with dense keys; a key outside the declared range fails the job (MR_BAD_INPUT):
 *     mr_count(out, mr_i32 key)                   u64 table[key] += 1
 *     mr_count_u8(out, mr_u8 key)                 the same for keys of one byte, one to three a cycle; MR_ROW_BITS 8
 *     mr_count_column_u8(out, row, c)             the same as mr_count_u8(out, mr_column_u8(row, c)): the first
 *                                                 column is counted where it lies, two to five bytes a cycle. For
 *                                                 every row or none: not under a condition that depends on the row
 *     mr_add_f32(out, key, slot, mr_f32 value)    f64 table[key * width + slot] += value, in the order of the rows
 *     mr_add_f64(out, key, slot, mr_f64 value)
 *     mr_add_one(out, key, slot)
 *     mr_add_row_f32(out, key, count, values)     slots 0 .. count - 1 at once: the fastest of these
 *     mr_sum_f32 f64 (out, slot, value)           f64 table[slot] += value (key 0), in 64 sums by row number modulo 64
 *     mr_sum_i64 u64 (out, slot, value)           u64 table[slot] += value; wraps around
 * Each call of mr_add_* wants slots of its own: a second one that adds to the same slot does so after the first one's
 * whole vector of rows, so the order, and with it the last bits, would depend on the level. Add the values up before,
 * or give each call a slot and let finish() add them.
 * A file whose kernels emit by mr_sum_* alone may `#define MR_ROW_ONLY_SUMS` before the include: the sums then stay in
 * registers, which counts where a row is little work (linear_regression: 1.4 times as fast). The results are the same,
 * and the other words of emission are not there.
 * Thread safety: a kernel's state lives on its stack; its tables belong to the worker's emitter. */
#ifndef MILLRACE_ROW_H
#define MILLRACE_ROW_H

#define MR__PASTE_(a, b) a##b
#define MR__PASTE(a, b) MR__PASTE_(a, b)

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#include <millrace/row_opencl.h>
#else

#include <millrace/app.h>

/* ---- for the app's C file ---------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define MR__ROW_LEVELS(X, name) X(name, sse2) X(name, avx2) X(name, avx512)
#elif defined(__aarch64__)
#define MR__ROW_LEVELS(X, name) X(name, neon)
#else
#define MR__ROW_LEVELS(X, name)
#endif
#define MR__ROW_PROTOTYPE(name, level) void name##_##level(const mr_block *, mr_emitter *, const void *);
#define MR__ROW_FIELD(name, level) .level = name##_##level,

/* Declares `static const mr_row_kernel <name>_rows`, for the descriptor's .row. */
#define MR_ROW_TABLE(name_)                                                                                            \
    MR__ROW_PROTOTYPE(name_, scalar)                                                                                   \
    MR__ROW_LEVELS(MR__ROW_PROTOTYPE, name_)                                                                           \
    extern const char name_##_source[];                                                                                \
    static const mr_row_kernel name_##_rows = {.name = #name_,                                                         \
                                               .scalar = name_##_scalar,                                               \
                                               MR__ROW_LEVELS(MR__ROW_FIELD, name_).source = name_##_source}

/* ---- for the row file, once per level ---------------------------------------------------------------------------- */

#ifdef MR_ROW_LEVEL
#include <millrace/row_lanes.h>
#include <millrace/row_math.h>
#include <millrace/row_emit.h>
#endif

#endif
#endif
