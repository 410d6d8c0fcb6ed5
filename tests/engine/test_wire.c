/* test_wire.c: what travels is what was put, and what is packed is decided by what the network does.
 * Oracle: the bytes; for the decision a link, an owner that gives credit and a codec, which are a few lines here: how
 * long they take with and without packing is known. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* ---- the decision ------------------------------------------------------------------------------------------------ */

enum { PIECE = 64 << 10, WINDOW = 4 << 20, LINES = 2, QUEUE = 4096 };

static const double MB = 1e-3;          /* a second, in bytes a nanosecond */

struct line {                           /* to one owner: messages under way, and the credit that it owes */
    struct {
        uint64_t arrives_ns;
        uint32_t bytes;
    } queue[QUEUE];
    uint32_t head, tail;
    uint64_t due;
};

struct sea {
    double link, owner, source, codec, share;           /* bytes a nanosecond; packed bytes of one */
    bool always, never;
    mr__wire_choice choice;
    struct line lines[LINES];
    uint64_t under_way[LINES];
    uint64_t now_ns, link_free_ns, owner_free_ns;
    uint64_t sent, packed;                              /* bytes, as they were; those of them that were packed */
    double made;                                        /* by the source: bytes that may be sent */
};

/* Credits for what has arrived by now; when something arrives next. */
static uint64_t receive(struct sea *sea)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t l = 0; l < LINES; l++) {
        struct line *line = &sea->lines[l];
        for (; line->head != line->tail && line->queue[line->head % QUEUE].arrives_ns <= sea->now_ns; line->head++)
            line->due += line->queue[line->head % QUEUE].bytes;
        if (sea->under_way[l] >= WINDOW / 2) {          /* the sender has asked for it */
            sea->under_way[l] -= line->due;
            line->due = 0;
        }
        if (line->head != line->tail && line->queue[line->head % QUEUE].arrives_ns < next)
            next = line->queue[line->head % QUEUE].arrives_ns;
    }
    return next;
}

static void turn(struct sea *sea, mr__wire_turn what, uint32_t bytes)
{
    mr__error error = {.text = ""};
    mr__wire_choice_turn(&sea->choice, what, bytes, sea->under_way, LINES, sea->now_ns);
    if (mr__wire_choice_check(&sea->choice, &error) != MR_OK)
        fail_msg("%s", error.text);
}

static void send_piece(struct sea *sea, uint32_t to)
{
    struct line *line = &sea->lines[to];
    double bytes = PIECE;
    sea->now_ns += 5000;
    if (!sea->never && (sea->always || sea->choice.packs)) {
        bytes *= sea->share;
        sea->now_ns += (uint64_t)(PIECE / sea->codec);
        mr__wire_choice_coded(&sea->choice, PIECE, (uint64_t)bytes, (uint64_t)(PIECE / sea->codec));
        sea->packed += PIECE;
    }
    sea->link_free_ns = (sea->link_free_ns > sea->now_ns ? sea->link_free_ns : sea->now_ns) +
                        (uint64_t)(bytes / sea->link);
    const uint64_t arrives_ns = sea->link_free_ns + 100000;
    sea->owner_free_ns = (sea->owner_free_ns > arrives_ns ? sea->owner_free_ns : arrives_ns) +
                         (uint64_t)(PIECE / sea->owner);
    line->queue[line->tail % QUEUE].arrives_ns = sea->owner_free_ns;
    line->queue[line->tail++ % QUEUE].bytes = PIECE;
    assert_true(line->tail - line->head < QUEUE);
    sea->under_way[to] += PIECE;
    sea->sent += PIECE;
    turn(sea, MR__WIRE_SENT, PIECE);
}

/* Sends so many bytes: how long that took. */
static uint64_t sail(struct sea *sea, uint64_t bytes)
{
    const uint64_t begin = sea->now_ns, end = sea->sent + bytes;
    double had = (double)sea->sent, since = (double)sea->now_ns;
    while (sea->sent < end) {
        const uint64_t next = receive(sea);
        const double made = had + ((double)sea->now_ns - since) * sea->source;
        const uint32_t to = (uint32_t)(sea->sent / PIECE) % LINES;
        if (made < (double)(sea->sent + PIECE)) {
            turn(sea, MR__WIRE_IDLE, 0);
            sea->now_ns += (uint64_t)(((double)(sea->sent + PIECE) - made) / sea->source) + 1;
        } else if (sea->under_way[to] + PIECE <= WINDOW) {
            send_piece(sea, to);
        } else {
            turn(sea, MR__WIRE_BLOCKED, 0);
            sea->now_ns = next > sea->now_ns ? next : sea->now_ns + 1000;
        }
    }
    return sea->now_ns - begin;
}

static struct sea *calm(double link, double codec, double share)
{
    struct sea *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->link = link;
    made->source = made->owner = 4000 * MB;
    made->codec = codec;
    made->share = share;
    made->now_ns = 1;
    return made;
}

/* How long it takes for so many bytes by itself, never packed, always packed. */
struct times {
    double chosen, raw, packed;
    double share;               /* of the bytes was packed */
    uint32_t trials, kept;
};

static struct times compare(const struct sea *like, uint64_t bytes)
{
    struct times times;
    struct sea *sea = malloc(sizeof *sea);
    assert_non_null(sea);
    *sea = *like;
    times.chosen = (double)sail(sea, bytes);
    times.share = (double)sea->packed / (double)sea->sent;
    times.trials = sea->choice.trials;
    times.kept = sea->choice.kept;
    *sea = *like;
    sea->never = true;
    times.raw = (double)sail(sea, bytes);
    *sea = *like;
    sea->always = true;
    times.packed = (double)sail(sea, bytes);
    free(sea);
    return times;
}

static void test_a_slow_network_gets_packed_messages(void **state)
{
    static const double links[] = {12.5, 25, 125};          /* MB/s: 100 Mbit/s, 200 Mbit/s, 1 Gbit/s */
    for (size_t i = 0; i < MR__COUNT(links); i++) {
        struct sea *sea = calm(links[i] * MB, 400 * MB, 0.5);
        const struct times times = compare(sea, 1u << 30);
        assert_true(times.packed < 0.55 * times.raw);       /* or the link here is not what it should be */
        assert_true(times.share > 0.8);
        assert_true(times.chosen < 1.15 * times.packed);
        free(sea);
    }
}

static void test_a_fast_network_gets_them_as_they_are(void **state)
{
    static const struct {
        double link, codec, share;
    } cases[] = {{2000, 400, 0.5}, {500, 400, 0.5}, {390, 400, 0.2}, {300, 400, 0.5}, {1000, 900, 0.6}};
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        struct sea *sea = calm(cases[i].link * MB, cases[i].codec * MB, cases[i].share);
        const struct times times = compare(sea, 1u << 30);
        assert_true(times.share < 0.002);
        assert_true(times.chosen < 1.005 * times.raw);
        free(sea);
    }
}

static void test_what_does_not_get_smaller_is_left_alone(void **state)
{
    struct sea *sea = calm(25 * MB, 400 * MB, 1);
    const struct times times = compare(sea, 1u << 30);
    assert_true(times.share < 0.002);
    assert_true(times.chosen < 1.005 * times.raw);
    free(sea);
}

/* It is the owner that is slow. */
static void test_the_model_alone_does_not_decide(void **state)
{
    struct sea *sea = calm(1000 * MB, 400 * MB, 0.5);
    sea->owner = 50 * MB;
    const struct times times = compare(sea, 1u << 30);
    assert_true(times.trials > 0);
    assert_int_equal(times.kept, 0);
    assert_true(times.share < 0.1);
    assert_true(times.chosen < 1.005 * times.raw);
    free(sea);
}

static void test_nothing_is_asked_while_nothing_waits(void **state)
{
    struct sea *sea = calm(100 * MB, 400 * MB, 0.5);
    sea->source = 90 * MB;
    const struct times times = compare(sea, 1u << 28);
    assert_int_equal(times.trials, 0);
    assert_true(times.share == 0);
    free(sea);
}

/* Packed, all that is mapped goes through. */
static void test_a_network_that_is_fast_enough_only_when_packed(void **state)
{
    struct sea *sea = calm(25 * MB, 400 * MB, 0.5);
    sea->source = 40 * MB;
    const struct times times = compare(sea, 1u << 30);
    assert_true(times.share > 0.7);
    assert_true(times.chosen < 1.15 * times.packed);
    free(sea);
}

static void test_the_answer_follows_the_network(void **state)
{
    struct sea *sea = calm(1000 * MB, 400 * MB, 0.5);
    sail(sea, 1u << 30);
    assert_true(sea->packed < sea->sent / 100);
    sea->link = 20 * MB;
    sail(sea, 1u << 28);
    sea->packed = 0;
    sail(sea, 1u << 30);
    assert_true(sea->packed > (1u << 30) / 10 * 8);
    sea->link = 2000 * MB;
    sail(sea, UINT64_C(20) << 30);
    sea->packed = 0;
    sail(sea, 1u << 30);
    assert_true(sea->packed < (1u << 30) / 20);
    free(sea);
}

static void test_it_follows_the_pairs_too(void **state)
{
    struct sea *sea = calm(25 * MB, 400 * MB, 0.4);
    sail(sea, 1u << 29);
    sea->share = 1;
    sail(sea, UINT64_C(8) << 30);
    sea->packed = 0;
    sail(sea, 1u << 30);
    assert_true(sea->packed < (1u << 30) / 20);
    free(sea);
}

static void test_pauses_do_not_decide(void **state)
{
    struct sea *sea = calm(25 * MB, 400 * MB, 0.5);
    for (int i = 0; i < 60; i++) {
        sail(sea, 80 << 20);
        turn(sea, MR__WIRE_IDLE, 0);
        sea->now_ns += 3000000000;
    }
    assert_true(sea->choice.trials > 0);
    assert_int_equal(sea->choice.kept, sea->choice.trials - (sea->choice.stage == MR__WIRE_FILLS ||
                                                             sea->choice.stage == MR__WIRE_TRIED));
    free(sea);
}

static void test_any_course_keeps_the_rules(void **state)
{
    unsigned random = 7;
    struct sea *sea = calm(100 * MB, 400 * MB, 0.5);
    for (uint32_t i = 0; i < 300000; i++) {
        const uint32_t what = (uint32_t)rand_r(&random);
        sea->now_ns += (uint64_t)rand_r(&random) % (what % 7 == 0 ? 100000000 : 1000000);
        sea->under_way[what % LINES] = (uint64_t)rand_r(&random) % WINDOW;
        if (sea->choice.packs && what % 3 != 0)
            mr__wire_choice_coded(&sea->choice, PIECE, (uint64_t)rand_r(&random) % PIECE, what % 1000000);
        if (what % 97 < 2)
            turn(sea, MR__WIRE_IDLE, 0);
        else
            turn(sea, what % 2 == 0 ? MR__WIRE_SENT : MR__WIRE_BLOCKED, what % 2 == 0 ? (uint32_t)what % PIECE : 0);
    }
    assert_true(sea->choice.trials > 10);
    assert_true(sea->choice.kept > 0 && sea->choice.kept < sea->choice.trials);
    free(sea);
}

/* ---- the bytes --------------------------------------------------------------------------------------------------- */

static mr__wire *open_wire(mr__budget *budget, const char *lz4, mr_status expected)
{
    mr__wire *wire = NULL;
    mr__error error = {.text = ""};
    if (lz4 != NULL)
        setenv("MILLRACE_LZ4", lz4, 1);
    else
        unsetenv("MILLRACE_LZ4");
    assert_int_equal(mr__wire_create(budget, false, &wire, &error), expected);
    unsetenv("MILLRACE_LZ4");
    if (expected != MR_OK) {
        assert_non_null(strstr(error.text, lz4));
        assert_null(wire);
    }
    return wire;
}

static void test_what_was_packed_comes_back(void **state)
{
    static const uint32_t sizes[] = {1, 15, 63, 64, 65, 1000, 65535, 65536, 65537, 1 << 20};
    mr__budget budget;
    mr__error error;
    mr__budget_init(&budget, 1000);         /* both rooms are beyond it */
    mr__wire *wire = open_wire(&budget, "1", MR_OK);
    mr__wire_room room = {NULL, 0};
    uint8_t *bytes = malloc(1 << 20);
    unsigned random = 3;
    assert_non_null(bytes);
    for (size_t i = 0; i < MR__COUNT(sizes); i++)
        for (int noise = 0; noise < 2; noise++) {
            for (uint32_t k = 0; k < sizes[i]; k++)
                bytes[k] = noise ? (uint8_t)(rand_r(&random) >> 7) : (uint8_t)(k % 61);
            const uint8_t *at = bytes, *back;
            uint32_t size = sizes[i];
            const bool packed = mr__wire_pack(wire, &at, &size);
            assert_true(packed == (!noise && sizes[i] >= 1000) || sizes[i] == 64 || sizes[i] == 65);
            assert_true(packed ? size <= sizes[i] - sizes[i] / 16 : at == bytes && size == sizes[i]);
            if (!packed)
                continue;
            assert_int_equal(mr__wire_unpack(&room, &budget, at, size, sizes[i], 1, &back, &error), MR_OK);
            assert_memory_equal(back, bytes, sizes[i]);
        }
    assert_true(atomic_load(&budget.used) >= (1 << 20) + (1 << 20) / 16 * 15);
    mr__wire_room_fini(&room, &budget);
    mr__wire_destroy(wire);
    assert_int_equal(atomic_load(&budget.used), 0);
    free(bytes);
}

static void test_nothing_else_is_unpacked(void **state)
{
    enum { SIZE = 3000 };
    mr__budget budget;
    mr__budget_init(&budget, 1 << 20);
    mr__wire *wire = open_wire(&budget, "1", MR_OK);
    mr__wire_room room = {NULL, 0};
    uint8_t bytes[SIZE];
    uint32_t accepted = 0, size = SIZE;
    unsigned random = 11;
    for (uint32_t k = 0; k < SIZE; k++)
        bytes[k] = (uint8_t)(k % 97 * (k / 512 + 1));
    const uint8_t *at = bytes, *back;
    assert_true(mr__wire_pack(wire, &at, &size));
    for (uint32_t i = 0; i < 20000; i++) {
        mr__error error = {.text = ""};
        uint32_t cut = i % 3 == 0 ? (uint32_t)rand_r(&random) % size : size;
        const uint32_t claimed = i % 3 == 1 ? (uint32_t)rand_r(&random) % (2 * SIZE) : SIZE;
        uint8_t *broken = malloc(cut + 1);      /* of just this size, for the sanitizer */
        assert_non_null(broken);
        memcpy(broken, at, cut);
        if (i % 3 == 2 && cut > 0)
            broken[(uint32_t)rand_r(&random) % cut] ^= (uint8_t)(1u << rand_r(&random) % 8);
        const mr_status status = mr__wire_unpack(&room, &budget, broken, cut, claimed, 5, &back, &error);
        assert_true(status == MR_OK || status == MR_NETWORK_FAILED);
        if (status != MR_OK)
            assert_non_null(strstr(error.text, "rank 5"));
        else
            accepted++;
        if (i % 3 == 0 || (i % 3 == 1 && claimed != SIZE))
            assert_int_equal(status, MR_NETWORK_FAILED);
        free(broken);
    }
    assert_true(accepted < 10000);              /* a literal may become another one: the checksum is for that */
    mr__wire_room_fini(&room, &budget);
    mr__wire_destroy(wire);
}

static void test_the_environment_forces_it(void **state)
{
    static const char *const unknown[] = {"", "2", "yes", "lz4"};
    mr__budget budget;
    mr__budget_init(&budget, 1 << 20);
    for (size_t i = 0; i < MR__COUNT(unknown); i++)
        open_wire(&budget, unknown[i], MR_BAD_USAGE);
    static const char *const known[] = {"0", NULL};
    for (size_t i = 0; i < MR__COUNT(known); i++) {     /* nothing was seen of the network yet */
        static const uint8_t zeros[4096];
        const uint8_t *at = zeros;
        uint32_t size = sizeof zeros;
        mr__wire *wire = open_wire(&budget, known[i], MR_OK);
        assert_false(mr__wire_pack(wire, &at, &size));
        assert_true(at == zeros && size == sizeof zeros);
        mr__wire_destroy(wire);
    }
    assert_int_equal(atomic_load(&budget.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_network_gets_packed_messages),
        cmocka_unit_test(test_a_fast_network_gets_them_as_they_are),
        cmocka_unit_test(test_what_does_not_get_smaller_is_left_alone),
        cmocka_unit_test(test_the_model_alone_does_not_decide),
        cmocka_unit_test(test_nothing_is_asked_while_nothing_waits),
        cmocka_unit_test(test_a_network_that_is_fast_enough_only_when_packed),
        cmocka_unit_test(test_the_answer_follows_the_network),
        cmocka_unit_test(test_it_follows_the_pairs_too),
        cmocka_unit_test(test_pauses_do_not_decide),
        cmocka_unit_test(test_any_course_keeps_the_rules),
        cmocka_unit_test(test_what_was_packed_comes_back),
        cmocka_unit_test(test_nothing_else_is_unpacked),
        cmocka_unit_test(test_the_environment_forces_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
