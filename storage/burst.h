/* burst.h: the private directory of one process in the burst buffer (node-local SSD).
 * Promise   PARENT/millrace-UID-PID-RANDOM, mode 0700, locked while its owner lives. Opening one removes the directories
 *           that dead processes of the same user left (their lock can be taken), and nothing else.
 * Threads   Any thread may ask for names.
 * Failure   A sentence that names the directory; nothing is left. */
#ifndef MR__BURST_H
#define MR__BURST_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

typedef struct mr__burst mr__burst;

/* parent: NULL for $MILLRACE_BURST, else $TMPDIR, else /var/tmp. */
mr_status mr__burst_open(const char *parent, mr__burst **burst, mr__error *error);
/* Removes the directory and what is in it. Takes NULL. */
void mr__burst_close(mr__burst *burst);
const char *mr__burst_path(const mr__burst *burst);

#endif
