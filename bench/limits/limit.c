#include "limit.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 256 };

struct start {
    limit_work work;
    void *state;
    uint32_t thread;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *run(void *argument)
{
    const struct start *start = argument;
    start->work(start->state, start->thread);
    return NULL;
}

double limit_time(uint32_t threads, limit_work work, void *state)
{
    pthread_t id[MAX_THREADS];
    struct start start[MAX_THREADS];
    if (threads == 0 || threads > MAX_THREADS)
        limit_fail("%u threads: give 1 to %d", threads, MAX_THREADS);
    const double begin = now();
    for (uint32_t i = 0; i < threads; i++) {
        start[i] = (struct start){work, state, i};
        if (pthread_create(&id[i], NULL, run, &start[i]) != 0)
            limit_fail("could not start thread %u", i);
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(id[i], NULL);
    return now() - begin;
}

uint64_t limit_sum(const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t chain[8] = {0}, word[8], sum = 0;
    for (; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(word, at, sizeof word);
        for (int i = 0; i < 8; i++)
            chain[i] += word[i];
    }
    for (int i = 0; i < 8; i++)
        sum += chain[i];
    for (; size > 0; at++, size--)
        sum += *at;
    return sum;
}

void limit_report(const char *name, uint64_t bytes, double seconds, uint64_t check)
{
    printf("{\"limit\": \"%s\", \"bytes\": %lu, \"seconds\": %.6f, \"check\": \"%016lx\"}\n", name, bytes, seconds,
           check);
}

void limit_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("limit: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(3);
}

void *limit_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        limit_fail("no memory for %zu bytes", size);
    madvise(memory, size, MADV_HUGEPAGE); /* without huge pages the number is lower, and still this machine's */
    return memory;
}

uint64_t limit_number(const char *text)
{
    char *end;
    const uint64_t number = strtoull(text, &end, 10);
    if (end == text || *end != 0)
        limit_fail("%s is no number", text);
    return number;
}
