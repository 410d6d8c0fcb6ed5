/* The burst directory: private, gone afterwards whatever happens, and nobody else's is touched.
 * Oracle: stat(2), and the processes that this test starts and kills. */
#include "scratch.h"

#include <dirent.h>
#include <signal.h>

#include "burst.h"
#include "tier.h"

static void a_directory_is_private_and_gone_after_close(void **state)
{
    mr__burst *burst = NULL;
    mr__error error = {.code = MR_OK};
    struct stat found;
    char path[PATH_MAX];
    assert_int_equal(mr__burst_open(scratch_path, &burst, &error), MR_OK);
    snprintf(path, sizeof path, "%s", mr__burst_path(burst));
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0700);
    assert_int_equal(scratch_run("mkdir -p '%s/a/b' && echo x > '%s/a/b/c' && ln -s / '%s/link'", path, path, path), 0);
    mr__burst_close(burst);
    assert_int_equal(stat(path, &found), -1);
    assert_int_equal(scratch_count(), 0);
    assert_int_equal(stat("/", &found), 0);
}

static void the_environment_names_the_parent(void **state)
{
    mr__burst *burst = NULL;
    mr__error error = {.code = MR_OK};
    setenv("MILLRACE_BURST", scratch_path, 1);
    assert_int_equal(mr__burst_open(NULL, &burst, &error), MR_OK);
    unsetenv("MILLRACE_BURST");
    assert_memory_equal(mr__burst_path(burst), scratch_path, strlen(scratch_path));
    assert_int_not_equal(mr__burst_number(burst), mr__burst_number(burst));
    mr__burst_close(burst);
}

static void a_parent_that_is_missing_or_forbidden_gets_a_sentence(void **state)
{
    static const char *const parents[] = {"/nonexistent/burst", "/proc/1"};
    for (size_t i = 0; i < MR__COUNT(parents); i++) {
        mr__burst *burst = (mr__burst *)state;
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__burst_open(parents[i], &burst, &error), MR_IO_FAILED);
        assert_ptr_equal(burst, state);
        assert_non_null(strstr(error.text, parents[i]));
        assert_non_null(strstr(error.text, "hint:"));
    }
}

static void the_capacity_is_kept(void **state)
{
    mr__burst *burst = NULL;
    mr__error error = {.code = MR_OK};
    mr__file file;
    setenv("MILLRACE_BURST_SIZE", "twenty", 1);
    assert_int_equal(mr__burst_open(scratch_path, &burst, &error), MR_BAD_USAGE);
    setenv("MILLRACE_BURST_SIZE", "1K", 1);
    mr__error_clear(&error);
    assert_int_equal(mr__burst_open(scratch_path, &burst, &error), MR_OK);
    unsetenv("MILLRACE_BURST_SIZE");
    mr__tier *tier = mr__burst_tier(burst);
    char bytes[600] = {0};
    assert_int_equal(tier->ops->create(tier, "x", &file), 0);
    assert_int_equal(tier->ops->write_at(&file, bytes, 600, 0), 0);
    assert_int_equal(tier->ops->write_at(&file, bytes, 600, 600), -ENOSPC);
    assert_int_equal(tier->ops->free_bytes(tier, ""), 424);
    tier->ops->close(&file);
    assert_int_equal(tier->ops->remove(tier, "x"), 0);
    assert_int_equal(tier->ops->free_bytes(tier, ""), 1024);
    mr__burst_close(burst);
}

/* A child that opens a burst directory, says so, and waits to be killed. */
static pid_t start_owner(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mr__burst *burst;
        if (mr__burst_open(scratch_path, &burst, NULL) != MR_OK)
            _exit(1);
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/spilled", mr__burst_path(burst));
        close(creat(path, 0600));
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static bool has_directory_of(pid_t pid)
{
    char part[32];
    bool found = false;
    snprintf(part, sizeof part, "-%ld-", (long)pid);
    DIR *directory = opendir(scratch_path);
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        found |= strncmp(item->d_name, "millrace-", 9) == 0 && strstr(item->d_name, part) != NULL;
    closedir(directory);
    return found;
}

static void what_a_killed_process_left_goes_and_what_a_live_one_has_stays(void **state)
{
    mr__burst *burst = NULL;
    const pid_t dead = start_owner(), live = start_owner();
    kill(dead, SIGKILL);
    waitpid(dead, NULL, 0);
    assert_true(has_directory_of(dead));
    assert_int_equal(scratch_run("mkdir '%s/millrace-mine' '%s/millrace-0-x-00000000000000000'", scratch_path,
                                 scratch_path), 0);
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    assert_false(has_directory_of(dead));
    assert_true(has_directory_of(live));
    assert_true(has_directory_of(getpid()));
    mr__burst_close(burst);
    kill(live, SIGKILL);
    waitpid(live, NULL, 0);
    mr__burst_sweep(scratch_path);
    assert_false(has_directory_of(live));
    assert_int_equal(scratch_count(), 2);           /* those whose names are not ours */
    assert_int_equal(scratch_run("rmdir '%s'/millrace-*", scratch_path), 0);
}

static void the_directory_of_another_user_stays(void **state)
{
    if (geteuid() != 0)
        skip();
    mr__burst *burst = NULL;
    char host[65] = "", name[128];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "millrace-%ld-%s-1-0123456789abcdef", (long)geteuid(), host);
    const char *theirs = scratch_file(name);
    assert_int_equal(mkdir(theirs, 0700), 0);
    assert_int_equal(chown(theirs, 65534, 65534), 0);
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    mr__burst_close(burst);
    assert_int_equal(rmdir(theirs), 0);
}

/* A parent on NFS: whether its owner lives cannot be seen from here. */
static void the_directory_of_another_host_stays(void **state)
{
    mr__burst *burst = NULL;
    char name[64];
    snprintf(name, sizeof name, "millrace-%ld-elsewhere-1-0123456789abcdef", (long)geteuid());
    const char *theirs = scratch_file(name);
    assert_int_equal(mkdir(theirs, 0700), 0);
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    mr__burst_close(burst);
    assert_int_equal(rmdir(theirs), 0);
}

static void many_processes_at_once_each_keep_their_directory(void **state)
{
    enum { PROCESSES = 8, ROUNDS = 20 };
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        for (int round = 0; children[i] == 0 && round < ROUNDS; round++) {
            mr__burst *burst;
            if (mr__burst_open(scratch_path, &burst, NULL) != MR_OK)
                _exit(1);
            usleep(500);
            if (access(mr__burst_path(burst), W_OK) != 0)
                _exit(2);
            mr__burst_close(burst);
        }
        if (children[i] == 0)
            _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(scratch_count(), 0);
}

static mr_status attempt(mr__error *error)
{
    mr__burst *burst = NULL;
    const mr_status status = mr__burst_open(scratch_path, &burst, error);
    assert_true((status == MR_OK) == (burst != NULL));
    mr__burst_close(burst);
    mr__fault_disarm();
    return status;
}

/* Not being able to look for leftovers, at the start or at the end, does not stop a job. */
static bool sweeping_is_optional(enum mr__fault_point point)
{
    return point == MR__FAULT_STAT || point == MR__FAULT_ALLOC;
}

static void every_call_that_fails_leaves_nothing(void **state)
{
    scratch_sweep(attempt, sweeping_is_optional);
    mr__burst *burst = NULL;                         /* sweeps what a failed removal left */
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    mr__burst_close(burst);
    assert_int_equal(scratch_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_private_and_gone_after_close),
        cmocka_unit_test(the_environment_names_the_parent),
        cmocka_unit_test(a_parent_that_is_missing_or_forbidden_gets_a_sentence),
        cmocka_unit_test(the_capacity_is_kept),
        cmocka_unit_test(what_a_killed_process_left_goes_and_what_a_live_one_has_stays),
        cmocka_unit_test(the_directory_of_another_user_stays),
        cmocka_unit_test(the_directory_of_another_host_stays),
        cmocka_unit_test(many_processes_at_once_each_keep_their_directory),
        cmocka_unit_test(every_call_that_fails_leaves_nothing),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
