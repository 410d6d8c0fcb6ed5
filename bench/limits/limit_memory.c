/* limit_memory.c: what memory and cores give without any file.
 *
 *     limit_memory copy|sum|touch|compute BYTES THREADS
 *
 * copy and sum walk arrays far larger than a cache (the limit of a shuffle by pointer, and of a pinned dataset).
 * touch writes to memory that this process has not used before. Who runs right after it finds memory that was used a
 * moment ago: a virtual machine may give free memory back to its host, and get it back at a fifteenth of the speed.
 * compute multiplies and adds in registers, BYTES / 64 times by all threads together: with 1 and 2 threads it tells
 * what 1 -> 2 workers can gain on this machine at best. Virtual cores that share a physical one gain little. */
#include "limit.h"

#include <stdatomic.h>
#include <string.h>

enum { ROUNDS = 4, PIECE = 1 << 22 };

struct array {
    uint8_t *from, *to;
    uint64_t size, work;
    _Atomic uint64_t next, check;
};

static void touch(void *state, uint32_t thread)
{
    struct array *array = state;
    uint64_t at;
    (void)thread;
    while ((at = atomic_fetch_add(&array->next, PIECE)) < array->size) {
        const uint64_t size = array->size - at < PIECE ? array->size - at : PIECE;
        memset(array->from + at, 1, size);
        if (array->to)
            memset(array->to + at, 2, size);
    }
}

static void copy(void *state, uint32_t thread)
{
    struct array *array = state;
    uint64_t at;
    (void)thread;
    while ((at = atomic_fetch_add(&array->next, PIECE)) < array->work) {
        const uint64_t begin = at % array->size;
        memcpy(array->to + begin, array->from + begin, array->size - begin < PIECE ? array->size - begin : PIECE);
    }
}

static void sum(void *state, uint32_t thread)
{
    struct array *array = state;
    uint64_t at, check = 0;
    (void)thread;
    while ((at = atomic_fetch_add(&array->next, PIECE)) < array->work) {
        const uint64_t begin = at % array->size;
        check += limit_sum(array->from + begin, array->size - begin < PIECE ? array->size - begin : PIECE);
    }
    atomic_fetch_add(&array->check, check);
}

static void compute(void *state, uint32_t thread)
{
    struct array *array = state;
    uint64_t at;
    float lane[64], total = 0;
    for (int i = 0; i < 64; i++)
        lane[i] = (float)(thread + i) * 0.001f;
    while ((at = atomic_fetch_add(&array->next, PIECE)) < array->work)
        for (uint64_t i = 0; i < PIECE / 64; i++)
            for (int k = 0; k < 64; k++)
                lane[k] = lane[k] * 0.999f + 0.001f;
    for (int i = 0; i < 64; i++)
        total += lane[i];
    atomic_fetch_add(&array->check, (uint64_t)(total > 0));
}

int main(int argc, char **argv)
{
    if (argc != 4)
        limit_fail("usage: limit_memory copy|sum|touch|compute BYTES THREADS");
    const int copies = strcmp(argv[1], "copy") == 0, computes = strcmp(argv[1], "compute") == 0;
    const int touches = strcmp(argv[1], "touch") == 0;
    if (!copies && !computes && !touches && strcmp(argv[1], "sum") != 0)
        limit_fail("%s is none of copy, sum, touch, compute", argv[1]);
    const uint32_t threads = (uint32_t)limit_number(argv[3]);
    struct array array = {.size = (limit_number(argv[2]) / PIECE + 1) * PIECE};
    array.work = touches ? array.size : ROUNDS * array.size;
    double touched = 0;
    if (!computes) {
        array.from = limit_memory(array.size);
        array.to = copies ? limit_memory(array.size) : NULL;
        touched = limit_time(threads, touch, &array);
        array.next = 0;
    }
    const double seconds = limit_time(threads, computes ? compute : copies ? copy : sum, &array);
    limit_report(argv[1], array.work, touches ? touched : seconds, array.check);
    return 0;
}
