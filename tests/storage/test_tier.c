/* Every tier keeps the same promises, call by call; and a namespace finds the tier of a path.
 * Oracle: the rules in tier.h, checked on each tier in turn. */
#include "scratch.h"

#include "memory.h"
#include "namespace.h"
#include "tier.h"

enum { CAPACITY = 1 << 20 };

static mr__tier *tiers[2];

static int make_tiers(void **state)
{
    return scratch_make(state) != 0 || mkdir(scratch_file("tier"), 0700) != 0 ||
           mr__tier_directory_create("directory", scratch_file("tier"), CAPACITY, &tiers[0], NULL) != MR_OK ||
           mr__tier_memory_create(CAPACITY, &tiers[1], NULL) != MR_OK;
}

static int remove_tiers(void **state)
{
    mr__tier_destroy(tiers[0]);
    mr__tier_destroy(tiers[1]);
    return scratch_remove(state);
}

static void put(mr__tier *tier, const char *path, const char *text)
{
    mr__file file;
    assert_int_equal(tier->ops->create(tier, path, &file), 0);
    assert_int_equal(tier->ops->write_at(&file, text, strlen(text), 0), 0);
    tier->ops->close(&file);
    assert_null(file.tier);
}

static void assert_holds(mr__tier *tier, const char *path, const char *text)
{
    mr__file file;
    char bytes[64];
    assert_int_equal(tier->ops->open(tier, path, &file), 0);
    assert_int_equal(tier->ops->read_at(&file, bytes, sizeof bytes, 0), strlen(text));
    assert_memory_equal(bytes, text, strlen(text));
    tier->ops->close(&file);
}

static bool count_names(const mr__entry *entry, void *context)
{
    ++*(unsigned *)context;
    return true;
}

static unsigned names_in(mr__tier *tier, const char *path)
{
    unsigned count = 0;
    assert_int_equal(tier->ops->list(tier, path, count_names, &count), 0);
    return count;
}

static void files_are_made_written_read_and_removed(void **state)
{
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        mr__file file;
        mr__entry entry;
        char bytes[8];
        put(tier, "a", "hello");
        assert_int_equal(tier->ops->create(tier, "a", &file), -EEXIST);
        assert_int_equal(tier->ops->create(tier, "no/where", &file), -ENOENT);
        assert_int_equal(tier->ops->open(tier, "b", &file), -ENOENT);
        assert_int_equal(tier->ops->stat(tier, "a", &entry), 0);
        assert_int_equal(entry.size, 5);
        assert_int_equal(entry.kind, MR__FILE);
        assert_int_equal(tier->ops->open(tier, "a", &file), 0);
        assert_true(file.fd >= 0);
        assert_int_equal(tier->ops->read_at(&file, bytes, 8, 3), 2);
        assert_memory_equal(bytes, "lo", 2);
        assert_int_equal(tier->ops->read_at(&file, bytes, 8, 5), 0);
        assert_int_equal(tier->ops->sync(&file), 0);
        assert_int_equal(tier->ops->remove(tier, "a"), 0);
        assert_int_equal(tier->ops->read_at(&file, bytes, 5, 0), 5);    /* open files outlive their names */
        tier->ops->close(&file);
        assert_int_equal(tier->ops->remove(tier, "a"), -ENOENT);
        assert_int_equal(tier->ops->stat(tier, "a", &entry), -ENOENT);
    }
}

static void what_close_says_is_passed_on(void **state)
{
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        mr__file file;
        put(tier, "a", "hello");
        assert_int_equal(tier->ops->open(tier, "a", &file), 0);
        close(file.fd);
        assert_int_equal(tier->ops->close(&file), -EBADF);
        assert_null(file.tier);
        assert_int_equal(file.fd, -1);
        assert_int_equal(tier->ops->open(tier, "a", &file), 0);
        assert_int_equal(mr__file_finish(&file), 0);
        assert_null(file.tier);
        assert_int_equal(tier->ops->open(tier, "a", &file), 0);
        mr__fault_arm(MR__FAULT_CLOSE, 1);
        assert_int_equal(mr__file_finish(&file), -EIO);
        mr__fault_disarm();
        assert_null(file.tier);
        assert_int_equal(tier->ops->remove(tier, "a"), 0);
    }
}

static void directories_are_listed_and_removed_only_when_empty(void **state)
{
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        mr__entry entry;
        mr__file file;
        assert_int_equal(tier->ops->make_directory(tier, "d"), 0);
        assert_int_equal(tier->ops->make_directory(tier, "d"), -EEXIST);
        assert_int_equal(tier->ops->make_directory(tier, "d/e"), 0);
        assert_int_equal(tier->ops->make_directory(tier, "x/y"), -ENOENT);
        put(tier, "d/f", "1");
        put(tier, "d/e/g", "2");
        put(tier, "db", "3");
        assert_int_equal(names_in(tier, ""), 2);
        assert_int_equal(names_in(tier, "d"), 2);
        assert_int_equal(names_in(tier, "d/e"), 1);
        assert_int_equal(tier->ops->list(tier, "gone", count_names, NULL), -ENOENT);
        assert_int_equal(tier->ops->stat(tier, "d", &entry), 0);
        assert_int_equal(entry.kind, MR__DIRECTORY);
        assert_int_equal(tier->ops->stat(tier, "", &entry), 0);
        assert_int_equal(entry.kind, MR__DIRECTORY);
        assert_true(tier->ops->open(tier, "d", &file) == -EISDIR || (tier->ops->close(&file), t == 0));
        assert_int_equal(tier->ops->remove(tier, "d"), -ENOTEMPTY);
        assert_int_equal(mr__tier_remove_tree(tier, "d"), 0);
        assert_int_equal(names_in(tier, ""), 1);
        assert_int_equal(mr__tier_remove_tree(tier, "db"), 0);
        assert_int_equal(mr__tier_remove_tree(tier, "db"), -ENOENT);
    }
}

static void a_rename_never_replaces_and_a_swap_changes_places(void **state)
{
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        assert_int_equal(tier->ops->make_directory(tier, "new"), 0);
        assert_int_equal(tier->ops->make_directory(tier, "old"), 0);
        put(tier, "new/part", "new");
        put(tier, "old/part", "old");
        assert_int_equal(tier->ops->rename(tier, "new", "old", MR__RENAME_NEW), -EEXIST);
        assert_int_equal(tier->ops->rename(tier, "gone", "there", MR__RENAME_NEW), -ENOENT);
        assert_int_equal(tier->ops->rename(tier, "new", "gone", MR__RENAME_SWAP), -ENOENT);
        assert_int_equal(tier->ops->rename(tier, "new", "old", MR__RENAME_SWAP), 0);
        assert_holds(tier, "old/part", "new");
        assert_holds(tier, "new/part", "old");
        assert_int_equal(tier->ops->rename(tier, "old", "kept", MR__RENAME_NEW), 0);
        assert_holds(tier, "kept/part", "new");
        assert_int_equal(mr__tier_remove_tree(tier, "new"), 0);
        assert_int_equal(mr__tier_remove_tree(tier, "kept"), 0);
        assert_int_equal(names_in(tier, ""), 0);
    }
}

static void a_full_tier_says_so_and_gets_its_room_back(void **state)
{
    static char bytes[CAPACITY / 2];
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        mr__file file;
        assert_int_equal(tier->ops->free_bytes(tier, ""), CAPACITY);
        assert_int_equal(tier->ops->create(tier, "big", &file), 0);
        assert_int_equal(tier->ops->write_at(&file, bytes, sizeof bytes, 0), 0);
        assert_int_equal(tier->ops->write_at(&file, bytes, sizeof bytes, sizeof bytes), 0);
        assert_int_equal(tier->ops->write_at(&file, bytes, 1, CAPACITY), -ENOSPC);
        assert_int_equal(tier->ops->free_bytes(tier, ""), 0);
        assert_false(mr__tier_charge(tier, 1));
        tier->ops->close(&file);
        assert_int_equal(tier->ops->remove(tier, "big"), 0);
        assert_int_equal(tier->ops->free_bytes(tier, ""), CAPACITY);
    }
}

static void claims_do_not_meet(void **state)
{
    for (size_t t = 0; t < MR__COUNT(tiers); t++) {
        mr__tier *tier = tiers[t];
        mr__claim first, second;
        assert_int_equal(tier->ops->claim(tier, "", "mine-", &first), 0);
        assert_int_equal(tier->ops->claim(tier, "", "mine-", &second), 0);
        assert_string_not_equal(first.path, second.path);
        assert_memory_equal(first.path, "mine-", 5);
        assert_int_equal(names_in(tier, ""), 2);
        mr__claim_drop(tier, &first);
        mr__claim_drop(tier, &second);
        mr__claim_drop(tier, &second);
        assert_int_equal(names_in(tier, ""), 0);
    }
}

static void a_shared_claim_goes_with_the_last_of_its_owners(void **state)
{
    mr__tier *tier = tiers[0], *memory = tiers[1];
    mr__claim first, second, other;
    for (int opener_leaves_first = 0; opener_leaves_first < 2; opener_leaves_first++) {
        assert_int_equal(tier->ops->claim(tier, "", "mine-", &first), 0);
        assert_int_equal(tier->ops->share(tier, &first), 0);
        assert_int_equal(tier->ops->join(tier, first.path, &second), 0);
        assert_string_equal(first.path, second.path);
        mr__claim_leave(tier, opener_leaves_first ? &first : &second);
        mr__claim_leave(tier, opener_leaves_first ? &first : &second);      /* it has left */
        tier->ops->sweep(tier, "", "mine-");                                /* not what is in use */
        assert_int_equal(tier->ops->claim(tier, "", "mine-", &other), 0);
        assert_int_equal(names_in(tier, ""), 2);
        mr__claim_drop(tier, &other);
        mr__claim_leave(tier, opener_leaves_first ? &second : &first);
        assert_int_equal(names_in(tier, ""), 0);
    }
    assert_int_equal(tier->ops->claim(tier, "", "mine-", &first), 0);
    assert_int_equal(tier->ops->join(tier, first.path, &second), -ENOENT);  /* it is not shared */
    assert_int_equal(tier->ops->share(tier, &first), 0);
    assert_int_equal(tier->ops->join(tier, first.path, &second), 0);
    mr__claim_drop(tier, &first);                                           /* by who has no more use for it */
    assert_int_equal(names_in(tier, ""), 0);
    mr__claim_leave(tier, &second);
    assert_int_equal(tier->ops->join(tier, "mine-1-0123456789abcdef", &second), -ENOENT);

    assert_int_equal(memory->ops->claim(memory, "", "mine-", &first), 0);
    assert_int_equal(memory->ops->share(memory, &first), -ENOTSUP);
    assert_int_equal(memory->ops->join(memory, first.path, &second), -ENOTSUP);
    mr__claim_drop(memory, &first);
}

static void removing_a_tree_follows_no_link(void **state)
{
    mr__tier *tier = tiers[0];
    assert_int_equal(scratch_run("mkdir '%s/kept' && echo x > '%s/kept/f'", scratch_path, scratch_path), 0);
    assert_int_equal(scratch_run("mkdir '%s/tier/t' && ln -s ../../kept '%s/tier/t/link'", scratch_path, scratch_path),
                     0);
    assert_int_equal(scratch_run("ln -s ../kept '%s/tier/top'", scratch_path), 0);
    assert_int_equal(mr__tier_remove_tree(tier, "t"), 0);
    assert_int_equal(mr__tier_remove_tree(tier, "top"), 0);
    assert_int_equal(scratch_run("test -f '%s/kept/f'", scratch_path), 0);
    assert_int_equal(names_in(tier, ""), 0);
}

static void the_longest_mount_that_ends_at_a_component_wins(void **state)
{
    mr__namespace *names = NULL;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__namespace_create(&names, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/data", tiers[0], NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/data/fast", tiers[1], NULL), MR_OK);
    const struct {
        const char *path, *inside;
        mr__tier *tier;
    } cases[] = {
        {"/data/x", "x", tiers[0]},          {"/data", "", tiers[0]},       {"/data/", "", tiers[0]},
        {"/data/fast/a/b", "a/b", tiers[1]}, {"/data/fast", "", tiers[1]},  {"/data/faster", "faster", tiers[0]},
        {"/database", "/database", NULL},    {"data/x", "data/x", NULL},    {"/", "/", NULL},
        {"/data//x", "x", tiers[0]},         {"./data/x", "./data/x", NULL},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        const char *inside;
        mr__tier *tier = mr__namespace_resolve(names, cases[i].path, &inside);
        assert_ptr_equal(tier, cases[i].tier != NULL ? cases[i].tier : mr__tier_global());
        assert_string_equal(inside, cases[i].inside);
        assert_ptr_equal(mr__namespace_resolve(mr__namespace_plain(), cases[i].path, &inside), mr__tier_global());
        assert_string_equal(inside, cases[i].path);
    }
    static const char *const wrong[] = {"data", "/", "/data/", "", "/data"};
    for (size_t i = 0; i < MR__COUNT(wrong); i++) {
        mr__error_clear(&error);
        assert_int_equal(mr__namespace_mount(names, wrong[i], tiers[0], &error), MR_BAD_USAGE);
        assert_non_null(strstr(error.text, wrong[i]));
    }
    mr__namespace_destroy(names);
}

static void a_side_input_is_loaded_as_a_whole(void **state)
{
    mr_slice content;
    mr__error error = {.code = MR_OK};
    scratch_write("side", "some patterns", 13);
    assert_int_equal(mr__namespace_load(mr__namespace_plain(), scratch_file("side"), &content, NULL), MR_OK);
    assert_int_equal(content.size, 13);
    assert_memory_equal(content.data, "some patterns", 13);
    mr__free((void *)content.data);
    assert_int_equal(mr__namespace_load(mr__namespace_plain(), "/proc/self/status", &content, NULL), MR_OK);
    assert_true(content.size > 100);                /* a file whose size says 0 */
    mr__free((void *)content.data);
    assert_int_equal(mr__namespace_load(mr__namespace_plain(), scratch_path, &content, &error), MR_BAD_INPUT);
    assert_non_null(strstr(error.text, "not a file"));
    mr__error_clear(&error);
    assert_int_equal(mr__namespace_load(mr__namespace_plain(), scratch_file("none"), &content, &error), MR_BAD_INPUT);
    assert_non_null(strstr(error.text, "hint:"));
    assert_int_equal(scratch_run("rm '%s/side'", scratch_path), 0);
}

static mr_status attempt(mr__error *error)
{
    mr_status status = MR_OK;
    mr__namespace *names = NULL;
    mr__tier *memory = NULL;
    mr_slice content = {0};
    mr__file file;
    MR_TRY(mr__tier_memory_create(0, &memory, error));
    MR_TRY(mr__namespace_create(&names, error));
    MR_TRY(mr__namespace_mount(names, "/memory", memory, error));
    int result = memory->ops->create(memory, "x", &file);
    if (result == 0) {
        result = memory->ops->write_at(&file, "text", 4, 0);
        memory->ops->close(&file);
    }
    MR_CHECK(result == 0, MR_IO_FAILED, "%s", strerror(-result));
    result = memory->ops->rename(memory, "x", "y", MR__RENAME_NEW);
    MR_CHECK(result == 0, MR_IO_FAILED, "%s", strerror(-result));
    MR_TRY(mr__namespace_load(names, "/memory/y", &content, error));
    assert_int_equal(content.size, 4);
done:
    mr__free((void *)content.data);
    mr__namespace_destroy(names);
    mr__tier_destroy(memory);
    return status;
}

static void every_call_that_fails_gives_a_reason(void **state)
{
    scratch_sweep(attempt, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_made_written_read_and_removed),
        cmocka_unit_test(what_close_says_is_passed_on),
        cmocka_unit_test(directories_are_listed_and_removed_only_when_empty),
        cmocka_unit_test(a_rename_never_replaces_and_a_swap_changes_places),
        cmocka_unit_test(a_full_tier_says_so_and_gets_its_room_back),
        cmocka_unit_test(claims_do_not_meet),
        cmocka_unit_test(a_shared_claim_goes_with_the_last_of_its_owners),
        cmocka_unit_test(removing_a_tree_follows_no_link),
        cmocka_unit_test(the_longest_mount_that_ends_at_a_component_wins),
        cmocka_unit_test(a_side_input_is_loaded_as_a_whole),
        cmocka_unit_test(every_call_that_fails_gives_a_reason),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_tiers, remove_tiers);
}
