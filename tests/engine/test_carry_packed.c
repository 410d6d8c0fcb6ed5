/* test_carry_packed.c: messages between ranks that are packed: of any size, with bytes that do not get smaller, broken,
 * without memory. MILLRACE_LZ4=1 throughout. Oracle: the bytes that were put, and the rules of the headers. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "carry_pair.h"
#include "fault.h"

enum { FLAGS = 20, SIZE = 28, OFFSET = 32, HASH = 36 };     /* where they lie in a CHUNK */

static uint32_t field(const struct letter *one, size_t at)
{
    const uint8_t *bytes = one->bytes + at;
    return mr__get32(&bytes);
}

static void set_hash(struct letter *one)
{
    mr__put64(one->bytes + HASH, XXH3_64bits(one->bytes + MR__CHUNK_HEAD, one->size - MR__CHUNK_HEAD));
}

/* The first `size` bytes of it, in memory of just that size. */
static struct letter *copy_of(const struct letter *one, size_t size)
{
    struct letter *copy = malloc(sizeof *copy + size);
    assert_non_null(copy);
    memcpy(copy, one, sizeof *copy);
    memcpy(copy->bytes, one->bytes, size < one->size ? size : one->size);
    copy->size = size;
    return copy;
}

/* A chunk for partition HALF + 1 as rank 0 posts it; free() it. */
static struct letter *carry(struct fleet *fleet, uint32_t size)
{
    struct node *from = &fleet->nodes[0];
    pair_put(from, mr__outbox_begin(from->outbox), HALF + 1, size, 5);
    while (pair_turn(from) == MR__CARRIED) {
    }
    struct letter *chunk = fleet_take_letter(fleet, 0, 1, MR__BULK);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, MR__MAIL_CHUNK);
    return chunk;
}

static void test_a_chunk_of_any_size_arrives_packed(void **state)
{
    static const uint32_t sizes[] = {1, 7, 63, 64, FLEET_CHUNK, 1000, 4096, 1 << 20, MR__PIECE_MOST, MR__PIECE_MOST + 1,
                                     MR__PIECE_MOST + 4096};
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0];
    for (uint32_t i = 0; i < MR__COUNT(sizes); i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        const uint64_t saved = mr__outbox_saved(from->outbox);
        pair_put(from, epoch, HALF, sizes[i], (uint8_t)i);
        if (i % 2 == 0)                     /* from the spill, every other time */
            fleet_make_room(&from->lanes[0], UINT64_MAX);
        pair_close(from, epoch, 10 * i, 10 * i + 10);
        pair_settle(fleet);
        assert_true(mr__outbox_is_clear(from->outbox));
        pair_arrived(&fleet->nodes[1], HALF, sizes[i], (uint8_t)i);
        fleet_make_room(&from->lanes[0], UINT64_MAX);
        assert_true((mr__outbox_saved(from->outbox) - saved > sizes[i] / 4) == (sizes[i] >= 1000));
    }
    fleet_destroy(fleet, false);
}

static void test_what_does_not_get_smaller_travels_as_it_is(void **state)
{
    enum { NOISE = 50000 };
    struct fleet *fleet = pair_create(UNLIMITED, NOISE, false);
    struct node *from = &fleet->nodes[0];
    mr__error error = {.text = ""};
    uint64_t waiting;
    unsigned random = 9;
    mr__chunk *chunk = mr__chunk_acquire(&from->job.pool, HALF, NOISE);
    uint8_t *bytes = malloc(NOISE);
    assert_true(chunk != NULL && bytes != NULL);
    for (uint32_t i = 0; i < NOISE; i++)
        bytes[i] = chunk->data[i] = (uint8_t)(rand_r(&random) >> 9);
    chunk->size = NOISE;
    chunk->pairs = 1;
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    assert_int_equal(mr__outbox_put(from->outbox, epoch, chunk, NULL, &waiting, &error), MR_OK);
    pair_turn(from);
    struct letter *one = fleet_take_letter(fleet, 0, 1, MR__BULK);
    assert_int_equal(field(one, FLAGS) & MR__CHUNK_PACKED, 0);
    assert_int_equal(one->size, MR__CHUNK_HEAD + NOISE);
    assert_memory_equal(one->bytes + MR__CHUNK_HEAD, bytes, NOISE);
    assert_int_equal(mr__outbox_saved(from->outbox), 0);
    free(one);
    free(bytes);
    fleet_destroy(fleet, false);
}

/* Windows and credits count what lies at the owner in the end. */
static void test_credit_is_for_unpacked_bytes(void **state)
{
    enum { BYTES = 3 * 4096 + 1 };
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    struct letter *chunk = carry(fleet, BYTES);
    assert_int_equal(field(chunk, FLAGS), MR__CHUNK_PACKED);
    assert_int_equal(field(chunk, SIZE), BYTES);
    assert_true(chunk->size < MR__CHUNK_HEAD + 4096);
    assert_int_equal(mr__outbox_saved(fleet->nodes[0].outbox), BYTES + MR__CHUNK_HEAD - chunk->size);
    mr__put32(chunk->bytes + FLAGS, MR__CHUNK_PACKED | MR__CREDIT_WANTED);
    assert_int_equal(fleet_hand_over(at, 0, chunk, &error), MR_OK);
    free(chunk);
    chunk = fleet_take_letter(fleet, 1, 0, MR__CONTROL);
    assert_int_equal(chunk->kind, MR__MAIL_CREDIT);
    const uint8_t *credit = chunk->bytes;
    assert_int_equal(mr__get64(&credit), mr__carry_cost(BYTES));
    assert_int_equal(fleet_hand_over(&fleet->nodes[0], 1, chunk, &error), MR_OK);
    fleet_check(fleet);
    free(chunk);
    fleet_destroy(fleet, false);
}

static void refuse(struct node *at, const struct letter *one, const char *why)
{
    mr__error error = {.text = ""};
    const mr_status status = fleet_hand_over(at, 0, one, &error);
    if (status != MR_NETWORK_FAILED || strstr(error.text, "rank 0") == NULL)
        fail_msg("%s: %s %s", why, mr_status_name(status), error.text);
    assert_int_equal(mr__inbox_check(at->inbox, &error), MR_OK);
}

static void test_packed_bytes_that_are_none_are_refused(void **state)
{
    enum { BYTES = 3000 };
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk = carry(fleet, BYTES), *one;
    for (size_t i = MR__CHUNK_HEAD; i < chunk->size; i++) {
        chunk->bytes[i] ^= 16;
        refuse(at, chunk, "a bit that flipped");
        chunk->bytes[i] ^= 16;
    }
    for (size_t size = 0; size < chunk->size; size++) {
        one = copy_of(chunk, size);
        refuse(at, one, "cut off");
        if (size > MR__CHUNK_HEAD) {
            set_hash(one);
            refuse(at, one, "cut off, with a checksum");
        }
        free(one);
    }
    for (size_t more = 1; more < 40; more++) {
        one = copy_of(chunk, chunk->size + more);
        memset(one->bytes + chunk->size, (int)more, more);
        set_hash(one);
        refuse(at, one, "too long");
        free(one);
    }
    static const struct {
        size_t at;
        uint32_t value;
        const char *why;
    } cases[] = {
        {FLAGS, 0, "packed bytes that are not called so"},
        {SIZE, BYTES - 1, "more comes of it than the header says"},
        {SIZE, BYTES + 1, "less comes of it than the header says"},
        {SIZE, 0xffffffff, "a size that is not believed"},
        {SIZE, 1, "fewer bytes than came packed"},
        {OFFSET, MR__PIECE_MOST, "an offset beyond the size"},
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        one = copy_of(chunk, chunk->size);
        mr__put32(one->bytes + cases[i].at, cases[i].value);
        refuse(at, one, cases[i].why);
        free(one);
    }
    one = copy_of(chunk, MR__CHUNK_HEAD + BYTES);       /* as many bytes as are to come of it */
    memset(one->bytes + chunk->size, 0, one->size - chunk->size);
    set_hash(one);
    refuse(at, one, "packed bytes that are not fewer");
    free(one);
    mr__error error = {.text = ""};
    assert_int_equal(fleet_hand_over(at, 0, chunk, &error), MR_OK);      /* nothing of all that left a trace */
    free(chunk);
    fleet_destroy(fleet, false);
}

/* With a checksum that is right: what is accepted is some chunk, and keeps the rules. */
static void test_noise_in_packed_bytes_breaks_nothing(void **state)
{
    enum { BYTES = 3000, TIMES = 6000 };
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk = carry(fleet, BYTES);
    unsigned random = 17;
    uint32_t accepted = 0, refused = 0;
    for (uint32_t i = 0; i < TIMES; i++) {
        mr__error error = {.text = ""};
        struct letter *one = copy_of(chunk, chunk->size);
        mr__put32(one->bytes, i);                       /* an epoch of its own */
        for (uint32_t k = 0; k <= i % 3; k++) {
            const size_t where = (size_t)rand_r(&random) % (one->size - MR__CHUNK_HEAD);
            one->bytes[MR__CHUNK_HEAD + where] = (uint8_t)(rand_r(&random) >> 4);
        }
        if (i % 5 == 0)
            mr__put32(one->bytes + SIZE, (uint32_t)rand_r(&random) % (4 * BYTES));
        set_hash(one);
        const mr_status status = fleet_hand_over(at, 0, one, &error);
        assert_true(status == MR_OK || status == MR_NETWORK_FAILED);
        accepted += status == MR_OK;
        refused += status != MR_OK;
        free(one);
        if (i % 100 == 0)
            fleet_check(fleet);
    }
    assert_true(accepted > 10 && refused > 10);
    free(chunk);
    fleet_destroy(fleet, false);
}

static void test_without_memory_it_travels_as_it_is(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    pair_put(from, epoch, HALF + 1, 3000, 5);
    pair_put(from, epoch, HALF + 2, 3000, 6);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(pair_turn(from), MR__CARRIED);
    assert_true(mr__fault_fired());
    mr__fault_disarm();
    assert_int_equal(pair_turn(from), MR__CARRIED);
    struct letter *raw = fleet_take_letter(fleet, 0, 1, MR__BULK), *packed = fleet_take_letter(fleet, 0, 1, MR__BULK);
    assert_int_equal(field(raw, FLAGS), 0);
    assert_int_equal(field(packed, FLAGS), MR__CHUNK_PACKED);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(fleet_hand_over(at, 0, packed, &error), MR_NO_MEMORY);
    assert_non_null(strstr(error.text, "rank 0"));
    mr__fault_disarm();
    assert_int_equal(fleet_hand_over(at, 0, raw, &error), MR_OK);
    assert_int_equal(fleet_hand_over(at, 0, packed, &error), MR_OK);
    fleet_check(fleet);
    free(raw);
    free(packed);
    fleet_destroy(fleet, false);
}

static void test_an_unknown_value_is_refused(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[0];
    mr__error error = {.text = ""};
    mr__carrier *none = NULL;
    setenv("MILLRACE_LZ4", "perhaps", 1);
    assert_int_equal(mr__carrier_create(&at->job, &at->mail, at->outbox, at->inbox, &none, &error), MR_BAD_USAGE);
    setenv("MILLRACE_LZ4", "1", 1);
    assert_null(none);
    assert_non_null(strstr(error.text, "MILLRACE_LZ4=perhaps"));
    fleet_destroy(fleet, false);
}

static int set_up(void **state)
{
    setenv("MILLRACE_LZ4", "1", 1);
    return fleet_set_up(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chunk_of_any_size_arrives_packed),
        cmocka_unit_test(test_what_does_not_get_smaller_travels_as_it_is),
        cmocka_unit_test(test_credit_is_for_unpacked_bytes),
        cmocka_unit_test(test_packed_bytes_that_are_none_are_refused),
        cmocka_unit_test(test_noise_in_packed_bytes_breaks_nothing),
        cmocka_unit_test(test_without_memory_it_travels_as_it_is),
        cmocka_unit_test(test_an_unknown_value_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, fleet_tear_down);
}
