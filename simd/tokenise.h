/* tokenise.h: the text kernels of each level, for kernels.c. tokenise_scalar.c is the definition. */
#ifndef MR__TOKENISE_H
#define MR__TOKENISE_H

#include "kernels.h"

#define MR__TOKENISE(level)                                                                                            \
    size_t mr__spans_##level(const uint8_t *data, size_t size, uint32_t mode, uint32_t *start, uint32_t *stop,         \
                             size_t max, size_t *consumed);                                                            \
    size_t mr__first_boundary_##level(const uint8_t *data, size_t size, mr_unit unit);                                 \
    size_t mr__last_boundary_##level(const uint8_t *data, size_t size, mr_unit unit);                                  \
    void mr__fold_##level(uint8_t *to, const uint8_t *from, size_t size);

MR__TOKENISE(scalar)
MR__TOKENISE(sse2)
MR__TOKENISE(avx2)
MR__TOKENISE(avx512)
MR__TOKENISE(neon)

#endif
