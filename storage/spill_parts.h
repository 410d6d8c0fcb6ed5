/* spill_parts.h: what spill.c and spill_reader.c share. */
#ifndef MR__SPILL_PARTS_H
#define MR__SPILL_PARTS_H

#include "spill.h"
#include "tier.h"

/* The open file with this index, as extents name it; it stays open until the spill is destroyed. */
mr__file mr__spill_file(mr__spill *spill, uint32_t index);
/* Its path, for sentences; the spill's. */
const char *mr__spill_file_path(mr__spill *spill, uint32_t index);
mr__codec mr__spill_codec(const mr__spill *spill);

#endif
