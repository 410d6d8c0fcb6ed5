#include "stop_signals.h"

#include <signal.h>

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
