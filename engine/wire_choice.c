/* wire_choice.c: two stretches of the same job, one after the other, and the faster way is taken.
 *
 *             +------------ nothing waits -----------+
 *             v                                      |
 *   raw:    WAITS --it blocks, rested, filled--> TIMED --long enough--> how many bytes a second leave
 *            ^  ^                                                                |
 *            |  |  the codec is too slow, or gains too little                    v
 *   packed:  |  +-------------+---------------------- TRIED <---filled------- FILLS
 *            |                +-- no: not faster -------+
 *          KEEPS <------------------- yes --------------+
 *
 * What is asked. Is the network slower than the codec? It is busy just if the carrier blocks: something waits for
 * credit, or too much waits in the courier. A network that never makes it block is faster than what is mapped; then
 * nothing is measured, and nothing but these comparisons is done. Where it blocks, the bytes that are posted from one
 * moment when it blocks to another one are the bytes that left, for both times the pipe is as full as may be. That is
 * the rate R of a stretch; it only counts if something waited all the time.
 *
 * A model. With a codec that packs C bytes a second to a share q of them, at most C and at most R / q bytes a second
 * leave. Unless R / q is GAIN times R, and C is SPARE times R (or the codec is too slow next; and it takes a core from
 * those who map), the answer is no. C and q are those of the job's own pairs: messages of a trial are timed, and as
 * soon as the model says no, the trial is over. The earliest is after PROBES messages, for the first ones meet cold
 * caches; then it has cost a millisecond or two. C is by the clock on the wall. Where a core is free CPU time would
 * say the same; where all are busy it would not: 3 ranks on 2 busy cores, over an unshaped link, packed 600 MB a
 * second of CPU time and 40-90 MB of the clock's, while 40-120 MB a second left unpacked.
 *
 * A trial, because the model is not enough. Where ranks share cores with the transport a slow R means that cores are
 * short, and packing makes that worse. Where the owner's disk is slow fewer bytes on the network change nothing. So
 * messages are packed for a stretch, and what leaves in its time is compared. Before that stretch the pipe fills with
 * packed messages: credits come back at the pace of what was sent before.
 *
 * A stretch has twice the bytes that may be under way, as credits come in lumps, and STRETCH_NS at least. It ends when
 * the carrier blocks, or, if packing keeps it too busy to block, when it is twice as long as needed. While messages are
 * packed time counts in which nothing waits: what is mapped slower because of the codec is slower. But a pause as long
 * as a stretch says nothing, and it begins again.
 *
 * Now and then. An answer holds for REST stretches; each time that it is the same for twice as long, DOUBLINGS times.
 * Then all is asked again: networks get busy and idle, and later pairs may not pack as well.
 *
 * One choice for all ranks, not one for each: what is short is a rank's own cable, most of the time, and trials with
 * each of N ranks would see each other.
 *
 * W1  Messages are packed in FILLS, TRIED and KEEPS, and in no other stage.
 * W2  A stretch began before what was posted last, and is to have some bytes.
 * W3  There are trials at least as often as they were kept. */
#include "wire_choice.h"

static const uint64_t STRETCH_NS = 50000000;
static const double GAIN = 1.1, SPARE = 2;

enum { REST = 16, DOUBLINGS = 4, PROBES = 4, PROBE_BYTES = 64 << 10 };

static uint64_t sum_of(const uint64_t *under_way, uint32_t ranks)
{
    uint64_t sum = 0;
    for (uint32_t r = 0; r < ranks; r++)
        sum += under_way[r];
    return sum;
}

static void begin_stretch(mr__wire_choice *choice, mr__wire_stage stage, uint64_t under_way, uint64_t now_ns)
{
    choice->stage = stage;
    choice->begin_ns = now_ns;
    choice->begin_bytes = choice->bytes;
    choice->needed = 2 * under_way + 1;
}

/* So many times as long as needed. */
static bool is_long(const mr__wire_choice *choice, uint64_t now_ns, uint32_t times)
{
    return choice->bytes - choice->begin_bytes >= times * choice->needed &&
           now_ns - choice->begin_ns >= times * STRETCH_NS;
}

static double rate_of(const mr__wire_choice *choice, uint64_t now_ns)
{
    return (double)(choice->bytes - choice->begin_bytes) / (double)(now_ns - choice->begin_ns);
}

static void pack_from_now_on(mr__wire_choice *choice, bool packs, mr__wire_stage stage, uint64_t under_way)
{
    choice->stage = stage;
    choice->packs = packs;
    choice->filled = choice->bytes + under_way;
}

/* The model, with what is known of the codec by now. */
static bool may_pay(const mr__wire_choice *choice)
{
    if (choice->tried < PROBES || choice->coded < PROBE_BYTES)
        return true;
    const double codec_rate = (double)choice->coded / (double)(choice->coded_ns + 1);
    return codec_rate >= SPARE * choice->raw_rate && (double)choice->coded >= GAIN * (double)choice->packed;
}

static void begin_trial(mr__wire_choice *choice, uint64_t under_way, uint64_t now_ns)
{
    choice->raw_rate = rate_of(choice, now_ns);
    choice->raw_ns = now_ns - choice->begin_ns;
    choice->tried = choice->coded = choice->packed = choice->coded_ns = 0;
    choice->trials++;
    pack_from_now_on(choice, true, MR__WIRE_FILLS, under_way);
}

static void end_trial(mr__wire_choice *choice, bool keeps, uint64_t under_way, uint64_t now_ns)
{
    choice->same = choice->trials > 1 && choice->answer == keeps ? choice->same + 1 : 0;
    const uint32_t doubled = choice->same < DOUBLINGS ? choice->same : DOUBLINGS;
    choice->answer = keeps;
    choice->kept += keeps;
    choice->rest_until = now_ns + ((uint64_t)REST << doubled) * choice->raw_ns;
    pack_from_now_on(choice, keeps, keeps ? MR__WIRE_KEEPS : MR__WIRE_WAITS, under_way);
}

/* How long nothing has waited, once something does again. */
static uint64_t pause_before(mr__wire_choice *choice, mr__wire_turn turn, uint64_t now_ns)
{
    const uint64_t since = choice->idle_ns;
    if (turn == MR__WIRE_IDLE) {
        choice->idle_ns = since == 0 ? now_ns : since;
        return 0;
    }
    choice->idle_ns = 0;
    return since == 0 ? 0 : now_ns - since;
}

void mr__wire_choice_turn(mr__wire_choice *choice, mr__wire_turn turn, uint64_t bytes, const uint64_t *under_way,
                          uint32_t ranks, uint64_t now_ns)
{
    const uint64_t pause = pause_before(choice, turn, now_ns);
    choice->bytes += bytes;
    const bool filled = choice->bytes >= choice->filled;
    switch (choice->stage) {
    case MR__WIRE_WAITS:
        if (turn == MR__WIRE_BLOCKED && filled && now_ns >= choice->rest_until)
            begin_stretch(choice, MR__WIRE_TIMED, sum_of(under_way, ranks), now_ns);
        break;
    case MR__WIRE_TIMED:
        if (turn == MR__WIRE_IDLE)
            choice->stage = MR__WIRE_WAITS;
        else if (turn == MR__WIRE_BLOCKED && is_long(choice, now_ns, 1))
            begin_trial(choice, sum_of(under_way, ranks), now_ns);
        break;
    case MR__WIRE_FILLS:
        if (!may_pay(choice))
            end_trial(choice, false, sum_of(under_way, ranks), now_ns);
        else if (filled && choice->tried >= PROBES)
            begin_stretch(choice, MR__WIRE_TRIED, sum_of(under_way, ranks), now_ns);
        break;
    case MR__WIRE_TRIED:
        if (!may_pay(choice))
            end_trial(choice, false, sum_of(under_way, ranks), now_ns);
        else if (pause >= STRETCH_NS)
            begin_stretch(choice, MR__WIRE_TRIED, sum_of(under_way, ranks), now_ns);
        else if (is_long(choice, now_ns, turn == MR__WIRE_SENT ? 2 : 1))
            end_trial(choice, rate_of(choice, now_ns) >= GAIN * choice->raw_rate, sum_of(under_way, ranks), now_ns);
        break;
    case MR__WIRE_KEEPS:
        if (now_ns >= choice->rest_until)
            pack_from_now_on(choice, false, MR__WIRE_WAITS, sum_of(under_way, ranks));
        break;
    }
}

void mr__wire_choice_coded(mr__wire_choice *choice, uint64_t bytes, uint64_t packed, uint64_t ns)
{
    choice->tried++;
    choice->coded += bytes;
    choice->packed += packed;
    choice->coded_ns += ns;
}

mr_status mr__wire_choice_check(const mr__wire_choice *choice, mr__error *error)
{
    mr_status status = MR_OK;
    const bool timed = choice->stage == MR__WIRE_TIMED || choice->stage == MR__WIRE_TRIED;
    MR_CHECK(choice->packs == (choice->stage >= MR__WIRE_FILLS), MR_INTERNAL, "W1 broken: stage %d, packs %d",
             (int)choice->stage, choice->packs);
    MR_CHECK(!timed || (choice->begin_bytes <= choice->bytes && choice->needed > 0), MR_INTERNAL,
             "W2 broken: a stretch of %llu bytes", (unsigned long long)choice->needed);
    MR_CHECK(choice->kept <= choice->trials, MR_INTERNAL, "W3 broken: %u trials, %u kept", choice->trials,
             choice->kept);
done:
    return status;
}
