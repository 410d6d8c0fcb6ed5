/* count_bytes.c: the library's end of mr_count_u8 (millrace/row.h). */
#include "kernels.h"

MR_API void mr__count_bytes(const uint8_t *bytes, size_t size, const uint8_t *ahead, uint64_t counts[256]);

void mr__count_bytes(const uint8_t *bytes, size_t size, const uint8_t *ahead, uint64_t counts[256])
{
    mr__kernels_current()->count_bytes(bytes, size, ahead, counts);
}
