/* bench_output.c: a result of some gigabytes written by one thread while the others compute, beside a plain O_DIRECT
 * write to the same directory.
 *
 *     bench_output DIRECTORY [MEGABYTES [COMPUTING_THREADS]]
 *
 * The computing threads count how much they get done, with and without the writing: what the writing takes from
 * them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "output.h"

enum { COMPUTERS_MAX = 64, PIECE = 1 << 20 };

static _Atomic bool stop;

static void *compute(void *context)
{
    uint64_t *rounds = context, x = 88172645463325252u;
    for (; !atomic_load_explicit(&stop, memory_order_relaxed); ++*rounds)
        for (int i = 0; i < 100000; i++)
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    *rounds += x == 0;
    return NULL;
}

static double plain_direct(const char *directory, const uint8_t *bytes, uint64_t total)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench-output-XXXXXX", directory);
    const int fd = mkostemp(path, O_DIRECT);
    const uint64_t begin = mr__now_ns();
    for (uint64_t done = 0; fd >= 0 && done < total; done += PIECE)
        if (write(fd, bytes, PIECE) != PIECE)
            perror("bench_output: write");
    const double seconds = (double)(mr__now_ns() - begin) * 1e-9;
    close(fd);
    unlink(path);
    return seconds;
}

static mr_status result(const char *path, const uint8_t *bytes, uint64_t total, mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *output = NULL;
    mr__part *part = NULL;
    MR_TRY(mr__output_open(mr__namespace_plain(), path, true, &output, error));
    MR_TRY(mr__output_part(output, 0, &part, error));
    for (uint64_t done = 0; done < total; done += 60000)     /* uneven pieces, as a formatter writes them */
        MR_TRY(mr__part_write(part, bytes + done % (PIECE / 2), total - done < 60000 ? total - done : 60000, error));
    status = mr__part_close(part, NULL, error);
    part = NULL;
    if (status == MR_OK)
        status = mr__output_commit(output, error);
done:
    mr__part_abort(part);
    mr__output_close(output);
    return status;
}

int main(int count, char **arguments)
{
    const uint64_t total = (count > 2 ? strtoull(arguments[2], NULL, 10) : 1024) << 20;
    const unsigned computers = count > 3 ? (unsigned)atoi(arguments[3]) : 1;
    static uint64_t rounds[COMPUTERS_MAX];
    pthread_t threads[COMPUTERS_MAX];
    char path[4096];
    mr__error error = {.code = MR_OK};
    uint8_t *bytes = aligned_alloc(4096, PIECE);
    if (count < 2 || bytes == NULL || computers > COMPUTERS_MAX) {
        fprintf(stderr, "usage: bench_output DIRECTORY [MEGABYTES [COMPUTING_THREADS]]\n");
        return 2;
    }
    memset(bytes, 'x', PIECE);
    snprintf(path, sizeof path, "%s/bench-output", arguments[1]);
    const double alone = plain_direct(arguments[1], bytes, total);
    printf("%llu MiB, %u computing threads\n", (unsigned long long)total >> 20, computers);
    printf("  %-28s %6.2f GB/s\n", "plain O_DIRECT, nothing else", (double)total * 1e-9 / alone);
    for (int writing = 0; writing < 2; writing++) {
        atomic_store(&stop, false);
        memset(rounds, 0, sizeof rounds);
        for (unsigned i = 0; i < computers; i++)
            pthread_create(&threads[i], NULL, compute, &rounds[i]);
        const uint64_t begin = mr__now_ns();
        if (writing)
            result(path, bytes, total, &error);
        else
            usleep((useconds_t)(alone * 1e6));
        const double seconds = (double)(mr__now_ns() - begin) * 1e-9;
        uint64_t sum = 0;
        atomic_store(&stop, true);
        for (unsigned i = 0; i < computers; i++) {
            pthread_join(threads[i], NULL);
            sum += rounds[i];
        }
        if (writing)
            printf("  %-28s %6.2f GB/s   ", "result, others computing", (double)total * 1e-9 / seconds);
        else
            printf("  %-28s %6s        ", "nothing written", "");
        printf("computed %.0f rounds a second\n", (double)sum / seconds);
    }
    if (error.code != MR_OK)
        fprintf(stderr, "bench_output: %s\n", error.text);
    snprintf(path, sizeof path, "rm -rf '%s/bench-output'", arguments[1]);
    free(bytes);
    return error.code == MR_OK ? system(path) : 4;
}
