/* mpi_ranks.h: what the modes of mpi_ranks.c share: messages that verify themselves, and a way to fail. */
#ifndef MPI_RANKS_H
#define MPI_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm.h"
#include "comm_module.h"

enum { RANKS_MOST = 64 };

/* A tag says what a message is: kind and number. */
enum kind { DATA = 1, ACK, PID, DEATH, CALL, DONE, EXIT, BEAT, LATE, GIANT };

static inline uint32_t tag_of(enum kind kind, uint32_t number)
{
    return (uint32_t)kind << 24 | number;
}

extern mr__comm *comm;
extern uint32_t rank, size;
extern const char *folder;

/* Says what is wrong, with the rank, and ends the process. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define NEED(cond, ...)                                                                                                \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            fail(__VA_ARGS__);                                                                                         \
    } while (0)

void open_comm(void);
/* Leaves FOLDER/rank-R with the text: the rank came to its end. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void nap_us(uint32_t us);
uint64_t random_next(uint64_t *state);

/* Bytes that follow from who sent them and which message it is. false: the rank failed. */
bool send_verified(mr__path path, uint32_t to, enum kind kind, uint32_t number, size_t bytes);
void verify(mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size);
/* A message without content. */
void send_bare(uint32_t to, enum kind kind, uint32_t number);

/* Events that verify and count. */
typedef struct counted {
    uint32_t done, data, other, unreachable;
} counted;

mr__comm_events count_events(counted *of);
void count_message(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t bytes_size);
void count_unreachable(void *context, uint32_t lost, const char *why);

int play_contract(void);
int play_idle(double seconds);
int play_speed(uint32_t message, uint64_t total);
int play_storm(uint64_t seed);

#endif
