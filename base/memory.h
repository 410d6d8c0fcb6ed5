/* memory.h: every allocation of the library, so that a sweep can fail each one, and pages that the kernel may back with
 * huge pages.
 * Owner     The caller; mr__free / mr__pages_free take NULL.
 * Failure   NULL. The caller words the sentence. */
#ifndef MR__MEMORY_H
#define MR__MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *mr__alloc(size_t size);               /* not cleared */
void *mr__alloc_zero(size_t count, size_t size);
void *mr__realloc(void *old, size_t size);  /* on failure old stays valid */
char *mr__strdup(const char *text);
void mr__free(void *memory);

/* Of the kernel that runs: 4 KiB on x86, 4 to 64 KiB on arm64. A power of two. */
size_t mr__page_size(void);
/* The multiple of it that is no larger, or no smaller. */
uint64_t mr__page_down(uint64_t bytes);
uint64_t mr__page_up(uint64_t bytes);

/* Whole pages, zero on first touch, aligned to 2 MiB when size >= 2 MiB and advised for huge pages then. */
void *mr__pages_alloc(size_t size);
void mr__pages_free(void *memory, size_t size);
/* Makes an area of mr__pages_alloc larger: its pages move by their addresses, nothing is copied, what is new reads as
 * zeros. NULL on failure; the old area is then as it was. */
void *mr__pages_grow(void *memory, size_t size, size_t new_size);
/* Touches the pages of a part of such an area that is to be filled from end to end: one call instead of a fault for
 * each. */
void mr__pages_populate(void *memory, size_t size);

/* For heap memory that is about to be filled: asks for huge pages where whole ones lie inside. */
void mr__advise_huge(void *memory, size_t size);

#endif
