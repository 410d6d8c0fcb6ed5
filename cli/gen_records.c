/* gen_records.c: 100-byte records to sort, in the layout of the sort benchmark's text records:
 *   10 random printable bytes | 2 blanks | 32 hexadecimal digits, the record's number | 2 blanks | 52 bytes filler
 *   | CR LF */
#include <string.h>

#include "generator.h"
#include "memory.h"

enum { RECORD = 100, KEY = 10, PRINTABLE = 95, NUMBER_AT = 12, NUMBER_DIGITS = 32, FILLER_AT = 46, FILLER_GROUPS = 13 };

typedef struct records {
    cli_random random;
    uint64_t number;
} records;

static const char digits[] = "0123456789ABCDEF";

/* Five printable bytes from 64 random bits: each step takes the whole part of bits * 95. */
static void put_key_half(uint8_t *to, uint64_t bits)
{
    for (int i = 0; i < KEY / 2; i++) {
        const unsigned __int128 product = (unsigned __int128)bits * PRINTABLE;
        to[i] = (uint8_t)(' ' + (uint64_t)(product >> 64));
        bits = (uint64_t)product;
    }
}

static void records_fill(void *opaque, uint8_t *to, size_t size)
{
    records *state = opaque;
    for (uint8_t *const end = to + size; to < end; to += RECORD) {
        memset(to + KEY, ' ', FILLER_AT - KEY);
        put_key_half(to, cli_random_next(&state->random));
        put_key_half(to + KEY / 2, cli_random_next(&state->random));
        uint64_t number = state->number++, filler = cli_random_next(&state->random);
        memset(to + NUMBER_AT, '0', NUMBER_DIGITS / 2);
        for (int i = NUMBER_DIGITS - 1; i >= NUMBER_DIGITS / 2; i--, number >>= 4)
            to[NUMBER_AT + i] = (uint8_t)digits[number & 15];
        for (int i = 0; i < FILLER_GROUPS; i++, filler >>= 4)
            memset(to + FILLER_AT + 4 * i, digits[filler & 15], 4);
        to[RECORD - 2] = '\r';
        to[RECORD - 1] = '\n';
    }
}

static mr_status records_open(const cli_generate_settings *settings, void **out, mr__error *error)
{
    mr_status status = MR_OK;
    records *state = mr__alloc(sizeof *state);
    MR_CHECK(state != NULL, MR_NO_MEMORY, "no memory for the generator");
    *state = (records){.random = cli_random_start(settings->seed, 0)};
    *out = state;
done:
    return status;
}

static size_t records_row(const cli_generate_settings *settings)
{
    return RECORD;
}

const cli_generator cli_gen_records = {
    .name = "records", .row = records_row, .open = records_open, .fill = records_fill, .close = mr__free};
