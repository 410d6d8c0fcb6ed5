/* share.c: dividing one machine. What a rank gets of the cores is said by the cores that it may run on, and not by a
 * number of workers: workers are bound to cores, and without this each rank would bind its first worker to the same
 * one. It also keeps "as many workers as cores" true for each rank, with remainders (5 cores, 2 ranks: 2 and 3). */
#include "share.h"

#include <inttypes.h>
#include <sched.h>
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

/* ---- cores ------------------------------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right)
{
    const mr__core *a = left, *b = right;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    if (a->core != b->core)
        return a->core < b->core ? -1 : 1;
    return (a->sibling > b->sibling) - (a->sibling < b->sibling);
}

bool cli_share_take_cores(uint32_t rank, uint32_t ranks)
{
    mr__topology topology = {.count = 0};
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (mr__topology_read(&topology, NULL) != MR_OK)
        return false;
    qsort(topology.cores, topology.count, sizeof *topology.cores, by_place);
    const uint64_t begin = (uint64_t)topology.count * rank / ranks, end = (uint64_t)topology.count * (rank + 1) / ranks;
    for (uint64_t i = begin; i < topology.count && (i < end || i == begin); i++) {
        if (topology.cores[i].cpu < CPU_SETSIZE)
            CPU_SET(topology.cores[i].cpu, &mine);
    }
    const bool taken = CPU_COUNT(&mine) > 0 && !topology.synthetic && sched_setaffinity(0, sizeof mine, &mine) == 0;
    mr__topology_fini(&topology);
    return taken;
}
