#include "stop_signals.h"

#include <signal.h>

#include "clock.h"

static const uint64_t ECHO_NS = 1000000000;

size_t cli_stop_signals(int numbers[CLI_STOP_SIGNALS])
{
    static const int all[CLI_STOP_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    size_t count = 0;
    for (size_t i = 0; i < CLI_STOP_SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(all[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            numbers[count++] = all[i];
    }
    return count;
}

bool cli_stop_is_echo(uint64_t first_ns)
{
    return mr__now_ns() - first_ns < ECHO_NS;
}
