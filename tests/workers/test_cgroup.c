/* test_cgroup.c: limits from trees as systems of different kinds show them.
 * Oracle: the kernel's documentation of the files. */
#include "cmocka_all.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "check.h"

enum { FILES_MAX = 12 };

#define V2_MOUNT "31 23 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define V1_MOUNTS                                                                                                      \
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                                                       \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"                             \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                                                \
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define V1_NONE "9223372036854771712\n"

static const uint64_t none = UINT64_MAX;

static const struct tree {
    const char *name;
    struct {
        const char *path, *text;
    } file[FILES_MAX];
    double cpus;
    uint64_t limit, free;
} trees[] = {
    {"nothing readable", {{NULL, NULL}}, 0, none, none},
    {"version 2, no limit",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", V2_MOUNT},
      {"sys/fs/cgroup/a/cpu.max", "max 100000\n"},
      {"sys/fs/cgroup/a/memory.max", "max\n"},
      {"sys/fs/cgroup/a/memory.current", "1000\n"}},
     0, none, none},
    {"version 2, the parent is tighter for processors, the child for memory",
     {{"proc/self/cgroup", "0::/jobs/a\n"},
      {"proc/self/mountinfo", V2_MOUNT},
      {"sys/fs/cgroup/jobs/a/cpu.max", "400000 100000\n"},
      {"sys/fs/cgroup/jobs/cpu.max", "150000 100000\n"},
      {"sys/fs/cgroup/jobs/a/memory.max", "1000000\n"},
      {"sys/fs/cgroup/jobs/a/memory.current", "700000\n"},
      {"sys/fs/cgroup/jobs/memory.max", "5000000\n"},
      {"sys/fs/cgroup/jobs/memory.current", "800000\n"}},
     1.5, 1000000, 300000},
    {"version 2, siblings have used up the parent",
     {{"proc/self/cgroup", "0::/jobs/a\n"},
      {"proc/self/mountinfo", V2_MOUNT},
      {"sys/fs/cgroup/jobs/a/memory.max", "1000000\n"},
      {"sys/fs/cgroup/jobs/a/memory.current", "100000\n"},
      {"sys/fs/cgroup/jobs/memory.max", "5000000\n"},
      {"sys/fs/cgroup/jobs/memory.current", "4990000\n"}},
     0, 1000000, 10000},
    {"version 2, page cache is free, shared memory is not",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", V2_MOUNT},
      {"sys/fs/cgroup/a/memory.max", "1000000\n"},
      {"sys/fs/cgroup/a/memory.current", "900000\n"},
      {"sys/fs/cgroup/a/memory.stat",
       "anon 100000\nfile 800000\nshmem 300000\ninactive_file 400000\nactive_file 100000\n"}},
     0, 1000000, 600000},
    {"version 2, memory.high throttles before memory.max kills",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", V2_MOUNT},
      {"sys/fs/cgroup/a/memory.max", "1000000\n"},
      {"sys/fs/cgroup/a/memory.high", "600000\n"},
      {"sys/fs/cgroup/a/memory.current", "700000\n"}},
     0, 600000, 0},
    {"version 1, quota in the parent, page cache is free",
     {{"proc/self/cgroup", "9:name=systemd:/\n4:memory:/jobs\n2:cpu,cpuacct:/jobs/a\n0::/\n"},
      {"proc/self/mountinfo", V1_MOUNTS},
      {"sys/fs/cgroup/cpu,cpuacct/jobs/a/cpu.cfs_quota_us", "-1\n"},
      {"sys/fs/cgroup/cpu,cpuacct/jobs/a/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "50000\n"},
      {"sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n"},
      {"sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "2000000\n"},
      {"sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "1900000\n"},
      {"sys/fs/cgroup/memory/jobs/memory.stat",
       "inactive_file 7\ntotal_inactive_file 900000\ntotal_active_file 100000\n"},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", V1_NONE}},
     0.5, 2000000, 1100000},
    {"hybrid: version 1 controllers beside an empty version 2 tree",
     {{"proc/self/cgroup", "4:memory:/a\n3:cpuset:/\n0::/\n"},
      {"proc/self/mountinfo", V1_MOUNTS "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", V1_NONE},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n"},
      {"sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n"}},
     0, 3000000, 2000000},
    {"container: the mount shows a subtree that holds our group",
     {{"proc/self/cgroup", "0::/docker/77/task\n"},
      {"proc/self/mountinfo", "31 23 0:38 /docker/77 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"},
      {"sys/fs/cgroup/task/cpu.max", "200000 100000\n"},
      {"sys/fs/cgroup/cpu.max", "300000 100000\n"}},
     2, none, none},
    {"container: our group lies outside of what the mount shows",
     {{"proc/self/cgroup", "0::/docker/778\n"},
      {"proc/self/mountinfo", "31 23 0:38 /docker/77 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"},
      {"sys/fs/cgroup/cpu.max", "300000 100000\n"}},
     3, none, none},
    {"group namespace: the path climbs out of the root",
     {{"proc/self/cgroup", "0::/../other\n"},
      {"proc/self/mountinfo", "31 23 0:38 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"},
      {"sys/fs/cgroup/memory.max", "4096\n"}},
     0, 4096, 4096},
    {"a mount point with a blank",
     {{"proc/self/cgroup", "0::/\n"},
      {"proc/self/mountinfo", "31 23 0:38 / /c\\040g rw - cgroup2 cgroup2 rw\n"},
      {"c g/cpu.max", "100000 100000\n"}},
     1, none, none},
    {"files that hold no number",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", V2_MOUNT "nonsense\n\n - \n"},
      {"sys/fs/cgroup/a/cpu.max", "100000\n"},
      {"sys/fs/cgroup/a/memory.max", "lots\n"}},
     0, none, none},
};

static void write_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_the_tightest_limit_on_the_way_up_counts(void **state)
{
    for (size_t t = 0; t < MR__COUNT(trees); t++) {
        char root[] = "/tmp/millrace-cgroup-XXXXXX", command[64];
        assert_non_null(mkdtemp(root));
        for (size_t f = 0; f < FILES_MAX && trees[t].file[f].path != NULL; f++)
            write_file(root, trees[t].file[f].path, trees[t].file[f].text);
        const mr__cgroup_limits limits = mr__cgroup_read(root);
        snprintf(command, sizeof command, "rm -r %s", root);
        assert_int_equal(system(command), 0);
        if (limits.cpus != trees[t].cpus || limits.memory_limit != trees[t].limit ||
            limits.memory_free != trees[t].free)
            fail_msg("%s: got %g CPUs, limit %llu, free %llu", trees[t].name, limits.cpus,
                     (unsigned long long)limits.memory_limit, (unsigned long long)limits.memory_free);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tightest_limit_on_the_way_up_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
