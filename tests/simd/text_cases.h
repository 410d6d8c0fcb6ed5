/* text_cases.h: inputs for kernel tests: random text of many textures at every alignment, padding behind it that holds
 * separators or letters. No cmocka here: the cross-built NEON check uses it too. */
#ifndef MR__TEXT_CASES_H
#define MR__TEXT_CASES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CASE_MAX = 4096, CASE_ROOM = CASE_MAX + 256 };

typedef struct text_case {
    uint8_t room[CASE_ROOM] __attribute__((aligned(64)));
    uint8_t *data;
    size_t size;
} text_case;

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* What a text is made of: alphabets from "any byte" to "nothing but blanks". */
static const struct texture {
    const char *name, *alphabet;
    size_t letters;             /* 0: any byte */
} textures[] = {
    {"any byte", "", 0},
    {"words", "abcdefgXYZ   \n", 14},
    {"long words", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.' ", 67},
    {"edges of the classes", "@AZ[`az{\x08\t\r\x0e\x1f !\x80\xc1\xe1\xff", 19},
    {"blanks", " \t\n\v\f\r", 6},
    {"no separator", "abcXYZ", 6},
    {"alternating", "a ", 2},
    {"line ends", "\r\n\na", 4},
    {"long lines", "................................................................\n\r", 66},
    {"zeros", "\0\0\0a \n", 6},
};
enum { TEXTURES = sizeof textures / sizeof textures[0] };

static const size_t case_sizes[] = {0,  1,  2,   3,   7,   15,  16,  17,  31,  32,  33,  62,   63,  64,
                                    65, 66, 127, 128, 129, 191, 192, 193, 255, 256, 300, 1000, 4095, 4096};
enum { CASE_SIZES = sizeof case_sizes / sizeof case_sizes[0] };

static inline void make_case(text_case *text, const struct texture *texture, size_t size, size_t shift, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    const uint8_t paddings[] = {' ', 'x', '\n', 0xff};
    memset(text->room, paddings[seed % sizeof paddings], sizeof text->room);
    text->data = text->room + 64 + shift;
    text->size = size;
    for (size_t i = 0; i < size; i++) {
        const uint64_t random = next_random(&state) >> 11;
        text->data[i] = texture->letters == 0 ? (uint8_t)random : (uint8_t)texture->alphabet[random % texture->letters];
    }
}

#endif
