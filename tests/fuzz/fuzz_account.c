/* fuzz_account.c: any bytes where the account of a rank should be; and accounts of two ranks of four that nearly fit
 * the job, composed from the bytes, put into a ledger, and packed with one byte changed.
 * Holds: what is refused has words for it and leaves nothing; what is accepted is packed to the same bytes; a ledger
 * takes it or refuses it with words, keeps its rules, and never has more to do than the job. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "memory.h"

enum { TOTAL = 4096, STEP = 16, PARTITIONS = 24, RANKS = 4, WORKS = 12 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void rebuild_from(const mr__account *accounts, size_t count)
{
    mr__ledger *ledger = NULL;
    mr__error error = {.text = ""};
    mr__work work;
    bool found = true;
    check(mr__ledger_create(TOTAL, PARTITIONS, RANKS, 64, &ledger, NULL) == MR_OK);
    const mr_status status = mr__ledger_rebuild(ledger, accounts, count, &error);
    check(status == MR_OK || (status == MR_INTERNAL && error.text[0] != '\0' && mr__ledger_left(ledger) == TOTAL));
    check(mr__ledger_check(ledger, NULL) == MR_OK);
    check(mr__ledger_left(ledger) <= TOTAL);
    for (uint32_t rank = 0; found; rank++)
        check(mr__ledger_give(ledger, rank % RANKS, 0, &work, &found, NULL) == MR_OK);
    check(mr__ledger_left(ledger) == 0);
    mr__ledger_destroy(ledger);
}

/* What is accepted comes back the same. */
static bool there_and_back(const uint8_t *data, size_t size)
{
    mr__account account = {.rank = 99};
    mr__error error = {.text = ""};
    uint8_t *bytes = malloc(size > 0 ? size : 1);       /* of just this size, for the sanitizer */
    check(bytes != NULL);
    memcpy(bytes, data, size);
    const mr_status status = mr__account_unpack(bytes, size, &account, &error);
    if (status != MR_OK) {
        check(status == MR_NETWORK_FAILED && error.text[0] != '\0' && account.rank == 99);
    } else {
        uint8_t *packed = NULL;
        size_t packed_size = 0;
        check(mr__account_pack(&account, &packed, &packed_size, NULL) == MR_OK);
        check(packed_size == size && memcmp(packed, bytes, size) == 0);
        mr__free(packed);
        rebuild_from(&account, 1);
        mr__account_fini(&account);
    }
    free(bytes);
    return status == MR_OK;
}

typedef struct stream {
    const uint8_t *at, *end;
} stream;

static uint8_t next(stream *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static mr__range some_range(stream *in)
{
    const uint64_t begin = next(in) * STEP, end = begin + STEP * (1 + next(in) % 32u);
    return (mr__range){begin, end < TOTAL ? end : TOTAL};
}

/* Partitions in groups of rank 0, of rank 1, and of the lost; works for all partitions, or from border to border. */
static void compose(stream in)
{
    mr__group groups[2][PARTITIONS];
    mr__work works[2][WORKS];
    mr__account accounts[2];
    uint32_t borders[PARTITIONS + 1], border_count = 0;
    for (uint32_t i = 0; i < 2; i++)
        accounts[i] = (mr__account){.rank = i, .groups = groups[i], .works = works[i]};
    for (uint32_t first = 0, last; first < PARTITIONS; first = last) {
        const uint32_t owner = next(&in) % 3;
        last = first + 1 + next(&in) % 8;
        last = last < PARTITIONS ? last : PARTITIONS;
        borders[border_count++] = first;
        if (owner == 2)
            continue;
        mr__group *group = &groups[owner][accounts[owner].group_count++];
        *group = (mr__group){.first = first, .last = last, .owner = owner};
        for (uint32_t ranges = next(&in) % 4; ranges > 0; ranges--) {
            const mr__range range = some_range(&in);
            check(mr__cover_unite(&group->covered, range.begin, range.end, NULL) == MR_OK);
        }
    }
    borders[border_count++] = PARTITIONS;
    for (uint32_t count = next(&in) % WORKS; count > 0; count--) {
        const mr__range range = some_range(&in);
        const uint8_t how = next(&in);
        const uint32_t first = next(&in) % (border_count - 1);
        const uint32_t last = first + 1 + next(&in) % (border_count - 1 - first);
        mr__account *account = &accounts[how % 2];
        account->works[account->work_count++] =
            (mr__work){range.begin, range.end, how & 2 ? 0 : borders[first], how & 2 ? PARTITIONS : borders[last]};
    }
    rebuild_from(accounts, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *packed = NULL;
        size_t size = 0;
        check(mr__account_pack(&accounts[i], &packed, &size, NULL) == MR_OK);
        check(there_and_back(packed, size));
        packed[(next(&in) | next(&in) << 8) % size] ^= (uint8_t)(1u << next(&in) % 8);
        there_and_back(packed, size);
        mr__free(packed);
        for (size_t g = 0; g < accounts[i].group_count; g++)
            mr__cover_fini(&groups[i][g].covered);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    there_and_back(data, size);
    compose((stream){data, data + size});
    return 0;
}
