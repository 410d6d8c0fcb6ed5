/* wire_choice.h: are pairs packed on their way to other ranks? What the network does with them decides.
 * Promise   Nothing is packed before the network was slower than what waits for it; and for no longer than a trial,
 *           unless more pairs left in the same time than unpacked.
 * Units     Bytes, unless they are called packed, are those of pairs as they are. Times: nanoseconds of one clock that
 *           only goes forward.
 * Threads   One at a time.
 * Cost      A few comparisons per message.
 * Failure   None. */
#ifndef MR__WIRE_CHOICE_H
#define MR__WIRE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

/* What the carrier came to. */
typedef enum mr__wire_turn {
    MR__WIRE_SENT,              /* a message was posted */
    MR__WIRE_BLOCKED,           /* something waits, and nothing can be posted */
    MR__WIRE_IDLE,              /* nothing waits */
} mr__wire_turn;

typedef enum mr__wire_stage {   /* drawn at the head of wire_choice.c */
    MR__WIRE_WAITS,
    MR__WIRE_TIMED,
    MR__WIRE_FILLS,
    MR__WIRE_TRIED,
    MR__WIRE_KEEPS,
} mr__wire_stage;

typedef struct mr__wire_choice {
    mr__wire_stage stage;
    bool packs;                 /* what is posted next */
    uint64_t bytes;             /* posted so far */
    uint64_t filled;            /* ... when nothing under way is of the other kind */
    uint64_t begin_ns, begin_bytes, needed;     /* of the stretch that is timed, and how many bytes it is to have */
    uint64_t idle_ns;           /* since then nothing waits; 0: something does */
    double raw_rate;            /* bytes a nanosecond, of the last stretch without packing */
    uint64_t raw_ns;            /* how long that was */
    uint64_t tried, coded, packed, coded_ns;    /* of this trial: messages, bytes, packed bytes, time */
    uint64_t rest_until;
    uint32_t same;              /* how often in a row the answer was what it is */
    bool answer;
    uint32_t trials, kept;      /* so far */
} mr__wire_choice;

/* All zero is its beginning. under_way: bytes to each rank that were posted and may not have arrived. */
void mr__wire_choice_turn(mr__wire_choice *choice, mr__wire_turn turn, uint64_t bytes, const uint64_t *under_way,
                          uint32_t ranks, uint64_t now_ns);
/* A message was packed (or not: packed == bytes), and that took so long. */
void mr__wire_choice_coded(mr__wire_choice *choice, uint64_t bytes, uint64_t packed, uint64_t ns);

/* W1..: see wire_choice.c; MR_INTERNAL with the one that is broken. */
mr_status mr__wire_choice_check(const mr__wire_choice *choice, mr__error *error);

#endif
