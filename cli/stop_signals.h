/* stop_signals.h: the signals that ask a command to stop. */
#ifndef MR__STOP_SIGNALS_H
#define MR__STOP_SIGNALS_H

#include <stddef.h>

enum { CLI_STOP_SIGNALS = 3 };

/* How many of SIGINT, SIGTERM and SIGHUP are in `numbers`: all that are not ignored, so that nohup stays in force. */
size_t cli_stop_signals(int numbers[CLI_STOP_SIGNALS]);

#endif
