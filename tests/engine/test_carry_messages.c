/* test_carry_messages.c: single messages between ranks: broken ones, large ones, those beyond the window, those for
 * which there is no memory. Oracle: the bytes that were put, and the rules of the headers. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "carry_pair.h"

static void refuse(struct node *at, uint32_t from, const struct letter *one, size_t size, const char *why)
{
    mr__error error = {.text = ""};
    struct letter *cut = malloc(sizeof *cut + size);
    assert_non_null(cut);
    memcpy(cut, one, sizeof *cut);
    memcpy(cut->bytes, one->bytes, size);
    cut->size = size;
    const mr_status status = fleet_hand_over(at, from, cut, &error);
    free(cut);
    if (status != MR_NETWORK_FAILED || error.text[0] == '\0')
        fail_msg("%s: %s %s", why, mr_status_name(status), error.text);
    assert_int_equal(mr__inbox_check(at->inbox, &error), MR_OK);
    assert_int_equal(mr__outbox_check(at->outbox, &error), MR_OK);
}

static void test_broken_messages_are_refused(void **state)
{
    static const struct {
        bool end;
        uint32_t word, value;
        const char *why;
    } cases[] = {
        {false, 2, HALF + 2, "a group without the partition"},
        {false, 2, FLEET_PARTITIONS, "an empty group"},
        {false, 3, FLEET_PARTITIONS + 1, "a group beyond all partitions"},
        {false, 4, FLEET_PARTITIONS, "a partition beyond its group"},
        {false, 4, 0, "a partition before its group"},
        {false, 6, 0, "no pairs"},
        {false, 7, 199, "smaller than what came"},
        {false, 7, 201, "a piece that is not as large as can be"},
        {false, 7, 0xffffffff, "a size that is not believed"},
        {false, 8, 8, "an offset inside of a piece"},
        {false, 8, MR__PIECE_MOST, "an offset beyond the size"},
        {false, 9, 0, "another checksum"},
        {true, 2, FLEET_PARTITIONS, "the end of an empty group"},
        {true, 8, 30, "a range that ends before it begins"},
    };
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk, *end;
    pair_carry_one(fleet, &chunk, &end);
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        struct letter *one = cases[i].end ? end : chunk;
        uint32_t before;
        memcpy(&before, one->bytes + 4 * cases[i].word, sizeof before);
        mr__put32(one->bytes + 4 * cases[i].word, cases[i].value);
        refuse(at, 0, one, one->size, cases[i].why);
        memcpy(one->bytes + 4 * cases[i].word, &before, sizeof before);
    }
    for (size_t size = 0; size < chunk->size; size++)
        refuse(at, 0, chunk, size, "a chunk cut off");
    for (size_t size = 0; size < end->size; size++)
        refuse(at, 0, end, size, "an end cut off");
    for (size_t i = MR__CHUNK_HEAD; i < chunk->size; i++) {
        chunk->bytes[i] ^= 16;
        refuse(at, 0, chunk, chunk->size, "a bit that flipped");
        chunk->bytes[i] ^= 16;
    }
    refuse(at, 1, chunk, chunk->size, "a chunk of this rank");
    refuse(at, 2, chunk, chunk->size, "a rank that is none");
    chunk->kind = MR__MAIL_CONFIRM + 1;
    refuse(at, 0, chunk, chunk->size, "a kind that is none");
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static void test_a_damaged_chunk_names_rank_and_partition(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    chunk->bytes[chunk->size - 1] ^= 1;
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "partition 7"));
    assert_non_null(strstr(error.text, "rank 0"));
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

/* Nothing that comes from the net may break a rule. */
static void test_noise_breaks_nothing(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    unsigned random = 5;
    struct letter *noise = malloc(sizeof *noise + 256);
    assert_non_null(noise);
    for (uint32_t i = 0; i < 20000; i++) {
        mr__error error = {.text = ""};
        noise->kind = MR__MAIL_CHUNK + (uint32_t)rand_r(&random) % 4;
        noise->size = (size_t)rand_r(&random) % 256;
        for (size_t k = 0; k < noise->size; k++)
            noise->bytes[k] = rand_r(&random) % 3 == 0 ? (uint8_t)(rand_r(&random) % 12) : 0;
        if (noise->kind == MR__MAIL_CHUNK && noise->size > MR__CHUNK_HEAD)
            mr__put64(noise->bytes + MR__CHUNK_HEAD - 8,
                      XXH3_64bits(noise->bytes + MR__CHUNK_HEAD, noise->size - MR__CHUNK_HEAD));
        fleet_hand_over(&fleet->nodes[1], 0, noise, &error);
        if (i % 100 == 0)
            fleet_check(fleet);
    }
    free(noise);
    fleet_destroy(fleet, false);
}

static void test_what_did_not_happen_is_not_confirmed_and_gets_no_credit(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct letter *chunk, *end;
    struct letter *reply = malloc(sizeof *reply + 64);
    assert_non_null(reply);
    pair_carry_one(fleet, &chunk, &end);
    reply->kind = MR__MAIL_CREDIT;
    mr__put64(reply->bytes, mr__carry_cost(200) + 1);
    refuse(&fleet->nodes[0], 1, reply, MR__CREDIT_SIZE, "credit for more than what was sent");
    refuse(&fleet->nodes[0], 1, reply, MR__CREDIT_SIZE - 1, "half a credit");
    reply->kind = MR__MAIL_CONFIRM;
    mr__put_name(reply->bytes, &(mr__share_name){1, 1, HALF, FLEET_PARTITIONS});
    refuse(&fleet->nodes[0], 1, reply, MR__CONFIRM_SIZE, "an epoch that is none");
    mr__put_name(reply->bytes, &(mr__share_name){0, 2, HALF, FLEET_PARTITIONS});
    refuse(&fleet->nodes[0], 1, reply, MR__CONFIRM_SIZE, "a generation that is to come");
    mr__error error = {.text = ""};
    mr__put_name(reply->bytes, &(mr__share_name){0, 1, HALF, FLEET_PARTITIONS});
    reply->size = MR__CONFIRM_SIZE;
    assert_int_equal(fleet_hand_over(&fleet->nodes[0], 0, reply, &error), MR_OK);      /* it is no owner: ignored */
    assert_false(mr__outbox_is_clear(fleet->nodes[0].outbox));
    assert_int_equal(fleet_hand_over(&fleet->nodes[0], 1, reply, &error), MR_OK);
    assert_true(mr__outbox_is_clear(fleet->nodes[0].outbox));
    refuse(&fleet->nodes[0], 1, reply, MR__CONFIRM_SIZE, "confirmed twice");
    free(reply);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static void test_the_same_input_in_two_epochs_ends_the_job(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    for (uint32_t times = 0; times < 2; times++) {
        pair_carry_one(fleet, &chunk, &end);
        assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
        assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), times == 0 ? MR_OK : MR_INTERNAL);
        free(chunk);
        free(end);
    }
    assert_string_not_equal(error.text, "");
    fleet_destroy(fleet, false);
}

static void test_more_or_other_than_the_end_says_is_refused(void **state)
{
    for (int what = 0; what < 2; what++) {
        struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
        struct letter *chunk, *end;
        mr__error error = {.text = ""};
        pair_carry_one(fleet, &chunk, &end);
        mr__put64(end->bytes + (what == 0 ? 16 : 24), what == 0 ? 0 : 26);     /* chunks; pairs */
        assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
        assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_NETWORK_FAILED);
        assert_string_not_equal(error.text, "");
        free(chunk);
        free(end);
        fleet_destroy(fleet, false);
    }
}

static void test_the_end_may_come_first(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting(fleet->nodes[1].job.exchange, HALF + 1), 0);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting(fleet->nodes[1].job.exchange, HALF + 1), 200);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(fleet->nodes[0].outbox));
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void test_a_chunk_of_any_size_arrives(void **state)
{
    static const uint32_t sizes[] = {1, 7, FLEET_CHUNK, FLEET_CHUNK + 1, 1 << 20, MR__PIECE_MOST, MR__PIECE_MOST + 1,
                                     MR__PIECE_MOST + 4096};
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0];
    for (uint32_t i = 0; i < MR__COUNT(sizes); i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        pair_put(from, epoch, HALF, sizes[i], (uint8_t)i);
        if (i % 2 == 0)                     /* from the spill, every other time */
            fleet_make_room(&from->lanes[0], UINT64_MAX);
        assert_int_equal(mr__outbox_kept(from->outbox) == 0, i % 2 == 0);
        pair_close(from, epoch, 10 * i, 10 * i + 10);
        pair_settle(fleet);
        assert_true(mr__outbox_is_clear(from->outbox));
        pair_arrived(&fleet->nodes[1], HALF, sizes[i], (uint8_t)i);
        fleet_make_room(&from->lanes[0], UINT64_MAX);
    }
    fleet_destroy(fleet, false);
}

/* Keeps what left, unanswered. */
static uint32_t take_chunks(struct fleet *fleet, struct letter **kept, uint32_t count, uint64_t *pages)
{
    for (struct letter *one; (one = fleet_take_letter(fleet, 0, 1, MR__BULK)) != NULL;) {
        const uint8_t *size = one->bytes + 28;      /* of the chunk, which is in this message as a whole */
        *pages += (mr__get32(&size) + 4095) / 4096;
        kept[count++] = one;
    }
    return count;
}

static void test_no_more_than_a_window_is_under_way(void **state)
{
    enum { CHUNKS = 400, WINDOW_PAGES = 64 };
    static const uint32_t sizes[] = {1, FLEET_CHUNK, 4096, 3 * 4096 + 1, 4096 * WINDOW_PAGES};
    for (size_t s = 0; s < MR__COUNT(sizes); s++) {
        struct fleet *fleet = pair_create(32 * 4096 * WINDOW_PAGES, FLEET_CHUNK, false);
        struct node *from = &fleet->nodes[0];
        struct letter *kept[CHUNKS];
        uint32_t count = 0;
        uint64_t pages = 0;
        mr__error error = {.text = ""};
        const uint32_t chunks = sizes[s] > 1 << 16 ? CHUNKS / 10 : CHUNKS, epoch = mr__outbox_begin(from->outbox);
        for (uint32_t i = 0; i < chunks; i++)
            pair_put(from, epoch, HALF + i % HALF, sizes[s], (uint8_t)i);
        for (mr__carried carried; (carried = pair_turn(from)) != MR__CARRY_NOTHING;)
            if (carried == MR__CARRY_CROWDED)
                count = take_chunks(fleet, kept, count, &pages);
        count = take_chunks(fleet, kept, count, &pages);
        const uint32_t each = (sizes[s] + 4095) / 4096;
        assert_int_equal(pages, WINDOW_PAGES / each * each);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, kept[i], &error), MR_OK);
            free(kept[i]);
        }
        pair_close(from, epoch, 0, 10);
        pair_settle(fleet);
        assert_true(mr__outbox_is_clear(from->outbox));
        fleet_destroy(fleet, false);
    }
}

static void test_what_is_whole_waits_for_memory_too(void **state)
{
    struct fleet *fleet = pair_create(4096, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    mr__budget_force(&at->job.budget, 4096);
    assert_int_equal(fleet_hand_over(at, 0, chunk, &error), MR_OK);
    assert_int_equal(fleet_hand_over(at, 0, end, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting_total(at->job.exchange), 0);
    pair_turn(at);
    assert_int_equal(mr__exchange_waiting_total(at->job.exchange), 0);
    assert_int_equal(at->job.partition[HALF + 1].extent_count, 1);
    mr__budget_release(&at->job.budget, 4096);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static void test_what_can_never_be_is_dropped_and_gets_its_credit(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    pair_carry_one(fleet, &chunk, &end);
    mr__put32(chunk->bytes + 12, FLEET_PARTITIONS - 1);         /* a part of the group, which rank 1 has as a whole */
    mr__put32(end->bytes + 12, FLEET_PARTITIONS - 1);
    mr__put32(chunk->bytes + 20, MR__CREDIT_WANTED);
    assert_int_equal(fleet_hand_over(at, 0, end, &error), MR_OK);
    assert_int_equal(fleet_hand_over(at, 0, chunk, &error), MR_OK);
    assert_int_equal(atomic_load(&at->job.budget.used), 0);
    free(chunk);
    chunk = fleet_take_letter(fleet, 1, 0, MR__CONTROL);
    assert_non_null(chunk);
    assert_int_equal(chunk->kind, MR__MAIL_CREDIT);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static void test_credit_waits_for_memory(void **state)
{
    enum { LIMIT = 4096, CHUNKS = 8 };
    struct fleet *fleet = pair_create(LIMIT, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    mr__budget_force(&at->job.budget, LIMIT);       /* something else needs all of it */
    for (uint32_t i = 0; i < CHUNKS; i++)
        pair_put(from, epoch, HALF, FLEET_CHUNK, (uint8_t)i);
    assert_int_equal(pair_turn(from), MR__CARRIED);
    assert_int_equal(pair_turn(from), MR__CARRY_NOTHING);            /* a window is one chunk here */
    assert_true(fleet_deliver(fleet, 0, 1, MR__BULK));
    assert_true(mr__inbox_owes(at->inbox));
    assert_false(fleet_deliver(fleet, 1, 0, MR__CONTROL));
    pair_turn(at);
    assert_false(mr__inbox_owes(at->inbox));
    assert_true(fleet_deliver(fleet, 1, 0, MR__CONTROL));
    assert_int_equal(pair_turn(from), MR__CARRIED);
    pair_close(from, epoch, 0, 10);
    pair_settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(at->job.partition[HALF].extent_count, CHUNKS);     /* none of them was left in memory */
    assert_int_equal(mr__exchange_waiting_total(at->job.exchange), 0);
    mr__budget_release(&at->job.budget, LIMIT);
    fleet_destroy(fleet, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_messages_are_refused),
        cmocka_unit_test(test_a_damaged_chunk_names_rank_and_partition),
        cmocka_unit_test(test_noise_breaks_nothing),
        cmocka_unit_test(test_what_did_not_happen_is_not_confirmed_and_gets_no_credit),
        cmocka_unit_test(test_the_same_input_in_two_epochs_ends_the_job),
        cmocka_unit_test(test_more_or_other_than_the_end_says_is_refused),
        cmocka_unit_test(test_the_end_may_come_first),
        cmocka_unit_test(test_a_chunk_of_any_size_arrives),
        cmocka_unit_test(test_no_more_than_a_window_is_under_way),
        cmocka_unit_test(test_credit_waits_for_memory),
        cmocka_unit_test(test_what_is_whole_waits_for_memory_too),
        cmocka_unit_test(test_what_can_never_be_is_dropped_and_gets_its_credit),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
