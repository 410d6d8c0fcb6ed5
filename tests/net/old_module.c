/* old_module.c: a module of another version, which takes signals when it is loaded; for test_comm_module.c. */
#include <signal.h>
#include <unistd.h>

#include "comm_module.h"

static void take(int number)
{
}

__attribute__((constructor)) static void take_signals(void)
{
    signal(SIGBUS, take);
    signal(SIGHUP, take);
}

extern const mr__comm_module mr__module __attribute__((visibility("default")));

const mr__comm_module mr__module = {.magic = MR__COMM_MODULE_MAGIC, .version = 4711};
