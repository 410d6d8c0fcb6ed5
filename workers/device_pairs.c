/* device_pairs.c: [size | value][key | suffix | zeros to 8]. */
#include "device_pairs.h"

#include <string.h>

static mr_status put(mr__device_pairs *pairs, const mr__device_text *text, uint32_t offset, uint32_t size,
                     uint64_t value, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t suffix = pairs->view->job.suffix_size, key = size + suffix;
    MR_CHECK(size > 0 && offset < text->size && size <= text->size - offset, MR_DEVICE_LOST,
             "device %s returned a key of %u bytes at %u of a text of %u bytes: " MR__DISTRUST, pairs->device, size,
             offset, text->size, pairs->device);
    const size_t footprint = mr__device_pair_bytes(key);
    MR_CHECK(footprint <= pairs->room - pairs->used, MR_NO_SPACE, "the pairs of this task do not fit its slot");
    uint8_t *const at = pairs->memory + pairs->used;
    const mr__device_pair head = {.size = key, .value = value};
    memcpy(at, &head, sizeof head);
    uint8_t *const bytes = at + sizeof head;
    memset(at + footprint - 8, 0, 8);
    memcpy(bytes, text->bytes + offset, size);
    if (pairs->folded)
        for (uint32_t i = 0; i < size; i++)
            bytes[i] += bytes[i] >= 'A' && bytes[i] <= 'Z' ? 'a' - 'A' : 0;
    if (suffix > 0) {
        const uint32_t number = __builtin_bswap32(mr__device_text_file(text, offset));
        memcpy(bytes + size, &number, suffix);
    }
    pairs->used += footprint;
done:
    return status;
}

mr_status mr__device_pairs_entries(mr__device_pairs *pairs, const mr__device_text *text,
                                   const mr__device_entry *entries, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t before = pairs->used;
    for (size_t i = 0; i < count; i++)
        MR_TRY(put(pairs, text, entries[i].offset, entries[i].size, entries[i].value, error));
done:
    pairs->used = status == MR_OK ? pairs->used : before;
    return status;
}

mr_status mr__device_pairs_table(mr__device_pairs *pairs, const mr__device_text *text, const uint64_t *refs,
                                 const uint64_t *values, size_t slots, uint64_t *keys, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t before = pairs->used;
    uint64_t count = 0;
    for (size_t i = 0; i < slots; i++) {
        if (refs[i] == 0)
            continue;
        const uint32_t size = (uint32_t)(refs[i] >> MR__REF_SIZE_SHIFT) & ((1u << MR__REF_SIZE_BITS) - 1);
        MR_TRY(put(pairs, text, (uint32_t)refs[i] - 1, size, values[i], error));
        count++;
    }
    *keys = count;
done:
    pairs->used = status == MR_OK ? pairs->used : before;
    return status;
}
