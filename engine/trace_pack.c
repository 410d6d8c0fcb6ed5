/* trace_pack.c: a trace as bytes, so that the rank that keeps the record gets those of all.
 *
 *   head    origin, clock (u64 each)
 *   kinds   count (u32), then of each: name, category ("": a counter), name of the argument ("": none)
 *   lanes   count (u32), then of each: name, dropped (u64), count (u32), events
 *   event   kind (u32), start, end, value (u64 each)
 *
 * Names are literals, so a few kinds stand for all events, and are told apart by address.
 *
 * What is too much. Each lane may use an equal share of the bytes that are left to it and those behind it. As in a full
 * lane the first events are kept.
 *
 * One clock. mr__now_ns() counts from some moment of its host's own, so each rank sends what CLOCK_REALTIME is ahead of
 * it; the difference of two such numbers turns one host's times into the other's. Ranks of one host differ by less than
 * a microsecond then, others by what their clocks differ. A thread may be put aside between two looks at a clock, so of
 * several readings the one counts that took the least time. */
#include "trace_parts.h"

#include "clock.h"
#include "memory.h"

enum { EVENT_BYTES = 28, LANE_BYTES = 17, KINDS_MOST = 256, READINGS = 8 };

typedef struct kinds {
    uint32_t count, last;       /* last: the one that was found last */
    mr__trace_event of[KINDS_MOST];
} kinds;

int64_t mr__trace_clock(void)
{
    uint64_t ahead = 0, least = UINT64_MAX;
    for (uint32_t i = 0; i < READINGS; i++) {
        const uint64_t before = mr__now_ns(), real = mr__clock_ns(CLOCK_REALTIME), after = mr__now_ns();
        if (after - before < least) {
            least = after - before;
            ahead = real - (before + least / 2);
        }
    }
    return (int64_t)ahead;
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

static bool is_kind(const mr__trace_event *kind, const mr__trace_event *event)
{
    return kind->name == event->name && kind->category == event->category && kind->arg_name == event->arg_name;
}

/* kinds->count: not there. */
static uint32_t find_kind(kinds *known, const mr__trace_event *event)
{
    if (known->last < known->count && is_kind(&known->of[known->last], event))
        return known->last;
    for (known->last = 0; known->last < known->count; known->last++)
        if (is_kind(&known->of[known->last], event))
            break;
    return known->last;
}

/* How many events of a lane are packed: so many that there are no more than KINDS_MOST kinds in all. */
static uint64_t learn_kinds(kinds *known, const mr__trace_lane *lane, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const mr__trace_event *event = mr__trace_event_at(lane, i);
        if (find_kind(known, event) < known->count)
            continue;
        if (known->count == KINDS_MOST)
            return i;
        known->of[known->count++] = *event;
    }
    return count;
}

static void pack_lane(const mr__trace_lane *lane, uint64_t count, kinds *known, mr__writing *to)
{
    const uint64_t there = mr__trace_count(lane);
    mr__write_text(to, lane->name);
    mr__write_u64(to, atomic_load_explicit(&lane->dropped, memory_order_relaxed) + there - count);
    mr__write_u32(to, (uint32_t)count);
    for (uint64_t i = 0; i < count; i++) {
        const mr__trace_event *event = mr__trace_event_at(lane, i);
        mr__write_u32(to, find_kind(known, event));
        mr__write_u64(to, event->start_ns);
        mr__write_u64(to, event->end_ns);
        mr__write_u64(to, event->value);
    }
}

void mr__trace_pack(const mr__trace *trace, size_t most, mr__writing *to)
{
    if (trace == NULL)
        return;
    kinds *known = mr__alloc(sizeof *known);
    uint64_t *counts = mr__alloc_zero(trace->lane_count + 1, sizeof *counts);
    if (known == NULL || counts == NULL) {
        to->broken = true;
        goto done;
    }
    known->count = known->last = 0;
    for (uint32_t i = 0; i < trace->lane_count; i++) {
        const uint64_t there = mr__trace_count(&trace->lanes[i]);
        const uint64_t share = most / (trace->lane_count - i) / EVENT_BYTES;
        counts[i] = learn_kinds(known, &trace->lanes[i], there < share ? there : share);
        most -= counts[i] * EVENT_BYTES;
    }
    mr__write_u64(to, trace->origin_ns);
    mr__write_u64(to, (uint64_t)mr__trace_clock());
    mr__write_u32(to, known->count);
    for (uint32_t i = 0; i < known->count; i++) {
        mr__write_text(to, known->of[i].name);
        mr__write_text(to, known->of[i].category);
        mr__write_text(to, known->of[i].arg_name);
    }
    mr__write_u32(to, trace->lane_count);
    for (uint32_t i = 0; i < trace->lane_count; i++)
        pack_lane(&trace->lanes[i], counts[i], known, to);
done:
    mr__free(counts);
    mr__free(known);
}

/* ---- unpacking --------------------------------------------------------------------------------------------------- */

/* Reads the head; *shift_ns: to be added to what is by the packer's clock. */
static uint64_t read_head(mr__reading *in, int64_t here_ns, uint64_t *shift_ns)
{
    const uint64_t origin_ns = mr__read_u64(in);
    *shift_ns = mr__read_u64(in) - (uint64_t)here_ns;
    return origin_ns + *shift_ns;
}

bool mr__trace_packed_origin(const uint8_t *packed, size_t size, int64_t here_ns, uint64_t *origin_ns)
{
    mr__reading in = {packed, packed + size, false};
    uint64_t shift_ns;
    *origin_ns = read_head(&in, here_ns, &shift_ns);
    return !in.broken;
}

static const char *read_name(mr__reading *in)
{
    const char *text = mr__read_text(in);
    return text[0] != '\0' ? text : NULL;
}

static void read_kinds(mr__reading *in, kinds *known)
{
    known->count = mr__read_u32(in);
    in->broken |= known->count > KINDS_MOST;
    for (uint32_t i = 0; i < known->count && !in->broken; i++) {
        known->of[i].name = mr__read_text(in);
        known->of[i].category = read_name(in);
        known->of[i].arg_name = read_name(in);
    }
}

static void read_lane(mr__reading *in, const kinds *known, uint64_t shift_ns, mr__trace *trace, uint32_t index)
{
    mr__trace_name_lane(trace, index, "%s", mr__read_text(in));
    atomic_init(&trace->lanes[index].dropped, mr__read_u64(in));
    const uint32_t count = mr__read_u32(in);
    in->broken |= count > MR__TRACE_EVENTS;
    for (uint32_t i = 0; i < count && !in->broken; i++) {
        const uint32_t kind = mr__read_u32(in);
        mr__trace_event event = {.start_ns = mr__read_u64(in) + shift_ns};
        event.end_ns = mr__read_u64(in) + shift_ns;
        event.value = mr__read_u64(in);
        in->broken |= kind >= known->count;
        if (in->broken)
            break;
        event.name = known->of[kind].name;
        event.category = known->of[kind].category;
        event.arg_name = known->of[kind].arg_name;
        mr__trace_append(trace, index, &event);
    }
}

mr_status mr__trace_unpack(const uint8_t *packed, size_t size, int64_t here_ns, mr__trace **trace, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reading in = {packed, packed + size, false};
    mr__trace *made = NULL;
    uint64_t shift_ns;
    kinds *known = mr__alloc(sizeof *known);
    MR_CHECK(known != NULL, MR_NO_MEMORY, "no memory for a trace");
    const uint64_t origin_ns = read_head(&in, here_ns, &shift_ns);
    read_kinds(&in, known);
    const uint32_t lanes = mr__read_u32(&in);
    MR_CHECK(!in.broken && lanes > 0 && lanes <= (size_t)(in.end - in.at) / LANE_BYTES, MR_NETWORK_FAILED,
             "a trace of %zu bytes cannot be read", size);
    made = mr__trace_create(lanes);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for a trace");
    made->origin_ns = origin_ns;
    for (uint32_t i = 0; i < lanes; i++)
        read_lane(&in, known, shift_ns, made, i);
    MR_CHECK(mr__read_well(&in), MR_NETWORK_FAILED, "a trace of %zu bytes cannot be read", size);
    *trace = made;
    made = NULL;
done:
    mr__trace_destroy(made);
    mr__free(known);
    return status;
}
