/* What goes wrong in the background: a submission that the system refuses, and a write that fails. */
#include "scratch.h"

#include <errno.h>

#include "appender.h"

struct io_uring;

static int refusal;             /* of the next submission, as -errno; then none */

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

int __wrap_io_uring_submit(struct io_uring *ring)
{
    const int result = refusal;
    refusal = 0;
    return result != 0 ? result : __real_io_uring_submit(ring);
}

static int cancelled = -1;      /* the file that the next write does not reach; then none */

void __real_mr__ring_wait(mr__ring *ring, uint64_t *tag, int *result);
void __wrap_mr__ring_wait(mr__ring *ring, uint64_t *tag, int *result);

void __wrap_mr__ring_wait(mr__ring *ring, uint64_t *tag, int *result)
{
    __real_mr__ring_wait(ring, tag, result);
    if (cancelled < 0)
        return;
    assert_int_equal(ftruncate(cancelled, 0), 0);
    *result = -ECANCELED;
    cancelled = -1;
}

static mr__ring *make_ring(void)
{
    mr__ring *ring = mr__ring_create(4);
    if (ring == NULL) {
        print_message("skipped: no io_uring here\n");
        skip();
    }
    return ring;
}

static void a_read_that_was_refused_is_never_made(void **state)
{
    char first[8] = "", second[8] = "";
    uint64_t tag;
    int result;
    const int fd = open(scratch_write("text", "abcdefgh", 8), O_RDONLY);
    mr__ring *ring = make_ring();
    assert_int_equal(mr__ring_read(ring, fd, second, 2, 0, 1), 0);
    refusal = -ENOMEM;
    assert_int_equal(mr__ring_read(ring, fd, first, 8, 0, 2), -ENOMEM);
    const int later = mr__ring_read(ring, fd, second, 2, 2, 3);
    while (mr__ring_in_flight(ring) > 0) {
        mr__ring_wait(ring, &tag, &result);
        assert_int_not_equal(tag, 2);
        assert_int_equal(result, 2);
    }
    assert_string_equal(first, "");
    assert_int_equal(later, -EBUSY);        /* as good as no ring: the caller reads by itself */
    mr__ring_destroy(ring);
    close(fd);
}

static void what_a_failed_write_charged_comes_back(void **state)
{
    enum { SIZE = 4 * MR__APPENDER_PAGE };
    static const uint8_t bytes[SIZE];
    mr__appender appender;
    mr__tier *tier = NULL;
    mr__file file;
    mr__ring_destroy(make_ring());
    assert_int_equal(mr__tier_directory_create("directory", scratch_path, 3 * SIZE, &tier, NULL), MR_OK);
    assert_true(mr__appender_init(&appender, SIZE));
    for (int fault = 0; fault < 2; fault++) {
        assert_int_equal(tier->ops->create(tier, "run", &file), 0);
        if (fault == 0) {               /* not open for writing */
            tier->ops->close(&file);
            assert_int_equal(tier->ops->open(tier, "run", &file), 0);
        }
        mr__appender_begin(&appender, file);
        mr__fault_arm(MR__FAULT_WRITE, fault == 0 ? 1000 : 1);      /* written, and said to have failed */
        mr__appender_write(&appender, bytes, SIZE);
        assert_non_null(appender.flying.bytes);
        mr__appender_finish(&appender);
        mr__fault_disarm();
        assert_int_equal(appender.failure, fault == 0 ? EBADF : EIO);
        tier->ops->close(&file);
        assert_int_equal(tier->ops->remove(tier, "run"), 0);
        assert_int_equal(tier->used, 0);
    }
    mr__appender_fini(&appender);
    mr__tier_destroy(tier);
}

/* As where the process may start no more threads. */
static void a_write_that_was_cancelled_is_made_in_the_foreground(void **state)
{
    enum { SIZE = 4 * MR__APPENDER_PAGE };
    uint8_t bytes[SIZE], found[SIZE];
    mr__appender appender;
    mr__tier *tier = NULL;
    mr__file file;
    memset(bytes, 'x', SIZE);
    mr__ring_destroy(make_ring());
    assert_int_equal(mr__tier_directory_create("directory", scratch_path, SIZE, &tier, NULL), MR_OK);
    assert_true(mr__appender_init(&appender, SIZE));
    assert_int_equal(tier->ops->create(tier, "run", &file), 0);
    mr__appender_begin(&appender, file);
    mr__appender_write(&appender, bytes, SIZE);
    assert_non_null(appender.flying.bytes);
    cancelled = file.fd;
    mr__appender_finish(&appender);
    assert_int_equal(appender.failure, 0);
    assert_int_equal(cancelled, -1);
    assert_int_equal(pread(file.fd, found, SIZE, 0), SIZE);
    assert_memory_equal(found, bytes, SIZE);
    assert_int_equal(tier->used, SIZE);
    tier->ops->close(&file);
    assert_int_equal(tier->ops->remove(tier, "run"), 0);
    mr__appender_fini(&appender);
    mr__tier_destroy(tier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_that_was_refused_is_never_made),
        cmocka_unit_test(what_a_failed_write_charged_comes_back),
        cmocka_unit_test(a_write_that_was_cancelled_is_made_in_the_foreground),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
