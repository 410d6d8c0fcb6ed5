/* test_carry_faults.c: what each call of an outbox, an inbox and a carrier does where an allocation, a write or a post
 * fails. Oracle: the rules of the headers. */
#include "cmocka_all.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "carry_pair.h"
#include "fault.h"

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
            MR_TRY(mr__outbox_put(from->outbox, epoch, chunk, NULL, &waiting, error));
        }
        if (i == 0)
            MR_TRY(mr__outbox_make_room(from->outbox, writer, UINT64_MAX, &freed, error));
        const mr__mapped mapped = {&inputs[i], 0, FLEET_PARTITIONS, i == 0 ? DEAR : CHEAP};
        MR_TRY(mr__outbox_close(from->outbox, epoch, &mapped, error));
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
            struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
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
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, true);
    struct node *from = &fleet->nodes[0];
    mr__carrier_stop(from->carrier);
    from->mail.post = no_post;
    from->mail.failed = note_failure;
    mr__error error = {.text = ""};
    assert_int_equal(mr__carrier_start(&from->job, &from->mail, from->outbox, from->inbox, &from->carrier, &error),
                     MR_OK);
    const uint32_t epoch = mr__outbox_begin(from->outbox);
    for (uint32_t i = 0; i < 3; i++)
        pair_put(from, epoch, HALF, 100, 1);
    const uint64_t end = mr__now_ns() + 100000000000u;
    while (atomic_load(&failures_told) == 0 && mr__now_ns() < end)
        sched_yield();
    pair_put(from, epoch, HALF, 100, 1);
    pair_close(from, epoch, 0, 10);
    fleet_destroy(fleet, true);
    assert_int_equal(atomic_load(&failures_told), 1);
}

static void test_without_memory_none_is_made(void **state)
{
    struct fleet *fleet = pair_create(UNLIMITED, FLEET_CHUNK, false);
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
        cmocka_unit_test(test_each_call_may_fail),
        cmocka_unit_test(test_a_carrier_that_fails_says_so_once),
        cmocka_unit_test(test_without_memory_none_is_made),
    };
    return cmocka_run_group_tests(tests, fleet_set_up, fleet_tear_down);
}
