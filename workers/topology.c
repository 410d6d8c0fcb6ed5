/* topology.c: what hwloc says about the machine, less what this process may not use.
 *
 *   hwloc's allowed set  ^  affinity of the calling thread  =  hardware threads, then in this order:
 *
 *     core 0   core 1   core 2  ...  core 0'  core 1'  core 2' ...        (' = second hardware thread)
 *
 * So a team of N workers has N physical cores as long as there are that many; hyperthreads come last, because two on
 * one core share the units that a map keeps busy. The machine is read once and written down: hwloc's own object would
 * only be kept to bind threads, and that is one system call with the number of a processor.
 *
 * Several ranks on a machine. All of them read the same, and each takes the share of its number, so nothing has to be
 * agreed on. Sorted by node, core and thread, the machine is a row; it is cut into runs, at cores as long as there are
 * as many, else at threads:
 *
 *     node 0                          node 1                           8 cores, 3 ranks: 2, 3 and 3; the second lies
 *     [0 0'][1 1'] | [2 2'][3 3']     [4 4'] | [5 5'][6 6'][7 7']      on two nodes, as even shares come first
 *
 * With more ranks than threads a cut would give one to two ranks and the next to one: then the kernel places them all.
 *
 * Memory. A worker's big buffers (combine tables, chunks, columns, blocks of pinned datasets, read buffers) are
 * allocated in many places, some before the worker's thread exists; what they have in common is that the worker touches
 * their pages first. So the policy is set on the thread, once, and not on each area with mbind(): whoever adds a buffer
 * has placed it. On the core that it is bound to, a thread would get its own node's memory by the kernel's default too;
 * the policy holds where binding was refused as well. A chunk that goes to another worker keeps its place: pairs are
 * written once and read once, and moving them would cost as much as reading them from afar. A policy that the user has
 * set (numactl) is left as it is.
 *
 * A synthetic machine (HWLOC_SYNTHETIC) has processors that do not exist: nothing is bound or placed, no quota applies
 * and memory is that of the real machine. */
#include "topology.h"

#include <hwloc.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "memory.h"

enum { NODES_MAX = 1024, NODE_WORD = 8 * sizeof(unsigned long) };

static const uint64_t default_l2_bytes = 1 << 20;

__attribute__((format(printf, 2, 3))) static void add_note(mr__topology *topology, const char *format, ...)
{
    const size_t used = strlen(topology->note);
    va_list arguments;
    va_start(arguments, format);
    const int lead = snprintf(topology->note + used, sizeof topology->note - used, "%s", used > 0 ? "; " : "");
    if (used + (size_t)lead < sizeof topology->note)
        vsnprintf(topology->note + used + lead, sizeof topology->note - used - (size_t)lead, format, arguments);
    va_end(arguments);
}

/* ---- processors -------------------------------------------------------------------------------------------------- */

static int by_sibling_then_core(const void *left, const void *right)
{
    const mr__core *a = left, *b = right;
    if (a->sibling != b->sibling)
        return a->sibling < b->sibling ? -1 : 1;
    if (a->core != b->core)
        return a->core < b->core ? -1 : 1;
    return a->cpu < b->cpu ? -1 : a->cpu > b->cpu;
}

static int by_place(const void *left, const void *right)
{
    const mr__core *a = left, *b = right;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    if (a->core != b->core)
        return a->core < b->core ? -1 : 1;
    return (a->sibling > b->sibling) - (a->sibling < b->sibling);
}

/* The cores lie by place; their siblings are numbered anew, as some may be left out. */
static void put_in_order(mr__topology *topology)
{
    topology->physical = 0;
    for (uint32_t i = 0; i < topology->count; i++) {
        mr__core *core = &topology->cores[i];
        core->sibling = i > 0 && core[-1].core == core->core ? core[-1].sibling + 1 : 0;
        topology->physical += core->sibling == 0;
    }
    qsort(topology->cores, topology->count, sizeof *topology->cores, by_sibling_then_core);
}

static void describe(hwloc_topology_t machine, hwloc_obj_t pu, mr__core *core)
{
    const hwloc_obj_t parent = hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_CORE, pu);
    const int node = hwloc_bitmap_first(pu->nodeset);
    const hwloc_obj_t memory = node >= 0 ? hwloc_get_numanode_obj_by_os_index(machine, (unsigned)node) : NULL;
    core->cpu = pu->os_index;
    core->core = parent != NULL ? parent->logical_index : pu->logical_index;
    core->node = memory != NULL ? memory->logical_index : 0;
    core->os_node = node >= 0 ? (uint32_t)node : 0;
}

/* `usable`: what the affinity leaves; hardware threads come in hwloc's logical order, so siblings follow each other. */
static void list_cores(hwloc_topology_t machine, hwloc_const_bitmap_t usable, mr__topology *topology)
{
    uint32_t count = 0;
    for (hwloc_obj_t pu = NULL; (pu = hwloc_get_next_obj_by_type(machine, HWLOC_OBJ_PU, pu)) != NULL;) {
        if (!hwloc_bitmap_isset(usable, pu->os_index))
            continue;
        describe(machine, pu, &topology->cores[count++]);
    }
    topology->count = count;
    put_in_order(topology);
}

/* A cache that several cores share counts for each with its share. */
static uint64_t l2_of_a_core(hwloc_topology_t machine)
{
    const hwloc_obj_t cache = hwloc_get_obj_by_type(machine, HWLOC_OBJ_L2CACHE, 0);
    if (cache == NULL || cache->attr->cache.size == 0)
        return default_l2_bytes;
    const int cores = hwloc_get_nbobjs_inside_cpuset_by_type(machine, cache->cpuset, HWLOC_OBJ_CORE);
    return cache->attr->cache.size / (uint64_t)(cores > 1 ? cores : 1);
}

static mr_status read_cores(hwloc_topology_t machine, mr__topology *topology, mr__error *error)
{
    mr_status status = MR_OK;
    const hwloc_const_bitmap_t allowed = hwloc_topology_get_allowed_cpuset(machine);
    const int there = hwloc_bitmap_weight(allowed);
    hwloc_bitmap_t usable = hwloc_bitmap_dup(allowed);
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    MR_CHECK(usable != NULL && bound != NULL, MR_NO_MEMORY, "no memory to read the machine's topology");
    topology->synthetic = !hwloc_topology_is_thissystem(machine);
    if (topology->synthetic)
        add_note(topology, "synthetic topology (HWLOC_SYNTHETIC): workers are not bound");
    else if (hwloc_get_cpubind(machine, bound, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_intersects(usable, bound))
        hwloc_bitmap_and(usable, usable, bound);
    const int count = hwloc_bitmap_weight(usable);
    MR_CHECK(count > 0, MR_NO_WORKER, "the machine's topology shows no processor that this process may use");
    topology->narrowed = count < there;
    if (topology->narrowed)
        add_note(topology, "bound to %d of %d CPUs", count, there);
    topology->cores = mr__alloc_zero((size_t)count, sizeof *topology->cores);
    MR_CHECK(topology->cores != NULL, MR_NO_MEMORY, "no memory to list %d processors", count);
    list_cores(machine, usable, topology);
    topology->nodes = (uint32_t)hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_NUMANODE);
    topology->l2_bytes = l2_of_a_core(machine);
done:
    hwloc_bitmap_free(usable);
    hwloc_bitmap_free(bound);
    return status;
}

/* One worker per online processor, bound to none. */
static mr_status assume_cores(mr__topology *topology, mr__error *error)
{
    mr_status status = MR_OK;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t count = online > 0 ? (uint32_t)online : 1;
    topology->cores = mr__alloc_zero(count, sizeof *topology->cores);
    MR_CHECK(topology->cores != NULL, MR_NO_MEMORY, "no memory to list %u processors", count);
    for (uint32_t i = 0; i < count; i++)
        topology->cores[i] = (mr__core){.cpu = MR__NO_CPU, .core = i};
    topology->count = topology->physical = count;
    topology->nodes = 1;
    topology->l2_bytes = default_l2_bytes;
    add_note(topology, "topology unreadable: workers are not bound");
done:
    return status;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void read_memory(mr__topology *topology)
{
    char line[128];
    unsigned long long kilobytes;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemTotal: %llu", &kilobytes) == 1)
            topology->memory_total = (uint64_t)kilobytes * 1024;
        else if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1)
            topology->memory_free = (uint64_t)kilobytes * 1024;
    }
    if (file != NULL)
        fclose(file);
    if (topology->memory_total == 0)
        topology->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (topology->memory_free == 0)
        topology->memory_free = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void apply_cgroup(mr__topology *topology)
{
    const mr__cgroup_limits limits = mr__cgroup_read("");
    if (limits.cpus > 0 && !topology->synthetic && limits.cpus <= topology->count - 1) {
        topology->suggested = (uint32_t)limits.cpus + (limits.cpus > (uint32_t)limits.cpus);    /* rounded up */
        add_note(topology, "cgroup quota %.4g CPUs", limits.cpus);
    }
    if (limits.memory_limit < topology->memory_total) {
        topology->memory_total = limits.memory_limit;
        add_note(topology, "cgroup memory limit %llu MiB", (unsigned long long)(limits.memory_limit >> 20));
    }
    if (limits.memory_free < topology->memory_free)
        topology->memory_free = limits.memory_free;
}

/* hwloc's reader of Linux prints a complaint when /sys is not mounted (a chroot, some containers), and a library does
 * not print. Without it hwloc still asks the processors themselves. */
static void keep_quiet(hwloc_topology_t machine)
{
    if (access("/sys/devices/system/cpu", X_OK) != 0 && access("/sys/bus/cpu/devices", X_OK) != 0)
        hwloc_topology_set_components(machine, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "linux");
}

static bool load_machine(hwloc_topology_t *machine)
{
    if (hwloc_topology_init(machine) != 0)
        return false;
    keep_quiet(*machine);
    return hwloc_topology_load(*machine) == 0;
}

mr_status mr__topology_read(mr__topology *topology, mr__error *error)
{
    mr_status status = MR_OK;
    mr__topology read = {0};
    hwloc_topology_t machine = NULL;
    if (load_machine(&machine) && hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_PU) > 0)
        MR_TRY(read_cores(machine, &read, error));
    else
        MR_TRY(assume_cores(&read, error));
    read.suggested = read.count;
    read_memory(&read);
    apply_cgroup(&read);
    *topology = read;
    read.cores = NULL;
done:
    mr__free(read.cores);
    if (machine != NULL)
        hwloc_topology_destroy(machine);
    return status;
}

void mr__topology_fini(mr__topology *topology)
{
    mr__free(topology->cores);
    *topology = (mr__topology){0};
}

/* ---- one rank's share -------------------------------------------------------------------------------------------- */

static uint32_t begin_of(uint32_t count, uint32_t rank, uint32_t ranks)
{
    return (uint32_t)((uint64_t)count * rank / ranks);
}

void mr__topology_divide(mr__topology *topology, uint32_t rank, uint32_t ranks)
{
    const uint32_t there = topology->count, physical = topology->physical;
    const bool has_quota = topology->suggested < there, whole = ranks <= physical;
    const uint32_t units = whole ? physical : there;
    const uint32_t quota = begin_of(topology->suggested, rank + 1, ranks) - begin_of(topology->suggested, rank, ranks);
    if (ranks < 2)
        return;
    if (ranks > there) {
        topology->suggested = 1;
        add_note(topology, "shared: %u ranks on %u CPUs", ranks, there);
        return;
    }
    const uint32_t begin = begin_of(units, rank, ranks), end = begin_of(units, rank + 1, ranks);
    qsort(topology->cores, there, sizeof *topology->cores, by_place);
    topology->count = 0;
    for (uint32_t i = 0, next = 0; i < there; i++) {
        next += !whole || topology->cores[i].sibling == 0;
        if (next > begin && next <= end)
            topology->cores[topology->count++] = topology->cores[i];
    }
    put_in_order(topology);
    topology->suggested = topology->count;
    if (has_quota && quota < topology->count)
        topology->suggested = quota > 0 ? quota : 1;
    topology->divided = true;
    add_note(topology, "share %u of %u: %u of %u CPUs", rank + 1, ranks, topology->count, there);
    if (!whole)
        add_note(topology, "shared: %u ranks on %u cores", ranks, physical);
}

/* ---- binding and placing ----------------------------------------------------------------------------------------- */

/* To the cores first .. end - 1. */
static bool bind_to(const mr__topology *topology, uint32_t first, uint32_t end)
{
    uint32_t highest = 0;
    if (topology->synthetic || first >= end || end > topology->count)
        return false;
    for (uint32_t i = first; i < end; i++) {
        if (topology->cores[i].cpu == MR__NO_CPU)
            return false;
        highest = topology->cores[i].cpu > highest ? topology->cores[i].cpu : highest;
    }
    const size_t size = CPU_ALLOC_SIZE(highest + 1);
    cpu_set_t *set = mr__alloc_zero(1, size);
    if (set == NULL)
        return false;
    for (uint32_t i = first; i < end; i++)
        CPU_SET_S(topology->cores[i].cpu, size, set);
    const bool bound = pthread_setaffinity_np(pthread_self(), size, set) == 0;
    mr__free(set);
    return bound;
}

bool mr__topology_bind(const mr__topology *topology, uint32_t index)
{
    return index < topology->count && bind_to(topology, index, index + 1);
}

bool mr__topology_bind_from(const mr__topology *topology, uint32_t index)
{
    return bind_to(topology, index, topology->count);
}

uint32_t mr__topology_home(const mr__topology *topology, uint32_t index)
{
    return topology->nodes > 1 && index < topology->count ? topology->cores[index].os_node : MR__NO_NODE;
}

bool mr__topology_place(const mr__topology *topology, uint32_t index)
{
    const uint32_t node = mr__topology_home(topology, index);
    unsigned long mask[NODES_MAX / NODE_WORD] = {0};
    int policy;
    if (topology->synthetic || node >= NODES_MAX)
        return false;
    if (get_mempolicy(&policy, NULL, 0, NULL, 0) != 0 || policy != MPOL_DEFAULT)
        return false;
    mask[node / NODE_WORD] |= 1ul << (node % NODE_WORD);
    return set_mempolicy(MPOL_PREFERRED, mask, NODES_MAX) == 0;
}

void mr__topology_unplace(void)
{
    set_mempolicy(MPOL_DEFAULT, NULL, 0);
}
