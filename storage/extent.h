/* extent.h: how bytes lie in a spill file, and what is checked when they come back.
 * Layout    file:   ["mrspill1" | version u32 | 0 u32], extents
 *           extent: [magic u32 | stored u32 | size u32 | codec u32 | XXH3 u64 of the stored bytes, seeded with size and
 *           codec][stored bytes][zeros to a multiple of 8]. Little-endian, as the machine that wrote it; a spill file
 *           never leaves its process.
 * Threads   Any; no state. */
#ifndef MR__EXTENT_H
#define MR__EXTENT_H

#include <stddef.h>
#include <stdint.h>

#include "spill.h"

enum { MR__EXTENT_HEADER = 24, MR__SPILL_HEADER = 16, MR__EXTENT_PADDING = 64 };

void mr__spill_header(uint8_t header[MR__SPILL_HEADER]);
/* Bytes that the extent takes in the file. */
uint64_t mr__extent_footprint(uint32_t stored);

void mr__extent_seal(uint8_t header[MR__EXTENT_HEADER], const void *stored, uint32_t stored_size, uint32_t size,
                     mr__codec codec);

/* Checks what was read from an extent's place against what was written there. at: the header, `available` bytes from
 * it. unpacked: room for expected->size + MR__EXTENT_PADDING bytes, only needed for packed extents; may be NULL
 * otherwise. NULL and *content (in `at` or in unpacked), or a few words about what is wrong. */
const char *mr__extent_open(const uint8_t *at, size_t available, const mr__extent *expected, uint8_t *unpacked,
                            const uint8_t **content);

#endif
