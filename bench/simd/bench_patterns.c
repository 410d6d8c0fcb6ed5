/* bench_patterns.c: bytes per second of mr_patterns_find at each level, on one core, over a file and a list of
 * patterns, one a line: bench_patterns TEXT PATTERNS. The number of matches must be the same at every level; compare
 * with `grep -c -F -f PATTERNS TEXT` and `grep -o -F -f PATTERNS TEXT | wc -l`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_clock.h"
#include "kernels.h"

enum { BLOCK = 256 << 10, REPEATS = 3, MATCHES = 65536 };

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + MR_BLOCK_PADDING);
    if (data != NULL && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static size_t split_lines(const uint8_t *list, size_t size, mr_slice **patterns)
{
    const mr_block block = {.data = list, .size = size};
    size_t count = 0, room = 1024;
    *patterns = malloc(room * sizeof **patterns);
    mr_text_lines(&block, line) {
        if (line.size == 0)
            continue;
        if (count == room)
            *patterns = realloc(*patterns, (room *= 2) * sizeof **patterns);
        (*patterns)[count++] = line;
    }
    return count;
}

static uint64_t search(const void *blob, const uint8_t *text, size_t size, mr_match *matches)
{
    uint64_t total = 0;
    for (size_t at = 0; at < size; at += BLOCK) {
        const size_t block = size - at < BLOCK ? size - at : BLOCK;
        size_t position = 0;
        for (size_t found; (found = mr_patterns_find(blob, text + at, block, &position, matches, MATCHES)) > 0;)
            total += found;
    }
    return total;
}

int main(int argc, char **argv)
{
    size_t text_size = 0, list_size = 0;
    uint8_t *text = argc == 3 ? read_file(argv[1], &text_size) : NULL;
    uint8_t *list = argc == 3 ? read_file(argv[2], &list_size) : NULL;
    mr_slice *patterns = NULL;
    if (text == NULL || list == NULL) {
        fprintf(stderr, "usage: bench_patterns TEXT PATTERNS\n");
        return 2;
    }
    const size_t count = split_lines(list, list_size, &patterns);
    void *blob = aligned_alloc(64, mr_patterns_size(patterns, count));
    mr_match *matches = malloc(MATCHES * sizeof *matches);
    if (blob == NULL || matches == NULL)
        return 1;
    mr_patterns_compile(patterns, count, blob);
    for (int level = 0; level < MR__LEVELS; level++) {
        if (mr__level_force((mr__level)level) != MR_OK)
            continue;
        uint64_t best = UINT64_MAX, total = 0;
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            const uint64_t begin = cpu_ns();
            total = search(blob, text, text_size, matches);
            const uint64_t spent = cpu_ns() - begin;
            best = spent < best ? spent : best;
        }
        printf("%zu patterns  %-8s %7.2f GB/s  %llu matches\n", count, mr__level_name((mr__level)level),
               (double)text_size / (double)best, (unsigned long long)total);
    }
    free(matches);
    free(blob);
    free(patterns);
    free(list);
    free(text);
    return 0;
}
