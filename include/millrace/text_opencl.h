/* text_opencl.h: kernels over text in OpenCL C 1.2: find words or lines, emit pairs.
 *
 *     #include <millrace/text_opencl.h>
 *     struct count_params { uint32_t split, fold; };          // as in the app's C file: plain types, no pointers
 *
 *     MR_TEXT_KERNEL(count, struct count_params)              // in scope: text, out, params
 *     {
 *         mr_fold(text, params->fold);
 *         mr_each_word(text, word, params->split)
 *             mr_emit(out, word, 1);
 *     }
 *
 * The kernel is called for each piece of a text, and sees the words (lines) that start there, read to their ends.
 * CMake: millrace_kernel(<target> count.cl) puts the file's text into the app as count_cl, for the descriptor's
 * .kernel.
 *
 *     mr_each_word(text, word, split) { ... }     words as mr_text_words_split() finds them; split: MR_SPLIT_BLANKS or
 *                                                 MR_SPLIT_LETTERS
 *     mr_each_line(text, line) { ... }    lines as mr_text_lines() finds them
 *     word.at, word.size                  where the span lies in the text
 *     mr_byte(text, at)                   a byte of the text, folded if the text is; at below text->size
 *     mr_fold(text, condition)            from now on A-Z are a-z, in mr_byte(), in keys and in patterns
 *     mr_emit(out, span, amount)          a pair: the span's bytes, and a number that is added up (MR_COUNT, MR_SUM)
 *     mr_add_dense(out, key, amount)      dense keys: table[key] += amount; a key out of range fails the task
 *     mr_each_match(text, line, set, match) { ... }   where a pattern begins in a line, in ascending order; set: what
 *                                         mr_patterns_compile() left in the params, as a __global const uchar *
 *     match.pattern, match.at             which one; where it begins
 *     mr_is_first(text, line, set, match) no earlier match of this pattern in the line
 * A loop may be left with break. Control flow is free: there are no barriers in these words.
 *
 * The engine calls the kernel in one of four modes; the same code serves all.
 *     COUNT     counts[item] = how many pairs it has (COMBINE says it too)
 *     ARRAY     pairs go to entries[counts[item] ..] and not beyond counts[item + 1]: no atomics
 *     COMBINE   pairs are added up in a table in local memory and in a global one for what does not fit there:
 *
 *                   refs[slot]   63  tag  52 51  size  32 31  offset + 1  0      0: free; claimed by compare-and-swap
 *                   values[slot] the sum
 *
 *               `slots` is a power of two; a key that finds no slot sets the fault MR__FAULT_OVERFLOW
 *     DENSE     dense[key] += amount */
#ifndef MILLRACE_TEXT_OPENCL_H
#define MILLRACE_TEXT_OPENCL_H

#include <millrace/device_opencl.h>

#ifdef cl_khr_int64_base_atomics
#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
#endif

enum { MR__MODE_COUNT, MR__MODE_ARRAY, MR__MODE_COMBINE, MR__MODE_DENSE };
enum { MR_SPLIT_BLANKS, MR_SPLIT_LETTERS };

#if defined(MR_LOCAL_BYTES) && MR_LOCAL_BYTES < 32768
#define MR__LOCAL_SLOTS 256
#else
#define MR__LOCAL_SLOTS 1024
#endif
enum { MR__LOCAL_PROBES = 4, MR__PROBES = 128, MR__REF_SIZE_BITS = 20, MR__REF_TAG_SHIFT = 52 };

typedef struct mr__entry {
    uint offset, size;
    ulong value;
} mr__entry;

typedef struct mr_text_in {
    __global const uchar *bytes;
    uint size;
    uint first, stop;       /* records that start here belong to this work-item */
    uint begin;             /* of the whole text's records; 0: a file begins */
    bool fold;
    ulong offset;           /* of byte 0 in its file */
    uint source;            /* the file's number */
    __global uint *fault;
} mr_text_in;

typedef struct mr_span {
    uint at, size;
    uint next;              /* where the search goes on: behind the span, and behind the end of a line */
} mr_span;

typedef struct mr_text_out {
    const mr_text_in *text;
    uint mode;
    ulong pairs;            /* so far; ARRAY: where the next one goes */
    ulong limit;            /* ARRAY */
    uint slots;             /* COMBINE */
    __global mr__entry *entries;
    volatile __global ulong *refs, *values, *dense;
    volatile __local ulong *local_refs, *local_values;
    __global uint *fault;
} mr_text_out;

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static inline uchar mr_byte(const mr_text_in *text, uint at)
{
    const uchar byte = text->bytes[at];
    return text->fold && (uchar)(byte - 'A') < 26 ? byte + ('a' - 'A') : byte;
}

static inline ulong mr__fold8(ulong bytes)
{
    const ulong low7 = bytes & 0x7f7f7f7f7f7f7f7fUL, ones = 0x0101010101010101UL;
    const ulong from_a = low7 + ones * (0x80 - 'A'), behind_z = low7 + ones * (0x7f - 'Z');
    return bytes | (from_a & ~behind_z & ~bytes & ones * 0x80) >> 2;
}

/* Up to 8 bytes as a number, the first lowest; those behind `left` are zero. Reads nothing behind the text. */
static inline ulong mr__load8(const mr_text_in *text, uint at, uint left)
{
    ulong bytes = 0;
    if (text->size - at >= 8) {
        bytes = as_ulong(vload8(0, text->bytes + at));
    } else {
        for (uint i = 0; at + i < text->size; i++)
            bytes |= (ulong)text->bytes[at + i] << 8 * i;
    }
    if (left < 8)
        bytes &= (1UL << 8 * left) - 1;
    return text->fold ? mr__fold8(bytes) : bytes;
}

static inline void mr_fold(mr_text_in *text, bool condition)
{
    text->fold = condition;
    if (condition && get_global_id(0) == 0)
        text->fault[3] = 1;
}

/* ---- words and lines --------------------------------------------------------------------------------------------- */

static inline bool mr__in_word(uchar byte, uint split)
{
    return split == MR_SPLIT_LETTERS ? (uchar)((byte | 0x20) - 'a') < 26 : byte != ' ' && (uchar)(byte - '\t') > 4;
}

/* What ends a record of the job. */
static inline bool mr__is_boundary(uchar byte)
{
#if MR_UNIT == 0
    return byte == '\n';
#else
    return !mr__in_word(byte, MR_SPLIT_BLANKS);
#endif
}

/* A record that began before the text's first one belongs to another task, with all words in it. Looks back for the
 * beginning of the record at `first`; if that lies before the text, it goes on to the next record. */
static inline uint mr__skip_foreign(const mr_text_in *text)
{
    uint at = text->first;
    if (text->begin == 0)
        return at;
    while (at >= text->begin && !mr__is_boundary(text->bytes[at - 1]))
        at--;
    if (at >= text->begin)
        return text->first;
    for (at = text->first; at < text->stop && !mr__is_boundary(text->bytes[at]);)
        at++;
    return at;
}

static inline mr_span mr__words_begin(const mr_text_in *text, uint split)
{
    mr_span word = {0, 0, text->first};
    if (text->first >= text->stop)
        return word;
    if (MR_UNIT == 0 || split != MR_SPLIT_BLANKS)
        word.next = mr__skip_foreign(text);
    if (word.next > 0 && mr__in_word(text->bytes[word.next - 1], split))
        while (word.next < text->stop && mr__in_word(text->bytes[word.next], split))
            word.next++;
    return word;
}

static inline bool mr__next_word(const mr_text_in *text, uint split, mr_span *word)
{
    uint at = word->next;
    while (at < text->stop && !mr__in_word(text->bytes[at], split))
        at++;
    if (at >= text->stop)
        return false;
    word->at = at;
    while (at < text->size && mr__in_word(text->bytes[at], split))
        at++;
    word->size = at - word->at;
    word->next = at;
    return true;
}

static inline mr_span mr__lines_begin(const mr_text_in *text)
{
    mr_span line = {0, 0, text->first};
    if (line.next > 0)
        while (line.next < text->stop && text->bytes[line.next - 1] != '\n')
            line.next++;
    return line;
}

static inline bool mr__next_line(const mr_text_in *text, mr_span *line)
{
    uint at = line->next;
    if (at >= text->stop)
        return false;
    line->at = at;
    while (at < text->size && text->bytes[at] != '\n')
        at++;
    line->size = at - line->at - (at < text->size && at > line->at && text->bytes[at - 1] == '\r');
    line->next = at + (at < text->size);
    return true;
}

#define mr_each_word(text, word, split)                                                                                \
    for (mr_span word = mr__words_begin((text), (split)); mr__next_word((text), (split), &word);)
#define mr_each_line(text, line) for (mr_span line = mr__lines_begin(text); mr__next_line((text), &line);)

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

static inline ulong mr__hash(const mr_text_in *text, uint at, uint size)
{
    ulong hash = size * 0x9e3779b97f4a7c15UL;
    for (uint done = 0; done < size; done += 8) {
        hash = (hash ^ mr__load8(text, at + done, size - done)) * 0x9fb21c651e98df25UL;
        hash ^= hash >> 29;
    }
    return hash ^ hash >> 32;
}

static inline bool mr__same_bytes(const mr_text_in *text, uint a, uint b, uint size)
{
    for (uint done = 0; done < size; done += 8)
        if (mr__load8(text, a + done, size - done) != mr__load8(text, b + done, size - done))
            return false;
    return true;
}

static inline uint mr__ref_at(ulong ref)
{
    return (uint)ref - 1;
}

static inline uint mr__ref_size(ulong ref)
{
    return (uint)(ref >> 32) & ((1u << MR__REF_SIZE_BITS) - 1);
}

static inline bool mr__same_key(const mr_text_in *text, ulong a, ulong b)
{
    return a >> 32 == b >> 32 && mr__same_bytes(text, mr__ref_at(a), mr__ref_at(b), mr__ref_size(a));
}

static inline void mr__put_global(mr_text_out *out, ulong ref, ulong hash, ulong amount)
{
    for (uint probe = 0; probe < MR__PROBES; probe++) {
        const uint slot = (uint)(hash + probe) & (out->slots - 1);
        const ulong there = atom_cmpxchg(&out->refs[slot], 0UL, ref);
        if (there == 0 || mr__same_key(out->text, there, ref)) {
            atom_add(&out->values[slot], amount);
            return;
        }
    }
    mr__fault(out->fault, MR__FAULT_OVERFLOW, 0);
}

/* First come, first served: frequent words come early, and the rest is what the global table is for. */
static inline bool mr__put_local(mr_text_out *out, ulong ref, ulong hash, ulong amount)
{
    for (uint probe = 0; probe < MR__LOCAL_PROBES; probe++) {
        const uint slot = (uint)((hash >> 24) + probe) & (MR__LOCAL_SLOTS - 1);
#if MR_GROUP == 1
        const ulong there = out->local_refs[slot];
        if (there == 0) {
            out->local_refs[slot] = ref;
            out->local_values[slot] = amount;
            return true;
        }
        if (mr__same_key(out->text, there, ref)) {
            out->local_values[slot] += amount;
            return true;
        }
#else
        const ulong there = atom_cmpxchg(&out->local_refs[slot], 0UL, ref);
        if (there == 0 || mr__same_key(out->text, there, ref)) {
            atom_add(&out->local_values[slot], amount);
            return true;
        }
#endif
    }
    return false;
}

static inline void mr__put(mr_text_out *out, mr_span key, ulong amount)
{
    if (key.size >> MR__REF_SIZE_BITS != 0) {
        mr__fault(out->fault, MR__FAULT_LONG_KEY, key.size);
        return;
    }
    const ulong hash = mr__hash(out->text, key.at, key.size);
    const ulong ref = (key.at + 1UL) | (ulong)key.size << 32 | hash >> MR__REF_TAG_SHIFT << MR__REF_TAG_SHIFT;
    if (!mr__put_local(out, ref, hash, amount))
        mr__put_global(out, ref, hash, amount);
}

static inline void mr_emit(mr_text_out *out, mr_span key, ulong amount)
{
    if (out->mode == MR__MODE_COMBINE) {
        mr__put(out, key, amount);
    } else if (out->mode == MR__MODE_ARRAY) {
        if (out->pairs < out->limit)
            out->entries[out->pairs] = (mr__entry){key.at, key.size, amount};
        else
            mr__fault(out->fault, MR__FAULT_OVERFLOW, 0);
    }
    out->pairs++;
}

static inline void mr_add_dense(mr_text_out *out, ulong key, ulong amount)
{
    if (key >= MR_DENSE_KEYS)
        mr__fault(out->fault, MR__FAULT_KEY, key);
    else if (out->mode == MR__MODE_DENSE)
        atom_add(&out->dense[key], amount);
}

/* ---- patterns: the compiled set of mr_patterns_compile(); its layout is the library's own ------------------------ */

typedef struct mr__pattern_entry {
    ulong head, mask, text;
    uint size, pattern;
} mr__pattern_entry;

typedef struct mr__pattern_table {
    uint count, key_mask, bitmap_bits, start_bits;
    ulong bitmap, starts, entries;
} mr__pattern_table;

typedef struct mr__patterns {
    uchar byte[4][128], low[4][32], high[4][32];
    uint columns;
    mr__pattern_table table[2];
} mr__patterns;

typedef struct mr_match {
    uint at, pattern, size;
    ulong text;                     /* the pattern's bytes in the set */
    uint table, entry, entries;     /* entries that are left to look at */
} mr_match;

/* What is a byte in the text is one in a pattern, folded or not. */
static inline bool mr__pattern_at(const mr_text_in *text, __global const uchar *pattern, uint at, uint size)
{
    for (uint i = 0; i < size; i++)
        if (mr_byte(text, at + i) != pattern[i])
            return false;
    return true;
}

static inline mr_match mr__matches_begin(mr_span line)
{
    const mr_match match = {.at = line.at - 1, .table = 2};
    return match;
}

/* The run of entries whose hash is that of the bytes at match->at; of the tables from match->table on. */
static inline void mr__next_run(const mr_text_in *text, __global const uchar *set, mr_match *match)
{
    const uint bytes = (uint)mr__load8(text, match->at, 4);
    for (; match->table < 2; match->table++) {
        __global const mr__pattern_table *table = &((__global const mr__patterns *)set)->table[match->table];
        if (table->count == 0)
            continue;
        const uint hash = (bytes & table->key_mask) * 0x9e3779b1u, bit = hash >> (32 - table->bitmap_bits);
        if ((set[table->bitmap + (bit >> 3)] >> (bit & 7) & 1) == 0)
            continue;
        __global const uint *starts = (__global const uint *)(set + table->starts) + (hash >> (32 - table->start_bits));
        match->entry = starts[0];
        match->entries = starts[1];
        return;
    }
}

static inline bool mr__next_match(const mr_text_in *text, mr_span line, __global const uchar *set, mr_match *match)
{
    __global const mr__patterns *patterns = (__global const mr__patterns *)set;
    const uint end = line.next - (line.next > line.at && text->bytes[line.next - 1] == '\n');
    for (;;) {
        for (; match->entry < match->entries; match->entry++) {
            __global const mr__pattern_entry *entry =
                (__global const mr__pattern_entry *)(set + patterns->table[match->table].entries) + match->entry;
            if (entry->size <= end - match->at && mr__pattern_at(text, set + entry->text, match->at, entry->size)) {
                match->pattern = entry->pattern;
                match->size = entry->size;
                match->text = entry->text;
                match->entry++;
                return true;
            }
        }
        match->entry = match->entries = 0;
        if (++match->table >= 2) {
            do {
                if (++match->at >= end)
                    return false;
            } while (patterns->byte[0][mr_byte(text, match->at) & 127] == 0);
            match->table = 0;
        }
        mr__next_run(text, set, match);
    }
}

static inline bool mr__is_first(const mr_text_in *text, mr_span line, __global const uchar *set, mr_match match)
{
    for (uint at = line.at; at < match.at; at++)
        if (mr__pattern_at(text, set + match.text, at, match.size))
            return false;
    return true;
}

#define mr_each_match(text, line, set, match)                                                                          \
    for (mr_match match = mr__matches_begin(line); mr__next_match((text), (line), (set), &match);)
#define mr_is_first(text, line, set, match) mr__is_first((text), (line), (set), (match))

/* ---- the kernel -------------------------------------------------------------------------------------------------- */

static inline void mr__flush_local(mr_text_out *out)
{
    for (uint slot = get_local_id(0); slot < MR__LOCAL_SLOTS; slot += MR_GROUP) {
        const ulong ref = out->local_refs[slot];
        if (ref != 0)
            mr__put_global(out, ref, mr__hash(out->text, mr__ref_at(ref), mr__ref_size(ref)), out->local_values[slot]);
    }
}

#define MR_TEXT_KERNEL(name, params_type)                                                                              \
    static inline void name##_text(mr_text_in *text, mr_text_out *out, __global const params_type *params);            \
    __kernel __attribute__((reqd_work_group_size(MR_GROUP, 1, 1))) void mr_text(                                       \
        __global const uchar *bytes, uint size, uint begin, uint end, uint piece, ulong offset, uint source,           \
        __global const uchar *params, uint mode, __global uint *counts, __global mr__entry *entries, uint room,        \
        __global ulong *refs, __global ulong *values, uint slots, __global ulong *dense, __global uint *fault)         \
    {                                                                                                                  \
        __local ulong local_refs[MR__LOCAL_SLOTS], local_values[MR__LOCAL_SLOTS];                                      \
        const uint item = get_global_id(0);                                                                            \
        const ulong first = begin + (ulong)item * piece, stop = first + piece < end ? first + piece : size;            \
        mr_text_in text = {.bytes = bytes, .size = size, .first = first < end ? (uint)first : size,                    \
                               .stop = first < end ? (uint)stop : size, .begin = begin, .offset = offset,              \
                               .source = source, .fault = fault};                                                      \
        mr_text_out out = {.text = &text, .mode = mode, .slots = slots, .entries = entries, .refs = refs,              \
                           .values = values, .dense = dense, .local_refs = local_refs,                                 \
                           .local_values = local_values, .fault = fault};                                              \
        if (mode == MR__MODE_COMBINE)                                                                                  \
            for (uint i = get_local_id(0); i < MR__LOCAL_SLOTS; i += MR_GROUP)                                         \
                local_refs[i] = local_values[i] = 0;                                                                   \
        if (mode == MR__MODE_ARRAY) {                                                                                  \
            out.pairs = counts[item];                                                                                  \
            out.limit = counts[item + 1] < room ? counts[item + 1] : room;                                             \
        }                                                                                                              \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        name##_text(&text, &out, (__global const params_type *)params);                                                \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        if (mode == MR__MODE_COMBINE)                                                                                  \
            mr__flush_local(&out);                                                                                     \
        if (mode != MR__MODE_ARRAY)                                                                                    \
            counts[item] = (uint)out.pairs;                                                                            \
    }                                                                                                                  \
    static inline void name##_text(mr_text_in *text, mr_text_out *out, __global const params_type *params)

#endif
