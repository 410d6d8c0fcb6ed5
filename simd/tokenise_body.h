/* tokenise_body.h: the text kernels of one vector level, 64 bytes a step. Included once by tokenise_<level>.c, which
 * defines before it
 *   LEVEL(name)                            name_<level>
 *   blanks64, letters64, newlines64(bytes) a mask, bit i for byte i of 64
 *   positions64(mask, base, to)            writes base + i for each set bit, ascending; may write 64 elements; how many
 *
 *   bytes    t h e   c a t ,   i t         word      1110 1111 011     (what is no separator)
 *   shifted = word << 1 | open             starts = word & ~shifted    stops = ~word & shifted
 *
 * Starts and stops are written apart, each as a dense list of bit positions, so that a word costs no branch. `open`
 * carries the last bit over to the next 64 bytes: there may be one start more than stops. */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE uint64_t word_bits(const uint8_t *bytes, uint32_t mode)
{
    return mode == MR_SPLIT_LETTERS ? letters64(bytes) : ~blanks64(bytes);
}

ALWAYS_INLINE size_t words(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop, size_t max,
                           size_t *consumed)
{
    size_t starts = 0, stops = 0;
    uint64_t open = 0;
    for (size_t at = 0; at < size && stops < max; at += 64) {
        uint64_t word = word_bits(data + at, mode);
        if (size - at < 64)
            word &= ((uint64_t)1 << (size - at)) - 1;
        const uint64_t shifted = word << 1 | open;
        starts += positions64(word & ~shifted, (uint32_t)at, start + starts);
        stops += positions64(~word & shifted, (uint32_t)at, stop + stops);
        open = word >> 63;
    }
    if (stops < max && stops < starts)
        stop[stops++] = (uint32_t)size;
    if (stops < max) {
        *consumed = size;
        return stops;
    }
    *consumed = stop[max - 1];
    return max;
}

static size_t lines(const uint8_t *data, size_t size, uint32_t *start, uint32_t *stop, size_t max, size_t *consumed)
{
    size_t count = 0;
    for (size_t at = 0; at < size && count < max; at += 64) {
        uint64_t ends = newlines64(data + at);
        if (size - at < 64)
            ends &= ((uint64_t)1 << (size - at)) - 1;
        count += positions64(ends, (uint32_t)at, stop + count);
    }
    if (count < max && size > 0 && (count == 0 || stop[count - 1] + 1 < size))
        stop[count++] = (uint32_t)size;         /* the last line lacks its end */
    if (count > max)
        count = max;
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t end = stop[i];
        start[i] = (uint32_t)begin;
        stop[i] = (uint32_t)(end - (end < size && end > begin && data[end - 1] == '\r'));
        begin = end + 1;
    }
    *consumed = begin < size ? begin : size;
    return count;
}

size_t LEVEL(mr__spans)(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop, size_t max,
                        size_t *consumed)
{
    switch (mode) {
    case MR_SPLIT_BLANKS:
        return words(data, size, MR_SPLIT_BLANKS, start, stop, max, consumed);
    case MR_SPLIT_LETTERS:
        return words(data, size, MR_SPLIT_LETTERS, start, stop, max, consumed);
    default:
        return lines(data, size, start, stop, max, consumed);
    }
}

/* The blanks among the first `size` < 64 bytes; reads no more than these. */
static uint64_t blanks_of_part(const uint8_t *bytes, size_t size)
{
    uint8_t whole[64] = {0};
    memcpy(whole, bytes, size);
    return blanks64(whole);
}

/* glibc's memchr and memrchr choose a vector level by themselves: nothing is left to gain for lines. */
size_t LEVEL(mr__first_boundary)(const uint8_t *data, size_t size, mr_unit unit)
{
    if (unit == MR_LINES) {
        const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
        return end != NULL ? (size_t)(end - data) + 1 : SIZE_MAX;
    }
    for (size_t at = 0; at < size; at += 64) {
        const uint64_t blanks = size - at < 64 ? blanks_of_part(data + at, size - at) : blanks64(data + at);
        if (blanks != 0)
            return at + (size_t)__builtin_ctzll(blanks) + 1;
    }
    return SIZE_MAX;
}

size_t LEVEL(mr__last_boundary)(const uint8_t *data, size_t size, mr_unit unit)
{
    if (unit == MR_LINES) {
        const uint8_t *end = size > 0 ? memrchr(data, '\n', size) : NULL;
        return end != NULL ? (size_t)(end - data) + 1 : SIZE_MAX;
    }
    for (size_t left = size; left > 0;) {
        const size_t part = left < 64 ? left : 64;
        left -= part;
        const uint64_t blanks = part < 64 ? blanks_of_part(data + left, part) : blanks64(data + left);
        if (blanks != 0)
            return left + 64 - (size_t)__builtin_clzll(blanks);
    }
    return SIZE_MAX;
}

/* Without a branch the compiler vectorises it as well as a hand would. */
void LEVEL(mr__fold)(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const uint8_t upper = (uint8_t)(from[i] - 'A') < 26;
        to[i] = (uint8_t)(from[i] + upper * ('a' - 'A'));
    }
}
