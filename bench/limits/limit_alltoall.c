/* limit_alltoall.c: what the network gives to ranks that send the same amount to each other one, and do nothing else.
 *
 *     mpiexec.mpich -disable-auto-cleanup -n RANKS limit_alltoall spin|nap|keep BYTES CHUNK
 *
 * The limit of a shuffle without combine. Each rank sends BYTES to each other rank, in messages of CHUNK bytes; WINDOW
 * of them are under way to and from each, all by non-blocking calls:
 *
 *     rank a --[chunk][chunk][chunk][chunk]--> rank b     a send that is done is begun again with the next chunk,
 *     rank a <--[chunk][chunk][chunk][chunk]-- rank b     a receive that is done is checked and posted again
 *
 * spin waits in MPI_Waitsome, as MPI programs do: it is the fastest where each rank has a core, but MPICH's waiting
 * takes a core whether it has something to do or not. nap tests, and sleeps when nothing has come for a while: better
 * where ranks share cores. Which is the limit of a machine is found by running both, with chunks of several sizes.
 * keep is nap, but what comes stays: each chunk is received into memory that was not used before, as a shuffle must.
 * The others receive again and again into WINDOW buffers for each rank.
 *
 * One exchange of a window runs before the measured one: connections are made, buffers touched. Rank 0 prints
 *     {"limit": ..., "ranks": N, "bytes": of all ranks together, "seconds": S, "cpu_seconds": of all ranks together,
 *      "latency_seconds": one way of 8 bytes (only with 2 ranks), "check": C}
 * A chunk carries its sender and number at both ends; check is the sum of the numbers, and a sum that is wrong is a
 * failure. There is no MPI_Finalize: over tcp it may hang; after a barrier the ranks just end, and the launcher's exit
 * status then means nothing: what counts is that the line is there. */
#include "limit.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WINDOW = 4, TAG = 7, TURNS = 2000, IDLE_POLLS = 100, NAP_US = 20, MOST_RANKS = 1024 };

typedef struct stamp {
    uint64_t from, number;
} stamp;

typedef struct slot {               /* one message under way */
    uint8_t *chunk;
    int peer;
} slot;

typedef struct exchange {
    int rank, ranks, slots;         /* slots: WINDOW receives for each rank, then WINDOW sends; none to oneself */
    size_t chunk;
    bool naps;
    uint8_t *kept;                  /* where the next chunk is received, if all are kept; or NULL */
    slot *slot;
    MPI_Request *request;
    MPI_Status *status;
    int *done;                      /* indexes of slots */
    uint64_t *posted, *sent;        /* by rank: receives and sends that were begun */
    uint64_t check;
} exchange;

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void begin_receive(exchange *of, int i, uint64_t chunks)
{
    slot *slot = &of->slot[i];
    if (of->posted[slot->peer] == chunks)
        return;
    of->posted[slot->peer]++;
    if (of->kept != NULL) {
        slot->chunk = of->kept;
        of->kept += of->chunk;
    }
    MPI_Irecv(slot->chunk, (int)of->chunk, MPI_BYTE, slot->peer, TAG, MPI_COMM_WORLD, &of->request[i]);
}

static void begin_send(exchange *of, int i, uint64_t chunks)
{
    const slot *slot = &of->slot[i];
    if (of->sent[slot->peer] == chunks)
        return;
    const stamp stamp = {(uint64_t)of->rank, of->sent[slot->peer]++};
    memcpy(slot->chunk, &stamp, sizeof stamp);
    memcpy(slot->chunk + of->chunk - sizeof stamp, &stamp, sizeof stamp);
    MPI_Isend(slot->chunk, (int)of->chunk, MPI_BYTE, slot->peer, TAG, MPI_COMM_WORLD, &of->request[i]);
}

static void check_chunk(exchange *of, int i)
{
    const slot *slot = &of->slot[i];
    stamp head, tail;
    memcpy(&head, slot->chunk, sizeof head);
    memcpy(&tail, slot->chunk + of->chunk - sizeof tail, sizeof tail);
    if (head.from != (uint64_t)slot->peer || tail.from != head.from || tail.number != head.number)
        limit_fail("a chunk of rank %d came damaged", slot->peer);
    of->check += head.number;
}

/* How many are done, in of->done; MPI_UNDEFINED: no request is left. */
static int some_done(exchange *of)
{
    int count = 0;
    if (!of->naps) {
        MPI_Waitsome(of->slots, of->request, &count, of->done, of->status);
        return count;
    }
    for (int polls = 0;; polls++) {
        MPI_Testsome(of->slots, of->request, &count, of->done, of->status);
        if (count != 0)
            return count;
        if (polls >= IDLE_POLLS)
            usleep(NAP_US);
    }
}

/* All ranks have come here. */
static void meet(const exchange *of)
{
    MPI_Request all;
    int met = 0;
    MPI_Ibarrier(MPI_COMM_WORLD, &all);
    while (!met) {
        MPI_Test(&all, &met, MPI_STATUS_IGNORE);
        if (!met && of->naps)
            usleep(NAP_US);
    }
}

/* Sends so many chunks to each other rank, and receives as many. */
static void run(exchange *of, uint64_t chunks)
{
    int count;
    memset(of->posted, 0, (size_t)of->ranks * sizeof *of->posted);
    memset(of->sent, 0, (size_t)of->ranks * sizeof *of->sent);
    of->check = 0;
    for (int i = 0; i < of->slots; i++)
        (i < of->slots / 2 ? begin_receive : begin_send)(of, i, chunks);
    while ((count = some_done(of)) != MPI_UNDEFINED) {
        for (int k = 0; k < count; k++) {
            const int i = of->done[k];
            if (i < of->slots / 2) {
                check_chunk(of, i);
                begin_receive(of, i, chunks);
            } else {
                begin_send(of, i, chunks);
            }
        }
    }
    const uint64_t want = (uint64_t)(of->ranks - 1) * (chunks * (chunks - 1) / 2);
    if (of->check != want)
        limit_fail("chunks are missing or came twice: their numbers add up to %lu and not %lu", of->check, want);
}

static void init(exchange *of)
{
    const int half = WINDOW * (of->ranks - 1);
    of->slots = 2 * half;
    of->slot = calloc((size_t)of->slots, sizeof *of->slot);
    of->request = calloc((size_t)of->slots, sizeof *of->request);
    of->status = calloc((size_t)of->slots, sizeof *of->status);
    of->done = calloc((size_t)of->slots, sizeof *of->done);
    of->posted = calloc((size_t)of->ranks, sizeof *of->posted);
    of->sent = calloc((size_t)of->ranks, sizeof *of->sent);
    if (of->slot == NULL || of->request == NULL || of->status == NULL || of->done == NULL || of->posted == NULL ||
        of->sent == NULL)
        limit_fail("no memory");
    for (int i = 0; i < of->slots; i++) {
        /* the next rank first, so that not all begin with the same */
        of->slot[i] = (slot){limit_memory(of->chunk), (of->rank + 1 + i % half % (of->ranks - 1)) % of->ranks};
        of->request[i] = MPI_REQUEST_NULL;
        memset(of->slot[i].chunk, of->rank + 1, of->chunk);
    }
}

/* Seconds that 8 bytes take from one rank to the other. */
static double latency(int rank)
{
    uint64_t word = 0;
    const double begin = MPI_Wtime();
    for (int turn = 0; turn < TURNS; turn++) {
        for (int from = 0; from < 2; from++) {
            if (rank == from)
                MPI_Send(&word, sizeof word, MPI_BYTE, 1 - from, TAG, MPI_COMM_WORLD);
            else
                MPI_Recv(&word, sizeof word, MPI_BYTE, from, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
    }
    return (MPI_Wtime() - begin) / (2 * TURNS);
}

int main(int argc, char **argv)
{
    exchange of = {.rank = 0};
    double cpu = 0, all_cpu = 0, one_way = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &of.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &of.ranks);
    const bool keeps = argc == 4 && strcmp(argv[1], "keep") == 0;
    if (argc != 4 || (strcmp(argv[1], "spin") != 0 && strcmp(argv[1], "nap") != 0 && !keeps))
        limit_fail("usage: mpiexec.mpich -n RANKS limit_alltoall spin|nap|keep BYTES CHUNK");
    of.naps = strcmp(argv[1], "spin") != 0;
    const uint64_t bytes = limit_number(argv[2]), chunk = limit_number(argv[3]);
    if (of.ranks < 2 || of.ranks > MOST_RANKS || chunk < sizeof(stamp) || chunk > 1 << 30)
        limit_fail("2 to %d ranks, and chunks of %zu bytes to 1 GiB", MOST_RANKS, sizeof(stamp));
    of.chunk = chunk;
    const uint64_t chunks = (bytes + chunk - 1) / chunk;
    init(&of);
    run(&of, WINDOW);
    if (of.ranks == 2)
        one_way = latency(of.rank);
    if (keeps)
        of.kept = limit_memory(chunks * chunk * (uint64_t)(of.ranks - 1));
    meet(&of);
    const double begin = MPI_Wtime();
    cpu = cpu_seconds();
    run(&of, chunks);
    meet(&of);
    const double seconds = MPI_Wtime() - begin;
    cpu = cpu_seconds() - cpu;
    MPI_Reduce(&cpu, &all_cpu, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (of.rank == 0) {
        printf("{\"limit\": \"alltoall %s\", \"ranks\": %d, \"bytes\": %lu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
               "\"latency_seconds\": %.9f, \"check\": %lu}\n", argv[1], of.ranks,
               chunks * chunk * (uint64_t)of.ranks * (uint64_t)(of.ranks - 1), seconds, all_cpu, one_way, of.check);
        fflush(stdout);
    }
    meet(&of);
    _exit(0);
}
