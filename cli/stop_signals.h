/* stop_signals.h: the signals that ask a command to stop. */
#ifndef MR__STOP_SIGNALS_H
#define MR__STOP_SIGNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_STOP_SIGNALS = 3 };

/* How many of SIGINT, SIGTERM and SIGHUP are in `numbers`: all that are not ignored, so that nohup stays in force. */
size_t cli_stop_signals(int numbers[CLI_STOP_SIGNALS]);

/* One wish to stop may come as several signals: timeout(1) sends one to its child and one to the child's group, a
 * terminal that is closed sends one and the shell another, Slurm signals every process of a step and so does a rank's
 * guard. What comes within a second of the first is no further wish. first_ns: mr__now_ns() at the first; safe in a
 * handler. */
bool cli_stop_is_echo(uint64_t first_ns);

#endif
