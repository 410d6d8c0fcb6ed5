/* share.c: dividing what was asked for. What was not asked for, the machine's cores and memory, each rank's session
 * divides by itself. */
#include "share.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology.h"
#include "worker_spec.h"

enum { MEMORY_PERCENT = 70 };           /* as mr_session_options has it */
static const uint64_t MEMORY_LEAST = 1 << 20;

uint64_t cli_share_of_free_memory(uint32_t ranks)
{
    mr__topology topology = {.count = 0};
    if (mr__topology_read(&topology, NULL) != MR_OK)
        return 0;
    const uint64_t memory = topology.memory_free / 100 * MEMORY_PERCENT / ranks;
    mr__topology_fini(&topology);
    return memory;
}

static mr_status share_workers(const char *text, uint32_t ranks, char out[CLI_SHARE_TEXT], mr__error *error)
{
    mr_status status = MR_OK;
    mr__worker_spec spec;
    int used = 0;
    MR_TRY(mr__worker_spec_parse(text, &spec, error));
    if (spec.cpus_given) {
        const uint32_t part = spec.cpus / ranks;
        used = snprintf(out, CLI_SHARE_TEXT, "cpu=%u", part > 0 || spec.cpus == 0 ? part : 1);
    }
    for (uint32_t i = 0; i < spec.device_count && used < CLI_SHARE_TEXT; i++) {
        used += snprintf(out + used, CLI_SHARE_TEXT - (size_t)used, "%s%s%s", used > 0 ? "," : "",
                         i == 0 ? "device=" : "", spec.device[i].who);
        if (spec.device[i].depth > 0 && used < CLI_SHARE_TEXT)
            used += snprintf(out + used, CLI_SHARE_TEXT - (size_t)used, ":%u", spec.device[i].depth);
    }
    if (used == 0)
        used = snprintf(out, CLI_SHARE_TEXT, "device=none");
    MR_CHECK(used < CLI_SHARE_TEXT, MR_BAD_USAGE, "--workers is too long: '%.60s...'", text);
done:
    return status;
}

mr_status cli_share_of(const cli_job_settings *settings, uint32_t ranks, cli_share *share, mr__error *error)
{
    mr_status status = MR_OK;
    const char *workers = settings->workers != NULL ? settings->workers : getenv("MILLRACE_WORKERS");
    share->memory = settings->memory / ranks;
    share->workers[0] = '\0';
    MR_CHECK(settings->memory == 0 || share->memory >= MEMORY_LEAST, MR_BAD_USAGE,
             "%" PRIu64 " bytes of memory are too little for %u ranks on one machine\n  hint: give more with --memory, "
             "or take fewer ranks",
             settings->memory, ranks);
    if (workers != NULL && workers[0] != '\0')
        MR_TRY(share_workers(workers, ranks, share->workers, error));
done:
    return status;
}

bool cli_share_be_first_of(uint32_t ranks)
{
    mr__topology topology = {.count = 0};
    if (mr__topology_read(&topology, NULL) != MR_OK)
        return false;
    mr__topology_divide(&topology, 0, ranks);
    const bool taken = topology.suggested > 1 ? mr__topology_bind_from(&topology, 0) : mr__topology_bind(&topology, 0);
    mr__topology_fini(&topology);
    return taken;
}
