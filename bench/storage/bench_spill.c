/* bench_spill.c: writes a spill and reads it back, with each codec, beside plain writes to the same directory.
 *
 *     bench_spill DIRECTORY [MEGABYTES [EXTENT_KIB]]
 *
 * The content is text-like: words drawn from a vocabulary, so that the codecs have something to do. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "spill.h"

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void fill_with_words(uint8_t *bytes, size_t size)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < size;) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t word = x % (1 + (x >> 40) % 50000);        /* small numbers are frequent */
        for (int letter = 0; letter < 3 + (int)(word % 5) && i < size; letter++, word = word * 31 + 7)
            bytes[i++] = (uint8_t)('a' + word % 26);
        if (i < size)
            bytes[i++] = ' ';
    }
}

static void show(const char *what, uint64_t bytes, uint64_t begin, double cpu, const char *more)
{
    const double seconds = (double)(mr__now_ns() - begin) * 1e-9;
    printf("  %-24s %6.2f GB/s   cpu %.2f s of %.2f s   %s\n", what, (double)bytes * 1e-9 / seconds,
           cpu_seconds() - cpu, seconds, more);
}

static int plain(const char *directory, const uint8_t *bytes, size_t piece, uint64_t total, int flag, const char *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench-spill-XXXXXX", directory);
    int fd = mkostemp(path, flag);
    if (fd < 0) {
        printf("  %-24s cannot be opened here\n", what);
        return 0;
    }
    const uint64_t begin = mr__now_ns();
    const double cpu = cpu_seconds();
    for (uint64_t done = 0; done < total; done += piece)
        if (write(fd, bytes, piece) != (ssize_t)piece) {
            perror("bench_spill: write");
            close(fd);
            unlink(path);
            return 1;
        }
    show(what, total, begin, cpu, "written");
    close(fd);
    unlink(path);
    return 0;
}

static mr_status spilled(mr__burst *burst, mr__codec codec, const uint8_t *bytes, size_t window, size_t piece,
                         uint64_t total, mr__error *error)
{
    mr_status status = MR_OK;
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    mr__spill_reader *reader = NULL;
    mr__budget budget;
    char what[64], ratio[64];
    const size_t count = (size_t)(total / piece);
    mr__extent *extents = calloc(count, sizeof *extents), extent;
    mr__budget_init(&budget, UINT64_MAX);
    MR_CHECK(extents != NULL, MR_NO_MEMORY, "no memory");
    MR_TRY(mr__spill_create(burst, codec, &spill, error));
    MR_TRY(mr__spill_writer_create(spill, &budget, &writer, error));
    uint64_t begin = mr__now_ns();
    double cpu = cpu_seconds();
    for (size_t i = 0; i < count; i++)
        MR_TRY(mr__spill_write(writer, bytes + i * 4099 % window, piece, 0, &extents[i], error));
    MR_TRY(mr__spill_flush(writer, error));
    snprintf(what, sizeof what, "spill, %s", mr__codec_name(codec));
    snprintf(ratio, sizeof ratio, "written, %.2f of the size", (double)mr__spill_bytes(spill) / (double)total);
    show(what, total, begin, cpu, ratio);
    begin = mr__now_ns();
    cpu = cpu_seconds();
    MR_TRY(mr__spill_reader_create(spill, extents, count, 4 << 20, &budget, &reader, error));
    for (const uint8_t *content = bytes; content != NULL;)
        MR_TRY(mr__spill_reader_next(reader, &content, &extent, error));
    show(what, total, begin, cpu, "read back");
done:
    mr__spill_reader_destroy(reader);
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
    free(extents);
    return status;
}

int main(int count, char **arguments)
{
    enum { WINDOW = 32 << 20 };
    const uint64_t total = (count > 2 ? strtoull(arguments[2], NULL, 10) : 512) << 20;
    const size_t piece = (count > 3 ? strtoull(arguments[3], NULL, 10) : 64) << 10;
    mr__burst *burst = NULL;
    mr__error error = {.code = MR_OK};
    uint8_t *bytes = aligned_alloc(4096, WINDOW + piece);
    if (count < 2 || bytes == NULL || piece == 0 || total < piece) {
        fprintf(stderr, "usage: bench_spill DIRECTORY [MEGABYTES [EXTENT_KIB]]\n");
        return 2;
    }
    fill_with_words(bytes, WINDOW + piece);
    printf("%llu MiB in extents of %zu KiB\n", (unsigned long long)total >> 20, piece >> 10);
    if (plain(arguments[1], bytes, 1 << 20, total, 0, "plain, page cache") != 0 ||
        plain(arguments[1], bytes, 1 << 20, total, O_DIRECT, "plain, O_DIRECT") != 0)
        return 4;
    if (mr__burst_open(arguments[1], &burst, &error) == MR_OK)
        for (int codec = MR__CODEC_NONE; codec <= MR__CODEC_ZSTD && error.code == MR_OK; codec++)
            spilled(burst, (mr__codec)codec, bytes, WINDOW, piece, total, &error);
    mr__burst_close(burst);
    if (error.code != MR_OK)
        fprintf(stderr, "bench_spill: %s\n", error.text);
    free(bytes);
    return error.code == MR_OK ? 0 : 4;
}
