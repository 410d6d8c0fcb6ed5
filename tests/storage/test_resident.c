/* test_resident.c: what lies in memory is told from what does not.
 * Oracle: pages that mlock() keeps are in memory; a hole that nobody read is not. */
#include "scratch.h"

#include <sys/mman.h>

#include "resident.h"

enum { PAGE = 4096, PAGES = 64, LOCKED = 16 };

static mr__sources *sources_of(const char *name)
{
    char path[PATH_MAX + 16];
    const char *list[] = {path};
    mr__sources *sources = NULL;
    mr__error error = {.text = ""};
    snprintf(path, sizeof path, "%s/%s", scratch_path, name);
    if (mr__sources_open(mr__namespace_plain(), list, 1, NULL, &sources, &error) != MR_OK)
        fail_msg("%s", error.text);
    return sources;
}

/* Two holes; the first LOCKED pages of the first file are in memory. */
static void *lock_pages(void)
{
    char path[PATH_MAX + 32];
    void *memory = MAP_FAILED;
    assert_int_equal(scratch_run("mkdir -p %s/files", scratch_path), 0);
    for (int i = 1; i >= 0; i--) {
        snprintf(path, sizeof path, "%s/files/%d", scratch_path, i);
        const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
        if (i == 0)
            memory = mmap(NULL, LOCKED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    assert_ptr_not_equal(memory, MAP_FAILED);
    memset(memory, 1, LOCKED * PAGE);
    if (mlock(memory, LOCKED * PAGE) != 0) {
        munmap(memory, LOCKED * PAGE);
        return NULL;
    }
    return memory;
}

static void pages_in_memory_are_told_from_others(void **state)
{
    void *memory = lock_pages();
    if (memory == NULL) {
        print_message("no memory may be locked here (ulimit -l)\n");
        skip();
    }
    mr__sources *sources = sources_of("files");
    mr__resident pages;
    assert_int_equal(sources->bytes, 2 * PAGES * PAGE);
    mr__resident_begin(&pages, sources);
    for (int again = 0; again < 2; again++) {
        for (uint64_t page = 0; page < LOCKED; page++)
            assert_true(mr__resident_at(&pages, page * PAGE + page));
        for (uint64_t page = PAGES; page < 2 * PAGES; page++)
            assert_false(mr__resident_at(&pages, page * PAGE + PAGE - 1));
    }
    mr__resident_end(&pages);
    mr__sources_close(sources);
    munmap(memory, LOCKED * PAGE);
}

/* A file that cannot be mapped may be in memory; one that is gone is not. */
static void what_cannot_be_looked_at(void **state)
{
    void *memory = lock_pages();
    mr__sources *sources = sources_of("files");
    mr__resident pages;
    mr__resident_begin(&pages, sources);
    mr__fault_arm(MR__FAULT_MAP, 1);
    assert_true(mr__resident_at(&pages, PAGES * PAGE));
    assert_true(mr__fault_fired());
    mr__fault_disarm();
    assert_true(mr__resident_at(&pages, PAGES * PAGE + PAGE));
    mr__resident_end(&pages);
    assert_int_equal(scratch_run("rm -r %s/files", scratch_path), 0);
    assert_false(mr__resident_at(&pages, 0));
    mr__resident_end(&pages);
    mr__sources_close(sources);
    if (memory != NULL)
        munmap(memory, LOCKED * PAGE);
}

/* A file of root's, for another user: not told, unless that user may write it. */
static void what_the_system_hides_is_not_told(void **state)
{
    if (geteuid() != 0)
        skip();
    unsigned char hole = 0;
    void *memory = lock_pages();
    mr__sources *sources = sources_of("files/1");
    mr__resident pages;
    assert_int_equal(scratch_run("chmod 755 '%s' '%s/files'; chmod 644 '%s/files/1'", scratch_path, scratch_path,
                                 scratch_path),
                     0);
    const int fd = open(scratch_file("files/1"), O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    assert_ptr_not_equal(map, MAP_FAILED);
    mr__resident_begin(&pages, sources);
    assert_false(mr__resident_at(&pages, 0));
    assert_false(pages.hidden);
    mr__resident_end(&pages);

    assert_int_equal(seteuid(65534), 0);
    assert_int_equal(mincore(map, PAGE, &hole), 0);
    const bool there = mr__resident_at(&pages, 0), hidden = pages.hidden;
    mr__resident_end(&pages);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(scratch_file("files/1"), 0666), 0);
    assert_int_equal(seteuid(65534), 0);
    const bool there_if_writable = mr__resident_at(&pages, 0), hidden_if_writable = pages.hidden;
    mr__resident_end(&pages);
    assert_int_equal(seteuid(0), 0);

    assert_int_equal(hidden, hole & 1);         /* Linux before 5.2 hides nothing */
    assert_int_equal(there, hole & 1);
    assert_false(there_if_writable);
    assert_false(hidden_if_writable);
    munmap(map, PAGE);
    mr__sources_close(sources);
    if (memory != NULL)
        munmap(memory, LOCKED * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_in_memory_are_told_from_others),
        cmocka_unit_test(what_cannot_be_looked_at),
        cmocka_unit_test(what_the_system_hides_is_not_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
