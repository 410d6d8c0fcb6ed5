/* test_count_bytes.c: every level counts bytes as one increment a byte does, and adds to what was counted before.
 * Oracle: the loop in check(). */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "text_cases.h"

static void check(const uint8_t *data, size_t size)
{
    uint64_t want[256];
    for (uint64_t byte = 0; byte < 256; byte++)
        want[byte] = byte * 1000;
    for (size_t i = 0; i < size; i++)
        want[data[i]]++;
    for (int level = 0; level < MR__LEVELS; level++) {
        uint64_t counts[256];
        if (!mr__level_supported((mr__level)level))
            continue;
        for (uint64_t byte = 0; byte < 256; byte++)
            counts[byte] = byte * 1000;
        mr__kernel_rows[level]->count_bytes(data, size, data, counts);
        assert_memory_equal(counts, want, sizeof want);
    }
}

static void every_texture_is_counted(void **state)
{
    static text_case text;
    for (size_t t = 0; t < TEXTURES; t++)
        for (size_t s = 0; s < CASE_SIZES; s++) {
            make_case(&text, &textures[t], case_sizes[s], s % 64, s + t);
            check(text.data, text.size);
        }
}

static void nothing_behind_the_bytes_is_read(void **state)
{
    for (size_t size = 1; size < 1200; size += 7) {
        uint8_t *exact = malloc(size);
        assert_non_null(exact);
        for (size_t i = 0; i < size; i++)
            exact[i] = (uint8_t)(i * 37);
        check(exact, size);
        free(exact);
    }
}

/* Streams of very different lengths: one value range for long, then another, then any byte. */
static void skewed_input_is_counted(void **state)
{
    enum { SIZE = 200000 };
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    uint64_t random = 11;
    for (size_t i = 0; i < SIZE; i++) {
        const uint8_t byte = (uint8_t)(next_random(&random) >> 30);
        data[i] = i < 50000 ? byte & 63 : i < 100000 ? byte | 0xc0 : i < 104000 ? 0x80 : byte;
    }
    for (size_t size = SIZE; size > SIZE - 1100; size -= 73)
        check(data + (SIZE - size), size);
    free(data);
}

/* Few values for long, and now and then one that was not there before; what a kernel learnt is right no longer. */
static void values_that_come_later_are_counted(void **state)
{
    enum { STRETCH = 4096 * 3 + 100, STRETCHES = 30, SIZE = STRETCH * STRETCHES };
    static const uint8_t late[] = {'z', ' ', 0, '\n', 'A', '0', 'x', 0xc3, 0x7f, 0xff, '@', 0x80, '!', 0x40};
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    uint64_t random = 5;
    for (size_t stretch = 0; stretch < STRETCHES; stretch++) {
        uint8_t *to = data + stretch * STRETCH;
        for (size_t i = 0; i < STRETCH; i++)
            to[i] = (uint8_t)('a' + (next_random(&random) >> 40) % (stretch < 20 ? 7 : 20));
        to[(next_random(&random) >> 20) % STRETCH] = late[stretch % MR__COUNT(late)];
    }
    check(data, SIZE);
    for (size_t cut = 1; cut <= STRETCH; cut += 1009)
        check(data + cut, SIZE - cut);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_texture_is_counted),
        cmocka_unit_test(nothing_behind_the_bytes_is_read),
        cmocka_unit_test(skewed_input_is_counted),
        cmocka_unit_test(values_that_come_later_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
