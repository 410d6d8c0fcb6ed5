/* fuzz_told.c: any bytes where another rank tells what it did; and what a rank did tell, composed from the bytes, with
 * one byte changed.
 * Holds: numbers that are accepted are packed to the same bytes; a trace is refused with words, or packed again it
 * comes back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

enum { MOST = 1 << 20 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static mr__writing repack(const uint8_t *packed, size_t size)
{
    mr__trace *trace = NULL;
    mr__error error = {.text = ""};
    mr__writing again = {.size = 0};
    uint64_t origin_ns, clock = 0;
    if (size >= 16)
        memcpy(&clock, packed + 8, sizeof clock);
    const mr_status status = mr__trace_unpack(packed, size, (int64_t)le64toh(clock), &trace, &error);   /* no shift */
    check(status == MR_OK || (status == MR_NETWORK_FAILED && error.text[0] != '\0' && trace == NULL));
    check(status != MR_OK || mr__trace_packed_origin(packed, size, 0, &origin_ns));
    mr__trace_pack(trace, MOST, &again);
    mr__trace_destroy(trace);
    check(!again.broken);
    return again;
}

/* But for origin and clock, which are of the moment. */
static bool same_but_time(const mr__writing *a, const mr__writing *b)
{
    return a->size == b->size && memcmp(a->bytes + 16, b->bytes + 16, a->size - 16) == 0;
}

static bool there_and_back(const uint8_t *data, size_t size)
{
    mr__record_rank rank = {.works = 99};
    mr__writing packed = {.size = 0};
    uint8_t *bytes = malloc(size > 0 ? size : 1);       /* of just this size, for the sanitizer */
    check(bytes != NULL);
    memcpy(bytes, data, size);
    const bool taken = mr__record_rank_unpack(bytes, size, &rank);
    if (taken) {
        mr__record_rank_pack(&rank, NULL, 0, &packed);
        uint32_t length;
        memcpy(&length, bytes, sizeof length);
        if (strlen(rank.host) == le32toh(length))       /* it has no nul inside */
            check(packed.size + rank.trace_size == size && memcmp(packed.bytes, bytes, packed.size) == 0);
    } else {
        check(rank.works == 99);
    }
    if (taken && rank.trace != NULL) {
        mr__writing once = repack(rank.trace, rank.trace_size);
        if (once.size > 0) {
            mr__writing twice = repack(once.bytes, once.size);
            check(same_but_time(&once, &twice));
            mr__free(twice.bytes);
        }
        mr__free(once.bytes);
    }
    mr__free(packed.bytes);
    free(bytes);
    return taken;
}

static void compose(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"map", "reduce", "spill", "flush table"};
    static const char *const kinds[] = {"task", "shuffle"};
    const mr__record_rank rank = {.host = "host", .pid = size};
    mr__trace *trace = mr__trace_create(1 + size % 5);
    mr__writing told = {.size = 0};
    check(trace != NULL);
    mr__trace_name_lane(trace, 0, "cpu worker 0");
    for (size_t i = 0; i + 3 <= size; i += 3) {
        const uint32_t lane = data[i] % 5u;
        if (data[i] & 0x80)
            mr__trace_counter(trace, lane, names[data[i + 1] % 4], data[i + 2], i);
        else
            mr__trace_span(trace, lane, names[data[i + 1] % 4], kinds[data[i + 2] % 2], i, i + data[i + 2],
                           data[i + 2] % 3 == 0 ? "bytes" : NULL, i);
    }
    mr__record_rank_pack(&rank, trace, MOST, &told);
    check(!told.broken && there_and_back(told.bytes, told.size));
    if (size >= 3) {
        told.bytes[(data[0] | data[1] << 8) % told.size] ^= (uint8_t)(1u << data[2] % 8);
        there_and_back(told.bytes, told.size);
    }
    mr__free(told.bytes);
    mr__trace_destroy(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    there_and_back(data, size);
    compose(data, size);
    return 0;
}
