/* count_bytes.h: how often each byte value occurs, for kernels.c. count_bytes_scalar.c is the definition. */
#ifndef MR__COUNT_BYTES_H
#define MR__COUNT_BYTES_H

#include "kernels.h"

void mr__count_bytes_scalar(const uint8_t *data, size_t size, const uint8_t *ahead, uint64_t counts[256]);
void mr__count_bytes_avx512(const uint8_t *data, size_t size, const uint8_t *ahead, uint64_t counts[256]);

#endif
