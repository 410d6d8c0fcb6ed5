/* namespace.h: one tree of paths over all tiers.
 * Promise   A path that begins with a mount's name ("/memory/x") belongs to that tier; every other path is a plain path
 *           of the host's file system. Resolving never fails: whether the file exists is the tier's answer.
 * Owner     Mounted tiers are borrowed; they outlive the namespace and what was opened through it.
 * Threads   Mounting: one, before use. Resolving: any. */
#ifndef MR__NAMESPACE_H
#define MR__NAMESPACE_H

#include <millrace/block.h>

#include "tier.h"

typedef struct mr__namespace mr__namespace;

/* Only plain paths; constant, never destroyed. */
const mr__namespace *mr__namespace_plain(void);
mr_status mr__namespace_create(mr__namespace **names, mr__error *error);
void mr__namespace_destroy(mr__namespace *names);
/* prefix: "/name" or "/a/b", copied. MR_BAD_USAGE: not of that form, or taken. */
mr_status mr__namespace_mount(mr__namespace *names, const char *prefix, mr__tier *tier, mr__error *error);
/* *inside points into path. */
mr__tier *mr__namespace_resolve(const mr__namespace *names, const char *path, const char **inside);

/* A file for reading, which the caller closes through its tier, and its size. MR_BAD_INPUT: it cannot be opened, or is
 * none. */
mr_status mr__namespace_open(const mr__namespace *names, const char *path, mr__file *file, uint64_t *size,
                             mr__error *error);
/* A whole file (a side input); content->data: mr__free() it. MR_BAD_INPUT, MR_NO_MEMORY. */
mr_status mr__namespace_load(const mr__namespace *names, const char *path, mr_slice *content, mr__error *error);

#endif
