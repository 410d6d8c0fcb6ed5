/* Windows over ranges of files, through every reading path. Oracle: the bytes that the test wrote. */
#include "scratch.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "memory.h"
#include "reader.h"

enum { BIG = 3 * 1024 * 1024 + 777 };

static uint8_t *content;
static mr__budget budget;

static const mr__read_path paths[] = {MR__READ_PREAD, MR__READ_MMAP, MR__READ_URING};

static int make_files(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    content = malloc(BIG);
    uint64_t x = 88172645463325252u;                /* xorshift64, seed of G. Marsaglia's paper */
    for (size_t i = 0; i < BIG; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        content[i] = (uint8_t)x;
    }
    scratch_write("big", content, BIG);
    scratch_write("exact", content, 8192);
    scratch_write("one", content, 1);
    scratch_write("empty", content, 0);
    mr__budget_init(&budget, 1u << 30);
    return 0;
}

static int remove_files(void **state)
{
    free(content);
    return scratch_remove(state);
}

static mr__sources *open_sources(const char *name)
{
    mr__sources *sources = NULL;
    const char *path = scratch_file(name);
    assert_int_equal(mr__sources_open(mr__namespace_plain(), &path, 1, NULL, &sources, NULL), MR_OK);
    return sources;
}

/* Reads from `offset`, keeping what keep_of() says, until `until` fresh bytes were seen; each window must be what the
 * file holds, and the padding must be readable. */
static mr_status walk(mr__reader *reader, uint64_t offset, uint64_t soft_end, uint64_t until,
                      size_t (*keep_of)(size_t have, uint32_t step), mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t position = offset, at;
    size_t keep = 0, largest = 0;
    MR_TRY(mr__reader_start(reader, 0, offset, soft_end, error));
    for (uint32_t step = 0; position < until; step++) {
        mr_slice window = {0};
        bool at_end = false;
        MR_TRY(mr__reader_next(reader, keep, &window, &at, &at_end, error));
        assert_int_equal(at, position - keep);
        assert_true(window.size > keep);
        assert_true(at + window.size <= BIG);
        assert_memory_equal(window.data, content + at, window.size);
        for (size_t i = 0; i < MR_BLOCK_PADDING; i++)
            (void)((const volatile uint8_t *)window.data)[window.size + i];
        position = at + window.size;
        assert_true(position <= soft_end || at + keep >= soft_end);    /* no window crosses the soft end */
        assert_true(at_end == (position == BIG));
        keep = keep_of(window.size, step);
        largest = window.size > largest ? window.size : largest;
        if (at_end) {
            MR_TRY(mr__reader_next(reader, keep, &window, &at, &at_end, error));
            assert_int_equal(window.size, keep);
            assert_true(at_end);
            break;
        }
    }
    MR_TRY(mr__reader_end(reader, error));
done:
    return status;
}

static size_t keep_nothing(size_t have, uint32_t step)
{
    return 0;
}

static size_t keep_some(size_t have, uint32_t step)
{
    const size_t some = step * 37 % 5000;
    return some < have ? some : have;
}

static size_t keep_much(size_t have, uint32_t step)
{
    return have - have / 7;
}

static size_t keep_all_at_times(size_t have, uint32_t step)
{
    return step % 4 != 3 ? have : 13 % have;
}

static void every_window_holds_what_the_file_holds(void **state)
{
    static const size_t windows[] = {64, 4096, 100000, 1 << 20};
    static const struct {
        uint64_t offset, soft_end, until;
    } ranges[] = {{0, BIG, BIG}, {4095, 4097, 20000}, {777, 1 << 20, (1 << 20) + 70000}, {BIG - 1, BIG, BIG},
                  {1 << 20, 1 << 20, (1 << 20) + 5}, {65536, 131072, 131073}, {1000001, BIG - 5, BIG}};
    size_t (*const keeps[])(size_t, uint32_t) = {keep_nothing, keep_some, keep_much, keep_all_at_times};
    mr__sources *sources = open_sources("big");
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        for (size_t w = 0; w < MR__COUNT(windows); w++) {
            mr__reader *reader = NULL;
            assert_int_equal(mr__reader_create(sources, paths[p], windows[w], &budget, &reader, NULL), MR_OK);
            for (size_t r = 0; r < MR__COUNT(ranges); r++) {
                for (size_t k = 0; k < MR__COUNT(keeps); k++) {
                    mr__error error = {.code = MR_OK};
                    if (ranges[r].until - ranges[r].offset > 100000 && windows[w] == 64)
                        continue;                   /* keeping much of 64 bytes: as many steps as bytes */
                    assert_int_equal(
                        walk(reader, ranges[r].offset, ranges[r].soft_end, ranges[r].until, keeps[k], &error), MR_OK);
                }
            }
            mr__reader_destroy(reader);
        }
    }
    mr__sources_close(sources);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* Of a file of several stretches the second one cannot be mapped, while bytes of the first are kept. */
static void what_is_kept_survives_a_stretch_that_cannot_be_mapped(void **state)
{
    enum { TIMES = 8, KEEP = 5000 };
    mr__reader *reader = NULL;
    uint64_t at, position = 0;
    bool at_end = false;
    int fd = open(scratch_file("long"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; i < TIMES; i++)
        assert_int_equal(write(fd, content, BIG), BIG);
    close(fd);
    mr__sources *sources = open_sources("long");
    assert_int_equal(mr__reader_create(sources, MR__READ_MMAP, 1 << 20, &budget, &reader, NULL), MR_OK);
    assert_int_equal(mr__reader_start(reader, 0, 0, (uint64_t)TIMES * BIG, NULL), MR_OK);
    mr__fault_arm(MR__FAULT_MAP, 2);
    for (size_t keep = 0; !at_end; keep = KEEP) {
        mr_slice window = {0};
        assert_int_equal(mr__reader_next(reader, keep, &window, &at, &at_end, NULL), MR_OK);
        for (size_t done = 0, here; done < window.size; done += here) {
            const size_t from = (size_t)((at + done) % BIG);
            here = window.size - done < BIG - from ? window.size - done : BIG - from;
            assert_memory_equal(window.data + done, content + from, here);
        }
        position = at + window.size;
    }
    assert_true(mr__fault_fired());
    mr__fault_disarm();
    assert_int_equal(position, (uint64_t)TIMES * BIG);
    assert_int_equal(mr__reader_end(reader, NULL), MR_OK);
    mr__reader_destroy(reader);
    mr__sources_close(sources);
    assert_int_equal(unlink(scratch_file("long")), 0);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static size_t keep_all(size_t have, uint32_t step)
{
    return have;
}

static void a_record_longer_than_everything_grows_the_window_until_the_budget_ends(void **state)
{
    mr__sources *sources = open_sources("big");
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__reader_create(sources, paths[p], 8192, &budget, &reader, NULL), MR_OK);
        assert_int_equal(walk(reader, 5, BIG, BIG, keep_all, NULL), MR_OK);
        mr__reader_destroy(reader);

        mr__budget small;
        mr__budget_init(&small, 1 << 20);           /* less than the mapped stretch, or the chunks: pread takes over */
        assert_int_equal(mr__reader_create(sources, paths[p], 8192, &small, &reader, NULL), MR_OK);
        assert_int_equal(walk(reader, 5, BIG, BIG, keep_all, &error), MR_NO_MEMORY);
        assert_non_null(strstr(error.text, "offset 5"));
        assert_non_null(strstr(error.text, "--memory"));
        mr__error_clear(&error);
        assert_int_equal(walk(reader, 0, BIG, BIG, keep_some, &error), MR_OK);      /* the reader is as good as new */
        mr__reader_destroy(reader);
        assert_int_equal(atomic_load(&small.used), 0);
    }
    mr__sources_close(sources);
}

static void without_memory_for_one_buffer_there_is_no_reader(void **state)
{
    mr__sources *sources = open_sources("big");
    mr__reader *reader = (mr__reader *)state;
    mr__error error = {.code = MR_OK};
    mr__budget none;
    mr__budget_init(&none, 1000);
    assert_int_equal(mr__reader_create(sources, MR__READ_PREAD, 4096, &none, &reader, &error), MR_NO_MEMORY);
    assert_ptr_equal(reader, state);
    assert_non_null(strstr(error.text, "--memory"));
    assert_int_equal(atomic_load(&none.used), 0);
    mr__sources_close(sources);
}

/* Two workers, at every limit that has room for both of their buffers: what the first one maps or reads ahead is never
 * what the second one cannot do without. */
static void where_every_buffer_fits_there_is_every_reader(void **state)
{
    enum { WINDOW = 4096, BUFFER = 72 << 10 /* head, window, padding */, STEP = 60 << 10, MOST = 40 << 20 };
    mr__sources *sources = open_sources("big");
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        for (uint64_t limit = 2 * BUFFER; limit < MOST; limit += STEP) {
            mr__reader *readers[2] = {NULL, NULL};
            mr__budget tight;
            mr__budget_init(&tight, limit);
            for (int i = 0; i < 2; i++)
                assert_int_equal(mr__reader_create(sources, paths[p], WINDOW, &tight, &readers[i], NULL), MR_OK);
            assert_true(atomic_load(&tight.peak) <= limit + BUFFER);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(walk(readers[i], 4095, 4097, 20000, keep_some, NULL), MR_OK);
                mr__reader_destroy(readers[i]);
            }
            assert_int_equal(atomic_load(&tight.used), 0);
        }
    }
    mr__sources_close(sources);
}

static void small_files_are_read_as_a_whole(void **state)
{
    const char *const names[] = {scratch_file("empty"), scratch_file("one"), scratch_file("big"),
                                 scratch_file("exact")};
    static const size_t sizes[] = {0, 1, BIG, 8192};
    mr__sources *sources = NULL;
    assert_int_equal(mr__sources_open(mr__namespace_plain(), names, 4, NULL, &sources, NULL), MR_OK);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        assert_int_equal(mr__reader_create(sources, paths[p], 4096, &budget, &reader, NULL), MR_OK);
        for (uint32_t i = 0; i < 8; i++) {
            mr_slice whole;
            assert_int_equal(mr__reader_whole(reader, i % 4, &whole, NULL), MR_OK);
            assert_int_equal(whole.size, sizes[i % 4]);
            assert_memory_equal(whole.data, content, whole.size);
        }
        mr__reader_destroy(reader);
    }
    mr__sources_close(sources);
}

static void bytes_at_a_place_do_not_disturb_a_range(void **state)
{
    mr__sources *sources = open_sources("big");
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        mr_slice window;
        uint64_t offset;
        bool at_end;
        uint8_t bytes[100];
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__reader_create(sources, paths[p], 4096, &budget, &reader, NULL), MR_OK);
        assert_int_equal(mr__reader_start(reader, 0, 0, BIG, NULL), MR_OK);
        assert_int_equal(mr__reader_next(reader, 0, &window, &offset, &at_end, NULL), MR_OK);
        assert_int_equal(mr__reader_at(reader, 0, 1000000, bytes, 100, NULL), MR_OK);
        assert_memory_equal(bytes, content + 1000000, 100);
        assert_memory_equal(window.data, content, window.size);
        const size_t first = window.size;
        assert_int_equal(mr__reader_next(reader, 10, &window, &offset, &at_end, NULL), MR_OK);
        assert_int_equal(offset, first - 10);
        assert_memory_equal(window.data, content + offset, window.size);
        assert_int_equal(mr__reader_at(reader, 0, BIG - 50, bytes, 100, &error), MR_BAD_INPUT);
        mr__reader_destroy(reader);
    }
    mr__sources_close(sources);
}

static void a_file_that_grew_is_read_as_long_as_it_was(void **state)
{
    const char *path = scratch_write("growing", content, 10000);
    mr__sources *sources = open_sources("growing");
    assert_int_equal(scratch_run("cat '%s' >> '%s'", scratch_file("big"), path), 0);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        mr_slice window;
        uint64_t offset;
        bool at_end = false;
        size_t seen = 0;
        assert_int_equal(mr__reader_create(sources, paths[p], 4096, &budget, &reader, NULL), MR_OK);
        assert_int_equal(mr__reader_start(reader, 0, 0, 10000, NULL), MR_OK);
        for (; !at_end; seen += window.size)
            assert_int_equal(mr__reader_next(reader, 0, &window, &offset, &at_end, NULL), MR_OK);
        assert_int_equal(seen, 10000);
        mr__reader_destroy(reader);
    }
    mr__sources_close(sources);
}

/* Where the file is cut: before the range begins, under a window that is in use, after the last window. */
static void a_file_that_is_truncated_gets_a_sentence_and_no_signal(void **state)
{
    enum { SIZE = 1 << 20 };
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        for (int cut_after = 0; cut_after < 3; cut_after++) {
            static const off_t ends[] = {0, 5000, SIZE - 1};
            for (size_t e = 0; e < MR__COUNT(ends); e++) {
                const char *path = scratch_write("cut", content, SIZE);
                mr__sources *sources = open_sources("cut");
                mr__reader *reader = NULL;
                mr__error error = {.code = MR_OK};
                mr_slice window;
                uint64_t offset;
                bool at_end = false;
                mr_status status = mr__reader_create(sources, paths[p], 64 << 10, &budget, &reader, &error);
                assert_int_equal(status, MR_OK);
                assert_int_equal(mr__reader_start(reader, 0, 0, SIZE, &error), MR_OK);
                for (int step = 0; status == MR_OK && !at_end; step++) {
                    if (step == cut_after && cut_after < 2)
                        assert_int_equal(truncate(path, ends[e]), 0);
                    status = mr__reader_next(reader, 0, &window, &offset, &at_end, &error);
                    if (status == MR_OK && step == cut_after && cut_after > 0)
                        assert_int_equal(truncate(path, ends[e]), 0);
                    for (size_t i = 0; status == MR_OK && i < window.size; i++)
                        (void)((const volatile uint8_t *)window.data)[i];
                }
                if (status == MR_OK)
                    status = mr__reader_end(reader, &error);
                assert_int_equal(status, MR_BAD_INPUT);
                assert_non_null(strstr(error.text, "was truncated while it was read"));
                assert_non_null(strstr(error.text, path));
                mr__reader_destroy(reader);
                mr__sources_close(sources);
            }
        }
    }
}

static void a_file_that_is_gone_or_forbidden_gets_a_sentence(void **state)
{
    scratch_write("gone", content, 100);
    mr__sources *sources = open_sources("gone");
    assert_int_equal(unlink(scratch_file("gone")), 0);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        mr__error error = {.code = MR_OK};
        mr_slice whole;
        assert_int_equal(mr__reader_create(sources, paths[p], 4096, &budget, &reader, NULL), MR_OK);
        assert_int_equal(mr__reader_start(reader, 0, 0, 100, &error), MR_BAD_INPUT);
        assert_non_null(strstr(error.text, "could not open"));
        assert_non_null(strstr(error.text, scratch_file("gone")));
        assert_int_equal(mr__reader_whole(reader, 0, &whole, NULL), MR_BAD_INPUT);
        mr__reader_destroy(reader);
    }
    mr__sources_close(sources);
}

static void a_memory_tier_is_read_through_every_path(void **state)
{
    mr__namespace *names = NULL;
    mr__tier *memory = NULL;
    mr__sources *sources = NULL;
    mr__file file;
    const char *path = "/memory/big";
    assert_int_equal(mr__tier_memory_create(0, &memory, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&names, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(names, "/memory", memory, NULL), MR_OK);
    assert_int_equal(memory->ops->create(memory, "big", &file), 0);
    assert_int_equal(memory->ops->write_at(&file, content, BIG, 0), 0);
    memory->ops->close(&file);
    assert_int_equal(mr__sources_open(names, &path, 1, NULL, &sources, NULL), MR_OK);
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        mr__reader *reader = NULL;
        assert_int_equal(mr__reader_create(sources, paths[p], 4096, &budget, &reader, NULL), MR_OK);
        assert_int_equal(walk(reader, 5, BIG, BIG, keep_some, NULL), MR_OK);
        mr__reader_destroy(reader);
    }
    mr__sources_close(sources);
    mr__namespace_destroy(names);
    mr__tier_destroy(memory);
}

static void without_io_uring_pread_goes_on(void **state)
{
    mr__sources *sources = open_sources("big");
    mr__reader *reader = NULL;
    setenv("MILLRACE_IO_URING", "0", 1);
    assert_int_equal(mr__reader_create(sources, MR__READ_URING, 4096, &budget, &reader, NULL), MR_OK);
    unsetenv("MILLRACE_IO_URING");
    assert_int_equal(walk(reader, 5, BIG, BIG, keep_some, NULL), MR_OK);
    mr__reader_destroy(reader);
    mr__sources_close(sources);
}

static void the_choice_is_measured_once_and_can_be_forced(void **state)
{
    mr__sources *sources = open_sources("big"), *small = open_sources("one");
    mr__read_choice choice = {0}, again = {0};
    mr__error error = {.code = MR_OK};
    struct stat first, second;
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        setenv("MILLRACE_READ", mr__read_path_name(paths[p]), 1);
        assert_int_equal(mr__read_choose(sources, &choice, NULL), MR_OK);
        assert_int_equal(choice.path, paths[p]);
    }
    setenv("MILLRACE_READ", "carrier-pigeon", 1);
    assert_int_equal(mr__read_choose(sources, &choice, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "carrier-pigeon"));
    unsetenv("MILLRACE_READ");

    assert_int_equal(mr__read_choose(small, &choice, NULL), MR_OK);
    assert_int_equal(choice.path, MR__READ_PREAD);

    setenv("XDG_CACHE_HOME", scratch_file("cache"), 1);
    assert_int_equal(scratch_run("cat '%s' >/dev/null", scratch_file("big")), 0);    /* into the page cache */
    assert_int_equal(mr__read_choose(sources, &choice, NULL), MR_OK);
    assert_true(choice.pread_gbs > 0 && choice.mmap_gbs > 0);
    assert_int_equal(choice.path, choice.mmap_gbs > choice.pread_gbs ? MR__READ_MMAP : MR__READ_PREAD);
    assert_string_not_equal(choice.why, "");
    assert_int_equal(stat(scratch_file("cache/millrace/read-path"), &first), 0);
    assert_int_equal(mr__read_choose(sources, &again, NULL), MR_OK);
    assert_int_equal(stat(scratch_file("cache/millrace/read-path"), &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(choice.path, again.path);
    assert_true(choice.pread_gbs == again.pread_gbs && choice.mmap_gbs == again.mmap_gbs);
    assert_int_equal(scratch_run("test $(ls '%s/cache/millrace' | wc -l) = 1", scratch_path), 0);

    scratch_write("cache/millrace/read-path", "read-path 1 elsewhere pread -1 mmap nan\n", 40);
    assert_int_equal(mr__read_choose(sources, &choice, NULL), MR_OK);
    assert_true(choice.pread_gbs > 0 && choice.mmap_gbs > 0);
    unsetenv("XDG_CACHE_HOME");
    mr__sources_close(sources);
    mr__sources_close(small);
}

/* Pages of a file that are in the page cache; -1: the file system cannot say. */
static int resident_pages(const char *path, bool drop)
{
    unsigned char state[64];
    struct stat now;
    int pages = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &now) == 0 && now.st_size <= (off_t)sizeof state * 4096);
    if (drop)
        assert_int_equal(fsync(fd) | posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    void *bytes = mmap(NULL, (size_t)now.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes != MAP_FAILED && mincore(bytes, (size_t)now.st_size, state) == 0) {
        pages = 0;
        for (off_t p = 0; p < (now.st_size + 4095) / 4096; p++)
            pages += state[p] & 1;
    }
    if (bytes != MAP_FAILED)
        munmap(bytes, (size_t)now.st_size);
    close(fd);
    return pages;
}

static void small_files_are_asked_for_ahead_when_they_are_cold(void **state)
{
    enum { SIZE = 100000, PAGES = (SIZE + 4095) / 4096, PATIENCE = 10000 };
    mr__read_choice choice = {0}, warm = {0};
    scratch_write("cold", content, SIZE);
    mr__sources *sources = open_sources("cold");
    assert_int_equal(mr__read_choose(sources, &warm, NULL), MR_OK);
    if (resident_pages(scratch_file("cold"), true) != 0 || resident_pages(scratch_file("cold"), false) != 0) {
        mr__sources_close(sources);
        print_message("skipped: this file system keeps its pages\n");
        skip();
    }
    assert_false(warm.ahead);
    assert_int_equal(mr__read_choose(sources, &choice, NULL), MR_OK);
    assert_true(choice.ahead);
    assert_non_null(strstr(choice.why, "ahead"));
    mr__source_will_need(&sources->items[0]);
    int tries = 0;
    while (tries < PATIENCE && resident_pages(scratch_file("cold"), false) != PAGES)
        tries += usleep(10000) == 0;
    assert_true(tries < PATIENCE);
    mr__sources_close(sources);
}

static mr__sources *swept;
static mr__read_path swept_path;

static mr_status attempt(mr__error *error)
{
    mr__reader *reader = NULL;
    mr_slice whole;
    uint8_t bytes[10];
    mr_status status = mr__reader_create(swept, swept_path, 64 << 10, &budget, &reader, error);
    assert_true((status == MR_OK) == (reader != NULL));
    if (status == MR_OK)
        status = walk(reader, 100, 500000, BIG, keep_all_at_times, error);
    if (status == MR_OK)
        status = mr__reader_whole(reader, 0, &whole, error);
    if (status == MR_OK)
        status = mr__reader_at(reader, 0, 99, bytes, sizeof bytes, error);
    mr__reader_destroy(reader);
    assert_int_equal(atomic_load(&budget.used), 0);
    return status;
}

/* Where another path can take over, a failure of the faster one is no failure. */
static bool pread_takes_over(enum mr__fault_point point)
{
    return swept_path != MR__READ_PREAD;
}

static void every_call_that_fails_gives_a_sentence(void **state)
{
    swept = open_sources("big");
    for (size_t p = 0; p < MR__COUNT(paths); p++) {
        swept_path = paths[p];
        scratch_sweep(attempt, pread_takes_over);
    }
    mr__sources_close(swept);
}

/* Chooses as a user who neither owns the files nor may write them. */
static void expect_hidden_choice(const mr__sources *sources, bool ring, const char *why)
{
    mr__read_choice choice = {0};
    assert_int_equal(seteuid(65534), 0);
    const mr_status status = mr__read_choose(sources, &choice, NULL);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, MR_OK);
    assert_int_equal(choice.path == MR__READ_URING, ring);
    assert_non_null(strstr(choice.why, "hides from this user"));
    assert_non_null(strstr(choice.why, why));
}

/* A hole larger than any page cache, a file that fits into it, and a small one. */
static void what_is_hidden_is_read_by_its_size(void **state)
{
    struct utsname machine;
    assert_int_equal(uname(&machine), 0);
    if (geteuid() != 0 || strverscmp(machine.release, "5.2") < 0)
        skip();
    assert_int_equal(scratch_run("cd '%s' && mkdir -p cache && truncate -s 1T huge && chmod 755 . cache && "
                                 "chmod 644 huge big exact", scratch_path), 0);
    mr__sources *huge = open_sources("huge"), *big = open_sources("big"), *small = open_sources("exact");
    setenv("XDG_CACHE_HOME", scratch_file("cache"), 1);
    expect_hidden_choice(huge, true, "smaller than the input");
    expect_hidden_choice(big, false, "mmap");
    expect_hidden_choice(small, false, "asked for ahead");
    unsetenv("XDG_CACHE_HOME");
    mr__sources_close(huge);
    mr__sources_close(big);
    mr__sources_close(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_window_holds_what_the_file_holds),
        cmocka_unit_test(what_is_kept_survives_a_stretch_that_cannot_be_mapped),
        cmocka_unit_test(a_record_longer_than_everything_grows_the_window_until_the_budget_ends),
        cmocka_unit_test(without_memory_for_one_buffer_there_is_no_reader),
        cmocka_unit_test(where_every_buffer_fits_there_is_every_reader),
        cmocka_unit_test(small_files_are_read_as_a_whole),
        cmocka_unit_test(bytes_at_a_place_do_not_disturb_a_range),
        cmocka_unit_test(a_file_that_grew_is_read_as_long_as_it_was),
        cmocka_unit_test(a_file_that_is_truncated_gets_a_sentence_and_no_signal),
        cmocka_unit_test(a_file_that_is_gone_or_forbidden_gets_a_sentence),
        cmocka_unit_test(a_memory_tier_is_read_through_every_path),
        cmocka_unit_test(without_io_uring_pread_goes_on),
        cmocka_unit_test(small_files_are_asked_for_ahead_when_they_are_cold),
        cmocka_unit_test(the_choice_is_measured_once_and_can_be_forced),
        cmocka_unit_test(what_is_hidden_is_read_by_its_size),
        cmocka_unit_test(every_call_that_fails_gives_a_sentence),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
