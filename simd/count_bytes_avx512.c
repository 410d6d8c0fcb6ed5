/* count_bytes_avx512.c: counting without counters in memory.
 *
 *   batch     8 chunks of 512 bytes
 *   chunk     --transpose of bits--> 8 planes of 512 bits: bit i of plane b is bit b of byte i
 *   planes    upper 5 -> 32 masks, one per octet of values; lower 3 -> 8 masks; value = 8 octet + low:
 *             count of a value = population of (mask of its octet & mask of its low bits)
 *
 * A table of counters is bound to one store a byte. Here a value costs three instructions per 512 bytes (and, count,
 * add). So only values that earlier batches had are counted; if they make up the whole batch, it had no other. Else the
 * batch is searched, octet by octet, and what it had is expected from then on.
 *
 *   many octets?  bytes --compress by the upper two bits--> 4 streams --full--> a batch of its own
 *
 * With any byte 256 values cost 1.5 instructions a byte; in four streams of 64 values each it is 3/8 and the splitting.
 *
 * Fetching. Counting is bound by instructions and reading by memory; both at once need the fetches spread evenly
 * between the instructions, because the core has few buffers for them: all at the start of a batch cost 1.7 times the
 * time. bench_kernels, one core, in cache: text 16.4 GB/s (tables 3.2), random bytes 5.5 GB/s. */
#include "count_bytes.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    CHUNK = 512, CHUNKS = 8, BATCH = CHUNKS * CHUNK, LINE = 64, STREAMS = 4,
    FETCH_FIRST = 2,            /* lines a chunk while planes are made; the rest, evenly, while values are counted */
    DENSE_OCTETS = 12,          /* from here on splitting pays ... */
    DENSE_BYTES = 128 << 10     /* ... for so many bytes, before it is asked again */
};

#define UNROLL _Pragma("GCC unroll 8")
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The values that batches had so far, in ascending order, and how often since they were last added to the counts. */
typedef struct expected {
    uint8_t low[32];            /* of each octet: one bit a value */
    uint8_t octet[DENSE_OCTETS];
    size_t octets, values;
    unsigned uppers;            /* one bit for each combination of the upper three bits */
    __m512i sums[DENSE_OCTETS * 8];
} expected;

typedef struct batch {
    __m512i low[8][CHUNKS];     /* masks of the lower three bits */
    __m512i plane[5][CHUNKS];   /* 3 .. 7 */
    bool ascii;                 /* plane 7 is empty */
    const uint8_t *fetch;       /* the next line to fetch */
    const uint8_t *fetch_end;
    uint64_t *counts;
    uint8_t found[32];          /* as expected.low */
    expected expected;
} batch;

/* As many lines as are left, up to `lines`. */
static ALWAYS_INLINE void fetch_some(batch *b, size_t lines)
{
    for (size_t i = 0; i < lines && b->fetch < b->fetch_end; i++, b->fetch += LINE)
        __builtin_prefetch(b->fetch, 0, 2);
}

/* Takes byte j from vector i, or from its partner i ^ step where j has the bit `step`. */
static ALWAYS_INLINE void exchange(__m512i vector[8], int step, __mmask64 partner)
{
    __m512i mixed[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        mixed[i] = _mm512_mask_blend_epi8(partner, vector[i], vector[i ^ step]);
    UNROLL
    for (int i = 0; i < 8; i++)
        vector[i] = mixed[i];
}

/* As a matrix times the unit matrix, each 8 bytes are transposed: byte b holds bit b of all. With the rows of the unit
 * matrix in the order j ^ i, byte j of vector i holds bit j ^ i; three rounds of blends then collect bit i in vector i,
 * and a shuffle brings the bytes into the same order in all. Blends run on two ports, shuffles on one. */
static ALWAYS_INLINE void planes_of(const uint8_t *bytes, __m512i plane[8])
{
    static const uint64_t unit[8] = {0x8040201008040201, 0x4080102004080102, 0x2010804002010804, 0x1020408001020408,
                                     0x0804020180402010, 0x0408010240801020, 0x0201080420108040, 0x0102040810204080};
    const __m512i order = _mm512_set4_epi32(0x0f0e0d0c, 0x0b0a0908, 0x07060504, 0x03020100);
    UNROLL
    for (int i = 0; i < 8; i++)
        plane[i] = _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((long long)unit[i]),
                                                 _mm512_loadu_si512(bytes + i * 64), 0);
    exchange(plane, 1, 0xaaaaaaaaaaaaaaaa);
    exchange(plane, 2, 0xcccccccccccccccc);
    exchange(plane, 4, 0xf0f0f0f0f0f0f0f0);
    UNROLL
    for (int i = 1; i < 8; i++)
        plane[i] = _mm512_shuffle_epi8(plane[i], _mm512_xor_si512(order, _mm512_set1_epi8((char)i)));
}

/* The bits whose planes spell `value`. */
static ALWAYS_INLINE __m512i minterm(__m512i p2, __m512i p1, __m512i p0, const int value)
{
#define MINTERM(v) case v: return _mm512_ternarylogic_epi64(p2, p1, p0, 1 << v);
    switch (value) {        /* one of them is left once this is inlined, but clang wants a constant before */
        MINTERM(0) MINTERM(1) MINTERM(2) MINTERM(3) MINTERM(4) MINTERM(5) MINTERM(6) MINTERM(7)
    }
#undef MINTERM
    __builtin_unreachable();
}

static inline bool is_empty(__m512i bits)
{
    return _mm512_test_epi64_mask(bits, bits) == 0;
}

/* Eight vectors of eight numbers to the vector of their eight sums. */
static ALWAYS_INLINE __m512i sums_of(const __m512i vector[8])
{
    __m512i pair[4], four[2];
    UNROLL
    for (int i = 0; i < 4; i++)
        pair[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(vector[2 * i], vector[2 * i + 1]),
                                   _mm512_unpackhi_epi64(vector[2 * i], vector[2 * i + 1]));
    UNROLL
    for (int i = 0; i < 2; i++)
        four[i] = _mm512_add_epi64(_mm512_shuffle_i64x2(pair[2 * i], pair[2 * i + 1], 0x88),
                                   _mm512_shuffle_i64x2(pair[2 * i], pair[2 * i + 1], 0xdd));
    return _mm512_add_epi64(_mm512_shuffle_i64x2(four[0], four[1], 0x88),
                            _mm512_shuffle_i64x2(four[0], four[1], 0xdd));
}

/* Planes and masks of a batch. */
static void split_batch(batch *b, const uint8_t *bytes)
{
    __m512i top = _mm512_setzero_si512();
    for (int c = 0; c < CHUNKS; c++) {
        __m512i plane[8];
        fetch_some(b, FETCH_FIRST);
        planes_of(bytes + c * CHUNK, plane);
        b->low[0][c] = minterm(plane[2], plane[1], plane[0], 0);
        b->low[1][c] = minterm(plane[2], plane[1], plane[0], 1);
        b->low[2][c] = minterm(plane[2], plane[1], plane[0], 2);
        b->low[3][c] = minterm(plane[2], plane[1], plane[0], 3);
        b->low[4][c] = minterm(plane[2], plane[1], plane[0], 4);
        b->low[5][c] = minterm(plane[2], plane[1], plane[0], 5);
        b->low[6][c] = minterm(plane[2], plane[1], plane[0], 6);
        b->low[7][c] = minterm(plane[2], plane[1], plane[0], 7);
        UNROLL
        for (int i = 0; i < 5; i++)
            b->plane[i][c] = plane[3 + i];
        top = _mm512_or_si512(top, plane[7]);
    }
    b->ascii = is_empty(top);
}

static ALWAYS_INLINE void upper_masks(const batch *b, const int bits, __m512i upper[CHUNKS])
{
    UNROLL
    for (int c = 0; c < CHUNKS; c++)
        upper[c] = minterm(b->plane[4][c], b->plane[3][c], b->plane[2][c], bits);
}

static ALWAYS_INLINE void octet_masks(const batch *b, const __m512i upper[CHUNKS], const int quarter,
                                      __m512i mask[CHUNKS])
{
    UNROLL
    for (int c = 0; c < CHUNKS; c++)
        mask[c] = minterm(upper[c], b->plane[1][c], b->plane[0][c], 4 + quarter);
}

/* ---- the values that are expected -------------------------------------------------------------------------------- */

/* How often the value occurs, in eight parts. */
static ALWAYS_INLINE __m512i count_value(const batch *b, const __m512i mask[CHUNKS], size_t low)
{
    __m512i sum = _mm512_setzero_si512();
    UNROLL
    for (int c = 0; c < CHUNKS; c++)
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(mask[c], b->low[low][c])));
    return sum;
}

/* False, and nothing counted, if the batch has other values. */
static bool count_expected(batch *b)
{
    expected *e = &b->expected;
    __m512i upper[8][CHUNKS], mask[CHUNKS], found[DENSE_OCTETS * 8], total = _mm512_setzero_si512();
    const size_t lines = (BATCH / LINE - FETCH_FIRST * CHUNKS + e->values - 1) / e->values;
    size_t done = 0;
    UNROLL
    for (int bits = 0; bits < 8; bits++)
        if (e->uppers >> bits & 1)
            upper_masks(b, bits, upper[bits]);
    for (size_t o = 0; o < e->octets; o++) {
        const unsigned octet = e->octet[o];
        switch (octet % 4) {
        case 0:
            octet_masks(b, upper[octet / 4], 0, mask);
            break;
        case 1:
            octet_masks(b, upper[octet / 4], 1, mask);
            break;
        case 2:
            octet_masks(b, upper[octet / 4], 2, mask);
            break;
        default:
            octet_masks(b, upper[octet / 4], 3, mask);
        }
        for (unsigned left = e->low[octet]; left != 0; left &= left - 1) {
            fetch_some(b, lines);
            found[done] = count_value(b, mask, (size_t)__builtin_ctz(left));
            total = _mm512_add_epi64(total, found[done++]);
        }
    }
    if (_mm512_reduce_add_epi64(total) != BATCH)
        return false;
    for (size_t i = 0; i < done; i++)
        e->sums[i] = _mm512_add_epi64(e->sums[i], found[i]);
    return true;
}

static void add_expected(batch *b)
{
    expected *e = &b->expected;
    size_t done = 0;
    for (size_t o = 0; o < e->octets; o++)
        for (unsigned left = e->low[e->octet[o]]; left != 0; left &= left - 1)
            b->counts[e->octet[o] * 8 + __builtin_ctz(left)] += (uint64_t)_mm512_reduce_add_epi64(e->sums[done++]);
}

/* What was found is expected as well; but not so much that splitting would be better. */
static void expect_found(batch *b)
{
    expected *e = &b->expected;
    add_expected(b);
    e->octets = e->values = e->uppers = 0;
    for (unsigned octet = 0; octet < 32; octet++) {
        e->low[octet] |= b->found[octet];
        if (e->low[octet] == 0)
            continue;
        if (e->octets == DENSE_OCTETS) {
            memset(e, 0, offsetof(expected, sums));
            return;
        }
        e->octet[e->octets++] = (uint8_t)octet;
        e->values += (size_t)__builtin_popcount(e->low[octet]);
        e->uppers |= 1u << octet / 4;
    }
    memset(e->sums, 0, e->values * sizeof *e->sums);
}

/* ---- any values -------------------------------------------------------------------------------------------------- */

static ALWAYS_INLINE bool any_of(const __m512i mask[CHUNKS])
{
    __m512i any = mask[0];
    UNROLL
    for (int c = 1; c < CHUNKS; c++)
        any = _mm512_or_si512(any, mask[c]);
    return !is_empty(any);
}

/* Returns 1 if values of the octet occur, else 0. quarter: of the values that share the upper three bits. */
static ALWAYS_INLINE unsigned count_octet(batch *b, unsigned octet, const __m512i upper[CHUNKS], const int quarter)
{
    __m512i mask[CHUNKS], sum[8];
    octet_masks(b, upper, quarter, mask);
    if (!any_of(mask))
        return 0;
    fetch_some(b, CHUNKS);
    UNROLL
    for (size_t low = 0; low < 8; low++)
        sum[low] = count_value(b, mask, low);
    const __m512i found = sums_of(sum);
    b->found[octet] = (uint8_t)_mm512_test_epi64_mask(found, found);
    uint64_t *to = b->counts + octet * 8;
    _mm512_storeu_si512(to, _mm512_add_epi64(_mm512_loadu_si512(to), found));
    return 1;
}

static ALWAYS_INLINE unsigned count_upper(batch *b, const int bits)
{
    __m512i upper[CHUNKS];
    unsigned octets = 0;
    upper_masks(b, bits, upper);
    if (!any_of(upper))
        return 0;
    UNROLL
    for (int quarter = 0; quarter < 4; quarter++)
        octets += count_octet(b, (unsigned)(bits * 4 + quarter), upper, quarter);
    return octets;
}

/* Returns how many octets occur. */
static unsigned count_all(batch *b)
{
    unsigned octets = 0;
    memset(b->found, 0, sizeof b->found);
    UNROLL
    for (int bits = 0; bits < 4; bits++)
        octets += count_upper(b, bits);
    if (b->ascii)
        return octets;
    UNROLL
    for (int bits = 4; bits < 8; bits++)
        octets += count_upper(b, bits);
    return octets;
}

/* Returns how many octets occur. Fetches as many bytes at `fetch`. */
static unsigned count_batch(batch *b, const uint8_t *bytes, const uint8_t *fetch)
{
    unsigned octets;
    b->fetch = fetch;
    b->fetch_end = fetch + BATCH;
    split_batch(b, bytes);
    if (b->expected.octets > 0 && count_expected(b)) {
        octets = (unsigned)b->expected.octets;
    } else {
        octets = count_all(b);
        expect_found(b);
    }
    fetch_some(b, BATCH / LINE);
    return octets;
}

/* A batch whose values say nothing about the next one's. */
static void count_alone(batch *b, const uint8_t *bytes)
{
    b->fetch = b->fetch_end = NULL;
    split_batch(b, bytes);
    count_all(b);
}

/* Fewer bytes than a batch. */
static void count_rest(batch *b, const uint8_t *bytes, size_t size)
{
    uint8_t padded[BATCH] __attribute__((aligned(64)));
    if (size == 0)
        return;
    memcpy(padded, bytes, size);
    memset(padded + size, 0, BATCH - size);
    count_alone(b, padded);
    b->counts[0] -= BATCH - size;
}

/* ---- many values ------------------------------------------------------------------------------------------------- */

typedef struct stream {
    size_t used;
    uint8_t bytes[BATCH + CHUNK + 64];
} stream;

static ALWAYS_INLINE void append(stream *to, __m512i bytes, __mmask64 which)
{
    _mm512_storeu_si512(to->bytes + to->used, _mm512_maskz_compress_epi8(which, bytes));
    to->used += (size_t)_mm_popcnt_u64(which);
}

/* A multiple of CHUNK bytes, by way of the streams of their upper two bits. */
static void count_dense(batch *b, const uint8_t *bytes, size_t size, const uint8_t *ahead)
{
    stream streams[STREAMS];
    for (int s = 0; s < STREAMS; s++)
        streams[s].used = 0;
    for (size_t at = 0; at < size; at += CHUNK) {
        for (size_t i = at; i < at + CHUNK; i += 64) {
            __builtin_prefetch(ahead + i, 0, 2);
            const __m512i vector = _mm512_loadu_si512(bytes + i);
            const __mmask64 first = _mm512_movepi8_mask(vector);
            const __mmask64 second = _mm512_movepi8_mask(_mm512_add_epi8(vector, vector));
            append(&streams[0], vector, ~(first | second));
            append(&streams[1], vector, ~first & second);
            append(&streams[2], vector, first & ~second);
            append(&streams[3], vector, first & second);
        }
        for (int s = 0; s < STREAMS; s++) {
            if (streams[s].used < BATCH)
                continue;
            count_alone(b, streams[s].bytes);
            streams[s].used -= BATCH;
            memcpy(streams[s].bytes, streams[s].bytes + BATCH, CHUNK);
        }
    }
    for (int s = 0; s < STREAMS; s++)
        count_rest(b, streams[s].bytes, streams[s].used);
}

void mr__count_bytes_avx512(const uint8_t *data, size_t size, const uint8_t *ahead, uint64_t counts[256])
{
    batch b;
    size_t at = 0;
    b.counts = counts;
    memset(&b.expected, 0, offsetof(expected, sums));
    while (size - at >= BATCH) {
        const unsigned octets = count_batch(&b, data + at, ahead + at);
        at += BATCH;
        if (octets >= DENSE_OCTETS) {
            const size_t rest = (size - at) / CHUNK * CHUNK, dense = rest < DENSE_BYTES ? rest : DENSE_BYTES;
            count_dense(&b, data + at, dense, ahead + at);
            at += dense;
        }
    }
    add_expected(&b);
    count_rest(&b, data + at, size - at);
}
