/* fleet.c: see fleet.h. */
#include "fleet.h"

#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t patience = 60000000000;

struct stamp {
    uint32_t from, poster, to, path, number;
};

__attribute__((format(printf, 2, 3))) static void went_wrong(struct member *member, const char *format, ...)
{
    va_list arguments;
    if (atomic_fetch_add(&member->wrongs, 1) != 0)
        return;
    va_start(arguments, format);
    vsnprintf(member->wrong, sizeof member->wrong, format, arguments);
    va_end(arguments);
}

static uint8_t filler(const struct stamp *stamp)
{
    return (uint8_t)(stamp->number * 7 + stamp->from);
}

static void check(struct member *member)
{
    mr__error error = {.code = MR_OK};
    if (member->courier != NULL && mr__courier_check(member->courier, &error) != MR_OK)
        went_wrong(member, "%s", error.text);
}

static void message(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    struct member *member = context;
    struct stamp stamp;
    if (size < sizeof stamp) {
        went_wrong(member, "a message of %zu bytes", size);
        return;
    }
    memcpy(&stamp, bytes, sizeof stamp);
    const uint8_t *rest = (const uint8_t *)bytes + sizeof stamp;
    const size_t length = size - sizeof stamp;
    if (stamp.from != from || stamp.to != member->seat.rank || tag != MR__TAG_FIRST + stamp.poster)
        went_wrong(member, "from %u with tag %u: not what was posted", from, tag);
    if (length > 0 && (rest[0] != filler(&stamp) || memcmp(rest, rest + 1, length - 1) != 0))
        went_wrong(member, "number %u of rank %u is damaged", stamp.number, from);
    uint32_t *next = &member->next[from][stamp.poster][stamp.path];
    if (stamp.number != *next)
        went_wrong(member, "number %u of rank %u came in place of %u", stamp.number, from, *next);
    *next = stamp.number + 1;
    if (atomic_load(&member->lost[from]) != 0)
        went_wrong(member, "number %u of rank %u came after its loss", stamp.number, from);
    if (atomic_load(&member->expelled) != 0)
        went_wrong(member, "number %u of rank %u came after the expulsion", stamp.number, from);
    atomic_fetch_add(&member->control, stamp.path == MR__CONTROL);
    atomic_fetch_add(&member->received[from], 1);
}

static void lost(void *context, uint32_t rank, const char *why)
{
    struct member *member = context;
    if (atomic_load(&member->expelled) != 0)
        went_wrong(member, "rank %u was lost after the expulsion", rank);
    if (rank == member->seat.rank || mr__courier_alive(member->courier, rank))
        went_wrong(member, "rank %u was lost and is alive", rank);
    snprintf(member->why[rank], sizeof member->why[rank], "%s", why);
    atomic_store(&member->lost_at[rank], mesh_clock(member->fleet->mesh));
    if (atomic_fetch_add(&member->lost[rank], 1) != 0)
        went_wrong(member, "rank %u was lost twice", rank);
    check(member);
}

static void expelled(void *context, const char *why)
{
    struct member *member = context;
    snprintf(member->expelled_why, sizeof member->expelled_why, "%s", why);
    if (atomic_fetch_add(&member->expelled, 1) != 0)
        went_wrong(member, "expelled twice");
}

static void tick(void *context, uint64_t now_ns)
{
    check(context);
}

static void stop(struct member *member, uint64_t patience_ns)
{
    if (!member->stopped && member->courier != NULL)
        mr__courier_stop(member->courier, patience_ns);
    member->stopped = true;
}

/* A test failed and left it running. */
static void abandon(struct fleet *fleet)
{
    for (uint32_t r = 0; r < fleet->size; r++) {
        mesh_thaw(fleet->mesh, r);
        stop(&fleet->members[r], 0);
    }
    mesh_destroy(fleet->mesh);
}

void fleet_start(struct fleet *fleet, uint32_t size)
{
    if (fleet->mesh != NULL)
        abandon(fleet);
    memset(fleet, 0, sizeof *fleet);
    fleet->size = size;
    fleet->mesh = mesh_create(size);
    assert_non_null(fleet->mesh);
    const mr__courier_options options = {.deadline_ns = FLEET_DEADLINE, .heartbeat_ns = FLEET_HEARTBEAT,
                                         .tick_ns = 1000000, .clock = mesh_clock, .clock_context = fleet->mesh};
    for (uint32_t r = 0; r < size; r++) {
        struct member *member = &fleet->members[r];
        member->fleet = fleet;
        member->seat = (struct mesh_seat){fleet->mesh, r};
        const mr__courier_events events = {member, message, lost, expelled, tick};
        assert_int_equal(mr__courier_start(mesh_open, &member->seat, &options, &events, &member->courier, NULL), MR_OK);
        assert_int_equal(mr__courier_rank(member->courier), r);
        assert_int_equal(mr__courier_size(member->courier), size);
    }
}

void fleet_settle(struct fleet *fleet)
{
    for (uint32_t r = 0; r < fleet->size; r++)
        EVENTUALLY(mesh_sent(fleet->mesh, r, (r + 1) % fleet->size) >= 3);
    const uint64_t begin = mesh_clock(fleet->mesh);
    EVENTUALLY(mesh_clock(fleet->mesh) >= begin + 2 * FLEET_HEARTBEAT);
}

void fleet_end(struct fleet *fleet)
{
    for (uint32_t r = 0; r < fleet->size; r++) {
        if (!fleet_survives(fleet, r))
            stop(&fleet->members[r], 0);
    }
    for (uint32_t r = 0; r < fleet->size; r++)
        stop(&fleet->members[r], patience);
    mesh_destroy(fleet->mesh);
    fleet->mesh = NULL;
    for (uint32_t r = 0; r < fleet->size; r++) {
        if (atomic_load(&fleet->members[r].wrongs) != 0)
            fail_msg("rank %u: %s", r, fleet->members[r].wrong);
    }
}

mr_status fleet_post(struct fleet *fleet, uint32_t from, uint32_t poster, uint32_t to, mr__path path, size_t size)
{
    uint32_t *next = &fleet->next[from][poster][to][path];
    const struct stamp stamp = {from, poster, to, path, *next};
    uint8_t *rest = malloc(size + 1);
    if (rest == NULL)
        return MR_NO_MEMORY;
    memset(rest, filler(&stamp), size);
    const mr_status status = mr__courier_post(fleet->members[from].courier, path, to, MR__TAG_FIRST + poster, &stamp,
                                              sizeof stamp, rest, size, NULL);
    free(rest);
    *next += status == MR_OK;
    return status;
}

void fleet_kill(struct fleet *fleet, uint32_t rank, mesh_death death)
{
    fleet->members[rank].dead = true;
    mesh_kill(fleet->mesh, rank, death);
}

void fleet_cut(struct fleet *fleet, uint32_t from, uint32_t to, bool cut)
{
    mesh_cut(fleet->mesh, MR__CONTROL, from, to, cut);
    mesh_cut(fleet->mesh, MR__BULK, from, to, cut);
}

bool fleet_survives(const struct fleet *fleet, uint32_t rank)
{
    const struct member *member = &fleet->members[rank];
    return !member->dead && !member->stopped && atomic_load(&member->expelled) == 0;
}

bool fleet_agrees(const struct fleet *fleet)
{
    uint32_t lowest = 0;
    while (lowest < fleet->size && !fleet_survives(fleet, lowest))
        lowest++;
    for (uint32_t r = 0; r < fleet->size; r++) {
        const struct member *member = &fleet->members[r];
        if (!fleet_survives(fleet, r))
            continue;
        for (uint32_t other = 0; other < fleet->size; other++) {
            const bool there = fleet_survives(fleet, other);
            const bool left = fleet->members[other].stopped;
            if (atomic_load(&member->lost[other]) != (uint32_t)(!there && !left) ||
                mr__courier_alive(member->courier, other) != there)
                return false;
        }
        if (mr__courier_lowest(member->courier) != lowest)
            return false;
    }
    return true;
}
