/* limit.h: what the limit programs share.
 * Promise   A limit is the least that a program with the same input must do: read it, copy it, compute on it. It is
 *           measured with as many threads as the run it stands beside has workers.
 * Output    One JSON object on standard output: {"limit": NAME, "bytes": N, "seconds": S, "check": C}. `check` depends
 *           on every byte, so that no read can be optimised away and two ways to read can be compared.
 * Failure   A sentence on standard error and exit status 3. These are programs, not a library: they may end. */
#ifndef LIMIT_H
#define LIMIT_H

#include <stdint.h>
#include <stdlib.h>

typedef void (*limit_work)(void *state, uint32_t thread);

/* Runs work(state, 0 .. threads - 1) at the same time and returns the seconds until the last one ended. */
double limit_time(uint32_t threads, limit_work work, void *state);

/* Sum of the 64-bit words, eight chains, so that it runs at the speed of the loads. size: any. */
uint64_t limit_sum(const void *data, size_t size);

void limit_report(const char *name, uint64_t bytes, double seconds, uint64_t check);
_Noreturn void limit_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Pages of 2 MiB where the system grants them, touched by the caller. Never NULL. */
void *limit_memory(size_t size);

uint64_t limit_number(const char *text);

#endif
