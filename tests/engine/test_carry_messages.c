/* test_carry_messages.c: single messages between ranks: broken ones, large ones, those beyond the window, those for
 * which there is no memory; and what each call does where an allocation or a write fails. Oracle: the bytes that were
 * put, and the rules of the headers. */
#include "cmocka_all.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "carry_fleet.h"
#include "fault.h"

enum { HALF = FLEET_PARTITIONS / 2, UNLIMITED = 0 };

/* Rank 0 owns the first half of the partitions, rank 1 the second. */
static struct fleet *two_ranks_of(uint64_t limit, uint32_t chunk, bool threads)
{
    struct fleet *fleet = fleet_create(2, 100, limit == UNLIMITED ? UINT64_MAX / 2 : limit, chunk, threads);
    for (uint32_t r = 0; r < 2; r++)
        assert_true(fleet_apply(&fleet->nodes[r]));
    assert_int_equal(fleet->nodes[0].groups[0].last, HALF);
    return fleet;
}

static struct fleet *two_ranks(uint64_t limit)
{
    return two_ranks_of(limit, FLEET_CHUNK, false);
}

static mr__chunk *new_chunk(struct node *of, uint32_t partition, uint32_t size, uint8_t fill)
{
    mr__chunk *chunk = mr__chunk_acquire_forced(&of->job.pool, partition, size);
    assert_non_null(chunk);
    for (uint32_t i = 0; i < size; i++)
        chunk->data[i] = (uint8_t)(fill + i * 7 + (i >> 8));
    chunk->size = size;
    chunk->pairs = size < 8 ? 1 : size / 8;
    return chunk;
}

static void put(struct node *of, uint32_t epoch, uint32_t partition, uint32_t size, uint8_t fill)
{
    uint64_t waiting;
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_put(of->outbox, epoch, new_chunk(of, partition, size, fill), &waiting, &error), MR_OK);
}

static void close_epoch(struct node *of, uint32_t epoch, uint64_t begin, uint64_t end)
{
    mr__error error = {.text = ""};
    mr__cover input = {.count = 0};
    assert_int_equal(mr__cover_add(&input, begin, end, &error), MR_OK);
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &input, 0, FLEET_PARTITIONS, &error), MR_OK);
    mr__cover_fini(&input);
}

static mr__carried turn(struct node *of)
{
    mr__error error = {.text = ""};
    mr__carried carried = MR__CARRY_NOTHING;
    if (mr__carrier_turn(of->carrier, &carried, &error) != MR_OK)
        fail_msg("%s", error.text);
    return carried;
}

/* Until nothing moves. */
static void settle(struct fleet *fleet)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t r = 0; r < fleet->ranks; r++) {
            if (atomic_load(&fleet->dead[r]))
                continue;
            moved |= mr__inbox_owes(fleet->nodes[r].inbox);
            moved |= turn(&fleet->nodes[r]) == MR__CARRIED;
            for (uint32_t from = 0; from < fleet->ranks; from++)
                for (mr__path path = MR__CONTROL; path < MR__PATHS; path++)
                    moved |= fleet_deliver(fleet, from, r, path);
        }
        fleet_check(fleet);
    }
}

/* One epoch with one chunk for partition HALF + 1, carried: its CHUNK and its END. */
static void carry_one(struct fleet *fleet, struct letter **chunk, struct letter **end)
{
    struct node *from = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    put(from, epoch, HALF + 1, 200, 3);
    close_epoch(from, epoch, 10, 20);
    while (turn(from) == MR__CARRIED) {
    }
    *chunk = fleet_take_letter(fleet, 0, 1, MR__BULK);
    *end = fleet_take_letter(fleet, 0, 1, MR__BULK);
    assert_int_equal((*chunk)->kind, MR__MAIL_CHUNK);
    assert_int_equal((*end)->kind, MR__MAIL_END);
}

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
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *at = &fleet->nodes[1];
    struct letter *chunk, *end;
    carry_one(fleet, &chunk, &end);
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
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    carry_one(fleet, &chunk, &end);
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
    struct fleet *fleet = two_ranks(UNLIMITED);
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
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct letter *chunk, *end;
    struct letter *reply = malloc(sizeof *reply + 64);
    assert_non_null(reply);
    carry_one(fleet, &chunk, &end);
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
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    for (uint32_t times = 0; times < 2; times++) {
        carry_one(fleet, &chunk, &end);
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
        struct fleet *fleet = two_ranks(UNLIMITED);
        struct letter *chunk, *end;
        mr__error error = {.text = ""};
        carry_one(fleet, &chunk, &end);
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
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    carry_one(fleet, &chunk, &end);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting(fleet->nodes[1].job.exchange, HALF + 1), 0);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    assert_int_equal(mr__exchange_waiting(fleet->nodes[1].job.exchange, HALF + 1), 200);
    settle(fleet);
    assert_true(mr__outbox_is_clear(fleet->nodes[0].outbox));
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void check_arrived(struct node *at, uint32_t partition, uint32_t size, uint8_t fill)
{
    mr__chunk *chunk = mr__exchange_take(at->job.exchange, partition);
    assert_non_null(chunk);
    assert_null(chunk->next);
    assert_int_equal(chunk->size, size);
    assert_int_equal(chunk->pairs, size < 8 ? 1 : size / 8);
    for (uint32_t i = 0; i < size; i++)
        if (chunk->data[i] != (uint8_t)(fill + i * 7 + (i >> 8)))
            fail_msg("byte %u of %u is another", i, size);
    mr__chunk_release(&at->job.pool, chunk);
}

static void test_a_chunk_of_any_size_arrives(void **state)
{
    static const uint32_t sizes[] = {1, 7, FLEET_CHUNK, FLEET_CHUNK + 1, 1 << 20, MR__PIECE_MOST, MR__PIECE_MOST + 1,
                                     MR__PIECE_MOST + 4096};
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *from = &fleet->nodes[0];
    for (uint32_t i = 0; i < MR__COUNT(sizes); i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        put(from, epoch, HALF, sizes[i], (uint8_t)i);
        if (i % 2 == 0)                     /* from the spill, every other time */
            fleet_make_room(&from->lanes[0], UINT64_MAX);
        assert_int_equal(mr__outbox_kept(from->outbox) == 0, i % 2 == 0);
        close_epoch(from, epoch, 10 * i, 10 * i + 10);
        settle(fleet);
        assert_true(mr__outbox_is_clear(from->outbox));
        check_arrived(&fleet->nodes[1], HALF, sizes[i], (uint8_t)i);
        fleet_make_room(&from->lanes[0], UINT64_MAX);
    }
    fleet_destroy(fleet, false);
}

/* Keeps what left, unanswered. */
static uint32_t take_chunks(struct fleet *fleet, struct letter **kept, uint32_t count, uint64_t *pages)
{
    for (struct letter *one; (one = fleet_take_letter(fleet, 0, 1, MR__BULK)) != NULL;) {
        *pages += (one->size - MR__CHUNK_HEAD + 4095) / 4096;
        kept[count++] = one;
    }
    return count;
}

static void test_no_more_than_a_window_is_under_way(void **state)
{
    enum { CHUNKS = 400, WINDOW_PAGES = 64 };
    static const uint32_t sizes[] = {1, FLEET_CHUNK, 4096, 3 * 4096 + 1, 4096 * WINDOW_PAGES};
    for (size_t s = 0; s < MR__COUNT(sizes); s++) {
        struct fleet *fleet = two_ranks(32 * 4096 * WINDOW_PAGES);
        struct node *from = &fleet->nodes[0];
        struct letter *kept[CHUNKS];
        uint32_t count = 0;
        uint64_t pages = 0;
        mr__error error = {.text = ""};
        const uint32_t chunks = sizes[s] > 1 << 16 ? CHUNKS / 10 : CHUNKS, epoch = mr__outbox_begin(from->outbox);
        for (uint32_t i = 0; i < chunks; i++)
            put(from, epoch, HALF + i % HALF, sizes[s], (uint8_t)i);
        for (mr__carried carried; (carried = turn(from)) != MR__CARRY_NOTHING;)
            if (carried == MR__CARRY_CROWDED)
                count = take_chunks(fleet, kept, count, &pages);
        count = take_chunks(fleet, kept, count, &pages);
        const uint32_t each = (sizes[s] + 4095) / 4096;
        assert_int_equal(pages, WINDOW_PAGES / each * each);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, kept[i], &error), MR_OK);
            free(kept[i]);
        }
        close_epoch(from, epoch, 0, 10);
        settle(fleet);
        assert_true(mr__outbox_is_clear(from->outbox));
        fleet_destroy(fleet, false);
    }
}

static void test_credit_waits_for_memory(void **state)
{
    enum { LIMIT = 4096, CHUNKS = 8 };
    struct fleet *fleet = two_ranks(LIMIT);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    mr__budget_force(&at->job.budget, LIMIT);       /* something else needs all of it */
    for (uint32_t i = 0; i < CHUNKS; i++)
        put(from, epoch, HALF, FLEET_CHUNK, (uint8_t)i);
    assert_int_equal(turn(from), MR__CARRIED);
    assert_int_equal(turn(from), MR__CARRY_NOTHING);            /* a window is one chunk here */
    assert_true(fleet_deliver(fleet, 0, 1, MR__BULK));
    assert_true(mr__inbox_owes(at->inbox));
    assert_false(fleet_deliver(fleet, 1, 0, MR__CONTROL));
    turn(at);
    assert_false(mr__inbox_owes(at->inbox));
    assert_true(fleet_deliver(fleet, 1, 0, MR__CONTROL));
    assert_int_equal(turn(from), MR__CARRIED);
    close_epoch(from, epoch, 0, 10);
    settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(at->job.partition[HALF].extent_count, CHUNKS);     /* none of them was left in memory */
    assert_int_equal(mr__exchange_waiting_total(at->job.exchange), 0);
    mr__budget_release(&at->job.budget, LIMIT);
    fleet_destroy(fleet, false);
}

/* ---- owners ------------------------------------------------------------------------------------------------------ */

static void assign(struct node *of, const mr__group *groups, size_t count, mr_status expected)
{
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_assign(of->outbox, groups, count, &error), expected);
    assert_int_equal(mr__inbox_assign(of->inbox, groups, count, &error), expected);
    if (expected != MR_OK)
        assert_string_not_equal(error.text, "");
}

static void test_groups_that_cannot_be_are_refused(void **state)
{
    static const struct {
        mr__group groups[2];
        size_t count;
    } cases[] = {
        {{{.last = HALF}}, 1},                                                      /* not all */
        {{{.last = HALF}, {.first = HALF + 1, .last = FLEET_PARTITIONS}}, 2},       /* a gap */
        {{{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS + 1}}, 2},       /* too many */
        {{{.last = FLEET_PARTITIONS, .owner = 2}}, 1},                              /* a rank that is none */
        {{{.last = FLEET_PARTITIONS, .owner = 1}}, 1},                              /* from a living one */
        {{{.last = FLEET_PARTITIONS, .owner = 0}}, 1},                              /* another shape */
    };
    struct fleet *fleet = two_ranks(UNLIMITED);
    for (size_t i = 0; i < MR__COUNT(cases); i++)
        assign(&fleet->nodes[0], cases[i].groups, cases[i].count, MR_INTERNAL);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

static void test_what_moves_to_this_rank_goes_to_its_exchange_and_extents(void **state)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *of = &fleet->nodes[0];
    const uint32_t first = mr__outbox_begin(of->outbox);
    put(of, first, HALF, 100, 1);
    close_epoch(of, first, 0, 10);
    settle(fleet);
    fleet_make_room(&of->lanes[0], 1);              /* what was sent goes first */
    const uint32_t second = mr__outbox_begin(of->outbox);
    put(of, second, HALF + 2, 120, 2);
    fleet_kill(fleet, 1);
    assign(of, groups, 2, MR_OK);
    put(of, second, HALF + 3, 130, 3);
    assert_false(mr__outbox_is_clear(of->outbox));
    close_epoch(of, second, 10, 20);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_int_equal(mr__outbox_kept(of->outbox), 0);
    assert_int_equal(of->job.partition[HALF].extent_count, 1);
    assert_int_equal(of->job.partition[HALF].extents[0].size, 100);
    check_arrived(of, HALF + 2, 120, 2);
    check_arrived(of, HALF + 3, 130, 3);
    fleet_check(fleet);
    fleet_destroy(fleet, false);
}

/* Rank 2 hears of an owner that never comes to be, sends it so many messages, of which some arrive in time, and all of
 * them again when that becomes true later. */
static void be_stale(uint32_t sent, uint32_t in_time)
{
    static const mr__group before[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 1},
                                       {.first = 8, .last = 12, .owner = 2}};
    static const mr__group never[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 0},
                                      {.first = 8, .last = 12, .owner = 2}};
    static const mr__group between[] = {{.last = 4, .owner = 0}, {.first = 4, .last = 8, .owner = 3},
                                        {.first = 8, .last = 12, .owner = 2}};
    struct fleet *fleet = fleet_create(4, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[2], *at = &fleet->nodes[0];
    assign(from, before, 3, MR_OK);
    assign(at, before, 3, MR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        put(from, epoch, 5, 100, (uint8_t)epoch);
        close_epoch(from, epoch, 10 * epoch, 10 * epoch + 10);
    }
    assign(from, never, 3, MR_OK);
    for (uint32_t i = 0; i < sent; i++)
        turn(from);
    for (uint32_t i = 0; i < in_time; i++)
        fleet_deliver(fleet, 2, 0, MR__BULK);
    assign(from, between, 3, MR_OK);
    assign(at, between, 3, MR_OK);
    assign(from, never, 3, MR_OK);              /* now it becomes true */
    assign(at, never, 3, MR_OK);
    settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    assert_int_equal(mr__exchange_waiting(at->job.exchange, 5), 300);
    fleet_destroy(fleet, false);
}

static void test_what_is_stale_is_not_counted_twice(void **state)
{
    for (uint32_t sent = 0; sent <= 6; sent++)
        for (uint32_t in_time = 0; in_time <= sent; in_time++)
            be_stale(sent, in_time);
}

/* A part of a large chunk is stale, and its credit comes back. */
static void test_a_part_of_a_chunk_may_be_stale(void **state)
{
    static const mr__group before[] = {{.last = 8, .owner = 0}, {.first = 8, .last = 12, .owner = 1}};
    static const mr__group after[] = {{.last = 8, .owner = 0}, {.first = 8, .last = 10, .owner = 1},
                                      {.first = 10, .last = 12, .owner = 1}};
    struct fleet *fleet = fleet_create(2, 100, UINT64_MAX / 2, FLEET_CHUNK, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_assign(from->outbox, before, 2, &error), MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    put(from, epoch, 9, MR__PIECE_MOST + 10, 1);
    assert_int_equal(turn(from), MR__CARRIED);
    assert_true(fleet_deliver(fleet, 0, 1, MR__BULK));
    /* rank 1 never had the group that it was sent for */
    assert_int_equal(mr__outbox_assign(from->outbox, after, 3, &error), MR_OK);
    assert_int_equal(mr__inbox_assign(at->inbox, after, 3, &error), MR_OK);
    close_epoch(from, epoch, 0, 10);
    settle(fleet);
    assert_true(mr__outbox_is_clear(from->outbox));
    check_arrived(at, 9, MR__PIECE_MOST + 10, 1);
    fleet_destroy(fleet, false);
}

static void test_the_lost_are_not_heard(void **state)
{
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct letter *chunk, *end;
    mr__error error = {.text = ""};
    carry_one(fleet, &chunk, &end);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    mr__inbox_forget(fleet->nodes[1].inbox, 0);
    chunk->bytes[0] ^= 1;                       /* even nonsense */
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, chunk, &error), MR_OK);
    assert_int_equal(fleet_hand_over(&fleet->nodes[1], 0, end, &error), MR_OK);
    fleet_check(fleet);
    assert_int_equal(mr__exchange_waiting_total(fleet->nodes[1].job.exchange), 0);
    free(chunk);
    free(end);
    fleet_destroy(fleet, false);
}

static bool is_first(void *context, uint32_t rank)
{
    return rank == 0;
}

static void test_a_group_covers_what_came_whole_of_the_lost(void **state)
{
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *at = &fleet->nodes[1];
    mr__error error = {.text = ""};
    mr__group groups[] = {{.last = HALF, .owner = 0}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 1}};
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t epoch = mr__outbox_begin(fleet->nodes[0].outbox);
        if (i != 1)                             /* an epoch without pairs counts as any other */
            put(&fleet->nodes[0], epoch, HALF + i, 50, 1);
        if (i < 2)                              /* the last one stays open */
            close_epoch(&fleet->nodes[0], epoch, 10 * i, 10 * i + 10);
    }
    settle(fleet);
    assert_int_equal(mr__inbox_cover(at->inbox, is_first, NULL, groups, 2, &error), MR_OK);
    assert_int_equal(groups[0].covered.count, 0);
    assert_int_equal(groups[1].covered.count, 1);
    assert_int_equal(groups[1].covered.ranges[0].begin, 0);
    assert_int_equal(groups[1].covered.ranges[0].end, 20);
    mr__cover_fini(&groups[1].covered);
    groups[1].first++;
    assert_int_equal(mr__inbox_cover(at->inbox, is_first, NULL, groups, 2, &error), MR_INTERNAL);
    fleet_destroy(fleet, false);
}

static void test_an_epoch_of_nothing_is_forgotten(void **state)
{
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *of = &fleet->nodes[0];
    mr__error error = {.text = ""};
    const mr__cover nothing = {.count = 0};
    uint64_t waiting = 7;
    const uint32_t epoch = mr__outbox_begin(of->outbox);
    mr__chunk *empty = mr__chunk_acquire(&of->job.pool, HALF, 1);
    assert_int_equal(mr__outbox_put(of->outbox, epoch, empty, &waiting, &error), MR_OK);
    assert_int_equal(waiting, 0);
    assert_false(mr__outbox_is_clear(of->outbox));
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &nothing, 0, FLEET_PARTITIONS, &error), MR_OK);
    assert_true(mr__outbox_is_clear(of->outbox));
    assert_int_equal(turn(of), MR__CARRY_NOTHING);
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &nothing, 0, FLEET_PARTITIONS, &error), MR_INTERNAL);
    fleet_destroy(fleet, false);
}

static void test_few_pairs_keep_little_memory(void **state)
{
    struct fleet *fleet = two_ranks_of(UNLIMITED, 1 << 18, false);
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    for (uint32_t p = HALF; p < FLEET_PARTITIONS; p++)
        put(from, epoch, p, 1000, 1);
    assert_int_equal(mr__outbox_kept(from->outbox) + HALF * (sizeof(mr__chunk) + MR__CHUNK_PADDING), HALF * 4096);
    close_epoch(from, epoch, 0, 10);
    settle(fleet);
    mr__chunk_pool_trim(&at->job.pool);
    assert_int_equal(atomic_load(&at->job.budget.used), HALF * 4096);
    fleet_destroy(fleet, false);
}

/* ---- what fails -------------------------------------------------------------------------------------------------- */

static mr_status hand_over_all(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path, mr__error *error)
{
    mr_status status = MR_OK;
    for (struct letter *one; status == MR_OK && (one = fleet_take_letter(fleet, from, to, path)) != NULL;) {
        status = fleet_hand_over(&fleet->nodes[to], from, one, error);
        free(one);
    }
    return status;
}

static mr_status carry_all(struct fleet *fleet, mr__error *error)
{
    mr_status status = MR_OK;
    mr__carried carried = MR__CARRIED;
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    for (uint32_t i = 0; i < 60; i++) {
        MR_TRY(mr__carrier_turn(from->carrier, &carried, error));
        MR_TRY(hand_over_all(fleet, 0, 1, MR__BULK, error));
        MR_TRY(mr__carrier_turn(at->carrier, &carried, error));
        MR_TRY(hand_over_all(fleet, 1, 0, MR__CONTROL, error));
    }
done:
    return status;
}

/* Chunks in memory and spilled, memory that is short, a loss: every call that can fail. */
static mr_status live_through(struct fleet *fleet, mr__spill_writer *writer, const mr__cover *inputs, mr__error *error)
{
    static const mr__group groups[] = {{.last = HALF}, {.first = HALF, .last = FLEET_PARTITIONS, .owner = 0}};
    mr_status status = MR_OK;
    struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
    uint64_t waiting, freed;
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t epoch = mr__outbox_begin(from->outbox);
        for (uint32_t p = 0; p < FLEET_PARTITIONS; p += 3) {
            mr__chunk *chunk = mr__chunk_acquire_forced(&from->job.pool, p, 64);
            MR_CHECK(chunk != NULL, MR_NO_MEMORY, "no memory for the test's chunk");
            memset(chunk->data, (int)p, 64);
            chunk->size = 64;
            chunk->pairs = 8;
            MR_TRY(mr__outbox_put(from->outbox, epoch, chunk, &waiting, error));
        }
        if (i == 0)
            MR_TRY(mr__outbox_make_room(from->outbox, writer, UINT64_MAX, &freed, error));
        MR_TRY(mr__outbox_close(from->outbox, epoch, &inputs[i], 0, FLEET_PARTITIONS, error));
    }
    MR_TRY(carry_all(fleet, error));
    MR_CHECK(mr__outbox_is_clear(from->outbox), MR_INTERNAL, "not clear");
    MR_CHECK(at->job.partition[HALF].extent_count == 2, MR_INTERNAL, "%zu extents",
             at->job.partition[HALF].extent_count);
    MR_TRY(mr__outbox_assign(from->outbox, groups, 2, error));
    mr__inbox_forget(from->inbox, 1);
    MR_TRY(mr__inbox_assign(from->inbox, groups, 2, error));
    MR_CHECK(mr__outbox_is_clear(from->outbox), MR_INTERNAL, "not clear after a loss");
    MR_TRY(mr__outbox_check(from->outbox, error));
    MR_TRY(mr__inbox_check(at->inbox, error));
done:
    return status;
}

static void test_each_call_may_fail(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_ALLOC, MR__FAULT_PAGES, MR__FAULT_OPEN, MR__FAULT_READ,
                                                  MR__FAULT_WRITE};
    mr__error error = {.text = ""};
    mr__cover inputs[2] = {{.count = 0}, {.count = 0}};
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(mr__cover_add(&inputs[i], 10 * i, 10 * i + 10, &error), MR_OK);
    uint32_t failures = 0;
    for (size_t p = 0; p < MR__COUNT(points); p++)
        for (uint32_t nth = 1;; nth++) {
            struct fleet *fleet = two_ranks(UNLIMITED);
            struct node *from = &fleet->nodes[0], *at = &fleet->nodes[1];
            at->job.budget.limit = 1000;
            mr__budget_force(&at->job.budget, 2000);
            assert_int_equal(mr__spill_writer_create(from->job.spill, &from->job.budget, &from->lanes[0].writer,
                                                     &error), MR_OK);
            mr__error_clear(&error);
            mr__fault_arm(points[p], nth);
            const mr_status status = live_through(fleet, from->lanes[0].writer, inputs, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            if (status != MR_OK)
                assert_string_not_equal(error.text, "");
            if (!fired && status != MR_OK)
                fail_msg("%s", error.text);
            failures += status != MR_OK;
            mr__budget_release(&at->job.budget, 2000);
            fleet_destroy(fleet, false);
            if (!fired)
                break;
        }
    assert_true(failures > 30);
    for (uint32_t i = 0; i < 2; i++)
        mr__cover_fini(&inputs[i]);
}

static mr_status no_post(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head, size_t head_size,
                         const void *bytes, size_t size, mr__error *error)
{
    return mr__fail(error, MR_NETWORK_FAILED, "this rank was taken for lost");
}

static _Atomic int failures_told;

static void note_failure(void *context, mr_status status, const mr__error *error)
{
    assert_int_equal(status, MR_NETWORK_FAILED);
    assert_string_equal(error->text, "this rank was taken for lost");
    atomic_fetch_add(&failures_told, 1);
}

static void test_a_carrier_that_fails_says_so_once(void **state)
{
    struct fleet *fleet = two_ranks_of(UNLIMITED, FLEET_CHUNK, true);
    struct node *from = &fleet->nodes[0];
    mr__carrier_stop(from->carrier);
    from->mail.post = no_post;
    from->mail.failed = note_failure;
    mr__error error = {.text = ""};
    assert_int_equal(mr__carrier_start(&from->job, &from->mail, from->outbox, from->inbox, &from->carrier, &error),
                     MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    for (uint32_t i = 0; i < 3; i++)
        put(from, epoch, HALF, 100, 1);
    const uint64_t end = mr__now_ns() + 20000000000u;
    while (atomic_load(&failures_told) == 0 && mr__now_ns() < end)
        sched_yield();
    put(from, epoch, HALF, 100, 1);
    close_epoch(from, epoch, 0, 10);
    fleet_destroy(fleet, true);
    assert_int_equal(atomic_load(&failures_told), 1);
}

static void test_without_memory_none_is_made(void **state)
{
    struct fleet *fleet = two_ranks(UNLIMITED);
    struct node *of = &fleet->nodes[0];
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.text = ""};
        mr__outbox *outbox = NULL;
        mr__inbox *inbox = NULL;
        mr__carrier *carrier = NULL;
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        mr_status status = mr__outbox_create(&of->job, &of->mail, &outbox, &error);
        if (status == MR_OK)
            status = mr__inbox_create(&of->job, &of->mail, &inbox, &error);
        if (status == MR_OK)
            status = mr__carrier_start(&of->job, &of->mail, outbox, inbox, &carrier, &error);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        assert_int_equal(status, fired ? MR_NO_MEMORY : MR_OK);
        assert_int_equal(carrier != NULL, !fired);
        assert_int_equal(error.text[0] != '\0', fired);
        mr__carrier_stop(carrier);
        mr__inbox_destroy(inbox);
        mr__outbox_destroy(outbox);
        if (!fired)
            break;
    }
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
        cmocka_unit_test(test_groups_that_cannot_be_are_refused),
        cmocka_unit_test(test_what_moves_to_this_rank_goes_to_its_exchange_and_extents),
        cmocka_unit_test(test_what_is_stale_is_not_counted_twice),
        cmocka_unit_test(test_a_part_of_a_chunk_may_be_stale),
        cmocka_unit_test(test_the_lost_are_not_heard),
        cmocka_unit_test(test_a_group_covers_what_came_whole_of_the_lost),
        cmocka_unit_test(test_an_epoch_of_nothing_is_forgotten),
        cmocka_unit_test(test_few_pairs_keep_little_memory),
        cmocka_unit_test(test_each_call_may_fail),
        cmocka_unit_test(test_a_carrier_that_fails_says_so_once),
        cmocka_unit_test(test_without_memory_none_is_made),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
