/* device_scratch.c: a claimed directory (tier.h), handed to pocl by POCL_CACHE_DIR. Without one pocl uses its
 * default: less safe with several processes, but no reason to fail.
 *
 * The parent may lie in a home that several hosts share, and a lock on a directory of NFS is not seen by the others. So
 * the name has the host's, and only that host takes it for dead. What is left on a host that never comes back stays. */
#include "device_scratch.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tier.h"

static mr__claim claim = {.lock = -1};

void mr__device_scratch_open(const char *parent)
{
    mr__tier *tier = mr__tier_global();
    char host[HOST_NAME_MAX + 1] = "", prefix[128];
    if (parent == NULL)
        parent = getenv("TMPDIR");
    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    gethostname(host, sizeof host - 1);
    snprintf(prefix, sizeof prefix, "millrace-pocl-%ld-%s-", (long)geteuid(), host);
    tier->ops->sweep(tier, parent, prefix);
    if (tier->ops->claim(tier, parent, prefix, &claim) == 0)
        setenv("POCL_CACHE_DIR", claim.path, 1);
}

void mr__device_scratch_close(void)
{
    static atomic_flag closing = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&closing))
        mr__claim_drop(mr__tier_global(), &claim);
}
