/* tier.h: a place that holds bytes, behind one table of calls: memory, burst buffer, global file system.
 * Promise   Callers name files by (tier, path); which calls reach the bytes is the tier's affair. Every call is there.
 *           A hot path may ask for the file's descriptor (fd >= 0) and use io_uring or mmap on it.
 * Result    0 (or a count) or -errno: the sentence is worded by the caller, who knows what the file is for.
 * Units     Bytes.
 * Threads   Any thread may call. A file is written by one thread at a time, read by any.
 * Capacity  A tier with a capacity answers -ENOSPC beyond it. write_at charges; who writes through fd charges itself
 *           with mr__tier_charge(). Files are written once: a byte is charged once, and given back by remove. */
#ifndef MR__TIER_H
#define MR__TIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "check.h"

typedef struct mr__tier mr__tier;

typedef struct mr__file {
    mr__tier *tier;             /* NULL: not open */
    int fd;                     /* -1: the tier has none */
} mr__file;

typedef enum mr__kind { MR__FILE, MR__DIRECTORY, MR__PIPE, MR__OTHER } mr__kind;

typedef struct mr__entry {
    const char *name;           /* in list(): valid during the visit */
    uint64_t size;
    mr__kind kind;              /* of what a link leads to; MR__OTHER if it leads nowhere */
    bool link;
    bool mounted;               /* from stat(): it is the root of a mount, and cannot be renamed */
    uint64_t id;                /* from stat(): the same under whatever name; 0: the tier has no such number */
} mr__entry;

/* Returning false ends the listing. */
typedef bool (*mr__visit)(const mr__entry *entry, void *context);

/* A directory that no other process has, and that a later sweep with the same prefix removes if its owner died. A
 * shared one has several owners: it stays as long as one of them lives. */
typedef struct mr__claim {
    char *path;                 /* inside the tier; mr__claim_drop() frees it */
    int lock;                   /* a descriptor whose lock ends with the process, or -1 */
} mr__claim;

typedef enum mr__rename { MR__RENAME_NEW, MR__RENAME_SWAP } mr__rename;

typedef struct mr__tier_ops {
    int (*open)(mr__tier *tier, const char *path, mr__file *file);          /* for reading */
    int (*create)(mr__tier *tier, const char *path, mr__file *file);        /* new, for reading and writing */
    int (*close)(mr__file *file);               /* in any case; of a file that was written mr__file_finish() asks how */
    ssize_t (*read_at)(const mr__file *file, void *buffer, size_t size, uint64_t offset);   /* short only at the end */
    int (*write_at)(const mr__file *file, const void *bytes, size_t size, uint64_t offset); /* all or -errno */
    int (*sync)(const mr__file *file);
    int (*stat)(mr__tier *tier, const char *path, mr__entry *entry);
    /* Is it a link itself? Then *to is where it leads, cut off if need be. */
    bool (*read_link)(mr__tier *tier, const char *path, char *to, size_t size);
    int (*list)(mr__tier *tier, const char *path, mr__visit visit, void *context);          /* any order */
    int (*make_directory)(mr__tier *tier, const char *path);
    /* Removes claims whose owners died, as far as it can. It takes as long as there are files in them. */
    void (*sweep)(mr__tier *tier, const char *parent, const char *prefix);
    /* prefix: of the new directory's name; the rest is PID-RANDOM. */
    int (*claim)(mr__tier *tier, const char *parent, const char *prefix, mr__claim *claim);
    /* From now on other processes may join the claim by its path. -ENOTSUP: nobody else sees this tier. */
    int (*share)(mr__tier *tier, mr__claim *claim);
    /* -ENOENT: it is not seen here, or its last owner has removed it. */
    int (*join)(mr__tier *tier, const char *path, mr__claim *claim);
    /* NEW: -EEXIST if `to` exists. SWAP: both names exist and change places. */
    int (*rename)(mr__tier *tier, const char *from, const char *to, mr__rename how);
    int (*remove)(mr__tier *tier, const char *path);                        /* a file, a link, or an empty directory */
    int64_t (*free_bytes)(mr__tier *tier, const char *path);
    void (*destroy)(mr__tier *tier);
} mr__tier_ops;

struct mr__tier {
    const mr__tier_ops *ops;
    const char *name;           /* "global", "burst", "memory" */
    uint64_t capacity;          /* 0: as much as there is */
    _Atomic uint64_t used;      /* counted only with a capacity */
};

/* The host's file system, by plain paths. Lives as long as the process; never destroyed. */
mr__tier *mr__tier_global(void);
/* A directory of the host's file system, which exists. name: borrowed. */
mr_status mr__tier_directory_create(const char *name, const char *root, uint64_t capacity, mr__tier **tier,
                                    mr__error *error);
/* Files in this process's memory (each has a descriptor, so that every reading path works). */
mr_status mr__tier_memory_create(uint64_t capacity, mr__tier **tier, mr__error *error);
void mr__tier_destroy(mr__tier *tier);      /* takes NULL */

/* Closes a file that was written. -errno: not all of it may be there; NFS says here what it could not write. */
int mr__file_finish(mr__file *file);

/* false: the tier is full; nothing was charged. */
bool mr__tier_charge(mr__tier *tier, uint64_t bytes);
/* Of an -ENOSPC for so many bytes: it is the tier's own, not the disk's below it. */
bool mr__tier_is_used_up(const mr__tier *tier, uint64_t bytes);
void mr__tier_refund(mr__tier *tier, uint64_t bytes);

/* Removes a directory with all that is in it, as far as it can; -errno of the first failure. Follows no link. */
int mr__tier_remove_tree(mr__tier *tier, const char *path);
/* Removes the claimed directory, if it is still there, and ends the claim. Takes a zeroed claim. */
void mr__claim_drop(mr__tier *tier, mr__claim *claim);
/* Sweeps, then claims PARENT/WORD-UID-HOST-... on the global tier: this host's alone. The parent may lie on a file
 * system that several hosts share, and a lock on a directory of NFS is not seen by the others: each sweeps its own.
 * What is left on a host that never comes back stays. 0, or what claim() says. */
int mr__claim_for_host(const char *parent, const char *word, mr__claim *claim);
/* Ends the part that this process has in a shared claim; the last one to leave removes the directory. */
void mr__claim_leave(mr__tier *tier, mr__claim *claim);

#endif
