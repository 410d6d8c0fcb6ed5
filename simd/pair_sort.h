/* pair_sort.h: the order of pairs, and sorting references to them.
 * Order     bytes: by key like memcmp, a prefix before what it begins; u32, u64: by the number; value: descending by
 *           the value, then ascending by the key. Equal keys are ordered by their values' bytes, so the order of a set
 *           of pairs is the same however many workers made it. A key suffix counts only among keys that are equal
 *           without it, so the pairs of a group lie side by side.
 * Threads   Pure functions on the caller's memory.
 * Cost      A most-significant-digit radix sort, 8 bytes at a time (P. McIlroy, K. Bostic, D. McIlroy, "Engineering
 *           Radix Sort", 1993); comparisons only in small groups. */
#ifndef MR__PAIR_SORT_H
#define MR__PAIR_SORT_H

#include <millrace/app.h>

#include "pair.h"

typedef enum mr__order_kind { MR__BY_BYTES, MR__BY_U32, MR__BY_U64, MR__BY_VALUE } mr__order_kind;

typedef struct mr__order {
    mr__pair_layout layout;
    mr__order_kind kind;        /* MR__BY_VALUE: value first, then `key_kind` */
    mr__order_kind key_kind;
    mr_type value;              /* MR__BY_VALUE: MR_U64, MR_I64 or MR_F64 */
} mr__order;

typedef struct mr__ref {
    uint64_t prefix;            /* pairs with different prefixes compare like their prefixes */
    const uint8_t *pair;        /* as it lies in its chunk */
} mr__ref;

uint64_t mr__order_prefix(const mr__order *order, const mr__pair *pair);
/* Pairs with equal prefixes, but different ones of these, compare like these. */
uint64_t mr__order_second(const mr__order *order, const mr__pair *pair);
/* And if those are equal too, and the keys have one size, like these. */
uint64_t mr__order_third(const mr__order *order, const mr__pair *pair);
/* <0, 0, >0; with_value: pairs that differ only in their value are not equal. */
int mr__order_compare(const mr__order *order, const mr__pair *a, const mr__pair *b, bool with_value);
/* Compares by prefix first. */
int mr__order_compare_refs(const mr__order *order, const mr__ref *a, const mr__ref *b);
/* Sorts; scratch: room for `count` references. Afterwards the prefixes may no longer be those of mr__order_prefix(). */
void mr__sort_refs(const mr__order *order, mr__ref *refs, size_t count, mr__ref *scratch);

#endif
