/* tier_fd.h: the calls that tiers share whose files have descriptors; entries of their mr__tier_ops. */
#ifndef MR__TIER_FD_H
#define MR__TIER_FD_H

#include "tier.h"

int mr__fd_close(mr__file *file);
ssize_t mr__fd_read_at(const mr__file *file, void *buffer, size_t size, uint64_t offset);
int mr__fd_write_at(const mr__file *file, const void *bytes, size_t size, uint64_t offset);

#endif
