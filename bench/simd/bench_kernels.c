/* bench_kernels.c: bytes per second of the text and transpose kernels at each level, on one core, a block (256 KiB) at
 * a time as the engine does it. The checksum column must be the same at every level: a fast wrong answer shows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_clock.h"
#include "kernels.h"

enum { BLOCK = 256 << 10, BLOCKS = 32, REPEATS = 20, COLUMNS = 5 };

static uint8_t text[BLOCK + MR_BLOCK_PADDING];
static uint8_t noise[BLOCK], zeros[BLOCK];
static uint8_t folded[BLOCK];
static void *columns_out[COLUMNS];

/* Words of 1 to 9 letters, 6 with their blank, and a line end now and then. */
static void make_text(void)
{
    uint64_t state = 88172645463325252u;
    for (size_t at = 0; at < BLOCK;) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        for (uint64_t left = 1 + (state >> 40) % 9; left > 0 && at < BLOCK; left--)
            text[at++] = (uint8_t)('a' + (state >> (left * 4)) % 26);
        if (at < BLOCK)
            text[at++] = (state >> 50) % 12 == 0 ? '\n' : ' ';
    }
}

static void make_noise(void)
{
    uint64_t state = 88172645463325252u;
    for (size_t at = 0; at < BLOCK; at++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        noise[at] = (uint8_t)(state >> 30);
    }
}

static uint64_t walk(uint32_t mode)
{
    const mr_block block = {.data = text, .size = BLOCK};
    mr_spans spans;
    mr_slice span;
    uint64_t sum = 0;
    mr_words_begin(&spans, &block, MR_SPLIT_BLANKS);
    spans.mode = mode;
    while (mr_spans_next(&spans, &span))
        sum += span.size + 1;
    return sum;
}

static uint64_t find_words(void)
{
    return walk(MR_SPLIT_BLANKS);
}

static uint64_t find_letters(void)
{
    return walk(MR_SPLIT_LETTERS);
}

static uint64_t find_lines(void)
{
    return walk(MR__MODE_LINES);
}

static uint64_t fold(void)
{
    mr__kernels_current()->fold(folded, text, BLOCK);
    return folded[BLOCK - 1];
}

static uint64_t count(const uint8_t *bytes)
{
    uint64_t counts[256] = {0}, sum = 0;
    mr__kernels_current()->count_bytes(bytes, BLOCK, bytes, counts);
    for (uint64_t byte = 0; byte < 256; byte++)
        sum += counts[byte] * (byte + 1);
    return sum;
}

static uint64_t count_text(void)
{
    return count(text);
}

static uint64_t count_random(void)
{
    return count(noise);
}

static uint64_t count_zeros(void)
{
    return count(zeros);
}

static uint64_t transpose(uint32_t record_size, mr_column_type type, uint32_t count)
{
    mr_column columns[COLUMNS];
    const size_t rows = BLOCK / record_size, width = mr__column_width(type);
    for (uint32_t c = 0; c < count; c++)
        columns[c] = (mr_column){type, (uint32_t)(c * width)};
    mr__kernels_current()->transpose(text, rows, record_size, columns, count, columns_out);
    return ((uint8_t *)columns_out[count - 1])[rows * width - 1];
}

static uint64_t transpose_points(void)
{
    return transpose(12, MR_COLUMN_F32, 3);
}

static uint64_t transpose_pairs(void)
{
    return transpose(8, MR_COLUMN_F32, 2);
}

static uint64_t transpose_five(void)
{
    return transpose(20, MR_COLUMN_F32, 5);
}

static uint64_t transpose_doubles(void)
{
    return transpose(24, MR_COLUMN_F64, 3);
}

static uint64_t transpose_shorts(void)
{
    return transpose(4, MR_COLUMN_I16, 2);
}

static uint64_t transpose_bytes(void)
{
    return transpose(2, MR_COLUMN_U8, 2);
}

static const struct {
    const char *name;
    uint64_t (*call)(void);
} works[] = {
    {"words", find_words},           {"letters", find_letters},      {"lines", find_lines},
    {"fold", fold},                  {"bytes: text", count_text},    {"bytes: random", count_random},
    {"bytes: zeros", count_zeros},   {"2 x f32", transpose_pairs},   {"3 x f32", transpose_points},
    {"5 x f32", transpose_five},     {"3 x f64", transpose_doubles}, {"2 x i16", transpose_shorts},
    {"2 x u8", transpose_bytes},
};

int main(void)
{
    make_text();
    make_noise();
    for (int c = 0; c < COLUMNS; c++)
        if ((columns_out[c] = aligned_alloc(64, BLOCK + 4096)) == NULL)
            return 1;
    for (size_t w = 0; w < MR__COUNT(works); w++)
        for (int level = 0; level < MR__LEVELS; level++) {
            if (mr__level_force((mr__level)level) != MR_OK)
                continue;
            uint64_t best = UINT64_MAX, sum = 0;
            for (int repeat = 0; repeat < REPEATS; repeat++) {
                const uint64_t begin = cpu_ns();
                for (int b = 0; b < BLOCKS; b++)
                    sum += works[w].call();
                const uint64_t spent = cpu_ns() - begin;
                best = spent < best ? spent : best;
            }
            printf("%-14s %-8s %7.2f GB/s  checksum %llu\n", works[w].name, mr__level_name((mr__level)level),
                   (double)BLOCK * BLOCKS / (double)best, (unsigned long long)sum);
        }
    for (int c = 0; c < COLUMNS; c++)
        free(columns_out[c]);
    return 0;
}
