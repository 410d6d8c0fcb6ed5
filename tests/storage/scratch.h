/* scratch.h: a directory for one test program, files in it, and the sweep over every fault point. */
#ifndef MR__SCRATCH_H
#define MR__SCRATCH_H

#include <cmocka_all.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fault.h"

static char scratch_path[PATH_MAX];

/* A group set-up and its tear-down. */
static int scratch_make(void **state)
{
    const char *parent = getenv("TMPDIR");
    snprintf(scratch_path, sizeof scratch_path, "%s/millrace-test-XXXXXX", parent != NULL ? parent : "/tmp");
    return mkdtemp(scratch_path) != NULL ? 0 : -1;
}

static int scratch_run(const char *format, ...)
{
    char command[3 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    return system(command);
}

static int scratch_remove(void **state)
{
    return scratch_run("chmod -R u+rwx '%s'; rm -rf '%s'", scratch_path, scratch_path);
}

/* One of eight names that stay valid in turn. */
static const char *scratch_file(const char *name)
{
    static char paths[8][PATH_MAX + 256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_path, name);
    return path;
}

__attribute__((unused)) static const char *scratch_write(const char *name, const void *bytes, size_t size)
{
    const char *path = scratch_file(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* How many names the scratch directory and what is below it hold. */
__attribute__((unused)) static unsigned scratch_count(void)
{
    char command[PATH_MAX + 64];
    unsigned count = 0;
    snprintf(command, sizeof command, "find '%s' -mindepth 1 | wc -l", scratch_path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

/* Fails each hit of each fault point once. attempt() does the whole path, releases what it got, and returns its status;
 * it asserts that a failure left nothing. A point may be harmless (status MR_OK although it fired) only where
 * `harmless` says so. */
typedef mr_status (*scratch_attempt)(mr__error *error);

__attribute__((unused)) static void scratch_sweep(scratch_attempt attempt, bool (*harmless)(enum mr__fault_point point))
{
    uint32_t failures = 0;
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__error error = {.code = MR_OK};
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = attempt(&error);
            mr__fault_disarm();
            if (!mr__fault_fired()) {
                if (status != MR_OK)
                    print_error("point %d, hit %u: %s\n", mr__fault_points[p], nth, error.text);
                assert_int_equal(status, MR_OK);
                break;
            }
            if (status == MR_OK && harmless != NULL && harmless(mr__fault_points[p]))
                continue;
            if (status == MR_OK)
                print_error("point %d, hit %u: the failure went unnoticed\n", mr__fault_points[p], nth);
            assert_int_not_equal(status, MR_OK);
            assert_string_not_equal(error.text, "");
            failures++;
        }
    }
    assert_true(failures > 0);
}

#endif
