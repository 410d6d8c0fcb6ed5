/* tokenise_scalar.c: what spans, boundaries and folding are, one byte at a time. The other levels must equal it. */
#include "tokenise.h"

#include <stdbool.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool in_word(uint8_t byte, uint32_t mode)
{
    return mode == MR_SPLIT_LETTERS ? is_letter(byte) : !is_blank(byte);
}

static size_t words(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop, size_t max,
                    size_t *consumed)
{
    size_t at = 0, count = 0;
    while (count < max) {
        while (at < size && !in_word(data[at], mode))
            at++;
        if (at == size)
            break;
        start[count] = (uint32_t)at;
        while (at < size && in_word(data[at], mode))
            at++;
        stop[count++] = (uint32_t)at;
    }
    *consumed = at;
    return count;
}

static size_t lines(const uint8_t *data, size_t size, uint32_t *start, uint32_t *stop, size_t max, size_t *consumed)
{
    size_t at = 0, count = 0;
    while (at < size && count < max) {
        const size_t begin = at;
        while (at < size && data[at] != '\n')
            at++;
        const bool crlf = at < size && at > begin && data[at - 1] == '\r';
        start[count] = (uint32_t)begin;
        stop[count++] = (uint32_t)(crlf ? at - 1 : at);
        at += at < size;
    }
    *consumed = at;
    return count;
}

size_t mr__spans_scalar(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop, size_t max,
                        size_t *consumed)
{
    if (mode == MR__MODE_LINES)
        return lines(data, size, start, stop, max, consumed);
    return words(data, size, mode, start, stop, max, consumed);
}

static bool is_boundary(uint8_t byte, mr_unit unit)
{
    return unit == MR_LINES ? byte == '\n' : is_blank(byte);
}

size_t mr__first_boundary_scalar(const uint8_t *data, size_t size, mr_unit unit)
{
    for (size_t i = 0; i < size; i++)
        if (is_boundary(data[i], unit))
            return i + 1;
    return SIZE_MAX;
}

size_t mr__last_boundary_scalar(const uint8_t *data, size_t size, mr_unit unit)
{
    for (size_t i = size; i > 0; i--)
        if (is_boundary(data[i - 1], unit))
            return i;
    return SIZE_MAX;
}

void mr__fold_scalar(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(from[i] + (from[i] >= 'A' && from[i] <= 'Z' ? 'a' - 'A' : 0));
}
