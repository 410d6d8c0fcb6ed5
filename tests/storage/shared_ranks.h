/* shared_ranks.h: ranks that write one output together, for the tests of output_shared.c. Oracle: what opendir and
 * fopen find under the target's name and beside it; the text of a part says which rank wrote it, and each rank that
 * commits names other winners.
 *
 * The ranks write through a tier of the test's own: step() is called before each call of a commit, so that a test can
 * do something just there, and is_dead() ends a rank. The same tier can be a file system that is not able to exchange
 * names, or one whose rename replaces what appeared since it looked (NFS). */
#ifndef MR__SHARED_RANKS_H
#define MR__SHARED_RANKS_H

#include "scratch.h"

#include <dirent.h>

#include "memory.h"
#include "output.h"
#include "tier.h"

enum { PARTS = 2, RANKS = 3 };

/* ---- the tier ---------------------------------------------------------------------------------------------------- */

enum ability { EXCHANGES, CANNOT_EXCHANGE, LOOKS_AND_RENAMES, ABILITIES };

static const mr__tier_ops *real;
static mr__tier *tier;
static mr__namespace *names;
static enum ability ability;
static void (*step)(void);              /* before each call */
static bool (*is_dead)(void);           /* from then on no call of this rank has an effect */

static bool dies(void)
{
    if (step != NULL)
        step();
    return is_dead != NULL && is_dead();
}

static int hooked_open(mr__tier *self, const char *path, mr__file *file)
{
    return dies() ? -EIO : real->open(self, path, file);
}

static int hooked_create(mr__tier *self, const char *path, mr__file *file)
{
    return dies() ? -EIO : real->create(self, path, file);
}

static int hooked_write_at(const mr__file *file, const void *bytes, size_t size, uint64_t offset)
{
    return dies() ? -EIO : real->write_at(file, bytes, size, offset);
}

static int hooked_stat(mr__tier *self, const char *path, mr__entry *entry)
{
    return dies() ? -EIO : real->stat(self, path, entry);
}

static int hooked_list(mr__tier *self, const char *path, mr__visit visit, void *context)
{
    return dies() ? -EIO : real->list(self, path, visit, context);
}

static int hooked_make_directory(mr__tier *self, const char *path)
{
    return dies() ? -EIO : real->make_directory(self, path);
}

static int look_and_rename(const char *from, const char *to)
{
    char old[PATH_MAX + 256], new[PATH_MAX + 256];
    snprintf(old, sizeof old, "%s/%s", scratch_path, from);
    snprintf(new, sizeof new, "%s/%s", scratch_path, to);
    if (faccessat(AT_FDCWD, new, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (dies())
        return -EIO;
    if (rename(old, new) == 0)
        return 0;
    return errno == ENOTEMPTY ? -EEXIST : -errno;
}

static int hooked_rename(mr__tier *self, const char *from, const char *to, mr__rename how)
{
    if (dies())
        return -EIO;
    if (how == MR__RENAME_SWAP && ability != EXCHANGES)
        return -ENOTSUP;
    return how == MR__RENAME_NEW && ability == LOOKS_AND_RENAMES ? look_and_rename(from, to)
                                                                 : real->rename(self, from, to, how);
}

static int hooked_remove(mr__tier *self, const char *path)
{
    return dies() ? -EIO : real->remove(self, path);
}

static int make_all(void **state)
{
    static mr__tier_ops hooked;
    if (scratch_make(state) != 0 || mr__tier_directory_create("shared", scratch_path, 0, &tier, NULL) != MR_OK ||
        mr__namespace_create(&names, NULL) != MR_OK || mr__namespace_mount(names, "/shared", tier, NULL) != MR_OK)
        return -1;
    real = tier->ops;
    hooked = *real;
    hooked.open = hooked_open;
    hooked.create = hooked_create;
    hooked.write_at = hooked_write_at;
    hooked.stat = hooked_stat;
    hooked.list = hooked_list;
    hooked.make_directory = hooked_make_directory;
    hooked.rename = hooked_rename;
    hooked.remove = hooked_remove;
    tier->ops = &hooked;
    return setenv("MILLRACE_IO_URING", "0", 1);
}

static int remove_all(void **state)
{
    mr__namespace_destroy(names);
    mr__tier_destroy(tier);
    return scratch_remove(state);
}

/* ---- what the ranks write, and what is found --------------------------------------------------------------------- */

/* Whatever a test that failed left. */
static int start_afresh(void **state)
{
    step = NULL;
    is_dead = NULL;
    ability = EXCHANGES;
    return scratch_run("rm -rf '%s'/out '%s'/.out*", scratch_path, scratch_path);
}

static const char TARGET[] = "/shared/out";

static void write_part(mr__output *output, uint32_t part, uint32_t rank)
{
    char text[64];
    uint64_t bytes = 0;
    mr__part *writing = NULL;
    const int size = snprintf(text, sizeof text, "part %u by rank %u\n", part, rank);
    assert_int_equal(mr__output_part(output, part, &writing, NULL), MR_OK);
    assert_int_equal(mr__part_write(writing, text, (size_t)size, NULL), MR_OK);
    assert_int_equal(mr__part_close(writing, &bytes, NULL), MR_OK);
    assert_int_equal(bytes, size);
}

/* The winners that rank r names when it commits. */
static const mr__attempt *winners_of(uint32_t rank, uint32_t ranks, mr__attempt *list)
{
    for (uint32_t p = 0; p < PARTS; p++)
        list[p] = (mr__attempt){p, (rank + p) % ranks};
    return list;
}

static mr_status commit(mr__output *output, uint32_t rank, uint32_t ranks, bool *before, mr__error *error)
{
    mr__attempt list[PARTS];
    return mr__output_commit_shared(output, winners_of(rank, ranks, list), PARTS, before, error);
}

static void make_old(void)
{
    assert_int_equal(mkdir(scratch_file("out"), 0755), 0);
    scratch_write("out/part-00000", "old\n", 4);
    scratch_write("out/part-00007", "old\n", 4);
    scratch_write("out/_SUCCESS", "", 0);
}

static bool read_line(const char *name, char *line, size_t size)
{
    FILE *file = fopen(scratch_file(name), "rb");
    const bool found = file != NULL && fgets(line, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

enum found { NOTHING, OLD, NEW };

static enum found find(void)
{
    char line[64];
    struct stat there;
    if (read_line("out/part-00000", line, sizeof line))
        return strcmp(line, "old\n") == 0 ? OLD : NEW;
    assert_int_equal(stat(scratch_file("out"), &there), -1);
    return NOTHING;
}

/* The target holds the winners that one of the ranks named, _SUCCESS, and nothing else. Returns that rank. */
static uint32_t assert_whole(uint32_t ranks)
{
    uint32_t entries = 0, committer = UINT32_MAX;
    struct stat found;
    DIR *directory = opendir(scratch_file("out"));
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        entries += item->d_name[0] != '.';
    closedir(directory);
    assert_int_equal(entries, PARTS + 1);
    assert_int_equal(stat(scratch_file("out/_SUCCESS"), &found), 0);
    assert_int_equal(found.st_size, 0);
    for (uint32_t p = 0; p < PARTS; p++) {
        char name[64], line[64];
        uint32_t part, rank;
        snprintf(name, sizeof name, "out/part-%05u", p);
        assert_true(read_line(name, line, sizeof line));
        assert_int_equal(sscanf(line, "part %u by rank %u", &part, &rank), 2);
        assert_int_equal(part, p);
        assert_true(committer == UINT32_MAX || committer == (rank + ranks - p) % ranks);
        committer = (rank + ranks - p) % ranks;
    }
    return committer;
}

static void remove_target(void)
{
    static const char *const inside[] = {"part-00000", "part-00001", "part-00007", "_SUCCESS"};
    for (size_t i = 0; i < MR__COUNT(inside); i++) {
        char name[64];
        snprintf(name, sizeof name, "out/%s", inside[i]);
        unlink(scratch_file(name));
    }
    rmdir(scratch_file("out"));
}

static uint32_t names_beside(void)
{
    uint32_t count = 0;
    DIR *directory = opendir(scratch_path);
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0 && strcmp(item->d_name, "out") != 0;
    closedir(directory);
    return count;
}

static void open_ranks(mr__output **ranks, uint32_t count, bool force)
{
    assert_int_equal(mr__output_open_shared(names, TARGET, force, 0, &ranks[0], NULL), MR_OK);
    for (uint32_t r = 1; r < count; r++)
        assert_int_equal(mr__output_join(names, TARGET, force, mr__output_place(ranks[0]), r, &ranks[r], NULL), MR_OK);
    for (uint32_t r = 0; r < count; r++)
        for (uint32_t p = 0; p < PARTS; p++)
            write_part(ranks[r], p, r);
}

static void close_ranks(mr__output **ranks, uint32_t count)
{
    for (uint32_t r = 0; r < count; r++)
        mr__output_close(ranks[r]);
    assert_int_equal(names_beside(), 0);
}

#endif
