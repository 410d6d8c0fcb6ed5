/* Listing the files of a dataset. Oracle: find, the shell's globs and sort in the C locale. */
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "memory.h"
#include "source.h"

static mr_status open_one(const char *path, mr__sources **sources, mr__error *error)
{
    return mr__sources_open(mr__namespace_plain(), &path, 1, NULL, sources, error);
}

static mr_status burst_is(void *burst, mr__burst **out, mr__error *error)
{
    *out = burst;
    return MR_OK;
}

/* The list that `command` prints (one "size path" a line) is the list of sources. */
static void assert_same_list(const mr__sources *sources, const char *command)
{
    char line[PATH_MAX + 64];
    uint64_t start = 0;
    uint32_t count = 0;
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (; fgets(line, sizeof line, pipe) != NULL; count++) {
        char *path = strchr(line, ' ') + 1;
        path[strcspn(path, "\n")] = '\0';
        assert_true(count < sources->count);
        assert_string_equal(sources->items[count].path, path);
        assert_int_equal(sources->items[count].size, strtoull(line, NULL, 10));
        assert_int_equal(sources->items[count].start, start);
        start += sources->items[count].size;
    }
    assert_int_equal(pclose(pipe), 0);
    assert_int_equal(sources->count, count);
    assert_int_equal(sources->bytes, start);
}

/* Names around '/' in byte order, hidden files, links of every kind, deep and empty directories, a pipe. */
static int make_tree(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    return scratch_run(
        "cd '%s' && mkdir -p t/a t/a.b/c t/a-b t/deep/1/2/3/4 t/empty t/.hidden && "
        "echo one > t/a/x.c && echo three > t/a.c && echo 22 > t/a.b/c/y.h && echo > t/a-b/z.c && "
        "echo h > t/.hidden/f && echo d > t/.dot && echo 4 > t/deep/1/2/3/4/leaf.c && : > t/nothing && "
        "printf 'x' > 't/with blank' && printf 'y' > t/$(printf '\\303\\244') && printf 'z' > 't/[q]' && "
        "ln -s a.c t/link-to-file && ln -s a t/link-to-directory && ln -s gone t/link-to-nothing && "
        "mkfifo t/pipe && seq 1 300 | while read i; do echo $i > t/deep/n$i; done",
        scratch_path);
}

static void a_directory_is_walked_in_byte_order_of_the_paths(void **state)
{
    mr__sources *sources = NULL;
    mr__error error = {.code = MR_OK};
    char command[3 * PATH_MAX];
    const char *tree = scratch_file("t");
    snprintf(command, sizeof command,
             "( find '%s' -type f -printf '%%s %%p\\n'; echo \"6 %s/link-to-file\" ) | LC_ALL=C sort -k 2", tree, tree);
    assert_int_equal(open_one(tree, &sources, &error), MR_OK);
    assert_true(sources->count > 300);
    assert_same_list(sources, command);
    mr__sources_close(sources);
}

static void each_byte_lies_in_one_source(void **state)
{
    mr__sources *sources = NULL;
    uint64_t offset = 0;
    assert_int_equal(open_one(scratch_file("t"), &sources, NULL), MR_OK);
    for (uint32_t i = 0; i < sources->count; i++)       /* one is empty: it has no byte */
        for (uint64_t end = offset + sources->items[i].size; offset < end; offset++)
            assert_int_equal(mr__source_at(sources, offset), i);
    assert_int_equal(offset, sources->bytes);
    mr__sources_close(sources);
}

static void a_trailing_slash_changes_nothing(void **state)
{
    mr__sources *plain = NULL, *slash = NULL;
    assert_int_equal(open_one(scratch_file("t/deep"), &plain, NULL), MR_OK);
    assert_int_equal(open_one(scratch_file("t/deep/"), &slash, NULL), MR_OK);
    assert_int_equal(plain->count, slash->count);
    for (uint32_t i = 0; i < plain->count; i++)
        assert_string_equal(plain->items[i].path, slash->items[i].path);
    mr__sources_close(plain);
    mr__sources_close(slash);
}

static void a_pattern_matches_as_in_a_shell(void **state)
{
    static const char *const patterns[] = {"t/*.c", "t/*/x.c", "t/deep/n?", "t/deep/n[1-3]*", "t/.d*", "t/*/1/*/3/*/l*",
                                           "t/a*/*.c", "t/\\[q\\]", "t/[[]q]", "t/link-to-d*/x.c"};
    for (size_t i = 0; i < MR__COUNT(patterns); i++) {
        mr__sources *sources = NULL;
        mr__error error = {.code = MR_OK};
        char command[3 * PATH_MAX];
        snprintf(command, sizeof command, "LC_ALL=C sh -c \"stat -L -c '%%s %%n' '%s'/%s\"", scratch_path, patterns[i]);
        const mr_status status = open_one(scratch_file(patterns[i]), &sources, &error);
        if (status != MR_OK)
            print_error("%s: %s\n", patterns[i], error.text);
        assert_int_equal(status, MR_OK);
        assert_same_list(sources, command);
        mr__sources_close(sources);
    }
}

static void a_name_with_brackets_that_exists_is_no_pattern(void **state)
{
    mr__sources *sources = NULL;
    assert_int_equal(open_one(scratch_file("t/[q]"), &sources, NULL), MR_OK);
    assert_int_equal(sources->count, 1);
    assert_string_equal(sources->items[0].path, scratch_file("t/[q]"));
    mr__sources_close(sources);
}

static void arguments_keep_their_order_and_may_repeat(void **state)
{
    mr__sources *sources = NULL;
    const char *const paths[] = {scratch_file("t/a/x.c"), scratch_file("t/a.c"), scratch_file("t/a/x.c")};
    assert_int_equal(mr__sources_open(mr__namespace_plain(), paths, 3, NULL, &sources, NULL), MR_OK);
    assert_int_equal(sources->count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(sources->items[i].path, paths[i]);
    mr__sources_close(sources);
}

static void bad_input_gets_a_sentence_and_no_list(void **state)
{
    assert_int_equal(scratch_run("mkdir -p '%s/bad/void/void'", scratch_path), 0);
    const struct {
        const char *path, *part;
    } cases[] = {
        {scratch_file("bad/missing"), "hint: check the name"},
        {scratch_file("bad/*.txt"), "no file matches"},
        {scratch_file("bad/void"), "there is no file in"},
        {"/dev/null", "neither a file nor a directory"},
        {scratch_file("t/pipe"), "no burst directory"},
        {"", "could not find input"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        mr__sources *sources = (mr__sources *)state;
        mr__error error = {.code = MR_OK};
        assert_int_equal(open_one(cases[i].path, &sources, &error), MR_BAD_INPUT);
        assert_ptr_equal(sources, state);
        assert_non_null(strstr(error.text, cases[i].part));
        assert_non_null(strstr(error.text, cases[i].path));
    }
    assert_int_equal(scratch_run("rm -r '%s/bad'", scratch_path), 0);
}

static void a_directory_without_permission_gets_a_sentence(void **state)
{
    if (geteuid() == 0 && seteuid(65534) != 0)
        skip();
    if (geteuid() == 65534)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(scratch_run("chmod 755 '%s'; mkdir -p '%s/shut/in'; chmod 700 '%s/shut'", scratch_path,
                                 scratch_path, scratch_path),
                     0);
    const bool root = geteuid() == 0;
    if (!root)
        chmod(scratch_file("shut"), 0);
    else
        assert_int_equal(seteuid(65534), 0);
    mr__sources *sources = (mr__sources *)state;
    mr__error error = {.code = MR_OK};
    const mr_status status = open_one(scratch_file("shut"), &sources, &error);
    if (root)
        assert_int_equal(seteuid(0), 0);
    chmod(scratch_file("shut"), 0700);
    assert_int_equal(status, MR_BAD_INPUT);
    assert_ptr_equal(sources, state);
    assert_non_null(strstr(error.text, "Permission denied"));
    assert_non_null(strstr(error.text, "hint: give the user"));
    assert_int_equal(scratch_run("rm -r '%s/shut'", scratch_path), 0);
}

/* Runs `-` with standard input from `input`; returns what it held according to the list. */
static void check_standard_input(int input, const char *text)
{
    mr__burst *burst = NULL;
    mr__sources *sources = NULL;
    mr__error error = {.code = MR_OK};
    uint8_t bytes[64] = {0};
    const int keep = dup(STDIN_FILENO);
    mr__file file;
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    assert_int_equal(dup2(input, STDIN_FILENO), STDIN_FILENO);
    const char *dash = "-";
    const mr__spool spool = {.burst = burst_is, .context = burst};
    assert_int_equal(mr__sources_open(mr__namespace_plain(), &dash, 1, &spool, &sources, &error), MR_OK);
    assert_int_equal(sources->count, 1);
    assert_int_equal(sources->bytes, strlen(text));
    mr__tier *tier = sources->items[0].tier;
    assert_int_equal(tier->ops->open(tier, sources->items[0].inside, &file), 0);
    assert_int_equal(tier->ops->read_at(&file, bytes, sizeof bytes, 0), strlen(text));
    assert_memory_equal(bytes, text, strlen(text));
    tier->ops->close(&file);
    assert_int_equal(dup2(keep, STDIN_FILENO), STDIN_FILENO);
    close(keep);
    mr__sources_close(sources);
    mr__burst_close(burst);
}

static void standard_input_is_read_in_place_or_spooled(void **state)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from a pipe", 11), 11);
    close(ends[1]);
    check_standard_input(ends[0], "from a pipe");
    close(ends[0]);

    const int file = open(scratch_write("stdin.txt", "from a file", 11), O_RDONLY);
    check_standard_input(file, "from a file");
    assert_int_equal(read(file, &byte, 1), 1);       /* somebody read a byte: the rest is the input */
    check_standard_input(file, "rom a file");
    close(file);
}

static void a_named_pipe_is_spooled(void **state)
{
    mr__burst *burst = NULL;
    mr__sources *sources = NULL;
    const char *path = scratch_file("t/pipe");
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    const mr__spool spool = {.burst = burst_is, .context = burst};
    assert_int_equal(scratch_run("( seq 1 1000 > '%s' ) &", path), 0);
    assert_int_equal(mr__sources_open(mr__namespace_plain(), &path, 1, &spool, &sources, NULL), MR_OK);
    assert_int_equal(sources->bytes, 3893);          /* seq 1 1000 | wc -c */
    mr__sources_close(sources);
    mr__burst_close(burst);
}

static void what_a_pipe_was_spooled_into_ends_with_the_list(void **state)
{
    mr__burst *burst = NULL;
    mr__sources *sources = NULL;
    const char *const paths[] = {scratch_file("t/pipe"), scratch_file("missing")};
    assert_int_equal(setenv("MILLRACE_BURST_SIZE", "9000", 1), 0);      /* two pipes and a bit */
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    const mr__spool spool = {.burst = burst_is, .context = burst};
    for (int i = 0; i < 6; i++) {
        const bool fails = i % 2 == 1;
        assert_int_equal(scratch_run("( seq 1 1000 > '%s' ) &", paths[0]), 0);
        assert_int_equal(mr__sources_open(mr__namespace_plain(), paths, fails ? 2 : 1, &spool, &sources, NULL),
                         fails ? MR_BAD_INPUT : MR_OK);
        if (!fails)
            mr__sources_close(sources);
        assert_int_equal(scratch_run("test -z \"$(ls '%s')\"", mr__burst_path(burst)), 0);
    }
    mr__burst_close(burst);
    unsetenv("MILLRACE_BURST_SIZE");
}

static void a_reached_limit_gets_a_sentence(void **state)
{
    mr__burst *burst = NULL;
    mr__sources *sources = NULL;
    mr__error error = {.code = MR_OK};
    const char *path = scratch_file("t/pipe");
    assert_int_equal(setenv("MILLRACE_BURST_SIZE", "2K", 1), 0);
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    unsetenv("MILLRACE_BURST_SIZE");
    const mr__spool spool = {.burst = burst_is, .context = burst};
    assert_int_equal(scratch_run("( seq 1 1000 > '%s' 2>/dev/null ) &", path), 0);
    assert_int_equal(mr__sources_open(mr__namespace_plain(), &path, 1, &spool, &sources, &error), MR_NO_SPACE);
    assert_non_null(strstr(error.text, ": the 2048 bytes that MILLRACE_BURST_SIZE allows are used up\n  hint: set"));
    assert_int_equal(scratch_run("test -z \"$(ls '%s')\"", mr__burst_path(burst)), 0);
    mr__burst_close(burst);
}

static void *cancel_soon(void *cancelled)
{
    usleep(100000);             /* the reader waits by then, most likely: it must end either way */
    atomic_store((_Atomic bool *)cancelled, true);
    return NULL;
}

/* Nobody writes to the one, and the writer of the other holds back. No signal comes. */
static void a_pipe_that_never_ends_can_be_cancelled(void **state)
{
    mr__burst *burst = NULL;
    _Atomic bool cancelled;
    const char *path = scratch_file("t/pipe");
    const unsigned before = scratch_count();
    assert_int_equal(mr__burst_open(scratch_path, &burst, NULL), MR_OK);
    const mr__spool spool = {.burst = burst_is, .context = burst, .cancelled = &cancelled};
    for (int i = 0; i < 3; i++) {
        mr__sources *sources = (mr__sources *)state;
        mr__error error = {.code = MR_OK};
        pthread_t canceller;
        const int writer = i > 0 ? open(path, O_RDWR) : -1;
        assert_true(i == 0 || write(writer, "text", 4) == 4);
        atomic_store(&cancelled, i == 2);               /* ... before it began */
        assert_int_equal(pthread_create(&canceller, NULL, cancel_soon, &cancelled), 0);
        assert_int_equal(mr__sources_open(mr__namespace_plain(), &path, 1, &spool, &sources, &error), MR_CANCELLED);
        pthread_join(canceller, NULL);
        assert_ptr_equal(sources, state);
        assert_non_null(strstr(error.text, path));
        assert_int_equal(scratch_count(), before + 1);  /* the burst directory, empty */
        if (writer >= 0)
            close(writer);
    }
    mr__burst_close(burst);
}

static void a_mounted_tier_is_walked_like_a_directory(void **state)
{
    mr__namespace *names = NULL;
    mr__tier *memory = NULL;
    mr__sources *sources = NULL;
    assert_int_equal(mr__tier_memory_create(0, &memory, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&names, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/memory", memory, NULL), MR_OK);
    assert_int_equal(memory->ops->make_directory(memory, "in"), 0);
    static const char *const files[] = {"in/b", "in/a"};
    for (size_t i = 0; i < 2; i++) {
        mr__file file;
        assert_int_equal(memory->ops->create(memory, files[i], &file), 0);
        assert_int_equal(memory->ops->write_at(&file, "12345", 5, 0), 0);
        memory->ops->close(&file);
    }
    static const char *const paths[] = {"/memory/in", "/memory/in/*", "/memory"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(mr__sources_open(names, &paths[i], 1, NULL, &sources, NULL), MR_OK);
        assert_int_equal(sources->count, 2);
        assert_int_equal(sources->bytes, 10);
        assert_string_equal(sources->items[0].path, "/memory/in/a");
        assert_string_equal(sources->items[1].path, "/memory/in/b");
        assert_string_equal(sources->items[0].inside, "in/a");
        assert_ptr_equal(sources->items[0].tier, memory);
        mr__sources_close(sources);
    }
    mr__namespace_destroy(names);
    mr__tier_destroy(memory);
}

static mr_status attempt(mr__error *error)
{
    mr__burst *burst = NULL;
    mr__sources *sources = NULL;
    const char *const paths[] = {scratch_file("t"), scratch_file("t/deep/n*"), scratch_file("t/a.c"), "-"};
    int ends[2];
    const int keep = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "text", 4), 4);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    mr_status status = mr__burst_open(scratch_path, &burst, error);
    const mr__spool spool = {.burst = burst_is, .context = burst};
    if (status == MR_OK)
        status = mr__sources_open(mr__namespace_plain(), paths, MR__COUNT(paths), &spool, &sources, error);
    assert_true((status == MR_OK) == (sources != NULL));
    mr__sources_close(sources);
    mr__fault_disarm();
    mr__burst_close(burst);
    assert_int_equal(dup2(keep, STDIN_FILENO), STDIN_FILENO);
    close(keep);
    return status;
}

/* Only the sweep for leftovers in mr__burst_open may pass over a failure; test_burst.c has it. */
static bool of_the_burst_sweep(enum mr__fault_point point)
{
    return point == MR__FAULT_STAT || point == MR__FAULT_ALLOC;
}

static void every_call_that_fails_leaves_nothing(void **state)
{
    const unsigned before = scratch_count();
    scratch_sweep(attempt, of_the_burst_sweep);
    assert_int_equal(scratch_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_walked_in_byte_order_of_the_paths),
        cmocka_unit_test(each_byte_lies_in_one_source),
        cmocka_unit_test(a_trailing_slash_changes_nothing),
        cmocka_unit_test(a_pattern_matches_as_in_a_shell),
        cmocka_unit_test(a_name_with_brackets_that_exists_is_no_pattern),
        cmocka_unit_test(arguments_keep_their_order_and_may_repeat),
        cmocka_unit_test(bad_input_gets_a_sentence_and_no_list),
        cmocka_unit_test(a_directory_without_permission_gets_a_sentence),
        cmocka_unit_test(standard_input_is_read_in_place_or_spooled),
        cmocka_unit_test(a_named_pipe_is_spooled),
        cmocka_unit_test(a_reached_limit_gets_a_sentence),
        cmocka_unit_test(what_a_pipe_was_spooled_into_ends_with_the_list),
        cmocka_unit_test(a_pipe_that_never_ends_can_be_cancelled),
        cmocka_unit_test(a_mounted_tier_is_walked_like_a_directory),
        cmocka_unit_test(every_call_that_fails_leaves_nothing),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_tree, scratch_remove);
}
