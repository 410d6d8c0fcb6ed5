/* tier.c: what all tiers share. */
#include "tier.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fault.h"
#include "memory.h"

void mr__tier_destroy(mr__tier *tier)
{
    if (tier != NULL)
        tier->ops->destroy(tier);
}

bool mr__tier_charge(mr__tier *tier, uint64_t bytes)
{
    if (tier->capacity == 0)
        return true;
    /* relaxed: the counter orders nothing but itself */
    uint64_t used = atomic_load_explicit(&tier->used, memory_order_relaxed);
    do {
        if (used > tier->capacity || bytes > tier->capacity - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&tier->used, &used, used + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool mr__tier_is_used_up(const mr__tier *tier, uint64_t bytes)
{
    return tier->capacity != 0 && atomic_load(&tier->used) + bytes > tier->capacity;
}

void mr__tier_refund(mr__tier *tier, uint64_t bytes)
{
    if (tier->capacity != 0)
        atomic_fetch_sub_explicit(&tier->used, bytes, memory_order_relaxed);
}

int mr__file_finish(mr__file *file)
{
    const int closed = file->tier->ops->close(file);
    return mr__fault(MR__FAULT_CLOSE) ? -EIO : closed;
}

/* The names of one directory, so that removing does not disturb the listing. */
struct doomed {
    const char *directory;
    struct doomed_item {
        struct doomed_item *next;
        char path[];
    } *items;
    int result;
};

static bool doom(const mr__entry *entry, void *context)
{
    struct doomed *doomed = context;
    const size_t front = strlen(doomed->directory), back = strlen(entry->name) + 1;
    struct doomed_item *item = mr__alloc(sizeof *item + front + 1 + back);
    if (item == NULL) {
        doomed->result = -ENOMEM;
        return false;
    }
    memcpy(item->path, doomed->directory, front);
    item->path[front] = '/';
    memcpy(item->path + front + 1, entry->name, back);
    item->next = doomed->items;
    doomed->items = item;
    return true;
}

int mr__tier_remove_tree(mr__tier *tier, const char *path)
{
    struct doomed doomed = {.directory = path};
    int result = tier->ops->remove(tier, path);         /* a file, an empty directory, a link even to a directory */
    if (result != -ENOTEMPTY && result != -EEXIST)
        return result;
    result = tier->ops->list(tier, path, doom, &doomed);
    if (result == 0)
        result = doomed.result;
    for (struct doomed_item *item = doomed.items, *next; item != NULL; item = next) {
        next = item->next;
        const int removed = mr__tier_remove_tree(tier, item->path);
        if (result == 0)
            result = removed;
        mr__free(item);
    }
    const int removed = tier->ops->remove(tier, path);
    return result != 0 ? result : removed;
}

int mr__claim_for_host(const char *parent, const char *word, mr__claim *claim)
{
    mr__tier *tier = mr__tier_global();
    char host[HOST_NAME_MAX + 1] = "", prefix[128];
    gethostname(host, sizeof host - 1);
    snprintf(prefix, sizeof prefix, "%s-%ld-%s-", word, (long)geteuid(), host);
    tier->ops->sweep(tier, parent, prefix);
    return tier->ops->claim(tier, parent, prefix, claim);
}

void mr__claim_drop(mr__tier *tier, mr__claim *claim)
{
    if (claim->path == NULL)
        return;
    const int removed = mr__tier_remove_tree(tier, claim->path);
    if (claim->lock >= 0)
        close(claim->lock);
    /* Listing takes a descriptor, and now there is one. A sweeper that comes in between does the same. */
    if (removed == -EMFILE || removed == -ENFILE)
        mr__tier_remove_tree(tier, claim->path);
    mr__free(claim->path);
    *claim = (mr__claim){.lock = -1};
}

/* Nobody else holds the lock: the directory may go. The own lock is given up first, and only then is the whole one
 * tried for. So of several that leave at once the last one to try finds no lock, or that of one who removes. A
 * conversion would not do: on NFS a failed one keeps the shared lock, and two that leave at once stop each other. */
static bool is_last(const mr__claim *claim)
{
    return claim->lock >= 0 && flock(claim->lock, LOCK_UN) == 0 && flock(claim->lock, LOCK_EX | LOCK_NB) == 0;
}

void mr__claim_leave(mr__tier *tier, mr__claim *claim)
{
    if (claim->path != NULL && is_last(claim)) {
        mr__claim_drop(tier, claim);
        return;
    }
    if (claim->lock >= 0)
        close(claim->lock);
    mr__free(claim->path);
    *claim = (mr__claim){.lock = -1};
}
