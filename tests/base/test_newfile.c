/* A file appears whole or not at all, and only a file is replaced. Oracle: what stat, readlink and fread find under the
 * names. */
#include "cmocka_all.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "newfile.h"

static char folder[] = "/tmp/millrace-newfile-XXXXXX";

static int enter_folder(void **state)
{
    return mkdtemp(folder) != NULL && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static mr_status write_file(const char *path, const char *text, mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    MR_TRY(mr__newfile_create(path, 0644, &file, error));
    mr__newfile_write(file, text, strlen(text));
    status = mr__newfile_commit(file, error);
done:
    return status;
}

static void assert_holds(const char *path, const char *text)
{
    char found[16] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof found - 1, file), strlen(text));
    fclose(file);
    assert_string_equal(found, text);
}

static unsigned names(const char *path)
{
    unsigned count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
    closedir(directory);
    return count;
}

static void a_file_stays_as_it_was_until_commit(void **state)
{
    mr__newfile *file;
    assert_int_equal(mr__newfile_create("file", 0644, &file, NULL), MR_OK);
    assert_int_equal(mr__newfile_write(file, "first", 5), MR_OK);
    assert_int_equal(access("file", F_OK), -1);
    assert_int_equal(mr__newfile_commit(file, NULL), MR_OK);
    assert_holds("file", "first");
    assert_int_equal(mr__newfile_create("file", 0644, &file, NULL), MR_OK);
    assert_int_equal(mr__newfile_write(file, "second", 6), MR_OK);
    mr__newfile_drop(file);
    assert_holds("file", "first");
    assert_int_equal(write_file("file", "third", NULL), MR_OK);
    assert_holds("file", "third");
    assert_int_equal(unlink("file"), 0);
    assert_int_equal(names("."), 0);
}

static void of_a_link_the_file_that_it_leads_to_is_replaced(void **state)
{
    mr__newfile *file;
    struct stat found;
    assert_int_equal(mkdir("far", 0755), 0);
    assert_int_equal(write_file("far/file", "old", NULL), MR_OK);
    assert_int_equal(symlink("file", "far/inner"), 0);
    assert_int_equal(symlink("far/inner", "outer"), 0);
    assert_int_equal(mr__newfile_create("outer", 0644, &file, NULL), MR_OK);
    assert_int_equal(names("far"), 3);                  /* the new file lies beside the old one: it will be renamed */
    assert_int_equal(mr__newfile_write(file, "new", 3), MR_OK);
    assert_holds("outer", "old");
    assert_int_equal(mr__newfile_commit(file, NULL), MR_OK);
    assert_holds("far/file", "new");
    assert_int_equal(lstat("outer", &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    assert_int_equal(lstat("far/inner", &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    assert_int_equal(names("far"), 2);
    assert_int_equal(unlink("outer") | unlink("far/inner") | unlink("far/file") | rmdir("far"), 0);
    assert_int_equal(names("."), 0);
}

static void what_is_no_file_is_refused_and_stays(void **state)
{
    static const struct { const char *path, *says; mode_t kind; } cases[] = {
        {"directory", "is a directory", S_IFDIR},       {"pipe", "is no regular file", S_IFIFO},
        {"to_directory", "is a directory", S_IFLNK},    {"to_device", "is no regular file", S_IFLNK},
        {"to_nothing", "cannot be followed: No such file", S_IFLNK}, {"to_itself", "cannot be followed: ", S_IFLNK}};
    assert_int_equal(mkdir("directory", 0755) | mkfifo("pipe", 0600) | symlink("directory", "to_directory") |
                         symlink("/dev/null", "to_device") | symlink("none", "to_nothing") |
                         symlink("to_itself", "to_itself"),
                     0);
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        mr__error error = {.code = MR_OK};
        struct stat found;
        assert_int_equal(write_file(cases[i].path, "text", &error), MR_BAD_USAGE);
        assert_non_null(strstr(error.text, cases[i].path));
        assert_non_null(strstr(error.text, cases[i].says));
        assert_non_null(strstr(error.text, "hint: "));
        assert_int_equal(lstat(cases[i].path, &found), 0);
        assert_int_equal(found.st_mode & S_IFMT, cases[i].kind);
        assert_int_equal(names("."), MR__COUNT(cases));
    }
    for (size_t i = 0; i < MR__COUNT(cases); i++)
        assert_int_equal(remove(cases[i].path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_stays_as_it_was_until_commit),
        cmocka_unit_test(of_a_link_the_file_that_it_leads_to_is_replaced),
        cmocka_unit_test(what_is_no_file_is_refused_and_stays),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
