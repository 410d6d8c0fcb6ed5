/* digest.c: rows and checksum of a result, so that a fast wrong answer shows.
 *
 *     digest lines FILE...          rows are lines; a last line without a newline counts
 *     digest counted FILE...        the same for lines as `uniq -c` prints them: "  17 word" counts as "word<TAB>17";
 *                                   the empty word, what blanks at the very start leave, is no row
 *     digest records SIZE FILE...   rows are SIZE bytes; "sorted" tells whether their first 10 bytes never descend over
 *                                   all files in the order given (TeraSort's rule)
 *
 * Prints {"rows": N, "checksum": HEX, "sorted": BOOL}. The checksum is the sum of a 64-bit hash of each row: the same
 * for any order of the rows, hence for unsorted, sorted and partitioned results, and a row twice or a row missing
 * changes it. It shares no code with the engine: the oracle is independent. */
#include "limits/limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY = 10 };

struct digest {
    uint64_t rows, checksum;
    bool sorted;
    uint8_t last[KEY];
};

static uint64_t mix(uint64_t hash, uint64_t word)
{
    const __uint128_t product = (__uint128_t)(hash ^ word) * 0x9e3779b97f4a7c15u;
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ (hash << 7);
}

static void add(struct digest *digest, const uint8_t *row, size_t size, uint64_t seed)
{
    uint64_t hash = seed + size, word;
    for (; size >= sizeof word; row += sizeof word, size -= sizeof word) {
        memcpy(&word, row, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, row, size);
    digest->checksum += mix(mix(hash, word), 0x2545f4914f6cdd1du);
    digest->rows++;
}

static void add_lines(struct digest *digest, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = newline ? newline : end;
        add(digest, at, (size_t)(stop - at), 1);
        at = newline ? newline + 1 : end;
    }
}

static void add_counted(struct digest *digest, const uint8_t *at, const uint8_t *end, const char *path)
{
    static uint8_t row[1 << 24];
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = newline ? newline : end, *count;
        while (at < stop && *at == ' ')
            at++;
        for (count = at; at < stop && *at != ' ';)
            at++;
        const size_t digits = (size_t)(at - count), word = at < stop ? (size_t)(stop - at - 1) : 0;
        if (at == stop || digits + word + 1 > sizeof row)
            limit_fail("%s: line %lu is not what uniq -c prints", path, digest->rows + 1);
        memcpy(row, at + 1, word);
        row[word] = '\t';
        memcpy(row + word + 1, count, digits);
        if (word > 0)
            add(digest, row, word + 1 + digits, 1);
        at = newline ? newline + 1 : end;
    }
}

static void add_records(struct digest *digest, const uint8_t *at, const uint8_t *end, size_t size, const char *path)
{
    if (size < KEY || (size_t)(end - at) % size != 0)
        limit_fail("%s: its size is no multiple of a record of %zu bytes", path, size);
    for (; at < end; at += size) {
        digest->sorted &= digest->rows == 0 || memcmp(digest->last, at, KEY) <= 0;
        memcpy(digest->last, at, KEY);
        add(digest, at, size, 1);
    }
}

int main(int argc, char **argv)
{
    struct digest digest = {.sorted = true};
    const char *kind = argc > 1 ? argv[1] : "";
    const bool records = strcmp(kind, "records") == 0, counted = strcmp(kind, "counted") == 0;
    if (argc < 3 + records || (!records && !counted && strcmp(kind, "lines") != 0))
        limit_fail("usage: digest lines|counted FILE... or digest records SIZE FILE...");
    for (int i = 2 + records; i < argc; i++) {
        struct stat st;
        const int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) != 0)
            limit_fail("could not open %s: %s", argv[i], strerror(errno));
        const size_t size = (size_t)st.st_size;
        const uint8_t *data = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
        if (data == MAP_FAILED)
            limit_fail("could not map %s: %s", argv[i], strerror(errno));
        if (records)
            add_records(&digest, data, data + size, limit_number(argv[2]), argv[i]);
        else if (counted)
            add_counted(&digest, data, data + size, argv[i]);
        else
            add_lines(&digest, data, data + size);
        if (size)
            munmap((void *)data, size);
        close(fd);
    }
    printf("{\"rows\": %lu, \"checksum\": \"%016lx\"", digest.rows, digest.checksum);
    if (records)
        printf(", \"sorted\": %s", digest.sorted ? "true" : "false");
    puts("}");
    return 0;
}
