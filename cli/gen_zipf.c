/* gen_zipf.c: text whose words follow Zipf's law: the word of rank k has the weight k^-s.
 *   64 random bits -> alias table (rank) -> word table (letters and a blank) -> text; 10 to 15 words a line
 * The default (3.85 million words, s = 1) gives 3.8 million distinct words in 1 GiB, 5.4 letters on average.
 *
 * Why an alias table (Walker 1977): one multiplication and one comparison per word, whatever s. Rejection-inversion
 * (Hoermann and Derflinger 1996) needs no table, but an exp() or pow() per word, whose last bit differs between
 * machines. Both tables are larger than the caches (31 and 62 MB), so words are drawn in batches: all table rows of a
 * batch are prefetched before the first is read.
 *
 * Weights are decreasing, so the ranks above the average are a prefix, and the table is built by two cursors: `small`
 * comes down from the last rank, `large` goes up from the first and fills the room that each small one leaves; a large
 * one that falls below the average is filled by the next.
 *
 * Words: the frequent ones are short. The i-th word of length L is  i * step mod 26^L  in base 26: distinct, because
 * step and 26^L have no common factor, and scattered over the alphabet, because step is large. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "generator.h"
#include "memory.h"

enum { LETTERS = 26, LENGTH_MIN = 2, LENGTH_MAX = 12, BATCH = 256, LINE_LEAST = 10, LINE_SPREAD = 6,
       DEFAULT_WORDS = 3850000 };

typedef struct word {
    char text[15];              /* letters and a blank */
    uint8_t size;               /* with the blank */
} word;

typedef struct alias {
    uint32_t threshold, other;
} alias;

typedef struct zipf {
    uint64_t words;
    alias *aliases;
    word *table;
    cli_random random, lines;
    uint32_t rank[BATCH];
    uint32_t next;              /* in rank; BATCH: draw again */
    uint32_t line_left;         /* words until the end of the line */
    char carry[sizeof(word)];   /* of a word that did not fit into the last fill() */
    uint32_t carry_at, carry_size;
} zipf;

/* ---- k^-s, to the same bit everywhere ---------------------------------------------------------------------------- */

static const double LN2 = 0x1.62e42fefa39efp-1;

static double natural_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.7071067811865476) {
        m *= 2;
        exponent--;
    }
    const double t = (m - 1) / (m + 1), square = t * t;
    double sum = 0;
    for (int i = 25; i >= 1; i -= 2)        /* atanh: t + t^3/3 + t^5/5 ... */
        sum = sum * square + 1.0 / i;
    return exponent * LN2 + 2 * t * sum;
}

static double exponential(double x)
{
    const int n = (int)(x / LN2 + (x < 0 ? -0.5 : 0.5));
    const double r = x - n * LN2;
    double sum = 1;
    for (int i = 18; i >= 1; i--)
        sum = 1 + sum * r / i;
    return ldexp(sum, n);
}

static double weight(uint64_t rank, double exponent)
{
    return exponent == 1 ? 1.0 / (double)rank : exponential(-exponent * natural_log((double)rank));
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static mr_status build_aliases(zipf *state, double exponent, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t words = state->words;
    double total = 0;
    uint64_t larges = 0;
    double *share = mr__alloc(words * sizeof *share);       /* 1 is the average */
    MR_CHECK(share != NULL, MR_NO_MEMORY, "no memory for %llu words\n  hint: lower --words", (unsigned long long)words);
    for (uint64_t k = words; k > 0; k--)                    /* the small ones first: they would be lost in the sum */
        total += share[k - 1] = weight(k, exponent);
    for (uint64_t k = 0; k < words; k++) {
        share[k] = share[k] / total * (double)words;
        larges += share[k] >= 1;
    }
    for (uint64_t k = 0; k < words; k++)
        state->aliases[k] = (alias){.threshold = UINT32_MAX, .other = (uint32_t)k};
    uint64_t large = 0;
    for (uint64_t small = words; small > larges && large < larges; small--) {
        state->aliases[small - 1] = (alias){(uint32_t)(share[small - 1] * 0x1p32), (uint32_t)large};
        share[large] -= 1 - share[small - 1];
        while (large + 1 < larges && share[large] < 1) {
            const double left = share[large] > 0 ? share[large] : 0;
            state->aliases[large] = (alias){(uint32_t)(left * 0x1p32), (uint32_t)(large + 1)};
            share[large + 1] -= 1 - left;
            large++;
        }
    }
done:
    mr__free(share);
    return status;
}

/* How long the word of a rank is: one letter more about every sixfold rank, and a little to either side. */
static uint32_t word_length(uint64_t rank)
{
    static const uint64_t limits[] = {40, 300, 2000, 12000, 80000, 500000, 3000000};
    static const int8_t spread[] = {-1, 0, 0, 0, 0, 0, 1, 1};
    uint32_t length = LENGTH_MIN + 1;
    for (size_t i = 0; i < MR__COUNT(limits) && rank >= limits[i]; i++)
        length++;
    const int chosen = (int)length + spread[cli_mix(rank) & 7] - (rank < limits[0]);
    return chosen < LENGTH_MIN ? LENGTH_MIN : (uint32_t)chosen;
}

static void build_words(zipf *state, cli_random random)
{
    uint64_t span[LENGTH_MAX + 1] = {1}, step[LENGTH_MAX + 1], at[LENGTH_MAX + 1];
    for (uint32_t length = 1; length <= LENGTH_MAX; length++) {
        span[length] = span[length - 1] * LETTERS;
        step[length] = cli_random_below(cli_random_next(&random), span[length]) | 1;
        while (step[length] % 13 == 0)
            step[length] += 2;
        step[length] %= span[length];
        at[length] = cli_random_below(cli_random_next(&random), span[length]);
    }
    for (uint64_t k = 0; k < state->words; k++) {
        const uint32_t length = word_length(k);
        at[length] = (at[length] + step[length]) % span[length];
        word *to = &state->table[k];
        uint64_t rest = at[length];
        for (uint32_t i = 0; i < length; i++, rest /= LETTERS)
            to->text[i] = (char)('a' + rest % LETTERS);
        to->text[length] = ' ';
        to->size = (uint8_t)(length + 1);
    }
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void draw_batch(zipf *state)
{
    uint64_t bits[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        bits[i] = cli_random_next(&state->random);
        state->rank[i] = (uint32_t)(((bits[i] >> 32) * state->words) >> 32);
        __builtin_prefetch(&state->aliases[state->rank[i]]);
    }
    for (uint32_t i = 0; i < BATCH; i++) {
        const alias row = state->aliases[state->rank[i]];
        state->rank[i] = (uint32_t)bits[i] < row.threshold ? state->rank[i] : row.other;
        __builtin_prefetch(&state->table[state->rank[i]]);
    }
    state->next = 0;
}

/* Copies sizeof(word) bytes to `to`, of which the first `size` count. */
static inline uint32_t next_word(zipf *state, uint8_t *to)
{
    if (state->next == BATCH)
        draw_batch(state);
    const word *from = &state->table[state->rank[state->next++]];
    memcpy(to, from, sizeof *from);
    if (--state->line_left == 0) {
        to[from->size - 1] = '\n';
        state->line_left = LINE_LEAST + (uint32_t)cli_random_below(cli_random_next(&state->lines), LINE_SPREAD);
    }
    return from->size;
}

static void zipf_fill(void *opaque, uint8_t *to, size_t size)
{
    zipf *state = opaque;
    uint8_t *const end = to + size;
    for (; to < end && state->carry_at < state->carry_size; to++)
        *to = (uint8_t)state->carry[state->carry_at++];
    while ((size_t)(end - to) >= sizeof(word))
        to += next_word(state, to);
    while (to < end) {
        state->carry_size = next_word(state, (uint8_t *)state->carry);
        for (state->carry_at = 0; to < end && state->carry_at < state->carry_size; to++)
            *to = (uint8_t)state->carry[state->carry_at++];
    }
}

static void zipf_close(void *opaque)
{
    zipf *state = opaque;
    if (state == NULL)
        return;
    mr__pages_free(state->aliases, state->words * sizeof *state->aliases);
    mr__pages_free(state->table, state->words * sizeof *state->table);
    mr__free(state);
}

static mr_status zipf_open(const cli_generate_settings *settings, void **out, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t words = settings->words != 0 ? settings->words : DEFAULT_WORDS;
    zipf *state = mr__alloc_zero(1, sizeof *state);
    MR_CHECK(state != NULL, MR_NO_MEMORY, "no memory for the generator");
    state->words = words;
    state->next = BATCH;
    state->random = cli_random_start(settings->seed, 0);
    state->lines = cli_random_start(settings->seed, 1);
    state->line_left = LINE_LEAST;
    state->aliases = mr__pages_alloc(words * sizeof *state->aliases);
    state->table = mr__pages_alloc(words * sizeof *state->table);
    MR_CHECK(state->aliases != NULL && state->table != NULL, MR_NO_MEMORY,
             "no memory for %llu words\n  hint: lower --words", (unsigned long long)words);
    MR_TRY(build_aliases(state, settings->exponent != 0 ? settings->exponent : 1, error));
    build_words(state, cli_random_start(settings->seed, 2));
    *out = state;
    state = NULL;
done:
    zipf_close(state);
    return status;
}

static size_t zipf_row(const cli_generate_settings *settings)
{
    return 1;
}

const cli_generator cli_gen_zipf = {
    .name = "zipf", .row = zipf_row, .open = zipf_open, .fill = zipf_fill, .close = zipf_close};
