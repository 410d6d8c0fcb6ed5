/* Spilling and reading back. Oracle: the bytes that the test wrote, and the file itself where it damages it. */
#include "scratch.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "extent.h"
#include "memory.h"
#include "spill.h"
#include "tier.h"

enum { EXTENTS = 200, LARGEST = 3 << 20 };

static mr__budget budget;
static uint8_t *content;
static mr__burst *burst;

static const mr__codec codecs[] = {MR__CODEC_NONE, MR__CODEC_LZ4, MR__CODEC_ZSTD};

static int make_all(void **state)
{
    uint64_t x = 88172645463325252u;                /* xorshift64, seed of G. Marsaglia's paper */
    if (scratch_make(state) != 0 || mr__burst_open(scratch_path, &burst, NULL) != MR_OK)
        return -1;
    content = malloc(2 * LARGEST);
    for (size_t i = 0; i < 2 * LARGEST; i++) {      /* some of it packs well, some not at all */
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        content[i] = i / 4096 % 2 ? (uint8_t)x : (uint8_t)(i / 100);
    }
    mr__budget_init(&budget, 1u << 30);
    return 0;
}

static int remove_all(void **state)
{
    mr__burst_close(burst);
    free(content);
    return scratch_remove(state);
}

static size_t size_of(uint32_t i)
{
    static const size_t sizes[] = {0, 1, 7, 8, 24, 100, 4072, 4096, 65536, 70000, 1 << 20, (1 << 20) + 1, LARGEST};
    return i < MR__COUNT(sizes) ? sizes[i] : i * 7919 % 100000;
}

static const uint8_t *bytes_of(uint32_t i)
{
    return content + i * 131 % LARGEST;
}

static mr_status write_all(mr__spill_writer *writer, mr__extent *extents, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t i = 0; i < EXTENTS; i++) {
        MR_TRY(mr__spill_write(writer, bytes_of(i), size_of(i), i, &extents[i], error));
        assert_int_equal(extents[i].size, size_of(i));
        if (i % 50 == 49)
            MR_TRY(mr__spill_flush(writer, error));
    }
    MR_TRY(mr__spill_flush(writer, error));
done:
    return status;
}

/* The extents come back in the order of the list, whatever it is. */
static mr_status read_all(mr__spill *spill, const mr__extent *extents, size_t count, size_t ahead, mr__error *error)
{
    mr_status status = MR_OK;
    mr__spill_reader *reader = NULL;
    MR_TRY(mr__spill_reader_create(spill, extents, count, ahead, &budget, &reader, error));
    for (size_t i = 0; i <= count; i++) {
        const uint8_t *bytes = NULL;
        mr__extent extent;
        MR_TRY(mr__spill_reader_next(reader, &bytes, &extent, error));
        if (i == count) {
            assert_null(bytes);
            break;
        }
        assert_int_equal(extent.note, extents[i].note);
        assert_int_equal(extent.size, size_of(extent.note));
        assert_memory_equal(bytes, bytes_of(extent.note), extent.size);
        for (size_t p = 0; p < MR__EXTENT_PADDING; p++)
            (void)((const volatile uint8_t *)bytes)[extent.size + p];       /* can be read */
    }
done:
    mr__spill_reader_destroy(reader);
    return status;
}

static void what_was_written_comes_back_in_any_order(void **state)
{
    static const size_t aheads[] = {0, 4096, 300000, 4 << 20, 32 << 20};
    mr__extent extents[EXTENTS], backwards[EXTENTS], some[EXTENTS];
    for (size_t c = 0; c < MR__COUNT(codecs); c++) {
        mr__spill *spill = NULL;
        mr__spill_writer *writer = NULL;
        uint64_t footprint = 0;
        size_t count = 0;
        assert_int_equal(mr__spill_create(burst, codecs[c], &spill, NULL), MR_OK);
        assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
        assert_int_equal(atomic_load(&budget.used), 0);
        assert_int_equal(write_all(writer, extents, NULL), MR_OK);
        for (uint32_t i = 0; i < EXTENTS; i++) {
            backwards[EXTENTS - 1 - i] = extents[i];
            if (i % 3 == 1)
                some[count++] = extents[i];
            footprint += mr__extent_footprint(extents[i].stored);
            assert_true(codecs[c] == MR__CODEC_NONE ? extents[i].stored == extents[i].size
                                                    : extents[i].stored <= extents[i].size);
        }
        assert_int_equal(mr__spill_bytes(spill), footprint);
        for (size_t a = 0; a < MR__COUNT(aheads); a++) {
            assert_int_equal(read_all(spill, extents, EXTENTS, aheads[a], NULL), MR_OK);
            assert_int_equal(read_all(spill, backwards, EXTENTS, aheads[a], NULL), MR_OK);
            assert_int_equal(read_all(spill, some, count, aheads[a], NULL), MR_OK);
            assert_int_equal(read_all(spill, extents, 0, aheads[a], NULL), MR_OK);
        }
        mr__spill_writer_destroy(writer);
        assert_int_equal(atomic_load(&budget.used), 0);
        mr__spill_destroy(spill);
        assert_int_equal(scratch_count(), 1);           /* the burst directory alone */
    }
}

static void without_io_uring_it_works_in_the_foreground(void **state)
{
    mr__extent extents[EXTENTS];
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    setenv("MILLRACE_IO_URING", "0", 1);
    assert_int_equal(mr__spill_create(burst, MR__CODEC_NONE, &spill, NULL), MR_OK);
    assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
    assert_int_equal(write_all(writer, extents, NULL), MR_OK);
    assert_int_equal(read_all(spill, extents, EXTENTS, 4 << 20, NULL), MR_OK);
    unsetenv("MILLRACE_IO_URING");
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
}

static void the_environment_chooses_the_codec(void **state)
{
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    mr__extent extent;
    mr__error error = {.code = MR_OK};
    setenv("MILLRACE_SPILL", "zstd", 1);
    assert_int_equal(mr__spill_create(burst, MR__CODEC_NONE, &spill, NULL), MR_OK);
    assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
    assert_int_equal(mr__spill_write(writer, content, 4096, 0, &extent, NULL), MR_OK);
    assert_true(extent.stored < 4096);
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
    setenv("MILLRACE_SPILL", "rar", 1);
    assert_int_equal(mr__spill_create(burst, MR__CODEC_NONE, &spill, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "rar"));
    unsetenv("MILLRACE_SPILL");
}

struct shared {
    mr__spill *spill;
    mr__extent extents[4][EXTENTS];
    _Atomic uint32_t next;
    mr_status status[4];
};

static void *write_one_file(void *context)
{
    struct shared *shared = context;
    const uint32_t mine = atomic_fetch_add(&shared->next, 1);
    mr__spill_writer *writer = NULL;
    shared->status[mine] = mr__spill_writer_create(shared->spill, &budget, &writer, NULL);
    if (shared->status[mine] == MR_OK)
        shared->status[mine] = write_all(writer, shared->extents[mine], NULL);
    mr__spill_writer_destroy(writer);
    return NULL;
}

static void writers_of_one_spill_work_side_by_side(void **state)
{
    struct shared shared = {.next = 0};
    pthread_t threads[4];
    mr__extent mixed[4 * EXTENTS];
    assert_int_equal(mr__spill_create(burst, MR__CODEC_LZ4, &shared.spill, NULL), MR_OK);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, write_one_file, &shared), 0);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(shared.status[t], MR_OK);
    for (uint32_t i = 0; i < 4 * EXTENTS; i++)
        mixed[i] = shared.extents[i % 4][i / 4];
    assert_int_equal(read_all(shared.spill, mixed, 4 * EXTENTS, 1 << 20, NULL), MR_OK);
    mr__spill_destroy(shared.spill);
}

/* The descriptor of the spill file, which has no name, and the path that it had. */
static int spill_file(char path[PATH_MAX])
{
    static const char gone[] = " (deleted)";
    const size_t front = (size_t)snprintf(path, PATH_MAX, "%s/spill-", mr__burst_path(burst));
    char link[64], target[PATH_MAX];
    for (int fd = 0; fd < 256; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t size = readlink(link, target, sizeof target - 1);
        target[size > 0 ? size : 0] = '\0';
        if (strncmp(target, path, front) != 0)
            continue;
        assert_true(size > (ssize_t)(sizeof gone - 1));
        assert_memory_equal(target + size - (sizeof gone - 1), gone, sizeof gone - 1);
        snprintf(path, PATH_MAX, "%.*s", (int)(size - (ssize_t)(sizeof gone - 1)), target);
        assert_int_equal(access(path, F_OK), -1);
        return fd;
    }
    fail_msg("no spill file is open");
    return -1;
}

static void flip(int file, off_t offset, uint8_t mask)
{
    uint8_t byte;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    const int fd = open(path, O_RDWR);      /* another one than the spill's, which is O_DIRECT */
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

static void damage_is_an_error_that_names_file_and_offset(void **state)
{
    for (size_t c = 0; c < MR__COUNT(codecs); c++) {
        mr__extent extents[2];
        mr__spill *spill = NULL;
        mr__spill_writer *writer = NULL;
        char place[64];
        assert_int_equal(mr__spill_create(burst, codecs[c], &spill, NULL), MR_OK);
        assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(mr__spill_write(writer, bytes_of(9), size_of(9), 9, &extents[i], NULL), MR_OK);
        assert_int_equal(mr__spill_flush(writer, NULL), MR_OK);
        char path[PATH_MAX];
        const int file = spill_file(path);
        const off_t at = (off_t)extents[1].offset;
        snprintf(place, sizeof place, "offset %lld", (long long)at);
        /* one bit in each byte of the header, and in bytes of the content, its last one among them */
        const uint32_t total = MR__EXTENT_HEADER + extents[1].stored;
        for (uint32_t i = 0; i < total; i += i < 40 ? 1 : i + 997 < total ? 997 : i + 1 < total ? total - i - 1 : 1) {
            mr__error error = {.code = MR_OK};
            flip(file, at + i, (uint8_t)(1u << i % 8));
            assert_int_equal(read_all(spill, extents, 2, 1 << 20, &error), MR_IO_FAILED);
            assert_non_null(strstr(error.text, path));
            assert_non_null(strstr(error.text, place));
            assert_non_null(strstr(error.text, "damaged"));
            flip(file, at + i, (uint8_t)(1u << i % 8));
        }
        assert_int_equal(read_all(spill, extents, 2, 1 << 20, NULL), MR_OK);
        for (off_t end = at + extents[1].stored; end > 0; end /= 3) {
            mr__error error = {.code = MR_OK};
            assert_int_equal(ftruncate(file, end), 0);
            assert_int_equal(read_all(spill, extents, 2, 1 << 20, &error), MR_IO_FAILED);
            assert_non_null(strstr(error.text, path));
        }
        mr__spill_writer_destroy(writer);
        mr__spill_destroy(spill);
    }
}

static void a_reached_limit_gets_a_sentence(void **state)
{
    mr__burst *small = NULL;
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    mr__extent extent;
    mr__error error = {.code = MR_OK};
    mr_status status = MR_OK;
    setenv("MILLRACE_BURST_SIZE", "3M", 1);
    assert_int_equal(mr__burst_open(scratch_path, &small, NULL), MR_OK);
    unsetenv("MILLRACE_BURST_SIZE");
    assert_int_equal(mr__spill_create(small, MR__CODEC_NONE, &spill, NULL), MR_OK);
    assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
    for (int i = 0; i < 10 && status == MR_OK; i++)
        status = mr__spill_write(writer, content, 1 << 20, 0, &extent, &error);
    assert_int_equal(status, MR_NO_SPACE);
    assert_non_null(strstr(error.text, mr__burst_path(small)));
    assert_non_null(strstr(error.text, ": the 3145728 bytes that MILLRACE_BURST_SIZE allows are used up\n  hint: set"));
    assert_int_equal(mr__spill_write(writer, content, 1, 0, &extent, NULL), MR_NO_SPACE);
    assert_int_equal(mr__spill_flush(writer, NULL), MR_NO_SPACE);
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
    assert_int_equal(mr__burst_tier(small)->used, 0);
    mr__burst_close(small);
}

static void a_limit_on_files_gets_a_sentence(void **state)
{
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    mr__extent extent;
    mr__error error = {.code = MR_OK};
    mr_status status = MR_OK;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 2 << 20, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(mr__spill_create(burst, MR__CODEC_NONE, &spill, NULL), MR_OK);
    assert_int_equal(mr__spill_writer_create(spill, &budget, &writer, NULL), MR_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 10 && status == MR_OK; i++)
        status = mr__spill_write(writer, content, 1 << 20, 0, &extent, &error);
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, MR_IO_FAILED);
    assert_non_null(strstr(error.text, "\n  hint: the limit on the size of a file is reached; raise it with ulimit"));
}

static const char *swept_ring;

static mr_status attempt(mr__error *error)
{
    mr_status status = MR_OK;
    mr__extent extents[EXTENTS];
    mr__spill *spill = NULL;
    mr__spill_writer *writer = NULL;
    setenv("MILLRACE_IO_URING", swept_ring, 1);
    MR_TRY(mr__spill_create(burst, MR__CODEC_LZ4, &spill, error));
    MR_TRY(mr__spill_writer_create(spill, &budget, &writer, error));
    MR_TRY(write_all(writer, extents, error));
    MR_TRY(read_all(spill, extents, EXTENTS, 8 << 20, error));
done:
    mr__spill_writer_destroy(writer);
    mr__spill_destroy(spill);
    unsetenv("MILLRACE_IO_URING");
    assert_int_equal(atomic_load(&budget.used), 0);
    return status;
}

/* Without a ring the foreground does it, and without memory for packing the bytes are stored as they are. */
static bool there_is_another_way(enum mr__fault_point point)
{
    return point == MR__FAULT_OPEN || point == MR__FAULT_ALLOC || point == MR__FAULT_PAGES;
}

static void every_call_that_fails_gives_a_sentence_and_leaves_nothing(void **state)
{
    static const char *const rings[] = {"0", "1"};
    for (size_t i = 0; i < 2; i++) {
        swept_ring = rings[i];
        scratch_sweep(attempt, there_is_another_way);
        assert_int_equal(scratch_count(), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back_in_any_order),
        cmocka_unit_test(without_io_uring_it_works_in_the_foreground),
        cmocka_unit_test(the_environment_chooses_the_codec),
        cmocka_unit_test(writers_of_one_spill_work_side_by_side),
        cmocka_unit_test(damage_is_an_error_that_names_file_and_offset),
        cmocka_unit_test(a_reached_limit_gets_a_sentence),
        cmocka_unit_test(a_limit_on_files_gets_a_sentence),
        cmocka_unit_test(every_call_that_fails_gives_a_sentence_and_leaves_nothing),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
