/* A result appears as a whole or not at all. Oracle: what ls, cat and stat find under the target's name. */
#include "scratch.h"

#include <pthread.h>
#include <signal.h>

#include "memory.h"
#include "output.h"

enum { LARGE = 5 * 1024 * 1024 + 321 };

static uint8_t *content;

static int make_all(void **state)
{
    content = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    return scratch_make(state);
}

static int remove_all(void **state)
{
    free(content);
    return scratch_remove(state);
}

/* Part 0 by write, part 1 by reserve and advance in uneven steps, part 2 empty, part 3 small. */
static mr_status write_parts(mr__output *output, mr__error *error)
{
    static const size_t sizes[] = {LARGE, LARGE, 0, 5};
    mr_status status = MR_OK;
    mr__part *part = NULL;
    for (uint32_t p = 0; p < MR__COUNT(sizes); p++) {
        uint64_t bytes = UINT64_MAX;
        MR_TRY(mr__output_part(output, p, &part, error));
        for (size_t done = 0, step = 1; done < sizes[p]; step = step * 7 % 60013 + 1) {
            const size_t piece = step < sizes[p] - done ? step : sizes[p] - done;
            if (p == 1) {
                uint8_t *place = mr__part_reserve(part, MR__PART_RESERVE, error);
                if (place == NULL) {
                    status = error->code;
                    goto done;
                }
                memcpy(place, content + done, piece);
                mr__part_advance(part, piece);
            } else {
                MR_TRY(mr__part_write(part, content + done, piece, error));
            }
            done += piece;
        }
        status = mr__part_close(part, &bytes, error);
        part = NULL;
        if (status != MR_OK)
            goto done;
        assert_int_equal(bytes, sizes[p]);
    }
done:
    mr__part_abort(part);
    return status;
}

static mr_status write_output(const char *path, bool force, mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *output = NULL;
    MR_TRY(mr__output_open(mr__namespace_plain(), path, force, &output, error));
    MR_TRY(write_parts(output, error));
    MR_TRY(mr__output_commit(output, error));
done:
    mr__output_close(output);
    return status;
}

static void assert_complete(const char *path)
{
    char name[PATH_MAX + 32];
    static const off_t sizes[] = {LARGE, LARGE, 0, 5};
    uint8_t *bytes = malloc(LARGE);
    struct stat found;
    for (uint32_t p = 0; p < MR__COUNT(sizes); p++) {
        snprintf(name, sizeof name, "%s/part-%05u", path, p);
        FILE *file = fopen(name, "rb");
        assert_non_null(file);
        assert_int_equal(fread(bytes, 1, LARGE, file), sizes[p]);
        assert_int_equal(fgetc(file), EOF);
        assert_memory_equal(bytes, content, sizes[p]);
        fclose(file);
    }
    free(bytes);
    snprintf(name, sizeof name, "%s/_SUCCESS", path);
    assert_int_equal(stat(name, &found), 0);
    assert_int_equal(found.st_size, 0);
}

static void nothing_has_the_name_before_commit_and_all_after(void **state)
{
    mr__output *output = NULL;
    struct stat found;
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s", scratch_file("out"));
    const mode_t mask = umask(027);
    assert_int_equal(mr__output_open(mr__namespace_plain(), target, false, &output, NULL), MR_OK);
    assert_int_equal(write_parts(output, NULL), MR_OK);
    assert_int_equal(stat(target, &found), -1);
    assert_int_equal(mr__output_commit(output, NULL), MR_OK);
    umask(mask);
    assert_complete(target);
    mr__output_close(output);
    assert_complete(target);
    assert_int_equal(stat(target, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0750);       /* as mkdir under that umask */
    assert_int_equal(scratch_count(), 6);               /* out, four parts, _SUCCESS */
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
}

static void without_commit_nothing_stays(void **state)
{
    mr__output *output = NULL;
    mr__part *part = NULL;
    assert_int_equal(mr__output_open(mr__namespace_plain(), scratch_file("out/"), false, &output, NULL), MR_OK);
    assert_int_equal(write_parts(output, NULL), MR_OK);
    assert_int_equal(mr__output_part(output, 9, &part, NULL), MR_OK);
    assert_int_equal(mr__part_write(part, content, LARGE, NULL), MR_OK);
    mr__part_abort(part);
    mr__output_close(output);
    assert_int_equal(scratch_count(), 0);
}

static void an_output_that_exists_is_refused_at_open_and_at_commit(void **state)
{
    mr__output *output = (mr__output *)state;
    mr__error error = {.code = MR_OK};
    const char *target = scratch_file("out");
    assert_int_equal(mkdir(target, 0755), 0);
    assert_int_equal(mr__output_open(mr__namespace_plain(), target, false, &output, &error), MR_EXISTS);
    assert_ptr_equal(output, state);
    assert_non_null(strstr(error.text, target));
    assert_non_null(strstr(error.text, "--force"));
    assert_int_equal(rmdir(target), 0);

    mr__error_clear(&error);
    assert_int_equal(mr__output_open(mr__namespace_plain(), target, false, &output, NULL), MR_OK);
    assert_int_equal(write_parts(output, NULL), MR_OK);
    assert_int_equal(scratch_run("mkdir '%s' && echo mine > '%s/part-00000'", target, target), 0);
    assert_int_equal(mr__output_commit(output, &error), MR_EXISTS);
    mr__output_close(output);
    assert_int_equal(scratch_run("test \"$(cat '%s/part-00000')\" = mine", target), 0);
    assert_int_equal(scratch_count(), 2);
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
}

static void force_replaces_a_result_when_the_new_one_is_whole(void **state)
{
    mr__output *output = NULL;
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s", scratch_file("out"));
    assert_int_equal(scratch_run("mkdir '%s'; echo old > '%s/part-00007'; : > '%s/_SUCCESS'", target, target, target),
                     0);
    assert_int_equal(mr__output_open(mr__namespace_plain(), target, true, &output, NULL), MR_OK);
    assert_int_equal(write_parts(output, NULL), MR_OK);
    assert_int_equal(scratch_run("test \"$(cat '%s/part-00007')\" = old", target), 0);
    mr__output_close(output);                           /* not committed: the old one stays */
    assert_int_equal(scratch_run("test \"$(cat '%s/part-00007')\" = old", target), 0);
    assert_int_equal(write_output(target, true, NULL), MR_OK);
    assert_complete(target);
    assert_int_equal(scratch_count(), 6);
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
    assert_int_equal(write_output(target, true, NULL), MR_OK);      /* force without an old one */
    assert_complete(target);
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
}

static void force_does_not_replace_what_is_no_result(void **state)
{
    static const struct { const char *make, *says; } cases[] = {
        {"mkdir '%s' && cd '%s' && echo x > thesis.tex && : > _SUCCESS", "it holds thesis.tex"},
        {"mkdir '%s' && cd '%s' && mkdir home && : > _SUCCESS", "it holds home"},
        {"mkdir '%s' && cd '%s' && mkdir .cache .local .ssh && echo x > .bashrc && echo x > .profile", "it holds ."},
        {"mkdir '%s' && cd '%s' && echo x > .profile && : > _SUCCESS", "it holds .profile"},
        {"mkdir '%s' && cd '%s' && echo x > part-00000", "no _SUCCESS"},
        {"mkdir '%s' && cd '%s' && mkdir _temporary", "no _SUCCESS"},
        {"echo x > '%s' && test -f '%s'", "is no directory"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        mr__output *output = NULL;
        mr__error error = {.code = MR_OK};
        const char *target = scratch_file("out");
        assert_int_equal(scratch_run(cases[i].make, target, target), 0);
        const unsigned names = scratch_count();
        assert_int_equal(mr__output_open(mr__namespace_plain(), target, true, &output, &error), MR_EXISTS);
        assert_non_null(strstr(error.text, "no result"));
        assert_non_null(strstr(error.text, cases[i].says));
        assert_int_equal(scratch_count(), names);
        assert_int_equal(scratch_run("rm -r '%s'", target), 0);
    }
}

static void a_link_is_refused_with_and_without_force(void **state)
{
    static const char *const made[] = {
        "ln -s nowhere '%s'",
        "mkdir '%s.real' && : > '%s.real/_SUCCESS' && ln -s out.real '%s'",
        "mkdir '%s.real' && ln -s out.real '%s'",
        ": > '%s.real' && ln -s out.real '%s'",
        "ln -s out '%s'",
    };
    for (size_t i = 0; i < MR__COUNT(made); i++) {
        const char *target = scratch_file("out");
        assert_int_equal(scratch_run(made[i], target, target, target), 0);
        const unsigned names = scratch_count();
        for (int force = 0; force < 2; force++) {
            for (int slash = 0; slash < 2; slash++) {
                mr__output *output = NULL;
                mr__error error = {.code = MR_OK};
                const char *named = scratch_file(slash ? "out/" : "out");
                assert_int_equal(mr__output_open(mr__namespace_plain(), named, force, &output, &error), MR_EXISTS);
                assert_non_null(strstr(error.text, i == 0 ? "is a link to nowhere, " : "is a link to out"));
                assert_int_equal(scratch_count(), names);
            }
        }
        assert_int_equal(scratch_run("rm -r '%s'*", target), 0);
    }
}

static void a_mount_is_refused_with_and_without_force(void **state)
{
    for (int force = 0; force < 2; force++) {
        mr__output *output = NULL;
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__output_open(mr__namespace_plain(), "/proc", force, &output, &error), MR_EXISTS);
        assert_non_null(strstr(error.text, "something is mounted at output /proc, "));
    }
}

static void force_replaces_an_empty_directory_and_what_spark_leaves(void **state)
{
    static const char *const inside[] = {
        "true",
        ": > _SUCCESS",
        "mkdir _temporary && echo x | tee part-00000-c000.snappy.parquet .part-00000.crc ._SUCCESS.crc _SUCCESS",
    };
    for (size_t i = 0; i < MR__COUNT(inside); i++) {
        const char *target = scratch_file("out");
        assert_int_equal(scratch_run("mkdir '%s' && cd '%s' && %s > /dev/null", target, target, inside[i]), 0);
        assert_int_equal(write_output(target, true, NULL), MR_OK);
        assert_complete(target);
        assert_int_equal(scratch_count(), 6);
        assert_int_equal(scratch_run("rm -r '%s'", target), 0);
    }
}

static void a_name_that_cannot_be_an_output_gets_a_sentence(void **state)
{
    const struct {
        const char *path;
        mr_status status;
    } cases[] = {{"", MR_BAD_USAGE}, {"/", MR_BAD_USAGE}, {".", MR_BAD_USAGE}, {"a/..", MR_BAD_USAGE},
                 {scratch_file("missing/out"), MR_BAD_USAGE}, {"/proc/out", MR_IO_FAILED},
                 {"/dev/null/out", MR_BAD_USAGE}, {"/dev/null/a/out", MR_BAD_USAGE}};
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        mr__output *output = NULL;
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__output_open(mr__namespace_plain(), cases[i].path, false, &output, &error),
                         cases[i].status);
        assert_null(output);
        assert_non_null(strstr(error.text, cases[i].path));
    }
}

static void an_output_may_have_the_longest_name(void **state)
{
    char name[NAME_MAX + 1], target[PATH_MAX];
    memset(name, 'x', NAME_MAX);
    name[NAME_MAX] = '\0';
    snprintf(target, sizeof target, "%s", scratch_file(name));
    assert_int_equal(write_output(target, false, NULL), MR_OK);
    assert_complete(target);
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
}

static void what_a_killed_job_left_goes_and_what_a_live_one_has_stays(void **state)
{
    mr__output *output = NULL;
    const char *target = scratch_file("out");
    pid_t children[2];
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            if (mr__output_open(mr__namespace_plain(), target, false, &output, NULL) != MR_OK ||
                write_parts(output, NULL) != MR_OK ||
                write(ready[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
    }
    kill(children[0], SIGKILL);
    waitpid(children[0], NULL, 0);
    assert_int_equal(scratch_count(), 2 * 6);           /* each: claim, result, four parts */
    assert_int_equal(mr__output_open(mr__namespace_plain(), target, false, &output, NULL), MR_OK);
    assert_int_equal(scratch_count(), 6 + 2);
    mr__output_close(output);
    assert_int_equal(scratch_count(), 6);
    kill(children[1], SIGKILL);
    waitpid(children[1], NULL, 0);
    assert_int_equal(write_output(target, false, NULL), MR_OK);
    assert_complete(target);
    assert_int_equal(scratch_count(), 6);
    assert_int_equal(scratch_run("rm -r '%s'", target), 0);
    close(ready[0]);
    close(ready[1]);
}

struct shared {
    mr__output *output;
    _Atomic uint32_t next;
    _Atomic uint32_t failures;
};

static void *write_some_parts(void *context)
{
    struct shared *shared = context;
    for (uint32_t index; (index = atomic_fetch_add(&shared->next, 1)) < 32;) {
        mr__part *part;
        if (mr__output_part(shared->output, index, &part, NULL) != MR_OK ||
            mr__part_write(part, content, 1000 * index * index, NULL) != MR_OK ||
            mr__part_close(part, NULL, NULL) != MR_OK)
            atomic_fetch_add(&shared->failures, 1);
    }
    return NULL;
}

static void many_threads_write_parts_of_one_output(void **state)
{
    struct shared shared = {.next = 0};
    pthread_t threads[4];
    assert_int_equal(mr__output_open(mr__namespace_plain(), scratch_file("out"), false, &shared.output, NULL), MR_OK);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, write_some_parts, &shared), 0);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    assert_int_equal(shared.failures, 0);
    assert_int_equal(mr__output_commit(shared.output, NULL), MR_OK);
    mr__output_close(shared.output);
    for (uint32_t p = 0; p < 32; p++) {
        char name[64];
        struct stat found;
        snprintf(name, sizeof name, "out/part-%05u", p);
        assert_int_equal(stat(scratch_file(name), &found), 0);
        assert_int_equal(found.st_size, 1000 * p * p);
    }
    assert_int_equal(scratch_run("rm -r '%s'", scratch_file("out")), 0);
}

static void a_result_may_lie_in_the_memory_tier(void **state)
{
    mr__namespace *names = NULL;
    mr__tier *memory = NULL;
    mr__output *output = NULL;
    mr_slice bytes;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__tier_memory_create(64 << 20, &memory, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&names, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/memory", memory, NULL), MR_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(mr__output_open(names, "/memory/out", round == 1, &output, &error), MR_OK);
        assert_int_equal(write_parts(output, NULL), MR_OK);
        assert_int_equal(mr__output_commit(output, &error), MR_OK);
        mr__output_close(output);
        assert_int_equal(mr__namespace_load(names, "/memory/out/part-00001", &bytes, NULL), MR_OK);
        assert_int_equal(bytes.size, LARGE);
        assert_memory_equal(bytes.data, content, LARGE);
        mr__free((void *)bytes.data);
    }
    assert_int_equal(mr__output_open(names, "/memory/out", false, &output, &error), MR_EXISTS);
    assert_int_equal(memory->used, 2 * LARGE + 5);      /* the replaced result gave its bytes back */
    mr__namespace_destroy(names);
    mr__tier_destroy(memory);
}

static void a_full_tier_gets_a_sentence_and_leaves_nothing(void **state)
{
    mr__namespace *names = NULL;
    mr__tier *small = NULL;
    mr__output *output = NULL;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__tier_directory_create("small", scratch_path, 6 << 20, &small, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&names, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/small", small, NULL), MR_OK);
    assert_int_equal(mr__output_open(names, "/small/out", false, &output, &error), MR_OK);
    assert_int_equal(write_parts(output, &error), MR_NO_SPACE);
    assert_non_null(strstr(error.text, "/small/out"));
    assert_non_null(strstr(error.text, "part 1"));
    assert_non_null(strstr(error.text, "hint:"));
    mr__output_close(output);
    assert_int_equal(scratch_count(), 0);
    assert_int_equal(small->used, 0);
    mr__namespace_destroy(names);
    mr__tier_destroy(small);
}

static const char *swept_ring;
static bool swept_force;

static mr_status attempt(mr__error *error)
{
    const char *target = scratch_file("out");
    struct stat found;
    setenv("MILLRACE_IO_URING", swept_ring, 1);
    setenv("MILLRACE_SYNC", "1", 1);
    if (swept_force)
        assert_int_equal(scratch_run("mkdir '%s' && cd '%s' && echo old | tee part-00000 _SUCCESS > /dev/null", target,
                                     target),
                         0);
    const mr_status status = write_output(target, swept_force, error);
    mr__fault_disarm();
    unsetenv("MILLRACE_SYNC");
    unsetenv("MILLRACE_IO_URING");
    if (status == MR_OK)
        assert_complete(target);
    else if (swept_force)
        assert_int_equal(
            scratch_run("test \"$(cat '%s/part-00000')\" = old && test -s '%s/_SUCCESS'", target, target), 0);
    else
        assert_int_equal(stat(target, &found), -1);
    assert_int_equal(scratch_run("rm -rf '%s'", target), 0);
    return status;
}

/* The sweep for leftovers, a ring, the fsync of the parent after the rename, and cleaning up may fail: the next open
 * cleans up, the foreground writes. */
static bool the_result_is_whole(enum mr__fault_point point)
{
    return point != MR__FAULT_WRITE && point != MR__FAULT_MKDIR && point != MR__FAULT_RENAME;
}

static void every_call_that_fails_leaves_no_result_or_the_old_one(void **state)
{
    static const char *const rings[] = {"0", "1"};
    for (size_t i = 0; i < 2; i++) {
        swept_ring = rings[i];
        swept_force = i % 2;
        scratch_sweep(attempt, the_result_is_whole);
    }
    assert_int_equal(write_output(scratch_file("out"), false, NULL), MR_OK);        /* sweeps what was left */
    assert_int_equal(scratch_count(), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_the_name_before_commit_and_all_after),
        cmocka_unit_test(without_commit_nothing_stays),
        cmocka_unit_test(an_output_that_exists_is_refused_at_open_and_at_commit),
        cmocka_unit_test(force_replaces_a_result_when_the_new_one_is_whole),
        cmocka_unit_test(force_does_not_replace_what_is_no_result),
        cmocka_unit_test(a_link_is_refused_with_and_without_force),
        cmocka_unit_test(a_mount_is_refused_with_and_without_force),
        cmocka_unit_test(force_replaces_an_empty_directory_and_what_spark_leaves),
        cmocka_unit_test(a_name_that_cannot_be_an_output_gets_a_sentence),
        cmocka_unit_test(an_output_may_have_the_longest_name),
        cmocka_unit_test(what_a_killed_job_left_goes_and_what_a_live_one_has_stays),
        cmocka_unit_test(many_threads_write_parts_of_one_output),
        cmocka_unit_test(a_result_may_lie_in_the_memory_tier),
        cmocka_unit_test(a_full_tier_gets_a_sentence_and_leaves_nothing),
        cmocka_unit_test(every_call_that_fails_leaves_no_result_or_the_old_one),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
