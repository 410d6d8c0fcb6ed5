/* test_device_cache.c: the cache of compiled kernels: what comes back is what was put in, to the bit, or nothing. */
#include "cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device_cache.h"
#include "device_weigh.h"
#include "fault.h"
#include "memory.h"

enum { SIZE = 5000 };

static uint8_t binary[SIZE];

static const char *fresh(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", device_directory(), name);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

static mr__cache_key key_of(const char *text)
{
    return mr__cache_key_of(&text, 1);
}

static void store(mr__device_cache *cache, const char *text, uint32_t lanes)
{
    const mr__cache_entry entry = {binary, SIZE, lanes, 3};
    mr__device_cache_store(cache, key_of(text), &entry);
    assert_string_equal(cache->note, "");
}

static bool load(mr__device_cache *cache, const char *text, uint32_t lanes)
{
    mr__cache_entry entry;
    if (!mr__device_cache_load(cache, key_of(text), &entry))
        return false;
    assert_int_equal(entry.size, SIZE);
    assert_memory_equal(entry.binary, binary, SIZE);
    assert_int_equal(entry.lanes, lanes);
    assert_int_equal(entry.group, 3);
    mr__free(entry.binary);
    return true;
}

static void path_of_only_entry(const mr__device_cache *cache, char path[512])
{
    DIR *directory = opendir(cache->directory);
    assert_non_null(directory);
    path[0] = '\0';
    for (struct dirent *e; (e = readdir(directory)) != NULL;)
        if (e->d_name[0] != '.')
            snprintf(path, 512, "%.200s/%.200s", cache->directory, e->d_name);
    closedir(directory);
    assert_true(path[0] != '\0');
}

static void keys_depend_on_every_text(void **state)
{
    const char *const a[] = {"source", "options", "device"}, *const b[] = {"source", "option", "sdevice"},
               *const c[] = {"source", "options", "device", ""};
    const mr__cache_key keys[] = {mr__cache_key_of(a, 3), mr__cache_key_of(b, 3), mr__cache_key_of(c, 4)};
    assert_memory_not_equal(&keys[0], &keys[1], sizeof keys[0]);
    assert_memory_not_equal(&keys[0], &keys[2], sizeof keys[0]);
    const mr__cache_key again = mr__cache_key_of(a, 3);
    assert_memory_equal(&keys[0], &again, sizeof again);
}

static void an_entry_comes_back_whole(void **state)
{
    mr__device_cache cache;
    mr__device_cache_open(&cache, fresh("whole"));
    assert_string_equal(cache.note, "");
    assert_false(load(&cache, "a", 16));
    store(&cache, "a", 16);
    store(&cache, "b", 4);
    assert_true(load(&cache, "a", 16));
    assert_true(load(&cache, "b", 4));
    mr__device_cache_remove(&cache, key_of("a"));
    assert_false(load(&cache, "a", 16));
    assert_true(load(&cache, "b", 4));
}

static void a_damaged_entry_is_removed(void **state)
{
    mr__device_cache cache;
    char path[512];
    struct stat facts;
    mr__device_cache_open(&cache, fresh("damaged"));
    store(&cache, "a", 16);
    path_of_only_entry(&cache, path);
    assert_int_equal(stat(path, &facts), 0);
    /* cut at every length near the ends and at some between */
    for (off_t size = 0; size < facts.st_size; size += size < 100 || size > facts.st_size - 20 ? 1 : 97) {
        assert_int_equal(truncate(path, size), 0);
        assert_false(load(&cache, "a", 16));
        assert_int_not_equal(access(path, F_OK), 0);
        assert_non_null(strstr(cache.note, "damaged"));
        cache.note[0] = '\0';
        store(&cache, "a", 16);
    }
    /* one bit flipped, anywhere */
    for (off_t at = 0; at < facts.st_size; at += at < 100 ? 1 : 97) {
        uint8_t byte;
        const int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << at % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        assert_false(load(&cache, "a", 16));
        cache.note[0] = '\0';
        store(&cache, "a", 16);
    }
    assert_true(load(&cache, "a", 16));
    /* longer than it was */
    FILE *file = fopen(path, "a");
    fputc('x', file);
    fclose(file);
    assert_false(load(&cache, "a", 16));
}

static void an_unsafe_directory_is_not_used(void **state)
{
    mr__device_cache cache;
    char path[256];
    snprintf(path, sizeof path, "%s", fresh("open"));
    assert_int_equal(chmod(path, 0777), 0);
    mr__device_cache_open(&cache, path);
    assert_string_equal(cache.directory, "");
    assert_non_null(strstr(cache.note, "others may write"));
    assert_false(load(&cache, "a", 16));
    mr__device_cache_store(&cache, key_of("a"), &(mr__cache_entry){binary, SIZE, 1, 1});    /* does nothing */

    snprintf(path, sizeof path, "%s", fresh("linked"));
    char link[300];
    snprintf(link, sizeof link, "%s/kernels", path);
    assert_int_equal(symlink("/tmp", link), 0);
    mr__device_cache_open(&cache, path);
    assert_string_equal(cache.directory, "");

    if (geteuid() == 0) {
        snprintf(path, sizeof path, "%s", fresh("foreign"));
        assert_int_equal(chown(path, 12345, 12345), 0);
        mr__device_cache_open(&cache, path);
        assert_string_equal(cache.directory, "");
        assert_non_null(strstr(cache.note, "belongs to uid 12345"));
    }
    mr__device_cache_open(&cache, "/proc/self");
    assert_string_equal(cache.directory, "");
    assert_string_not_equal(cache.note, "");
    mr__device_cache_open(&cache, NULL);
    assert_string_equal(cache.note, "");
}

static uint64_t bytes_in(const char *directory)
{
    uint64_t bytes = 0;
    DIR *open = opendir(directory);
    for (struct dirent *e; (e = readdir(open)) != NULL;) {
        struct stat facts;
        if (e->d_name[0] != '.' && fstatat(dirfd(open), e->d_name, &facts, 0) == 0)
            bytes += (uint64_t)facts.st_size;
    }
    closedir(open);
    return bytes;
}

static void it_stays_small_and_keeps_what_is_used(void **state)
{
    enum { LARGE = 15 << 20 };
    mr__device_cache cache;
    uint8_t *const large = calloc(1, LARGE);
    mr__device_cache_open(&cache, fresh("small"));
    store(&cache, "used", 16);
    for (int i = 0; i < 8; i++) {
        char text[16];
        snprintf(text, sizeof text, "large-%d", i);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        mr__device_cache_store(&cache, key_of(text), &(mr__cache_entry){large, LARGE, 1, 1});
        assert_string_equal(cache.note, "");
        assert_true(bytes_in(cache.directory) <= MR__CACHE_BYTES);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        assert_true(load(&cache, "used", 16));
    }
    assert_true(bytes_in(cache.directory) > MR__CACHE_BYTES / 2);
    free(large);
}

static void many_processes_may_share_it(void **state)
{
    enum { PROCESSES = 6, ROUNDS = 60 };
    char path[256];
    pid_t pids[PROCESSES];
    snprintf(path, sizeof path, "%s", fresh("shared"));
    for (int p = 0; p < PROCESSES; p++)
        if ((pids[p] = fork()) == 0) {
            mr__device_cache cache;
            int loaded = 0;
            mr__device_cache_open(&cache, path);
            for (int i = 0; i < ROUNDS; i++) {
                mr__cache_entry entry;
                const char text[] = {(char)('a' + (i + p) % 3), '\0'};
                if (mr__device_cache_load(&cache, key_of(text), &entry)) {
                    if (entry.size != SIZE || memcmp(entry.binary, binary, SIZE) != 0)
                        _exit(2);
                    mr__free(entry.binary);
                    loaded++;
                }
                mr__device_cache_store(&cache, key_of(text), &(mr__cache_entry){binary, SIZE, 16, 3});
                if (cache.note[0] != '\0')
                    _exit(3);
            }
            _exit(loaded > 0 ? 0 : 4);
        }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(pids[p], &status, 0), pids[p]);
        assert_int_equal(status, 0);
    }
}

static void a_store_that_fails_leaves_nothing(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_ALLOC, MR__FAULT_OPEN, MR__FAULT_WRITE, MR__FAULT_RENAME,
                                                  MR__FAULT_READ};
    mr__device_cache cache;
    mr__device_cache_open(&cache, fresh("faults"));
    for (size_t p = 0; p < sizeof points / sizeof points[0]; p++)
        for (uint32_t nth = 1; nth < 20; nth++) {
            mr__fault_arm(points[p], nth);
            mr__device_cache_store(&cache, key_of("f"), &(mr__cache_entry){binary, SIZE, 16, 3});
            const bool stored = load(&cache, "f", 16);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            if (!fired) {
                assert_true(stored);
                break;
            }
            cache.note[0] = '\0';
            mr__device_cache_remove(&cache, key_of("f"));
        }
}

/* ---- with a device ----------------------------------------------------------------------------------------------- */

static void a_job_builds_a_damaged_kernel_again(void **state)
{
    skip_without_device();
    const struct weigh_params params = {1.5f, 0};
    const char *const files[] = {weigh_file()};
    struct device_job job = weigh_job(files, 1, &params);
    char parent[256], command[512];
    snprintf(parent, sizeof parent, "%s", fresh("job"));
    job.cache = parent;
    for (int round = 0; round < 3; round++) {
        struct device device;
        const struct device_answer ready = device_open(&device, "pocl-0", &job, NULL);
        assert_int_equal(ready.kind, MR__DEVICE_READY);
        assert_int_equal(ready.ready.cached, round == 1);
        assert_int_equal(strstr(ready.ready.text, "damaged") != NULL, round == 2);
        const mr__device_segment segment = weigh_segment(0, 0, ROWS);
        assert_int_equal(device_do(&device, &segment, 1).outcome, MR__DEVICE_OK);
        weigh_check(device.memory, &params, 0, ROWS);
        assert_int_equal(device_stop(&device), 0);
        if (round == 1) {
            snprintf(command, sizeof command, "for f in '%s'/kernels/*.bin; do truncate -s 3000 $f; done", parent);
            assert_int_equal(system(command), 0);
        }
    }
}

static void a_job_runs_without_a_cache(void **state)
{
    skip_without_device();
    const struct weigh_params params = {1.5f, 0};
    const char *const files[] = {weigh_file()};
    struct device_job job = weigh_job(files, 1, &params);
    char parent[256];
    struct device device;
    snprintf(parent, sizeof parent, "%s", fresh("unsafe"));
    assert_int_equal(chmod(parent, 0777), 0);
    job.cache = parent;
    const struct device_answer ready = device_open(&device, "pocl-0", &job, NULL);
    assert_int_equal(ready.kind, MR__DEVICE_READY);
    assert_int_equal(ready.ready.cached, 0);
    assert_non_null(strstr(ready.ready.text, "others may write"));
    assert_int_equal(device_stop(&device), 0);
}

int main(void)
{
    for (int i = 0; i < SIZE; i++)
        binary[i] = (uint8_t)(i * 31 + i / 256);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_depend_on_every_text),
        cmocka_unit_test(an_entry_comes_back_whole),
        cmocka_unit_test(a_damaged_entry_is_removed),
        cmocka_unit_test(an_unsafe_directory_is_not_used),
        cmocka_unit_test(it_stays_small_and_keeps_what_is_used),
        cmocka_unit_test(many_processes_may_share_it),
        cmocka_unit_test(a_store_that_fails_leaves_nothing),
        cmocka_unit_test(a_job_builds_a_damaged_kernel_again),
        cmocka_unit_test(a_job_runs_without_a_cache),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_clean_up();
    return failed;
}
