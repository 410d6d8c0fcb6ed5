/* cover.h: a set of ranges of the input: which of it has been counted.
 * Promise   Sorted, disjoint, and neighbours that touch are one: a set that grows to the whole input ends as one range.
 * Owner     fini frees; a zeroed set is the empty one, and needs no fini.
 * Threads   One at a time.
 * Cost      A binary search, and a move of the ranges behind a change. What is added in order costs no move.
 * Failure   mr__cover_add() of what is there already, in part even, is MR_INTERNAL: something would be counted twice.
 *           MR_NO_MEMORY. The set is as before. An empty range changes nothing. */
#ifndef MR__COVER_H
#define MR__COVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

typedef struct mr__range {
    uint64_t begin, end;
} mr__range;

typedef struct mr__cover {      /* zeroed: the empty set */
    mr__range *ranges;
    size_t count, room;
} mr__cover;

void mr__cover_fini(mr__cover *cover);
mr_status mr__cover_add(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error);
/* The union: what is there already may be added again. */
mr_status mr__cover_unite(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error);
mr_status mr__cover_subtract(mr__cover *cover, uint64_t begin, uint64_t end, mr__error *error);
mr_status mr__cover_copy(mr__cover *to, const mr__cover *from, mr__error *error);
bool mr__cover_has(const mr__cover *cover, uint64_t begin, uint64_t end);      /* all of it */
bool mr__cover_meets(const mr__cover *cover, uint64_t begin, uint64_t end);    /* some of it */
uint64_t mr__cover_units(const mr__cover *cover);
/* The first range that ends behind `at`; count: none does. */
size_t mr__cover_find(const mr__cover *cover, uint64_t at);

#endif
