/* test_topology.c: the order of cores on machines that hwloc makes up, and the limits of the real one.
 * Oracle: hwloc's synthetic syntax says what the machine has; sched_getaffinity, sched_getcpu and get_mempolicy what is
 * so. */
#include "cmocka_all.h"

#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "topology.h"

static void read_machine(const char *synthetic, mr__topology *topology)
{
    mr__error error = {.code = MR_OK};
    if (synthetic != NULL)
        setenv("HWLOC_SYNTHETIC", synthetic, 1);
    const mr_status status = mr__topology_read(topology, &error);
    unsetenv("HWLOC_SYNTHETIC");
    assert_string_equal(error.text, "");
    assert_int_equal(status, MR_OK);
}

/* -1: there is no such thing here. */
static int policy_of_this_thread(unsigned long *nodes)
{
    int policy;
    unsigned long mask[16] = {0};
    if (get_mempolicy(&policy, mask, 16 * 64, NULL, 0) != 0)
        return -1;
    if (nodes != NULL)
        *nodes = mask[0];
    return policy;
}

static void test_physical_cores_come_first_and_then_their_hyperthreads(void **state)
{
    mr__topology topology;
    read_machine("pack:2 numa:1 core:4 pu:2", &topology);
    assert_int_equal(topology.count, 16);
    assert_int_equal(topology.physical, 8);
    assert_int_equal(topology.nodes, 2);
    assert_int_equal(topology.suggested, 16);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(topology.cores[i].core, i % 8);
        assert_int_equal(topology.cores[i].sibling, i / 8);
        assert_int_equal(topology.cores[i].cpu, i % 8 * 2 + i / 8);
        assert_int_equal(topology.cores[i].node, i % 8 / 4);
    }
    mr__topology_fini(&topology);
}

static void test_machines_of_other_shapes_are_counted_right(void **state)
{
    static const struct {
        const char *machine;
        uint32_t count, physical, nodes;
        uint64_t l2_bytes;
    } cases[] = {
        {"pack:1 core:1 pu:1", 1, 1, 1, 1 << 20},
        {"pack:4 numa:1 core:2 pu:1", 8, 8, 4, 1 << 20},
        {"pack:1 core:4 pu:4", 16, 4, 1, 1 << 20},
        {"pack:2 numa:1 l2:4(size=2MB) core:1 pu:2", 16, 8, 2, 2000000},
        {"pack:1 l2:2(size=4MB) core:4 pu:1", 8, 8, 1, 1000000},
        {"numa:1 pu:6", 6, 6, 1, 1 << 20},
        {"pack:8 numa:1 core:64 pu:2", 1024, 512, 8, 1 << 20},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__topology topology;
        read_machine(cases[c].machine, &topology);
        if (topology.count != cases[c].count || topology.physical != cases[c].physical ||
            topology.nodes != cases[c].nodes || topology.l2_bytes != cases[c].l2_bytes)
            fail_msg("%s: got %u threads, %u cores, %u nodes, %llu bytes of L2", cases[c].machine, topology.count,
                     topology.physical, topology.nodes, (unsigned long long)topology.l2_bytes);
        for (uint32_t i = 1; i < topology.count; i++)
            assert_true(topology.cores[i - 1].sibling <= topology.cores[i].sibling);
        mr__topology_fini(&topology);
    }
}

static void test_a_synthetic_machine_is_neither_bound_nor_placed(void **state)
{
    mr__topology topology;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    read_machine("pack:2 numa:1 core:4 pu:2", &topology);
    assert_true(topology.synthetic);
    assert_non_null(strstr(topology.note, "synthetic"));
    for (uint32_t i = 0; i < topology.count; i++) {
        assert_false(mr__topology_bind(&topology, i));
        assert_false(mr__topology_place(&topology, i));
        assert_int_equal(policy_of_this_thread(NULL), MPOL_DEFAULT);
    }
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    assert_true(topology.memory_total > topology.memory_free);
    mr__topology_fini(&topology);
}

static void test_each_worker_asks_for_the_node_of_its_core(void **state)
{
    static const struct { const char *machine; uint32_t homes[8]; } cases[] = {
        {"pack:2 numa:1 core:2 pu:2", {0, 0, 1, 1, 0, 0, 1, 1}},
        {"pack:4 numa:1(indexes=3,1,0,2) core:2 pu:1", {3, 3, 1, 1, 0, 0, 2, 2}},   /* the system's numbers */
    };
    mr__topology topology;
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        read_machine(cases[c].machine, &topology);
        assert_int_equal(topology.count, 8);
        for (uint32_t i = 0; i < 8; i++)
            assert_int_equal(mr__topology_home(&topology, i), cases[c].homes[i]);
        assert_int_equal(mr__topology_home(&topology, 8), MR__NO_NODE);
        mr__topology_fini(&topology);
    }
    read_machine("pack:1 core:8 pu:1", &topology);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(mr__topology_home(&topology, i), MR__NO_NODE);     /* one node: no question */
    mr__topology_fini(&topology);
}

/* A made-up machine that is said to be this one: its node 0 exists here, its node 1 need not. */
static void test_a_thread_gets_memory_of_its_node_and_a_missing_node_changes_nothing(void **state)
{
    mr__topology topology;
    unsigned long nodes;
    setenv("HWLOC_THISSYSTEM", "1", 1);
    read_machine("numa:2 core:1 pu:1", &topology);
    unsetenv("HWLOC_THISSYSTEM");
    assert_false(topology.synthetic);
    for (uint32_t i = 0; i < topology.count; i++) {
        const uint32_t node = mr__topology_home(&topology, i);
        const bool exists = node == 0 || numa_max_node() >= (int)node;
        if (policy_of_this_thread(NULL) < 0) {
            print_message("skipped: this system has no memory policies\n");
            skip();
        }
        assert_int_equal(mr__topology_place(&topology, i), exists);
        assert_int_equal(policy_of_this_thread(&nodes), exists ? MPOL_PREFERRED : MPOL_DEFAULT);
        if (!exists)
            continue;
        assert_int_equal(nodes, 1ul << node);
        assert_false(mr__topology_place(&topology, i));     /* a policy that is there is left as it is */
        mr__topology_unplace();
        assert_int_equal(policy_of_this_thread(NULL), MPOL_DEFAULT);
    }
    mr__topology_fini(&topology);
}

static void test_the_real_machine_has_the_processors_that_the_kernel_allows(void **state)
{
    mr__topology topology;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    read_machine(NULL, &topology);
    assert_false(topology.synthetic);
    assert_int_equal(topology.count, CPU_COUNT(&allowed));
    assert_in_range(topology.suggested, 1, topology.count);
    assert_in_range(topology.physical, 1, topology.count);
    for (uint32_t i = 0; i < topology.count; i++) {
        assert_true(CPU_ISSET(topology.cores[i].cpu, &allowed));
        CPU_CLR(topology.cores[i].cpu, &allowed);
        assert_int_equal(topology.cores[i].sibling == 0, i < topology.physical);
    }
    assert_true(topology.memory_free > 0 && topology.memory_free <= topology.memory_total);
    mr__topology_fini(&topology);
}

static void test_a_narrowed_affinity_leaves_fewer_cores_and_says_so(void **state)
{
    mr__topology topology;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    if (CPU_COUNT(&before) < 2)
        skip();
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before))
        last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    read_machine(NULL, &topology);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(topology.count, 1);
    assert_int_equal(topology.suggested, 1);
    assert_int_equal(topology.cores[0].cpu, last);
    assert_int_equal(topology.cores[0].sibling, 0);
    assert_true(topology.narrowed);
    assert_non_null(strstr(topology.note, "bound to 1 of "));
    mr__topology_fini(&topology);
}

/* Of "numa:2 core:4 pu:2": processor p belongs to core p / 2, core c to node c / 4. */
static void test_ranks_get_whole_cores_that_nobody_else_has(void **state)
{
    for (uint32_t ranks = 1; ranks <= 8; ranks++) {
        uint32_t owner[16] = {0};
        for (uint32_t rank = 0; rank < ranks; rank++) {
            mr__topology topology;
            read_machine("numa:2 core:4 pu:2", &topology);
            mr__topology_divide(&topology, rank, ranks);
            assert_int_equal(topology.count, 2 * topology.physical);
            assert_in_range(topology.physical, 8 / ranks, (8 + ranks - 1) / ranks);
            assert_int_equal(topology.suggested, topology.count);
            assert_int_equal(topology.divided, ranks > 1);
            for (uint32_t i = 0; i < topology.count; i++) {
                const uint32_t cpu = topology.cores[i].cpu;
                assert_int_equal(owner[cpu], 0);
                owner[cpu] = rank + 1;
                assert_int_equal(topology.cores[i].core, cpu / 2);
                assert_int_equal(topology.cores[i].sibling, cpu % 2);
                assert_int_equal(topology.cores[i].sibling, i / topology.physical);    /* cores come first */
                if (ranks % 2 == 0)
                    assert_int_equal(topology.cores[i].node, rank / (ranks / 2));
            }
            assert_true(strstr(topology.note, "shared") == NULL);
            mr__topology_fini(&topology);
        }
        for (uint32_t cpu = 0; cpu < 16; cpu++) {
            assert_int_not_equal(owner[cpu], 0);
            assert_int_equal(owner[cpu], owner[cpu ^ 1]);
        }
    }
}

static void test_more_ranks_than_cores_share_them_and_say_so(void **state)
{
    static const struct {
        uint32_t ranks, least, most;
        const char *note;
    } cases[] = {
        {9, 1, 2, "share 9 of 9: 2 of 16 CPUs; shared: 9 ranks on 8 cores"},
        {16, 1, 1, "share 16 of 16: 1 of 16 CPUs; shared: 16 ranks on 8 cores"},
        {17, 16, 16, "shared: 17 ranks on 16 CPUs"},
        {400, 16, 16, "shared: 400 ranks on 16 CPUs"},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        uint32_t users[16] = {0};
        for (uint32_t rank = 0; rank < cases[c].ranks; rank++) {
            mr__topology topology;
            read_machine("numa:2 core:4 pu:2", &topology);
            mr__topology_divide(&topology, rank, cases[c].ranks);
            assert_in_range(topology.count, cases[c].least, cases[c].most);
            assert_int_equal(topology.cores[0].sibling, 0);
            assert_int_equal(topology.suggested, cases[c].most == 16 ? 1 : topology.count);
            for (uint32_t i = 0; i < topology.count; i++)
                users[topology.cores[i].cpu]++;
            if (rank == cases[c].ranks - 1)
                assert_non_null(strstr(topology.note, cases[c].note));
            mr__topology_fini(&topology);
        }
        for (uint32_t cpu = 0; cpu < 16; cpu++)
            assert_int_equal(users[cpu], cases[c].most == 16 ? cases[c].ranks : 1);
    }
}

/* A quota is of all ranks; what no quota limits is as in the shares above. */
static void test_a_quota_is_divided_too(void **state)
{
    static const uint32_t shares[3] = {1, 2, 2};        /* of 5 */
    mr__topology topology;
    for (uint32_t rank = 0; rank < 3; rank++) {
        read_machine("core:8 pu:1", &topology);
        topology.suggested = 5;
        mr__topology_divide(&topology, rank, 3);
        assert_int_equal(topology.suggested, shares[rank]);
        mr__topology_fini(&topology);
    }
    read_machine("core:8 pu:1", &topology);
    topology.suggested = 2;
    mr__topology_divide(&topology, 0, 8);
    assert_int_equal(topology.suggested, 1);
    mr__topology_fini(&topology);
}

static void test_a_bound_thread_runs_on_its_core(void **state)
{
    mr__topology topology;
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    read_machine(NULL, &topology);
    for (uint32_t i = 0; i < topology.count; i++) {
        assert_true(mr__topology_bind(&topology, i));
        assert_int_equal(sched_getcpu(), topology.cores[i].cpu);
    }
    assert_false(mr__topology_bind(&topology, topology.count));
    for (uint32_t first = 0; first < topology.count; first++) {
        cpu_set_t now;
        assert_true(mr__topology_bind_from(&topology, first));
        assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
        assert_int_equal(CPU_COUNT(&now), topology.count - first);
        for (uint32_t i = first; i < topology.count; i++)
            assert_true(CPU_ISSET(topology.cores[i].cpu, &now));
    }
    assert_false(mr__topology_bind_from(&topology, topology.count));
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    mr__topology_fini(&topology);
}

static void test_without_memory_reading_fails_and_changes_nothing(void **state)
{
    mr__topology topology = {.count = 77};
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.code = MR_OK};
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__topology_read(&topology, &error);
        if (!mr__fault_fired()) {
            mr__fault_disarm();
            assert_int_equal(status, MR_OK);
            break;
        }
        assert_int_equal(status, MR_NO_MEMORY);
        assert_string_not_equal(error.text, "");
        assert_int_equal(topology.count, 77);
    }
    mr__topology_fini(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_physical_cores_come_first_and_then_their_hyperthreads),
        cmocka_unit_test(test_machines_of_other_shapes_are_counted_right),
        cmocka_unit_test(test_each_worker_asks_for_the_node_of_its_core),
        cmocka_unit_test(test_a_thread_gets_memory_of_its_node_and_a_missing_node_changes_nothing),
        cmocka_unit_test(test_a_synthetic_machine_is_neither_bound_nor_placed),
        cmocka_unit_test(test_the_real_machine_has_the_processors_that_the_kernel_allows),
        cmocka_unit_test(test_a_narrowed_affinity_leaves_fewer_cores_and_says_so),
        cmocka_unit_test(test_ranks_get_whole_cores_that_nobody_else_has),
        cmocka_unit_test(test_more_ranks_than_cores_share_them_and_say_so),
        cmocka_unit_test(test_a_quota_is_divided_too),
        cmocka_unit_test(test_a_bound_thread_runs_on_its_core),
        cmocka_unit_test(test_without_memory_reading_fails_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
