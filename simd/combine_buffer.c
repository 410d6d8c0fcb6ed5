/* combine_buffer.c: combine pairs in place; grow first, spill late.
 *
 *   slot: [tag u32 | size u32 | head u64 | head u64 or pointer | value, rounded up to 8]     32 bytes for an 8-byte value
 *         short key (<= 16 bytes): both heads are the key, zero-padded
 *         long key: first 8 bytes, then a pointer to the whole key in the arena
 *
 *   hashes of a batch -> prefetch its slots -> probe: tag and size in one comparison, then the heads
 *
 * Open addressing with linear probing: the slot index is the low bits of the hash, the tag its high half. Two slots share
 * a cache line, so a hit usually costs one line, and the line of every pair of the batch is already on its way.
 *
 * Why it grows first and spills late: text has a few heavy keys and a long tail. A big table keeps the heavy keys; an early
 * spill sends them out again and again. Measured with a probe on 1 GiB of Zipf text: one big table 1.2-2.7 s, a spill at
 * 16 k entries 3.3 s. When a table at its cap took in hardly more pairs than keys (`pays`), a small one serves as well.
 *
 * Growing doubles, in place: the pages stay, as many empty ones come behind them, and no page is cleared or copied for
 * what is already there. With low bits as the index the entry of home slot i stays at home or moves to i + old_count. The
 * pass begins behind an empty slot and takes each entry out and in again, in the order of probing; an entry that stays
 * finds a slot no later than the one that it left, so nothing that was put back is ever cut off (C2). It reads one
 * stream and writes two: no random access.
 *
 * Rejected: one table for all workers (the heavy keys would be contended cache lines); a separate array of tags (two
 * lines a probe once the table is larger than L2).
 *
 * C1  used counts the slots with a tag; used <= grow_at.
 * C2  A slot with a tag can be reached from its home slot without crossing an empty one.
 * C3  No two slots hold the same key. */
#include "combine_buffer.h"

#include "memory.h"

enum { FIRST_SLOTS = 4096, KEY_BYTES = 24, PAYS_FROM = 1 << 18, HUGE_PAGE = 2 << 20 };

typedef struct slot {
    uint32_t tag;           /* 0: empty */
    uint32_t size;
    uint64_t head[2];
    uint8_t value[];
} slot;

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

static slot *slot_at(const mr__combine_buffer *buffer, size_t index)
{
    return (slot *)(buffer->slots + index * buffer->stride);
}

static const uint8_t *slot_key(const slot *s)
{
    if (s->size <= MR_INLINE_KEY)
        return (const uint8_t *)s->head;
    return (const uint8_t *)(uintptr_t)s->head[1];
}

void mr__combine_buffer_init(mr__combine_buffer *buffer, const mr__pair_layout *layout, const mr__combine_rule *rule,
                             mr__budget *budget, uint64_t cap, bool always_grow)
{
    *buffer = (mr__combine_buffer){.layout = *layout, .rule = *rule, .budget = budget, .cap = cap,
                                   .always_grow = always_grow};
    buffer->stride = KEY_BYTES + (((size_t)layout->value_size + 7) & ~(size_t)7);
    mr__arena_init(&buffer->arena);
}

static void release_arena(mr__combine_buffer *buffer)
{
    mr__arena_fini(&buffer->arena);
    mr__budget_release(buffer->budget, buffer->arena_reserved);
    buffer->arena_reserved = 0;
}

static void release_slots(mr__combine_buffer *buffer)
{
    mr__pages_free(buffer->slots, buffer->mapped);
    mr__budget_release(buffer->budget, buffer->mapped);
    mr__free(buffer->spare);
    buffer->slots = buffer->spare = NULL;
    buffer->slot_count = buffer->grow_at = buffer->mapped = 0;
}

void mr__combine_buffer_fini(mr__combine_buffer *buffer)
{
    if (buffer->budget == NULL)
        return;
    release_slots(buffer);
    release_arena(buffer);
}

void mr__combine_buffer_clear(mr__combine_buffer *buffer, bool keep_slots)
{
    if (!keep_slots)
        release_slots(buffer);
    else if (buffer->slots != NULL)
        memset(buffer->slots, 0, buffer->slot_count * buffer->stride);
    release_arena(buffer);
    buffer->used = 0;
    buffer->offered = 0;
}

static void set_slot_count(mr__combine_buffer *buffer, size_t count)
{
    buffer->slot_count = count;
    buffer->grow_at = count / 16 * 11;
}

void mr__combine_buffer_shrink(mr__combine_buffer *buffer, size_t keep)
{
    const size_t least = FIRST_SLOTS * buffer->stride;
    release_arena(buffer);
    buffer->used = 0;
    buffer->offered = 0;
    if (buffer->slots == NULL)
        return;
    keep = keep < least ? least : (keep + (HUGE_PAGE - 1)) & ~(size_t)(HUGE_PAGE - 1);
    if (buffer->mapped > keep) {
        mr__pages_free(buffer->slots + keep, buffer->mapped - keep);
        mr__budget_release(buffer->budget, buffer->mapped - keep);
        buffer->mapped = keep;
    }
    set_slot_count(buffer, FIRST_SLOTS);
    memset(buffer->slots, 0, least);
}

void mr__combine_values(const mr__combine_rule *rule, uint32_t value_size, void *into, const void *value)
{
    if (rule->combine == MR_COMBINE_USER) {
        rule->user(into, value, rule->params);
        return;
    }
    if (rule->value == MR_F64 || rule->value == MR_F64_VECTOR) {
        for (uint32_t at = 0; at < value_size; at += 8) {
            double a, b;
            memcpy(&a, (uint8_t *)into + at, 8);
            memcpy(&b, (const uint8_t *)value + at, 8);
            a = rule->combine == MR_SUM ? a + b : rule->combine == MR_MIN ? (b < a ? b : a) : (b > a ? b : a);
            memcpy((uint8_t *)into + at, &a, 8);
        }
        return;
    }
    uint64_t a, b;
    memcpy(&a, into, 8);
    memcpy(&b, value, 8);
    const bool less = rule->value == MR_I64 ? (int64_t)b < (int64_t)a : b < a;
    if (rule->combine == MR_SUM || rule->combine == MR_COUNT)
        a += b;
    else if (a != b && less == (rule->combine == MR_MIN))
        a = b;
    memcpy(into, &a, 8);
}

/* ---- growing ------------------------------------------------------------------------------------------------------- */

static size_t home_of(const mr__combine_buffer *buffer, const slot *s)
{
    const uint64_t hash = s->size <= MR_INLINE_KEY && buffer->layout.key_suffix == 0
                              ? mr__hash_short(s->head, s->size)
                              : mr__hash_key(slot_key(s), s->size, buffer->layout.key_suffix);
    return hash & (buffer->slot_count - 1);
}

/* Bytes that the buffer holds now. */
static uint64_t footprint(const mr__combine_buffer *buffer)
{
    return buffer->mapped + buffer->arena_reserved;
}

/* After the slots doubled: every entry of the old half goes to its new place. */
static void rehash(mr__combine_buffer *buffer, size_t old_count)
{
    size_t start = 0;
    while (start < old_count && slot_at(buffer, start)->tag != 0)
        start++;
    for (size_t i = 0; i < old_count; i++) {
        slot *from = slot_at(buffer, (start + i) & (old_count - 1));
        if (from->tag == 0)
            continue;
        size_t index = home_of(buffer, from);
        if (slot_at(buffer, index) == from)
            continue;
        memcpy(buffer->spare, from, buffer->stride);
        from->tag = 0;
        while (slot_at(buffer, index)->tag != 0)
            index = (index + 1) & (buffer->slot_count - 1);
        memcpy(slot_at(buffer, index), buffer->spare, buffer->stride);
    }
}

/* Doubles the slots. *grown = false, and nothing changed, at the cap or when the budget is used up. */
static mr_status grow(mr__combine_buffer *buffer, bool *grown, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t old_count = buffer->slot_count;
    const size_t new_count = old_count != 0 ? old_count * 2 : FIRST_SLOTS;
    const size_t bytes = new_count * buffer->stride, old_bytes = old_count * buffer->stride;
    *grown = false;
    if (old_count != 0 && bytes + buffer->arena_reserved > buffer->cap)
        return MR_OK;
    if (buffer->spare == NULL)
        buffer->spare = mr__alloc(buffer->stride);
    MR_CHECK(buffer->spare != NULL, MR_NO_MEMORY, "no memory for a combine buffer");
    if (bytes > buffer->mapped) {
        const size_t more = bytes - buffer->mapped;
        if (old_count == 0)
            mr__budget_force(buffer->budget, more);
        else if (!mr__budget_reserve(buffer->budget, more))
            return MR_OK;
        uint8_t *slots = mr__pages_grow(buffer->slots, buffer->mapped, bytes);
        if (slots == NULL)
            mr__budget_release(buffer->budget, more);
        MR_CHECK(slots != NULL, MR_NO_MEMORY, "no memory for a combine buffer of %zu bytes\n  hint: lower --memory",
                 bytes);
        buffer->slots = slots;
        memset(slots + old_bytes, 0, buffer->mapped - old_bytes);   /* what shrink() left; the rest is zero already */
        buffer->mapped = bytes;
    } else {
        memset(buffer->slots + old_bytes, 0, bytes - old_bytes);
    }
    set_slot_count(buffer, new_count);
    rehash(buffer, old_count);
    *grown = true;
done:
    return status;
}

bool mr__combine_buffer_pays(const mr__combine_buffer *buffer)
{
    return buffer->used < PAYS_FROM || buffer->offered >= buffer->used + buffer->used / 2;
}

/* ---- probing ------------------------------------------------------------------------------------------------------- */

/* What a batch does with a value, known at compile time in each copy of probe_batch. */
enum op { OP_COUNT, OP_SUM_U64, OP_SUM_F64, OP_ANY };

static inline __attribute__((always_inline)) void combine_into(const mr__combine_buffer *buffer, slot *s,
                                                               const uint8_t *value, enum op op)
{
    uint64_t a, b;
    double x, y;
    switch (op) {
    case OP_COUNT:
        memcpy(&a, s->value, 8);
        a++;
        memcpy(s->value, &a, 8);
        break;
    case OP_SUM_U64:
        memcpy(&a, s->value, 8);
        memcpy(&b, value, 8);
        a += b;
        memcpy(s->value, &a, 8);
        break;
    case OP_SUM_F64:
        memcpy(&x, s->value, 8);
        memcpy(&y, value, 8);
        x += y;
        memcpy(s->value, &x, 8);
        break;
    case OP_ANY:
        mr__combine_values(&buffer->rule, buffer->layout.value_size, s->value, value);
        break;
    }
}

static inline __attribute__((always_inline)) void first_value(const mr__combine_buffer *buffer, slot *s,
                                                              const uint8_t *value, enum op op)
{
    const uint64_t one = 1;
    if (op == OP_COUNT)
        memcpy(s->value, &one, 8);
    else if (op == OP_ANY)
        memcpy(s->value, value, buffer->layout.value_size);
    else
        memcpy(s->value, value, 8);
}

/* Does the slot, whose tag and size agree, hold this key? */
static inline __attribute__((always_inline)) bool same_key(const slot *s, const mr__staged *key)
{
    if (__builtin_expect(key->data == NULL, 1))
        return ((s->head[0] ^ key->head[0]) | (s->head[1] ^ key->head[1])) == 0;
    return s->head[0] == key->head[0] && memcmp(slot_key(s), key->data, key->size) == 0;
}

static mr_status reserve_arena(mr__combine_buffer *buffer, size_t size, bool *room)
{
    const size_t growth = mr__arena_growth(&buffer->arena, size);
    *room = true;
    if (growth == 0)
        return MR_OK;
    if (buffer->used == 0)
        mr__budget_force(buffer->budget, growth);       /* one key must fit */
    else if (footprint(buffer) + growth > buffer->cap || !mr__budget_reserve(buffer->budget, growth))
        *room = false;
    if (*room)
        buffer->arena_reserved += growth;
    return MR_OK;
}

/* Puts a key into an empty slot. *room = false: the arena is at its cap. */
static mr_status claim(mr__combine_buffer *buffer, slot *s, const mr__staged *key, uint32_t tag, bool *room,
                       mr__error *error)
{
    mr_status status = MR_OK;
    *room = true;
    uint64_t second = key->head[1];
    if (key->data != NULL) {
        MR_TRY(reserve_arena(buffer, key->size + MR_INLINE_KEY, room));
        if (!*room)
            goto done;
        uint8_t *copy = mr__arena_alloc(&buffer->arena, (size_t)key->size + MR_INLINE_KEY, 1);
        MR_CHECK(copy != NULL, MR_NO_MEMORY, "no memory for a key of %u bytes\n  hint: lower --memory", key->size);
        memcpy(copy, key->data, key->size);
        second = (uint64_t)(uintptr_t)copy;
    }
    s->tag = tag;
    s->size = key->size;
    s->head[0] = key->head[0];
    s->head[1] = second;
    buffer->used++;
done:
    return status;
}

static inline __attribute__((always_inline)) mr_status probe_batch(mr__combine_buffer *buffer, const mr__staged *keys,
                                                                   const uint64_t *hashes, const uint8_t *values,
                                                                   uint32_t value_step, size_t stride, uint32_t count,
                                                                   uint32_t *accepted, enum op op, mr__error *error)
{
    const size_t mask = buffer->slot_count - 1;
    uint8_t *const slots = buffer->slots;
    for (uint32_t i = 0; i < count; i++)
        __builtin_prefetch(slots + (hashes[i] & mask) * stride, 1);
    for (uint32_t i = 0; i < count; i++) {
        const mr__staged *key = &keys[i];
        const uint32_t tag = tag_of(hashes[i]);
        const uint64_t wanted = (uint64_t)key->size << 32 | tag;
        size_t index = hashes[i] & mask;
        slot *s = (slot *)(slots + index * stride);
        for (;;) {
            uint64_t found;
            memcpy(&found, s, 8);
            if (__builtin_expect(found == wanted && same_key(s, key), 1)) {
                combine_into(buffer, s, values + (size_t)i * value_step, op);
                break;
            }
            if ((uint32_t)found == 0) {
                bool room;
                const mr_status status = claim(buffer, s, key, tag, &room, error);
                if (status != MR_OK || !room) {
                    *accepted = i;
                    return status;
                }
                first_value(buffer, s, values + (size_t)i * value_step, op);
                break;
            }
            index = (index + 1) & mask;
            s = (slot *)(slots + index * stride);
        }
    }
    *accepted = count;
    return MR_OK;
}

/* Each copy has its operation and its stride as constants. */
static mr_status probe_count(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v, uint32_t n,
                             uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 0, 32, n, accepted, OP_COUNT, error);
}
static mr_status probe_sum_u64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, 32, n, accepted, OP_SUM_U64, error);
}
static mr_status probe_sum_f64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, 32, n, accepted, OP_SUM_F64, error);
}
static mr_status probe_any(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v, uint32_t n,
                           uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, b->layout.value_size, b->stride, n, accepted, OP_ANY, error);
}

mr_status mr__combine_batch(mr__combine_buffer *buffer, const mr__staged *keys, const uint64_t *hashes,
                            const uint8_t *values, uint32_t count, uint32_t *accepted, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__combine_rule *rule = &buffer->rule;
    *accepted = 0;
    while (*accepted < count) {
        /* C1 must hold even if every pair left is a new key */
        uint32_t part = count - *accepted;
        if (buffer->used + part > buffer->grow_at) {
            bool grown = false;
            if (buffer->always_grow || mr__combine_buffer_pays(buffer))
                MR_TRY(grow(buffer, &grown, error));
            if (!grown) {
                part = buffer->grow_at > buffer->used ? (uint32_t)(buffer->grow_at - buffer->used) : 0;
                if (part == 0)
                    break;
                if (part > count - *accepted)
                    part = count - *accepted;
            } else {
                continue;
            }
        }
        const mr__staged *k = keys + *accepted;
        const uint64_t *h = hashes + *accepted;
        const uint8_t *v = values != NULL ? values + (size_t)*accepted * buffer->layout.value_size : NULL;
        uint32_t taken = 0;
        const bool u64_sum = (rule->combine == MR_SUM || rule->combine == MR_COUNT) &&
                             (rule->value == MR_U64 || rule->value == MR_I64);
        if (values == NULL)
            status = probe_count(buffer, k, h, NULL, part, &taken, error);
        else if (u64_sum)
            status = probe_sum_u64(buffer, k, h, v, part, &taken, error);
        else if (rule->combine == MR_SUM && rule->value == MR_F64)
            status = probe_sum_f64(buffer, k, h, v, part, &taken, error);
        else
            status = probe_any(buffer, k, h, v, part, &taken, error);
        *accepted += taken;
        buffer->offered += taken;
        if (status != MR_OK || taken < part)
            goto done;
    }
done:
    return status;
}

bool mr__combine_buffer_next(const mr__combine_buffer *buffer, size_t *cursor, mr__pair *pair)
{
    for (size_t i = *cursor; i < buffer->slot_count; i++) {
        const slot *s = slot_at(buffer, i);
        if (s->tag == 0)
            continue;
        *pair = (mr__pair){.key = slot_key(s), .value = s->value, .key_size = s->size,
                           .value_size = buffer->layout.value_size};
        *cursor = i + 1;
        return true;
    }
    *cursor = buffer->slot_count;
    return false;
}

mr_status mr__combine_buffer_check(const mr__combine_buffer *buffer, mr__error *error)
{
    mr_status status = MR_OK;
    size_t used = 0;
    for (size_t i = 0; i < buffer->slot_count; i++) {
        const slot *s = slot_at(buffer, i);
        if (s->tag == 0)
            continue;
        used++;
        for (size_t at = home_of(buffer, s); at != i; at = (at + 1) & (buffer->slot_count - 1)) {
            const slot *other = slot_at(buffer, at);
            MR_CHECK(other->tag != 0, MR_INTERNAL, "C2 broken: slot %zu cannot be reached", i);
            MR_CHECK(other->size != s->size || memcmp(slot_key(other), slot_key(s), s->size) != 0, MR_INTERNAL,
                     "C3 broken: slots %zu and %zu hold the same key", at, i);
        }
    }
    MR_CHECK(used == buffer->used && used <= buffer->grow_at, MR_INTERNAL, "C1 broken: %zu slots in use, counted %zu, at most %zu",
             used, buffer->used, buffer->grow_at);
done:
    return status;
}
