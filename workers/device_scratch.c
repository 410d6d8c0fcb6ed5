/* device_scratch.c: a claimed directory (tier.h), handed to pocl by POCL_CACHE_DIR. Without one pocl uses its
 * default: less safe with several processes, but no reason to fail. The parent may lie in a home that several hosts
 * share, so the claim is this host's. */
#include "device_scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include "tier.h"

static mr__claim claim = {.lock = -1};

void mr__device_scratch_open(const char *parent)
{
    if (parent == NULL)
        parent = getenv("TMPDIR");
    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    if (mr__claim_for_host(parent, "millrace-pocl", &claim) == 0)
        setenv("POCL_CACHE_DIR", claim.path, 1);
}

/* Several threads may end the process at once: the first one removes, the others wait, since their exit would end that
 * half-way. */
void mr__device_scratch_close(void)
{
    static pthread_mutex_t closing = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&closing);
    mr__claim_drop(mr__tier_global(), &claim);
    pthread_mutex_unlock(&closing);
}
