/* combine_buffer.c: combine pairs in place; grow first, spill late.
 *
 *   slot: [tag u32 | size u32 | head u64 | head u64 or pointer | value, rounded up to 8]     32 bytes for an 8-byte value
 *         short key (<= 16 bytes): both heads are the key, zero-padded
 *         long key: first 8 bytes, then a pointer to the whole key in the arena
 *
 *   hashes of a batch -> prefetch the slot of pair i + AHEAD -> probe pair i: tag and size in one comparison, then the heads
 *
 * Open addressing with linear probing. The slot index is (tag * slots) >> 32, where the tag is the top half of the hash:
 * so the slots lie in the order of the hash, a table may have any number of them, and the pairs of a partition (the top
 * bits of the hash) lie side by side. Two slots share a cache line, so a hit usually costs one line, and the line of every
 * pair of the batch is already on its way. Behind the last slot lies a tail for what is displaced; nothing wraps around.
 *
 * Why it grows first and spills late: text has a few heavy keys and a long tail. A big table keeps the heavy keys; an early
 * spill sends them out again and again. Measured with a probe on 1 GiB of Zipf text: one big table 1.2-2.7 s, a spill at
 * 16 k entries 3.3 s. When a table at its cap took in hardly more pairs than keys (`pays`), a small one serves as well.
 *
 * Growing is done in place, because fresh memory is the dearest thing here (on a virtual machine the first touch of a page
 * was measured at 0.25 GB/s, ten times slower than copying it): the pages stay, empty ones come behind them, and the
 * clusters (runs of slots in use) move to their new places from the last to the first:
 *
 *     before  |..AAA...BB..|            new home of a slot >= its old one, and clusters do not overlap in order, so a
 *     after   |....A..AA......B..B...|  cluster lands behind every slot that is still to be moved
 *
 * Both passes are sequential. Small tables double; large ones grow by half, to touch less.
 *
 * Rejected: one table for all workers (the heavy keys would be contended cache lines); a separate array of tags (two
 * lines a probe once the table is larger than L2); low bits as the index (then what a reduce task wants is scattered over
 * the whole table, and all of it had to be copied out by partition first: 140 MB for 3.5 M words).
 *
 * C1  used counts the slots with a tag; used <= grow_at.
 * C2  A slot with a tag can be reached from its home slot without crossing an empty one.
 * C3  No two slots hold the same key. */
#include "combine_buffer.h"

#include "memory.h"

enum {
    FIRST_SLOTS = 4096,         /* or as many as FIRST_BYTES hold: values may be large */
    FIRST_BYTES = 1 << 20,
    LEAST_SLOTS = 4,
    KEY_BYTES = 24,
    USUAL_STRIDE = KEY_BYTES + 8,
    PAYS_FROM = 1 << 18,
    DOUBLES_UP_TO = 64 << 20,   /* bytes */
    AHEAD = 64,                 /* pairs: 48 to 96 measured alike, 24 and 256 (all of the batch first) 10 to 20 % slower */
    TAIL_MOST = 4096,           /* slots */
    TAIL_BYTES = 1 << 20
};
#define SLOTS_MOST ((size_t)1 << 31)

typedef struct slot {
    uint32_t tag;           /* 0: empty */
    uint32_t size;
    uint64_t head[2];
    uint8_t value[];
} slot;

/* Never 0. Its order is the order of the hash behind the skipped bits. */
static uint32_t tag_of(const mr__combine_buffer *buffer, uint64_t hash)
{
    return (uint32_t)(hash >> (32 - buffer->skip_bits)) | 1;
}

static size_t home_of(const mr__combine_buffer *buffer, uint32_t tag)
{
    return (size_t)((uint64_t)tag * buffer->slot_count >> 32);
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
                             mr__budget *budget, uint64_t cap, bool always_grow, uint32_t skip_bits)
{
    *buffer = (mr__combine_buffer){.layout = *layout, .rule = *rule, .budget = budget, .cap = cap,
                                   .always_grow = always_grow, .skip_bits = skip_bits};
    buffer->stride = KEY_BYTES + (((size_t)layout->value_size + 7) & ~(size_t)7);
    buffer->tail = TAIL_BYTES / buffer->stride < TAIL_MOST ? TAIL_BYTES / buffer->stride + LEAST_SLOTS : TAIL_MOST;
    buffer->first_slots = FIRST_SLOTS;
    while (buffer->first_slots > LEAST_SLOTS && buffer->first_slots * buffer->stride > FIRST_BYTES)
        buffer->first_slots /= 2;
    mr__arena_init(&buffer->arena);
}

static void release_arena(mr__combine_buffer *buffer)
{
    mr__arena_fini(&buffer->arena);
    mr__budget_release(buffer->budget, buffer->arena_reserved);
    buffer->arena_reserved = 0;
}

static size_t slot_bytes(const mr__combine_buffer *buffer, size_t count)
{
    return (count + buffer->tail) * buffer->stride;
}

static void release_slots(mr__combine_buffer *buffer)
{
    mr__pages_free(buffer->slots, buffer->mapped);
    mr__budget_release(buffer->budget, buffer->mapped);
    mr__free(buffer->cluster);
    buffer->slots = buffer->cluster = NULL;
    buffer->slot_count = buffer->grow_at = buffer->mapped = buffer->cluster_room = 0;
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
        memset(buffer->slots, 0, buffer->mapped);
    release_arena(buffer);
    buffer->used = 0;
    buffer->offered = 0;
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

/* Bytes that the buffer holds now. */
static uint64_t footprint(const mr__combine_buffer *buffer)
{
    return buffer->mapped + buffer->arena_reserved;
}

static inline __attribute__((always_inline)) void put(mr__combine_buffer *buffer, const slot *entry, size_t stride)
{
    slot *to = (slot *)(buffer->slots + home_of(buffer, entry->tag) * stride);
    while (to->tag != 0)
        to = (slot *)((uint8_t *)to + stride);
    memcpy(to, entry, stride);
}

/* After slots were added: every cluster of the first `old_total` slots goes to its new place, the last one first. When it
 * fails the table is lost. */
static inline __attribute__((always_inline)) mr_status move_clusters(mr__combine_buffer *buffer, size_t old_total,
                                                                     size_t stride, mr__error *error)
{
    mr_status status = MR_OK;
    uint8_t *const slots = buffer->slots;
    for (uint8_t *end = slots + old_total * stride; end > slots;) {
        if (((slot *)(end - stride))->tag == 0) {
            end -= stride;
            continue;
        }
        uint8_t *begin = end - stride;
        while (begin > slots && ((slot *)(begin - stride))->tag != 0)
            begin -= stride;
        const size_t bytes = (size_t)(end - begin);
        if (bytes > buffer->cluster_room) {
            uint8_t *larger = mr__realloc(buffer->cluster, bytes * 2);
            MR_CHECK(larger != NULL, MR_NO_MEMORY, "no memory to grow a combine buffer");
            buffer->cluster = larger;
            buffer->cluster_room = bytes * 2;
        }
        for (size_t at = 0; at < bytes; at += stride) {
            memcpy(buffer->cluster + at, begin + at, stride);
            ((slot *)(begin + at))->tag = 0;
        }
        for (size_t at = 0; at < bytes; at += stride)
            put(buffer, (const slot *)(buffer->cluster + at), stride);
        end = begin;
    }
done:
    return status;
}

static mr_status move_usual_clusters(mr__combine_buffer *buffer, size_t old_total, mr__error *error)
{
    return move_clusters(buffer, old_total, USUAL_STRIDE, error);
}

/* The slots after the next growth; 0 if the cap leaves no room that is worth it. */
static size_t next_slot_count(const mr__combine_buffer *buffer)
{
    const size_t count = buffer->slot_count;
    if (count == 0)
        return buffer->first_slots;
    size_t next = count * buffer->stride < DOUBLES_UP_TO ? count * 2 : count + count / 2;
    const uint64_t fits = buffer->cap > buffer->arena_reserved ? (buffer->cap - buffer->arena_reserved) / buffer->stride : 0;
    if (next + buffer->tail > fits)
        next = fits > buffer->tail ? (size_t)fits - buffer->tail : 0;
    if (next > SLOTS_MOST)
        next = SLOTS_MOST;
    return next > count + count / 8 ? next : 0;
}

/* Adds slots. *grown = false, and nothing changed, at the cap or when the budget is used up. */
static mr_status grow(mr__combine_buffer *buffer, bool *grown, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t old_count = buffer->slot_count, new_count = next_slot_count(buffer);
    const size_t bytes = slot_bytes(buffer, new_count);
    *grown = false;
    if (new_count == 0)
        return MR_OK;
    const size_t more = bytes - buffer->mapped;
    if (old_count == 0)
        mr__budget_force(buffer->budget, more);
    else if (!mr__budget_reserve(buffer->budget, more))
        return MR_OK;
    uint8_t *slots = mr__pages_grow(buffer->slots, buffer->mapped, bytes);
    if (slots == NULL)
        mr__budget_release(buffer->budget, more);
    MR_CHECK(slots != NULL, MR_NO_MEMORY, "no memory for a combine buffer of %zu bytes\n  hint: lower --memory", bytes);
    buffer->slots = slots;
    buffer->mapped = bytes;
    buffer->slot_count = new_count;
    buffer->grow_at = new_count * 11 / 16;
    if (old_count != 0)
        MR_TRY(buffer->stride == USUAL_STRIDE
                   ? move_usual_clusters(buffer, old_count + buffer->tail, error)
                   : move_clusters(buffer, old_count + buffer->tail, buffer->stride, error));
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

static inline __attribute__((always_inline)) slot *home_slot(uint8_t *slots, uint64_t hash, uint32_t shift,
                                                             uint64_t slot_count, size_t stride)
{
    return (slot *)(slots + ((uint64_t)((uint32_t)(hash >> shift) | 1) * slot_count >> 32) * stride);
}

static inline __attribute__((always_inline)) mr_status probe_batch(mr__combine_buffer *buffer, const mr__staged *keys,
                                                                   const uint64_t *hashes, const uint8_t *values,
                                                                   uint32_t value_step, size_t stride, uint32_t count,
                                                                   uint32_t *accepted, enum op op, mr__error *error)
{
    const uint64_t slot_count = buffer->slot_count;
    const uint32_t shift = 32 - buffer->skip_bits;
    uint8_t *const slots = buffer->slots;
    const uint8_t *const end = slots + (slot_count + buffer->tail) * stride;
    for (uint32_t i = 0; i < count && i < AHEAD; i++)
        __builtin_prefetch(home_slot(slots, hashes[i], shift, slot_count, stride), 1);
    for (uint32_t i = 0; i < count; i++) {
        const mr__staged *key = &keys[i];
        const uint32_t tag = (uint32_t)(hashes[i] >> shift) | 1;
        const uint64_t wanted = (uint64_t)key->size << 32 | tag;
        slot *s = home_slot(slots, hashes[i], shift, slot_count, stride);
        if (i + AHEAD < count)
            __builtin_prefetch(home_slot(slots, hashes[i + AHEAD], shift, slot_count, stride), 1);
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
            s = (slot *)((uint8_t *)s + stride);
            if (__builtin_expect((const uint8_t *)s == end, 0)) {   /* the tail is full: as good as the table */
                *accepted = i;
                return MR_OK;
            }
        }
    }
    *accepted = count;
    return MR_OK;
}

/* Each copy has its operation and its stride as constants. */
static mr_status probe_count(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v, uint32_t n,
                             uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 0, USUAL_STRIDE, n, accepted, OP_COUNT, error);
}
static mr_status probe_sum_u64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, USUAL_STRIDE, n, accepted, OP_SUM_U64, error);
}
static mr_status probe_sum_f64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, USUAL_STRIDE, n, accepted, OP_SUM_F64, error);
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

static void pair_of(const mr__combine_buffer *buffer, const slot *s, mr__pair *pair)
{
    *pair = (mr__pair){.key = slot_key(s), .value = s->value, .key_size = s->size,
                       .value_size = buffer->layout.value_size};
}

static size_t total_slots(const mr__combine_buffer *buffer)
{
    return buffer->slots != NULL ? buffer->slot_count + buffer->tail : 0;
}

bool mr__combine_buffer_next(const mr__combine_buffer *buffer, size_t *cursor, mr__pair *pair)
{
    const size_t total = total_slots(buffer);
    for (size_t i = *cursor; i < total; i++) {
        const slot *s = slot_at(buffer, i);
        if (s->tag == 0)
            continue;
        pair_of(buffer, s, pair);
        *cursor = i + 1;
        return true;
    }
    *cursor = total;
    return false;
}

/* From the first home slot of the partition to the end of the cluster that holds its last one: what is displaced lies
 * there, among pairs of the next partition. */
bool mr__combine_buffer_next_of(const mr__combine_buffer *buffer, uint32_t partition, uint32_t partition_bits,
                                size_t *cursor, mr__pair *pair)
{
    const size_t total = total_slots(buffer);
    const uint64_t first = (uint64_t)partition << (32 - partition_bits);
    const uint64_t behind = (uint64_t)(partition + 1) << (32 - partition_bits);
    const size_t last_home = (size_t)((behind - 1) * buffer->slot_count >> 32);
    size_t i = *cursor != SIZE_MAX ? *cursor : (size_t)(first * buffer->slot_count >> 32);
    for (; i < total; i++) {
        const slot *s = slot_at(buffer, i);
        if (s->tag == 0) {
            if (i > last_home)
                break;
            continue;
        }
        if (s->tag < first || s->tag >= behind)
            continue;
        pair_of(buffer, s, pair);
        *cursor = i + 1;
        return true;
    }
    *cursor = total;
    return false;
}

mr_status mr__combine_buffer_check(const mr__combine_buffer *buffer, mr__error *error)
{
    mr_status status = MR_OK;
    size_t used = 0;
    for (size_t i = 0; i < total_slots(buffer); i++) {
        const slot *s = slot_at(buffer, i);
        if (s->tag == 0)
            continue;
        used++;
        MR_CHECK(s->tag == tag_of(buffer, mr__hash_key(slot_key(s), s->size, buffer->layout.key_suffix)), MR_INTERNAL,
                 "C2 broken: slot %zu has the tag of another key", i);
        for (size_t at = home_of(buffer, s->tag); at != i; at++) {
            const slot *other = slot_at(buffer, at);
            MR_CHECK(at < i && other->tag != 0, MR_INTERNAL, "C2 broken: slot %zu cannot be reached", i);
            MR_CHECK(other->size != s->size || memcmp(slot_key(other), slot_key(s), s->size) != 0, MR_INTERNAL,
                     "C3 broken: slots %zu and %zu hold the same key", at, i);
        }
    }
    MR_CHECK(used == buffer->used && used <= buffer->grow_at, MR_INTERNAL, "C1 broken: %zu slots in use, counted %zu, at most %zu",
             used, buffer->used, buffer->grow_at);
done:
    return status;
}
