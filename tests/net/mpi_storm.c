/* mpi_storm.c: all-to-all traffic with credits, in which one rank is killed, or stopped and woken again, at a time that
 * the seed gives. The others forget it and go on until each has QUOTA more messages of each other; every byte is
 * verified. How they learn of it is up to the seed, too: the killer tells them, or nobody does.
 *
 *   victim      seed % ranks: rank 0 in each fourth run of four
 *   killer      the lowest other; it also ends the run: DONE of all -> EXIT to all
 *   stopped     each fourth run: SIGSTOP, then SIGCONT when the others have long gone on */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "mpi_ranks.h"

enum { CREDITS = 4, QUOTA = 50, LARGEST = 1000000, SMALL = 8000 };

static const uint64_t ms = 1000000, BEAT_NS = 10 * 1000000, SILENCE_NS = 5000000000, STOPPED_NS = 300000000,
                      GAP_NS = 150000000, PARTING_NS = 10000000000;

typedef struct storm {
    uint32_t victim, killer;
    bool stops, is_told;                /* the seed's choices */
    uint64_t random;
    uint32_t sent[RANKS_MOST], next[RANKS_MOST], open[RANKS_MOST];      /* numbers, and messages not acknowledged */
    uint32_t acks[RANKS_MOST], got[RANKS_MOST];                         /* got: since the loss */
    bool gone[RANKS_MOST];
    uint64_t heard_ns;                  /* of the victim */
    const char *how;                    /* the loss was noticed; NULL: not yet */
    uint32_t done;
    bool told_done, ended;
    pid_t victim_pid;
} storm;

static storm the;

static uint32_t size_of(uint32_t from, uint32_t number)
{
    uint64_t state = (uint64_t)from << 32 | number;
    const uint64_t word = random_next(&state);
    return (uint32_t)(word >> 8) % (word % 4 == 0 ? LARGEST : SMALL);
}

static void lose(uint32_t lost, const char *how)
{
    if (the.gone[lost])
        return;
    the.gone[lost] = true;
    comm->ops->forget(comm, lost);
    if (lost == the.victim) {
        the.how = how;
        memset(the.got, 0, sizeof the.got);
    }
}

static void received(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    const uint32_t number = tag & 0xffffff;
    NEED(!the.gone[from], "rank %u was forgotten, and a message of it came", from);
    if (from == the.victim)
        the.heard_ns = mr__now_ns();
    switch ((enum kind)(tag >> 24)) {
    case DATA:
        NEED(path == MR__BULK && number == the.next[from], "message %u of rank %u came when %u was due", number, from,
             the.next[from]);
        NEED(bytes_size == size_of(from, number), "message %u of rank %u has %zu bytes", number, from, bytes_size);
        verify(path, from, tag, bytes, bytes_size);
        the.next[from]++;
        the.got[from]++;
        send_bare(from, ACK, number);
        break;
    case ACK:
        NEED(number == the.acks[from]++, "acknowledgement %u of rank %u is out of order", number, from);
        the.open[from]--;
        break;
    case PID:
        if (from == the.victim)
            memcpy(&the.victim_pid, bytes, sizeof the.victim_pid);
        break;
    case DEATH:
        lose(the.victim, "told");
        break;
    case DONE:
        the.done++;
        break;
    case EXIT:
        the.ended = true;
        break;
    default:
        break;
    }
}

static void unreachable(void *context, uint32_t lost, const char *why)
{
    /* others than the victim may have ended after EXIT, before ours came */
    lose(lost, "unreachable");
}

static const mr__comm_events events = {.received = received, .unreachable = unreachable};

static void send_traffic(void)
{
    for (uint32_t to = 0; to < size; to++) {
        while (to != rank && !the.gone[to] && the.open[to] < CREDITS) {
            const uint32_t number = the.sent[to];
            if (!send_verified(MR__BULK, to, DATA, number, size_of(rank, number)))
                break;              /* unreachable() comes with the next progress */
            the.sent[to]++;
            the.open[to]++;
        }
    }
}

static void send_beats(uint64_t now)
{
    static uint64_t last;
    if (now - last < BEAT_NS)
        return;
    last = now;
    for (uint32_t to = 0; to < size; to++)
        if (to != rank && !the.gone[to])
            send_bare(to, BEAT, 0);
    if (the.how == NULL && rank != the.victim && now - the.heard_ns > SILENCE_NS)
        lose(the.victim, "silence");
}

static void send_to_others(enum kind kind)
{
    for (uint32_t to = 0; to < size; to++)
        if (to != rank && to != the.victim && !the.gone[to])
            send_bare(to, kind, 0);
}

/* The killer's part. */
static void strike(uint64_t now, uint64_t start_ns, uint64_t delay_ns)
{
    static bool struck;
    if (struck || the.victim_pid == 0 || now - start_ns < delay_ns)
        return;
    struck = true;
    kill(the.victim_pid, the.stops ? SIGSTOP : SIGKILL);
    if (the.is_told) {
        lose(the.victim, "told");
        send_to_others(DEATH);
    }
}

static bool has_quota(void)
{
    if (the.how == NULL)
        return false;
    for (uint32_t from = 0; from < size; from++)
        if (from != rank && from != the.victim && the.got[from] < QUOTA)
            return false;
    return true;
}

/* Who ends the run stays until the others are gone: else one that was slow would find it gone before it read EXIT. */
static void see_others_off(void)
{
    const uint64_t end = mr__now_ns() + PARTING_NS;
    uint32_t left;
    send_to_others(EXIT);
    do {
        left = 0;
        for (uint32_t other = 0; other < size; other++)
            left += other != rank && other != the.victim && !the.gone[other];
        send_beats(mr__now_ns());
        if (!comm->ops->progress(comm, &events))
            nap_us(100);
    } while (left > 0 && mr__now_ns() < end);
    if (the.stops)
        kill(the.victim_pid, SIGCONT);
}

static int end_survivor(uint64_t start_ns)
{
    mr__error error = {.code = MR_OK};
    NEED(mr__comm_mpi_check(comm, &error) == MR_OK, "%s", error.text);
    report("ok victim %u %s, noticed: %s, after %.2f s\n", the.victim, the.stops ? "stopped" : "killed", the.how,
           (double)(mr__now_ns() - start_ns) * 1e-9);
    if (rank == the.killer)
        see_others_off();
    comm->ops->close(comm);
    return 0;
}

/* It has been stopped: the others took it for lost. What it sends now must not disturb them. */
static int end_stopped(void)
{
    memset(the.open, 0, sizeof the.open);
    send_traffic();
    for (const uint64_t end = mr__now_ns() + 200 * ms; mr__now_ns() < end; nap_us(100)) {
        send_beats(mr__now_ns());
        comm->ops->progress(comm, &events);
    }
    comm->ops->close(comm);
    return 0;
}

int play_storm(uint64_t seed)
{
    open_comm();
    NEED(size >= 3, "a storm needs three ranks");
    the.random = seed;
    const uint64_t choice = random_next(&the.random);
    the.victim = (uint32_t)(seed % size);
    the.killer = the.victim == 0 ? 1 : 0;
    the.stops = choice % 4 == 0;
    the.is_told = the.stops || (choice >> 8) % 2 == 0;      /* a send to one that is stopped does not fail */
    const uint64_t delay_ns = 20 * ms + (choice >> 16) % (200 * ms);
    const pid_t self = getpid();
    mr__error error = {.code = MR_OK};
    NEED(comm->ops->send(comm, MR__CONTROL, the.killer, tag_of(PID, 0), &self, sizeof self, &error) == MR_OK, "%s",
         error.text);
    const uint64_t start_ns = mr__now_ns();
    uint64_t last_ns = start_ns, woken_ns = 0;
    the.heard_ns = start_ns;
    for (;;) {
        const uint64_t now = mr__now_ns();
        if (rank == the.victim && the.stops && now - last_ns > GAP_NS)
            return end_stopped();
        last_ns = now;
        if (rank == the.killer)
            strike(now, start_ns, delay_ns);
        /* woken while the others work on */
        if (rank == the.killer && the.stops && the.how != NULL && woken_ns == 0 &&
            now - start_ns > delay_ns + STOPPED_NS) {
            woken_ns = now;
            kill(the.victim_pid, SIGCONT);
        }
        send_traffic();
        send_beats(now);
        if (!comm->ops->progress(comm, &events))
            nap_us(50);
        if (!the.told_done && has_quota()) {
            the.told_done = true;
            if (rank == the.killer)
                the.done++;
            else
                send_bare(the.killer, DONE, 0);
        }
        if (the.ended || (rank == the.killer && the.done == size - 1))
            return end_survivor(start_ns);
        NEED(the.killer == rank || !the.gone[the.killer] || the.killer == the.victim,
             "the killer is gone, and nobody ends the run");
    }
}
