/* patterns.c: many literal patterns at once: filter, test, confirm.
 *
 *   text -> filter: 64 positions a step, one mask of candidates (patterns_<level>.c)
 *        -> test:   one bit by the hash of the next 4 bytes
 *        -> confirm: the run of entries with that hash, byte for byte
 *
 * The filter is Teddy's idea (Hyperscan: X. Wang et al., "Hyperscan: a fast multi-pattern regex matcher for modern
 * CPUs", NSDI 2019): patterns fall into 8 buckets, bit b of a table entry says that a byte may stand at this place in a
 * pattern of bucket b, and the AND over the leading bytes leaves the buckets that are possible at each position. Even
 * of 2000 patterns it holds back most of a text (bench/simd/bench_patterns.c: without it half the speed).
 * Rejected: Aho-Corasick, one dependent load for each byte and tables beyond the cache. */
#include "patterns.h"

enum {
    BUCKETS = 8,
    BITS_PER_PATTERN = 5,       /* log2: 32 bits of bitmap a pattern, one in 32 other positions passes */
    SMALLEST_BITMAP = 12, LARGEST_BITMAP = 20
};

static const uint32_t short_size = 4;       /* patterns below go to table 1 */

static uint32_t ceil_log2(size_t number)
{
    uint32_t bits = 0;
    while (((size_t)1 << bits) < number)
        bits++;
    return bits;
}

static uint64_t round_up_64(uint64_t offset)
{
    return (offset + 63) & ~(uint64_t)63;
}

/* Lays out the blob: the header's tables with counts and offsets; returns where the patterns' bytes begin. */
static uint64_t lay_out(const mr_slice *patterns, size_t count, mr__pattern_table table[2])
{
    size_t shortest = short_size;
    memset(table, 0, 2 * sizeof *table);
    for (size_t i = 0; i < count; i++) {
        table[patterns[i].size < short_size].count++;
        if (patterns[i].size < shortest)
            shortest = patterns[i].size;
    }
    table[0].key_mask = UINT32_MAX;
    table[1].key_mask = (uint32_t)(((uint64_t)1 << 8 * shortest) - 1);
    uint64_t at = round_up_64(sizeof(mr__patterns));
    for (int t = 0; t < 2; t++) {
        if (table[t].count == 0)
            continue;
        const uint32_t runs = ceil_log2(table[t].count), bits = runs + BITS_PER_PATTERN;
        table[t].bitmap_bits = bits < SMALLEST_BITMAP ? SMALLEST_BITMAP : bits > LARGEST_BITMAP ? LARGEST_BITMAP : bits;
        table[t].start_bits = runs < 1 ? 1 : runs > LARGEST_BITMAP ? LARGEST_BITMAP : runs;
        table[t].bitmap = at;
        at = round_up_64(at + ((uint64_t)1 << table[t].bitmap_bits) / 8);
        table[t].starts = at;
        at = round_up_64(at + (((uint64_t)1 << table[t].start_bits) + 1) * sizeof(uint32_t));
        table[t].entries = at;
        at = round_up_64(at + (uint64_t)table[t].count * sizeof(mr__pattern_entry));
    }
    return at;
}

size_t mr_patterns_size(const mr_slice *patterns, size_t count)
{
    mr__pattern_table table[2];
    uint64_t bytes = 0;
    if (count > UINT32_MAX)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (patterns[i].size == 0 || patterns[i].size > UINT32_MAX)
            return 0;
        bytes += patterns[i].size;
    }
    return count > 0 ? (size_t)round_up_64(lay_out(patterns, count, table) + bytes) : 0;
}

/* The first 8 bytes of a pattern as they would be loaded from a text, those behind its end zero. */
static uint64_t head_of(const mr_slice *pattern, uint64_t *mask)
{
    uint8_t head[8] = {0}, ones[8] = {0};
    const size_t size = pattern->size < sizeof head ? pattern->size : sizeof head;
    uint64_t number;
    memcpy(head, pattern->data, size);
    memset(ones, 0xff, size);
    memcpy(&number, head, sizeof number);
    memcpy(mask, ones, sizeof *mask);
    return number;
}

/* The key of a pattern; it has at least as many bytes as the table's key. */
static uint32_t key_of(const mr__pattern_table *table, const mr_slice *pattern)
{
    uint8_t head[4] = {0};
    memcpy(head, pattern->data, pattern->size < 4 ? pattern->size : 4);
    return mr__pattern_key(table, head);
}

/* A counting sort: runs of entries by the upper bits of the hash, each in the patterns' order. */
static void fill_table(mr__patterns *blob, mr__pattern_table *table, const mr_slice *patterns, size_t count,
                       uint64_t *text)
{
    uint8_t *base = (uint8_t *)blob, *bitmap = base + table->bitmap;
    uint32_t *starts = (uint32_t *)(base + table->starts);
    mr__pattern_entry *entries = (mr__pattern_entry *)(base + table->entries);
    const size_t runs = (size_t)1 << table->start_bits;
    const bool is_short = table == &blob->table[1];
    for (size_t i = 0; i < count; i++)
        if ((patterns[i].size < short_size) == is_short) {
            const uint32_t key = key_of(table, &patterns[i]), bit = mr__pattern_hash(key, table->bitmap_bits);
            bitmap[bit >> 3] |= (uint8_t)(1 << (bit & 7));
            starts[mr__pattern_hash(key, table->start_bits) + 1]++;
        }
    for (size_t run = 1; run <= runs; run++)
        starts[run] += starts[run - 1];
    for (size_t i = 0; i < count; i++)
        if ((patterns[i].size < short_size) == is_short) {
            const uint32_t run = mr__pattern_hash(key_of(table, &patterns[i]), table->start_bits);
            mr__pattern_entry *entry = &entries[starts[run]++];
            entry->head = head_of(&patterns[i], &entry->mask);
            entry->text = *text;
            entry->size = (uint32_t)patterns[i].size;
            entry->pattern = (uint32_t)i;
            memcpy(base + *text, patterns[i].data, patterns[i].size);
            *text += patterns[i].size;
        }
    memmove(starts + 1, starts, runs * sizeof *starts);     /* each start had moved on to its run's end */
    starts[0] = 0;
}

static void fill_filter(mr__patterns *blob, const mr_slice *patterns, size_t count)
{
    size_t columns = MR__PATTERN_COLUMNS;
    for (size_t i = 0; i < count; i++)
        if (patterns[i].size < columns)
            columns = patterns[i].size;
    blob->columns = (uint32_t)columns;
    for (size_t i = 0; i < count; i++) {
        /* patterns that begin alike share a bucket: the first column then tells the buckets well apart */
        const uint8_t bucket = (uint8_t)(1 << patterns[i].data[0] % BUCKETS);
        for (size_t c = 0; c < columns; c++) {
            const uint8_t byte = patterns[i].data[c];
            blob->byte[c][byte & 127] |= bucket;
            for (int half = 0; half < 2; half++) {
                blob->low[c][half * 16 + (byte & 15)] |= bucket;
                blob->high[c][half * 16 + (byte >> 4)] |= bucket;
            }
        }
    }
}

void mr_patterns_compile(const mr_slice *patterns, size_t count, void *blob)
{
    mr__patterns *compiled = blob;
    memset(blob, 0, mr_patterns_size(patterns, count));
    uint64_t text = lay_out(patterns, count, compiled->table);
    for (int t = 0; t < 2; t++)
        if (compiled->table[t].count > 0)
            fill_table(compiled, &compiled->table[t], patterns, count, &text);
    fill_filter(compiled, patterns, count);
}

static bool append(const mr__patterns *patterns, const mr__pattern_table *table, const uint8_t *data, size_t size,
                   size_t at, mr_match *matches, size_t *count, size_t max)
{
    const uint8_t *base = (const uint8_t *)patterns;
    const uint32_t *starts = (const uint32_t *)(base + table->starts);
    const mr__pattern_entry *entries = (const mr__pattern_entry *)(base + table->entries);
    const uint32_t run = mr__pattern_hash(mr__pattern_key(table, data + at), table->start_bits);
    uint64_t head;
    memcpy(&head, data + at, sizeof head);
    for (uint32_t e = starts[run]; e < starts[run + 1]; e++) {
        const mr__pattern_entry *entry = &entries[e];
        if ((head & entry->mask) != entry->head || entry->size > size - at ||
            (entry->size > 8 && memcmp(base + entry->text + 8, data + at + 8, entry->size - 8) != 0))
            continue;
        if (*count == max)
            return false;
        matches[(*count)++] = (mr_match){.pattern = entry->pattern, .offset = (uint32_t)at};
    }
    return true;
}

/* Runs are in order already; a second table's matches are sorted in. */
static void sort_by_pattern(mr_match *matches, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const mr_match match = matches[i];
        size_t j = i;
        for (; j > 0 && matches[j - 1].pattern > match.pattern; j--)
            matches[j] = matches[j - 1];
        matches[j] = match;
    }
}

bool mr__patterns_confirm(const mr__patterns *patterns, const uint8_t *data, size_t size, size_t at, mr_match *matches,
                          size_t *count, size_t max)
{
    const size_t before = *count;
    for (int t = 0; t < 2; t++)
        if (patterns->table[t].count > 0 &&
            !append(patterns, &patterns->table[t], data, size, at, matches, count, max)) {
            *count = before;
            return false;
        }
    sort_by_pattern(matches + before, *count - before);
    return true;
}

size_t mr_patterns_find(const void *blob, const uint8_t *data, size_t size, size_t *position, mr_match *matches,
                        size_t max)
{
    return mr__kernels_current()->patterns(blob, data, size, position, matches, max);
}
