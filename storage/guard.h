/* guard.h: a mapped file may be cut short while it is read; touching what is gone raises SIGBUS, and the process dies.
 * Promise   While a guard watches a range, a SIGBUS inside it reads as zeros and is remembered, so that the reader can
 *           fail with a sentence. Any other SIGBUS goes to whoever had it before.
 * Threads   A guard belongs to its reader; the signal may come on any thread.
 * Failure   acquire: NULL when too many are out; read in another way then. */
#ifndef MR__GUARD_H
#define MR__GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mr__guard mr__guard;

mr__guard *mr__guard_acquire(void);
void mr__guard_release(mr__guard *guard);       /* takes NULL */
/* From now on [start, start + size) and nothing else; size 0: nothing. Forgets no hit. */
void mr__guard_watch(mr__guard *guard, const void *start, size_t size);
/* Was there a SIGBUS since the guard was acquired? */
bool mr__guard_hit(const mr__guard *guard);

#endif
