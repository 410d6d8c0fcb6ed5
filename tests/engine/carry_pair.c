/* carry_pair.c: short words for what two ranks do. */
#include "carry_pair.h"

#include "cmocka_all.h"

#include <stdlib.h>

#include "memory.h"

struct fleet *pair_create(uint64_t limit, uint32_t chunk, bool threads)
{
    struct fleet *fleet = fleet_create(2, 100, limit == UNLIMITED ? UINT64_MAX / 2 : limit, chunk, threads);
    for (uint32_t r = 0; r < 2; r++)
        assert_true(fleet_apply(&fleet->nodes[r]));
    assert_int_equal(fleet->nodes[0].groups[0].last, HALF);
    return fleet;
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

void pair_put(struct node *of, uint32_t epoch, uint32_t partition, uint32_t size, uint8_t fill)
{
    uint64_t waiting;
    mr__error error = {.text = ""};
    mr__chunk *chunk = new_chunk(of, partition, size, fill);
    assert_int_equal(mr__outbox_put(of->outbox, epoch, chunk, NULL, &waiting, &error), MR_OK);
}

void pair_close(struct node *of, uint32_t epoch, uint64_t begin, uint64_t end)
{
    pair_close_after(of, epoch, begin, end, DEAR);
}

void pair_close_after(struct node *of, uint32_t epoch, uint64_t begin, uint64_t end, uint64_t ns)
{
    mr__error error = {.text = ""};
    mr__cover input = {.count = 0};
    assert_int_equal(mr__cover_add(&input, begin, end, &error), MR_OK);
    const mr__mapped mapped = {&input, 0, FLEET_PARTITIONS, ns};
    assert_int_equal(mr__outbox_close(of->outbox, epoch, &mapped, &error), MR_OK);
    mr__cover_fini(&input);
}

mr__carried pair_turn(struct node *of)
{
    mr__error error = {.text = ""};
    mr__carried carried = MR__CARRY_NOTHING;
    if (mr__carrier_turn(of->carrier, &carried, &error) != MR_OK)
        fail_msg("%s", error.text);
    return carried;
}

void pair_settle(struct fleet *fleet)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t r = 0; r < fleet->ranks; r++) {
            if (atomic_load(&fleet->dead[r]))
                continue;
            moved |= mr__inbox_owes(fleet->nodes[r].inbox);
            moved |= pair_turn(&fleet->nodes[r]) == MR__CARRIED;
            for (uint32_t from = 0; from < fleet->ranks; from++)
                for (mr__path path = MR__CONTROL; path < MR__PATHS; path++)
                    moved |= fleet_deliver(fleet, from, r, path);
        }
        fleet_check(fleet);
    }
}

void pair_carry_one(struct fleet *fleet, struct letter **chunk, struct letter **end)
{
    struct node *from = &fleet->nodes[0];
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    pair_put(from, epoch, HALF + 1, 200, 3);
    pair_close(from, epoch, 10, 20);
    while (pair_turn(from) == MR__CARRIED) {
    }
    *chunk = fleet_take_letter(fleet, 0, 1, MR__BULK);
    *end = fleet_take_letter(fleet, 0, 1, MR__BULK);
    assert_int_equal((*chunk)->kind, MR__MAIL_CHUNK);
    assert_int_equal((*end)->kind, MR__MAIL_END);
}

void pair_arrived(struct node *at, uint32_t partition, uint32_t size, uint8_t fill)
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

static bool is_rank_1(void *context, uint32_t rank)
{
    return rank == 1;
}

void pair_forgot(struct node *of, const mr__work *expected, size_t count)
{
    mr__error error = {.text = ""};
    mr__works forgotten = {.count = 0};
    assert_int_equal(mr__outbox_forgotten(of->outbox, is_rank_1, NULL, &forgotten, &error), MR_OK);
    assert_int_equal(forgotten.count, count);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(&forgotten.list[i], &expected[i], sizeof *expected);
    mr__free(forgotten.list);
}

void pair_assign(struct node *of, const mr__group *groups, size_t count, mr_status expected)
{
    mr__error error = {.text = ""};
    assert_int_equal(mr__outbox_assign(of->outbox, groups, count, &error), expected);
    assert_int_equal(mr__inbox_assign(of->inbox, groups, count, &error), expected);
    if (expected != MR_OK)
        assert_string_not_equal(error.text, "");
}
