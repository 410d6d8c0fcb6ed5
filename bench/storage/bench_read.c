/* bench_read.c: a file summed through each reading path, beside the machine's limits: plain mmap and plain pread.
 *
 *     bench_read FILE [THREADS [ROUNDS [WINDOW]]]     WINDOW in KiB
 *
 * The ways take turns within a round (A B C A B C ...), so that a slow moment of the machine hits all of them. For cold
 * numbers drop the page cache first and ask for one round and one way: MILLRACE_READ=io_uring bench_read FILE 2 1. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "reader.h"

enum { THREADS_MAX = 64, ROUNDS_MAX = 64, TASK = 16 << 20 };

typedef struct share {
    const mr__sources *sources;
    const struct way *way;
    mr__budget *budget;
    size_t window;
    uint64_t from, to, sum;
    mr__error error;
} share;

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum += word;
    }
    return sum;
}

static void plain_mmap(share *mine)
{
    const uint64_t size = mine->sources->items[0].size;
    const int fd = open(mine->sources->items[0].path, O_RDONLY);
    uint8_t *base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return;
    mine->sum = sum_of(base + mine->from, mine->to - mine->from);
    munmap(base, size);
    close(fd);
}

static void plain_pread(share *mine)
{
    const int fd = open(mine->sources->items[0].path, O_RDONLY);
    uint8_t *buffer = aligned_alloc(4096, 1 << 20);
    for (uint64_t at = mine->from; at < mine->to;) {
        const uint64_t left = mine->to - at;
        const ssize_t got = pread(fd, buffer, left < 1 << 20 ? left : 1 << 20, (off_t)at);
        if (got <= 0)
            break;
        mine->sum += sum_of(buffer, (size_t)got);
        at += (uint64_t)got;
    }
    free(buffer);
    close(fd);
}

static mr_status read_with(share *mine, mr__read_path path, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reader *reader = NULL;
    MR_TRY(mr__reader_create(mine->sources, path, mine->window, mine->budget, &reader, error));
    for (uint64_t task = mine->from; task < mine->to; task += TASK) {
        const uint64_t end = task + TASK < mine->to ? task + TASK : mine->to;
        MR_TRY(mr__reader_start(reader, 0, task, end, error));
        for (uint64_t at = task; at < end;) {
            mr_slice window;
            uint64_t offset;
            bool at_end;
            MR_TRY(mr__reader_next(reader, 0, &window, &offset, &at_end, error));
            mine->sum += sum_of(window.data, window.size);
            at += window.size;
        }
    }
    MR_TRY(mr__reader_end(reader, error));
done:
    mr__reader_destroy(reader);
    return status;
}

static void by_pread(share *mine)
{
    read_with(mine, MR__READ_PREAD, &mine->error);
}

static void by_mmap(share *mine)
{
    read_with(mine, MR__READ_MMAP, &mine->error);
}

static void by_uring(share *mine)
{
    read_with(mine, MR__READ_URING, &mine->error);
}

static const struct way {
    const char *name;
    void (*run)(share *mine);
} ways[] = {
    {"plain mmap", plain_mmap}, {"plain pread", plain_pread}, {"pread", by_pread},
    {"mmap", by_mmap},          {"io_uring", by_uring},
};

static void *run_share(void *context)
{
    share *mine = context;
    mine->way->run(mine);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int count, char **arguments)
{
    const unsigned threads = count > 2 ? (unsigned)atoi(arguments[2]) : 2;
    const unsigned rounds = count > 3 ? (unsigned)atoi(arguments[3]) : 5;
    const size_t window = count > 4 ? (size_t)atoi(arguments[4]) << 10 : MR__READ_WINDOW;
    const char *only = getenv("MILLRACE_READ");
    static double seconds[MR__COUNT(ways)][ROUNDS_MAX];
    mr__sources *sources = NULL;
    mr__error error = {.code = MR_OK};
    mr__budget budget;
    uint64_t sums[MR__COUNT(ways)] = {0};
    if (count < 2 || threads == 0 || threads > THREADS_MAX || rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_read FILE [THREADS [ROUNDS [WINDOW_KIB]]]\n");
        return 2;
    }
    const char *const *paths = (const char *const *)&arguments[1];
    if (mr__sources_open(mr__namespace_plain(), paths, 1, NULL, &sources, &error) != MR_OK) {
        fprintf(stderr, "bench_read: %s\n", error.text);
        return 3;
    }
    mr__budget_init(&budget, UINT64_MAX);
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t w = 0; w < MR__COUNT(ways); w++) {
            share shares[THREADS_MAX] = {0};
            pthread_t handles[THREADS_MAX];
            if (only != NULL && strcmp(only, ways[w].name) != 0)
                continue;
            const uint64_t part = (sources->bytes / threads + 4095) / 4096 * 4096, begin = mr__now_ns();
            for (unsigned t = 0; t < threads; t++) {
                shares[t] = (share){.sources = sources, .way = &ways[w], .budget = &budget, .window = window};
                shares[t].from = t * part < sources->bytes ? t * part : sources->bytes;
                shares[t].to = (t + 1) * part < sources->bytes ? (t + 1) * part : sources->bytes;
                pthread_create(&handles[t], NULL, run_share, &shares[t]);
            }
            sums[w] = 0;
            for (unsigned t = 0; t < threads; t++) {
                pthread_join(handles[t], NULL);
                sums[w] += shares[t].sum;
                if (shares[t].error.code != MR_OK)
                    fprintf(stderr, "bench_read: %s\n", shares[t].error.text);
            }
            seconds[w][round] = (double)(mr__now_ns() - begin) * 1e-9;
        }
    }
    printf("%.2f GiB, %u threads, windows of %zu KiB, %u rounds in turn, median (min..max) GB/s\n",
           (double)sources->bytes / (1 << 30), threads, window >> 10, rounds);
    for (size_t w = 0; w < MR__COUNT(ways); w++) {
        if (only != NULL && strcmp(only, ways[w].name) != 0)
            continue;
        const double bytes = (double)sources->bytes * 1e-9;
        qsort(seconds[w], rounds, sizeof **seconds, by_value);
        printf("  %-12s %6.2f (%.2f..%.2f)   sum %016llx\n", ways[w].name, bytes / seconds[w][rounds / 2],
               bytes / seconds[w][rounds - 1], bytes / seconds[w][0], (unsigned long long)sums[w]);
    }
    mr__sources_close(sources);
    return 0;
}
