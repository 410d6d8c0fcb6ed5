/* codec.h: bytes packed into fewer, and unpacked again: extents of the spill (extent.h), pairs on their way to other
 * ranks (engine/wire.h).
 * Promise   What was packed is unpacked to the same bytes. Whatever else is unpacked gives false, or some bytes;
 *           nothing is read or written outside of the two areas.
 * Threads   Any; no state.
 * Cost      lz4 0.3-0.7 GB/s a core to pack text, 2-3 to unpack; zstd (level 1) packs smaller and half as fast. */
#ifndef MR__CODEC_H
#define MR__CODEC_H

#include <stdbool.h>
#include <stddef.h>

typedef enum mr__codec { MR__CODEC_NONE, MR__CODEC_LZ4, MR__CODEC_ZSTD } mr__codec;

const char *mr__codec_name(mr__codec codec);        /* "none", "lz4", "zstd" */
/* The most that packing `size` bytes may take; 0 if this codec cannot pack so many. */
size_t mr__codec_bound(mr__codec codec, size_t size);
/* The packed size, or 0: it would not be smaller, or more than `capacity`. */
size_t mr__codec_pack(mr__codec codec, const void *bytes, size_t size, void *packed, size_t capacity);
/* Just `size` bytes come of it, or false; then `bytes` is undefined. */
bool mr__codec_unpack(mr__codec codec, const void *packed, size_t packed_size, void *bytes, size_t size);

#endif
