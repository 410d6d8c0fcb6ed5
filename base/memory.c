/* memory.c: malloc with a fault point, and anonymous pages. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { HUGE_PAGE = 2 << 20 };

void *mr__alloc(size_t size)
{
    return mr__fault(MR__FAULT_ALLOC) ? NULL : malloc(size != 0 ? size : 1);
}

void *mr__alloc_zero(size_t count, size_t size)
{
    return mr__fault(MR__FAULT_ALLOC) ? NULL : calloc(count != 0 ? count : 1, size != 0 ? size : 1);
}

void *mr__realloc(void *old, size_t size)
{
    return mr__fault(MR__FAULT_ALLOC) ? NULL : realloc(old, size != 0 ? size : 1);
}

char *mr__strdup(const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = mr__alloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

void mr__free(void *memory)
{
    free(memory);
}

size_t mr__page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

uint64_t mr__page_down(uint64_t bytes)
{
    return bytes & ~(uint64_t)(mr__page_size() - 1);
}

uint64_t mr__page_up(uint64_t bytes)
{
    return mr__page_down(bytes + mr__page_size() - 1);
}

void *mr__pages_alloc(size_t size)
{
    if (size == 0 || size > SIZE_MAX / 2 || mr__fault(MR__FAULT_PAGES))
        return NULL;
    size = mr__page_up(size);
    const size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *base = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                         0);
    if (base == MAP_FAILED)
        return NULL;
    if (slack != 0) {
        /* a huge page must start at a multiple of its size: cut the slack off on both sides */
        uint8_t *start = (uint8_t *)(((uintptr_t)base + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
        if (start > base)
            munmap(base, (size_t)(start - base));
        const size_t tail = (size_t)(base + size + slack - (start + size));
        if (tail > 0)
            munmap(start + size, tail);
        base = start;
        madvise(base, size, MADV_HUGEPAGE);     /* only advice: a kernel without huge pages is as correct */
    }
    return base;
}

void *mr__pages_grow(void *memory, size_t size, size_t new_size)
{
    if (memory == NULL)
        return mr__pages_alloc(new_size);
    void *larger = mr__pages_alloc(new_size);
    if (larger == NULL)
        return NULL;
    /* both lie at multiples of a huge page, so the kernel moves entries of the page table, whole huge pages at a
     * time */
    if (mremap(memory, mr__page_up(size), mr__page_up(size), MREMAP_MAYMOVE | MREMAP_FIXED, larger) == MAP_FAILED) {
        mr__pages_free(larger, new_size);
        return NULL;
    }
    if (size >= HUGE_PAGE)
        madvise(larger, mr__page_up(new_size), MADV_HUGEPAGE);
    return larger;
}

void mr__pages_populate(void *memory, size_t size)
{
    const size_t before = (uintptr_t)memory - mr__page_down((uintptr_t)memory);
    /* only advice: a kernel that lacks it does so page by page */
    madvise((uint8_t *)memory - before, before + size, MADV_POPULATE_WRITE);
}

void mr__pages_free(void *memory, size_t size)
{
    if (memory != NULL)
        munmap(memory, mr__page_up(size));
}

void mr__advise_huge(void *memory, size_t size)
{
    const uintptr_t mask = (uintptr_t)HUGE_PAGE - 1, begin = ((uintptr_t)memory + mask) & ~mask;
    const uintptr_t end = ((uintptr_t)memory + size) & ~mask;
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}
