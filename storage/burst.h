/* burst.h: the private directory of one process in the burst buffer (node-local SSD).
 * Promise   PARENT/millrace-UID-HOST-PID-RANDOM, mode 0700, locked while its owner lives. Opening one removes the
 *           directories that dead processes of the same user left on this host (their lock can be taken), and nothing
 *           else.
 * Capacity  MILLRACE_BURST_SIZE ("20G"); 0 or nothing: what the disk has.
 * Threads   Any thread may ask for names.
 * Failure   A sentence that names the directory; nothing is left. */
#ifndef MR__BURST_H
#define MR__BURST_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

typedef struct mr__burst mr__burst;
struct mr__tier;

/* Below mr__places_burst(parent). */
mr_status mr__burst_open(const char *parent, mr__burst **burst, mr__error *error);
/* Removes what dead processes of this user left below mr__places_burst(parent), as opening one does. */
void mr__burst_sweep(const char *parent);
/* Removes the directory and what is in it. Takes NULL. */
void mr__burst_close(mr__burst *burst);
const char *mr__burst_path(const mr__burst *burst);
/* The same directory as a tier; the burst's. */
struct mr__tier *mr__burst_tier(mr__burst *burst);
/* A number that no other file of this directory has in its name. */
uint32_t mr__burst_number(mr__burst *burst);

#endif
