/* test_device_find.c: finding devices through a program that behaves in every way, and the two caches.
 * Oracle: shell scripts in the place of millrace-device, which also count how often they are run. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "device_find.h"
#include "fault.h"

enum { PROCESSES = 4, PUTS = 100 };

#define BUS "0000.3b.00.0"
#define DEVICE(id, type)                                                                                               \
    "{\"id\":\"" id "\",\"name\":\"Device " id "\",\"platform\":\"Portable\",\"vendor\":\"Somebody\","                 \
    "\"version\":\"OpenCL 1.2\",\"driver\":\"3.1\",\"platform_index\":1,\"device_index\":2,\"type\":\"" type "\","     \
    "\"bus\":\"" BUS "\","                                                                                             \
    "\"units\":2,\"global_bytes\":1000,\"local_bytes\":100,\"max_alloc_bytes\":500,\"unified\":true,\"f64\":true,"     \
    "\"int64_atomics\":false}"
#define LIST(devices, notes) "{\"devices\":[" devices "],\"notes\":[" notes "]}"
#define TWO LIST(DEVICE("pocl-0", "cpu") "," DEVICE("nvidia-0", "gpu"), "\"platform Broken skipped\"")

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static uint32_t next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* Puts a script in the place of millrace-device: it counts its run, then does `what`. */
static void play(const char *what)
{
    char text[8192];
    snprintf(text, sizeof text, "#!/bin/sh\necho run >>%s/runs\ncat >/dev/null\n%s\n", folder, what);
    write_text(in_folder("program.new"), text, 0700);
    assert_int_equal(rename(in_folder("program.new"), in_folder("program")), 0);
}

static void play_list(const char *json)
{
    write_text(in_folder("answer"), json, 0600);
    char what[256];
    snprintf(what, sizeof what, "test \"$1\" = --list && cat %s/answer", folder);
    play(what);
}

static uint32_t runs(void)
{
    struct stat about;
    return stat(in_folder("runs"), &about) == 0 ? (uint32_t)about.st_size / 4 : 0;
}

static mr__device_list find(bool fresh)
{
    mr__device_list list;
    mr__error error = {.text = ""};
    if (mr__device_find(fresh, &list, &error) != MR_OK)
        fail_msg("%s", error.text);
    return list;
}

static void assert_finds(uint32_t count, const char *note)
{
    mr__device_list list = find(false);
    if (list.count != count || strstr(list.note, note) == NULL)
        fail_msg("%u devices, '%s'", list.count, list.note);
    mr__device_list_free(&list);
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/millrace-find-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    setenv("MILLRACE_DEVICE_PROGRAM", in_folder("program"), 1);
    setenv("OCL_ICD_VENDORS", in_folder("vendors"), 1);
    setenv("XDG_CACHE_HOME", in_folder("cache"), 1);
    unsetenv("POCL_DEVICES");
    return mkdir(in_folder("vendors"), 0700);
}

static int remove_folder(void **state)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? 0 : -1;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static void test_what_the_program_says_is_found_once(void **state)
{
    play_list(TWO);
    mr__device_list list = find(false);
    assert_int_equal(list.count, 2);
    assert_false(list.cached);
    assert_string_equal(list.note, "platform Broken skipped");
    const mr__device_info *device = mr__device_by_id(&list, "nvidia-0");
    assert_ptr_equal(device, &list.device[1]);
    assert_null(mr__device_by_id(&list, "nvidia"));
    assert_string_equal(device->name, "Device nvidia-0");
    assert_string_equal(device->platform, "Portable");
    assert_string_equal(device->vendor, "Somebody");
    assert_string_equal(device->version, "OpenCL 1.2");
    assert_string_equal(device->driver, "3.1");
    assert_string_equal(device->bus, BUS);
    assert_int_equal(device->type, MR__DEVICE_GPU);
    assert_int_equal(device->platform_index, 1);
    assert_int_equal(device->device_index, 2);
    assert_int_equal(device->units, 2);
    assert_int_equal(device->global_bytes, 1000);
    assert_int_equal(device->local_bytes, 100);
    assert_int_equal(device->max_alloc_bytes, 500);
    assert_true(device->unified && device->f64 && !device->int64_atomics);
    mr__device_list again = find(false);
    assert_true(again.cached);
    assert_int_equal(runs(), 1);
    assert_int_equal(again.count, 2);
    assert_memory_equal(again.device, list.device, 2 * sizeof *list.device);
    assert_string_equal(again.note, list.note);
    mr__device_list_free(&again);
    mr__device_list_free(&list);
    list = find(true);
    assert_int_equal(runs(), 2);
    mr__device_list_free(&list);
}

static void test_the_cache_is_quick(void **state)
{
    uint64_t best = UINT64_MAX;
    play_list(TWO);
    assert_finds(2, "");
    for (uint32_t i = 0; i < 20; i++) {
        const uint64_t begin = mr__now_ns();
        assert_finds(2, "");
        const uint64_t took = mr__now_ns() - begin;
        best = took < best ? took : best;
    }
    print_message("a cached list of two devices takes %.3f ms\n", (double)best / 1e6);
    assert_true(best < 10000000);       /* sanitizers are slow; the release build is below 1 ms */
}

static void test_whatever_may_change_the_devices_asks_again(void **state)
{
    play_list(TWO);
    assert_finds(2, "");
    uint32_t ran = runs();
    write_text(in_folder("vendors/a.icd"), "liba.so\n", 0600);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    write_text(in_folder("vendors/a.icd"), "libb.so\n", 0600);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    write_text(in_folder("vendors/a.icd"), in_folder("driver.so"), 0600);
    write_text(in_folder("driver.so"), "old", 0600);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    write_text(in_folder("driver.so"), "newer", 0600);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    setenv("POCL_DEVICES", "pthread basic", 1);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    unlink(in_folder("vendors/a.icd"));
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    setenv("OCL_ICD_VENDORS", in_folder("none"), 1);
    assert_finds(2, "");
    assert_int_equal(runs(), ++ran);
    play_list(LIST(DEVICE("pocl-0", "cpu"), ""));
    assert_finds(1, "");
    assert_int_equal(runs(), ++ran);
    assert_finds(1, "");
    assert_int_equal(runs(), ran);
    setenv("OCL_ICD_VENDORS", in_folder("vendors"), 1);
    unsetenv("POCL_DEVICES");
}

static void test_a_program_that_fails_is_no_device_and_a_note(void **state)
{
    static const struct {
        const char *script, *note;
    } cases[] = {
        {"kill -SEGV $$", "died of signal 11"},
        {"echo 'no such platform' >&2; echo more >&2; exit 3", "ended with status 3: no such platform"},
        {"exit 0", "is no list"},
        {"echo '{}'", "it has no list of devices"},
        {"echo '[1,2'", "is no list: line"},
        {"echo '{\"devices\":[],\"notes\":[]}'; kill -ABRT $$", "died of signal 6"},
        {"yes", "says too much"},
        {"echo '{\"devices\":[],\"notes\":[]}'", "no OpenCL platform is installed"},
        {"echo '{\"devices\":[],\"notes\":[\"platform X skipped\"]}'", "platform X skipped"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        play(cases[i].script);
        assert_finds(0, cases[i].note);
    }
    play("exit 3");
    const uint32_t before = runs();
    assert_finds(0, "status 3");
    assert_finds(0, "status 3");
    assert_int_equal(runs(), before + 2);       /* a failure is not kept */
}

static void test_a_program_that_hangs_is_killed_with_all_that_it_started(void **state)
{
    char what[256], number[16], text[32] = "";
    FILE *file;
    snprintf(what, sizeof what, "sleep 1000 & echo $! >%s/sleeper; wait", folder);
    play(what);
    /* a busy machine may keep the script from starting its sleeper within a second */
    for (uint32_t seconds = 1; strchr(text, '\n') == NULL; seconds *= 2) {
        assert_true(seconds < 100);
        snprintf(number, sizeof number, "%u", seconds);
        snprintf(what, sizeof what, "did not end within %u s", seconds);
        setenv("MILLRACE_DEVICE_FIND_SECONDS", number, 1);
        const uint64_t begin = mr__now_ns();
        assert_finds(0, what);
        assert_true(mr__now_ns() - begin < (seconds + 99) * 1000000000ull);
        if ((file = fopen(in_folder("sleeper"), "r")) != NULL) {
            if (fgets(text, sizeof text, file) == NULL)
                text[0] = '\0';
            fclose(file);
        }
    }
    setenv("MILLRACE_DEVICE_FIND_SECONDS", "1", 1);
    snprintf(what, sizeof what, "/proc/%d/cmdline", atoi(text));
    bool gone = false;
    for (uint32_t i = 0; i < 10000 && !gone; i++) {
        file = fopen(what, "r");
        gone = file == NULL || fgetc(file) == EOF;      /* a zombie has no command line */
        if (file != NULL)
            fclose(file);
        usleep(10000);
    }
    assert_true(gone);
    play("exec 1>&- 2>&-; sleep 1000");                 /* says its all, and stays */
    assert_finds(0, "did not end within 1 s");
    unsetenv("MILLRACE_DEVICE_FIND_SECONDS");
}

static void test_no_program_is_a_note(void **state)
{
    setenv("MILLRACE_DEVICE_PROGRAM", "/nowhere/millrace-device", 1);
    assert_finds(0, "MILLRACE_DEVICE_PROGRAM names /nowhere/millrace-device, which cannot be run: No such file");
    write_text(in_folder("plain"), "x", 0700);
    setenv("MILLRACE_DEVICE_PROGRAM", in_folder("plain"), 1);
    assert_finds(0, "no devices: could not run");
    setenv("MILLRACE_DEVICE_PROGRAM", in_folder("program"), 1);
}

/* ---- lists that are wrong ---------------------------------------------------------------------------------------- */

static void test_lists_that_break_the_agreement_are_refused(void **state)
{
    static const char *const texts[] = {
        "", "null", "[]", "{\"devices\":1}", "{\"devices\":[1]}", "{\"devices\":[{}]}",
        LIST(DEVICE("a", "cpu") "," DEVICE("a", "gpu"), ""),
        LIST(DEVICE("../a", "cpu"), ""), LIST(DEVICE("", "cpu"), ""), LIST(DEVICE("a b", "cpu"), ""),
        LIST(DEVICE("a", "toaster"), ""), LIST(DEVICE("a", "cpu"), "") "x",
        LIST("{\"id\":\"a\"}", ""),
    };
    for (size_t i = 0; i < MR__COUNT(texts); i++) {
        mr__device_list list = {.count = 99};
        mr__error error = {.text = ""};
        assert_int_equal(mr__device_list_parse(texts[i], strlen(texts[i]), &list, &error), MR_BAD_INPUT);
        assert_string_not_equal(error.text, "");
        assert_int_equal(list.count, 99);
    }
}

static void test_names_lose_what_harms_a_terminal(void **state)
{
    mr__device_list list;
    char text[4096], *at;
    strcpy(text, LIST(DEVICE("a", "cpu"), ""));
    at = strstr(text, "Device a");
    memcpy(at, "\\u001bDv", 8);
    assert_int_equal(mr__device_list_parse(text, strlen(text), &list, NULL), MR_OK);
    assert_string_equal(list.device[0].name, " Dv");
    mr__device_list_free(&list);
}

static void test_a_driver_that_lies_about_its_memory_is_not_believed(void **state)
{
    mr__device_list list;
    char text[4096];
    strcpy(text, LIST(DEVICE("a", "cpu"), ""));
    strstr(text, "\"max_alloc_bytes\":500")[strlen("\"max_alloc_bytes\":5")] = ' ';      /* "5 0": no JSON */
    assert_int_equal(mr__device_list_parse(text, strlen(text), &list, NULL), MR_BAD_INPUT);
    memcpy(strstr(text, "\"max_alloc_bytes\":"), "\"max_alloc_bytes\":-50", 21);
    assert_int_equal(mr__device_list_parse(text, strlen(text), &list, NULL), MR_BAD_INPUT);
    memcpy(strstr(text, "\"max_alloc_bytes\":"), "\"max_alloc_bytes\":500", 21);
    memcpy(strstr(text, "\"global_bytes\":"), "\"global_bytes\":400 ", 19);
    assert_int_equal(mr__device_list_parse(text, strlen(text), &list, NULL), MR_OK);
    assert_int_equal(list.device[0].max_alloc_bytes, 400);
    assert_non_null(strstr(list.note, "allocates more than it has"));
    mr__device_list_free(&list);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static void test_a_damaged_cache_is_ignored_and_written_anew(void **state)
{
    static const char *const damages[] = {"", "{", "null", "{\"key\":\"x\"}", "\xff\xfe", "{\"key\":7,\"devices\":[]}"};
    play_list(TWO);
    assert_finds(2, "");
    for (size_t i = 0; i < MR__COUNT(damages); i++) {
        const uint32_t before = runs();
        write_text(in_folder("cache/millrace/devices.json"), damages[i], 0600);
        assert_finds(2, "");
        assert_int_equal(runs(), before + 1);
        assert_finds(2, "");
        assert_int_equal(runs(), before + 1);
    }
}

static void test_a_cache_folder_that_others_may_write_to_is_not_used(void **state)
{
    char path[MR__PATH_MAX];
    mr__error error = {.text = ""};
    play_list(TWO);
    assert_finds(2, "");
    assert_int_equal(chmod(in_folder("cache/millrace"), 0777), 0);
    const uint32_t before = runs();
    assert_finds(2, "");
    assert_finds(2, "");
    assert_int_equal(runs(), before + 2);
    assert_int_equal(mr__device_cache_folder(path, &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "others may write to"));
    assert_string_equal(path, "");
    assert_int_equal(chmod(in_folder("cache/millrace"), 0700), 0);
    setenv("XDG_CACHE_HOME", in_folder("answer"), 1);   /* a file */
    assert_finds(2, "");
    assert_int_equal(runs(), before + 3);
    setenv("XDG_CACHE_HOME", in_folder("cache"), 1);
}

static void test_many_processes_find_at_once(void **state)
{
    pid_t pid[PROCESSES];
    play_list(TWO);
    unlink(in_folder("cache/millrace/devices.json"));
    for (uint32_t p = 0; p < PROCESSES; p++) {
        pid[p] = fork();
        if (pid[p] == 0) {
            mr__device_list list;
            for (uint32_t i = 0; i < 20; i++) {
                if (mr__device_find(i % 4 == 0, &list, NULL) != MR_OK || list.count != 2)
                    _exit(1);
                mr__device_list_free(&list);
            }
            _exit(0);
        }
    }
    for (uint32_t p = 0; p < PROCESSES; p++) {
        int how = 1;
        waitpid(pid[p], &how, 0);
        assert_int_equal(how, 0);
    }
}

static void test_failing_calls_leave_a_list_or_a_sentence(void **state)
{
    uint32_t failures = 0;
    play_list(TWO);
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__device_list list = {.count = 99};
            mr__error error = {.text = ""};
            mr__fault_arm(mr__fault_points[p], nth);
            const mr_status status = mr__device_find(true, &list, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            if (status == MR_OK) {
                assert_int_equal(list.count, 2);
                mr__device_list_free(&list);
            } else {
                assert_int_equal(status, MR_NO_MEMORY);
                assert_string_not_equal(error.text, "");
                assert_int_equal(list.count, 99);
            }
            failures += fired;
            if (!fired)
                break;
        }
    }
    assert_true(failures >= 5);
}

/* ---- speeds ------------------------------------------------------------------------------------------------------ */

static char seen[256];

static void see(void *context, const char *app, const mr__device_speed *speed)
{
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s=%.0f ", app, speed->bytes_per_s);
}

static void test_speeds_are_kept_by_app_and_device(void **state)
{
    mr__device_speed speed = {.bytes_per_s = 1e9, .rows_per_s = 2.5e7, .overhead_ns = 17000, .lanes = 16, .group = 1};
    mr__device_speed got = {.lanes = 99};
    assert_false(mr__device_speed_get("kmeans", "pocl-0", &got));
    assert_int_equal(got.lanes, 99);
    assert_int_equal(mr__device_speed_put("kmeans", "pocl-0", &speed, NULL), MR_OK);
    assert_true(mr__device_speed_get("kmeans", "pocl-0", &got));
    assert_true(got.bytes_per_s == 1e9 && got.rows_per_s == 2.5e7 && got.overhead_ns == 17000);
    assert_int_equal(got.lanes, 16);
    assert_int_equal(got.group, 1);
    assert_true(llabs(got.measured_at - (int64_t)time(NULL)) < 60);
    assert_false(mr__device_speed_get("kmeans", "pocl-1", &got));
    assert_false(mr__device_speed_get("means", "pocl-0", &got));
    speed.bytes_per_s = 7;
    assert_int_equal(mr__device_speed_put("histogram", "pocl-0", &speed, NULL), MR_OK);
    assert_int_equal(mr__device_speed_put("histogram", "pocl-1", &speed, NULL), MR_OK);
    mr__device_speed_each("pocl-0", see, NULL);
    assert_string_equal(seen, "histogram=7 kmeans=1000000000 ");
}

static void test_speeds_that_cannot_be_kept_get_a_sentence(void **state)
{
    static const char *const names[] = {"", "../x", "a/b", "a@b"};
    const mr__device_speed speed = {.bytes_per_s = 1};
    for (size_t i = 0; i < MR__COUNT(names); i++) {
        mr__device_speed got;
        mr__error error = {.text = ""};
        assert_int_equal(mr__device_speed_put(names[i], "pocl-0", &speed, &error), MR_BAD_USAGE);
        assert_string_not_equal(error.text, "");
        assert_int_equal(mr__device_speed_put("app", names[i], &speed, NULL), MR_BAD_USAGE);
        assert_false(mr__device_speed_get(names[i], "pocl-0", &got));
    }
}

static void test_a_damaged_speed_is_ignored_and_written_anew(void **state)
{
    static const char *const damages[] = {
        "", "{", "7", "{\"bytes_per_s\":1}",
        "{\"bytes_per_s\":-1,\"rows_per_s\":2,\"overhead_ns\":3,\"lanes\":16,\"group\":1,\"measured_at\":5}",
        "{\"bytes_per_s\":1e99,\"rows_per_s\":2,\"overhead_ns\":3,\"lanes\":16,\"group\":1,\"measured_at\":5}",
        "{\"bytes_per_s\":1,\"rows_per_s\":2,\"overhead_ns\":3,\"lanes\":1e30,\"group\":1,\"measured_at\":5}"};
    const mr__device_speed speed = {.bytes_per_s = 5};
    for (size_t i = 0; i < MR__COUNT(damages); i++) {
        mr__device_speed got;
        assert_int_equal(mr__device_speed_put("hurt", "pocl-0", &speed, NULL), MR_OK);
        write_text(in_folder("cache/millrace/speeds/hurt@pocl-0"), damages[i], 0600);
        assert_false(mr__device_speed_get("hurt", "pocl-0", &got));
        assert_int_equal(mr__device_speed_put("hurt", "pocl-0", &speed, NULL), MR_OK);
        assert_true(mr__device_speed_get("hurt", "pocl-0", &got));
    }
}

static void test_concurrent_writers_leave_whole_speeds(void **state)
{
    pid_t pid[PROCESSES];
    mr__device_speed got = {.bytes_per_s = 1, .rows_per_s = 1};
    assert_int_equal(mr__device_speed_put("race", "pocl-0", &got, NULL), MR_OK);
    for (uint32_t p = 0; p < PROCESSES; p++) {
        pid[p] = fork();
        if (pid[p] == 0) {
            const mr__device_speed speed = {.bytes_per_s = p + 1, .rows_per_s = p + 1};
            bool good = true;
            for (uint32_t i = 0; i < PUTS && good; i++)
                good = mr__device_speed_put("race", "pocl-0", &speed, NULL) == MR_OK;
            _exit(good ? 0 : 1);
        }
    }
    for (uint32_t i = 0; i < PUTS; i++) {
        assert_true(mr__device_speed_get("race", "pocl-0", &got));
        assert_true(got.bytes_per_s == got.rows_per_s);
    }
    for (uint32_t p = 0; p < PROCESSES; p++) {
        int how = 1;
        waitpid(pid[p], &how, 0);
        assert_int_equal(how, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_program_says_is_found_once),
        cmocka_unit_test(test_the_cache_is_quick),
        cmocka_unit_test(test_whatever_may_change_the_devices_asks_again),
        cmocka_unit_test(test_a_program_that_fails_is_no_device_and_a_note),
        cmocka_unit_test(test_a_program_that_hangs_is_killed_with_all_that_it_started),
        cmocka_unit_test(test_no_program_is_a_note),
        cmocka_unit_test(test_lists_that_break_the_agreement_are_refused),
        cmocka_unit_test(test_names_lose_what_harms_a_terminal),
        cmocka_unit_test(test_a_driver_that_lies_about_its_memory_is_not_believed),
        cmocka_unit_test(test_a_damaged_cache_is_ignored_and_written_anew),
        cmocka_unit_test(test_a_cache_folder_that_others_may_write_to_is_not_used),
        cmocka_unit_test(test_many_processes_find_at_once),
        cmocka_unit_test(test_failing_calls_leave_a_list_or_a_sentence),
        cmocka_unit_test(test_speeds_are_kept_by_app_and_device),
        cmocka_unit_test(test_speeds_that_cannot_be_kept_get_a_sentence),
        cmocka_unit_test(test_a_damaged_speed_is_ignored_and_written_anew),
        cmocka_unit_test(test_concurrent_writers_leave_whole_speeds),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
