/* mpi_ranks.c: one rank of the tests of the MPI backend; test_mpi.py starts several and judges what they leave.
 *   mpi_ranks MODE FOLDER [ARGUMENT...]       FOLDER/rank-R holds the result of each rank that came to its end
 * Oracle: the bytes of a message follow from its sender and its number; its order from its number. */
#include "mpi_ranks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "memory.h"

enum { PATIENCE_S = 240 };

mr__comm *comm;
uint32_t rank, size;
const char *folder;

void fail(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "rank %u: ", rank);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    fflush(NULL);
    _exit(1);
}

void open_comm(void)
{
    mr__error error = {.code = MR_OK};
    NEED(mr__comm_open_mpi(NULL, &comm, &error) == MR_OK, "%s", error.text);
    rank = comm->ops->rank(comm);
    size = comm->ops->size(comm);
    NEED(size <= RANKS_MOST, "too many ranks for this test");
}

void report(const char *format, ...)
{
    char path[4096];
    va_list arguments;
    snprintf(path, sizeof path, "%s/rank-%u", folder, rank);
    FILE *file = fopen(path, "w");
    NEED(file != NULL, "could not write %s", path);
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    NEED(fclose(file) == 0, "could not write %s", path);
}

void nap_us(uint32_t us)
{
    nanosleep(&(const struct timespec){.tv_nsec = us * 1000l}, NULL);
}

uint64_t random_next(uint64_t *state)
{
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t word = *state += 0x9e3779b97f4a7c15u;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return word ^ word >> 31;
}

static uint64_t seed_of(mr__path path, uint32_t from, uint32_t tag)
{
    return (uint64_t)from << 40 | (uint64_t)path << 36 | tag;
}

static mr_status give(mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t bytes_size, mr__error *error)
{
    mr__parcel *parcel = mr__alloc(sizeof *parcel + bytes_size);
    NEED(parcel != NULL, "no memory for a parcel of %zu bytes", bytes_size);
    *parcel = (mr__parcel){.path = path, .to = to, .tag = tag, .size = bytes_size};
    memcpy(parcel->bytes, bytes, bytes_size);
    const mr_status status = comm->ops->give(comm, parcel, error);
    if (status != MR_OK)
        mr__free(parcel);
    return status;
}

/* Every other message is given and not sent. */
bool send_verified(mr__path path, uint32_t to, enum kind kind, uint32_t number, size_t bytes_size)
{
    static uint64_t words[MR__MESSAGE_MOST / 8 + 1];
    mr__error error = {.code = MR_OK};
    uint64_t state = seed_of(path, rank, tag_of(kind, number));
    for (size_t i = 0; i < bytes_size / 8 + 1; i++)
        words[i] = random_next(&state);
    const uint32_t tag = tag_of(kind, number);
    const mr_status status = number % 2 != 0 ? give(path, to, tag, words, bytes_size, &error)
                                             : comm->ops->send(comm, path, to, tag, words, bytes_size, &error);
    NEED(status == MR_OK || status == MR_NETWORK_FAILED, "%s", error.text);
    memset(words, 0, bytes_size < 4096 ? bytes_size : 4096);        /* the sender may reuse its bytes */
    return status == MR_OK;
}

void verify(mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    uint64_t state = seed_of(path, from, tag);
    for (size_t i = 0; i < bytes_size; i += 8) {
        const uint64_t word = random_next(&state);
        NEED(memcmp((const char *)bytes + i, &word, bytes_size - i < 8 ? bytes_size - i : 8) == 0,
             "tag %x of rank %u: byte %zu of %zu is wrong", tag, from, i, bytes_size);
    }
}

void send_bare(uint32_t to, enum kind kind, uint32_t number)
{
    mr__error error = {.code = MR_OK};
    const mr_status status = comm->ops->send(comm, MR__CONTROL, to, tag_of(kind, number), NULL, 0, &error);
    /* a rank that failed a moment ago is told by the next progress() */
    NEED(status == MR_OK || status == MR_NETWORK_FAILED, "%s", error.text);
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

void count_message(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    counted *of = context;
    verify(path, from, tag, bytes, bytes_size);
    if (tag >> 24 == DONE)
        of->done++;
    else if (tag >> 24 == DATA)
        of->data++;
    else
        of->other++;
}

void count_unreachable(void *context, uint32_t lost, const char *why)
{
    counted *of = context;
    NEED(why[0] != '\0', "rank %u is unreachable without a reason", lost);
    of->unreachable++;
}

mr__comm_events count_events(counted *of)
{
    return (mr__comm_events){.context = of, .received = count_message, .unreachable = count_unreachable};
}

/* ---- small modes ------------------------------------------------------------------------------------------------- */

static uint32_t round_now;

static void count_round(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size)
{
    NEED((tag & 0xffffff) / 100 == round_now, "in round %u a message of round %u came", round_now,
         (tag & 0xffffff) / 100);
    count_message(context, path, from, tag, bytes, bytes_size);
}

/* A comm is closed with messages under way and opened again: those of the first are not seen by the second. */
static int play_again(void)
{
    counted of = {.done = 0};
    mr__comm *second = NULL;
    mr__error error = {.code = MR_OK};
    for (round_now = 0; round_now < 3; round_now++) {
        mr__comm_events events = count_events(&of);
        events.received = count_round;
        of = (counted){.done = 0};
        open_comm();
        NEED(mr__comm_open_mpi(NULL, &second, &error) == MR_BAD_USAGE && second == NULL && error.text[0] != '\0',
             "a second comm was opened beside the first");
        for (uint32_t to = 0; to < size; to++)
            send_bare(to, DONE, round_now * 100);
        for (size_t unsent = 1; of.done < size || unsent > 0;) {
            unsent = 0;
            for (uint32_t to = 0; to < size; to++)
                unsent += comm->ops->unsent(comm, MR__CONTROL, to);
            if (!comm->ops->progress(comm, &events))
                nap_us(50);
        }
        for (uint32_t to = 0; to < size; to++)      /* left behind */
            for (uint32_t i = 0; i < 20; i++)
                send_verified(i % MR__PATHS, to, DATA, round_now * 100 + i, i * 30000);
        comm->ops->close(comm);
    }
    report("ok");
    return 0;
}

/* Point `point` fails at its nth hit in rank 0, which has one other to talk to. */
static int play_fault(uint32_t point, uint32_t nth)
{
    counted of = {.done = 0};
    const mr__comm_events events = count_events(&of);
    mr__comm *const untouched = (mr__comm *)&of;
    mr__error error = {.code = MR_OK};
    uint32_t refused = 0, sent = 0;
    const bool loses = point == MR__FAULT_MPI_SEND || point == MR__FAULT_MPI_RECEIVE;
    mr__fault_arm((enum mr__fault_point)point, nth);
    comm = untouched;
    if (mr__comm_open_mpi(NULL, &comm, &error) != MR_OK) {     /* nothing has happened: once more */
        NEED(mr__fault_fired() && comm == untouched && error.text[0] != '\0', "a failed open had an effect");
        refused++;
        open_comm();
    }
    rank = comm->ops->rank(comm);
    size = comm->ops->size(comm);
    if (rank != 0 && refused == 0)
        mr__fault_disarm();
    for (bool ended = false; !ended;) {
        error = (mr__error){.code = MR_OK};
        const uint32_t to = 1 - rank;
        if (sent < 40 && of.unreachable == 0) {
            const mr_status status = comm->ops->send(comm, sent % MR__PATHS, to, tag_of(BEAT, sent), NULL, 0, &error);
            NEED(status == MR_OK || error.text[0] != '\0', "a send failed without a sentence");
            refused += status != MR_OK;
            sent += status == MR_OK;
        }
        if (rank != 0 && loses && sent == 40)
            sent -= MR__PATHS;      /* on both paths, until rank 0 is gone */
        if (!comm->ops->progress(comm, &events))
            nap_us(500);
        mr__error broken = {.code = MR_OK};
        NEED(mr__comm_mpi_check(comm, &broken) == MR_OK, "%s", broken.text);
        ended = of.unreachable > 0 || (!loses && of.other == 40 && sent == 40 && comm->ops->unsent(comm, 0, to) == 0 &&
                                       comm->ops->unsent(comm, 1, to) == 0);
    }
    if (loses && rank == 0) {
        NEED(mr__fault_fired(), "point %u was not reached", point);
        NEED(comm->ops->send(comm, MR__BULK, 1, 0, "x", 1, &error) == MR_NETWORK_FAILED, "a failed rank was sent to");
        comm->ops->forget(comm, 1);
        NEED(comm->ops->send(comm, MR__BULK, 1, 0, "x", 1, &error) == MR_OK, "a send to a forgotten rank failed");
        NEED(comm->ops->unsent(comm, MR__BULK, 1) == 0, "something waits for a forgotten rank");
        comm->ops->progress(comm, &events);
        NEED(of.unreachable == 1, "a rank was told to be unreachable twice");
    }
    report("ok %u refused, %u unreachable, %s", refused, of.unreachable, mr__fault_fired() ? "fired" : "not fired");
    for (uint32_t i = 0; i < 100; i++, nap_us(500))
        comm->ops->progress(comm, &events);
    comm->ops->close(comm);
    return 0;
}

/* What the environment says, without MPI. */
static int play_detect(void)
{
    mr__launch launch;
    mr__error error = {.code = MR_OK};
    if (mr__launch_of_process(&launch, &error) != MR_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    rank = launch.rank;
    report("ok %s %u of %u\n", mr__launcher_name(launch.by), launch.rank, launch.size);
    return 0;
}

int main(int argc, char **argv)
{
    alarm(PATIENCE_S);
    if (argc < 3) {
        fprintf(stderr, "mpi_ranks MODE FOLDER [ARGUMENT...]\n");
        return 2;
    }
    const char *mode = argv[1], *first = argc > 3 ? argv[3] : "0", *second = argc > 4 ? argv[4] : "0";
    folder = argv[2];
    if (strcmp(mode, "contract") == 0)
        return play_contract();
    if (strcmp(mode, "storm") == 0)
        return play_storm(strtoull(first, NULL, 10));
    if (strcmp(mode, "again") == 0)
        return play_again();
    if (strcmp(mode, "fault") == 0)
        return play_fault((uint32_t)atoi(first), (uint32_t)atoi(second));
    if (strcmp(mode, "idle") == 0)
        return play_idle(atof(first));
    if (strcmp(mode, "speed") == 0)
        return play_speed((uint32_t)atoi(first), strtoull(second, NULL, 10));
    return strcmp(mode, "detect") == 0 ? play_detect() : 2;
}
