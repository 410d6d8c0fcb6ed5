/* share.h: what one of several ranks on a machine gets of what the user, or the machine, has for all of them.
 * Promise   Memory and CPU workers are divided; a rank has at least one CPU worker, unless none was asked for. Devices
 *           are not divided: their tokens are shared by all processes of a user on the machine, so every rank may ask.
 * Failure   MR_BAD_USAGE: what was asked for cannot be read, or is too little for so many. */
#ifndef MR__SHARE_H
#define MR__SHARE_H

#include "job_options.h"

enum { CLI_SHARE_TEXT = 2048 };

typedef struct cli_share {
    uint64_t memory;                    /* 0: its share of what is free */
    char workers[CLI_SHARE_TEXT];       /* "": the rank's cores, and the devices that it finds */
} cli_share;

/* settings: those of the whole machine. */
mr_status cli_share_of(const cli_job_settings *settings, uint32_t ranks, cli_share *share, mr__error *error);
/* For who is no rank and says what one would do. Of what a job may use on this machine by default; 0: that cannot be
 * told. */
uint64_t cli_share_of_free_memory(uint32_t ranks);
/* Leaves to this process the cores that rank 0 of so many on this machine would have. false: it could not be done, and
 * all is as it was. */
bool cli_share_be_first_of(uint32_t ranks);

#endif
