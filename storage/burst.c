/* burst.c: a claimed directory (tier.h, tier_directory.c) with the burst tier on top of it. */
#include "burst.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "parse.h"
#include "places.h"
#include "tier.h"

struct mr__burst {
    mr__claim claim;            /* on the global tier */
    mr__tier *tier;
    _Atomic uint32_t numbers;
};

mr_status mr__burst_open(const char *parent, mr__burst **burst, mr__error *error)
{
    mr_status status = MR_OK;
    const char *size = getenv("MILLRACE_BURST_SIZE");
    uint64_t capacity = 0;
    mr__burst *made = NULL;
    parent = mr__places_burst(parent);
    MR_CHECK(size == NULL || *size == '\0' || mr__parse_size(size, &capacity) == MR__PARSED, MR_BAD_USAGE,
             "MILLRACE_BURST_SIZE=%s is not a size\n  hint: write it like 500M or 20G", size);
    made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for a burst directory in %s", parent);
    const int result = mr__claim_for_host(parent, "millrace", &made->claim);
    MR_CHECK(result != -EMFILE && result != -ENFILE, MR_IO_FAILED, "could not make a burst directory in %s: %s%s",
             parent, strerror(-result), mr__errno_hint(result));
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_IO_FAILED),
             "could not make a burst directory in %s: %s\n  hint: name a directory that can be written to with "
             "MILLRACE_BURST",
             parent, strerror(-result));
    MR_TRY(mr__tier_directory_create("burst", made->claim.path, capacity, &made->tier, error));
    *burst = made;
    made = NULL;
done:
    mr__burst_close(made);
    return status;
}

void mr__burst_sweep(const char *parent)
{
    mr__burst *burst;
    if (mr__burst_open(parent, &burst, NULL) == MR_OK)
        mr__burst_close(burst);
}

void mr__burst_close(mr__burst *burst)
{
    if (burst == NULL)
        return;
    mr__tier_destroy(burst->tier);
    mr__claim_drop(mr__tier_global(), &burst->claim);
    mr__free(burst);
}

const char *mr__burst_path(const mr__burst *burst)
{
    return burst->claim.path;
}

mr__tier *mr__burst_tier(mr__burst *burst)
{
    return burst->tier;
}

uint32_t mr__burst_number(mr__burst *burst)
{
    return atomic_fetch_add_explicit(&burst->numbers, 1, memory_order_relaxed);
}
