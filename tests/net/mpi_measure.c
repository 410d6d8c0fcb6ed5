/* mpi_measure.c: what the MPI backend costs when nothing happens, and how fast it is when much does. Not judged: the
 * numbers stand in comm_mpi.c.
 *   mpiexec.mpich -disable-auto-cleanup -n 2 test_net_mpi_ranks idle FOLDER 5
 *   mpiexec.mpich -disable-auto-cleanup -n 2 test_net_mpi_ranks speed FOLDER 262144 2000000000 */
#include <sys/resource.h>

#include "clock.h"
#include "mpi_ranks.h"

static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void linger(const mr__comm_events *events)
{
    for (uint32_t i = 0; i < 100; i++, nap_us(100))
        comm->ops->progress(comm, events);
}

/* A rank that only asks, once a millisecond, if there is something to do. */
int play_idle(double seconds)
{
    counted of = {.done = 0};
    const mr__comm_events events = count_events(&of);
    struct rusage memory;
    open_comm();
    for (uint32_t to = 0; to < size; to++)
        send_bare(to, DONE, 0);
    while (of.done < size)
        if (!comm->ops->progress(comm, &events))
            nap_us(50);
    const double cpu = cpu_s();
    const uint64_t start = mr__now_ns(), end = start + (uint64_t)(seconds * 1e9);
    uint64_t polls = 0;
    for (; mr__now_ns() < end; polls++, nap_us(1000))
        comm->ops->progress(comm, &events);
    const double wall = (double)(mr__now_ns() - start) * 1e-9;
    getrusage(RUSAGE_SELF, &memory);
    report("ok %.2f %% of a CPU, %.0f polls/s, peak memory %ld KiB\n", 100 * (cpu_s() - cpu) / wall,
           (double)polls / wall, memory.ru_maxrss);
    linger(&events);
    comm->ops->close(comm);
    return 0;
}

typedef struct stream {
    counted counted;            /* first: events of both kinds have it as context */
    uint64_t bytes;
} stream;

static void count_bytes(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    stream *of = context;
    of->bytes += bytes_size;
    of->counted.done += bytes_size == 0;
}

/* Microseconds of one way of a small message. */
static double measure_latency(const mr__comm_events *events, stream *of)
{
    enum { TURNS = 5000 };
    const uint64_t start = mr__now_ns();
    of->counted.done = 0;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        if (rank == 0)
            send_bare(1, DONE, 0);
        while (of->counted.done <= turn)
            comm->ops->progress(comm, events);
        if (rank == 1)
            send_bare(0, DONE, 0);
    }
    return (double)(mr__now_ns() - start) / 2e3 / TURNS;
}

/* Rank 0 and rank 1: small messages to and fro, then large ones one way. */
int play_speed(uint32_t message, uint64_t total)
{
    static char bytes[MR__MESSAGE_MOST];
    stream of = {.bytes = 0};
    mr__comm_events events = count_events(&of.counted);
    mr__error error = {.code = MR_OK};
    events.received = count_bytes;
    open_comm();
    measure_latency(&events, &of);      /* warms up */
    const double latency = measure_latency(&events, &of);
    of = (stream){.bytes = 0};
    const uint64_t start = mr__now_ns();
    for (uint64_t sent = 0; rank == 0 && sent < total; sent += message) {
        while (comm->ops->unsent(comm, MR__BULK, 1) > 8 << 20)
            comm->ops->progress(comm, &events);
        NEED(comm->ops->send(comm, MR__BULK, 1, 0, bytes, message, &error) == MR_OK, "%s", error.text);
    }
    while (rank == 1 && of.bytes < total)
        comm->ops->progress(comm, &events);
    if (rank == 1)
        send_bare(0, DONE, 0);
    while (rank == 0 && of.counted.done == 0)
        comm->ops->progress(comm, &events);
    report("ok %.1f us one way, %.2f GB/s with messages of %u bytes\n", latency,
           (double)total / (double)(mr__now_ns() - start), message);
    linger(&events);
    comm->ops->close(comm);
    return 0;
}
