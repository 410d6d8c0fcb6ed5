/* emit.h: how a map hands on its pairs.
 *
 * mr_emit() appends to a small staging batch; a full batch goes through one call that hashes, prefetches and probes all
 * of it, so memory latency overlaps and the layout of the tables stays private. Keys and values are copied; or large
 * values are computed where they will lie (mr_emit_reserve()).
 * Dense keys (a declared range 0..n-1) skip the batch: they go straight into an array container.
 *
 * Thread safety: an emitter belongs to the worker that runs map. Errors are sticky: after a failed emit the following
 * ones do nothing, and the engine stops the job when map returns, so a map need not check each emit. */
#ifndef MILLRACE_EMIT_H
#define MILLRACE_EMIT_H

#include <string.h>

#include <millrace/block.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MR_BATCH = 512,         /* pairs in a staging batch, at most */
    MR_INLINE_KEY = 16,     /* keys up to so many bytes are staged and stored without a pointer */
    MR__STAGED_LONG = 16384 /* bytes of longer keys that one batch holds */
};

/* One staged key: short ones inline, zero-padded; longer ones by pointer into the batch's own copy. */
typedef struct mr__staged {
    uint64_t head[2];
    const uint8_t *data;    /* NULL for keys of up to MR_INLINE_KEY bytes */
    uint32_t size;
    uint32_t reserved;
} mr__staged;

typedef struct mr_emitter {
    uint32_t count;         /* staged pairs */
    uint32_t value_size;    /* bytes; 0 for MR_COUNT */
    mr_status status;       /* sticky */
    uint32_t long_used;
    mr__staged *staged;     /* [MR_BATCH] */
    uint8_t *values;        /* [batch * value_size], 8-byte aligned */
    uint8_t *long_keys;     /* [MR__STAGED_LONG] */
    /* array container of a job with dense keys, else NULL */
    void *dense;            /* dense_keys * dense_width values of 8 bytes */
    uint64_t dense_keys;
    uint32_t dense_width;   /* values per key: 1, or the length of the f64 vector */
    uint32_t batch;         /* flushed at so many pairs: MR_BATCH, or fewer where values are large */
} mr_emitter;

/* Private ends of the inline functions below. mr__emit_long: a key that is longer than MR_INLINE_KEY, or empty. */
MR_API mr_status mr__emit_flush(mr_emitter *out);
MR_API mr_status mr__emit_long(mr_emitter *out, const void *key, size_t size, const void *value);
MR_API mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key);
MR_API extern const uint8_t mr__key_masks[17][16];

/* Sanitizers report a load that goes beyond the key. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MR__EXACT_LOADS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MR__EXACT_LOADS 1
#endif
#endif

/* Loads a key of 1 to 16 bytes, zero-padded, without a branch on its size. */
static inline void mr__stage_short(mr__staged *staged, const uint8_t *key, size_t size)
{
#ifdef MR__EXACT_LOADS
    staged->head[0] = staged->head[1] = 0;
    memcpy(staged->head, key, size);
#else
    __asm__("" : "+r"(key));    /* hides a smaller object from the compiler, which would think the load a mistake */
    if (__builtin_expect(((uintptr_t)key & 4095) <= 4096 - 16, 1)) {     /* the load stays inside key's page */
        uint64_t head[2], mask[2];
        memcpy(head, key, 16);
        memcpy(mask, mr__key_masks[size], 16);
        staged->head[0] = head[0] & mask[0];
        staged->head[1] = head[1] & mask[1];
    } else {
        staged->head[0] = staged->head[1] = 0;
        memcpy(staged->head, key, size);
    }
#endif
    staged->data = NULL;
    staged->size = (uint32_t)size;
}

/* A key of a known small size: no load goes beyond it. */
static inline void mr__stage_number(mr__staged *staged, const void *key, size_t size)
{
    staged->head[0] = staged->head[1] = 0;
    memcpy(staged->head, key, size);
    staged->data = NULL;
    staged->size = (uint32_t)size;
}

/* The key of the pair is staged: adds the value and counts it. */
static inline mr_status mr__stage_value(mr_emitter *out, const void *value)
{
    const uint32_t i = out->count;
    if (value != NULL && out->value_size == 8)
        memcpy(out->values + (size_t)i * 8, value, 8);
    else if (value != NULL && out->value_size != 0)
        memcpy(out->values + (size_t)i * out->value_size, value, out->value_size);
    if (__builtin_expect((out->count = i + 1) == out->batch, 0))
        return mr__emit_flush(out);
    return out->status;
}

/* Emits one pair of a job with byte keys (or fixed-size byte keys).
 * key: `size` bytes, may be 0 bytes long (then it may be NULL), at most 2^30; copied. value: the job's value size,
 * copied; ignored (may be NULL) when the job combines with MR_COUNT. Cost: a few ns; the call that fills the batch
 * probes all of it.
 * Errors: MR_NO_MEMORY, MR_NO_SPACE, MR_IO_FAILED (from spilling), MR_BAD_INPUT (a key longer than 2^30). */
static inline mr_status mr_emit(mr_emitter *out, const void *key, size_t size, const void *value)
{
    if (__builtin_expect(size - 1 >= MR_INLINE_KEY, 0))     /* one compare for both: 0 wraps around */
        return mr__emit_long(out, key, size, value);
    mr__stage_short(&out->staged[out->count], (const uint8_t *)key, size);
    return mr__stage_value(out, value);
}

/* The same for jobs with u64 and u32 keys. */
static inline mr_status mr_emit_u64(mr_emitter *out, uint64_t key, const void *value)
{
    mr__stage_number(&out->staged[out->count], &key, sizeof key);
    return mr__stage_value(out, value);
}
static inline mr_status mr_emit_u32(mr_emitter *out, uint32_t key, const void *value)
{
    mr__stage_number(&out->staged[out->count], &key, sizeof key);
    return mr__stage_value(out, value);
}

/* Adds to the array container of a job with dense keys and MR_SUM or MR_COUNT. key: below the declared range, else
 * MR_BAD_INPUT and nothing is added. slot: which element of an f64 vector. */
static inline mr_status mr_add_dense_u64(mr_emitter *out, uint64_t key, uint64_t amount)
{
    if (__builtin_expect(key >= out->dense_keys, 0))
        return mr__emit_bad_dense(out, key);
    ((uint64_t *)out->dense)[key * out->dense_width] += amount;
    return MR_OK;
}
static inline mr_status mr_add_dense_f64(mr_emitter *out, uint64_t key, uint32_t slot, double amount)
{
    if (__builtin_expect(key >= out->dense_keys || slot >= out->dense_width, 0))
        return mr__emit_bad_dense(out, key);
    ((double *)out->dense)[key * out->dense_width + slot] += amount;
    return MR_OK;
}

/* Memory in which `count` values will lie, those of the keys first, first + 1, ...: for a map that computes values so
 * large that a copy would count. Value i begins i * *stride bytes (8 more than the job's value size) behind the address
 * returned; the bytes between two values are the engine's. A value is aligned to 8 bytes, or to the largest power of
 * two that divides the value size if that is less. The memory is not initialised, belongs to the engine, and ends with
 * the next mr_emit_reserve(), with mr_emit_commit() and with map. Nothing is emitted before mr_emit_commit(), which
 * emits all `count` pairs.
 * NULL, with *stride as it was, says that there is no such place, and is no error: copy with mr_emit_u64() then. There
 * is one if the job has u64 keys in order and no combine, the keys belong to one part of the result, and the values
 * together have some hundred KiB and fit the memory limit with ease. Results must not depend on it.
 * Cost: an allocation; mr_emit_commit() stores the keys. Thread safety: that of the emitter. */
MR_API void *mr_emit_reserve(mr_emitter *out, uint64_t first, size_t count, size_t *stride);
/* Emits what was reserved. Errors (sticky): MR_APP_FAILED when that is nothing. */
MR_API mr_status mr_emit_commit(mr_emitter *out);

/* Scratch memory of the worker, at least `size` bytes (+ MR_BLOCK_PADDING), 64-byte aligned, valid until map returns;
 * a second call in the same map may move it and keeps nothing. NULL (and a sticky MR_NO_MEMORY) when memory ran out. */
MR_API void *mr_scratch(mr_emitter *out, size_t size);
/* *folded becomes a copy of block in which A-Z are a-z (ASCII only, SIMD); uses mr_scratch(). */
MR_API mr_status mr_fold_block(const mr_block *block, mr_emitter *out, mr_block *folded);

#ifdef __cplusplus
}
#endif
#endif
