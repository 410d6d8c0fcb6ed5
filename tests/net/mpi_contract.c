/* mpi_contract.c: the contract of comm.h, between all pairs of ranks at once, oneself among them: every size at which a
 * message is cut differently, both paths, messages of 64 MiB, and control messages that overtake bulk. */
#include <poll.h>
#include <string.h>

#include "clock.h"
#include "mpi_ranks.h"

enum {
    EACH = 60,                  /* messages of a path to a rank */
    UNSENT_MOST = 4 << 20,
    CALLS = 20, CALL_EACH_MS = 5, CALL_PATIENCE_MS = 200,
    OVERTAKEN = 32,             /* bulk messages of a MiB before a control message */
    PIECE = 256 << 10, HEAD = 32        /* how comm_mpi.c cuts: sizes around it */
};

static const uint32_t sizes[] = {
    0, 1, 7, 15, 16, 17, 240, 241, 255, 256, 4080, 4096, 8192, 65520, 65536, 100000,
    PIECE - HEAD - 1, PIECE - HEAD, PIECE - HEAD + 1, PIECE, 2 * (PIECE - HEAD), 2 * (PIECE - HEAD) + 1, 1000003,
    3000000};

typedef struct contract {
    uint32_t next[MR__PATHS][RANKS_MOST];       /* the number that comes next */
    uint32_t left;                              /* messages that are to come */
    uint32_t bulk_seen, seen_before_late, done;
    bool late;
    uint32_t giants;
    uint32_t calls;
} contract;

static contract the;

static uint32_t size_of(uint32_t from, mr__path path, uint32_t number)
{
    uint64_t state = (uint64_t)from * 1000 + path * 500 + number;
    if (path == MR__CONTROL && number % 4 != 0)
        return (uint32_t)(random_next(&state) % 200);       /* what control messages are like */
    return sizes[random_next(&state) % MR__COUNT(sizes)];
}

static void received(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    const enum kind kind = (enum kind)(tag >> 24);
    const uint32_t number = tag & 0xffffff;
    NEED(from < size, "a message of rank %u, and there are %u", from, size);
    verify(path, from, tag, bytes, bytes_size);
    switch (kind) {
    case DATA:
        NEED(number == the.next[path][from], "message %u of rank %u came when %u was due", number, from,
             the.next[path][from]);
        NEED(bytes_size == size_of(from, path, number), "message %u of rank %u has %zu bytes", number, from,
             bytes_size);
        the.next[path][from]++;
        the.left--;
        break;
    case BEAT:
        NEED(path == MR__BULK && bytes_size == 1 << 20, "a message of the wrong path");
        the.bulk_seen++;
        break;
    case LATE:
        the.late = true;
        the.seen_before_late = the.bulk_seen;
        break;
    case GIANT:
        NEED(bytes_size == MR__MESSAGE_MOST, "%zu bytes of a message of 64 MiB came", bytes_size);
        the.giants++;
        break;
    case CALL:
        the.calls++;
        break;
    case DONE:
        the.done++;
        break;
    default:
        fail("a message of kind %d", kind);
    }
}

static void unreachable(void *context, uint32_t lost, const char *why)
{
    fail("rank %u is unreachable: %s", lost, why);
}

static const mr__comm_events events = {.received = received, .unreachable = unreachable};

static void progress(void)
{
    static uint32_t calls;
    mr__error error = {.code = MR_OK};
    if (!comm->ops->progress(comm, &events))
        nap_us(50);
    if (++calls % 16 == 0)
        NEED(mr__comm_mpi_check(comm, &error) == MR_OK, "%s", error.text);
}

static bool all_left(void)
{
    size_t unsent = 0;
    for (uint32_t to = 0; to < size; to++)
        unsent += comm->ops->unsent(comm, MR__CONTROL, to) + comm->ops->unsent(comm, MR__BULK, to);
    return unsent == 0;
}

static void exchange_all_sizes(void)
{
    the.left = EACH * MR__PATHS * size;
    for (uint32_t number = 0; number < EACH; number++) {
        for (uint32_t step = 0; step < size * MR__PATHS; step++) {
            const uint32_t to = (rank + step) % size;
            const mr__path path = step < size ? MR__BULK : MR__CONTROL;
            while (comm->ops->unsent(comm, path, to) > UNSENT_MOST)
                progress();
            send_verified(path, to, DATA, number, size_of(rank, path, number));
            progress();
        }
    }
    while (the.left > 0)
        progress();
}

/* The control message is sent when all bulk waits already. */
static void overtake(void)
{
    const uint32_t to = (rank + 1) % size;
    for (uint32_t i = 0; i < OVERTAKEN; i++)
        send_verified(MR__BULK, to, BEAT, i, 1 << 20);
    send_verified(MR__CONTROL, to, LATE, 0, 100);
    while (!the.late || the.bulk_seen < OVERTAKEN)
        progress();
    /* oneself is no network: there is nothing to overtake on */
    NEED(size == 1 || the.seen_before_late < OVERTAKEN / 2, "the control message came after %u of %u bulk messages",
         the.seen_before_late, OVERTAKEN);
}

static void exchange_giants(void)
{
    send_verified(MR__BULK, (rank + 1) % size, GIANT, 0, MR__MESSAGE_MOST);
    if (rank == 0)
        send_verified(MR__CONTROL, 0, GIANT, 1, MR__MESSAGE_MOST);
    while (the.giants < (rank == 0 ? 2 : 1))
        progress();
}

/* Nothing has come in: once more, as it may have been taken in by the first. */
static bool is_quiet(void)
{
    const bool first = comm->ops->progress(comm, &events);
    return !comm->ops->progress(comm, &events) && !first;
}

/* Who sleeps by the descriptor is woken by a message. Now and then one was taken from its socket a moment before, and
 * no descriptor tells of it. A message that is not there after the sleep has not come yet: its sender is slow. */
static void be_woken(void)
{
    struct pollfd called = {.fd = comm->ops->descriptor(comm), .events = POLLIN};
    uint32_t overslept = 0;
    if (called.fd < 0)
        return;
    for (uint32_t number = 0; number < CALLS && size > 1; number++) {
        nap_us(CALL_EACH_MS * 1000);
        send_bare((rank + 1) % size, CALL, number);
        while (the.calls <= number || !all_left()) {
            if (is_quiet() && the.calls <= number && poll(&called, 1, CALL_PATIENCE_MS) == 0)
                overslept += !is_quiet() && the.calls > number;
        }
    }
    NEED(overslept <= CALLS / 4, "%u of %u messages woke nobody", overslept, CALLS);
}

static void refuse(void)
{
    mr__error error = {.code = MR_OK};
    NEED(comm->ops->send(comm, MR__BULK, size, 0, "x", 1, &error) == MR_NETWORK_FAILED && error.text[0] != '\0',
         "a rank that does not exist was sent to");
    error = (mr__error){.code = MR_OK};
    NEED(comm->ops->send(comm, MR__BULK, 0, 0, "x", (size_t)MR__MESSAGE_MOST + 1, &error) == MR_NETWORK_FAILED &&
             error.text[0] != '\0',
         "a message that is too large was sent");
}

int play_contract(void)
{
    open_comm();
    NEED(comm->ops->name[0] != '\0' && rank < size, "rank %u of %u", rank, size);
    refuse();
    const uint64_t start = mr__now_ns();
    exchange_all_sizes();
    overtake();
    exchange_giants();
    be_woken();
    for (uint32_t to = 0; to < size; to++)
        send_bare(to, DONE, 0);
    while (the.done < size || !all_left())
        progress();
    report("ok %u of %u, %s, control after %u bulk messages, %.1f s\n", rank, size,
           comm->ops->descriptor(comm) >= 0 ? "woken" : "polling", the.seen_before_late,
           (double)(mr__now_ns() - start) * 1e-9);
    comm->ops->close(comm);
    return 0;
}
